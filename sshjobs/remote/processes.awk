# The processes of the host, for programs that look for some of them and that end some.
# In: proc (1 where /proc is), grepz, self, machine, boot, offset. Out: list_all(), read_marks(),
# is_ours() and the arrays ST, PP, GR, SE, HA, IN, MARK, UI by process or group.
#
# All processes, for what looks for them and for what ends them. A name may hold anything, a
# newline and ") R 1 1" too; the kernel keeps 15 bytes of it, and behind it stand numbers
# only. So each record is read whole, by itself, and counts from its last ") " on. A first
# thread that has ended looks like a zombie while others run.
#
# list_all() tells whether it was seen who looks, read_marks() likewise: a listing that failed is
# not an empty one, and nothing is concluded from it. Whose a process is, its own record
# says (`uid`: the real one, which a setuid program keeps): marks are believed of our own
# processes alone, since anybody can carry one.

function read_stat(p,  f, l, s, n, i) {
    f = "/proc/" p "/stat"
    while (n < 20 && (getline l < f) > 0) {
        s = s " " l
        l = s
        # Neither a pattern nor all of the fields: a poll of thousands comes by here. Behind
        # the last of 21 fields the 20th is whole.
        while ((i = index(l, ") ")) > 0) l = substr(l, i + 2)
        n = split(substr(l, 1, 150), V, " ")
        if (n < 21) n = split(l, V, " ")
    }
    close(f)
    PID = s + 0
    return n >= 20 && !(V[1] ~ /^[XxZ]/ && V[18] < 2)
}
function uid_of(p,  f, l, a, u) {
    if (!proc) return UI[p]
    f = "/proc/" p "/status"
    while ((getline l < f) > 0) if (l ~ /^Uid:/) { split(l, a, " "); u = a[2] }
    close(f)
    return u
}
function is_own(p) { return uid_of(p) == UID }
function put_process(p, pp, g, se, st, how) {
    ST[p] = st
    PP[p] = pp
    GR[p] = g
    SE[p] = se
    HA[p] = (how ~ /^T/)
    if (g > 1) IN[g] = IN[g] " " p
    if (se > 1 && se != g) IN[se] = IN[se] " " p
}
function list_all(  c, l, a, i, n, me) {
    if (listed) return shown
    listed = 1
    me = self
    if (!proc) list_by_ps()
    else if (read_stat("self")) {
        me = PID
        c = "cd /proc && echo [0-9]*"
        if ((c | getline l) > 0) n = split(l, a, " ")
        close(c)
        for (i = 1; i <= n; i++) if (read_stat(a[i])) put_process(a[i], V[2], V[3], V[4], V[20], V[1])
    }
    UID = uid_of(me)
    shown = (me in ST) && UID ~ /^[0-9]+$/
    return shown
}
function list_by_ps(  c, l, a, p) {
    c = "ps -A -o pid= -o ppid= -o pgid= -o ruid= -o stat= -o lstart= 2>/dev/null"
    while ((c | getline l) > 0) {
        split(l, a, " ")
        if (a[1] !~ /^[0-9]+$/ || a[5] ~ /^Z/) continue
        p = a[1]
        UI[p] = a[4]
        sub(/^ *[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ +[^ ]+ +/, "", l)
        sub(/ +$/, "", l)
        gsub(/ +/, "_", l)
        put_process(p, a[2], a[3], 0, l, a[5])
    }
    close(c)
}
function read_marks(  c, l, p, all) {
    if (!proc || !grepz) return 1
    c = "cd /proc && SSHJOBS_JOB_ID=all grep -Hszxo \047SSHJOBS_JOB_ID=[a-z2-7]*\047 [0-9]*/environ self/environ 2>/dev/null | tr \047\\000\047 \047\\n\047"
    while ((c | getline l) > 0) {
        p = l + 0
        if (l ~ /^self/) all = 1
        else if (is_own(p)) {
            if (!(p in ST) && read_stat(p)) put_process(p, V[2], V[3], V[4], V[20], V[1])
            if (p in ST) MARK[p] = substr(l, index(l, "=") + 1)
        }
    }
    close(c)
    return all
}
# Whether the record F is of this machine. A name changes, a machine id does not: with the same
# boot and the same first process it is ours under another name; of another boot, or of the
# container before, if it was started before ours, and nothing was done under the old name
# since. Machines that share an id, as clones do, fail that: theirs is told as elsewhere.
function is_ours(  m, k, began, l) {
    if (!("machine" in F) || F["machine"] == machine) return 1
    m = F["machine"]
    if (m !~ /^[A-Za-z0-9_][A-Za-z0-9._-]*$/) return 0
    k = machine
    sub(/^.*-/, "", k)
    if (k ~ /^0*$/ || substr(m, length(m) - length(k)) != "-" k) return 0
    if (!proc || offset !~ /^[0-9]+$/ || !read_stat(1)) return 0
    if (F["boot_id"] == boot && F["init"] == V[20]) return 1
    began = (offset + V[20]) / 100
    if (!(F["started_at"] + 0 > 0) || F["started_at"] + 0 >= began) return 0
    if ((getline l < (m "/swept")) < 1) l = 0
    close(m "/swept")
    return l + 0 < began
}
function is_near(s, r) { return proc ? (s - r >= 0 && s - r < 3000) : 1 }
