# One job from claim to end.
# In: ID ATTEMPT, jobs/ID/spec. Out: jobs/ID/run, born by the claim.

# One job: its runner, and with a timeout the process that keeps the time beside it.
sj_one() { # ID ATTEMPT
    sj_id=$1 sj_a=$2 sj_d=jobs/$1 sj_ok='' sj_envnames=''
    [ -f "$sj_d/spec" ] && sj_regular "$sj_d/spec" && [ ! -e "$sj_d/run" ] || return 0
    . "./$sj_d/spec"
    [ "$sj_ok" = "$sj_id" ] || return 0
    if [ "$sj_hasenv" ]; then
        [ -f "$sj_d/env" ] && sj_regular "$sj_d/env" || return 0
        . "./$sj_d/env"
    fi
    if [ -z "$sj_timeout" ]; then
        sj_main
        return
    fi
    # The time is kept by the parent of the sleep, the job by a child of it that ends
    # the sleep: a TERM that is trapped between fork and exec would be lost.
    sleep "$sj_timeout" 2>/dev/null &
    sj_s=$! sj_s_born=''
    [ "$sj_proc" ] && sj_start_of "$sj_s" && sj_s_born=$sj_started
    trap sj_unforked EXIT
    {
        trap sj_unforked EXIT
        sj_main
    } &
    sj_g=$!
    exec 2>/dev/null
    if wait "$sj_s"; then
        sj_s='' sj_stage=kill sj_left=$sj_id sj_scope=tree
        sj_clock
        sj_from=$sj_cs
        [ -e "$sj_d/cancel" ] || sj_is_whole "$sj_d/exit" || ! sj_regular "$sj_d/expire" || printf '' >"$sj_d/expire"
        [ ! -e "$sj_d/killed" ] || [ -e "$sj_d/cancel" ] || rm -rf "$sj_d/killed"
        sj_expire
    fi
    sj_s='' sj_stage=''
    wait "$sj_g"
}

# Out of time. The group is told first, which costs no listing; then one listing finds what
# else there is of the tree, mostly nothing.
sj_expire() {
    sj_j=''
    if ! [ -e "$sj_d/cancel" ] && sj_find_group "$sj_id"; then
        sj_j=$sj_group
        sj_clock
        sj_since=$sj_cs
        sj_tell && sj_told=1
    fi
    sj_self
    sj_end_trees tree "$sj_id"
}

# TERM for the group, and a moment to follow it. A group of zombies alone looks alive to
# kill, only the listing tells.
sj_tell() {
    kill -TERM "-$sj_j" || return
    kill -CONT "-$sj_j"
    for sj_n in 0.01 0.05 0.1; do
        sleep $sj_n || break
        kill -0 "-$sj_j" || break
    done
    return 0
}

# The claim is the O_EXCL creation of `run`, which becomes stdout; who comes second ends
# here. The record is whole before the job is started. J, forked next, will be the leader
# of its session and group: setsid does not fork for who leads no group.
sj_main() {
    set -C
    exec >"$sj_d/run"
    set +C
    sj_self
    sj_j=''
    sj_record="machine=$sj_machine
boot_id=$sj_boot
pid=$sj_pid
start=$sj_start
node=$sj_node
init=$sj_init
attempt=$sj_a
started_at=$sj_t"
    printf '%s\n' "$sj_record" || {
        rm -f "$sj_d/run"
        return 0
    }
    sj_stage=claimed
    trap sj_unforked EXIT
    # Where nothing can be forked, it is empty at least.
    [ "$sj_hasenv" ] && { sj_regular "$sj_d/env" && printf '' >"$sj_d/env"; rm -f "$sj_d/env"; }
    exec 2>/dev/null
    if [ -e "$sj_d/cancel" ] || [ -e "$sj_d/lost" ] || [ -e "gone/$sj_id" ]; then
        sj_publish '' '' cancelled 'cancelled before it started'
        return 0
    fi
    sj_place || return 0
    sj_child &
    sj_j=$! sj_stage=''
    if [ "$sj_setsid" ]; then printf 'pgid=%s\n' $sj_j; else printf 'pgid=0\njob_pid=%s\n' $sj_j; fi
    [ -z "$sj_proc" ] || { [ "$sj_burst" ] && [ ! -O / ]; } || sj_born
    sj_wait
    sj_clock
    sj_cause=''
    if [ -e "$sj_d/cancel" ]; then
        sj_cause=cancelled
    elif [ -e "$sj_d/expire" ]; then
        sj_cause=timeout
    fi
    sj_stage=ended
    sj_finish
}

sj_finish() {
    if [ "$sj_cause" ]; then sj_stopped; else sj_leftover; fi
    [ -e "$sj_d/log" ] || [ "$sj_cause" ] || sj_why='the log could not be written'
    sj_publish "$sj_status" "$sj_signal" "$sj_cause" "$sj_why"
}

# When J was started, so that its number can be given to nobody else unnoticed. In a burst
# of starts this read is left out, and the moment after the start of the runner must do; not
# for root (who owns /), whose signals reach everybody.
sj_born() {
    sj_start_of "$sj_j" && printf 'born=%s\n' "$sj_started"
}
