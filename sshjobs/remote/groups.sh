# Process groups by builtins alone, for a round and a runner that can have no process.
# In: sj_proc, sj_boot, jobs/ID/run and spec. Out: sj_started, sj_group, sj_hundredths.

# The same of one process, without another: when it was started.
sj_read_start() {
    # PID: to sj_started, if it lives
    sj_stat=''
    while read -r sj_line; do sj_stat="$sj_stat $sj_line"; done <"/proc/$1/stat"
    sj_cut_process_name "$sj_stat"
    set -- $sj_fields
    [ $# -ge 20 ] || return 1
    case $1 in [XxZ]) [ "${18}" -gt 1 ] || return 1 ;; esac
    sj_started=${20}
}

# Where no process can be had to look for others, a signal still reaches the group of a job.
# Its number is that of the job if the record has no end and its leader is the process that
# was started, or its runner has still to wait for it.
sj_signal_groups() {
    # SIGNAL IDS
    sj_signal_name=$1
    shift
    for sj_i; do
        sj_find_group "$sj_i" && kill "-$sj_signal_name" "-$sj_group"
    done 2>/dev/null
    return 0
}

sj_read_grace() {
    # ID: to sj_hundredths
    sj_hundredths=''
    while read -r sj_line; do
        case $sj_line in sj_gracecs=*) sj_hundredths=${sj_hundredths:-${sj_line#*=}} ;; esac
    done <"jobs/$1/spec"
    sj_hundredths=${sj_hundredths#\'}
    sj_hundredths=${sj_hundredths%\'}
    case $sj_hundredths in *[!0-9]* | '') sj_hundredths=0 ;; esac
}

sj_find_group() {
    # ID: to sj_group
    sj_group='' sj_born='' sj_of_boot='' sj_of_pid='' sj_of_start=''
    [ -f "jobs/$1/run" ] && sj_is_regular "jobs/$1/run" || return
    while read -r sj_line; do
        case $sj_line in
        boot_id=*) sj_of_boot=${sj_of_boot:-${sj_line#*=}} ;;
        pid=*) sj_of_pid=${sj_of_pid:-${sj_line#*=}} ;;
        start=*) sj_of_start=${sj_of_start:-${sj_line#*=}} ;;
        pgid=*) sj_group=${sj_group:-${sj_line#*=}} ;;
        born=*) sj_born=${sj_born:-${sj_line#*=}} ;;
        end=) return 1 ;;
        esac
    done <"jobs/$1/run"
    case $sj_group in 0 | 1 | *[!0-9]* | '') return 1 ;; esac
    [ "$sj_of_boot" = "$sj_boot" ] && kill -0 "-$sj_group" || return
    # Of one number root must not conclude anything, it may be anybody's by now: the
    # runner is there too, or it has been too long.
    [ "$sj_proc" ] || {
        [ ! -O / ] || kill -0 "$sj_of_pid"
        return
    }
    case $sj_of_pid-$sj_of_start in -* | *- | *[!0-9-]*) return 1 ;; esac
    if ! sj_read_start "$sj_group"; then
        sj_read_start "$sj_of_pid" && [ "$sj_started" = "$sj_of_start" ]
    elif [ "$sj_born" ]; then
        [ "$sj_started" = "$sj_born" ]
    else
        sj_line=$((sj_started - sj_of_start))
        [ $sj_line -ge 0 ] && [ $sj_line -lt 3000 ]
    fi
}
