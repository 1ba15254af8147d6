# OpenPBS and Torque: qsub hands over, qselect and qstat are asked, qdel ends.
# In: ids, ID:ATTEMPT, sj_batch (the runner of batch jobs) and its hash. Out: as queue.sh says.
#
# From the manuals, not tried on a real one. A name may have 15 letters (Torque), so that the
# whole id stands in a variable of the job, which qstat -f shows; that shows every user the
# others too, so that -V is not used. A job begins in the home directory. qstat -x is the
# history in OpenPBS, and XML in Torque. qdel tells TERM, and KILL some seconds later.
# Source: qsub(1B), qstat(1B), qselect(1B), qdel(1B) of OpenPBS 23.06; Torque 6.1.2's guide.

sj_pbs_probe() {
    # whether this host can do it
    for sj_i in qsub qstat qselect qdel timeout; do
        command -v $sj_i >/dev/null 2>&1 || {
            sj_said="there is no $sj_i in the PATH of a login on the host"
            return 1
        }
    done
}

sj_pbs_examine() {
    # for `sshjobs doctor`
    sj_pbs_probe || {
        sj_tell_fact launcher "no: $sj_said"
        return
    }
    sj_said=$(timeout 15 qstat -B 2>&1) || {
        sj_tell_fact launcher "no: pbs does not answer: $sj_said"
        return
    }
    sj_tell_fact launcher "pbs $(timeout 15 qstat --version 2>&1)"
    # Queue, its greatest number, how many it has, whether it is enabled and started.
    timeout 15 qstat -Q 2>/dev/null | awk 'NR > 2 { print $1 ", " $3 " jobs, enabled " $4 ", started " $5 }' |
        while read -r sj_line; do sj_tell_fact partition "$sj_line"; done
}

sj_pbs_submit() (
    # ID:ATTEMPT
    sj_write_batch pbs "$1" 'cd "$PBS_O_WORKDIR" || exit 78
'
    sj_write_login "$sj_id"
    sj_name=sj-${sj_id%????}
    eval "set -- $sj_launchargs"
    printf '%s\n' "$sj_script" | timeout 15 qsub -N "$sj_name" -v "SJ_ID=$sj_id" -r n -S /bin/sh \
        -j oe -o /dev/null ${sj_numbers:+-W "depend=afterany$sj_numbers"} "$@"
)

sj_pbs_find() {
    # WORD: whether it is a number and the name of a server, to sj_handle
    sj_handle=${1%%.*}
    case $1 in *[!A-Za-z0-9.-]*) return 1 ;; *.*) ;; *) return 1 ;; esac
    case $sj_handle in *[!0-9]* | '' | ???????????????*) return 1 ;; esac
}

# Whether it was refused for good, in words.
sj_pbs_refuses() {
    # STATUS TEXT
    sj_code=ELAUNCH
    [ "$1" -ne 124 ] && [ "$1" -ne 137 ] || return
    # The one before it is over, and its record is still to come.
    [ -z "$sj_numbers" ] || case $2 in *known?[Jj]ob* | *"as finished"* | *epend*) return 1 ;; esac
    case $2 in
    *onnect* | *errno=* | *"imed out"* | *imeout* | *"Premature end"* | *"End of File"* | *rotocol* | *ommunication* | *"erver shutting"*) return 1 ;;
    *qsub:* | *sage:*) ;;
    *) return 1 ;;
    esac
    case $2 in
    *"exceed"*limit* | *"aximum number of jobs"* | *max_queued*) sj_code=ELIMIT ;;
    esac
}

# All that is ours: first their names, since qstat -f of all users may be long. One that ended
# in between makes qstat fail, and says so; of the others it tells all the same.
sj_pbs_look() {
    timeout 15 qselect -u "$(id -un)" >"$sj_tmp.qselect" || return
    sj_failure=0
    : >"$sj_tmp.qstat"
    if [ -s "$sj_tmp.qselect" ]; then
        timeout 15 qstat -f $(cat "$sj_tmp.qselect") >"$sj_tmp.qstat" 2>"$sj_tmp.err" || {
            sj_failure=$?
            grep -v -i 'unknown job\|has finished' "$sj_tmp.err" >&2 && [ $sj_failure -ne 0 ] || sj_failure=0
        }
    fi
    awk "$sj_pbs_awk" "$sj_tmp.qstat" || sj_failure=1
    rm -f "$sj_tmp.qselect" "$sj_tmp.qstat" "$sj_tmp.err"
    return $sj_failure
}

# The history of OpenPBS, where the site keeps one; Torque answers in XML, which says nothing.
sj_pbs_recall() {
    # ID:NUMBER ...: prints ID WORD TEXT
    for sj_i; do
        case ${sj_i#*:} in - | 0) continue ;; esac
        timeout 15 qstat -x -f "${sj_i#*:}" 2>/dev/null | awk -v id="${sj_i%%:*}" '
            index($0, "SJ_ID=" id) { ours = 1 }
            $1 == "Exit_status" && $2 == "=" { s = $3 }
            END {
                if (ours && s == "271") print id, "cancelled ended by PBS (exit status 271, TERM)"
                else if (ours && s == "-29") print id, "timeout its time in PBS was up (exit status -29)"
                else if (ours && s ~ /^-?[0-9]+$/) print id, "lost PBS says that it ended with " s ", and it left no record of its end"
            }'
    done
}

sj_pbs_cancel() {
    # ID
    timeout 15 qselect -u "$(id -un)" -N "sj-${1%????}" | while read -r sj_line; do
        timeout 15 qdel "$sj_line"
    done
}
