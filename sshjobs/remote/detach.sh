# Hands jobs to processes that outlive the round: the runner file and what it is told.
# In: sj_runner and sj_hash, tools and place; sj_many, if they are a burst. Out: runner-HASH, and the launcher's own exit.

# The umask of the login; the builtin that tells would be a fork.
sj_read_umask() {
    sj_umask=''
    while read -r sj_i sj_line; do
        case $sj_i in Umask:) sj_umask=$sj_line && break ;; esac
    done 2>/dev/null </proc/self/status
    case $sj_umask in [0-7][0-7][0-7] | [0-7][0-7][0-7][0-7]) ;; *) sj_umask=$(umask) ;; esac
}

# What the tools must not see is set aside for the jobs, which are given it back.
sj_save_env() {
    sj_had='' sj_launchers=''
    # ksh93 has one by itself
    case ${TMOUT-} in 0) unset TMOUT ;; esac
    for sj_i in $sj_names POSIXLY_CORRECT; do
        eval "case \${$sj_i+x} in x) sj_was_$sj_i=\$$sj_i sj_had=\"\$sj_had $sj_i\" ;; esac"
    done
    # shellcheck disable=SC3044
    case $sj_bash in
    1)
        case $(declare -p POSIXLY_CORRECT) in
        'declare -'*x*' POSIXLY_CORRECT='*) ;;
        *) sj_had=${sj_had% POSIXLY_CORRECT} ;;
        esac
        ;;
    esac
    export sj_had
    for sj_i in $sj_had; do export "sj_was_$sj_i"; done
}

sj_write_runner() {
    # FILE TEXT: unless it stands there
    [ -d "$1" ] && return 1
    [ -z "$sj_renew" ] && [ -s "$1" ] && sj_is_regular "$1" && return
    { printf '%s\n' "$2" >"$sj_tmp.run"; } 2>/dev/null && mv -f "$sj_tmp.run" "$1" || {
        rm -f "$sj_tmp.run"
        [ -s "$1" ]
    }
}

sj_place_runner() {
    # to sj_run
    sj_run=runner-$sj_hash
    sj_write_runner "$sj_run" "$sj_runner" && sj_renew=
}

# Detached processes get what they need on stdin: tools, place, clock, then lines of ids.
sj_detach_runner() {
    # MODE LINES
    sj_place_runner || return
    [ "$sj_setsid" = - ] || set -- "$1" "$2" "$sj_setsid"
    sj_burst=${sj_many:--}
    case $1$sj_burst in
    # Each runner holds on to stderr until its record stands and the job is under way, and
    # says there how it started the job.
    s-) sj_hear_runner "$2" ${3-} ;;
    *) sj_print_setup "$2" | ${3-} "$sj_sh" "./$sj_run" "$1" >/dev/null 2>&1 3<"${sj_barrier:-/dev/null}" ;;
    esac
}

# A short here-document is a pipe in dash and BusyBox, without the two forks of a pipeline.
# In bash before 5.1, ksh, mksh, posh and yash it is a file in /tmp, which may be full, and so
# it may be in any where it is long.
sj_hear_runner() {
    # LINES [SETSID]
    sj_join_setup "$1"
    shift
    case $sj_bash:${KSH_VERSION+x}${POSH_VERSION+x}${YASH_VERSION+x}${ZSH_VERSION+x}${#sj_setup} in
    :[0-9] | :[0-9][0-9] | :[0-9][0-9][0-9] | :[123][0-9][0-9][0-9])
        sj_heard=$("$@" "$sj_sh" "./$sj_run" s 2>&1 >/dev/null <<EOF
$sj_setup
EOF
        )
        ;;
    *) sj_heard=$(printf '%s\n' "$sj_setup" | "$@" "$sj_sh" "./$sj_run" s 2>&1 >/dev/null) ;;
    esac
    sj_failure=$?
    sj_said="$sj_said
$sj_heard"
    return $sj_failure
}

# The runner of sj_start_few, which must not hold on to the frames.
sj_hear_prepared() {
    sj_place_runner || return
    sj_burst=-
    set --
    [ "$sj_setsid" = - ] || set -- "$sj_setsid"
    # ksh93 itself waits for the runner alone.
    sj_heard=$(
        sj_hand_in_few 2>/dev/null | "$@" "$sj_sh" "./$sj_run" s 2>&1 >/dev/null 3>&-
        sj_failure=$?
        wait
        exit $sj_failure
    )
    sj_failure=$?
    sj_said="$sj_said
$sj_heard"
    return $sj_failure
}

sj_join_setup() {
    # LINES: to sj_setup
    set -- "$sj_machine $sj_boot $sj_node $sj_offset $sj_umask $sj_setsid $sj_env $sj_grepz $sj_wc $sj_burst $sj_proc" \
        "$sj_shell" "$sj_home" "$sj_dir" "$sj_path" "$sj_sh" $1
    sj_ifs=$IFS
    IFS='
'
    sj_setup=$*
    IFS=$sj_ifs
}

sj_print_setup() {
    # LINES
    sj_join_setup "$1"
    printf '%s\n' "$sj_setup"
}
