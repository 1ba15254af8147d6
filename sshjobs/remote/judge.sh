# Has the evidence judged: one awk for all questions of a round.
# In: the lines of check.awk, sj_now, sj_grace, sj_sweep, sj_tail, sj_alive. Out: frames.

sj_judge_asked() {
    # what a round asks about
    sj_judge_jobs '' "$sj_ask" || sj_broken='awk or find'
}

sj_judge_jobs() {
    # QUIET QUESTIONS
    printf '%s\n' "$2" | SJ_LOSER=$sj_lost_sh SJ_NOW=$sj_now SJ_DUE=$sj_machine/due SJ_QUIET=$1 awk \
        -v machine="$sj_machine" -v boot="$sj_boot" -v now="$sj_now" -v proc="$sj_proc" \
        -v grepz="$sj_grepz" -v sweep="$sj_sweep" -v grace="$sj_grace" -v keys="$1" \
        -v tail="$sj_tail" -v self="$$" -v offset="$sj_offset" -v alive="$sj_alive" \
        "$sj_records_awk$sj_judge_awk"
}
