# The runner of a job that a scheduler starts: its batch script.
# In: b LAUNCHER, and on standard input the lines of sj_print_setup, as its submitter found them.
# Out: one job from claim to end, with the records of any other.

# What its submitter knew of its own machine is found anew on this one; who polls reads the
# journal of the submitter.
sj_learn_node() {
    sj_hears=$sj_machine sj_burst='' sj_proc=''
    [ -r /proc/self/stat ] && sj_proc=1
    sj_find_machine
    sj_probe_tools
    case $sj_setsid in -) sj_setsid='' ;; esac
    case $sj_env in -) sj_tool='' ;; *) sj_tool="$sj_env --default-signal=INT,QUIT" ;; esac
    sj_offset=none sj_init=''
    sj_cs=$(date +%s%N)
    case $sj_cs in *[!0-9]* | ?????????????????) return ;; esac
    sj_read_line /proc/uptime
    sj_line=${sj_line%% *}
    case $sj_line in
    [1-9]*.[0-9][0-9])
        sj_offset=$((${sj_cs%???????} - ${sj_line%.*}${sj_line#*.}))
        sj_read_start 1 && sj_init=$sj_started
        ;;
    esac
}

# A scheduler tells all processes of a job to end, this one too, which has still to publish
# how that went. A sleep that nobody else has reason to end shows later that it did. The signal
# is TERM, or INT before it (LSF), or with SGE USR2, of which USR1 and XCPU are the warnings.
sj_run_batch() {
    # LAUNCHER
    sj_by=$1
    read -r sj_word
    sj_learn_node
    (
        trap - INT TERM USR2
        trap '' USR1 XCPU
        exec sleep 2147483647 >/dev/null 2>&1
    ) &
    sj_canary=$!
    sj_await_before "${sj_word%%:*}" || exit
    trap '' INT TERM USR1 USR2 XCPU
    sj_read_clock
    sj_run_job "${sj_word%%:*}" "${sj_word#*:}" >/dev/null </dev/null &
    sj_inner=$!
    sj_noticed=''
    [ "$sj_by" = slurm ] || {
        trap 'sj_noticed=TERM' INT TERM
        trap 'sj_noticed=USR2' USR2
    }
    wait $sj_inner
    [ -z "$sj_noticed" ] || {
        sj_take_notice
        wait $sj_inner
    }
    kill -9 $sj_canary
    [ -e "jobs/${sj_word%%:*}/run" ]
}

# A job that comes after others: their records say whether it may begin, and come late to a node
# that shares them. One that cannot be told in time leaves, unclaimed, and is handed over again.
sj_await_before() {
    # ID
    sj_before='' sj_job_dir=jobs/$1
    [ -f "$sj_job_dir/handle" ] && sj_is_regular "$sj_job_dir/handle" && while read -r sj_line; do
        case $sj_line in after=*) sj_before=${sj_line#after=} ;; esac
    done <"$sj_job_dir/handle"
    [ "$sj_before" ] || return 0
    sj_count=0
    while [ ! -e "$sj_job_dir/run" ] && [ $sj_count -lt 90 ]; do
        sj_line=$(awk -v words="$sj_before" "$sj_before_node_awk")
        case $sj_line in
        ready) return 0 ;;
        'never '*)
            sj_is_regular "$sj_job_dir/fate" && { printf 'cancelled\n%s\n' "${sj_line#never }" >"$sj_job_dir/fate"; } 2>/dev/null
            return
            ;;
        esac
        sj_count=$((sj_count + 1))
        sleep 1 || break
    done
    kill -9 $sj_canary
    return 1
}

# What comes next is KILL, to this process as well: what the scheduler does is written down
# first, then the job ends as with a kill, if it has not by the signal itself.
sj_take_notice() {
    trap '' INT TERM USR2
    # dash keeps it from hearing of INT
    kill -9 $sj_canary
    sj_id=${sj_word%%:*} sj_cause=cancelled sj_why="$sj_by ended it"
    sj_job_dir=jobs/$sj_id
    [ -f "$sj_job_dir/run" ] && ! [ -e "$sj_job_dir/exit" ] || return 0
    sj_write_word
    "sj_${sj_by}_tell_why"
    sj_write_word
    sj_read_self
    sj_end_trees tree "$sj_id"
}

# Which of the numbers that a job was handed over under has become the job.
sj_note_claim() {
    rm -f "$sj_job_dir/login"
    sj_number=''
    case $sj_by in
    slurm) sj_number=${SLURM_JOB_ID-} ;;
    sge) sj_number=${JOB_ID-} ;;
    pbs) sj_number=${PBS_JOBID-} sj_number=${sj_number%%.*} ;;
    lsf) sj_number=${LSB_JOBID-} ;;
    esac
    case $sj_number in
    *[!0-9]* | '') ;;
    *) sj_is_regular "$sj_job_dir/handle" && printf 'handle=%s\n' "$sj_number" >>"$sj_job_dir/handle" ;;
    esac
}

sj_write_word() {
    sj_is_regular "$sj_job_dir/handle" && printf 'word=%s %s\n' "${sj_cause:-failed}" "$sj_why" >>"$sj_job_dir/handle"
    return 0
}

# The last of them, to sj_cause and sj_why, if it says more than that there was one.
sj_read_word() {
    sj_word=''
    sj_is_regular "$sj_job_dir/handle" && while IFS= read -r sj_line; do
        case $sj_line in word=*) sj_word=${sj_line#word=} ;; esac
    done <"$sj_job_dir/handle"
    case $sj_word in "cancelled $sj_by ended it" | '') return 1 ;; esac
    sj_cause=${sj_word%% *} sj_why=${sj_word#* }
    case $sj_cause in failed) sj_cause='' ;; esac
}

# What the scheduler did to the job that has just ended: sj_cause and sj_why.
sj_ask_launcher() {
    if sj_is_out_of_memory; then
        sj_why='out of memory: the kernel ended a process of it at the limit of its node'
        [ "$sj_status" != 0 ] || sj_status='' sj_signal=9
    fi
    # Who is told to end with it may be told after it, by some milliseconds.
    case $sj_signal:$sj_status in
    2:* | 9:* | 12:* | 15:* | :130 | :137 | :140 | :143)
        for sj_pause in 0.05 0.1 0.2 0.4; do
            sj_read_start "$sj_canary" || break
            sleep $sj_pause || break
        done
        ;;
    esac
    # One that was waited for is gone, one that was not yet is a zombie.
    sj_read_start "$sj_canary" || {
        sj_cause=cancelled sj_why="$sj_by ended it"
        sj_read_word || "sj_${sj_by}_tell_why"
    }
}

sj_is_out_of_memory() {
    while IFS=: read -r sj_line sj_w sj_i; do
        case $sj_w:$sj_i in
        *memory*:*/job_* | *memory*:*/sj-*.service) sj_file=/sys/fs/cgroup/memory$sj_i/memory.oom_control ;;
        :*/job_* | :*/sj-*.service) sj_file=/sys/fs/cgroup$sj_i/memory.events ;;
        *) continue ;;
        esac
        [ -r "$sj_file" ] || continue
        while read -r sj_line sj_w; do
            case $sj_line:$sj_w in oom_kill:[1-9]*) return 0 ;; esac
        done <"$sj_file"
    done </proc/self/cgroup
    return 1
}

case $sj_mode in
b) sj_run_batch "$2" ;;
again) sj_resume_stage ;;
esac
exit
