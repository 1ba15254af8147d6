# Whose turn it is: the first in line for whom there is a slot.
# In: lines l GROUP N (limits; - is the host), h ID GROUP (slots that are taken), x ID (jobs of
# which nothing is left, without an end); line, the directory of the line. Out: words
# go:NAME, drop:FOLDER/NAME; of those that wait for other jobs ready:NAME, never:NAME:ID:WORD,
# and ask:ID about such a job; wait if anything is left in line.

function is_full(group) { return LIMIT[group] > 0 && USED[group] + 0 >= LIMIT[group] }
function take_slot(group) { USED["-"]++; if (group != "-") USED[group]++ }
# PPPPP.SEQ.ID.ATTEMPT.GROUP to A. No name that anybody has put there is trusted.
function read_name(l) {
    if (split(l, A, ".") != 5 || l ~ /[^A-Za-z0-9._-]/) return 0
    return A[1] ~ /^[0-9]+$/ && length(A[1]) == 5 && A[2] ~ /^[0-9]+$/ && length(A[2]) == 16 && is_id(A[3]) && A[4] ~ /^[0-9]+$/ && length(A[4]) < 10 && length(A[5]) <= 40
}
function is_id(word) { return word ~ /^[a-z2-7]+$/ && length(word) == 16 }
function gather_paths(paths) { some = some paths; if (length(some) > 100000) check_paths() }
function check_paths() { if (some != "") find_odd(some); some = "" }
function list_after(  c, l) {
    c = "LC_ALL=C ls " line "/after 2>/dev/null"
    while ((c | getline l) > 0) if (read_name(l)) { AFTER[++count] = l; gather_paths(" jobs/" A[3] "/.") }
    close(c)
    check_paths()
}
# The jobs that come before one, as its handle says: ID:ok or ID:any, words.
function read_before(id) {
    if (is_there("jobs/" id "/run") || ("jobs/" id "/handle") in BAD) return ""
    return read_record("jobs/" id "/handle") >= 0 ? value_of("after") : ""
}
function name_end(word) {
    if (value_of("cause") ~ /^(cancelled|timeout)$/) return toupper(F["cause"])
    if (value_of("state") == "LOST") return "LOST"
    return value_of("status") == "0" ? "ok" : word
}
# How a job has ended: ok, a state that is bad, unknown; "" if it has not.
function find_end(id,  d) {
    d = "jobs/" id "/"
    if (read_record(d "lost") >= 0 && ("end" in F)) return name_end("LOST")
    if (read_record(d "exit") >= 0 && ("end" in F)) return name_end("FAILED")
    if (read_record(d "run") >= 0) {
        if ("end" in F) return name_end("FAILED")
        if (id in DEAD) return "LOST"
        if (!(id in TAKEN)) print "ask:" id
        return ""
    }
    if (read_record(d "spec") >= 0) return ""
    return read_record("gone/" id) >= 0 ? name_end("CANCELLED") : "unknown"
}
function settle_after(name,  n, i, a, b, s, open) {
    read_name(name)
    n = split(BEFORE[name], a, " ")
    if (n == 0) { print "drop:after/" name; dropped++; return }
    for (i = 1; i <= n; i++) {
        if (split(a[i], b, ":") != 2 || !is_id(b[1])) continue
        if (!(b[1] in ENDED)) ENDED[b[1]] = find_end(b[1])
        s = ENDED[b[1]]
        if (s == "") open = 1
        else if (s != "ok" && (b[2] != "any" || s == "unknown")) { print "never:" name ":" b[1] ":" s; settled++; return }
    }
    if (open) { waits = 1; return }
    print "ready:" name
    settled++
}
$1 == "l" && NF == 3 && $3 ~ /^[0-9]+$/ { LIMIT[$2] = $3 + 0 }
$1 == "h" { TAKEN[$2]; take_slot($3) }
$1 == "x" { DEAD[$2] }
END {
    list_after()
    for (i = 1; i <= count; i++) {
        read_name(AFTER[i])
        BEFORE[AFTER[i]] = read_before(A[3])
        n = split(BEFORE[AFTER[i]], B, " ")
        for (j = 1; j <= n; j++) if (is_id(substr(B[j], 1, 16))) gather_paths(" jobs/" substr(B[j], 1, 16) "/. gone/" substr(B[j], 1, 16))
    }
    check_paths()
    for (i = 1; i <= count && settled < 32 && dropped < 500; i++) settle_after(AFTER[i])
    if (i <= count) waits = 1
    c = "LC_ALL=C ls " line "/wait 2>/dev/null"
    while (went < 32 && dropped < 500 && (c | getline l) > 0) {
        if (!read_name(l)) continue
        waits = 1
        if (A[3] in TAKEN) { print "drop:wait/" l; dropped++; continue }
        if (is_full("-")) break
        if (is_full(A[5])) continue
        TAKEN[A[3]]
        take_slot(A[5])
        print "go:" l
        went++
    }
    close(c)
    if (waits) print "wait"
}
