# Lists every job directory, and what else stands among them.
# In: jobs/. Out: frames listed, odd, and those of judge.

# Every directory entry; ls -R does not follow symbolic links.
sj_list_jobs() {
    sj_uid=$(id -u)
    # shellcheck disable=SC2012 # names that are not ours are only counted as odd
    sj_out=$(ls -lnR jobs 2>/dev/null | awk -v uid="$sj_uid" "$sj_list_awk")
    printf '%s\n' "$sj_out" | sed -n 's/^o /odd /p'
    sj_tail='' sj_judge_jobs '' "$sj_out" || sj_broken='awk or find'
}
