# In place of queue.awk, where a request is for no job that a scheduler has.
# In: d, the directory of a job. Out: nothing is judged; whose word an unclaimed job waits for.

function judge_queued(id, d, new, pid) { return 0 }
function name_loss(id, why) { return why }
function name_launcher(d,  l) {
    if ((d "handle") in BAD || (getline l < (d "handle")) < 1) return ""
    close(d "handle")
    sub(/^launcher=/, "", l)
    return l ~ /^[a-z]+$/ ? l : ""
}
