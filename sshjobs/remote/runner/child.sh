# The job itself, as a process of the machine of its runner; and the wait for its end.
# In: the fields of its spec. Out: sj_status or sj_signal, and sj_why.

# Where the job is to run, and what; what is missing ends it here.
sj_check_job() {
    for sj_file in script ${sj_hasin:+stdin}; do
        [ -f "$sj_job_dir/$sj_file" ] && sj_is_regular "$sj_job_dir/$sj_file" && continue
        sj_publish_end 126 '' '' "its $sj_file is no file"
        return 1
    done
    case $sj_cwd in
    '' | \~) sj_cwd=$sj_home ;;
    \~/*) sj_cwd=$sj_home/${sj_cwd#??} ;;
    /*) ;;
    *) sj_cwd=$sj_home/$sj_cwd ;;
    esac
    [ -d "$sj_cwd" ] && [ -x "$sj_cwd" ] && return 0
    sj_trouble='no such directory'
    [ -d "$sj_cwd" ] && sj_trouble='permission denied'
    sj_publish_end 126 '' '' "cwd: $sj_trouble: ${sj_cwdtext:-the login directory}"
    return 1
}

# The job's environment is that of the login, as if our tools had never been in it.
sj_restore_env() {
    unset LC_ALL
    for sj_i in $sj_had; do eval "export $sj_i=\"\$sj_was_$sj_i\"; unset sj_was_$sj_i"; done
    unset sj_had
}

# What runs the script: sj_sh with sj_flags. A login shell is `-` with its flags; another
# one is named, with flags or without. sj_rc: where bash finds what ssh would have it read,
# and POSIX mode after that, in which it does not look.
sj_choose_shell() {
    sj_sh=$sj_shell sj_flags='' sj_rc=''
    case $sj_kind:$sj_useshell in
    vector:*) sj_sh=$sj_posix ;;
    *:)
        case $sj_sh in
        */bash | */rbash) sj_rc=$sj_dir/$0 ;;
        esac
        ;;
    *:-*) sj_flags=${sj_useshell#-} ;;
    *)
        sj_sh=$(command -v -- "$sj_useshell") || {
            sj_sh=$(command -v -- "${sj_useshell%% *}")
            sj_flags=${sj_useshell#* }
        }
        ;;
    esac
}

# The job itself. What is exported, is exported only here.
sj_exec_job() {
    sj_is_regular "$sj_job_dir/log" || exit 126
    exec >>"$sj_job_dir/log" 2>&1
    [ -z "$sj_split" ] || {
        sj_is_regular "$sj_job_dir/stderr" || exit 126
        exec 2>>"$sj_job_dir/stderr"
    }
    # bash leaves the pipe of the runner where the job is forked behind a trap (5.2).
    if [ "$sj_hasin" ]; then exec <"$sj_job_dir/stdin"; else exec </dev/null; fi
    sj_strict=''
    case " $sj_had " in *' POSIXLY_CORRECT '*) sj_strict=1 ;; esac
    sj_restore_env
    PATH=$sj_path
    CDPATH='' cd -P -- "$sj_cwd" >/dev/null || exit 126
    unset OLDPWD
    umask "$sj_umask"
    trap - INT QUIT TERM ${sj_by:+USR1 USR2 XCPU}
    sj_choose_shell
    # What the login or the job itself says of it counts.
    [ -z "$sj_unbuffered" ] || export PYTHONUNBUFFERED="${PYTHONUNBUFFERED-1}"
    # Where the job has no LC_ALL, setsid and env have one: a locale is files to read, which
    # takes both together 0.4 ms (C.UTF-8, glibc 2.36).
    sj_c=''
    case $sj_tool:${LC_ALL+x}:" $sj_envnames " in :* | *:x:* | *' LC_ALL '*) ;; *) sj_c=1 ;; esac
    # Its environment may hold any name, IFS and those of this file too.
    set -f
    set -- "$sj_rc" "$sj_envnames" "$sj_cwdtext" "$sj_strict" "$sj_id" "$sj_attempt" "$sj_key" "$sj_c" \
        $sj_setsid $sj_tool ${sj_c:+-u LC_ALL} "$sj_sh" $sj_flags "$sj_dir/$sj_job_dir/script"
    [ "$sj_hasenv" ] && sj_env
    if [ "$1" ]; then
        export SSHJOBS_BASH_ENV="${BASH_ENV-}" BASH_ENV="$1" SSHJOBS_BASH_KEEP="$2" SSHJOBS_BASH_CWD="$3"
        case "$4 $2 " in
        1* | *' POSIXLY_CORRECT '*) export SSHJOBS_BASH_POSIX="${POSIXLY_CORRECT-y}" ;;
        esac
        # which a bash that serves as sh has by itself
        unset POSIXLY_CORRECT
    fi
    SSHJOBS_JOB_ID=$5 SSHJOBS_ATTEMPT=$6 SSHJOBS_KEY=$7
    export SSHJOBS_JOB_ID SSHJOBS_ATTEMPT SSHJOBS_KEY
    [ -z "$8" ] || export LC_ALL=C
    shift 8
    exec "$@"
}

# Waits for the job: sj_status, or sj_signal if it died of one. `wait` says 128+n for
# both; the builtin jobs tells them apart. bash forgets a job once it was waited for, so
# there jobs is asked before; ksh93 says 256+n for a signal.
sj_wait_job() {
    sj_status='' sj_signal='' sj_why=''
    if [ "$sj_bash" ]; then
        sj_wait_in_bash
    else
        wait "$sj_job_pid"
        sj_status=$?
        [ "$sj_status" -gt 128 ] && jobs
    fi
    [ "$sj_status" -gt 128 ] || return 0
    # there are 64 signals
    [ "$sj_status" -gt 255 ] || [ "$sj_status" -le 192 ] || return 0
    sj_read_end
    case $sj_line:$sj_status in
    *[Dd]one*:* | *[Ee]xit*:*) ;;
    :2[5-9][0-9] | :3[0-9][0-9])
        [ "$sj_status" -le 256 ] || {
            sj_signal=$((sj_status - 256)) sj_status=''
        }
        ;;
    :*)
        [ "${KSH_VERSION-}" ] && return
        sj_why="status $sj_status was read as a signal, this sh cannot tell them apart"
        sj_signal=$((sj_status - 128)) sj_status=''
        ;;
    *) sj_signal=$((sj_status - 128)) sj_status='' ;;
    esac
}

sj_wait_in_bash() {
    # shellcheck disable=SC3040 # only bash comes here
    set -o posix
    trap : CHLD
    sj_last_status=''
    while kill -0 "$sj_job_pid"; do
        wait "$sj_job_pid"
        sj_last_status=$?
        jobs
    done
    jobs
    wait "$sj_job_pid"
    sj_status=$?
    trap - CHLD
    # The trap interrupts a wait for what runs. What ended just before it was asked about
    # has told it all there is; then jobs shows no line of it, and the last wait says 127.
    if [ "$sj_status" = 127 ] && [ "$sj_last_status" ]; then
        sj_read_end
        [ "$sj_line" ] || sj_status=$sj_last_status
    fi
}

sj_read_end() {
    # the last line of jobs that tells an end, to sj_line
    sj_line=''
    sj_is_regular "$sj_job_dir/run" && while read -r sj_said; do
        case $sj_said in *Running*) ;; '['*) sj_line=$sj_said ;; esac
    done <"$sj_job_dir/run"
}
