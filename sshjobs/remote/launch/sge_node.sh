# What Grid Engine has done to a job, as its runner asks on the node.
# In: JOB_ID. Out: sj_cause, sj_why.

# One that is deleted says so in its state; one over a limit is ended without. Where nodes may
# not ask, only that it was ended is known.
sj_sge_tell_why() {
    sj_line=$(timeout 10 qstat -u "$(id -un)" 2>/dev/null |
        awk -v n="$JOB_ID" 'NR > 2 { seen = 1 } $1 == n { s = $5 } END { if (seen) print s "-" }')
    case $sj_line in
    *d*-) sj_why='deleted in SGE (by qdel)' ;;
    *[rtRsST]*-) sj_cause=timeout sj_why='its limit in SGE was reached (h_rt, or another)' ;;
    esac
}
