# What may be told of a record: whether it is one, and its fields, bounded.
# In: F of records.awk. Out: BAD, the paths that are no records; words for frames.

# Which of the records in WHERE are none: no regular file, or larger than any. new/ is always
# said, as the last; without it the look was not whole.
function find_odd(where,  c, l, a) {
    c = "exec find" where " new ! -name . -prune ! -name log ! -name script ! -name stdin ! -name env \\( ! -type f -o -size +2048 \\) -print 2>/dev/null"
    while ((c | getline l) > 0) {
        sub(/\/\.\//, "/", l)
        if (l ~ /^[gk]|\/(run|lost|exit|spec|again|cancel|handle|doubt)$/) BAD[l]
        a = l
    }
    close(c)
    if (a != "new") exit broken = 3
}
function is_there(f,  l, r) { r = f in BAD || (getline l < f) >= 0; close(f); return r }
function value_of(k) { return (k in F) && F[k] != "" ? F[k] : "-" }
# What goes out is bounded here, since one record that was spoilt must not spoil the reply:
# texts, words as the client has escaped them, words of our own, and numbers, which go out
# as they stand or not at all: mawk says 3e+09 for what is above 2^31 once it has counted
# with it.
function text_of(k,  t) { t = (k in F) ? substr(F[k], 1, 1000) : ""; gsub(/[^ -~]/, "?", t); return t }
function word_of(k,  t) {
    t = (k in F) ? substr(F[k], 1, 9000) : ""
    gsub(/\047/, "", t)
    gsub(/[^!-~]/, "?", t)
    return t == "" ? "-" : t
}
function token_of(k,  t) { t = substr(word_of(k), 1, 64); gsub(/[^A-Za-z0-9._:+-]/, "_", t); return t }
function number_of(k, other, most) { return (k in F) && F[k] ~ /^[0-9]+$/ && length(F[k]) < 16 && F[k] + 0 <= most ? F[k] : other }
function instant_of(k, other) { return (k in F) && F[k] ~ /^[0-9]+(\.[0-9]*)?$/ && length(F[k]) < 25 && F[k] + 0 < 1e11 ? F[k] : other }
