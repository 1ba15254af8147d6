# Grid Engine (SGE): qsub hands over, qstat is asked, qdel ends.
# In: ids, ID:ATTEMPT, sj_batch (the runner of batch jobs) and its hash. Out: as queue.sh says.
#
# Measured with 8.1.9. qsub answers in 0.1 s. With its qmaster stopped it says "unable to send
# message to qmaster" after about a minute of its own, none of the job: each command is bounded
# by timeout(1). With its qmaster gone it says the same at once. Who refuses a job says "Unable
# to run job: ..." and status 1; of a flag that it does not know, "qsub: ..." and 2.
# qdel sends KILL at once, to all that carries the job's additional group, setsid or not. With
# -notify that is preceded by USR2, by what the queue says (notify, 60 s), and so is the end of
# a job over its h_rt. qstat knows a job that is over no more; qacct does, some seconds later.
# `qstat -j` shows every user the environment that -v or -V give a job: ours is a file.
# Source: qsub(1), qstat(1), qdel(1), sge_types(1), queue_conf(5).

sj_sge_probe() {
    # whether this host can do it
    for sj_i in qsub qstat qdel qconf timeout; do
        command -v $sj_i >/dev/null 2>&1 || {
            sj_said="there is no $sj_i in the PATH of a login on the host"
            return 1
        }
    done
}

sj_sge_examine() {
    # for `sshjobs doctor`
    sj_sge_probe || {
        sj_tell_fact launcher "no: $sj_said"
        return
    }
    sj_said=$(timeout 15 qconf -sconf 2>&1) || {
        sj_tell_fact launcher "no: sge does not answer: $sj_said"
        return
    }
    sj_tell_fact launcher "sge $(timeout 15 qstat -help 2>&1)"
    timeout 15 qstat -g c 2>/dev/null | awk 'NR > 2 { print $1, $5 " of " $6 " slots free" }' | while read -r sj_line; do
        sj_tell_fact partition "$sj_line"
    done
    printf '%s\n' "$sj_said" | while read -r sj_i sj_line; do
        case $sj_i in max_u_jobs | max_jobs | reporting_params) sj_tell_fact limit "$sj_i $sj_line" ;; esac
    done
}

# Its output is for a place that is always there: a job whose file cannot be opened stays in the
# queue for ever (Eqw), and one that was handed over twice may find the other one's directory
# reaped. The interpreter of the queue may be csh.
sj_sge_submit() (
    # ID:ATTEMPT
    sj_write_batch sge "$1"
    sj_write_login "$sj_id"
    eval "set -- $sj_launchargs"
    sj_hold=$(printf '%s' "${sj_numbers#:}" | tr : ,)
    printf '%s\n' "$sj_script" | timeout 15 qsub -terse -N "sj-$sj_id" -r n -notify -S /bin/sh -cwd \
        -j y -o /dev/null ${sj_hold:+-hold_jid "$sj_hold"} "$@"
)

sj_sge_find() {
    # WORD: whether it is what -terse prints, to sj_handle
    sj_handle=$1
    case $sj_handle in *[!0-9]* | '' | ???????????????*) return 1 ;; esac
}

# Whether it was refused for good, in words.
sj_sge_refuses() {
    # STATUS TEXT
    sj_code=ELAUNCH
    [ "$1" -lt 124 ] || return
    case $2 in
    *"to qmaster"* | *commlib* | *"end error"* | *"imed out"* | *imeout* | *"an't get "* | *"an't resolve"* | *onnect*) return 1 ;;
    *"nable to run job: "* | *qsub:* | *enied:* | *rejected*) ;;
    *) return 1 ;;
    esac
    case $2 in *" jobs are allowed "*) sj_code=ELIMIT ;; esac
}

# All that is ours, of whatever base directory, in one question. Its table cuts names off after
# ten letters; XML does not.
sj_sge_look() {
    timeout 15 qstat -xml -u "$(id -un)" >"$sj_tmp.qstat" || return
    # One that was cut off is no answer.
    grep -q '^</job_info>' "$sj_tmp.qstat" && awk "$sj_sge_awk" "$sj_tmp.qstat"
    sj_failure=$?
    rm -f "$sj_tmp.qstat"
    return $sj_failure
}

sj_sge_cancel() {
    # ID
    timeout 15 qdel "sj-$1"
}

# qacct reads the file of all jobs there ever were: one at a time, and a few. A name, since
# numbers come again; the last entry of that name counts.
sj_sge_recall() {
    # ID:NUMBER ...: prints ID WORD TEXT
    command -v qacct >/dev/null 2>&1 || return 0
    for sj_i in $(printf '%s\n' "$@" | head -n 2); do
        timeout 15 qacct -j "sj-${sj_i%%:*}" 2>/dev/null | awk -v id="${sj_i%%:*}" '
            $1 == "failed" { f = $2; sub(/^failed +[0-9]+ *:? */, ""); t = $0; sub(/ +$/, "", t) }
            $1 == "exit_status" { s = $2 }
            END {
                if (f == "37") print id, "timeout its limit in SGE was reached (" t ")"
                else if (f == "100") print id, "failed ended by SGE, or by itself, with " s " (" t ")"
                else if (f != "" && f != "0") print id, "failed SGE: " t " (failed " f ")"
                else if (f != "") print id, "lost SGE says that it ended with " s ", and it left no record of its end"
            }'
    done
}
