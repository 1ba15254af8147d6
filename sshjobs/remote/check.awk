# The questions of a round, a line each (judge.awk has their grammar), and their answers.
# In: tail, a command that prints what the journal got since; keys, 1 if the holders of keys
# are asked about; alive, 1 if all that are known to run are there. Out: frames, or the
# lines of questions about keys with a state each.

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
function is_unchanged() { return $1 == "c" && $3 != "-" && !sweep && !($2 in J) }
# In parts: some awk copies a text, or counts its bytes, each time that it grows.
function gather_paths(paths) {
    part = part paths
    if (++gathered % 100) return
    some = some part
    part = ""
    if (length(some) > 90000) check_paths()
}
function check_paths() {
    some = some part
    part = ""
    if (some != "") find_odd(some)
    some = ""
}
function answer_question(  d) {
    if ($1 == "c" || $1 == "s") judge_job($2, $3, $4)
    if ($1 == "f") forget_job($2, $3, $4)
    if ($1 == "d") {
        if (is_to_end($2)) { K[$2] = 1; tell_due($2, "jobs/" $2 "/") }
        else print $2, "settled" | ENVIRON["SJ_LOSER"]
    }
    if ($1 == "r" && read_record("keys/" $3 "/" $4) >= 0 && ("state" in F)) {
        if (F["state"] == "LOST") say_frame("lost " $2 " it was lost, and its directory was reaped")
        else tell_end($2)
    }
    if ($1 == "w") {
        quiet = 1
        judge_job($5, "-", "-")
        W[++ws] = $2 " " $3 " " $4 " " $5
        WS[ws] = state
        WD[ws] = $6
    }
    if ($1 != "l") return
    d = "jobs/" $2 "/"
    if (read_record(d "spec") < 0 && read_record(d "exit") < 0 || !("sj_ok" in F) && !("end" in F)) { say_frame("odd " $2 " no whole job"); return }
    L[++ls] = $2
    LR[ls] = $3 " " token_of("sj_digest") " " word_of("sj_name") " " word_of("sj_keyword")
    LA[ls] = instant_of("sj_at", now)
    quiet = 1
    judge_job($2, "-", "-")
    LS[ls] = state
}
/^[cdflrsw] / {
    if (is_unchanged()) {
        if (alive) next
        gather_paths(" jobs/" $2 "/run")
    }
    Q[++qs] = $0
}
END {
    if (broken) exit broken
    check_paths()
    for (i = 1; i <= qs; i++) {
        $0 = Q[i]
        if (is_unchanged() && is_as_known($2, $3, $4) && is_alive($3, $4)) Q[i] = ""
        else if ($1 == "r") gather_paths(" keys/" $3 "/" $4)
        else gather_paths($1 == "w" ? " keys/" $3 "/" $4 " jobs/" $5 "/. gone/" $5 : " jobs/" $2 "/. gone/" $2)
    }
    check_paths()
    for (i = 1; i <= qs; i++) {
        if (i % 50 == 0 && !keys) { print "beat"; fflush() }
        if (Q[i] == "") continue
        $0 = Q[i]
        answer_question()
    }
    settle_doubts()
    for (i = 1; i <= ws; i++) {
        split(W[i], a, " ")
        s = WS[i]
        if (s == "DOUBT") s = VERDICT[a[4]]
        same = (read_record("keys/" a[2] "/" a[3]) >= 0 && F["digest"] == WD[i])
        if (s == "MISSING" || s == "GONE") s = F["state"] ~ /^[A-Z]+$/ ? F["state"] : (s == "GONE" ? "CANCELLED" : "LOST")
        print a[1], a[2], a[3], a[4], s, same
    }
    quiet = 0
    for (i = 1; i <= ls; i++) {
        id = L[i]
        s = LS[i]
        if (s == "DOUBT") s = VERDICT[id]
        read_record("jobs/" id "/run")
        say_frame("listed " id " " s " " (now - LA[i]) " " token_of("node") " " LR[i])
        new = ("started_at" in F)
        if (s == "RUNNING" || s == "PENDING") { if (new) tell_start(id) }
        else tell_if_ended(id, "jobs/" id "/", new)
    }
}
