# The launcher of jobs that wait their turn: each stands in a line of this machine.
# In: ids, ID:ATTEMPT, sj_limits (GROUP=N ..., - is the host), sj_pass and its hash.
# Out: MACHINE/queue and what it needs, as limit/pass.sh reads them; jobs/ID/handle.
#
#   MACHINE/queue/wait/PPPPP.SEQ.ID.ATTEMPT.GROUP   waits; names in the order of their turn
#   MACHINE/queue/after/...                         the same, waits for other jobs first
#   MACHINE/queue/slots/ID.ATTEMPT.GROUP            runs, or is about to
#   MACHINE/limits/GROUP                            so many slots at most, 0 is no limit
#   MACHINE/next, told                              limit/pass.sh, and what it is to know
#
# The line is there before the first name, and goes with the last one (rmdir, which does
# nothing to what is not empty): as long as it stands, each runner that ends and each round
# has it looked at.

sj_limit_start() {
    # ID:ATTEMPT ...
    if sj_limit_prepare; then
        sj_limit_line_up "$@"
        sj_start_beats
        "$sj_sh" "./$sj_machine/next" </dev/null >/dev/null 2>&1
        sj_stop_beats
    else
        for sj_i; do sj_take_back_job "${sj_i%%:*}"; done
    fi
}

# The limits stand before the first name that they hold for.
sj_limit_prepare() {
    sj_limit_make_line && [ ! -h "$sj_machine/told" ] && [ ! -d "$sj_machine/told" ] || return
    sj_limit_tell always
    sj_write_runner "runner-$sj_hash" "$sj_runner" || return
    sj_read_line "$sj_machine/next"
    [ "$sj_line" = "# $sj_pass_hash" ] && sj_is_regular "$sj_machine/next" && [ -z "$sj_renew" ] || {
        { printf '# %s\n%s\n' "$sj_pass_hash" "$sj_pass" >"$sj_tmp.next"; } 2>/dev/null &&
            mv -f "$sj_tmp.next" "$sj_machine/next" || return
    }
    {
        sj_burst=- sj_print_setup "$sj_hash"
        for sj_i in $sj_had; do
            eval "sj_word=\$sj_was_$sj_i"
            case $sj_word in *"
"*) ;; *) printf '%s=%s\n' "$sj_i" "$sj_word" ;; esac
        done
    } >"$sj_tmp.told" 2>/dev/null && mv -f "$sj_tmp.told" "$sj_machine/told"
}

sj_limit_make_line() {
    set -- "$sj_machine/limits" "$sj_machine/turn" "$sj_machine/queue" "$sj_machine/queue/wait" \
        "$sj_machine/queue/after" "$sj_machine/queue/slots"
    for sj_i; do
        [ ! -h "$sj_i" ] || return
        [ -d "$sj_i" ] || mkdir -p "$@" 2>/dev/null
        [ -d "$sj_i" ] || return
    done
}

# The last word on a limit counts, whichever client it comes from; one that is told anew keeps
# its file from being swept. By a rename: no reader may take a limit for none.
sj_limit_tell() {
    # WHEN
    for sj_i in $sj_limits; do
        sj_file=$sj_machine/limits/${sj_i%%=*} sj_line=''
        [ -d "${sj_file%/*}" ] && [ ! -h "${sj_file%/*}" ] && sj_is_regular "$sj_file" || continue
        [ "$1" = always ] || sj_read_line "$sj_file"
        [ "$sj_line" = "${sj_i#*=}" ] || {
            { printf '%s\n' "${sj_i#*=}" >"$sj_tmp.limit"; } 2>/dev/null && mv -f "$sj_tmp.limit" "$sj_file"
        }
    done
}

