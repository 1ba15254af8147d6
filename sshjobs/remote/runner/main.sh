# The end of the runner file: batches of jobs, and what each mode does.
# In: sj_mode and lines of ids on standard input. Out: a process for each job.

# The jobs of a batch share the instant of their start to a few milliseconds, and a line of
# the journal: both are read and written once for sixteen.
sj_run_jobs() {
    sj_count=0 sj_batch_ids='' sj_init=''
    [ "$sj_proc" ] && sj_read_start 1 2>/dev/null && sj_init=$sj_started
    while read -r sj_line; do
        [ $((sj_count % 16)) -eq 0 ] && {
            [ "$sj_batch_ids" ] && sj_write_journal "S$sj_batch_ids"
            sj_batch_ids=''
            sj_w=$sj_line
            sj_read_clock
            sj_line=$sj_w
        }
        sj_count=$((sj_count + 1))
        sj_batch_ids="$sj_batch_ids ${sj_line%%:*}"
        sj_run_job "${sj_line%%:*}" "${sj_line#*:}" &
    done
    [ "$sj_batch_ids" ] && sj_write_journal "S$sj_batch_ids"
}

# A round that waits for a few starts listens to stderr, until their jobs are under way.
case $sj_mode$sj_burst in
s)
    exec >/dev/null
    sj_says=1
    ;;
*) exec >/dev/null 2>&1 ;;
esac
case $sj_mode in
s) sj_run_jobs ;;
k)
    set --
    while read -r sj_line; do set -- "$@" "$sj_line"; done
    {
        sj_read_self
        sj_me=$sj_pid sj_stage=kill sj_scope=tree sj_left=$*
        trap sj_handle_no_fork EXIT
        for sj_i; do
            [ -f "jobs/$sj_i/cancel" ] && printf 'killer=%s %s\n' "$sj_pid" "$sj_start" >>"jobs/$sj_i/cancel"
        done
        sj_end_trees tree "$@"
        sj_stage=''
    } &
    ;;
again) sj_resume_stage ;;
esac
exit 0
