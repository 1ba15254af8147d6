# How one job does: judge_job() tells it as frames, unless quiet; settle_doubts() follows for the jobs
# that needed a listing of processes.
# In: records.awk, processes.awk, now, grace, sweep. Out: frames, state, and by the pipe to
# lost.sh which jobs are lost.
#
# The evidence. Lines come in, one a question:
#   c ID PID START       how does this job do? PID - : not known to run
#   s ID - -             the same, of a job that was just started or killed
#   w ID SHA N WINNER DIGEST   a key: prints the line again with a state word, see sj_claim_keys
#   r WINNER SHA N       the end of a reaped job, from its key's record
#   l ID SIZE            list it; SIZE of its log, or of both: SIZE+SIZE
#   f ID PID START       a person knows that it is gone: lost, unless it is seen to run
#   d ID - -             it was to end while this machine could not be reached
# and frames go out. A process counts as alive if its start time is the recorded one and
# it is no zombie. The runner is looked at first and `exit` after it, so that a runner
# that ends in between is not taken for lost. Only for those whose runner is gone without
# an `exit` are all processes listed, once for all of them: by session, group and mark.
# For a job that is as it was (the first lines of `run` as the asker knows them) that is
# all that is read. judge_job() says the state of one job as frames, unless quiet; settle_doubts()
# follows it for those that needed the listing. A damaged record is told as far as it goes:
# number_of() and instant_of() keep from the asker what is no number.

