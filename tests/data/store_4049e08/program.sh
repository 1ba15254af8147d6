{
set +aeCfnuvx
IFS=' 	
'
sj_umask=$(umask)
umask 077
sj_fail() { # CODE TEXT: the round cannot be served
printf '%sfailed %s %s\nend\n' "$sj_first" "$1" "$2"
exit 0
}
sj_beats=0
sj_beat() {
sj_beats=$((sj_beats + 1))
case $sj_beats in *[05]0) printf 'beat\n' ;; esac
}
sj_code() {
case $1 in
*[Ss]pace* | *[Qq]uota*) sj_code=ENOSPC ;;
*ermi* | *ead-only*) sj_code=EACCES ;;
*) sj_code=EOTHER ;;
esac
}
sj_read_line() { # FILE: its first line to sj_line
sj_line=
[ -r "$1" ] && { read -r sj_line <"$1"; } 2>/dev/null
return 0
}
sj_passwd() { # FIELD: of this user's line in /etc/passwd to sj_line, 6 home, 7 shell
sj_uid=$(id -u)
sj_line=$(awk -F: -v u="$sj_uid" -v f="$1" '$3 == u { print $f; exit }' /etc/passwd)
}
sj_where() { # sj_node, sj_machine, sj_boot
sj_read_line /proc/sys/kernel/hostname
[ "$sj_line" ] || sj_line=$(uname -n)
case $sj_line in *[!A-Za-z0-9._-]* | '') sj_line=unknown ;; esac
sj_node=$sj_line
sj_read_line /etc/machine-id
case $sj_line in *[!A-Za-z0-9]* | '') sj_line=0 ;; esac
sj_machine=$sj_node-$sj_line
sj_read_line /proc/sys/kernel/random/boot_id
[ "$sj_line" ] || sj_line=$(sysctl -n kern.boottime 2>/dev/null | tr -cd '0-9a-f' || :)
sj_boot=${sj_line:-unknown}
}
sj_tools() {
sj_line='' sj_renew=''
sj_read_line "$sj_machine/tools"
case $sj_line in "$sj_boot 5 "*) ;; *) sj_probe ;; esac
set -- $sj_line
sj_setsid=$3 sj_env=$4 sj_dd=$5 sj_grepz=$6 sj_wc=$7 sj_ls=$8
}
sj_probe() {
sj_renew=1
sj_setsid=$(command -v setsid) || sj_setsid=-
sj_env=-
if [ -z "${BASH_VERSION-}" ] &&
env --default-signal=INT true 2>/dev/null; then
sj_env=$(command -v env)
fi
sj_dd=0
case $(printf abcd | dd bs=2 iflag=skip_bytes,count_bytes,fullblock skip=1 count=2 2>/dev/null) in
bc) sj_dd=1 ;;
esac
sj_grepz=0
printf 'a\000b=1\000c\000' | grep -szxo 'b=[0-9]*' 2>/dev/null | tr '\000' ' ' |
grep -q '^b=1 *$' && [ -r /proc/self/environ ] && sj_grepz=1
sj_wc=0
case $(wc --version 2>/dev/null) in *GNU*) sj_wc=1 ;; esac
sj_probe_ls
sj_line="$sj_boot 5 $sj_setsid $sj_env $sj_dd $sj_grepz $sj_wc $sj_ls"
{ printf '%s\n' "$sj_line" >"$sj_machine/tools"; } 2>/dev/null
return 0
}
sj_probe_ls() {
sj_ls=0 sj_n=$sj_machine/now
rm -f "$sj_n"
{ printf '' >"$sj_n" && touch -t 200001010000 "$sj_n"; } 2>/dev/null || return 0
{ printf '' >"$sj_n"; } 2>/dev/null || return 0
set -- $(LC_ALL=C ls -Und --time-style=+%s.%N "$sj_n" 2>/dev/null) $(date +%s)
case $6 in
*.000000000 | *[!0-9.]* | '') ;;
*.?????????) [ $(($# == 8 ? $8 - ${6%.*} : 9)) -le 1 ] && sj_ls=1 ;;
esac
return 0
}
sj_base() {
case ${HOME-} in
/*) sj_home=$HOME ;;
*)
sj_passwd 6
sj_home=$sj_line
;;
esac
case $1 in
\~) sj_dir=$sj_home ;;
\~/*) sj_dir=$sj_home/${1#??} ;;
/*) sj_dir=$1 ;;
*) sj_dir=$sj_home/$1 ;;
esac
case $sj_dir in /*) ;; *) sj_fail EHOME 'HOME is not set and /etc/passwd does not name it' ;; esac
while :; do case $sj_dir in ?*/) sj_dir=${sj_dir%/} ;; *) break ;; esac; done
[ -h "$sj_dir" ] && sj_fail EBASE 'the base directory is a symbolic link'
if [ ! -d "$sj_dir" ]; then
sj_line=$(LC_ALL=C mkdir -p -- "$sj_dir" 2>&1) || sj_no_base "$sj_line"
fi
CDPATH='' cd -P -- "$sj_dir" >/dev/null 2>&1 || {
sj_line=$(CDPATH='' cd -P -- "$sj_dir" 2>&1 || exit)
sj_no_base "$sj_line"
}
sj_dir=$PWD
[ -O . ] || sj_fail EBASE 'the base directory belongs to somebody else'
for sj_i in jobs keys gone new layout "$sj_machine" \
"$sj_machine/journal" "$sj_machine/now" "$sj_machine/tools" "$sj_machine/swept"; do
[ -h "$sj_i" ] && sj_fail EBASE 'a symbolic link stands in the base directory'
done
if [ ! -d jobs ] || [ ! -d new ] || [ ! -d "$sj_machine" ]; then
sj_line=$(LC_ALL=C mkdir -p jobs keys gone new "$sj_machine" 2>&1) ||
sj_no_base "$sj_line"
fi
sj_read_line layout
case $sj_line in
1) ;;
'') { printf '1\n' >layout; } 2>/dev/null ;;
*) sj_fail EVERSION 'a newer sshjobs has used the base directory' ;;
esac
}
sj_no_base() {
sj_code "$1"
sj_fail "$sj_code" "the base directory cannot be made: ${1##*: }"
}
sj_enter() { # BASE
unset -f awk cat cd date dd env find grep head id jobs kill ln ls mkdir mv printf read rm \
rmdir sed setsid sh sleep tail tr uname wait wc 2>/dev/null
sj_path=${PATH-/usr/local/bin:/usr/bin:/bin}
PATH=/usr/bin:/bin:$sj_path
sj_where
sj_base "$1"
sj_tools
}
sj_look() {
sj_j=$sj_machine/journal sj_cs='' sj_line='' sj_offset=none
[ -f "$sj_j" ] || { printf '\n' >>"$sj_j"; } 2>/dev/null
if [ "$sj_ls" = 1 ] && { printf '' >"$sj_machine/now"; } 2>/dev/null; then
sj_read_line /proc/uptime
set -- $(LC_ALL=C ls -Unid --time-style=+%s%N . "$sj_j" "$sj_machine/now" 2>/dev/null)
sj_mode=$2
[ $# -eq 24 ] && shift 8 && sj_inode=$1 sj_size=$6 && shift 14 && sj_cs=$1
fi
if [ -z "$sj_cs" ]; then
set -- $(LC_ALL=C ls -lnid . "$sj_j" 2>/dev/null)
sj_mode=$2
shift 10 2>/dev/null || set --
sj_inode=${1:-none} sj_size=${6:-0} sj_cs=$(date +%s%N)
sj_read_line /proc/uptime
fi
case $sj_cs in
*[!0-9]*) sj_cs=${sj_cs%%[!0-9]*}00 ;;
??????????????????*) sj_cs=${sj_cs%???????} ;;
*) sj_cs=${sj_cs}00 ;;
esac
sj_now=${sj_cs%??}.${sj_cs#"${sj_cs%??}"}
sj_line=${sj_line%% *}
case $sj_line in
[1-9]*.[0-9][0-9]) sj_offset=$((sj_cs - ${sj_line%.*}${sj_line#*.})) ;;
esac
}
sj_journal() { # GENERATION OFFSET of what was read so far
case $sj_mode in
d????-??-*) ;;
*) sj_fail EBASE 'the base directory is writable by others' ;;
esac
sj_gen=$1 sj_from=$2 sj_sweep=0
[ "$sj_inode" = "$sj_gen" ] && [ "$sj_from" -le "$sj_size" ] &&
[ $((sj_size - sj_from)) -lt 1048576 ] || sj_sweep=1
sj_gen=$sj_inode
if [ "$sj_size" -gt 4194304 ]; then
mv -f "$sj_j" "$sj_j.old"
{ printf '\n' >>"$sj_j"; } 2>/dev/null
sj_gen=moved sj_size=0
fi
printf '%sjournal %s %s\n' "$sj_first" "$sj_gen" "$sj_size"
sj_first=''
}
sj_evidence='
function rd(f,  l, i, k, r) {
split("", F)
i = -1
while ((r = (getline l < f)) >= 0) {
i = 1
if (!r) break
if (l == "end=") { F["end"] = 1; break }
k = index(l, "=")
if (k > 1 && !(substr(l, 1, k - 1) in F)) {
F[substr(l, 1, k - 1)] = substr(l, k + 1)
last = substr(l, 1, k - 1)
}
}
close(f)
return i
}
function has(f,  l, r) { r = (getline l < f); close(f); return r >= 0 }
function val(k) { return (k in F) && F[k] != "" ? F[k] : "-" }
function txt(k,  t) { t = (k in F) ? F[k] : ""; gsub(/[^ -~]/, "?", t); return t }
function word(k,  t) {
t = (k in F) ? F[k] : ""
gsub(/\047/, "", t)
gsub(/[^!-~]/, "?", t)
return t == "" ? "-" : t
}
function num(k, other) { return (k in F) && F[k] ~ /^[0-9]+$/ && length(F[k]) < 16 ? F[k] : other }
function real(k, other) { return (k in F) && F[k] ~ /^[0-9]+(\.[0-9]*)?$/ && length(F[k]) < 25 ? F[k] : other }
function say(s) { print s; said++ }
function alive(p, s,  f, l, r, a) {
if (!(p ~ /^[0-9]+$/)) return 0
if (!proc) { look(); return (p in ST) && ST[p] == s }
f = "/proc/" p "/stat"
r = (getline l < f)
close(f)
if (r < 1) return 0
sub(/^.*\) /, "", l)
split(l, a, " ")
return a[1] != "Z" && a[1] != "X" && a[20] == s
}
function look(  c, l, a, p, m) {
if (looked) return
looked = 1
if (!proc) {
c = "ps -A -o pid= -o pgid= -o stat= -o lstart= 2>/dev/null"
while ((c | getline l) > 0) {
split(l, a, " ")
if (a[3] ~ /^Z/) continue
p = a[1]
sub(/^ *[0-9]+ +[0-9]+ +[^ ]+ +/, "", l)
sub(/ +$/, "", l)
gsub(/ +/, "_", l)
ST[p] = l
GR[a[2]] = 1
}
close(c)
return
}
c = "cat /proc/[0-9]*/stat 2>/dev/null"
while ((c | getline l) > 0) {
p = l + 0
sub(/^.*\) /, "", l)
split(l, a, " ")
if (a[1] == "Z" || a[1] == "X") continue
ST[p] = a[20]
GR[a[3]] = 1
GR[a[4]] = 1
}
close(c)
if (!grepz) return
c = "cd /proc && grep -Hszxo \047SSHJOBS_JOB_ID=[a-z2-7]*\047 [0-9]*/environ 2>/dev/null | tr \047\\000\047 \047\\n\047"
while ((c | getline l) > 0) {
m = index(l, "=")
if ((l + 0) in ST) MK[substr(l, m + 1)] = 1
}
close(c)
}
function tree(id, g, gs, gb) {
look()
if (id in MK) return 1
if (!(g > 1 && ((g in GR) || (proc && (g in ST))))) return 0
if (!(g in ST) || !proc) return 1
return gb == "-" ? ST[g] - gs >= 0 && ST[g] - gs < 3000 : ST[g] == gb
}
function started(id, at) {
say("started " id " " num("pid", 0) " " num("pgid", 0) " " word("start") " " word("boot_id") " " word("node") " " real("started_at", now))
}
function ended(id) {
say("ended " id " " num("status", "-") " " num("signal", "-") " " word("cause") " " real("started_at", "-") " " real("finished_at", "-") " " num("log_bytes", 0) " " txt("reason"))
}
function lost(id) {
if (word("cause") == "cancelled") { ended(id); return "CANCELLED" }
say("lost " id " " txt("reason"))
return "LOST"
}
function endword() {
if (val("cause") == "cancelled") return "CANCELLED"
if (val("cause") == "timeout") return "TIMEOUT"
return val("status") == "0" ? "COMPLETED" : "FAILED"
}
function finish(id, d, new) {
if (rd(d "lost") >= 0) { state = quiet ? "LOST" : lost(id); return 1 }
if (rd(d "exit") >= 0 && ("end" in F) || rd(d "run") >= 0 && ("end" in F)) {
state = endword()
if (quiet) return 1
if (new && val("pid") != "-") started(id)
ended(id)
return 1
}
return 0
}
function suspect(id, why, new) {
if (!(id in SU)) order[++sus] = id
SU[id] = why
SN[id] = new
PG[id] = val("pgid") == "0" ? val("job_pid") : val("pgid")
JS[id] = val("start")
JB[id] = val("born")
JY[id] = ("started_at" in F) && !("pgid" in F) && now - F["started_at"] < grace
}
function line(f, want,  l) { return (getline l < f) > 0 && l == want }
function asked(id, pid, start,  f, r) {
f = "jobs/" id "/run"
r = line(f, "machine=" machine) && line(f, "boot_id=" boot) && line(f, "pid=" pid) && line(f, "start=" start)
close(f)
return r
}
function judge(id, pid, start,  d, new, p, s, at) {
d = "jobs/" id "/"
new = (pid == "-")
state = "RUNNING"
if (!new && !sweep && !(id in J) && asked(id, pid, start) && alive(pid, start)) return
state = ""
if (rd(d "run") < 0) { unstarted(id, d, new); return }
if (new || sweep || (id in J) || F["pid"] != pid) {
if (finish(id, d, new)) return
rd(d "run")
}
new = new || F["pid"] != pid
if (("machine" in F) && F["machine"] != machine) {
if (!finish(id, d, new)) {
rd(d "run")
state = "RUNNING"
if (!quiet) { if (new) started(id); say("elsewhere " id " " word("node")) }
}
return
}
p = F["pid"]
s = F["start"]
if (("boot_id" in F) && F["boot_id"] != boot) {
if (!finish(id, d, new)) { rd(d "run"); doubt(id, "boot", new) }
return
}
if (("started_at" in F) && alive(p, s)) {
state = "RUNNING"
if (new && !quiet) started(id)
return
}
if (finish(id, d, new)) return
rd(d "run")
if (!("started_at" in F)) {
p = rd(d "spec")
at = F["sj_at"]
if (rd(d "again") >= 0 && F["sj_at"] > at) at = F["sj_at"]
if (now - at < grace) {
state = "PENDING"
if (!quiet) say("prepared " id)
return
}
rd(d "run")
}
doubt(id, "gone", new)
}
function buried(id) {
if (rd("gone/" id) < 0) return 0
state = "GONE"
if (!quiet) {
if (("status" in F) || word("cause") == "cancelled") ended(id)
say("reaped " id)
}
return 1
}
function unstarted(id, d, new) {
if (finish(id, d, 0)) return
if (rd(d "spec") >= 0) {
if (!new && now - F["sj_at"] >= grace) { doubt(id, "record", 0); return }
state = "PENDING"
if (!quiet) say("prepared " id)
return
}
if (buried(id)) return
state = "MISSING"
if (!quiet) say("missing " id)
}
function doubt(id, why, new) {
state = "DOUBT"
suspect(id, why, new)
}
function settle(  i, id, d, why) {
for (i = 1; i <= sus; i++) {
id = order[i]
d = "jobs/" id "/"
why = SU[id]
if (why != "boot" && (JY[id] || tree(id, PG[id], JS[id], JB[id]))) {
VERDICT[id] = "RUNNING"
if (quiet) continue
if (SN[id] && rd(d "run") >= 0) started(id)
say("unsupervised " id)
continue
}
if (finish(id, d, SN[id])) { VERDICT[id] = state; continue }
if (buried(id)) { VERDICT[id] = state; continue }
VERDICT[id] = has(d "cancel") ? "CANCELLED" : "LOST"
if (SN[id] && !quiet && rd(d "run") >= 0 && ("pid" in F)) started(id)
print id, why | ENVIRON["SJ_LOSER"]
}
if (sus) { fflush(); close(ENVIRON["SJ_LOSER"]) }
}
BEGIN {
if (tail != "") {
while ((tail | getline l) > 0) {
n = split(l, a, " ")
if (n == 3 && a[1] == "E" && a[3] == ".") J[a[2]] = 1
}
close(tail)
}
}
{ if (NR % 50 == 0 && !keys) { print "beat"; fflush() } }
$1 == "c" || $1 == "s" { judge($2, $3, $4) }
$1 == "w" {
quiet = 1
judge($5, "-", "-")
W[++ws] = $2 " " $3 " " $4 " " $5
WS[ws] = state
WD[ws] = $6
}
$1 == "r" { if (rd("keys/" $3 "/" $4) >= 0 && ("state" in F)) ended($2) }
$1 == "l" {
d = "jobs/" $2 "/"
if (rd(d "spec") < 0 && rd(d "exit") < 0) { say("odd " $2 " no whole job"); next }
if (!("sj_ok" in F) && !("end" in F)) { say("odd " $2 " no whole job"); next }
at = F["sj_at"] + 0
nm = word("sj_name")
ky = word("sj_keyword")
dg = word("sj_digest")
quiet = 1
judge($2, "-", "-")
L[++ls] = $2
LS[ls] = state
LR[ls] = $3 " " dg " " nm " " ky
LA[ls] = at
}
END {
settle()
for (i = 1; i <= ws; i++) {
split(W[i], a, " ")
s = WS[i]
if (s == "DOUBT") s = VERDICT[a[4]]
same = (rd("keys/" a[2] "/" a[3]) >= 0 && F["digest"] == WD[i])
if (s == "MISSING" || s == "GONE") s = ("state" in F) ? F["state"] : (s == "GONE" ? "CANCELLED" : "LOST")
print a[1], a[2], a[3], a[4], s, same
}
quiet = 0
for (i = 1; i <= ls; i++) {
id = L[i]
s = LS[i]
if (s == "DOUBT") s = VERDICT[id]
rd("jobs/" id "/run")
nd = word("node")
say("listed " id " " s " " (now - LA[i]) " " nd " " LR[i])
new = ("started_at" in F)
if (s == "RUNNING" || s == "PENDING") { if (new) started(id) }
else finish(id, "jobs/" id "/", new)
}
}
'
sj_loser='
set -C
while read -r id why; do
d=jobs/$id
c=
case $why in
boot) r="the host was rebooted while it ran" ;;
record) r="its record vanished from the host, as after a loss of power" ;;
*) r="its processes vanished without a record of their end" ;;
esac
if [ -e "$d/cancel" ]; then c=cancelled; r="cancelled; its supervisor was gone"; fi
if [ -d "$d" ] && [ ! -e "$d/exit" ]; then
{ printf "cause=%s\nfinished_at=%s\nreason=%s\nid=%s\nend=\n" "$c" "$SJ_NOW" "$r" "$id" >"$d/lost"; } 2>/dev/null
fi
[ "$SJ_QUIET" ] && continue
case $c in
cancelled) printf "ended %s - - cancelled - %s 0 %s\n" "$id" "$SJ_NOW" "$r" ;;
*) printf "lost %s %s\n" "$id" "$r" ;;
esac
done
'
sj_judge() { # QUIET: questions from stdin, answers to stdout
SJ_LOSER=$sj_loser SJ_NOW=$sj_now SJ_QUIET=$1 LC_ALL=C awk \
-v machine="$sj_machine" -v boot="$sj_boot" -v now="$sj_now" -v proc="$sj_proc" \
-v grepz="$sj_grepz" -v sweep="$sj_sweep" -v grace="$sj_grace" -v keys="$1" \
-v tail="$sj_tail" "$sj_evidence"
}
sj_is_burst() { if [ $# -gt 32 ]; then sj_burst=1; else sj_burst=-; fi; }
sj_detach() { # MODE LINES
sj_run=runner-$sj_hash
if [ "$sj_renew" ] || [ ! -s "$sj_run" ]; then
sj_renew=
{ printf '%s\n' "$sj_runner" >"$sj_run.$sj_nonce"; } 2>/dev/null &&
mv -f "$sj_run.$sj_nonce" "$sj_run" || {
rm -f "$sj_run.$sj_nonce"
[ -s "$sj_run" ] || return 1
}
fi
[ "$sj_setsid" = - ] || set -- "$1" "$2" "$sj_setsid"
sj_is_burst $2
case $1$sj_burst in
s-) sj_l=$(sj_tell_all "$2" | ${3-} "$sj_sh" "./$sj_run" s 2>&1 >/dev/null) ;;
*) sj_tell_all "$2" | ${3-} "$sj_sh" "./$sj_run" "$1" >/dev/null 2>&1 ;;
esac
}
sj_tell_all() { # LINES
printf '%s\n' "$sj_machine $sj_boot $sj_node $sj_offset $sj_umask $sj_setsid $sj_env $sj_grepz $sj_wc $sj_burst $sj_proc" \
"$sj_shell" "$sj_home" "$sj_dir" "$sj_path" "$sj_sh" $1
}
sj_kill() { # IDS
sj_k='' sj_claim=''
for sj_i; do
sj_d=jobs/$sj_i
sj_beat
if [ ! -d "$sj_d" ]; then
sj_reaped "$sj_i" && {
printf 'killsent %s\n' "$sj_i"
continue
}
{ printf 'cause=cancelled\nuntil=%s\n' "$((${sj_now%.*} + sj_gone_ttl))" >"gone/$sj_i"; } 2>/dev/null
[ -d "$sj_d" ] || {
[ -e "gone/$sj_i" ] && printf 'killmissing %s\n' "$sj_i"
continue
}
fi
if [ ! -e "$sj_d/exit" ] && [ ! -e "$sj_d/lost" ]; then
if [ -h "$sj_d" ]; then
sj_k="$sj_k $sj_i" # whoever moved it gets no file of ours
elif ! { printf '' >>"$sj_d/cancel"; } 2>/dev/null &&
! mv -f "$sj_d/script" "$sj_d/cancel" 2>/dev/null; then
printf 'beat\n' # not even room for the marker: it is asked again
continue
elif [ -e "$sj_d/run" ]; then
sj_k="$sj_k $sj_i"
else
sj_claim="$sj_claim $sj_i:1"
fi
fi
printf 'killsent %s\n' "$sj_i"
sj_ask="$sj_ask
s $sj_i - -"
done
[ "$sj_k" ] && sj_detach k "$sj_k"
[ "$sj_claim" ] || return 0
sj_detach s "$sj_claim"
sj_await $sj_claim
for sj_i in $sj_claim; do sj_unmake "${sj_i%:*}"; done
}
sj_unmake() { # ID
[ -e "jobs/$1/run" ] && return
{ printf '%300s' '' >"new/$sj_nonce.room"; } 2>/dev/null
sj_n=$?
rm -f "new/$sj_nonce.room"
[ $sj_n -eq 0 ] && return
[ -e "gone/$1" ] || mv -f "jobs/$1/script" "gone/$1" 2>/dev/null ||
mv -f "jobs/$1/spec" "gone/$1" 2>/dev/null || return
sj_l=new/$sj_machine.$$.$sj_nonce.$1
mv "jobs/$1" "$sj_l" 2>/dev/null || return
if [ -e "$sj_l/run" ]; then
mv "$sj_l" "jobs/$1"
return
fi
rm -rf "$sj_l"
{ printf 'cause=cancelled\nuntil=%s\n' "$((${sj_now%.*} + sj_gone_ttl))" >"gone/$1"; } 2>/dev/null
printf 'killmissing %s\n' "$1"
}
sj_mkdir() { # IDS
sj_t=new/$sj_machine.$$.$sj_nonce.$1
sj_mk=$sj_t
for sj_i; do
if [ -d "jobs/$sj_i" ]; then
sj_old="$sj_old $sj_i"
elif [ -e "gone/$sj_i" ]; then
sj_reaped "$sj_i" || printf 'refused %s EGONE cancelled before\n' "$sj_i"
else
sj_mk="$sj_mk $sj_t/$sj_i"
fi
done
mkdir $sj_mk 2>/dev/null
return 0
}
sj_reaped() { # ID: it ran and was reaped; the tombstone, which says how it ended, is asked
sj_l=''
[ -e "gone/$1" ] && { read -r sj_l && read -r sj_l; } <"gone/$1"
case $sj_l in
status=*)
sj_ask="$sj_ask
s $1 - -"
;;
*) return 1 ;;
esac
}
sj_job() { # ID SPEC SCRIPT ENV STDIN KEYHASH DIGEST ONCE SHELL
sj_beat
if [ ! -d "jobs/$1" ]; then
[ -e "gone/$1" ] && return
if [ "$9" ] && ! command -v -- "$9" >/dev/null 2>&1; then
printf 'refused %s ESHELL no such shell: %s\n' "$1" "$9"
rm -rf "${sj_t:?}/$1"
return
fi
sj_write "$@" || {
sj_refuse "$1" "$sj_t"
rm -rf "${sj_t:?}/$1"
return
}
fi
if [ "$6" ]; then
sj_keyed="$sj_keyed $1:$6:$7:$8"
sj_shas="$sj_shas keys/$6"
else
sj_plain="$sj_plain $1"
fi
}
sj_write() { # the arguments of sj_job
sj_d=$sj_t/$1
{
printf '%s\n' "$3" >"$sj_d/script" || return
[ -z "$4" ] || printf '%s\n' "$4" >"$sj_d/env" || return
[ -z "$5" ] || printf "$5" >"$sj_d/stdin" || return
[ -z "$6" ] || printf 'id=%s\ndigest=%s\n' "$1" "$7" >"$sj_d/claim" || return
printf '%s\nsj_at=%s\nsj_ok=%s\n' "$2" "$sj_now" "$1" >"$sj_d/spec"
} 2>/dev/null
}
sj_refuse() { # ID DIRECTORY
[ -d "$2" ] || set -- "$1" new
sj_err=$(LC_ALL=C dd if=/dev/zero of="$2/probe" bs=9000 count=1 2>&1) && sj_err=''
rm -f "$2/probe"
sj_err=${sj_err%%"
"*}
sj_code "$sj_err"
sj_err=${sj_err##*: }
printf 'refused %s %s %s\n' "$1" "$sj_code" "${sj_err:-its files cannot be written}"
}
sj_start() {
set -- "$sj_t"/*
[ -e "$1" ] && mv -f -- "$@" jobs/ 2>/dev/null
rm -rf "$sj_t" >/dev/null 2>&1 & # nobody need wait for that
sj_go=''
for sj_i in $sj_plain; do sj_ready "$sj_i" 1; done
[ "$sj_keyed" ] && {
mkdir -p $sj_shas 2>/dev/null
sj_keys
}
[ "$sj_go" ] && {
if sj_detach s "$sj_go"; then
sj_due="$sj_due$sj_go"
else
for sj_i in $sj_go; do sj_take_back "${sj_i%%:*}"; done
fi
}
sj_plain='' sj_keyed='' sj_shas='' sj_drop=''
}
sj_take_back() { # ID
[ -e "jobs/$1/run" ] && return
if mv "jobs/$1" "new/$sj_nonce.$1" 2>/dev/null; then
if [ -e "new/$sj_nonce.$1/run" ]; then
mv "new/$sj_nonce.$1" "jobs/$1"
return
fi
rm -rf "new/$sj_nonce.$1"
sj_refuse "$1" new
fi
}
sj_ready() { # ID ATTEMPT: to be started unless it was; asked about in any case
if [ -d "jobs/$1" ]; then
[ -e "jobs/$1/run" ] || {
case " $sj_old " in *" $1 "*)
{ printf 'sj_at=%s\n' "$sj_now" >"jobs/$1/again"; } 2>/dev/null
;;
esac
sj_go="$sj_go $1:$2"
}
sj_ask="$sj_ask
s $1 - -"
else
sj_refuse "$1" jobs
fi
}
sj_await() { # ID:ATTEMPT ...
for sj_n in .001 .001 .002 .003 .005 .01 .02 .03 .04 .05 .05 .05 .05 .05; do
while [ $# -gt 0 ] && [ -s "jobs/${1%%:*}/run" ]; do shift; done
[ $# -eq 0 ] && return
sleep "$sj_n" 2>/dev/null || return
done
}
sj_keys() {
sj_todo=$sj_keyed
for sj_n in 1 2 3 4 5 6 7 8; do
sj_q='' sj_again=''
for sj_i in $sj_todo; do sj_key_look "$sj_i"; done
[ "$sj_q" ] || break
sj_out=$(printf '%s\n' "$sj_q" | sj_tail='' sj_judge 1)
set -- $sj_out
while [ $# -ge 6 ]; do
sj_key_judge "$1" "$2" "$3" "$4" "$5" "$6"
shift 6
done
sj_todo=$sj_again
[ "$sj_todo" ] || break
done
[ "$sj_drop" ] && rm -rf -- $sj_drop
return 0
}
sj_key_look() { # ID:SHA:DIGEST:ONCE
sj_l=$1
sj_id=${1%%:*} sj_l=${sj_l#*:}
sj_sha=${sj_l%%:*} sj_l=${sj_l#*:}
sj_digest=${sj_l%%:*}
sj_a=1 sj_holder='' sj_mine=''
while [ -e "keys/$sj_sha/$sj_a" ]; do
sj_read_line "keys/$sj_sha/$sj_a"
sj_holder=${sj_line#id=}
[ "$sj_holder" = "$sj_id" ] && sj_mine=$sj_a
sj_a=$((sj_a + 1))
done
if [ "$sj_mine" ]; then
sj_key_won "$sj_id" "$sj_mine"
elif [ ! -d "jobs/$sj_id" ]; then
sj_ready "$sj_id" 1
elif [ "$sj_a" -eq 1 ]; then
sj_key_take "$sj_id" "$sj_sha" 1 || sj_key_look "$1"
else
sj_q="${sj_q:+$sj_q
}w $1 $sj_sha $((sj_a - 1)) $sj_holder $sj_digest"
fi
}
sj_key_take() { # ID SHA ATTEMPT
[ -d "keys/$2" ] || mkdir "keys/$2" 2>/dev/null
if ln "jobs/$1/claim" "keys/$2/$3" 2>/dev/null; then
sj_key_won "$1" "$3"
elif [ -e "keys/$2/$3" ]; then
return 1
else # a file system without hard links: O_EXCL, not whole at once
set -C
if { printf 'id=%s\n' "$1" >"keys/$2/$3"; } 2>/dev/null; then
set +C
sj_key_won "$1" "$3"
else
set +C
sj_refuse "$1" keys
fi
fi
}
sj_key_won() { # ID ATTEMPT
printf 'claimed %s %s %s PENDING 1\n' "$1" "$1" "$2"
sj_ready "$1" "$2"
}
sj_key_judge() { # ID:SHA:DIGEST:ONCE SHA N HOLDER STATE SAME
sj_id=${1%%:*}
case $5:${1##*:} in
PENDING:* | RUNNING:* | ELSEWHERE:* | COMPLETED:* | *:1)
printf 'claimed %s %s %s %s %s\n' "$sj_id" "$4" "$3" "$5" "$6"
[ -e "jobs/$sj_id/run" ] || sj_drop="$sj_drop jobs/$sj_id"
if [ -d "jobs/$4" ]; then
sj_old="$sj_old $4"
sj_ready "$4" "$3"
else
sj_ask="$sj_ask
r $4 $2 $3"
fi
;;
*) sj_key_take "$sj_id" "$2" "$(($3 + 1))" || sj_again="$sj_again $1" ;;
esac
}
sj_sweep_old() {
for sj_i in new/"$sj_machine".*; do
sj_n=${sj_i#"new/$sj_machine."}
sj_n=${sj_n%%.*}
case $sj_n in '' | *[!0-9]*) continue ;; esac
sj_line=''
kill -0 "$sj_n" 2>/dev/null && sj_read_line "/proc/$sj_n/stat" || sj_line='dead) Z'
case ${sj_line##*") "} in [XZ]*) rm -rf -- "$sj_i" ;; esac
done
sj_read_line "$sj_machine/swept"
case $sj_line in *[!0-9]* | '') sj_line=0 ;; esac
[ $((${sj_now%.*} - sj_line)) -lt 3600 ] && [ "$sj_line" -le "${sj_now%.*}" ] && return
{ printf '%s\n' "${sj_now%.*}" >"$sj_machine/swept"; } 2>/dev/null || return 0
find gone keys -type f -print | LC_ALL=C awk -v now="$sj_now" '
$0 !~ /^gone\/[a-z2-7]+$/ && $0 !~ /^keys\/[0-9a-f]+\/[0-9]+$/ { next }
{
f = $0
d = f
sub(/\/[0-9]+$/, "", d)
u = 0
while ((getline l < f) > 0) if (substr(l, 1, 6) == "until=") u = substr(l, 7) + 0
close(f)
if (u && u < now) old[f] = d
else fresh[d] = 1
}
END { for (f in old) if (!(old[f] in fresh)) print f }' | while read -r sj_f; do
rm -f -- "$sj_f"
case $sj_f in keys/*) rmdir "${sj_f%/*}" 2>/dev/null ;; esac
done
find new ! -name new -prune -mtime +1 -exec rm -rf -- {} + 2>/dev/null
return 0
}
sj_open() { # NONCE BASE GENERATION OFFSET START_GRACE KEY_TTL GONE_TTL HASH
sj_nonce=$1 sj_hash=$8 sj_grace=$5 sj_key_ttl=$6 sj_gone_ttl=$7
sj_first="
sshjobs-reply 1 $1
"
sj_ask='' sj_plain='' sj_keyed='' sj_shas='' sj_drop='' sj_mk='' sj_old='' sj_due=''
sj_proc=''
[ -r /proc/self/stat ] && sj_proc=1
sj_enter "$2"
sj_look
sj_features=setsid
[ "$sj_setsid" = - ] && sj_features=no-setsid
[ "$sj_proc" ] || sj_features=$sj_features,no-proc
[ "$sj_grepz" = 1 ] || sj_features=$sj_features,no-mark
sj_first="${sj_first}hello $sj_node $sj_boot $sj_now $sj_features
"
sj_journal "$3" "$4"
sj_tail=''
[ $sj_sweep = 0 ] && [ "$sj_size" -gt "$sj_from" ] &&
sj_tail="tail -c +$((sj_from + 1)) $sj_machine/journal"
return 0
}
sj_prepare_runs() { # what only rounds need that start or kill something
sj_sh=$(PATH=$sj_path && command -v sh) || sj_sh=/bin/sh
case ${SHELL-} in
/*) sj_shell=$SHELL ;;
*)
sj_passwd 7
sj_shell=$sj_line
;;
esac
[ -x "$sj_shell" ] || sj_shell=/bin/sh
}
sj_glance() {
[ "$sj_proc" ] && [ "$sj_sweep$sj_tail" = 0 ] && [ ${#sj_ask} -lt 300 ] || return 0
set -- $sj_ask
sj_ask=''
while [ $# -gt 3 ]; do
[ "$1" = c ] && sj_as_before "$2" "$3" "$4" 2>/dev/null || sj_ask="$sj_ask$1 $2 $3 $4
"
shift 4
done
}
sj_as_before() { # ID PID START
for sj_i in "machine=$sj_machine" "boot_id=$sj_boot" "pid=$2" "start=$3"; do
read -r sj_line && [ "$sj_line" = "$sj_i" ] || return
done <"jobs/$1/run" || return
read -r sj_line <"/proc/$2/stat" || return
set -- "$3" ${sj_line##*') '}
case $2 in [XZ]) return 1 ;; esac
[ "${21}" = "$1" ]
}
sj_answer() { # CHECKS
sj_ask="$1$sj_ask"
sj_glance
[ "$sj_ask" ] && printf '%s\n' "$sj_ask" | sj_judge ''
return 0
}
sj_close() {
sj_sweep_old
printf 'end\n'
}

