# Ends the trees of jobs: TERM, the grace, STOP and KILL, until none is left.
# In: SCOPE (tree or group) and ids. Out: jobs/ID/killed.

# By exec, as find below, for ksh93 (u+m 1.0.4): it would look for awk without a fork and
# lose the 127 of one that is gone, and try for ever to spawn what has no room.
sj_scan_trees() {
    sj_out=$(printf '%s\n' $sj_left | LC_ALL=C exec awk -v proc="$sj_proc" -v grepz="$sj_grepz" \
        -v scope="$sj_scope" -v me="$sj_me" -v e="$sj_elapsed" -v termed="$sj_termed" -v told="$sj_told" -v at="$sj_at0" \
        -v self="$sj_pid" -v machine="$sj_machine" -v boot="$sj_boot" -v offset="$sj_offset" \
        -v unsound="$sj_unsound" "$sj_tree_awk")
    case $? in 126 | 127) sj_no_awk=1 ;; *) sj_no_awk='' ;; esac
    sj_soft='' sj_hard='' sj_live='' sj_done='' sj_wake='' sj_nap='' sj_to='' sj_seen=''
    for sj_w in $sj_out; do
        case $sj_w in
        seen) sj_seen=1 ;;
        soft | hard | live | done | wake | nap) sj_to=$sj_w ;;
        *)
            case $sj_to in
            soft) sj_soft="$sj_soft $sj_w" ;;
            hard) sj_hard="$sj_hard $sj_w" ;;
            live) sj_live="$sj_live $sj_w" ;;
            done) sj_done="$sj_done $sj_w" ;;
            wake) sj_wake="$sj_wake $sj_w" ;;
            nap) sj_nap=$sj_w ;;
            esac
            ;;
        esac
    done
}

# TERM, to what was there by then and not to what a trap starts because of it; the grace
# of each, then STOP (so that nobody forks on), list again, KILL, until
# none is left. Bounded: a process that does not end of KILL is the kernel's.
sj_end_trees() {
    # SCOPE IDS
    sj_scope=$1 sj_records=''
    shift
    sj_left=$*
    sj_unsound='' sj_termed=' ' sj_rounds=0 sj_no_awk=''
    sj_read_clock
    sj_at0=''
    sj_from=${sj_since:-$sj_cs}
    for sj_i; do sj_records="$sj_records jobs/$sj_i/spec jobs/$sj_i/run jobs/$sj_i/exit"; done
    set -- $(exec find $sj_records \( ! -type f -o -size +2048 \) -prune -print 2>/dev/null)
    sj_unsound=" $* "
    while [ "$sj_left" ] && [ $sj_rounds -lt 7200 ]; do
        sj_rounds=$((sj_rounds + 1))
        sj_read_clock
        sj_elapsed=$((sj_cs - sj_from))
        sj_elapsed=$((sj_elapsed / 100)).$((sj_elapsed / 10 % 10))
        sj_scan_trees
        [ "$sj_seen" ] || sj_signal_unseen
        if [ "$sj_soft" ]; then
            if [ "$sj_termed" = ' ' ] && [ "$sj_proc" ] && [ "$sj_offset" != none ]; then
                sj_read_clock
                # in ticks since the boot, as a start is
                sj_at0=$((sj_cs - sj_offset))
            fi
            kill -s TERM $sj_soft
            kill -s CONT $sj_soft
            sj_termed="$sj_termed$sj_soft "
        fi
        if [ "$sj_hard" ]; then
            kill -s STOP $sj_hard
            sj_scan_trees
            [ "$sj_hard" ] && kill -s KILL $sj_hard
            sj_nap=0.05
        fi
        # A runner that somebody stopped could not tell of the end.
        [ "$sj_wake" ] && kill -s CONT $sj_wake
        for sj_i in $sj_done; do [ -h "jobs/$sj_i" ] || ! sj_is_regular "jobs/$sj_i/killed" || printf '' >"jobs/$sj_i/killed"; done
        sj_left=$sj_live
        [ "$sj_left" ] || break
        case $sj_rounds in [1-4]) sj_nap=0.05 ;; esac
        sleep "$sj_nap" || sleep 1
    done
}

# Nobody could be listed, so that nothing is known of what is left. The groups are told as
# they are, once, and ended after the grace; one that is there no more is the end of what was
# asked for if that was a group, or where a host has lost its awk: nobody will be listed there.
sj_signal_unseen() {
    sj_live=$sj_left sj_done='' sj_nap=0.5
    if [ -z "$sj_told" ]; then
        sj_signal_groups TERM $sj_left
        sj_signal_groups CONT $sj_left
        sj_told=1
    fi
    for sj_w in $sj_left; do
        sj_read_grace "$sj_w"
        [ $((sj_cs - sj_from)) -lt "$sj_hundredths" ] || sj_signal_groups KILL "$sj_w"
    done
    if [ "$sj_no_awk" ]; then
        sj_live=''
        for sj_w in $sj_left; do
            if sj_find_group "$sj_w"; then sj_live="$sj_live $sj_w"; else sj_done="$sj_done $sj_w"; fi
        done
    else
        [ $sj_scope = tree ] || kill -0 "-$sj_job_pid" || sj_live=''
    fi
}
