# Which jobs of a scheduler are to be over before one is: what it is told when that is handed over.
# In: sj_launcher, jobs/ID/handle, sj_queued if it was asked. Out: sj_before, sj_numbers.

# A scheduler holds a job back until those before it are over, however they ended: its number of
# a job may be of an attempt that found the job claimed, and it takes one that it has forgotten
# for over. So the runner looks at their records before it claims a job (sj_await_before).
sj_find_before() {
    # ID: to sj_before, and to sj_numbers, those of jobs that have no end; fails if one has none
    sj_before='' sj_numbers=''
    [ -f "jobs/$1/handle" ] || return 0
    while read -r sj_line; do
        case $sj_line in after=*) sj_before=${sj_line#after=} ;; esac
    done <"jobs/$1/handle"
    for sj_word in $sj_before; do
        sj_word=${sj_word%%:*}
        case $sj_word in *[!a-z2-7]*) continue ;; ????????????????) ;; *) continue ;; esac
        [ -d "jobs/$sj_word" ] && [ ! -h "jobs/$sj_word" ] && [ ! -e "jobs/$sj_word/exit" ] && [ ! -e "jobs/$sj_word/lost" ] || continue
        sj_find_number "$sj_word" || return
        sj_numbers=$sj_numbers:$sj_number
    done
}

sj_find_number() {
    # ID: to sj_number, as this launcher, its runner or the queue has said it
    sj_number=''
    [ -f "jobs/$1/handle" ] && sj_is_regular "jobs/$1/handle" || return
    sj_read_line "jobs/$1/handle"
    [ "$sj_line" = "launcher=$sj_launcher" ] || return
    while read -r sj_line; do
        case $sj_line in handle=*) sj_number=${sj_line#handle=} ;; esac
    done <"jobs/$1/handle"
    case "
${sj_queued-}" in *"
q $sj_launcher $1 "*)
        [ "$sj_number" ] || {
            sj_number=${sj_queued##*"q $sj_launcher $1 "}
            sj_number=${sj_number%%[!0-9]*}
        }
        ;;
    esac
    case $sj_number in *[!0-9]* | '' | ???????????????*) return 1 ;; esac
}

# It was taken once, or its user wants it to wait. It is tried again after a later look at the
# queue (queue.awk), so that whoever asks the host how often, a full scheduler is not.
sj_keep_waiting() {
    # ID TEXT; fails for a job that is not to wait
    [ "$sj_resends" ] || sj_waits_for_room "$1" || return
    sj_is_regular "jobs/$1/handle" && { printf 'sent_at=\nfull_at=%s\nfull=%s\n' "$sj_now" "$2" >>"jobs/$1/handle"; } 2>/dev/null || return
    [ -e "$sj_tmp.full.$sj_launcher" ] || { printf '%s\n' "$2" >"$sj_tmp.full.$sj_launcher"; } 2>/dev/null
    printf 'queued %s %s no room: %s\n' "$1" "$sj_launcher" "$2"
}

sj_waits_for_room() {
    # ID
    [ -f "jobs/$1/handle" ] && while read -r sj_line; do
        [ "$sj_line" != room=wait ] || return 0
    done <"jobs/$1/handle"
    return 1
}
