# Looks at the line of a machine: frees the slots of jobs that have ended, starts the next.
# In: MACHINE/told (sj_print_setup, the hash of the runner, variables of the login), the line of
# launch/limit.sh. Out: MACHINE/queue/slots/ID.ATTEMPT.GROUP, runners.
#
# A runner that has published an end has it looked at, and so has each round; no client need be
# alive. A slot is made before the name leaves the line, and the runner is started after
# that: whoever finds a slot whose job no runner has claimed starts it again, which the
# claim makes harmless. A slot is free once its job has ended: its record says so, or its
# runner is gone and nothing of its tree is left.

umask 077
sj_machine=${0#./}
sj_machine=${sj_machine%/next}
sj_proc=''
[ -r /proc/self/stat ] && sj_proc=1

# What a runner exports that has made itself anew (sj_exec_again) is no job's.
unset sj_by sj_hears sj_stage sj_setsid sj_grepz sj_wc sj_burst sj_posix sj_pid sj_me sj_told \
    sj_since sj_left sj_scope sj_sleeper sj_alone sj_id sj_job_dir sj_job_pid sj_record sj_status \
    sj_signal sj_cause sj_why sj_time sj_gracecs sj_boot sj_offset

sj_load_told() {
    [ -f "$sj_machine/told" ] && sj_is_regular "$sj_machine/told" || return
    {
        read -r sj_word sj_i sj_node sj_offset sj_umask sj_setsid sj_env sj_grepz sj_wc sj_line
        IFS= read -r sj_shell
        IFS= read -r sj_home
        IFS= read -r sj_dir
        IFS= read -r sj_path
        IFS= read -r sj_sh
        read -r sj_hash
        [ "${sj_had+x}" ] || {
            sj_had=''
            while IFS= read -r sj_line; do
                sj_i=${sj_line%%=*} sj_line=${sj_line#*=}
                case $sj_i in *[!A-Za-z0-9_]* | '' | [0-9]*) continue ;; esac
                eval "sj_was_$sj_i=\$sj_line"
                sj_had="$sj_had $sj_i"
                export "sj_was_$sj_i"
            done
            export sj_had
        }
    } <"$sj_machine/told"
    case $sj_hash in *[!0-9a-f]* | '') return 1 ;; esac
    [ "$sj_word" = "$sj_machine" ] && [ -d "$sj_dir" ] || return
    PATH=/usr/bin:/bin:$sj_path
    sj_read_line /proc/sys/kernel/random/boot_id
    [ "$sj_line" ] || sj_line=$(sysctl -n kern.boottime 2>/dev/null | tr -cd '0-9a-f' || :)
    sj_boot=${sj_line:-unknown}
}

sj_read_line() {
    # FILE: its first line to sj_line
    sj_line=
    [ -r "$1" ] && { read -r sj_line <"$1"; } 2>/dev/null
    return 0
}

# Who comes while another looks leaves a note first; that one looks again after the note,
# and after it has given its turn back. So no end goes unseen between two.
sj_look_at_line() {
    sj_note_file=$sj_machine/turn/again sj_dead=''
    sj_is_regular "$sj_note_file" || rm -rf -- "$sj_note_file"
    { printf '' >"$sj_note_file"; } 2>/dev/null
    while [ -e "$sj_note_file" ]; do
        sj_take_turn || return
        while [ -e "$sj_note_file" ]; do
            rm -f "$sj_note_file"
            sj_look_once
        done
        sj_give_turn
    done
}

sj_look_once() {
    for sj_i in "$sj_machine/queue" "$sj_machine"/queue/*; do
        # A process that had removed the rest may have been killed before it removed this.
        case $sj_i in *'*') rmdir "$sj_machine/queue" 2>/dev/null ;; esac
        [ -d "$sj_i" ] && [ ! -h "$sj_i" ] || return
    done
    sj_ended='' sj_unclaimed='' sj_known=''
    for sj_slot in "$sj_machine"/queue/slots/*; do sj_judge_slot; done
    [ -z "$sj_ended" ] || rm -f -- $sj_ended
    sj_taken=$sj_known sj_known=$sj_known$sj_dead
    sj_tell_limits
    sj_choose_jobs
    [ -z "$sj_unclaimed" ] || sj_start_runners $sj_unclaimed
    # Nothing is left: the next runner to end finds no line.
    [ "$sj_taken$sj_chosen" ] || {
        rmdir "$sj_machine/queue/wait" "$sj_machine/queue/after" "$sj_machine/queue/slots" &&
            rmdir "$sj_machine/queue"
        find "$sj_machine/limits" -type f -mtime +1 -exec rm -f -- {} +
    } 2>/dev/null
}

sj_tell_limits() {
    for sj_i in "$sj_machine"/limits/*; do
        [ -f "$sj_i" ] && sj_is_regular "$sj_i" || continue
        sj_read_line "$sj_i"
        sj_known="l ${sj_i##*/} $sj_line
