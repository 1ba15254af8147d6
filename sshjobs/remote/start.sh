# Prepares jobs and has them started, some at a time.
# In: sj_make_dirs IDS, sj_prepare_job for each, sj_start_jobs; or these in sj_prepare_few, and sj_start_few.
# Out: jobs/ID whole, frames refused; sj_ask and sj_due, the jobs to be asked about and waited for.

# Starting, some at a time, so that the first run while the last are prepared: one mkdir
# for their directories under a temporary name, a few builtin writes each, one mv that
# renames them into place (it refuses to replace one that is there). A lone job needs no
# directory around its own, which somebody would have to delete.
sj_make_dirs() {
    # IDS; sj_lone: that of the only one, if it has no directory around it
    sj_new_dir=$sj_tmp.$1
    sj_mk=$sj_new_dir
    for sj_i; do
        if [ -d "jobs/$sj_i" ] && sj_can_start "$sj_i"; then
            sj_old="$sj_old $sj_i"
        elif [ -e "gone/$sj_i" ]; then
            sj_is_reaped "$sj_i" || printf 'refused %s EGONE cancelled before\n' "$sj_i"
        elif [ -z "$sj_lone" ]; then
            sj_mk="$sj_mk $sj_new_dir/$sj_i"
        fi
    done
    mkdir $sj_mk 2>/dev/null
    return 0
}

# A directory that no runner has claimed, and none can, for its files were lost or spoilt as
# by a loss of power, makes way for a new one; by a rename, since one may just have done so.
sj_can_start() {
    # ID
    [ -e "jobs/$1/run" ] || [ -h "jobs/$1" ] && return 0
    sj_spoilt=''
    for sj_file in spec script; do [ -f "jobs/$1/$sj_file" ] && sj_is_regular "jobs/$1/$sj_file" || sj_spoilt=1; done
    for sj_file in env stdin claim handle; do sj_is_regular "jobs/$1/$sj_file" || sj_spoilt=1; done
    [ "$sj_spoilt" ] || case $(tail -c 23 "jobs/$1/spec") in *sj_ok="$1") return 0 ;; esac
    mv "jobs/$1" "$sj_tmp.odd.$1" 2>/dev/null || return 0
    [ -e "$sj_tmp.odd.$1/run" ] && mv "$sj_tmp.odd.$1" "jobs/$1"
    rm -rf "$sj_tmp.odd.$1"
    [ -d "jobs/$1" ]
}

sj_is_reaped() {
    # ID: it ran and was reaped; the tombstone, which says how it ended, is asked
    sj_head=''
    [ -f "gone/$1" ] && sj_head=$(dd if="gone/$1" bs=300 count=1 2>/dev/null)
    case $sj_head in
    cause=*"
status="*)
        sj_ask="$sj_ask
s $1 - -"
        ;;
    *) return 1 ;;
    esac
}

sj_prepare_job() {
    # ID SPEC SCRIPT ENV STDIN KEYHASH DIGEST ONCE SHELL LAUNCHER
    sj_send_beat
    sj_new_job=$sj_new_dir
    [ "$sj_lone" ] || sj_new_job=$sj_new_dir/$1
    if [ ! -d "jobs/$1" ]; then
        [ -e "gone/$1" ] && return
        if ! sj_has_shell "$9"; then
            printf 'refused %s ESHELL no such shell: %s\n' "$1" "$9"
            rm -rf "$sj_new_job"
            return
        fi
        sj_write_job "$@" || {
            sj_refuse_job "$1" "$sj_new_dir" "$sj_unwritten"
            rm -rf "$sj_new_job"
            return
        }
    fi
    if [ "$6" ]; then
        sj_keyed="$sj_keyed $1:$6:$7:$8"
        sj_shas="$sj_shas keys/$6"
    else
        sj_plain="$sj_plain $1"
    fi
}

