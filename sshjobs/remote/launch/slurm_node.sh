# What Slurm has done to a job, as its runner asks on the node.
# In: SLURM_JOB_ID. Out: sj_cause, sj_why.

sj_slurm_tell_why() {
    sj_line=$(timeout 10 squeue -h -j "$SLURM_JOB_ID" -o '%T %r' 2>/dev/null)
    case $sj_line in
    *TimeLimit* | TIMEOUT* | DEADLINE*) sj_cause=timeout sj_why='its time in Slurm was up (TimeLimit)' ;;
    PREEMPTED* | *Preempt*) sj_cause='' sj_why='preempted by Slurm' ;;
    CANCELLED* | COMPLETING*) sj_why='cancelled in Slurm (by scancel, or put back into its queue)' ;;
    *) sj_why="ended by Slurm${sj_line:+ ($sj_line)}" ;;
    esac
}
