# The frame around each round: opening, questions, end; and what is swept meanwhile.
# In: the words of sj_guard and sj_open. Out: the fence, frames hello, journal, due, failed, end.

# Directories that a launcher left half-made which is no more (their files may hold
# secrets), on every round; at most once an hour expired tombstones, and keys all of whose
# attempts have expired.
sj_sweep_old() {
    for sj_i in new/"$sj_machine".*; do
        sj_n=${sj_i#"new/$sj_machine."}
        sj_n=${sj_n%%.*}
        case $sj_n in '' | *[!0-9]*) continue ;; esac
        # Where nobody reaps orphans, as in many containers, the dead answer to signals.
        sj_line=''
        kill -0 "$sj_n" 2>/dev/null && sj_read_line "/proc/$sj_n/stat" || sj_line='dead) Z'
        case ${sj_line##*") "} in [XZ]*) rm -rf -- "$sj_i" ;; esac
    done
    sj_read_small "$sj_machine/swept"
    case $sj_line in *[!0-9]* | 0* | ????????????* | '') sj_line=0 ;; esac
    [ $((${sj_now%.*} - sj_line)) -lt 3600 ] && [ "$sj_line" -le "${sj_now%.*}" ] && return
    { printf '%s\n' "${sj_now%.*}" >"$sj_machine/swept"; } 2>/dev/null || return 0
    # A record beside `run` was read by the runner that claimed the job.
    set --
    for sj_i in jobs/*/env; do [ ! -e "${sj_i%env}run" ] || set -- "$@" "$sj_i"; done
    [ $# -eq 0 ] || rm -f -- "$@"
    find gone keys -type f -size -128 -print | awk -v now="$sj_now" '
        $0 !~ /^gone\/[a-z2-7]+$/ && $0 !~ /^keys\/[0-9a-f]+\/[0-9]+$/ { next }
        {
            f = $0
            d = f
            sub(/\/[0-9]+$/, "", d)
            u = 0
            while ((getline l < f) > 0) if (substr(l, 1, 6) == "until=") u = substr(l, 7) + 0
            close(f)
            if (u && u < now) old[f] = d
            else fresh[d] = 1
        }
        END { for (f in old) if (!(old[f] in fresh)) print f }' | while read -r sj_f; do
        rm -f -- "$sj_f"
        case $sj_f in keys/*) rmdir "${sj_f%/*}" 2>/dev/null ;; esac
    done
    find new runner-*.* ! -name new -prune -mtime +1 -exec rm -rf -- {} + 2>/dev/null
    return 0
}

# A shell that cannot fork ends (dash, BusyBox; bash after 15 s). Nothing was done then unless
# it had begun, and what was to end is told so by builtins.
sj_unforked() {
    if [ "${sj_to_kill-}" ]; then
        [ "$sj_opened" ] || {
            sj_where
            sj_base "$sj_at_base"
        }
        sj_kill_bare
    fi
    [ "$sj_opened" ] || printf '%sfailed EFORK the host has no process left for this user\nend\n' "$sj_first"
}

sj_guard() { # NONCE BASE IDS to kill
    unset sj_first
    sj_proc='' sj_opened='' sj_at_base=$2
    [ -r /proc/self/stat ] && sj_proc=1
    sj_first="
sshjobs-reply 1 $1
"
    shift 2
    sj_to_kill=$*
    trap sj_unforked EXIT
    # ksh93 tries to fork a tool for ever, but a part of itself for 30 s only (93u+m 1.0).
    case ${KSH_VERSION-} in *93*) : & ;; esac
}

# The frame around every request.
sj_open() { # NONCE BASE GENERATION OFFSET START_GRACE KEY_TTL GONE_TTL HASH ID ...
    unset sj_nonce sj_first # neither is exported, whatever the login exports
    sj_nonce=$1 sj_gen=$3 sj_from=$4 sj_grace=$5 sj_key_ttl=$6 sj_gone_ttl=$7 sj_hash=$8
    sj_first="
sshjobs-reply 1 $1
"
    sj_broken='' sj_ask='' sj_plain='' sj_keyed='' sj_shas='' sj_drop='' sj_mk='' sj_old='' sj_due=''
    sj_proc=''
    [ -r /proc/self/stat ] && sj_proc=1
    sj_dir=$2
    shift 8
    sj_enter "$sj_dir" "$@"
    sj_features=setsid
    [ "$sj_setsid" = - ] && sj_features=no-setsid
    [ "$sj_proc" ] || sj_features=$sj_features,no-proc
    [ "$sj_grepz" = 1 ] || sj_features=$sj_features,no-mark
    sj_first="${sj_first}hello $sj_node $sj_boot $sj_now $sj_features
"
    sj_tmp=new/$sj_machine.$$.$sj_cs
    sj_journal
    sj_opened=1
    sj_tail=''
    [ $sj_sweep = 0 ] && [ "$sj_size" -gt "$sj_from" ] &&
        sj_tail="tail -c +$((sj_from + 1)) $sj_machine/journal"
    return 0
}

sj_prepare_runs() { # what only rounds need that start or kill something
    sj_sh=$(PATH=$sj_path && command -v sh) || sj_sh=/bin/sh
    case ${SHELL-} in
    /*) sj_shell=$SHELL ;;
    *)
        sj_passwd 7
        sj_shell=$sj_line
        ;;
    esac
    [ -x "$sj_shell" ] || sj_shell=/bin/sh
}

# Mostly nothing has happened. A few that run are looked at as judge() would do first, with
# no process started: awk costs as much as nine of them (1.4 ms; dash 0.5.12, mawk 1.3.4).
sj_glance() {
    [ "$sj_proc" ] && [ "$sj_sweep$sj_tail" = 0 ] && [ ${#sj_ask} -lt 300 ] || return 0
    set -- $sj_ask
    sj_ask=''
    while [ $# -gt 3 ]; do
        [ "$1" = c ] && sj_as_before "$2" "$3" "$4" 2>/dev/null || sj_ask="$sj_ask$1 $2 $3 $4
"
        shift 4
    done
}

sj_as_before() { # ID PID START
    case $sj_small in *" jobs/$1/run "*) ;; *) return 1 ;; esac
    for sj_i in "machine=$sj_machine" "boot_id=$sj_boot" "pid=$2" "start=$3"; do
        read -r sj_line && [ "$sj_line" = "$sj_i" ] || return
    done <"jobs/$1/run" || return
    read -r sj_line <"/proc/$2/stat" || return
    set -- "$3" ${sj_line##*') '}
    case $2 in [XZ]) return 1 ;; esac
    [ "${21}" = "$1" ]
}

sj_answer() { # CHECKS
    sj_ask="$1$sj_ask"
    for sj_i in "$sj_machine"/due/*; do
        [ -f "$sj_i" ] || break
        sj_n=${sj_i##*/}
        case $sj_n:${sj_judge_awk:+1} in
        *[!a-z2-7]*:*) ;;
        ????????????????:1) sj_ask="$sj_ask
d $sj_n - -" ;;
        ????????????????:) # a round that asks about nothing
            if [ -e "jobs/$sj_n/killed" ] || [ ! -e "jobs/$sj_n/cancel" ]; then
                rm -f "$sj_i"
            else
                printf 'due %s\n' "$sj_n"
            fi
            ;;
        esac
    done
    sj_glance
    [ "$sj_ask" ] && { sj_judge '' "$sj_ask" || sj_broken='awk or find'; }
    return 0
}

sj_close() {
    trap - EXIT
    # CAN: what stands on its line, cut off by a tool that died, is void.
    [ "$sj_broken" ] && printf '\030\n' && sj_fail EDIED "$sj_broken ended badly on the host: some jobs were not looked at"
    sj_sweep_old
    printf 'end\n'
}
