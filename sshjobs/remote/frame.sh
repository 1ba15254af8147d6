# The frame around each round: opening, questions, end.
# In: the words of sj_guard_round and sj_open_round. Out: the fence, frames hello, journal, due, failed, end.

# A shell that cannot fork ends (dash, BusyBox; bash after 15 s). Nothing was done then unless
# it had begun, and what was to end is told so by builtins.
sj_handle_no_fork() {
    if [ "${sj_to_kill-}" ]; then
        [ "$sj_opened" ] || {
            sj_find_machine
            sj_enter_base "$sj_at_base"
        }
        sj_kill_by_builtins
    fi
    [ "$sj_opened" ] || printf '%sfailed EFORK the host has no process left for this user\nend\n' "$sj_first"
}

sj_guard_round() {
    # NONCE BASE IDS to kill
    unset sj_first
    sj_proc='' sj_opened='' sj_at_base=$2
    [ -r /proc/self/stat ] && sj_proc=1
    sj_first="
sshjobs-reply 1 $1
"
    shift 2
    sj_to_kill=$*
    trap sj_handle_no_fork EXIT
    # ksh93 tries to fork a tool for ever, but a part of itself for 30 s only (93u+m 1.0).
    case ${KSH_VERSION-} in *93*) : & ;; esac
}

# The frame around every request.
sj_open_round() {
    # NONCE BASE GENERATION OFFSET START_GRACE KEY_TTL GONE_TTL HASH ID ...
    # neither is exported, whatever the login exports
    unset sj_nonce sj_first
    sj_nonce=$1 sj_gen=$3 sj_from=$4 sj_grace=$5 sj_key_ttl=$6 sj_gone_ttl=$7 sj_hash=$8
    sj_first="
sshjobs-reply 1 $1
"
    sj_broken='' sj_ask='' sj_said='' sj_plain='' sj_keyed='' sj_shas='' sj_drop='' sj_mk='' sj_old='' sj_due='' sj_lone='' sj_many='' sj_barrier=''
    sj_proc=''
    [ -r /proc/self/stat ] && sj_proc=1
    sj_dir=$2
    shift 8
    sj_prepare_round "$sj_dir" "$@"
    sj_is_first=$sj_renew # since a boot; a start of this round forgets the other one
    sj_features=setsid
    [ "$sj_setsid" = - ] && sj_features=no-setsid
    [ "$sj_proc" ] || sj_features=$sj_features,no-proc
    [ "$sj_grepz" = 1 ] || sj_features=$sj_features,no-mark
    sj_first="${sj_first}hello $sj_node $sj_boot $sj_now $sj_features
"
    sj_tmp=new/$sj_machine.$$.$sj_cs
    sj_open_journal
    sj_opened=1
    sj_tail=''
    [ $sj_sweep = 0 ] && [ "$sj_size" -gt "$sj_from" ] &&
        sj_tail="tail -c +$((sj_from + 1)) $sj_machine/journal"
    return 0
}

# The sh that a login finds; the builtin that tells would be a fork.
sj_find_sh() {
    sj_ifs=$IFS IFS=:
    for sj_i in $sj_path; do
        case $sj_i in /*) [ ! -d "$sj_i/sh" ] && [ -x "$sj_i/sh" ] && break ;; esac
        sj_i=''
    done
    IFS=$sj_ifs sj_sh=${sj_i:-/bin}/sh
}

sj_prepare_runs() {
    # what only rounds need that start or kill something
    sj_find_sh
    sj_shell=${SHELL-}
    case $sj_shell in /*) ;; *) sj_shell= ;; esac
    # A start-up file may have exported a SHELL that is none.
    [ -f "$sj_shell" ] && [ -x "$sj_shell" ] || {
        sj_read_passwd 7
        sj_shell=$sj_line
    }
    [ -x "$sj_shell" ] || sj_shell=/bin/sh
}

sj_answer_checks() {
    # CHECKS [KNOWN PIDS]: of KNOWN, runners that are in PIDS, it is enough that they are there
    sj_ask="$1$sj_ask" sj_alive=''
    [ $# -eq 1 ] || sj_look_for_pids "$2" "$3"
    for sj_i in "$sj_machine"/due/*; do
        [ -f "$sj_i" ] || break
        sj_due_id=${sj_i##*/}
        case $sj_due_id:${sj_judge_awk:+1} in
        *[!a-z2-7]*:*) ;;
        ????????????????:1) sj_ask="$sj_ask
d $sj_due_id - -" ;;
        ????????????????:)
            # a round that asks about nothing
            if [ -e "jobs/$sj_due_id/killed" ] || [ ! -e "jobs/$sj_due_id/cancel" ]; then
                rm -f "$sj_i"
            else
                printf 'due %s\n' "$sj_due_id"
            fi
            ;;
        esac
    done
    [ -z "$sj_ask" ] || sj_answer_few
    [ -z "$sj_ask" ] || sj_judge_asked
}

# What waits in the line of launch/limit.sh is looked at by whoever comes by.
sj_start_next() {
    [ -d "$sj_machine/queue" ] && sj_is_regular "$sj_machine/next" || return 0
    case $sj_setsid in -) set -- ;; *) set -- "$sj_setsid" ;; esac
    "$@" sh "./$sj_machine/next" </dev/null >/dev/null 2>&1 &
}

sj_close_round() {
    trap - EXIT
    sj_start_next
    # CAN: what stands on its line, cut off by a tool that died, is void.
    [ "$sj_broken" ] && printf '\030\n' && sj_fail_round EDIED "$sj_broken ended badly on the host: some jobs were not looked at"
    sj_sweep_old
    printf 'end\n'
    # Whoever asked need not wait for that.
    set -- "$sj_tmp".*
    [ ! -e "$1" ] || { rm -rf -- "$@" >/dev/null 2>&1 & }
}
