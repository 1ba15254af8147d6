# One job from claim to end.
# In: ID ATTEMPT, jobs/ID/spec. Out: jobs/ID/run, born by the claim.

# One job: its runner, and with a timeout the process that keeps the time beside it.
sj_run_job() {
    # ID ATTEMPT
    sj_id=$1 sj_attempt=$2 sj_job_dir=jobs/$1 sj_ok='' sj_envnames='' sj_launcher='' sj_unbuffered='' sj_split=''
    [ -f "$sj_job_dir/spec" ] && sj_is_regular "$sj_job_dir/spec" && [ ! -e "$sj_job_dir/run" ] || return 0
    . "./$sj_job_dir/spec"
    [ "$sj_ok" = "$sj_id" ] || return 0
    # What waits for another launcher is claimed here only to end it.
    [ "$sj_launcher" = "$sj_by" ] || [ -e "$sj_job_dir/cancel" ] || [ -e "$sj_job_dir/fate" ] || return 0
    if [ "$sj_hasenv" ]; then
        [ -f "$sj_job_dir/env" ] && sj_is_regular "$sj_job_dir/env" || return 0
        . "./$sj_job_dir/env"
    fi
    if [ -z "$sj_timeout" ]; then
        sj_supervise_job
        sj_start_next
        return
    fi
    # The time is kept by the parent of the sleep, the job by a child of it that ends
    # the sleep: a TERM that is trapped between fork and exec would be lost.
    sleep "$sj_timeout" 2>/dev/null &
    sj_sleeper=$! sj_sleeper_born=''
    [ "$sj_proc" ] && sj_read_start "$sj_sleeper" && sj_sleeper_born=$sj_started
    trap sj_handle_no_fork EXIT
    {
        trap sj_handle_no_fork EXIT
        sj_supervise_job
        sj_start_next
    } &
    sj_timed=$!
    exec 2>/dev/null
    if wait "$sj_sleeper"; then
        sj_sleeper='' sj_stage=kill sj_left=$sj_id sj_scope=tree
        sj_read_clock
        sj_from=$sj_cs
        [ -e "$sj_job_dir/cancel" ] || sj_is_whole "$sj_job_dir/exit" || ! sj_is_regular "$sj_job_dir/expire" || printf '' >"$sj_job_dir/expire"
        [ ! -e "$sj_job_dir/killed" ] || [ -e "$sj_job_dir/cancel" ] || rm -rf "$sj_job_dir/killed"
        sj_expire_job
    fi
    sj_sleeper='' sj_stage=''
    wait "$sj_timed"
}

# Out of time. The group is told first, which costs no listing; then one listing finds what
# else there is of the tree, mostly nothing.
sj_expire_job() {
    sj_job_pid=''
    if ! [ -e "$sj_job_dir/cancel" ] && sj_find_group "$sj_id"; then
        sj_job_pid=$sj_group
        sj_read_clock
        sj_since=$sj_cs
        sj_term_group && sj_told=1
    fi
    sj_read_self
    sj_end_trees tree "$sj_id"
}

# TERM for the group, and a moment to follow it. A group of zombies alone looks alive to
# kill, only the listing tells.
sj_term_group() {
    kill -TERM "-$sj_job_pid" || return
    kill -CONT "-$sj_job_pid"
    for sj_pause in 0.01 0.05 0.1; do
        sleep $sj_pause || break
        kill -0 "-$sj_job_pid" || break
    done
    return 0
}

