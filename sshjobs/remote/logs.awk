# How much of each log is to be brought.
# In: lines of LOG OFFSET LIMIT, then those of an ls of the logs. Out: a line a log, of LOG,
# OFFSET, the bytes to bring, the SIZE there, and 1 if there is a log.

NF == 3 { id[++n] = $1; off[n] = $2; lim[n] = $3; next }
/^-/ { split($NF, a, "/"); size[a[2] (a[3] == "log" ? "" : "/" a[3])] = $5 }
END {
    for (i = 1; i <= n; i++) {
        there = (id[i] in size)
        s = there ? size[id[i]] : 0
        k = s - off[i]
        if (k > lim[i]) k = lim[i]
        if (k < 0) k = 0
        printf "%s %.0f %.0f %.0f %d\n", id[i], off[i], k, s, there
    }
}
