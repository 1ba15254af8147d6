# How one job does: judge() tells it as frames, unless quiet; settle() follows for the jobs
# that needed a listing of processes.
# In: records.awk, processes.awk, now, grace, sweep. Out: frames, state, and by the pipe to
# lost.sh which jobs are lost.
#
# The evidence. Lines come in, one a question:
#   c ID PID START       how does this job do? PID - : not known to run
#   s ID - -             the same, of a job that was just started or killed
#   w ID SHA N WINNER DIGEST   a key: prints the line again with a state word, see sj_keys
#   r WINNER SHA N       the end of a reaped job, from its key's record
#   l ID SIZE            list it; SIZE of its log
#   f ID PID START       a person knows that it is gone: lost, unless it is seen to run
#   d ID - -             it was to end while this machine could not be reached
# and frames go out. A process counts as alive if its start time is the recorded one and
# it is no zombie. The runner is looked at first and `exit` after it, so that a runner
# that ends in between is not taken for lost. Only for those whose runner is gone without
# an `exit` are all processes listed, once for all of them: by session, group and mark.
# For a job that is as it was (the first lines of `run` as the asker knows them) that is
# all that is read. judge() says the state of one job as frames, unless quiet; settle()
# follows it for those that needed the listing. A damaged record is told as far as it goes:
# num() and sec() keep from the asker what is no number.

