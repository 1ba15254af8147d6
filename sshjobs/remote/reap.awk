# Reads which jobs may be reaped: state, lengths and checksums of each, one a line.
# In: the lines of ls, of cksum and of what is to be reaped. Out: the words that sj_reap_jobs reads.

function read_sound(f) { return (f in SOUND) ? add_record(f) : -1 }
function is_running(p, s,  f, l, a) {
    f = "/proc/" p "/stat"
    if (!(p ~ /^[0-9]+$/) || (getline l < f) < 1) return 0
    close(f)
    sub(/^.*\) /, "", l)
    split(l, a, " ")
    return a[20] == s && !(a[1] ~ /^[XxZ]/)
}
function clean_field(k,  t) { t = (k in F) ? substr(F[k], 1, 1000) : ""; gsub(/\047/, "", t); gsub(/[^!-~]/, "_", t); return t == "" ? "-" : t }
function take_length(k, f) { if (F[k] ~ /^[0-9]+$/ && length(F[k]) < 16) size[f] = F[k] }
# Words for sj_is_home. A file that is shorter than what is home has been cut, and has
# nothing that is not.
function describe_log(f, here, want,  same) {
    same = "other"
    if (!(f in file) || file[f] + 0 == 0 || file[f] + 0 < here + 0) same = "same"
    else if (file[f] + 0 > here + 0) same = "longer"
    else if (!(f in sum)) same = "unread"
    else if ((sum[f] "") == (want "")) same = "same"
    return ((f in size) ? size[f] : "-") " " here " " want " " same
}
/^-/ {
    split($NF, a, "/")
    if (a[3] == "log" || a[3] == "stderr") size[$NF] = file[$NF] = $5
    else if ($5 > 0 && $5 < 1048577) SOUND[$NF]
    next
}
$NF == "jobs" { listed = 1; next }
NF < 4 && $NF ~ /^jobs\// { sum[$NF] = $1; next }
NF != 1 { next }
{
    split($1, word, ":")
    id = word[1]
    # A second log is told of before the first one of its job.
    if (sub(/\/.*/, "", id)) { home[id] = word[2]; cksum[id] = word[3]; next }
    d = "jobs/" id "/"
    split("", F)
    fin = (read_sound(d "lost") >= 0) ? "LOST" : ""
    # One without its end is what a full disk left, or something of the job.
    if (fin != "" && !("end" in F)) {
        split("", F)
        if (read_sound(d "run") >= 0 && is_running(F["pid"], F["start"])) fin = ""
    }
    if (fin != "" && F["cause"] ~ /^(cancelled|timeout|failed)$/) fin = toupper(F["cause"])
    if (fin == "LOST" && F["reason"] ~ /, who knows that / && now - F["finished_at"] < ttl) fin = "STANDS"
    delete F["end"]
    if (fin == "" && (read_sound(d "exit") >= 0 && ("end" in F) || read_sound(d "run") >= 0 && ("end" in F))) {
        fin = F["cause"] == "cancelled" ? "CANCELLED" : F["cause"] == "timeout" ? "TIMEOUT" : F["status"] == "0" ? "COMPLETED" : "FAILED"
        take_length("log_bytes", d "log")
        take_length("stderr_bytes", d "stderr")
    }
    read_sound(d "run")
    read_sound(d "spec")
    whole = (F["sj_ok"] == id || F["id"] == id)
    if (!listed) fin = "UNSEEN"
    else if (!whole) fin = "FOREIGN"
    else if (fin == "") fin = "NO"
    if (!(id in home)) { home[id] = 0; cksum[id] = "-" }
    digest = clean_field("digest")
    if (digest == "-") digest = clean_field("sj_digest")
    # Bare ?: in a list to print is not understood by the one true awk (20220912).
    print id, fin, describe_log(d "log", word[2], word[3]), describe_log(d "stderr", home[id], cksum[id]), clean_field("sj_sha"), clean_field("attempt"), digest, clean_field("status"), clean_field("signal"), clean_field("cause"), clean_field("started_at"), clean_field("finished_at"), clean_field("reason")
}
