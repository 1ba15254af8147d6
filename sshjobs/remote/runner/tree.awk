# Chooses the processes of jobs, and which signal is due to each.
# In: ids, a line each; scope, me, e, termed, told, at, unsound. Out: the words that sj_scan_trees
# reads: seen, soft, hard, live, done, wake, each with a list, and nap.
#
# Who belongs to which of the jobs ID, and what is due to them after E seconds: soft (TERM,
# once each; a group that was TOLD has had it) before the grace of the job has passed, hard
# after it. Never the runners; nor the killer ME with its children, should a job have asked
# for its own end. A recorded group counts unless its leader was not started when the record
# says, or where it does not say it, soon after the runner (30 s, in ticks of 10 ms): then
# the number has been given to somebody else. The
# leader comes first, so that it does not live to see its child's end.

BEGIN {
    count = split(unsound, paths, " ")
    for (i = 1; i <= count; i++) BAD[paths[i]]
}
function take_process(p, id, certain) {
    if (!certain && !is_own(p)) return 0
    OW[p] = id
    SURE[p] = certain
    return 1
}
function is_same(p) { return !proc || (read_stat(p) && V[20] == ST[p]) }
# Whether the leader of that number is the one of old, as far as its start tells; and whether
# it certainly is: started in the very tick that was noted, or still the child of its runner.
# What hangs on such a leader belongs to the job whatever its user is (decision 0013). The
# number may have been given to somebody else, within 30 s of the start: root, whose signals
# reach everybody, ends only its own processes then.
function is_led(g) { return (g in ST) && (GB[g] == "" ? is_near(ST[g], GS[g]) : ST[g] == GB[g]) }
function is_certain(g, id) { return is_led(g) && (GB[g] != "" || UID != 0 || (up[id] && PP[g] == RP[id])) }
{
    id = $1
    want[id] = ++n
    ids[n] = id
    read_record("jobs/" id "/spec")
    gsub(/\047/, "", F["sj_grace"])
    grace[id] = F["sj_grace"] == "" ? 10 : F["sj_grace"] + 0
    read_record("jobs/" id "/run")
    if (!is_ours()) { n--; delete want[id]; next }
    known[id] = ("pgid" in F) # before it is asked for, which makes it be there
    g = F["pgid"] + 0
    if (g > 1) { G[g] = id; GS[g] = F["start"]; GB[g] = F["born"] }
    p = F["job_pid"] + 0
    if (p > 1) { LP[p] = id; GS[p] = F["start"]; GB[p] = F["born"] }
    RP[id] = F["pid"]
    RB[id] = F["start"]
    read_record("jobs/" id "/exit")
    over[id] = ("end" in F)
}
END {
    if (!list_all() || (scope != "group" && !read_marks())) exit
    for (i = 1; i <= n; i++) if ((RP[ids[i]] in ST) && ST[RP[ids[i]]] == RB[ids[i]]) { spare[RP[ids[i]]] = 1; up[ids[i]] = 1 }
    for (g in G) if ((g in ST) && !is_led(g)) delete G[g]
    for (p in LP) if (is_led(p)) take_process(p, LP[p], is_certain(p, LP[p]))
    for (p in ST) {
        # Who is to lead a group is the job before it has one.
        g = (p in G) ? p : (GR[p] in G) ? GR[p] : (scope != "group" && (SE[p] in G)) ? SE[p] : 0
        if (g) take_process(p, G[g], (scope == "group" && !(g in ST)) || is_certain(g, G[g]))
    }
    for (p in MARK) if (MARK[p] in want) OW[p] = MARK[p]
    if (me) mine[me] = 1
    do {
        more = 0
        for (p in ST) {
            if (!(p in mine) && (PP[p] in mine)) { mine[p] = 1; more = 1 }
            if (scope != "group" && !(p in OW) && (PP[p] in OW) && !(p in other)) {
                if (take_process(p, OW[PP[p]], SURE[PP[p]])) more = 1
                else other[p] = 1
            }
        }
    } while (more)
    soft = "soft"; hard = "hard"; live = "live"; done = "done"; wake = "wake"; nap = 1
    for (p in spare) if (HA[p]) wake = wake " " p
    for (p in OW) {
        if ((p in mine) || (p in spare) || p + 0 < 2 || !is_same(p)) continue
        id = OW[p]
        left[id]++
        if (e >= grace[id]) hard = hard " " p
        else if ((termed == " " || (at != "" && ST[p] + 0 < at)) && !index(termed, " " p " ") && !(told && (GR[p] in G))) {
            if (p in G) lead = lead " " p; else soft = soft " " p
        }
    }
    for (i = 1; i <= n; i++) {
        id = ids[i]
        # A child that is not yet known, or not yet marked, has a moment to be.
        if (left[id] || (!over[id] && !known[id] && (up[id] || e < 1))) {
            live = live " " id
            if (grace[id] > e && grace[id] - e < nap) nap = grace[id] - e
            if (!known[id] && nap > 0.1) nap = 0.1
        } else done = done " " id
    }
    print "seen"
    print "soft" lead substr(soft, 5); print hard; print live; print done; print wake
    printf "nap %.2f\n", nap
}
