# How the jobs have ended that come before another one.
# In: their records, and BAD, the paths that are none. Out: ok, or a state that is bad, unknown
# for a job of which the host has no record, runs for one that has begun, "" for one that waits.

function is_id(word) { return word ~ /^[a-z2-7]+$/ && length(word) == 16 }
function name_ending(word) {
    if (value_of("cause") ~ /^(cancelled|timeout)$/) return toupper(F["cause"])
    if (value_of("state") == "LOST") return "LOST"
    return value_of("status") == "0" ? "ok" : word
}
function find_end(id,  d) {
    d = "jobs/" id "/"
    if (read_record(d "lost") >= 0 && ("end" in F)) return name_ending("LOST")
    if (read_record(d "exit") >= 0 && ("end" in F)) return name_ending("FAILED")
    if (read_record(d "run") >= 0) return ("end" in F) ? name_ending("FAILED") : "runs"
    if (read_record(d "spec") >= 0) return ""
    return read_record("gone/" id) >= 0 ? name_ending("CANCELLED") : "unknown"
}
# Of words ID:ok and ID:any: ready, open, or ID:WORD of the first that keeps the job from beginning
# for ever.
function weigh_before(words,  n, i, a, b, s, open) {
    n = split(words, a, " ")
    for (i = 1; i <= n; i++) {
        if (split(a[i], b, ":") != 2 || !is_id(b[1])) continue
        if (!(b[1] in ENDED)) ENDED[b[1]] = find_end(b[1])
        s = ENDED[b[1]]
        if (s == "runs" && (b[1] in DEAD)) s = "LOST"
        if (s == "" || s == "runs") open = 1
        else if (s != "ok" && (b[2] != "any" || s == "unknown")) return b[1] ":" s
    }
    return open ? "open" : "ready"
}
# Where their records stand, for find_odd.
function list_before(words,  n, i, a, t) {
    n = split(words, a, " ")
    for (i = 1; i <= n; i++) if (is_id(substr(a[i], 1, 16))) t = t " jobs/" substr(a[i], 1, 16) "/. gone/" substr(a[i], 1, 16)
    return t
}
function tell_never(word) {
    if (word ~ /:unknown$/) return "never began: the host knows no job " substr(word, 1, 16) ", which was to come before it"
    return "never began: job " substr(word, 1, 16) ", which was to come before it, is " substr(word, 18)
}
