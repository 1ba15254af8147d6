# The scheduler Slurm: sbatch hands over, squeue is asked, scancel ends.
# In: ids, ID:ATTEMPT, sj_batch (the runner of batch jobs) and its hash. Out: as queue.sh says.
#
# Whether sbatch failed says little: with its answer lost the job may be there, or come later
# (Slurm 22.05, and others' issues). Each command is bounded by timeout(1), since none is by
# itself. Source: sbatch(1), squeue(1), scancel(1).

sj_slurm_probe() {
    # whether this host can do it
    for sj_i in sbatch squeue scancel timeout; do
        command -v $sj_i >/dev/null 2>&1 || {
            sj_said="there is no $sj_i in the PATH of a login on the host"
            return 1
        }
    done
}

sj_slurm_examine() {
    # for `sshjobs doctor`
    sj_slurm_probe || {
        sj_tell_fact launcher "no: $sj_said"
        return
    }
    sj_said=$(sj_run_slurm scontrol show config 2>&1) || {
        sj_tell_fact launcher "no: slurm does not answer: $sj_said"
        return
    }
    sj_tell_fact launcher "$(sj_run_slurm sbatch --version 2>&1)"
    sj_run_slurm sinfo -h -s -o '%P %a, limit %l, %D nodes' 2>/dev/null | while read -r sj_line; do
        sj_tell_fact partition "$sj_line"
    done
    printf '%s\n' "$sj_said" | while read -r sj_i sj_w sj_line; do
        case $sj_i in
        AccountingStorageType | MaxArraySize | MaxJobCount | MinJobAge | KillWait) sj_tell_fact limit "$sj_i $sj_line" ;;
        esac
    done
}

# Variables of Slurm's own change what its commands do and say. Where it is stays known.
sj_run_slurm() (
    # COMMAND WORDS
    for sj_i in $(env | sed -n 's/^\(S[A-Z]*_[A-Za-z0-9_]*\)=.*/\1/p'); do
        case $sj_i in
        SLURM_CONF | SLURM_CLUSTERS) ;;
        SLURM_* | SBATCH_* | SQUEUE_* | SCANCEL_* | SACCT_* | SINFO_* | SALLOC_* | SRUN_*) unset "$sj_i" ;;
        esac
    done
    exec timeout 15 "$@"
)

sj_slurm_submit() (
    # ID:ATTEMPT
    sj_write_batch slurm "$1"
    eval "set -- $sj_launchargs"
    printf '%s\n' "$sj_script" | sj_run_slurm sbatch --parsable -J "sj-$sj_id" --no-requeue \
        --open-mode=append --export=ALL -o "jobs/$sj_id/slurm.out" \
        ${sj_numbers:+"--dependency=afterany$sj_numbers"} "$@"
)

sj_slurm_find() {
    # WORD: whether it is what --parsable prints, to sj_handle
    sj_handle=${1%%;*}
    case $sj_handle in *[!0-9]* | '' | ???????????????*) return 1 ;; esac
}

# Whether it was refused for good, in words: of an answer that did not come, or is cut, nothing
# is concluded.
sj_slurm_refuses() {
    # STATUS TEXT
    sj_code=ELAUNCH
    [ "$1" -lt 124 ] || return
    case $2 in
    '' | *"nable to contact"* | *"imed out"* | *emporarily* | *uthentication* | *"ero Bytes"* | \
        *onnect* | *ocket* | *"ommunication"* | *"sleeping and retrying"* | *"Slurm backup"*) return 1 ;;
    *rror:* | *--help*) ;;
    *) return 1 ;;
    esac
    # Its last line is the same for limits of another kind, which the one before it may name.
    case $2 in
    *ubmitJob* | *axSubmit*) sj_code=ELIMIT ;;
    *Assoc*Limit* | *QOS*Limit*) ;;
    *"submit limit"*) sj_code=ELIMIT ;;
    esac
}

# All that is ours, of whatever base directory, in one question.
sj_slurm_look() {
    sj_run_slurm squeue -h -t all -r -u "$(id -un)" \
        -O 'JobID:|,Name:|,State:|,Partition:|,NodeList:|,Reason:|' >"$sj_tmp.squeue" || return
    awk -F'|' "$sj_slurm_awk" "$sj_tmp.squeue"
    sj_failure=$?
    rm -f "$sj_tmp.squeue"
    return $sj_failure
}

# By name: a number may be another job's after a crash of the controller.
sj_slurm_cancel() {
    # ID
    sj_run_slurm scancel -u "$(id -un)" -n "sj-$1"
}

# The accounts, where there are any, of jobs that are over: not of all days.
sj_slurm_recall() {
    # ID:NUMBER ...: prints ID WORD TEXT
    command -v sacct >/dev/null 2>&1 || return 0
    sj_numbers=''
    for sj_i; do
        case ${sj_i#*:} in -) ;; *) sj_numbers=$sj_numbers,${sj_i#*:} ;; esac
    done
    [ "$sj_numbers" ] || return 0
    sj_run_slurm sacct -n -X -P -S now-1day -j "${sj_numbers#,}" -o JobID,JobName,State,Partition,NodeList,Reason |
        sed 's/|CANCELLED by [0-9]*|/|CANCELLED|/' | awk -F'|' "$sj_slurm_awk" |
        while read -r sj_w sj_line sj_i sj_w sj_word sj_line sj_w sj_why; do
            case $sj_word in
            cancelled | timeout) printf '%s %s the accounts of Slurm say %s\n' "$sj_i" "$sj_word" "$sj_why" ;;
            memory | preempted) printf '%s failed the accounts of Slurm say %s\n' "$sj_i" "$sj_why" ;;
            over | failed | nodefail) printf '%s lost the accounts of Slurm say %s, and it left no record of its end\n' "$sj_i" "$sj_why" ;;
            esac
        done
}
