# How a job does that a scheduler has: its claim and its end first, then the scheduler's word.
# In: lines of sj_read_queues: qat LAUNCHER T, qdown LAUNCHER T TEXT, and of slurm.awk.
# Out: frames; ids that are to be sent again, or ended, by the files of sj_settle_queued.
#
# A job that no runner has claimed waits, whatever becomes of what was handed over: it is
# sent again if it is not listed by a look long enough after it was sent. One that ended
# unclaimed is claimed here, with its end. One that was claimed and has no end is lost only
# once its scheduler does not run it any more, and vanish seconds have passed: on a shared
# file system its record comes late. Of a look that failed nothing is concluded.

function is_better(w, old) { return old == "" || w == "runs" || (w == "waits" && old != "runs") }
/^qlimit [A-Za-z0-9_-]+ [0-9]+$/ { LIMIT[$2] = $3 + 0; next }
/^qslot [a-z2-7]+\.[0-9]+\.[A-Za-z0-9_-]+$/ {
    split($2, a, ".")
    USED[a[3]]++
    QW[a[1]] = "waits"
    QH[a[1]] = "limit:0:" a[3]
    QR[a[1]] = "about to start"
    next
}
/^qat limit [0-9.]+$/ { list_line("wait"); list_line("after") }
/^qat [a-z]+ [0-9.]+$/ { QAT[$2] = $3; next }
/^qdown [a-z]+ [0-9.]+ / { QDOWN[$2] = substr($0, length($1 $2 $3) + 4, 300); next }
/^q [a-z]+ [a-z2-7]+ [0-9]+ [a-z]+ / {
    if (is_better($5, QW[$3])) {
        QW[$3] = $5
        QH[$3] = $2 ":" $4 ":" $6
        QN[$3] = $7
        QR[$3] = substr($0, length($1 $2 $3 $4 $5 $6 $7) + 8, 200)
    }
    next
}
# The line of launch/limit.sh, which says of each why it waits: its place among those that the
# same limit keeps waiting.
function list_line(folder,  c, l, a, g, all) {
    c = "LC_ALL=C ls " machine "/queue/" folder " 2>/dev/null"
    while ((c | getline l) > 0) {
        if (split(l, a, ".") != 5 || l ~ /[^A-Za-z0-9._-]/) continue
        g = a[5]
        RANK[g]++
        all++
        if ((a[3] in QW) && QW[a[3]] == "waits") continue
        QW[a[3]] = "waits"
        QH[a[3]] = "limit:" a[2] ":" g
        if (folder == "after") QR[a[3]] = "after"
        else if (LIMIT[g] && g != "-" && USED[g] + 0 >= LIMIT[g]) QR[a[3]] = "limit " LIMIT[g] (g ~ /^batch-/ ? "" : " of group " g) ", " name_rank(RANK[g])
        else QR[a[3]] = LIMIT["-"] ? "limit " LIMIT["-"] ", " name_rank(all) : "about to start"
    }
    close(c)
}
function name_before(  t) {
    t = substr(H["after"], 1, 200)
    gsub(/:ok/, "", t)
    gsub(/[^a-z2-7: ]/, "_", t)
    gsub(/ /, ", ", t)
    return "after " t
}
function clean_text(t) { t = substr(t, 1, 200); gsub(/[^ -~]/, "?", t); return t }
function name_rank(n) {
    if (n % 100 < 11 || n % 100 > 13) {
        if (n % 10 == 1) return n "st"
        if (n % 10 == 2) return n "nd"
        if (n % 10 == 3) return n "rd"
    }
    return n "th"
}
function read_handle(d,  f, l, k, r) {
    f = d "handle"
    split("", H)
    answers = 0
    if (f in BAD) return 1
    while ((r = (getline l < f)) > 0) if ((k = index(l, "=")) > 1) {
        H[substr(l, 1, k - 1)] = substr(l, k + 1)
        if (l ~ /^handle=/) answers++
    }
    close(f)
    return r >= 0
}
function handle_of(id) {
    if (id in QH) return QH[id]
    return launcher (H["handle"] ~ /^[0-9]+$/ ? ":" H["handle"] ":-" : "")
}
# How long after it was sent the queue was looked at; "" if it was not, or not sent.
function measure_look() { return (launcher in QAT) && ("sent_at" in H) ? QAT[launcher] - H["sent_at"] : "" }
function judge_queued(id, d, new, pid,  claimed) {
    if (!read_handle(d)) return 0
    launcher = H["launcher"]
    if (!(launcher ~ /^[a-z]+$/)) launcher = "unknown"
    claimed = read_record(d "run") >= 0
    if (claimed && is_ours()) return 0
    if (tell_if_ended(id, d, new)) return 1
    if (!claimed && read_record(d "spec") < 0) return 0
    if (claimed && (id in FG)) { read_record(d "run"); doubt_job(id, "forgotten", new); return 1 }
    state = claimed || !new ? "RUNNING" : "PENDING"
    if (quiet) return 1
    if (state == "PENDING") judge_waiting(id, d)
    else if (!claimed) say_frame("unseen " id " its record on the host cannot be seen")
    else {
        read_record(d "run")
        if (new) tell_start(id)
        judge_claimed(id, d, new)
    }
    return 1
}
function write_line(name, text) { if (ENVIRON["SJ_TMP"] != "") print text > (ENVIRON["SJ_TMP"] name) }
function judge_waiting(id, d,  after, word) {
    word = QW[id]
    after = measure_look()
    if (launcher == "limit" && H["machine"] != "" && H["machine"] != machine) say_frame("queued " id " " handle_of(id) " waits on another machine that shares the directory")
    else if (launcher in QDOWN) say_frame("queued " id " " handle_of(id) " " launcher " does not answer: " QDOWN[launcher])
    else if (!(launcher in QAT)) say_frame("queued " id " " handle_of(id) " its launcher was not asked")
    else if (launcher != "limit" && ("after" in H) && !(id in SETTLED)) { LATER[++laters] = id; gather_paths(list_before(H["after"])) }
    else if (word == "waits") say_frame("queued " id " " handle_of(id) " " ((id in OPEN) || QR[id] ~ /^(after|Dependency)$/ ? name_before() : QR[id]))
    else if (word == "runs") say_frame("queued " id " " handle_of(id) " " (QR[id] == "" ? "RUNNING" : QR[id]) " on " QN[id] ", and has not begun")
    else if (word ~ /^(over|failed)$/ && ("after" in H) && answers < 10) send_again(id, "its turn has not come, and it is handed over again")
    else if (word != "") {
        say_frame("queued " id " " handle_of(id) " " QR[id])
        write_line(".fate", id " " (word == "cancelled" ? "cancelled " launcher ": cancelled before it began" (QN[id] ~ /^[A-Za-z0-9]/ ? ", on its way to " QN[id] ": by a person, or after a crash of the controller, which gives a number twice" : "") : word == "timeout" ? "timeout " launcher ": " QR[id] : "failed it never began: " launcher " says " QR[id] "; see that the nodes share the base directory, and can write there"))
    } else if (after != "" && after >= 30 && answers >= 10) {
        say_frame("queued " id " " handle_of(id) " it was handed over " answers " times")
        write_line(".fate", id " failed it never began: " launcher " has taken it " answers " times, and each time had it no more; see that the nodes share the base directory")
    } else if (H["sent_at"] == "" && ("full" in H) && QAT[launcher] <= H["full_at"] + 0) say_frame("queued " id " " handle_of(id) " no room: " clean_text(H["full"]))
    else if (after == "" || after >= 30) send_again(id, after == "" ? "is being handed over" : "not in the queue, and handed over again")
    else say_frame("queued " id " " handle_of(id) " handed over, and not listed yet")
}
function send_again(id, why) {
    say_frame("queued " id " " handle_of(id) " " why)
    write_line(".again", launcher " " id ":" (H["attempt"] ~ /^[0-9]+$/ ? H["attempt"] : 1))
}
function judge_claimed(id, d, new,  word, since, f) {
    word = QW[id]
    if (launcher in QDOWN) { say_frame("unseen " id " " launcher " does not answer: " QDOWN[launcher]); return }
    if (launcher == "limit" || !(launcher in QAT)) { say_frame("elsewhere " id " " token_of("node")); return }
    if (word == "runs" || word == "waits") {
        f = d "doubt"
        if (!(f in BAD) && is_there(f)) { printf "" > f; close(f) }
        if (word == "runs") say_frame("queued " id " " handle_of(id) " " QR[id])
        else say_frame("unseen " id " put back into the queue by the site (" QR[id] "); it is not run again")
        if (is_there(d "cancel")) say_frame("due " id)
        return
    }
    # What was handed over a moment ago is in no list yet.
    if (word == "" && measure_look() != "" && measure_look() < 30) return
    since = read_record(d "doubt") >= 0 ? instant_of("at", 0) : 0
    if (!since) {
        since = now
        f = d "doubt"
        if (!(f in BAD)) { print "at=" now > f; close(f) }
    }
    if (word == "" && !("word" in H) && (launcher in QAT)) write_line(".recall", launcher " " id ":" (H["handle"] ~ /^[0-9]+$/ ? H["handle"] : "-"))
    if (now - since >= ENVIRON["SJ_VANISH"] || is_there(d "cancel")) { losses++; print id, name_loss(id, "= its scheduler has it no more, and it left no record of its end") | ENVIRON["SJ_LOSER"] }
    else if (word == "nodefail") say_frame("unseen " id " its node " QN[id] " does not answer (NODE_FAIL)")
    else say_frame("unseen " id " " launcher (word == "" ? " has it no more" : " says " QR[id]) "; its record is still to come")
}
# Why a job is lost, or ended, where its scheduler has said more of it: =CAUSE REASON. The last
# word is what its runner heard, or what accounts say.
function name_loss(id, why,  t) {
    if (QW[id] == "" && H["word"] ~ /^(cancelled|timeout|failed|lost) ./) {
        t = substr(H["word"], 1, 200)
        gsub(/[^A-Za-z0-9 ._,:;()=+-]/, "_", t)
        sub(/^lost /, " ", t)
        return "=" t
    }
    if (QW[id] == "cancelled") return "=cancelled cancelled in its scheduler"
    if (QW[id] == "timeout") return "=timeout its time in its scheduler was up"
    if (QW[id] == "memory") return "=failed out of memory"
    if (QW[id] == "preempted") return "=failed preempted by its scheduler"
    if (QW[id] == "nodefail") return "= its node failed"
    if (QW[id] == "failed") return "= its scheduler says that it failed, and it left no record of its end"
    return why
}
function name_launcher(d) { return "" }
