# What qstat -f says of our jobs, in the words of queue.awk.
# In: paragraphs of "Job Id: N.SERVER" and "    NAME = VALUE", of which a line that is long goes
# on behind a tab. Out: lines of q LAUNCHER ID NUMBER WORD QUEUE NODE REASON.

function plain(t, other) { gsub(/[^A-Za-z0-9._,+-]/, "_", t); t = substr(t, 1, 60); return t == "" ? other : t }
function text(t) { gsub(/[^A-Za-z0-9 ._,:;()=+-]/, "_", t); return substr(t, 1, 120) }
function take(  k) {
    sub(/^[ \t]+/, "", held)
    if ((k = index(held, " = ")) > 0) F[substr(held, 1, k - 1)] = substr(held, k + 3)
    held = ""
}
function tell(  id, k, w, s, r) {
    take()
    k = index("," F["Variable_List"], ",SJ_ID=")
    id = k ? substr("," F["Variable_List"], k + 7, 16) : ""
    s = F["job_state"]
    if (number ~ /^[0-9]+$/ && id ~ /^[a-z2-7]+$/ && length(id) == 16 && s != "") {
        w = s ~ /^[QHWTM]$/ ? "waits" : s ~ /^[CFX]$/ ? (F["Exit_status"] == "271" ? "cancelled" : "over") : "runs"
        r = w == "waits" ? (F["comment"] != "" ? text(F["comment"]) : s == "H" ? "held (H)" : s) : s == "R" ? "" : s == "S" || s == "U" ? "suspended (" s ")" : s == "E" ? "exiting (E)" : plain(s, "-")
        k = F["exec_host"]
        sub(/\/.*/, "", k)
        print "q pbs", id, number, w, plain(F["queue"], "-"), plain(k, "-"), r
    }
    split("", F)
}
/^Job Id: / { tell(); number = $3; sub(/[^0-9].*/, "", number); next }
/^\t/ { held = held substr($0, 2); next }
{ take(); held = $0 }
END { tell() }
