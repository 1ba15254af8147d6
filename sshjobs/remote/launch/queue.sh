# What all schedulers share: asked once for all jobs, started again where they forgot one.
# In: sj_launchers, sj_queue_age; of each launcher sj_NAME_look, submit and more. Out: sj_queued,
# the lines that queue.awk reads; jobs/ID/handle; frames queued and refused.
#
# jobs/ID/handle is written by the hosts that hand a job over, appended to, and its last line
# of a name counts: launcher=NAME; after=ID:ok ..., the jobs that come before it; sent_at=T, before
# each try, empty once that was refused as the scheduler was full; handle=N once the scheduler, or
# its runner, has said it. A try whose answer was lost has no handle, and is looked for by the job's name. The
# claim of the runner keeps a job from running twice, whatever is handed over how often.

# What a scheduler said of its queue is kept for all clients of the host: MACHINE/queue.NAME.
# It is asked before claims are read, so that a job that ends in between is not missed.
sj_read_queues() {
    # to sj_queued
    sj_queued=''
    for sj_launcher in $sj_launchers; do
        # which is a directory, and asks nobody
        [ "$sj_launcher" != limit ] || {
            sj_queued=$sj_queued$(sj_limit_look)"
"
            continue
        }
        sj_file=$sj_machine/queue.$sj_launcher
        sj_is_regular "$sj_file" || continue
        sj_read_line "$sj_file"
        case $sj_line in
        "qat $sj_launcher "[0-9]*) sj_line=${sj_line##* } sj_line=${sj_line%%.*} ;;
        "qdown $sj_launcher "[0-9]*)
            sj_line=${sj_line#qdown * }
            sj_line=${sj_line%%[!0-9]*}
            ;;
        *) sj_line=0 ;;
        esac
        case $sj_line in *[!0-9]* | '' | ????????????*) sj_line=0 ;; esac
        sj_line=$((${sj_now%.*} - sj_line))
        [ "$sj_line" -ge 0 ] && [ "$sj_line" -lt "$sj_queue_age" ] || sj_ask_queue "$sj_launcher" "$sj_file"
        sj_queued=$sj_queued$(cat "$sj_file" 2>/dev/null)"
"
    done
}

# A scheduler that is away keeps its commands for a while: the round is at work meanwhile.
sj_start_beats() {
    { while sleep 2 >/dev/null; do printf 'beat\n'; done; } 2>/dev/null &
    sj_beater=$!
}

sj_stop_beats() {
    { kill "$sj_beater" && wait "$sj_beater"; } 2>/dev/null
    return 0
}

sj_ask_queue() {
    # LAUNCHER FILE
    sj_start_beats
    if "sj_$1_look" >"$sj_tmp.look" 2>"$sj_tmp.said"; then
        {
            printf 'qat %s %s\n' "$1" "$sj_now"
            cat "$sj_tmp.look"
        } >"$sj_tmp.queue" 2>/dev/null && mv -f "$sj_tmp.queue" "$2"
    else
        sj_read_line "$sj_tmp.said"
        { printf 'qdown %s %s %s\n' "$1" "$sj_now" "${sj_line:-no answer}" >"$2"; } 2>/dev/null
    fi
    rm -f "$sj_tmp.look" "$sj_tmp.said" "$sj_tmp.queue"
    sj_stop_beats
}

