# Whose turn it is: the first in line for whom there is a slot.
# In: lines l GROUP N (limits; - is the host), h ID GROUP (slots that are taken); line, the
# directory of the line. Out: words go:NAME, drop:FOLDER/NAME, ready:NAME; wait if it is
# nobody's turn.

function is_full(group) { return LIMIT[group] > 0 && USED[group] + 0 >= LIMIT[group] }
function take_slot(group) { USED["-"]++; if (group != "-") USED[group]++ }
# PPPPP.SEQ.ID.ATTEMPT.GROUP to A. No name that anybody has put there is trusted.
function read_name(l) {
    if (split(l, A, ".") != 5 || l ~ /[^A-Za-z0-9._-]/) return 0
    return A[1] ~ /^[0-9]+$/ && length(A[1]) == 5 && A[2] ~ /^[0-9]+$/ && length(A[2]) == 16 && A[3] ~ /^[a-z2-7]+$/ && length(A[3]) == 16 && A[4] ~ /^[0-9]+$/ && length(A[4]) < 10 && length(A[5]) <= 40
}
$1 == "l" && NF == 3 && $3 ~ /^[0-9]+$/ { LIMIT[$2] = $3 + 0 }
$1 == "h" { TAKEN[$2]; take_slot($3) }
END {
    c = "LC_ALL=C ls " line "/wait"
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
