# What PBS has done to a job, as its runner asks on the node.
# In: PBS_JOBID, sj_time, started_at of its record. Out: sj_cause, sj_why.

# Nobody says which TERM it was: over its time is one that has run for as long as it may. The
# clock of PBS begins some seconds before ours.
sj_pbs_tell_why() {
    sj_why='ended in PBS (by qdel, or by its site)'
    sj_read_clock
    sj_line=$(timeout 10 qstat -f "$PBS_JOBID" 2>/dev/null | awk '$1 == "Resource_List.walltime" { print $3 }' |
        awk -F: '{ print $NF + 60 * $(NF > 1 ? NF - 1 : 99) + 3600 * $(NF > 2 ? NF - 2 : 99) }')
    sj_w=$(sed -n 's/^started_at=\([0-9]*\).*/\1/p' "$sj_job_dir/run")
    case ${sj_line:-x}${sj_w:-x} in *[!0-9]*) return ;; esac
    [ $((sj_cs / 100 - sj_w + 10)) -lt "$sj_line" ] || {
        sj_cause=timeout sj_why='its time in PBS was up (walltime)'
    }
}