# The claim is the O_EXCL creation of `run`, which becomes stdout; who comes second ends
# here. The record is whole before the job is started. J, forked next, will be the leader
# of its session and group: setsid does not fork for who leads no group.
sj_supervise_job() {
    set -C
    exec >"$sj_job_dir/run"
    set +C
    sj_read_self
    sj_job_pid=''
    sj_record="machine=$sj_machine
boot_id=$sj_boot
pid=$sj_pid
start=$sj_start
node=$sj_node
init=$sj_init
attempt=$sj_attempt
started_at=$sj_time"
    printf '%s\n' "$sj_record" || {
        rm -f "$sj_job_dir/run"
        return 0
    }
    sj_stage=claimed
    trap sj_handle_no_fork EXIT
    # Where nothing can be forked, it is empty at least.
    [ "$sj_hasenv" ] && { sj_is_regular "$sj_job_dir/env" && printf '' >"$sj_job_dir/env"; rm -f "$sj_job_dir/env"; }
    [ -z "$sj_by" ] || sj_note_claim
    [ "$sj_says" ] || exec 2>/dev/null
    [ -z "$sj_burst" ] || sj_await_turn
    if [ -e "$sj_job_dir/cancel" ] || [ -e "$sj_job_dir/lost" ] || [ -e "gone/$sj_id" ]; then
        sj_publish_end '' '' cancelled 'cancelled before it started'
        return 0
    fi
    [ ! -e "$sj_job_dir/fate" ] || {
        sj_read_fate
        return 0
    }
    sj_check_job || return 0
    sj_exec_job &
    sj_job_pid=$! sj_stage=''
    if [ "$sj_setsid" ]; then printf 'pgid=%s\n' $sj_job_pid; else printf 'pgid=0\njob_pid=%s\n' $sj_job_pid; fi
    [ -z "$sj_says" ] || sj_say_start
    [ -z "$sj_proc" ] || { [ "$sj_burst" ] && [ ! -O / ]; } || sj_write_born
    sj_wait_job
    sj_read_clock
    sj_cause=''
    if [ -e "$sj_job_dir/cancel" ]; then
        sj_cause=cancelled
    elif [ -e "$sj_job_dir/expire" ]; then
        sj_cause=timeout
    elif [ "$sj_by" ]; then
        sj_ask_launcher
    fi
    sj_stage=ended
    sj_finish_job
}

# A job of a burst may have to wait until its round is over, see barrier.sh; the time of one
# that has a timeout runs already.
sj_await_turn() {
    [ $sj_count -le "$sj_burst" ] || [ "$sj_timeout" ] || read -r sj_line <&3
    exec 3<&-
}

# A round that waits for a few starts hears of each here, and need not read the record.
sj_say_start() {
    sj_i=$sj_job_pid
    [ "$sj_setsid" ] || sj_i=0
    printf 'started %s %s %s %s %s %s %s\n' "$sj_id" "$sj_pid" "$sj_i" "$sj_start" "$sj_boot" "$sj_node" "$sj_time" >&2
    exec 2>/dev/null
}

# An end may be what others wait for, see launch/limit.sh.
sj_start_next() {
    [ ! -d "$sj_machine/queue" ] || ! sj_is_regular "$sj_machine/next" ||
        { $sj_setsid "$sj_posix" "./$sj_machine/next" </dev/null >/dev/null 2>&1 & }
}

# Its launcher has given it up before it began, and says why.
sj_read_fate() {
    sj_cause='' sj_why=''
    sj_is_regular "$sj_job_dir/fate" && { read -r sj_cause && read -r sj_why; } <"$sj_job_dir/fate"
    case $sj_cause in
    cancelled | timeout) sj_publish_end '' '' "$sj_cause" "$sj_why" ;;
    *) sj_publish_end 126 '' '' "$sj_why" ;;
    esac
}

sj_finish_job() {
    if [ "$sj_cause" ]; then sj_await_killer; else sj_end_leftover; fi
    [ -e "$sj_job_dir/log" ] || [ "$sj_cause" ] || sj_why='the log could not be written'
    sj_publish_end "$sj_status" "$sj_signal" "$sj_cause" "$sj_why"
}

# When J was started, so that its number can be given to nobody else unnoticed. In a burst
# of starts this read is left out, and the moment after the start of the runner must do; not
# for root (who owns /), whose signals reach everybody.
sj_write_born() {
    sj_read_start "$sj_job_pid" && printf 'born=%s\n' "$sj_started"
}