function say_frame(s) { print s; said++ }
function is_alive(p, s) {
    if (!(p ~ /^[0-9]+$/)) return 0
    if (!proc) { list_all(); return (p in ST) && ST[p] == s }
    return read_stat(p) && V[20] == s
}
function look_at_all(  p) {
    if (looked) return
    looked = 1
    if (!list_all() || !read_marks()) { blind = 1; return }
    for (p in MARK) MK[MARK[p]] = 1
}
# A leader that is there tells whether the group is the job of old, whoever it has become; of
# a group without one our own processes do.
function has_tree(id, g, gs, gb,  n, i, a) {
    if (id in MK) return 1
    if (!(g ~ /^[0-9]+$/) || g + 0 < 2) return 0
    # The leader of the group to be is the job before it has its group and its mark.
    if (proc && (g in ST)) return gb == "-" ? is_near(ST[g], gs) : ST[g] == gb
    n = split(IN[g], a, " ")
    for (i = 1; i <= n; i++) if (is_own(a[i])) return 1
    return 0
}
function lengths_of(  n) { n = number_of("stderr_bytes", "", 1e15); return number_of("log_bytes", 0, 1e15) (n == "" ? "" : "+" n) }
function tell_start(id, at) {
    say_frame("started " id " " number_of("pid", 0, 2e9) " " number_of("pgid", 0, 2e9) " " token_of("start") " " token_of("boot_id") " " token_of("node") " " instant_of("started_at", now))
}
function tell_end(id) {
    say_frame("ended " id " " number_of("status", "-", 255) " " number_of("signal", "-", 127) " " token_of("cause") " " instant_of("started_at", "-") " " instant_of("finished_at", "-") " " lengths_of() " " text_of("reason"))
}
function tell_loss(id) {
    if (value_of("cause") ~ /^(cancelled|timeout|failed)$/) { tell_end(id); return toupper(F["cause"]) }
    say_frame("lost " id " " text_of("reason"))
    return "LOST"
}
function name_end() {
    if (value_of("cause") == "cancelled") return "CANCELLED"
    if (value_of("cause") == "timeout") return "TIMEOUT"
    return value_of("status") == "0" ? "COMPLETED" : "FAILED"
}
function tell_if_ended(id, d, new) {
    if (read_record(d "lost") >= 0 && ("end" in F)) { state = quiet ? "LOST" : tell_loss(id); return 1 }
    if (read_record(d "exit") >= 0 && ("end" in F) || read_record(d "run") >= 0 && ("end" in F)) {
        state = name_end()
        if (quiet) return 1
        if (new && value_of("pid") != "-") tell_start(id)
        tell_end(id)
        return 1
    }
    return 0
}
function suspect_job(id, why, new) {
    if (!(id in SU)) order[++sus] = id
    SU[id] = why
    SN[id] = new
    PG[id] = value_of("pgid") == "0" ? value_of("job_pid") : value_of("pgid")
    JS[id] = value_of("start")
    JB[id] = value_of("born")
    # Its runner died in the instant after the fork, and wrote no number down: the child has
    # a moment to show its mark.
    JY[id] = ("started_at" in F) && !("pgid" in F) && now - F["started_at"] < grace
}
function is_as_known(id, pid, start,  f, l, r) {
    f = "jobs/" id "/run"
    r = !(f in BAD) && (getline l < f) > 0 && l == "machine=" machine && (getline l < f) > 0 && l == "boot_id=" boot && (getline l < f) > 0 && l == "pid=" pid && (getline l < f) > 0 && l == "start=" start
    close(f)
    return r
}
# It was told to end where this machine could not be reached, or its killer has died.
function tell_due(id, d,  l, a) {
    if (quiet || !((id in K) || sweep) || !is_there(d "cancel") || is_there(d "killed")) return
    # A FIFO of that name would hang who reads it.
    if (!((d "cancel") in BAD)) while ((getline l < (d "cancel")) > 0) if (l ~ /^killer=/) split(substr(l, 8), a, " ")
    close(d "cancel")
    if (!(a[1] != "" && is_alive(a[1], a[2]))) say_frame("due " id)
}
function judge_job(id, pid, start,  d, new, p, s, at) {
    d = "jobs/" id "/"
    new = (pid == "-")
    state = ""
    AP[id] = pid
    AS[id] = start
    if (judge_queued(id, d, new, pid)) return
    if (read_record(d "run") < 0) { judge_unclaimed(id, d, new, pid, start); return }
    if (new || sweep || (id in J) || F["pid"] != pid) {
        if (tell_if_ended(id, d, new)) return
        read_record(d "run")
    }
    new = new || F["pid"] != pid
    if (!is_ours()) {
        if (!tell_if_ended(id, d, new)) {
            read_record(d "run")
            if (id in FG) { doubt_job(id, "forgotten", new); return }
            state = "RUNNING"
            if (!quiet) { if (new) tell_start(id); say_frame("elsewhere " id " " token_of("node")) }
        }
        return
    }
    p = F["pid"]
    s = F["start"]
    if (("boot_id" in F) && F["boot_id"] != boot) {
        if (!tell_if_ended(id, d, new)) { read_record(d "run"); doubt_job(id, "boot", new) }
        return
    }
    if (("started_at" in F) && is_alive(p, s)) {
        state = "RUNNING"
        if (new && !quiet) tell_start(id)
        if (!new) tell_due(id, d)
        return
    }
    if (tell_if_ended(id, d, new)) return
    read_record(d "run")
    if (!("started_at" in F)) {
        p = read_record(d "spec")
        at = F["sj_at"]
        if (read_record(d "again") >= 0 && F["sj_at"] > at) at = F["sj_at"]
        if (now - at < grace) {
            state = "PENDING"
            if (!quiet) say_frame("prepared " id)
            return
        }
        read_record(d "run")
    }
    doubt_job(id, name_loss(id, "gone"), new)
}
function tell_if_reaped(id) {
    if (read_record("gone/" id) < 0) return 0
    state = "GONE"
    if (!quiet) {
        if (("status" in F) || value_of("cause") == "cancelled") tell_end(id)
        say_frame("reaped " id)
    }
    return 1
}
function is_marked(id) { look_at_all(); return !blind && (id in MK) }
function judge_unclaimed(id, d, new, pid, start,  l) {
    if (tell_if_ended(id, d, 0)) return
    if (read_record(d "spec") >= 0) {
        # Nobody takes back a claim that the asker has heard of: a disk that lost its power
        # can forget it. The grace is for a directory that is just being removed.
        if (!new && now - F["sj_at"] >= grace) { doubt_job(id, "record", 0); return }
        state = "PENDING"
        l = name_launcher(d)
        if (!quiet) say_frame(l == "" ? "prepared " id : "queued " id " " l " its launcher was not asked")
        return
    }
    if (tell_if_reaped(id)) return
    # Who removes a directory ends no process: the runner that the asker knows is looked for,
    # and the mark of the job.
    if (!new && (is_alive(pid, start) || is_marked(id))) {
        state = "RUNNING"
        if (!quiet) say_frame("unseen " id " its directory on the host has vanished; its processes run on")
        if (!quiet && (id in FG)) say_frame("unforgotten " id " processes of it run there")
        return
    }
    if (id in FG) { say_frame("lost " id " declared lost by a person; the host has no directory of it"); return }
    state = "MISSING"
    if (!quiet) say_frame("missing " id)
}
function doubt_job(id, why, new) {
    state = "DOUBT"
    suspect_job(id, why, new)
}
function settle_doubts(  i, id, d, why, open) {
    for (i = 1; i <= sus; i++) {
        id = order[i]
        d = "jobs/" id "/"
        why = SU[id]
        open = (why != "boot" && why != "forgotten")
        if (open) look_at_all()
        if (open && blind && (id in FG)) { open = 0; why = "forgotten" }
        if (open && blind) {
            if (tell_if_ended(id, d, SN[id])) { VERDICT[id] = state; continue }
            VERDICT[id] = "RUNNING"
            if (quiet) continue
            if (SN[id] && read_record(d "run") >= 0) tell_start(id)
            say_frame("unseen " id " its supervisor is gone, and the processes of the host could not be listed")
            continue
        }
        if (open && (JY[id] || has_tree(id, PG[id], JS[id], JB[id]))) {
            VERDICT[id] = "RUNNING"
            if (quiet) continue
            if (SN[id] && read_record(d "run") >= 0) tell_start(id)
            say_frame("unsupervised " id)
            if (id in FG) say_frame("unforgotten " id " processes of it run there")
            if (!SN[id]) tell_due(id, d)
            continue
        }
        if (tell_if_ended(id, d, SN[id])) { VERDICT[id] = state; continue }
        # Reaped by somebody else meanwhile: the tombstone knows more than what is left.
        if (tell_if_reaped(id)) { VERDICT[id] = state; continue }
        # Where `run` says nothing, the runner that the asker knows may still be there.
        if (open && is_alive(AP[id], AS[id])) {
            VERDICT[id] = "RUNNING"
            if (id in FG) say_frame("unforgotten " id " its supervisor runs there")
            continue
        }
        VERDICT[id] = is_there(d "cancel") && why != "forgotten" ? "CANCELLED" : "LOST"
        if (SN[id] && !quiet && read_record(d "run") >= 0 && ("pid" in F)) tell_start(id)
        print id, why | ENVIRON["SJ_LOSER"]
    }
    if (sus + losses) { fflush(); close(ENVIRON["SJ_LOSER"]) }
}
function forget_job(id, pid, start) {
    FG[id] = 1
    judge_job(id, pid, start)
    if (state == "RUNNING") say_frame("unforgotten " id " it runs there")
    if (state == "PENDING") say_frame("unforgotten " id " it has not begun there")
}
# Whether what was to end runs here, whatever was recorded of it meanwhile.
function is_to_end(id,  d, p, s) {
    d = "jobs/" id "/"
    if (read_record(d "exit") >= 0 && ("end" in F) || is_there(d "killed") || !is_there(d "cancel")) return 0
    if (read_record(d "run") < 0 || ("end" in F) || !is_ours() || F["boot_id"] != boot) return 0
    p = F["pid"]
    s = F["start"]
    if (is_alive(p, s)) return 1
    look_at_all()
    return blind || has_tree(id, value_of("pgid") == "0" ? value_of("job_pid") : value_of("pgid"), s, value_of("born"))
}
