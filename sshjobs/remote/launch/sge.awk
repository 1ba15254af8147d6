# What qstat -xml says of our jobs, in the words of queue.awk.
# In: its elements, whatever their lines. Out: lines of q LAUNCHER ID NUMBER WORD QUEUE NODE
# REASON.
#
# A state is letters: of what it waits for (q w h), that it is being moved or runs (t r), has
# been restarted (R), is suspended (s S T), is to be deleted (d), or is in error (E), sge_status(5).

function clean_word(t, other) { gsub(/[^A-Za-z0-9._,+-]/, "_", t); t = substr(t, 1, 60); return t == "" ? other : t }
BEGIN { RS = "<" }
{
    k = index($0, ">")
    tag = substr($0, 1, k - 1)
    sub(/[ \t\n].*/, "", tag)
    text = substr($0, k + 1)
    sub(/[ \t\n]+$/, "", text)
}
tag == "job_list" { number = name = letters = queue = "" }
tag == "JB_job_number" { number = text }
tag == "JB_name" { name = text }
tag == "state" { letters = text }
tag == "queue_name" { queue = text }
tag == "/job_list" && name ~ /^sj-[a-z2-7]+$/ && length(name) == 19 && number ~ /^[0-9]+$/ {
    node = queue
    if (!sub(/^[^@]*@/, "", node)) node = ""
    sub(/@.*/, "", queue)
    w = letters ~ /[trsST]/ ? "runs" : "waits"
    s = letters ~ /E/ ? "in error (" clean_word(letters, "-") "), see qstat -j " number : letters ~ /d/ ? "being deleted (" clean_word(letters, "-") ")" : letters ~ /h/ ? "held (" clean_word(letters, "-") ")" : letters ~ /[sST]/ ? "suspended (" clean_word(letters, "-") ")" : w == "waits" ? clean_word(letters, "-") : ""
    print "q sge", substr(name, 4), number, w, clean_word(queue, "-"), clean_word(node, "-"), s
}
