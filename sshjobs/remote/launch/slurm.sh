# The scheduler Slurm: sbatch hands over, squeue is asked, scancel ends.
# In: ids, ID:ATTEMPT, sj_batch (the runner of batch jobs) and its hash. Out: as queue.sh says.
#
# Whether sbatch failed says little: with its answer lost the job may be there, or come later
# (Slurm 22.05, and others' issues). Each command is bounded by timeout(1), since none is by
# itself. Source: sbatch(1), squeue(1), scancel(1).

sj_slurm_probe() { # whether this host can do it
    for sj_i in sbatch squeue scancel timeout; do
        command -v $sj_i >/dev/null 2>&1 || {
            sj_said="there is no $sj_i in the PATH of a login on the host"
            return 1
        }
    done
}

sj_slurm_examine() { # for `sshjobs doctor`
    sj_slurm_probe || {
        sj_tell_fact launcher "no: $sj_said"
        return
    }
    sj_said=$(sj_slurm scontrol show config 2>&1) || {
        sj_tell_fact launcher "no: slurm does not answer: $sj_said"
        return
    }
    sj_tell_fact launcher "$(sj_slurm sbatch --version 2>&1)"
    sj_slurm sinfo -h -s -o '%P %a, limit %l, %D nodes' 2>/dev/null | while read -r sj_line; do
        sj_tell_fact partition "$sj_line"
    done
    printf '%s\n' "$sj_said" | while read -r sj_i sj_w sj_line; do
        case $sj_i in
        AccountingStorageType | MaxArraySize | MaxJobCount | MinJobAge | KillWait) sj_tell_fact limit "$sj_i $sj_line" ;;
        esac
    done
}

# Variables of Slurm's own change what its commands do and say. Where it is stays known.
sj_slurm() ( # COMMAND WORDS
    for sj_i in $(env | sed -n 's/^\(S[A-Z]*_[A-Za-z0-9_]*\)=.*/\1/p'); do
        case $sj_i in
        SLURM_CONF | SLURM_CLUSTERS) ;;
        SLURM_* | SBATCH_* | SQUEUE_* | SCANCEL_* | SACCT_* | SINFO_* | SALLOC_* | SRUN_*) unset "$sj_i" ;;
        esac
    done
    exec timeout 15 "$@"
)

sj_slurm_start() { # ID:ATTEMPT ...
    if sj_slurm_probe; then
        if sj_write_runner "runner-$sj_batch_hash" "$sj_batch"; then
            sj_hand_over slurm "$@"
        else
            for sj_i; do sj_refuse "${sj_i%%:*}" new; done
        fi
    else
        sj_resends=''
        for sj_i; do sj_give_back_job "${sj_i%%:*}" ELAUNCH "$sj_said"; done
    fi
}

# The script has nothing of the user's. It comes on standard input, since a file comes late
# to a node that shares it; what it needs to know stands in it, and in no argument.
sj_slurm_submit() ( # ID:ATTEMPT
    sj_id=${1%%:*} sj_launchargs=''
    . "./jobs/$sj_id/spec"
    sj_script="#!/bin/sh
[ -s ./runner-$sj_batch_hash ] || exit 78
exec sh ./runner-$sj_batch_hash b slurm <<\\sj_end
$(sj_burst=- sj_tell_all "$1")
sj_end"
    eval "set -- $sj_launchargs"
    printf '%s\n' "$sj_script" | sj_slurm sbatch --parsable -J "sj-$sj_id" --no-requeue \
        --open-mode=append --export=ALL -o "jobs/$sj_id/slurm.out" "$@"
)

sj_slurm_find() { # WORD: whether it is what --parsable prints, to sj_handle
    sj_handle=${1%%;*}
    case $sj_handle in *[!0-9]* | '' | ???????????????*) return 1 ;; esac
}

# Whether it was refused for good, in words: of an answer that did not come, or is cut, nothing
# is concluded.
sj_slurm_refuses() { # STATUS TEXT
    sj_code=ELAUNCH
    [ "$1" -lt 124 ] || return
    case $2 in
    '' | *"nable to contact"* | *"imed out"* | *emporarily* | *uthentication* | *"ero Bytes"* | \
        *onnect* | *ocket* | *"ommunication"* | *"sleeping and retrying"* | *"Slurm backup"*) return 1 ;;
    *rror:* | *--help*) ;;
    *) return 1 ;;
    esac
    case $2 in
    *ubmitJob* | *"submit limit"* | *axSubmit*) sj_code=ELIMIT ;;
    esac
}

# All that is ours, of whatever base directory, in one question.
sj_slurm_look() {
    sj_slurm squeue -h -t all -r -u "$(id -un)" \
        -O 'JobID:|,Name:|,State:|,Partition:|,NodeList:|,Reason:|' >"$sj_tmp.squeue" || return
    awk -F'|' "$sj_slurm_awk" "$sj_tmp.squeue"
    sj_failure=$?
    rm -f "$sj_tmp.squeue"
    return $sj_failure
}

# By name: a number may be another job's after a crash of the controller.
sj_slurm_stop() { # IDS
    sj_slurm_probe || return 0
    sj_start_beats
    while [ $# -gt 0 ]; do
        sj_pids=''
        for sj_count in 1 2 3 4 5 6 7 8; do
            [ $# -eq 0 ] || {
                sj_slurm scancel -u "$(id -un)" -n "sj-$1" >/dev/null 2>&1 &
                sj_pids="$sj_pids $!"
                shift
            }
        done
        wait $sj_pids
    done
    sj_stop_beats
}