# Eight at a time: 140 a second, where one after another is 60 (Slurm 22.05). Who finds the
# scheduler away leaves a mark, and the rest waits for a later round.
sj_submit_jobs() {
    # LAUNCHER ID:ATTEMPT ...
    sj_launcher=$1
    shift
    [ $# -gt 0 ] || return 0
    sj_start_beats
    while [ $# -gt 0 ] && [ ! -e "$sj_tmp.away" ]; do
        sj_pids=''
        for sj_count in 1 2 3 4 5 6 7 8; do
            [ $# -eq 0 ] || {
                sj_submit_job "$1" &
                sj_pids="$sj_pids $!"
                shift
            }
        done
        wait $sj_pids
        sj_send_beat
    done
    sj_stop_beats
    ! [ -e "$sj_tmp.away" ] || ! rm -f "$sj_tmp.away"
}

sj_submit_job() {
    # ID:ATTEMPT
    sj_i=${1%%:*}
    # the first of a round that was refused tells of the others
    if [ -e "$sj_tmp.full.$sj_launcher" ] && sj_waits_for_room "$sj_i"; then
        sj_read_line "$sj_tmp.full.$sj_launcher"
        sj_keep_waiting "$sj_i" "$sj_line"
        return
    fi
    sj_find_before "$sj_i" || {
        printf 'queued %s %s after %s\n' "$sj_i" "$sj_launcher" \
            "$(printf '%s' "$sj_before" | sed 's/:ok//g; s/[^a-z2-7: ]/_/g; s/ /, /g')"
        return
    }
    sj_is_regular "jobs/$sj_i/handle" && { printf 'sent_at=%s\n' "$sj_now" >>"jobs/$sj_i/handle"; } 2>/dev/null || {
        sj_refuse_job "$sj_i" "jobs/$sj_i"
        return
    }
    sj_said=$("sj_${sj_launcher}_submit" "$1" 2>&1)
    sj_failure=$?
    # A whole line, since a site may print numbers beside it. This is a process of its own.
    IFS="
"
    for sj_line in $sj_said; do
        "sj_${sj_launcher}_find" "$sj_line" && [ $sj_failure -eq 0 ] || continue
        { printf 'handle=%s\n' "$sj_handle" >>"jobs/$sj_i/handle"; } 2>/dev/null
        printf 'queued %s %s:%s:- handed over\n' "$sj_i" "$sj_launcher" "$sj_handle"
        return
    done
    IFS=" 	
"
    sj_said=$(printf '%s' "$sj_said" | tr -s '\n\t ' ' ')
    if "sj_${sj_launcher}_refuses" "$sj_failure" "$sj_said"; then
        sj_give_back_job "$sj_i" "$sj_code" "$sj_said"
    else
        : >"$sj_tmp.away"
        printf 'queued %s %s no answer: %s\n' "$sj_i" "$sj_launcher" "$sj_said"
    fi
}

# The scheduler does not take it. Who is asked for it the first time says so; a job that was
# taken before ends.
sj_give_back_job() {
    # ID CODE TEXT
    [ "$2" != ELIMIT ] || ! sj_keep_waiting "$1" "$3" || return 0
    if [ "$sj_resends" ]; then
        { printf 'failed\n%s\n' "$sj_launcher: $3" >"jobs/$1/fate"; } 2>/dev/null
        sj_process_start " $1:1"
        return
    fi
    mv "jobs/$1" "$sj_tmp.$1" 2>/dev/null || return
    if [ -e "$sj_tmp.$1/run" ]; then
        mv "$sj_tmp.$1" "jobs/$1"
    else
        rm -rf "$sj_tmp.$1"
        printf 'refused %s %s %s\n' "$1" "$2" "$3"
    fi
}

# The script has nothing of the user's, who may not be the only one to read it. It is given on
# standard input where that can be, since a file comes late to a node that shares it; what it
# needs to know stands in it, and in no argument.
sj_write_batch() {
    # LAUNCHER ID:ATTEMPT LINES: to sj_script; sj_launchargs of its spec
    sj_id=${2%%:*} sj_launchargs=''
    . "./jobs/$sj_id/spec"
    sj_script="#!/bin/sh
${3-}[ -s ./runner-$sj_batch_hash ] || exit 78
[ ! -f ./jobs/$sj_id/login ] || . ./jobs/$sj_id/login
exec sh ./runner-$sj_batch_hash b $1 <<\\sj_end
$(sj_burst=- sj_print_setup "$2")
sj_end"
}

# What the login has in its environment, for a scheduler that takes none along, or shows it to
# every user. What the node sets itself stays.
sj_write_login() {
    # ID
    [ "${sj_login-}" ] || sj_login=$(awk 'BEGIN {
        for (n in ENVIRON) if (n ~ /^[A-Za-z_][A-Za-z0-9_]*$/ && n !~ /^(_|PWD|OLDPWD|SHLVL|UID|EUID|PPID|sj_tmp)$/) {
            v = ENVIRON[n]
            gsub(/\047/, "\047\\\047\047", v)
            print "[ \"${" n "+x}\" ] || command export " n "=\047" v "\047"
        }
    }')
    sj_is_regular "jobs/$1/login" && { printf '%s\n' "$sj_login" >"jobs/$1/login"; } 2>/dev/null
}

# What was handed over before is found, or sent again, once the queue was looked at.
sj_hand_over_jobs() {
    # LAUNCHER ID:ATTEMPT ...
    sj_launcher=$1 sj_resends='' sj_first_time='' sj_later=''
    shift
    [ "$sj_launcher" != limit ] || {
        sj_limit_start "$@"
        return
    }
    "sj_${sj_launcher}_probe" || {
        for sj_i; do sj_give_back_job "${sj_i%%:*}" ELAUNCH "$sj_said"; done
        return
    }
    sj_write_runner "runner-$sj_batch_hash" "$sj_batch" || {
        for sj_i; do sj_refuse_job "${sj_i%%:*}" new; done
        return
    }
    for sj_i; do
        sj_sent='' sj_before=''
        while read -r sj_line; do
            case $sj_line in sent_at=*) sj_sent=1 ;; after=?*) sj_before=1 ;; esac
        done <"jobs/${sj_i%%:*}/handle"
        [ -z "$sj_sent" ] || continue
        if [ "$sj_before" ]; then sj_later="$sj_later $sj_i"; else sj_first_time="$sj_first_time $sj_i"; fi
        { printf 'attempt=%s\n' "${sj_i#*:}" >>"jobs/${sj_i%%:*}/handle"; } 2>/dev/null
    done
    sj_submit_jobs "$sj_launcher" $sj_first_time || return 0
    # one after another, since each needs the numbers of those before it
    for sj_i in $sj_later; do
        sj_submit_jobs "$sj_launcher" "$sj_i" || return 0
    done
}