# The number is the time of the host, and more than the last that was given. What waits for
# other jobs gets one too, so that it keeps its place.
sj_limit_line_up() {
    # ID:ATTEMPT ...
    sj_read_line "$sj_machine/turn/number"
    case $sj_line in *[!0-9]* | '' | 0* | ?????????????*) sj_line=0 ;; esac
    [ "$sj_line" -lt "$sj_cs" ] && sj_line=$sj_cs || sj_line=$((sj_line + 1))
    sj_number=$sj_line sj_count=1000
    sj_is_regular "$sj_machine/turn/number" && { printf '%s\n' "$sj_number" >"$sj_machine/turn/number"; } 2>/dev/null
    for sj_word; do
        sj_id=${sj_word%%:*}
        sj_limit_read "$sj_id" && [ -z "$sj_sent" ] || continue
        sj_count=$((sj_count + 1))
        sj_limit_enter "${sj_order%% *}.$sj_number$sj_count.$sj_id.${sj_word#*:}.${sj_order#* }" || {
            sj_take_back_job "$sj_id"
            continue
        }
        { printf 'sent_at=%s\nattempt=%s\nmachine=%s\n' "$sj_now" "${sj_word#*:}" "$sj_machine" >>"jobs/$sj_id/handle"; } 2>/dev/null
    done
}

# One that stands in no line any more, and has not begun, gets into line again.
sj_limit_resend() {
    # ID:ATTEMPT ...
    [ $# -gt 0 ] || return 0
    for sj_i; do
        sj_is_regular "jobs/${sj_i%%:*}/handle" && { printf 'sent_at=\n' >>"jobs/${sj_i%%:*}/handle"; } 2>/dev/null
    done
    sj_limit_start "$@"
}

sj_limit_read() {
    # ID: sj_order (PPPPP GROUP), sj_after, sj_sent
    sj_order='' sj_after='' sj_sent=''
    [ -f "jobs/$1/handle" ] && sj_is_regular "jobs/$1/handle" || return
    while read -r sj_line; do
        case $sj_line in
        order=[0-9][0-9][0-9][0-9][0-9]" "*) sj_order=${sj_line#order=} ;;
        after=*) sj_after=${sj_line#after=} ;;
        sent_at=*) sj_sent=${sj_line#sent_at=} ;;
        esac
    done <"jobs/$1/handle"
    case ${sj_order#* } in *[!A-Za-z0-9_-]* | '') return 1 ;; esac
}

# The line may have been taken away a moment ago, as it was empty.
sj_limit_enter() {
    # NAME
    sj_to='wait'
    [ -z "$sj_after" ] || sj_to=after
    for sj_try in 1 2 3 4 5; do
        sj_is_regular "$sj_machine/queue/$sj_to/$1" &&
            { printf '' >"$sj_machine/queue/$sj_to/$1"; } 2>/dev/null && return
        sj_limit_make_line || return
    done
    return 1
}

# For queue.awk, which lists the line itself.
sj_limit_look() {
    sj_limit_tell ''
    for sj_i in "$sj_machine"/limits/*; do
        [ -f "$sj_i" ] && sj_is_regular "$sj_i" || continue
        sj_read_line "$sj_i"
        printf 'qlimit %s %s\n' "${sj_i##*/}" "$sj_line"
    done
    for sj_i in "$sj_machine"/queue/slots/*; do
        [ ! -f "$sj_i" ] || printf 'qslot %s\n' "${sj_i##*/}"
    done
    printf 'qat limit %s\n' "$sj_now"
}

# A job that is told to end is claimed by kill.sh; here only its name goes.
sj_limit_stop() {
    # IDS
    [ $# -gt 0 ] && [ -d "$sj_machine/queue" ] || return 0
    for sj_to in wait after; do
        set -- $(printf '%s\n' "$@" | LINE=$sj_machine/queue/$sj_to awk '
            { ID[$1] }
            END { while ((("LC_ALL=C ls " ENVIRON["LINE"]) | getline l) > 0) if (split(l, a, ".") == 5 && (a[3] in ID) && l !~ /[^A-Za-z0-9._-]/) print "/" l }
            ' 2>/dev/null) "$@"
        while :; do
            case ${1-} in /*) rm -f "$sj_machine/queue/$sj_to$1" && shift ;; *) break ;; esac
        done
    done
}