function say(s) { print s; said++ }
function alive(p, s) {
    if (!(p ~ /^[0-9]+$/)) return 0
    if (!proc) { list(); return (p in ST) && ST[p] == s }
    return stat(p) && V[20] == s
}
function look(  p) {
    if (looked) return
    looked = 1
    if (!list() || !marks()) { blind = 1; return }
    for (p in MARK) MK[MARK[p]] = 1
}
# A leader that is there tells whether the group is the job of old, whoever it has become; of
# a group without one our own processes do.
function tree(id, g, gs, gb,  n, i, a) {
    if (id in MK) return 1
    if (!(g ~ /^[0-9]+$/) || g + 0 < 2) return 0
    # The leader of the group to be is the job before it has its group and its mark.
    if (proc && (g in ST)) return gb == "-" ? near(ST[g], gs) : ST[g] == gb
    n = split(IN[g], a, " ")
    for (i = 1; i <= n; i++) if (own(a[i])) return 1
    return 0
}
function started(id, at) {
    say("started " id " " num("pid", 0, 2e9) " " num("pgid", 0, 2e9) " " plain("start") " " plain("boot_id") " " plain("node") " " real("started_at", now))
}
function ended(id) {
    say("ended " id " " num("status", "-", 255) " " num("signal", "-", 127) " " plain("cause") " " real("started_at", "-") " " real("finished_at", "-") " " num("log_bytes", 0, 1e15) " " txt("reason"))
}
function lost(id) {
    if (val("cause") == "cancelled") { ended(id); return "CANCELLED" }
    say("lost " id " " txt("reason"))
    return "LOST"
}
function endword() {
    if (val("cause") == "cancelled") return "CANCELLED"
    if (val("cause") == "timeout") return "TIMEOUT"
    return val("status") == "0" ? "COMPLETED" : "FAILED"
}
function finish(id, d, new) {
    if (rd(d "lost") >= 0 && ("end" in F)) { state = quiet ? "LOST" : lost(id); return 1 }
    if (rd(d "exit") >= 0 && ("end" in F) || rd(d "run") >= 0 && ("end" in F)) {
        state = endword()
        if (quiet) return 1
        if (new && val("pid") != "-") started(id)
        ended(id)
        return 1
    }
    return 0
}
function suspect(id, why, new) {
    if (!(id in SU)) order[++sus] = id
    SU[id] = why
    SN[id] = new
    PG[id] = val("pgid") == "0" ? val("job_pid") : val("pgid")
    JS[id] = val("start")
    JB[id] = val("born")
    # Its runner died in the instant after the fork, and wrote no number down: the child has
    # a moment to show its mark.
    JY[id] = ("started_at" in F) && !("pgid" in F) && now - F["started_at"] < grace
}
function line(f, want,  l) { return (getline l < f) > 0 && l == want }
function asked(id, pid, start,  f, r) {
    f = "jobs/" id "/run"
    r = !(f in BAD) && line(f, "machine=" machine) && line(f, "boot_id=" boot) && line(f, "pid=" pid) && line(f, "start=" start)
    close(f)
    return r
}
# It was told to end where this machine could not be reached, or its killer has died.
function due(id, d,  l, a) {
    if (quiet || !((id in K) || sweep) || !has(d "cancel") || has(d "killed")) return
    if (!((d "cancel") in BAD)) while ((getline l < (d "cancel")) > 0) if (l ~ /^killer=/) split(substr(l, 8), a, " ")
    close(d "cancel")
    if (!(a[1] != "" && alive(a[1], a[2]))) say("due " id)
}
function judge(id, pid, start,  d, new, p, s, at) {
    d = "jobs/" id "/"
    new = (pid == "-")
    state = ""
    AP[id] = pid
    AS[id] = start
    if (rd(d "run") < 0) { unstarted(id, d, new, pid, start); return }
    if (new || sweep || (id in J) || F["pid"] != pid) {
        if (finish(id, d, new)) return
        rd(d "run")
    }
    new = new || F["pid"] != pid
    if (!ours()) {
        if (!finish(id, d, new)) {
            rd(d "run")
            if (id in FG) { doubt(id, "forgotten", new); return }
            state = "RUNNING"
            if (!quiet) { if (new) started(id); say("elsewhere " id " " plain("node")) }
        }
        return
    }
    p = F["pid"]
    s = F["start"]
    if (("boot_id" in F) && F["boot_id"] != boot) {
        if (!finish(id, d, new)) { rd(d "run"); doubt(id, "boot", new) }
        return
    }
    if (("started_at" in F) && alive(p, s)) {
        state = "RUNNING"
        if (new && !quiet) started(id)
        if (!new) due(id, d)
        return
    }
    if (finish(id, d, new)) return
    rd(d "run")
    if (!("started_at" in F)) {
        p = rd(d "spec")
        at = F["sj_at"]
        if (rd(d "again") >= 0 && F["sj_at"] > at) at = F["sj_at"]
        if (now - at < grace) {
            state = "PENDING"
            if (!quiet) say("prepared " id)
            return
        }
        rd(d "run")
    }
    doubt(id, "gone", new)
}
function buried(id) {
    if (rd("gone/" id) < 0) return 0
    state = "GONE"
    if (!quiet) {
        if (("status" in F) || val("cause") == "cancelled") ended(id)
        say("reaped " id)
    }
    return 1
}
function marked(id) { look(); return !blind && (id in MK) }
function unstarted(id, d, new, pid, start) {
    if (finish(id, d, 0)) return
    if (rd(d "spec") >= 0) {
        # Nobody takes back a claim that the asker has heard of: a disk that lost its power
        # can forget it. The grace is for a directory that is just being removed.
        if (!new && now - F["sj_at"] >= grace) { doubt(id, "record", 0); return }
        state = "PENDING"
        if (!quiet) say("prepared " id)
        return
    }
    if (buried(id)) return
    # Who removes a directory ends no process: the runner that the asker knows is looked for,
    # and the mark of the job.
    if (!new && (alive(pid, start) || marked(id))) {
        state = "RUNNING"
        if (!quiet) say("unseen " id " its directory on the host has vanished; its processes run on")
        if (!quiet && (id in FG)) say("unforgotten " id " processes of it run there")
        return
    }
    if (id in FG) { say("lost " id " declared lost by a person; the host has no directory of it"); return }
    state = "MISSING"
    if (!quiet) say("missing " id)
}
function doubt(id, why, new) {
    state = "DOUBT"
    suspect(id, why, new)
}
function settle(  i, id, d, why, open) {
    for (i = 1; i <= sus; i++) {
        id = order[i]
        d = "jobs/" id "/"
        why = SU[id]
        open = (why != "boot" && why != "forgotten")
        if (open) look()
        if (open && blind && (id in FG)) { open = 0; why = "forgotten" }
        if (open && blind) {
            if (finish(id, d, SN[id])) { VERDICT[id] = state; continue }
            VERDICT[id] = "RUNNING"
            if (quiet) continue
            if (SN[id] && rd(d "run") >= 0) started(id)
            say("unseen " id " its supervisor is gone, and the processes of the host could not be listed")
            continue
        }
        if (open && (JY[id] || tree(id, PG[id], JS[id], JB[id]))) {
            VERDICT[id] = "RUNNING"
            if (quiet) continue
            if (SN[id] && rd(d "run") >= 0) started(id)
            say("unsupervised " id)
            if (id in FG) say("unforgotten " id " processes of it run there")
            if (!SN[id]) due(id, d)
            continue
        }
        if (finish(id, d, SN[id])) { VERDICT[id] = state; continue }
        # Reaped by somebody else meanwhile: the tombstone knows more than what is left.
        if (buried(id)) { VERDICT[id] = state; continue }
        # Where `run` says nothing, the runner that the asker knows may still be there.
        if (open && alive(AP[id], AS[id])) {
            VERDICT[id] = "RUNNING"
            if (id in FG) say("unforgotten " id " its supervisor runs there")
            continue
        }
        VERDICT[id] = has(d "cancel") && why != "forgotten" ? "CANCELLED" : "LOST"
        if (SN[id] && !quiet && rd(d "run") >= 0 && ("pid" in F)) started(id)
        print id, why | ENVIRON["SJ_LOSER"]
    }
    if (sus) { fflush(); close(ENVIRON["SJ_LOSER"]) }
}
function forget(id, pid, start) {
    FG[id] = 1
    judge(id, pid, start)
    if (state == "RUNNING") say("unforgotten " id " it runs there")
    if (state == "PENDING") say("unforgotten " id " it has not begun there")
}
# Whether what was to end runs here, whatever was recorded of it meanwhile.
function stands(id,  d, p, s) {
    d = "jobs/" id "/"
    if (rd(d "exit") >= 0 && ("end" in F) || has(d "killed") || !has(d "cancel")) return 0
    if (rd(d "run") < 0 || ("end" in F) || !ours() || F["boot_id"] != boot) return 0
    p = F["pid"]
    s = F["start"]
    if (alive(p, s)) return 1
    look()
    return blind || tree(id, val("pgid") == "0" ? val("job_pid") : val("pgid"), s, val("born"))
}
