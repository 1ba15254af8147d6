# What squeue says of our jobs, in the words of queue.awk.
# In: lines of NUMBER|NAME|STATE|PARTITION|NODES|REASON|. Out: lines of
# q LAUNCHER ID NUMBER WORD PARTITION NODE REASON.

function clean_word(t, other) { gsub(/[^A-Za-z0-9._,+-]/, "_", t); t = substr(t, 1, 60); return t == "" ? other : t }
BEGIN {
    split("PENDING CONFIGURING POWER_UP_NODE REQUEUED REQUEUE_FED REQUEUE_HOLD RESV_DEL_HOLD SPECIAL_EXIT", a, " ")
    for (i in a) W[a[i]] = "waits"
    split("RUNNING SUSPENDED STOPPED RESIZING SIGNALING STAGE_OUT COMPLETING REVOKED", a, " ")
    for (i in a) W[a[i]] = "runs"
    W["COMPLETED"] = "over"
    W["TIMEOUT"] = W["DEADLINE"] = "timeout"
    W["OUT_OF_MEMORY"] = "memory"
    W["CANCELLED"] = "cancelled"
    W["PREEMPTED"] = "preempted"
    W["NODE_FAIL"] = "nodefail"
    W["FAILED"] = W["LAUNCH_FAILED"] = W["BOOT_FAIL"] = W["RECONFIG_FAIL"] = "failed"
}
$2 ~ /^sj-[a-z2-7]+$/ && length($2) == 19 && $1 ~ /^[0-9]+$/ {
    s = clean_word($3, "-")
    w = (s in W) ? W[s] : "runs"
    r = clean_word($6, "None")
    if (r == "None") r = ""
    if (w == "waits") r = (s == "PENDING") ? (r == "" ? "PENDING" : r) : s
    else if (s == "RUNNING") r = ""
    else r = s (r == "" ? "" : " (" r ")")
    print "q slurm", substr($2, 4), $1, w, clean_word($4, "-"), clean_word($5, "-"), r
}
