# The jobs of a scheduler that come after others, once all of these were looked at together.
# In: LATER, ids of jobs that nobody has claimed (queue.awk). Out: frames, and the files of
# sj_settle_queued: one that can never begin ends, and goes from the queue.

END {
    check_paths()
    for (i = 1; i <= laters; i++) {
        id = LATER[i]
        d = "jobs/" id "/"
        read_handle(d)
        launcher = H["launcher"]
        s = weigh_before(H["after"])
        SETTLED[id]
        if (s == "open") OPEN[id]
        if (s ~ /:/) {
            say_frame("queued " id " " handle_of(id) " " name_before())
            write_line(".fate", id " cancelled " tell_never(s))
            if ("sent_at" in H) write_line(".stop", id)
        } else judge_waiting(id, d)
    }
}
