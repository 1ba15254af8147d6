# The runner's records: the clock, the claim's identity, the end that is published.
# In: sj_job_dir, sj_record, sj_offset. Out: jobs/ID/exit, a line of the journal.

# Without a fork: who am I, and what time is it.
sj_read_self() {
    # sj_pid sj_start
    if [ "$sj_proc" ]; then
        read -r sj_line </proc/self/stat
        sj_pid=${sj_line%% *}
        sj_cut_process_name "$sj_line"
        set -- $sj_fields
        shift 19
        sj_start=$1
    else
        sj_pid=$(sh -c 'echo $PPID')
        sj_start=$(ps -o lstart= -p "$sj_pid" 2>/dev/null | tr -s ' ' _)
        sj_start=${sj_start%_}
    fi
}

sj_read_clock() {
    # sj_cs hundredths, sj_time seconds
    if [ "$sj_offset" = none ]; then
        sj_cs=$(date +%s)00
    else
        read -r sj_line </proc/uptime
        sj_line=${sj_line%% *}
        sj_cs=$((sj_offset + ${sj_line%.*}${sj_line#*.}))
    fi
    sj_time=${sj_cs%??}.${sj_cs#"${sj_cs%??}"}
}

# Publishes the end: the record is appended to `run`, in one write to a block that the file
# has had since the claim, so that a full disk loses no end; from here on it counts. Then
# `run` is linked to `exit`: link(2) is as atomic as rename, and ln starts faster than mv
# (fewer libraries). In a burst of starts that process would be a quarter of what a short
# job costs, so there `exit` is a copy, created exclusively and written at once.
sj_publish_end() {
    # STATUS SIGNAL CAUSE REASON
    sj_second=''
    [ -z "$sj_split" ] || {
        sj_measure_log stderr
        sj_second="
stderr_bytes=$sj_bytes"
    }
    sj_measure_log log
    sj_rec="id=$sj_id
status=$1
signal=$2
cause=$3
finished_at=$sj_time
log_bytes=$sj_bytes$sj_second
reason=$4
end="
    if sj_is_regular "$sj_job_dir/run"; then
        printf '%s\n' "$sj_rec" >>"$sj_job_dir/run"
        sj_stage=published
        [ "$sj_burst" ] && sj_write_exit || ln -f "$sj_job_dir/run" "$sj_job_dir/exit" || sj_write_exit
    else
        sj_write_exit
    fi
    sj_announce_end
}

sj_announce_end() {
    sj_stage=''
    sj_write_journal "E $sj_id"
}

sj_write_journal() {
    # TEXT: a line of the journal
    sj_is_regular "${sj_hears:=$sj_machine}/journal" && printf '\n%s .\n' "$1" >>"$sj_hears/journal"
    return 0
}

# A shell that cannot fork ends (dash, BusyBox), bash after 15 s. What it then has to do, by
# builtins alone, depends on how far it was. The end of a job, or of a tree, is seen to by the
# same process in a new shell, again and again until it can: it counts for a pause, since
# sleep would be a process.
sj_handle_no_fork() {
    case $sj_stage in
    claimed)
        [ "$sj_hasenv" ] && printf '' >"$sj_job_dir/env"
        sj_burst=1
        sj_publish_end 126 '' '' 'could not be started: the host has no process left for its user (see ulimit -u)'
        ;;
    published)
        sj_write_exit
        sj_announce_end
        ;;
    ended | kill)
        sj_read_clock
        [ "$sj_left" ] && sj_signal_unseen
        [ "$sj_stage" = kill ] || [ -z "$sj_left" ] || [ "$sj_live" ] || sj_alone=1
        ;;
    esac
    [ "$sj_sleeper" ] && sj_stop_sleeper
    case $sj_stage in ended | kill) sj_exec_again ;; esac
}

# Where the time was up, the sleep was waited for, and its number may be anybody's since.
sj_stop_sleeper() {
    [ -z "$sj_proc" ] || {
        sj_read_start "$sj_sleeper" && [ "$sj_started" = "$sj_sleeper_born" ]
    } && kill -9 "$sj_sleeper"
}

sj_exec_again() {
    sj_sleeper='' sj_since=${sj_from:-$sj_since} sj_count=0
    while [ $sj_count -lt 4000 ] && read -r sj_line </proc/uptime; do sj_count=$((sj_count + 1)); done
    export sj_by sj_hears sj_stage sj_machine sj_boot sj_offset sj_setsid sj_grepz sj_wc sj_burst sj_proc \
        sj_posix sj_pid sj_me sj_told sj_since sj_left sj_scope sj_sleeper sj_alone sj_id sj_job_dir sj_job_pid \
        sj_record sj_status sj_signal sj_cause sj_why sj_time sj_gracecs sj_split
    exec "$sj_posix" "$0" again
}

sj_resume_stage() {
    # as the new shell that sj_exec_again has made
    trap sj_handle_no_fork EXIT
    case $sj_stage in
    kill) sj_end_trees tree $sj_left ;;
    ended)
        sj_finish_job
        sj_start_next
        ;;
    esac
    sj_stage=''
}

sj_write_exit() {
    sj_is_regular "$sj_job_dir/exit" || rm -rf "$sj_job_dir/exit"
    set -C
    printf '%s\npgid=%s\n%s\n' "$sj_record" "${sj_job_pid:-0}" "$sj_rec" >"$sj_job_dir/exit"
    sj_failure=$?
    set +C
    return $sj_failure
}

sj_measure_log() {
    # NAME of a log of the job: sj_bytes
    sj_bytes=0
    [ -s "$sj_job_dir/$1" ] && sj_is_regular "$sj_job_dir/$1" && sj_read_size "$sj_job_dir/$1"
}

# BusyBox wc reads the whole file to count, its ls is the same binary.
sj_read_size() {
    if [ "$sj_wc" = 1 ]; then
        sj_bytes=$(wc -c <"$1")
    else
        set -- $(ls -lnd "$1")
        sj_bytes=$5
    fi
}
