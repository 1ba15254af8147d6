# Answers by builtins the questions about a few jobs, and about many that are as they were.
# In: sj_ask, sj_said, sj_small. Out: frames; in sj_ask what is left for awk.
#
# Mostly nothing has happened, or what was just started runs. An awk costs as much as nine
# looks by builtins (1.4 ms), and each find of it more than that (dash 0.5.12, mawk 1.3.4).
# Whatever is not as our own runner has written it, is left to awk, and nothing said of it.

sj_answer_few() {
    [ "$sj_proc" ] && [ "$sj_sweep" = 0 ] && [ ${#sj_ask} -lt 300 ] || return 0
    set -- $sj_ask
    sj_ask='' sj_over=''
    while [ $# -gt 3 ]; do
        sj_answer_one "$1" "$2" "$3" "$4" 2>/dev/null || sj_leave_to_awk "$1" "$2" "$3" "$4"
        shift 4
    done
    [ -z "$sj_over" ] || sj_answer_ended
}

sj_leave_to_awk() {
    # a question, in four words
    sj_ask="$sj_ask$1 $2 $3 $4
"
}

# About a job that was told to end, awk has more to find out.
sj_answer_one() {
    # s ID - -, or c ID PID START
    [ ! -e "jobs/$2/handle" ] && [ ! -e "jobs/$2/cancel" ] || return
    if [ -e "jobs/$2/exit" ]; then
        [ ! -e "jobs/$2/lost" ] || return
        case $1 in [cs]) sj_over="$sj_over $1 $2 $3 $4" ;; *) return 1 ;; esac
    else
        case $1 in
        c) sj_is_unchanged "$2" "$3" "$4" ;;
        s) sj_tell_start "$2" ;;
        *) return 1 ;;
        esac
    fi
}

sj_is_unchanged() {
    # ID PID START
    case $sj_small in *" jobs/$1/run "*) ;; *) return 1 ;; esac
    for sj_i in "machine=$sj_machine" "boot_id=$sj_boot" "pid=$2" "start=$3"; do
        read -r sj_line && [ "$sj_line" = "$sj_i" ] || return
    done <"jobs/$1/run" || return
    read -r sj_line <"/proc/$2/stat" || return
    sj_cut_process_name "$sj_line"
    set -- "$3" $sj_fields
    case $2 in [XZ]) return 1 ;; esac
    [ "${21}" = "$1" ]
}

# A runner has said itself how it started a job, by the pipe that the round held meanwhile.
sj_tell_start() {
    # ID
    sj_line=${sj_said#*"
started $1 "}
    [ "$sj_line" != "$sj_said" ] || return
    printf 'started %s %s\n' "$1" "${sj_line%%"
"*}"
}

# A record is read a byte at a time, so that only a short one is read here. Those of jobs
# that have ended since the round began are measured by one more look.
sj_answer_ended() {
    set -- $sj_over
    sj_paths=''
    while [ $# -gt 3 ]; do
        case $sj_small in *" jobs/$2/exit "*) ;; *) sj_paths="$sj_paths jobs/$2/exit" ;; esac
        shift 4
    done
    set -- ${sj_paths:+$(find $sj_paths -prune -type f ! -size +8 -print 2>/dev/null)}
    sj_small="$sj_small$* "
    set -- $sj_over
    while [ $# -gt 3 ]; do
        case $sj_small in
        *" jobs/$2/exit "*) sj_tell_end "$1" "$2" "$3" 2>/dev/null ;;
        *) false ;;
        esac || sj_leave_to_awk "$1" "$2" "$3" "$4"
        shift 4
    done
}

sj_end_names='pid pgid start boot_id node started_at status signal cause finished_at log_bytes stderr_bytes reason'

sj_tell_end() {
    # KIND ID PID
    sj_read_end "$2" && sj_is_plain_end || return
    case $1:$3 in
    "c:$sj_end_pid") ;;
    *) printf 'started %s %s %s %s %s %s %s\n' "$2" "$sj_end_pid" "$sj_end_pgid" "$sj_end_start" \
        "$sj_end_boot_id" "$sj_end_node" "$sj_end_started_at" ;;
    esac
    printf 'ended %s %s %s %s %s %s %s %s\n' "$2" "${sj_end_status:--}" "${sj_end_signal:--}" "${sj_end_cause:--}" \
        "$sj_end_started_at" "$sj_end_finished_at" "$sj_end_log_bytes${sj_end_stderr_bytes:+"+$sj_end_stderr_bytes"}" "$sj_end_reason"
}

# The first line of a name counts, since a job can write behind it, and nothing after `end=`.
sj_read_end() {
    # ID
    for sj_i in $sj_end_names; do eval "sj_end_$sj_i=''"; done
    sj_end_left=" $sj_end_names "
    while IFS= read -r sj_line; do
        [ "$sj_line" != end= ] || return 0
        sj_i=${sj_line%%=*}
        case $sj_i in *[!a-z_]* | "$sj_line") continue ;; esac
        case $sj_end_left in
        *" $sj_i "*)
            eval "sj_end_$sj_i=\${sj_line#*=}"
            sj_end_left="${sj_end_left%%" $sj_i "*} ${sj_end_left#*" $sj_i "}"
            ;;
        esac
    done <"jobs/$1/exit"
    return 1
}

# Whether each field is what a frame may hold as it stands; judge.awk bounds what is not.
sj_is_plain_end() {
    case :$sj_end_pid:$sj_end_pgid:$sj_end_start:$sj_end_boot_id:$sj_end_node:$sj_end_log_bytes: in
    *::* | *[!A-Za-z0-9._:-]*) return 1 ;;
    esac
    case $sj_end_pid$sj_end_pgid$sj_end_log_bytes$sj_end_stderr_bytes$sj_end_status$sj_end_signal in *[!0-9]*) return 1 ;; esac
    for sj_i in "$sj_end_pid" "$sj_end_pgid" "$sj_end_log_bytes" "$sj_end_stderr_bytes"; do [ ${#sj_i} -lt 10 ] || return; done
    [ ${#sj_end_start} -lt 25 ] && [ ${#sj_end_boot_id} -lt 65 ] && [ ${#sj_end_node} -lt 65 ] || return
    [ ${#sj_end_status} -lt 4 ] && [ "${sj_end_status:-0}" -lt 256 ] && [ ${#sj_end_signal} -lt 3 ] || return
    for sj_i in "$sj_end_started_at" "$sj_end_finished_at"; do
        case $sj_i in *[!0-9.]* | .* | *.*.* | '') return 1 ;; esac
        [ ${#sj_i} -lt 15 ] || return
    done
    case $sj_end_cause in '' | cancelled | timeout) ;; *) return 1 ;; esac
    case $sj_end_reason in *[!A-Za-z0-9\ .,:\;_/-]*) return 1 ;; esac
    [ ${#sj_end_reason} -lt 300 ]
}

# Of many that run, one builtin tells that there is a process of each number: a few
# microseconds for all, where a look at each record costs forty for each (2026, Linux 6).
# The asker has all looked at as they are once a minute: a number may be another's by then.
sj_look_for_pids() {
    # KNOWN PIDS
    # bash says by its status whether any is there, and by a line of each that is not.
    if [ "$sj_sweep$sj_is_first" = 0 ] && sj_line=$(kill -0 $2 2>&1) && [ -z "$sj_line" ]; then
        sj_alive=1
        [ "$sj_tail" ] || return 0
    fi
    sj_ask="$1
$sj_ask"
}
