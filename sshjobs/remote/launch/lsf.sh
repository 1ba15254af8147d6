# LSF: bsub hands over, bjobs is asked, bkill ends.
# In: ids, ID:ATTEMPT, sj_batch (the runner of batch jobs) and its hash. Out: as queue.sh says.
#
# From the manuals, not tried on a real one. Its commands try again without end while LSF is
# down: each is bounded by timeout(1). bkill tells INT, TERM and KILL, 10 s apart; a job over its
# limit (-W) is told USR2, and KILL ten minutes later. bjobs -a knows ended jobs for an hour.
# Source: bsub(1), bjobs(1), bkill(1) of IBM Spectrum LSF 10.1.

sj_lsf_probe() {
    # whether this host can do it
    for sj_i in bsub bjobs bkill timeout; do
        command -v $sj_i >/dev/null 2>&1 || {
            sj_said="there is no $sj_i in the PATH of a login on the host"
            return 1
        }
    done
}

# Variables that change what its commands say, or whether they come back.
sj_run_lsf() (
    # COMMAND WORDS
    unset BSUB_QUIET BSUB_QUIET2 BSUB_BLOCK LSB_BJOBS_FORMAT LSB_NTRIES
    exec timeout 15 "$@"
)

sj_lsf_examine() {
    # for `sshjobs doctor`
    sj_lsf_probe || {
        sj_tell_fact launcher "no: $sj_said"
        return
    }
    sj_said=$(sj_run_lsf bqueues 2>&1) || {
        sj_tell_fact launcher "no: lsf does not answer: $sj_said"
        return
    }
    sj_tell_fact launcher "lsf $(sj_run_lsf bsub -V 2>&1)"
    printf '%s\n' "$sj_said" | awk 'NR > 1 { print $1 ", " $3 ", " $8 " jobs" }' |
        while read -r sj_line; do sj_tell_fact partition "$sj_line"; done
}

sj_lsf_submit() (
    # ID:ATTEMPT
    sj_write_batch lsf "$1"
    eval "set -- $sj_launchargs"
    sj_hold=$(printf '%s' "${sj_numbers#:}" | sed 's/[0-9][0-9]*/ended(&)/g; s/:/ \&\& /g')
    printf '%s\n' "$sj_script" | sj_run_lsf bsub -J "sj-$sj_id" -rn -o /dev/null ${sj_hold:+-w "$sj_hold"} "$@"
)

sj_lsf_find() {
    # WORD: whether it is the sentence of bsub, to sj_handle
    case $1 in "Job <"*"> is submitted to "*) sj_handle=${1#Job <} sj_handle=${sj_handle%%>*} ;; *) return 1 ;; esac
    case $sj_handle in *[!0-9]* | '' | ???????????????*) return 1 ;; esac
}

# Whether it was refused for good, in words.
sj_lsf_refuses() {
    # STATUS TEXT
    sj_code=ELAUNCH
    [ "$1" -ne 124 ] && [ "$1" -ne 137 ] || return
    # The one before it is forgotten, and its record is still to come.
    [ -z "$sj_numbers" ] || case $2 in *known?[Jj]ob* | *"ob not found"* | *epend*) return 1 ;; esac
    case $2 in
    *"not responding"* | *"LSF is down"* | *"imed out"* | *"library call"* | *ommunication* | *onnect* | *etrying*) return 1 ;;
    *"ob not submitted"* | *sage:*) ;;
    *) return 1 ;;
    esac
    case $2 in *limit* | *threshold*) sj_code=ELIMIT ;; esac
}

# Where there is none it fails, and says so.
sj_lsf_look() {
    sj_run_lsf bjobs -noheader -a -u "$(id -un)" \
        -o "jobid job_name stat queue exec_host exit_reason delimiter='|'" >"$sj_tmp.bjobs" 2>"$sj_tmp.err"
    sj_failure=$?
    sj_read_line "$sj_tmp.err"
    case $sj_failure:$sj_line in
    0:*) ;;
    *:No*"job found"*) sj_failure=0 ;;
    *) printf '%s\n' "$sj_line" >&2 ;;
    esac
    [ $sj_failure -ne 0 ] || awk -F'|' '
        function plain(t, other) { gsub(/[^A-Za-z0-9._,+-]/, "_", t); t = substr(t, 1, 60); return t == "" ? other : t }
        $2 ~ /^sj-[a-z2-7]+$/ && length($2) == 19 && $1 ~ /^[0-9]+$/ {
            w = "runs"
            if ($3 == "PEND" || $3 == "PSUSP" || $3 == "WAIT") w = "waits"
            else if ($3 == "DONE") w = "over"
            else if ($3 == "EXIT") {
                w = "failed"
                if ($6 ~ /TERM_(OWNER|ADMIN|FORCE_OWNER|FORCE_ADMIN|REMOVE)/) w = "cancelled"
                if ($6 ~ /TERM_(RUNLIMIT|DEADLINE|CPULIMIT)/) w = "timeout"
                if ($6 ~ /TERM_(MEMLIMIT|SWAP)/) w = "memory"
                if ($6 ~ /TERM_(PREEMPT|BUCKET_KILL)/) w = "preempted"
            }
            s = $3 == "RUN" ? "" : plain($3, "-") ($3 == "EXIT" ? " (" plain($6, "-") ")" : "")
            sub(/:.*/, "", $5)
            sub(/^[0-9]+[*]/, "", $5)
            print "q lsf", substr($2, 4), $1, w, plain($4, "-"), plain($5, "-"), s
        }' "$sj_tmp.bjobs" || sj_failure=1
    rm -f "$sj_tmp.bjobs" "$sj_tmp.err"
    return $sj_failure
}

sj_lsf_recall() {
    # bjobs -a has told it already
    return 0
}

sj_lsf_cancel() {
    # ID
    sj_run_lsf bkill -J "sj-$1" 0
}
