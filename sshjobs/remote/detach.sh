# Hands jobs to processes that outlive the round: the runner file and what it is told.
# In: sj_runner and sj_hash, tools and place. Out: runner-HASH, and the launcher's own exit.

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

sj_set_burst() { if [ $# -gt 32 ]; then sj_burst=1; else sj_burst=-; fi; }

sj_write_runner() {
    # FILE TEXT: unless it stands there
    [ -d "$1" ] && return 1
    [ -z "$sj_renew" ] && [ -s "$1" ] && sj_is_regular "$1" && return
    { printf '%s\n' "$2" >"$sj_tmp.run"; } 2>/dev/null && mv -f "$sj_tmp.run" "$1" || {
        rm -f "$sj_tmp.run"
        [ -s "$1" ]
    }
}

# Detached processes get what they need on stdin: tools, place, clock, then lines of ids.
sj_detach_runner() {
    # MODE LINES
    sj_run=runner-$sj_hash
    sj_write_runner "$sj_run" "$sj_runner" || return
    sj_renew=
    [ "$sj_setsid" = - ] || set -- "$1" "$2" "$sj_setsid"
    sj_set_burst $2
    case $1$sj_burst in
    # Each runner holds on to stderr until its record stands: then there is an end of it.
    s-) sj_heard=$(sj_print_setup "$2" | ${3-} "$sj_sh" "./$sj_run" s 2>&1 >/dev/null) ;;
    *) sj_print_setup "$2" | ${3-} "$sj_sh" "./$sj_run" "$1" >/dev/null 2>&1 ;;
    esac
}

sj_print_setup() {
    # LINES
    printf '%s\n' "$sj_machine $sj_boot $sj_node $sj_offset $sj_umask $sj_setsid $sj_env $sj_grepz $sj_wc $sj_burst $sj_proc" \
        "$sj_shell" "$sj_home" "$sj_dir" "$sj_path" "$sj_sh" $1
}