$sj_known"
    done
}

sj_is_slot() {
    # NAME: to sj_id, sj_attempt, sj_group
    sj_id=${1%%.*} sj_pair=${1#*.}
    sj_attempt=${sj_pair%%.*} sj_group=${sj_pair#*.}
    case $sj_id in *[!a-z2-7]*) return 1 ;; ????????????????) ;; *) return 1 ;; esac
    case $sj_attempt in *[!0-9]* | '' | ??????????*) return 1 ;; esac
    case $sj_group in *[!A-Za-z0-9_-]* | '' | "$sj_pair") return 1 ;; esac
}

sj_judge_slot() {
    # sj_slot: to sj_ended, or to sj_known and maybe sj_unclaimed
    [ -e "$sj_slot" ] || [ -h "$sj_slot" ] || return
    if ! sj_is_slot "${sj_slot##*/}"; then
        return
    elif ! sj_is_regular "$sj_slot"; then
        rm -rf -- "$sj_slot"
    elif sj_is_over "$sj_id"; then
        sj_ended="$sj_ended $sj_slot"
    else
        sj_known="${sj_known}h $sj_id $sj_group
"
        [ -e "jobs/$sj_id/run" ] || case $(tail -c 23 "jobs/$sj_id/spec" 2>/dev/null) in
        *sj_ok="$sj_id") sj_unclaimed="$sj_unclaimed $sj_id:$sj_attempt" ;;
        # its directory was spoilt, or goes just now
        *) sj_ended="$sj_ended $sj_slot" ;;
        esac
    fi
}

# Whether nothing of a job runs, or will. Who cannot be told is not taken for ended: a round
# that asks about the job records what becomes of it.
sj_is_over() {
    # ID
    [ -d "jobs/$1" ] && [ ! -h "jobs/$1" ] || return 0
    sj_has_end "$1" || sj_is_gone "$1"
}

# Whether nothing lives of a job of this machine; sj_of_machine is that of its claim.
sj_is_gone() {
    # ID
    sj_of_machine=''
    [ -e "jobs/$1/run" ] || return
    sj_is_regular "jobs/$1/run" || return
    sj_of_boot='' sj_of_pid='' sj_of_start='' sj_count=0
    while read -r sj_line && [ $sj_count -lt 100 ]; do
        sj_count=$((sj_count + 1))
        case $sj_line in
        machine=*) sj_of_machine=${sj_of_machine:-${sj_line#*=}} ;;
        boot_id=*) sj_of_boot=${sj_of_boot:-${sj_line#*=}} ;;
        pid=*) sj_of_pid=${sj_of_pid:-${sj_line#*=}} ;;
        start=*) sj_of_start=${sj_of_start:-${sj_line#*=}} ;;
        end=) return 0 ;;
        esac
    done <"jobs/$1/run"
    # Another machine that shares the home was faster.
    [ "$sj_of_machine" = "$sj_machine" ] || [ -z "$sj_of_machine" ] || return 0
    case $sj_of_pid in
    *[!0-9]*) return 1 ;;
    '')
        # claimed a moment ago, or its runner died in that moment
        [ "$(find "jobs/$1/run" -mmin +1 2>/dev/null)" ] || return
        ;;
    *)
        [ "$sj_of_boot" = "$sj_boot" ] || return 0
        if [ -z "$sj_proc" ]; then
            kill -0 "$sj_of_pid" && return 1
        else
            sj_read_start "$sj_of_pid" && [ "$sj_started" = "$sj_of_start" ] && return 1
        fi
        ;;
    esac 2>/dev/null
    # Its runner is gone: what is left of the job is told by its group and its mark.
    sj_has_end "$1" && return
    sj_find_group "$1" 2>/dev/null && return 1
    [ "$sj_grepz" = 1 ] && ! grep -qszxF "SSHJOBS_JOB_ID=$1" /proc/[0-9]*/environ 2>/dev/null
}

sj_has_end() {
    # ID
    [ -e "jobs/$1/exit" ] || [ -e "jobs/$1/lost" ]
}

