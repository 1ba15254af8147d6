# The one reader of records, lines of NAME=VALUE up to a line `end=`.
# In: a path, and BAD, the paths that are no records (they are there, and hold nothing).
# Out: F, the fields; the first line of a name counts, since a job can write behind it.
# Both return -1 if there is no such file, else 1.

function read_record(f) { split("", F); return add_record(f) }
function add_record(f,  l, i, k, r) {
    i = -1
    if (f in BAD) return 1
    while ((r = (getline l < f)) >= 0) {
        i = 1
        if (!r) break
        if (l == "end=") { F["end"] = 1; break }
        k = index(l, "=")
        if (k > 1 && !(substr(l, 1, k - 1) in F)) F[substr(l, 1, k - 1)] = substr(l, k + 1)
    }
    close(f)
    return i
}
