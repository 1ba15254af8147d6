# Whose turn it is to look at the line: one process at a time, the rest leave a note for it.
# In: sj_machine, sj_boot, sj_proc. Out: sj_take_turn, sj_give_turn; MACHINE/turn/N.
#
# MACHINE/turn/N names its holder: pid, start time, boot. The highest N counts, and the next
# one is taken once that one is given back (a line `done`) or its holder is gone. It is a hard
# link to a file that is whole, so that nobody reads half of it. The highest is never
# removed: a process that was stopped after it had read an old number finds a higher one
# after its own, and goes back.

sj_find_highest() {
    # sj_highest, and sj_lower, files that may go
    sj_highest=0 sj_lower='' sj_count=0
    for sj_i in "$sj_machine"/turn/*; do
        sj_number=${sj_i##*/}
        case $sj_number in *[!0-9]* | '' | 0* | ????????????????*) continue ;; esac
        sj_is_regular "$sj_i" || {
            rm -rf -- "$sj_i"
            continue
        }
        if [ "$sj_number" -gt $sj_highest ]; then
            sj_lower="$sj_lower $sj_machine/turn/$sj_highest" sj_highest=$sj_number
        elif [ $sj_count -lt 100 ]; then
            sj_lower="$sj_lower $sj_i" sj_count=$((sj_count + 1))
        fi
    done
}

sj_is_held() {
    # FILE
    sj_word='' sj_done=''
    { read -r sj_word && read -r sj_done; } <"$1" 2>/dev/null
    [ "$sj_done" != 'done' ] || return
    set -- "$1" $sj_word
    # Where there are no hard links, it is whole a moment after it was made.
    [ $# -eq 4 ] || {
        [ -z "$(find "$1" -mmin +1 2>/dev/null)" ]
        return
    }
    [ "$4" = "$sj_boot" ] && kill -0 "$2" 2>/dev/null || return
    [ -z "$sj_proc" ] || { sj_read_start "$2" && [ "$sj_started" = "$3" ]; }
}

sj_take_turn() {
    sj_own=$sj_machine/turn/.$$ sj_started=-
    [ -z "$sj_proc" ] || sj_read_start $$
    { printf '%s %s %s\n' $$ "$sj_started" "$sj_boot" >"$sj_own"; } 2>/dev/null || {
        rm -f "$sj_own"
        return 1
    }
    for sj_try in 1 2 3 4 5; do
        sj_find_highest
        ! [ "$sj_highest" -gt 0 ] || ! sj_is_held "$sj_machine/turn/$sj_highest" || break
        sj_turn=$sj_machine/turn/$((sj_highest + 1)) sj_number=$((sj_highest + 1))
        sj_mine=$sj_number
        ln "$sj_own" "$sj_turn" 2>/dev/null || sj_make_turn || continue
        sj_find_highest
        [ "$sj_highest" -gt "$sj_mine" ] || {
            rm -f "$sj_own" $sj_lower
            return 0
        }
        rm -f "$sj_turn"
    done
    rm -f "$sj_own"
    return 1
}

sj_make_turn() {
    # on a file system without hard links
    [ ! -e "$sj_turn" ] || return
    set -C
    { cat "$sj_own" >"$sj_turn"; } 2>/dev/null
    sj_failure=$?
    set +C
    return $sj_failure
}

sj_give_turn() {
    { printf 'done\n' >>"$sj_turn"; } 2>/dev/null
}
