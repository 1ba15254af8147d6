# The questions of a round, a line each (judge.awk has their grammar), and their answers.
# In: tail, a command that prints what the journal got since; keys, 1 if the holders of keys
# are asked about. Out: frames, or the lines of questions about keys with a state each.

BEGIN {
    if (tail != "") {
        while ((tail | getline l) > 0) {
            n = split(l, a, " ")
            if (n == 3 && a[1] ~ /^[EK]$/ && a[3] == ".") { J[a[2]] = 1; if (a[1] == "K") K[a[2]] = 1 }
        }
        if (close(tail)) exit broken = 3
    }
}
# Who runs as before is told by `run` alone; of all others every record is looked at first.
function still() { return $1 == "c" && $3 != "-" && !sweep && !($2 in J) }
function gather(paths) { some = some paths; if (length(some) > 100000) flush() }
function flush() { if (some != "") odd(some); some = "" }
function answer(  d) {
    if ($1 == "c" || $1 == "s") judge($2, $3, $4)
    if ($1 == "f") forget($2, $3, $4)
    if ($1 == "d") {
        if (stands($2)) { K[$2] = 1; due($2, "jobs/" $2 "/") }
        else print $2, "settled" | ENVIRON["SJ_LOSER"]
    }
    if ($1 == "r" && rd("keys/" $3 "/" $4) >= 0 && ("state" in F)) {
        if (F["state"] == "LOST") say("lost " $2 " it was lost, and its directory was reaped")
        else ended($2)
    }
    if ($1 == "w") {
        quiet = 1
        judge($5, "-", "-")
        W[++ws] = $2 " " $3 " " $4 " " $5
        WS[ws] = state
        WD[ws] = $6
    }
    if ($1 != "l") return
    d = "jobs/" $2 "/"
    if (rd(d "spec") < 0 && rd(d "exit") < 0 || !("sj_ok" in F) && !("end" in F)) { say("odd " $2 " no whole job"); return }
    L[++ls] = $2
    LR[ls] = $3 " " plain("sj_digest") " " word("sj_name") " " word("sj_keyword")
    LA[ls] = real("sj_at", now)
    quiet = 1
    judge($2, "-", "-")
    LS[ls] = state
}
/^[cdflrsw] / { Q[++qs] = $0; if (still()) gather(" jobs/" $2 "/run") }
END {
    if (broken) exit broken
    flush()
    for (i = 1; i <= qs; i++) {
        $0 = Q[i]
        if (still() && asked($2, $3, $4) && alive($3, $4)) Q[i] = ""
        else if ($1 == "r") gather(" keys/" $3 "/" $4)
        else gather($1 == "w" ? " keys/" $3 "/" $4 " jobs/" $5 "/. gone/" $5 : " jobs/" $2 "/. gone/" $2)
    }
    flush()
    for (i = 1; i <= qs; i++) {
        if (i % 50 == 0 && !keys) { print "beat"; fflush() }
        $0 = Q[i]
        answer()
    }
    settle()
    for (i = 1; i <= ws; i++) {
        split(W[i], a, " ")
        s = WS[i]
        if (s == "DOUBT") s = VERDICT[a[4]]
        same = (rd("keys/" a[2] "/" a[3]) >= 0 && F["digest"] == WD[i])
        if (s == "MISSING" || s == "GONE") s = F["state"] ~ /^[A-Z]+$/ ? F["state"] : (s == "GONE" ? "CANCELLED" : "LOST")
        print a[1], a[2], a[3], a[4], s, same
    }
    quiet = 0
    for (i = 1; i <= ls; i++) {
        id = L[i]
        s = LS[i]
        if (s == "DOUBT") s = VERDICT[id]
        rd("jobs/" id "/run")
        say("listed " id " " s " " (now - LA[i]) " " plain("node") " " LR[i])
        new = ("started_at" in F)
        if (s == "RUNNING" || s == "PENDING") { if (new) started(id) }
        else finish(id, "jobs/" id "/", new)
    }
}
