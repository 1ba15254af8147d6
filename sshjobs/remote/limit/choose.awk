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
function settle_after(name,  s) {
    read_name(name)
    if (BEFORE[name] !~ /[^ ]/) { print "drop:after/" name; dropped++; return }
    s = weigh_before(BEFORE[name])
    if (s == "open") { waits = 1; return }
    print (s == "ready" ? "ready:" name : "never:" name ":" s)
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
        gather_paths(list_before(BEFORE[AFTER[i]]))
    }
    check_paths()
    for (i = 1; i <= count && settled < 32 && dropped < 500; i++) settle_after(AFTER[i])
    if (i <= count) waits = 1
    for (l in ENDED) if (ENDED[l] == "runs" && !(l in DEAD) && !(l in TAKEN)) print "ask:" l
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