# At most 32 at a time: more is a burst, which tells nobody when its records stand.
sj_choose_jobs() {
    # to sj_chosen, which is not empty if anything waits
    sj_chosen=$(printf '%s' "$sj_known" | awk -v line="$sj_machine/queue" \
        "$sj_choose_awk" 2>/dev/null) || {
        sj_chosen=failed
        return
    }
    sj_go='' sj_gone='' sj_ready_names='' sj_never='' sj_buried=''
    for sj_i in $sj_chosen; do
        case $sj_i in
        go:*) sj_choose_job "${sj_i#go:}" || break ;;
        drop:*) sj_gone="$sj_gone $sj_machine/queue/${sj_i#drop:}" ;;
        ready:*) sj_ready_names="$sj_ready_names $sj_machine/queue/after/${sj_i#ready:}" ;;
        never:*) sj_end_waiting "${sj_i#never:}" ;;
        ask:*) sj_bury_dead "${sj_i#ask:}" ;;
        esac
    done
    [ -z "$sj_never" ] || sj_start_runners $sj_never
    [ -z "$sj_gone" ] || rm -rf -- $sj_gone
    [ -z "$sj_ready_names" ] || mv -f -- $sj_ready_names "$sj_machine/queue/wait/" 2>/dev/null
    [ -z "$sj_go" ] || sj_start_runners $sj_go
    # There may be room for more.
    [ -z "$sj_go$sj_gone$sj_ready_names$sj_buried" ] || { printf '' >"$sj_note_file"; } 2>/dev/null
}

sj_choose_job() {
    # NAME
    sj_slot=${1#*.*.}
    sj_file=$sj_machine/queue/wait/$1
    sj_is_slot "$sj_slot" && [ -f "$sj_file" ] && sj_is_regular "$sj_file" &&
        [ -d "jobs/$sj_id" ] && [ ! -h "jobs/$sj_id" ] && [ ! -e "jobs/$sj_id/run" ] || {
        sj_gone="$sj_gone $sj_file"
        return 0
    }
    { printf '' >"$sj_machine/queue/slots/$sj_slot"; } 2>/dev/null || return
    sj_gone="$sj_gone $sj_file"
    sj_go="$sj_go $sj_id:$sj_attempt"
}

# A job that can never begin is claimed by a runner that finds its fate, and ends it.
sj_end_waiting() {
    # NAME:ID:WORD
    sj_word=${1#*:} sj_name=${1%%:*}
    sj_is_slot "${sj_name#*.*.}" && [ ! -h "jobs/$sj_id" ] && sj_is_regular "jobs/$sj_id/fate" || return 0
    case ${sj_word#*:} in
    unknown) sj_line="never began: the host knows no job ${sj_word%%:*}, which was to come before it" ;;
    *) sj_line="never began: job ${sj_word%%:*}, which was to come before it, is ${sj_word#*:}" ;;
    esac
    { printf 'cancelled\n%s\n' "$sj_line" >"jobs/$sj_id/fate"; } 2>/dev/null || return 0
    sj_gone="$sj_gone $sj_machine/queue/after/$sj_name"
    sj_never="$sj_never $sj_id:$sj_attempt"
}

# Others wait for a job of which nothing is left: its runner was killed. What another machine
# runs, as a node of a cluster, cannot be seen from here.
sj_bury_dead() {
    # ID
    sj_is_gone "$1" || return 0
    case $sj_of_machine in "$sj_machine" | '') ;; *) return ;; esac
    sj_buried=1 sj_dead="${sj_dead}x $1
"
}

# The time is found anew: the one that was told may be of another boot, or long ago.
sj_start_runners() {
    # ID:ATTEMPT ...
    sj_offset=none
    sj_cs=$(date +%s%N)
    sj_read_line /proc/uptime
    sj_line=${sj_line%% *}
    case $sj_cs:$sj_line in
    *[!0-9:.]*:* | ?????????????????:*) ;;
    *:[1-9]*.[0-9][0-9]) sj_offset=$((${sj_cs%???????} - ${sj_line%.*}${sj_line#*.})) ;;
    esac
    case $sj_setsid in -) sj_word='' ;; *) sj_word=$sj_setsid ;; esac
    # Each runner holds on to stderr until its record stands: then there is an end of it.
    sj_heard=$(printf '%s\n' "$sj_machine $sj_boot $sj_node $sj_offset $sj_umask $sj_setsid $sj_env $sj_grepz $sj_wc - $sj_proc" \
        "$sj_shell" "$sj_home" "$sj_dir" "$sj_path" "$sj_sh" "$@" |
        $sj_word "$sj_sh" "./runner-$sj_hash" s 2>&1 >/dev/null)
}

sj_load_told && sj_look_at_line
exit
