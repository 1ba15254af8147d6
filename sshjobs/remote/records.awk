# Reads the records of jobs and says what may go out of them.
# In: jobs/ID/run, exit, lost, spec. Out: F, the fields of the record that was read last.

function rd(f,  l, i, k, r) {
    split("", F)
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
# Which of the records in WHERE are none: no regular file, or larger than any. new/ is always
# said, as the last; without it the look was not whole.
function odd(where,  c, l, a) {
    c = "exec find" where " new ! -name . -prune ! -name log ! -name script ! -name stdin ! -name env \\( ! -type f -o -size +2048 \\) -print 2>/dev/null"
    while ((c | getline l) > 0) {
        sub(/\/\.\//, "/", l)
        if (l ~ /^[gk]|\/(run|lost|exit|spec|again|cancel)$/) BAD[l]
        a = l
    }
    close(c)
    if (a != "new") exit broken = 3
}
function has(f,  l, r) { r = f in BAD || (getline l < f) >= 0; close(f); return r }
function val(k) { return (k in F) && F[k] != "" ? F[k] : "-" }
# What goes out is bounded here, since one record that was spoilt must not spoil the reply:
# texts, words as the client has escaped them, words of our own, and numbers, which go out
# as they stand or not at all: mawk says 3e+09 for what is above 2^31 once it has counted
# with it.
function txt(k,  t) { t = (k in F) ? substr(F[k], 1, 1000) : ""; gsub(/[^ -~]/, "?", t); return t }
function word(k,  t) {
    t = (k in F) ? substr(F[k], 1, 9000) : ""
    gsub(/\047/, "", t)
    gsub(/[^!-~]/, "?", t)
    return t == "" ? "-" : t
}
function plain(k,  t) { t = substr(word(k), 1, 64); gsub(/[^A-Za-z0-9._:+-]/, "_", t); return t }
function num(k, other, most) { return (k in F) && F[k] ~ /^[0-9]+$/ && length(F[k]) < 16 && F[k] + 0 <= most ? F[k] : other }
function real(k, other) { return (k in F) && F[k] ~ /^[0-9]+(\.[0-9]*)?$/ && length(F[k]) < 25 && F[k] + 0 < 1e11 ? F[k] : other }