# In place of that of judge.sh.
sj_judge_asked() {
    export SJ_TMP="$sj_tmp" SJ_VANISH="$sj_vanish"
    sj_read_queues
    sj_judge_jobs '' "$sj_queued$sj_ask" || sj_broken='awk or find'
    # which no job is to see
    unset SJ_TMP SJ_VANISH
    sj_settle_queued
}

# queue.awk has written down which jobs are to be sent again, and which will never begin.
sj_settle_queued() {
    if [ -s "$sj_tmp.again" ]; then
        sj_resends=1
        for sj_launcher in $sj_launchers; do
            set -- $(sed -n "s/^$sj_launcher //p" "$sj_tmp.again")
            case $sj_launcher in
            limit) sj_limit_resend "$@" ;;
            *) sj_submit_jobs "$sj_launcher" "$@" ;;
            esac
        done
    fi
    if [ -s "$sj_tmp.fate" ]; then
        sj_claim='' sj_ask=''
        while read -r sj_i sj_cause sj_line; do
            sj_is_regular "jobs/$sj_i/fate" && { printf '%s\n%s\n' "$sj_cause" "$sj_line" >"jobs/$sj_i/fate"; } 2>/dev/null || continue
            sj_claim="$sj_claim $sj_i:1"
            sj_ask="$sj_ask
s $sj_i - -"
        done <"$sj_tmp.fate"
        sj_process_start "$sj_claim"
        sj_await_claims $sj_claim
        sj_tail='' sj_judge_jobs '' "$sj_ask" || sj_broken='awk or find'
    fi
    [ ! -s "$sj_tmp.stop" ] || sj_stop_queued $(cat "$sj_tmp.stop")
    [ ! -s "$sj_tmp.recall" ] || sj_recall_lost
    rm -f "$sj_tmp.again" "$sj_tmp.fate" "$sj_tmp.stop" "$sj_tmp.recall"
}

# Of what a scheduler has no more its accounts may know. They may be long, so that some jobs at
# a time are looked for in them; the word comes last, after the record of an end.
sj_recall_lost() {
    sj_start_beats
    for sj_launcher in $sj_launchers; do
        sj_mine=$(sed -n "s/^$sj_launcher //p" "$sj_tmp.recall" | head -n 8)
        [ -z "$sj_mine" ] || "sj_${sj_launcher}_recall" $sj_mine 2>/dev/null | while read -r sj_i sj_word; do
            case " $sj_mine" in *"$sj_i:"*) sj_is_regular "jobs/$sj_i/handle" && printf 'word=%s\n' "$sj_word" >>"jobs/$sj_i/handle" ;; esac
        done
    done
    sj_stop_beats
}

# Ended by their names, eight at a time. Whether a command says that it did proves nothing.
sj_stop_queued() {
    # IDS
    for sj_launcher in $sj_launchers; do
        sj_mine=''
        for sj_i; do
            [ -f "jobs/$sj_i/handle" ] && sj_is_regular "jobs/$sj_i/handle" || continue
            sj_read_line "jobs/$sj_i/handle"
            [ "$sj_line" != "launcher=$sj_launcher" ] || sj_mine="$sj_mine $sj_i"
        done
        [ "$sj_launcher" != limit ] || {
            sj_limit_stop $sj_mine
            continue
        }
        [ "$sj_mine" ] && "sj_${sj_launcher}_probe" || continue
        sj_start_beats
        sj_pids='' sj_count=0
        for sj_i in $sj_mine; do
            "sj_${sj_launcher}_cancel" "$sj_i" >/dev/null 2>&1 &
            sj_pids="$sj_pids $!" sj_count=$((sj_count + 1))
            [ $((sj_count % 8)) -ne 0 ] || wait $sj_pids
        done
        wait $sj_pids
        sj_stop_beats
    done
}