sj_has_shell() {
    # WORDS: a shell and its flags, - for the login shell
    case $1 in '' | -*) return 0 ;; esac
    command -v -- "$1" >/dev/null 2>&1 || command -v -- "${1%% *}" >/dev/null 2>&1
}

sj_unwritten='its files cannot be written'

sj_write_job() {
    # the arguments of sj_prepare_job
    sj_job_dir=$sj_new_job
    {
        printf '%s\n' "$3" >"$sj_job_dir/script" || return
        [ -z "$4" ] || printf '%s\n' "$4" >"$sj_job_dir/env" || return
        [ -z "$5" ] || printf "$5" >"$sj_job_dir/stdin" || return
        [ -z "$6" ] || printf 'id=%s\ndigest=%s\n' "$1" "$7" >"$sj_job_dir/claim" || return
        [ $# -lt 10 ] || printf 'launcher=%s\n' "${10}" >"$sj_job_dir/handle" || return
        printf '%s\nsj_at=%s\nsj_ok=%s\n' "$2" "$sj_now" "$1" >"$sj_job_dir/spec"
    } 2>/dev/null
}

# Says of a job that it cannot be written, and why. The printf of dash only knows "I/O
# error" (0.5.12), so dd is asked what is wrong with the place.
sj_refuse_job() {
    # ID DIRECTORY REASON: the last is said where the place is in order
    [ -d "$2" ] || set -- "$1" new "$3"
    sj_err=$(dd if=/dev/zero of="$2/probe" bs=9000 count=1 2>&1) && sj_err=''
    rm -f "$2/probe"
    sj_err=${sj_err%%"
"*}
    sj_name_error "$sj_err"
    sj_err=${sj_err##*: }
    printf 'refused %s %s %s\n' "$1" "$sj_code" "${sj_err:-$3}"
}

sj_start_jobs() {
    sj_move_jobs
    sj_plan_jobs
    [ "$sj_keyed" ] && {
        mkdir -p $sj_shas 2>/dev/null
        sj_claim_keys
    }
    [ -z "$sj_barrier" ] || sj_count_at_once $sj_go
    [ "$sj_go" ] && {
        # One that was killed (ksh93 says 256+9), as where a host has no memory left, is
        # started once more.
        if sj_process_start "$sj_go" || case $? in 137 | 265) sj_process_start "$sj_go" ;; *) false ;; esac then
            sj_due="$sj_due$sj_go"
        else
            for sj_i in $sj_go; do sj_take_back_job "${sj_i%%:*}"; done
        fi
    }
    case $sj_queue:$sj_barrier in
    :*) ;;
    *:) sj_start_queued ;;
    *) sj_start_queued 3<&- ;; # or those that look at the queue would keep it shut
    esac
    sj_plain='' sj_keyed='' sj_shas='' sj_drop=''
}

