sj_open 'cf7a6d7fde51bb65' '/tmp/sj01234567/base' '-' '0' '10.0' '2592000' '86400' '071f423f'
sj_runner='set +aeCfnuvx
umask 077
sj_mode=$1 sj_me=0 sj_told='\'''\'' sj_since='\'''\''
hash ln rm sleep 2>/dev/null
read -r sj_machine sj_boot sj_node sj_offset sj_umask sj_setsid sj_tool sj_grepz sj_wc sj_burst sj_proc
case $sj_burst in -) sj_burst='\'''\'' ;; esac
IFS= read -r sj_shell
IFS= read -r sj_home
IFS= read -r sj_dir
IFS= read -r sj_path
IFS= read -r sj_posix
case $sj_setsid in -) sj_setsid='\'''\'' ;; esac
case $sj_tool in -) sj_tool='\'''\'' ;; *) sj_tool="$sj_tool --default-signal=INT,QUIT" ;; esac
sj_self() { # sj_pid sj_start
if [ "$sj_proc" ]; then
read -r sj_line </proc/self/stat
sj_pid=${sj_line%% *}
sj_line=${sj_line##*'\'') '\''}
set -- $sj_line
shift 19
sj_start=$1
else
sj_pid=$(sh -c '\''echo $PPID'\'')
sj_start=$(ps -o lstart= -p "$sj_pid" 2>/dev/null | tr -s '\'' '\'' _)
sj_start=${sj_start%_}
fi
}
sj_clock() { # sj_cs hundredths, sj_t seconds
if [ "$sj_offset" = none ]; then
sj_cs=$(date +%s)00
else
read -r sj_line </proc/uptime
sj_line=${sj_line%% *}
sj_cs=$((sj_offset + ${sj_line%.*}${sj_line#*.}))
fi
sj_t=${sj_cs%??}.${sj_cs#"${sj_cs%??}"}
}
sj_publish() { # STATUS SIGNAL CAUSE REASON
sj_bytes=0
[ -s "$sj_d/log" ] && sj_size "$sj_d/log"
sj_rec="id=$sj_id
status=$1
signal=$2
cause=$3
finished_at=$sj_t
log_bytes=$sj_bytes
reason=$4
end="
printf '\''%s\n'\'' "$sj_rec" >>"$sj_d/run"
[ "$sj_burst" ] && sj_copy || ln -f "$sj_d/run" "$sj_d/exit" || sj_copy
printf '\''\nE %s .\n'\'' "$sj_id" >>"$sj_machine/journal"
return 0
}
sj_copy() {
set -C
printf '\''%s\npgid=%s\n%s\n'\'' "$sj_record" "${sj_j:-0}" "$sj_rec" >"$sj_d/exit"
sj_n=$?
set +C
return $sj_n
}
sj_size() {
if [ "$sj_wc" = 1 ]; then
sj_bytes=$(wc -c <"$1")
else
set -- $(ls -lnd "$1")
sj_bytes=$5
fi
}
sj_one() { # ID ATTEMPT
sj_id=$1 sj_a=$2 sj_d=jobs/$1 sj_ok='\'''\''
[ -r "$sj_d/spec" ] && [ ! -e "$sj_d/run" ] || return 0
. "./$sj_d/spec"
[ "$sj_ok" = "$sj_id" ] || return 0
if [ "$sj_hasenv" ]; then
[ -r "$sj_d/env" ] || return 0
. "./$sj_d/env"
fi
if [ -z "$sj_timeout" ]; then
sj_main
return
fi
sleep "$sj_timeout" 2>/dev/null &
sj_s=$!
{
trap '\''kill -9 "$sj_s"'\'' EXIT
sj_main
} &
sj_g=$!
exec 2>/dev/null
if wait "$sj_s"; then
[ -e "$sj_d/cancel" ] || [ -e "$sj_d/exit" ] || printf '\'''\'' >"$sj_d/expire"
sj_expire
fi
wait "$sj_g"
}
sj_expire() {
sj_j='\'''\''
while read -r sj_l; do
case $sj_l in pgid=[1-9]*) sj_j=${sj_l#pgid=} ;; esac
done <"$sj_d/run"
if [ "$sj_j" ] && ! [ -e "$sj_d/cancel" ]; then
sj_clock
sj_since=$sj_cs
sj_tell && sj_told=1
fi
sj_end_trees tree "$sj_id"
}
sj_tell() {
kill -TERM "-$sj_j" || return
kill -CONT "-$sj_j"
for sj_n in 0.01 0.05 0.1; do
sleep $sj_n || break
kill -0 "-$sj_j" || break
done
return 0
}
sj_main() {
set -C
exec >"$sj_d/run"
set +C
sj_self
sj_j='\'''\''
sj_record="machine=$sj_machine
boot_id=$sj_boot
pid=$sj_pid
start=$sj_start
node=$sj_node
attempt=$sj_a
started_at=$sj_t"
printf '\''%s\n'\'' "$sj_record" || {
rm -f "$sj_d/run"
return 0
}
[ "$sj_hasenv" ] && rm -f "$sj_d/env"
exec 2>/dev/null
if [ -e "$sj_d/cancel" ] || [ -e "$sj_d/lost" ] || [ -e "gone/$sj_id" ]; then
sj_publish '\'''\'' '\'''\'' cancelled '\''cancelled before it started'\''
return 0
fi
sj_place || return 0
sj_child &
sj_j=$!
if [ "$sj_setsid" ]; then printf '\''pgid=%s\n'\'' $sj_j; else printf '\''pgid=0\njob_pid=%s\n'\'' $sj_j; fi
[ -z "$sj_proc" ] || [ "$sj_burst" ] || sj_born
sj_wait
sj_clock
sj_cause='\'''\''
if [ -e "$sj_d/cancel" ]; then
sj_cause=cancelled
elif [ -e "$sj_d/expire" ]; then
sj_cause=timeout
fi
if [ "$sj_cause" ]; then sj_stopped; else sj_leftover; fi
[ -e "$sj_d/log" ] || [ "$sj_cause" ] || sj_why='\''the log could not be written'\''
sj_publish "$sj_status" "$sj_signal" "$sj_cause" "$sj_why"
}
sj_born() {
read -r sj_line <"/proc/$sj_j/stat" || return
sj_line=${sj_line##*'\'') '\''}
set -- $sj_line
shift 19
printf '\''born=%s\n'\'' "$1"
}
sj_place() {
case $sj_cwd in
'\'''\'' | \~) sj_cwd=$sj_home ;;
\~/*) sj_cwd=$sj_home/${sj_cwd#??} ;;
/*) ;;
*) sj_cwd=$sj_home/$sj_cwd ;;
esac
[ -d "$sj_cwd" ] && [ -x "$sj_cwd" ] && return 0
sj_l='\''no such directory'\''
[ -d "$sj_cwd" ] && sj_l='\''permission denied'\''
sj_publish 126 '\'''\'' '\'''\'' "cwd: $sj_l: ${sj_cwdtext:-the login directory}"
return 1
}
sj_child() {
exec >>"$sj_d/log" 2>&1
[ "$sj_hasin" ] && exec <"$sj_d/stdin"
PATH=$sj_path
CDPATH='\'''\'' cd -P -- "$sj_cwd" >/dev/null || exit 126
unset OLDPWD
umask "$sj_umask"
trap - INT QUIT
sj_sh=$sj_shell
[ "$sj_kind" = vector ] && sj_sh=$sj_posix
[ "$sj_useshell" ] && sj_sh=$(command -v -- "$sj_useshell")
set -- "$sj_id" "$sj_a" "$sj_key" $sj_tool $sj_setsid "$sj_sh" "$sj_dir/$sj_d/script"
[ "$sj_hasenv" ] && sj_env
SSHJOBS_JOB_ID=$1 SSHJOBS_ATTEMPT=$2 SSHJOBS_KEY=$3
export SSHJOBS_JOB_ID SSHJOBS_ATTEMPT SSHJOBS_KEY
shift 3
exec "$@"
}
sj_wait() {
sj_status='\'''\'' sj_signal='\'''\'' sj_why='\'''\''
if [ "${BASH_VERSION-}" ]; then
sj_wait_bash
else
wait "$sj_j"
sj_status=$?
[ "$sj_status" -gt 128 ] && jobs
fi
[ "$sj_status" -gt 128 ] || return 0
[ "$sj_status" -gt 255 ] || [ "$sj_status" -le 192 ] || return 0 # there are 64 signals
sj_how
case $sj_line:$sj_status in
*[Dd]one*:* | *[Ee]xit*:*) ;;
:2[5-9][0-9] | :3[0-9][0-9])
[ "$sj_status" -le 256 ] || {
sj_signal=$((sj_status - 256)) sj_status='\'''\''
}
;;
:*)
[ "${KSH_VERSION-}" ] && return
sj_why="status $sj_status was read as a signal, this sh cannot tell them apart"
sj_signal=$((sj_status - 128)) sj_status='\'''\''
;;
*) sj_signal=$((sj_status - 128)) sj_status='\'''\'' ;;
esac
}
sj_wait_bash() {
set -o posix
trap : CHLD
sj_n='\'''\''
while kill -0 "$sj_j"; do
wait "$sj_j"
sj_n=$?
jobs
done
jobs
wait "$sj_j"
sj_status=$?
trap - CHLD
if [ "$sj_status" = 127 ] && [ "$sj_n" ]; then
sj_how
[ "$sj_line" ] || sj_status=$sj_n
fi
}
sj_how() { # the last line of jobs that tells an end, to sj_line
sj_line='\'''\''
while read -r sj_l; do
case $sj_l in *Running*) ;; '\''['\''*) sj_line=$sj_l ;; esac
done <"$sj_d/run"
}
sj_stopped() {
sj_n=0
while [ ! -e "$sj_d/killed" ]; do
sj_n=$((sj_n + 1))
[ $sj_n -gt $((sj_gracecs / 50 + 20)) ] && {
sj_end_trees tree "$sj_id"
return
}
if [ $sj_n -lt 10 ]; then sleep 0.1 || sleep 1; else sleep 0.5 || sleep 1; fi
done
}
sj_leftover() {
[ "$sj_setsid" ] && kill -0 "-$sj_j" && sj_tell && kill -0 "-$sj_j" || return 0
sj_told=1
sj_end_trees group "$sj_id"
}
sj_tree_awk='\''
function rd(f,  l, k) {
split("", F)
while ((getline l < f) > 0) {
k = index(l, "=")
if (k > 1 && !(substr(l, 1, k - 1) in F)) F[substr(l, 1, k - 1)] = substr(l, k + 1)
}
close(f)
}
function has(f,  l, r) { r = (getline l < f); close(f); return r >= 0 }
function near(s, r) { return proc ? (s - r >= 0 && s - r < 3000) : 1 }
function stats(  c, l, a, p) {
c = proc ? "cat /proc/[0-9]*/stat 2>/dev/null" : "ps -A -o pid= -o ppid= -o pgid= -o stat= -o lstart= 2>/dev/null"
while ((c | getline l) > 0) {
if (proc) {
p = l + 0
sub(/^.*\) /, "", l)
split(l, a, " ")
if (a[1] == "Z" || a[1] == "X") continue
PP[p] = a[2]; GR[p] = a[3]; SE[p] = a[4]; ST[p] = a[20]; HA[p] = (a[1] == "T")
} else {
split(l, a, " ")
if (a[4] ~ /^Z/) continue
p = a[1]; PP[p] = a[2]; GR[p] = a[3]; SE[p] = 0; HA[p] = (a[4] ~ /^T/)
sub(/^ *[0-9]+ +[0-9]+ +[0-9]+ +[^ ]+ +/, "", l)
sub(/ +$/, "", l)
gsub(/ +/, "_", l)
ST[p] = l
}
}
close(c)
}
function marks(  c, l, m) {
if (!grepz || scope == "group") return
c = "cd /proc && grep -Hszxo \047SSHJOBS_JOB_ID=[a-z2-7]*\047 [0-9]*/environ 2>/dev/null | tr \047\\000\047 \047\\n\047"
while ((c | getline l) > 0) {
m = substr(l, index(l, "=") + 1)
if (((l + 0) in ST) && (m in want)) OW[l + 0] = m
}
close(c)
}
{
id = $1
want[id] = ++n
ids[n] = id
rd("jobs/" id "/spec")
gsub(/\047/, "", F["sj_grace"])
grace[id] = F["sj_grace"] + 0
rd("jobs/" id "/run")
known[id] = ("pgid" in F) # before it is asked for, which makes it be there
g = F["pgid"] + 0
if (g > 1) { G[g] = id; GS[g] = F["start"]; GB[g] = F["born"] }
if (F["job_pid"] + 0 > 1) { LP[F["job_pid"]] = id; LS[F["job_pid"]] = F["start"] }
RP[id] = F["pid"]
RB[id] = F["start"]
over[id] = has("jobs/" id "/exit")
}
END {
stats()
for (g in G) if ((g in ST) && (GB[g] == "" ? !near(ST[g], GS[g]) : ST[g] != GB[g])) delete G[g]
for (p in LP) if ((p in ST) && near(ST[p], LS[p])) OW[p] = LP[p]
for (p in ST) {
if (p in G) OW[p] = G[p]
else if (GR[p] in G) OW[p] = G[GR[p]]
else if (scope != "group" && (SE[p] in G)) OW[p] = G[SE[p]]
}
marks()
if (me) mine[me] = 1
do {
more = 0
for (p in ST) {
if (!(p in mine) && (PP[p] in mine)) { mine[p] = 1; more = 1 }
if (scope != "group" && !(p in OW) && (PP[p] in OW)) { OW[p] = OW[PP[p]]; more = 1 }
}
} while (more)
for (i = 1; i <= n; i++) if ((RP[ids[i]] in ST) && ST[RP[ids[i]]] == RB[ids[i]]) { spare[RP[ids[i]]] = 1; up[ids[i]] = 1 }
soft = "soft"; hard = "hard"; live = "live"; done = "done"; wake = "wake"; nap = 1
for (p in spare) if (HA[p]) wake = wake " " p
for (p in OW) {
if ((p in mine) || (p in spare) || p + 0 < 2) continue
id = OW[p]
left[id]++
if (e >= grace[id]) hard = hard " " p
else if ((termed == " " || (at != "" && ST[p] + 0 < at)) && !index(termed, " " p " ") && !(told && (GR[p] in G))) {
if (p in G) lead = lead " " p; else soft = soft " " p
}
}
for (i = 1; i <= n; i++) {
id = ids[i]
if (left[id] || (!over[id] && !known[id] && (up[id] || e < 1))) {
live = live " " id
if (grace[id] > e && grace[id] - e < nap) nap = grace[id] - e
if (!known[id] && nap > 0.1) nap = 0.1
} else done = done " " id
}
print "soft" lead substr(soft, 5); print hard; print live; print done; print wake
printf "nap %.2f\n", nap
}'\''
sj_scan() {
sj_out=$(printf '\''%s\n'\'' $sj_left | LC_ALL=C awk -v proc="$sj_proc" -v grepz="$sj_grepz" \
-v scope="$sj_scope" -v me="$sj_me" -v e="$sj_e" -v termed="$sj_termed" -v told="$sj_told" -v at="$sj_at0" "$sj_tree_awk")
sj_soft='\'''\'' sj_hard='\'''\'' sj_live='\'''\'' sj_done='\'''\'' sj_wake='\'''\'' sj_nap='\'''\'' sj_to='\'''\''
for sj_w in $sj_out; do
case $sj_w in
soft | hard | live | done | wake | nap) sj_to=$sj_w ;;
*)
case $sj_to in
soft) sj_soft="$sj_soft $sj_w" ;;
hard) sj_hard="$sj_hard $sj_w" ;;
live) sj_live="$sj_live $sj_w" ;;
done) sj_done="$sj_done $sj_w" ;;
wake) sj_wake="$sj_wake $sj_w" ;;
nap) sj_nap=$sj_w ;;
esac
;;
esac
done
}
sj_end_trees() { # SCOPE IDS
sj_scope=$1
shift
sj_left=$* sj_termed='\'' '\'' sj_rounds=0
sj_clock
sj_at0='\'''\''
sj_from=${sj_since:-$sj_cs}
while [ "$sj_left" ] && [ $sj_rounds -lt 7200 ]; do
sj_rounds=$((sj_rounds + 1))
sj_clock
sj_e=$((sj_cs - sj_from))
sj_e=$((sj_e / 100)).$((sj_e / 10 % 10))
sj_scan
if [ "$sj_soft" ]; then
if [ "$sj_termed" = '\'' '\'' ] && [ "$sj_proc" ] && [ "$sj_offset" != none ]; then
sj_clock
sj_at0=$((sj_cs - sj_offset)) # in ticks since the boot, as a start is
fi
kill -s TERM $sj_soft
kill -s CONT $sj_soft
sj_termed="$sj_termed$sj_soft "
fi
if [ "$sj_hard" ]; then
kill -s STOP $sj_hard
sj_scan
[ "$sj_hard" ] && kill -s KILL $sj_hard
sj_nap=0.05
fi
[ "$sj_wake" ] && kill -s CONT $sj_wake
for sj_i in $sj_done; do [ -h "jobs/$sj_i" ] || printf '\'''\'' >"jobs/$sj_i/killed"; done
sj_left=$sj_live
[ "$sj_left" ] || break
case $sj_rounds in [1-4]) sj_nap=0.05 ;; esac
sleep "$sj_nap" || sleep 1
done
}
sj_batch() {
sj_n=0 sj_l='\'''\''
while read -r sj_line; do
[ $((sj_n % 16)) -eq 0 ] && {
[ "$sj_l" ] && printf '\''\nS%s .\n'\'' "$sj_l" >>"$sj_machine/journal"
sj_l='\'''\''
sj_w=$sj_line
sj_clock
sj_line=$sj_w
}
sj_n=$((sj_n + 1))
sj_l="$sj_l ${sj_line%%:*}"
sj_one "${sj_line%%:*}" "${sj_line#*:}" &
done
[ "$sj_l" ] && printf '\''\nS%s .\n'\'' "$sj_l" >>"$sj_machine/journal"
}
case $sj_mode$sj_burst in
s) exec >/dev/null ;;
*) exec >/dev/null 2>&1 ;;
esac
case $sj_mode in
s) sj_batch ;;
k)
set --
while read -r sj_line; do set -- "$@" "$sj_line"; done
{
sj_self
sj_me=$sj_pid
sj_end_trees tree "$@"
} &
;;
esac
exit 0
'
sj_prepare_runs
sj_mkdir 'dwe4q575qi5qm3u6' 'nmc7uawar5zvsiv6' 'qbzk55omjlxh5bxn' 'ht3lgrsupdjlbtkr'
sj_job 'dwe4q575qi5qm3u6' 'sj_digest='\''-'\''
sj_name='\'''\''
sj_keyword='\'''\''
sj_sha='\'''\''
sj_kind='\''line'\''
sj_grace='\''10.00'\''
sj_gracecs='\''1000'\''
sj_timeout='\'''\''
sj_useshell='\'''\''
sj_hasenv='\'''\''
sj_hasin='\'''\''
sj_cwdtext='\'''\''
sj_cwd='\'''\''
sj_key='\'''\''' 'echo once >>"/tmp/sj01234567/out.1"; echo one' '' '' '' '-' '' ''
sj_job 'nmc7uawar5zvsiv6' 'sj_digest='\''-'\''
sj_name='\'''\''
sj_keyword='\'''\''
sj_sha='\'''\''
sj_kind='\''line'\''
sj_grace='\''10.00'\''
sj_gracecs='\''1000'\''
sj_timeout='\'''\''
sj_useshell='\'''\''
sj_hasenv='\'''\''
sj_hasin='\'''\''
sj_cwdtext='\'''\''
sj_cwd='\'''\''
sj_key='\'''\''' 'echo once >>"/tmp/sj01234567/out.2"; echo two; exit 3' '' '' '' '-' '' ''
sj_job 'qbzk55omjlxh5bxn' 'sj_digest='\''-'\''
sj_name='\'''\''
sj_keyword='\'''\''
sj_sha='\'''\''
sj_kind='\''line'\''
sj_grace='\''10.00'\''
sj_gracecs='\''1000'\''
sj_timeout='\'''\''
sj_useshell='\'''\''
sj_hasenv='\'''\''
sj_hasin='\'''\''
sj_cwdtext='\'''\''
sj_cwd='\'''\''
sj_key='\'''\''' 'echo once >>"/tmp/sj01234567/out.3"; echo three; while [ ! -e "/tmp/sj01234567/out.go" ]; do sleep 0.1; done; echo last' '' '' '' '-' '' ''
sj_job 'ht3lgrsupdjlbtkr' 'sj_digest='\''-'\''
sj_name='\'''\''
sj_keyword='\'''\''
sj_sha='\'''\''
sj_kind='\''line'\''
sj_grace='\''10.00'\''
sj_gracecs='\''1000'\''
sj_timeout='\'''\''
sj_useshell='\'''\''
sj_hasenv='\'''\''
sj_hasin='\'''\''
sj_cwdtext='\'''\''
sj_cwd='\'''\''
sj_key='\'''\''' 'echo once >>"/tmp/sj01234567/out.4"; echo four; exec sleep 1000' '' '' '' '-' '' ''
sj_start
sj_await $sj_due
sj_answer ''
sj_close
}
exit 0
