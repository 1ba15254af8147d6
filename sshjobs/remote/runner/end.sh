# What a job leaves behind, and the end that somebody else brings it.
# In: sj_cause, sj_job_pid, sj_gracecs. Out: nothing of the job lives, or sj_alone.

# Cancelled or out of time: whoever ends the tree says when it is gone. If that process
# is gone itself, the runner does its work.
sj_await_killer() {
    command -v awk >/dev/null ||
        sj_why='the host has no awk any more: its group was ended, and what had left that was not found'
    [ -z "$sj_by" ] || sj_end_trees tree "$sj_id" # a scheduler's job has no killer
    sj_count=0
    while [ ! -e "$sj_job_dir/killed" ]; do
        sj_count=$((sj_count + 1))
        [ $sj_count -gt $((sj_gracecs / 50 + 20)) ] && {
            sj_end_trees tree "$sj_id"
            return
        }
        if [ $sj_count -lt 10 ]; then sleep 0.1 || sleep 1; else sleep 0.5 || sleep 1; fi
    done
}

# What a job leaves behind in its group ends with it. One builtin kill tells that there
# is nothing, which is the common case; what is there mostly ends at once.
sj_end_leftover() {
    [ -z "$sj_alone" ] && [ "$sj_setsid" ] && kill -0 "-$sj_job_pid" && sj_find_group "$sj_id" || {
        sj_alone=1
        return 0
    }
    sj_why=${sj_why:-'what was left of its group was ended: a job ends with its main process'}
    if [ -z "$sj_told" ]; then
        sj_told=1
        sj_term_group
    fi
    kill -0 "-$sj_job_pid" && sj_end_trees group "$sj_id"
    sj_alone=1
}