sj_move_jobs() {
    [ -z "$sj_lone" ] || {
        [ -d "$sj_new_dir" ] && mv -f -- "$sj_new_dir" "jobs/$sj_lone" 2>/dev/null
        # Where another round has just put it there, mv has gone into that directory.
        set -- "jobs/$sj_lone/${sj_new_dir#new/}"
        [ ! -e "$1" ] || rm -rf -- "$1"
        return
    }
    set -- "$sj_new_dir"/*
    [ -e "$1" ] && mv -f -- "$@" jobs/ 2>/dev/null
}

sj_plan_jobs() {
    # sj_go, sj_queue
    sj_go='' sj_queue=''
    for sj_i in $sj_plain; do sj_plan_start "$sj_i" 1; done
}

# A few new jobs, for no key and no other launcher, are prepared by a process of their own
# while the runner starts, which reads their lines last: each takes some milliseconds. Fails
# where one of them is known already, or a runner failed; the usual way then finds all that
# was done.
sj_start_few() {
    # IDS, and sj_prepare_few
    for sj_i; do
        [ ! -e "jobs/$sj_i" ] && [ ! -h "jobs/$sj_i" ] && [ ! -e "gone/$sj_i" ] || return
    done
    [ $# -gt 1 ] || sj_lone=$1
    sj_hear_prepared 3>&1 || {
        sj_lone=''
        return 1
    }
    for sj_i; do
        [ -d "jobs/$sj_i" ] || continue
        sj_due="$sj_due $sj_i:1" sj_ask="$sj_ask
s $sj_i - -"
    done
}

sj_hand_in_few() {
    # frames to 3
    sj_print_setup ''
    sj_prepare_few >&3
    sj_move_jobs
    sj_plan_jobs >&3
    [ -z "$sj_go" ] || printf '%s\n' $sj_go
}

# Each waits for the launcher that it names; where the request did not bring that one, as for
# the holder of a key, whoever submitted the job has it started.
sj_start_queued() {
    for sj_launcher in $sj_launchers; do
        set --
        for sj_i in $sj_queue; do
            sj_read_line "jobs/${sj_i%%:*}/handle"
            [ "$sj_line" != "launcher=$sj_launcher" ] || set -- "$@" "$sj_i"
        done
        [ $# -eq 0 ] || sj_hand_over_jobs "$sj_launcher" "$@"
    done
}

# The launcher could not do its work, or not all of it. A job that nothing has claimed is
# taken out of reach by one rename, which asks no disk for room; what was claimed after
# all goes back and is asked about like any other.
sj_take_back_job() {
    # ID
    [ -e "jobs/$1/run" ] && return
    if mv "jobs/$1" "$sj_tmp.$1" 2>/dev/null; then
        if [ -e "$sj_tmp.$1/run" ]; then
            mv "$sj_tmp.$1" "jobs/$1"
            return
        fi
        rm -rf "$sj_tmp.$1"
        sj_refuse_job "$1" new 'its runner could not be started'
    fi
}

sj_plan_start() {
    # ID ATTEMPT: to be started unless it was; asked about in any case
    if [ -d "jobs/$1" ]; then
        [ -e "jobs/$1/run" ] || {
            # Its grace begins anew: a claim whose record is still being written is not
            # to be judged by the age of a directory that was prepared long ago.
            case " $sj_old " in *" $1 "*)
                sj_is_regular "jobs/$1/again" &&
                    { printf 'sj_at=%s\n' "$sj_now" >"jobs/$1/again"; } 2>/dev/null
                ;;
            esac
            if [ -e "jobs/$1/handle" ]; then sj_queue="$sj_queue $1:$2"; else sj_go="$sj_go $1:$2"; fi
        }
        sj_ask="$sj_ask
s $1 - -"
    else
        # What stood there when this round began, a round before it has taken away, whose
        # reply was lost: it is asked for again.
        case " $sj_old " in *" $1 "*) ;; *) sj_refuse_job "$1" jobs "$sj_unwritten" ;; esac
    fi
}

# Runners claim within milliseconds; a short wait saves the next round.
sj_await_claims() {
    # ID:ATTEMPT ...
    for sj_pause in .001 .001 .002 .003 .005 .01 .02 .03 .04 .05 .05 .05 .05 .05; do
        while [ $# -gt 0 ] && [ -s "jobs/${1%%:*}/run" ]; do shift; done
        [ $# -eq 0 ] && return
        sleep "$sj_pause" 2>/dev/null || return
    done
}

# Who follows a job wants to hear of its end: one that ends in 50 ms costs no further
# session. Nobody else is kept waiting, since this is for a few jobs only.
sj_await_ends() {
    # IDS
    for sj_pause in .002 .003 .005 .01 .01 .01 .01; do
        while [ $# -gt 0 ] && { [ -e "jobs/$1/exit" ] || [ ! -d "jobs/$1" ]; }; do shift; done
        [ $# -eq 0 ] && return
        sleep "$sj_pause" 2>/dev/null || return
    done
}
