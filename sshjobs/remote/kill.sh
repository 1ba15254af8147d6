# Ends jobs: the cancel marker first, then one killer for all.
# In: ids. Out: jobs/ID/cancel, gone/ID, frames killsent and killmissing.

# Cancel markers first, one killer for all. A job that no runner has claimed is claimed
# by one that finds the marker and publishes the end. What does not exist gets a
# tombstone, and then one more look, since a slower round may just be making it.
sj_kill_jobs() {
    # IDS
    sj_victims='' sj_claim='' sj_unlisted=''
    for sj_i; do
        sj_job_dir=jobs/$sj_i
        sj_send_beat
        if [ ! -d "$sj_job_dir" ]; then
            sj_is_reaped "$sj_i" && {
                printf 'killsent %s\n' "$sj_i"
                continue
            }
            sj_write_cancelled "$sj_i"
            [ -d "$sj_job_dir" ] || {
                # Somebody may have removed the directory of a job that runs: marks find it.
                sj_unlisted="$sj_unlisted $sj_i"
                [ -e "gone/$sj_i" ] && printf 'killmissing %s\n' "$sj_i"
                continue
            }
        fi
        if ! sj_is_whole "$sj_job_dir/exit" && { [ -e "$sj_machine/due/$sj_i" ] || ! sj_is_whole "$sj_job_dir/lost"; }; then
            [ ! -e "$sj_job_dir/killed" ] || [ -h "$sj_job_dir" ] || rm -rf "$sj_job_dir/killed"
            if [ -h "$sj_job_dir" ]; then
                # whoever moved it gets no file of ours
                sj_victims="$sj_victims $sj_i"
            elif ! [ -e "$sj_job_dir/cancel" ] && ! { rm -f "$sj_job_dir/cancel" && printf '' >"$sj_job_dir/cancel"; } 2>/dev/null &&
                ! mv -f "$sj_job_dir/script" "$sj_job_dir/cancel" 2>/dev/null; then
                # not even room for the marker: it is asked again
                printf 'beat\n'
                continue
            elif [ -e "$sj_job_dir/run" ]; then
                sj_may_run_here "$sj_i" && sj_victims="$sj_victims $sj_i"
            else
                sj_claim="$sj_claim $sj_i:1"
            fi
        fi
        case " $sj_victims " in *" $sj_i "*) ;; *) printf 'killsent %s\n' "$sj_i" ;; esac
        sj_ask="$sj_ask
s $sj_i - -"
    done
    # It is said once a killer is there; without one it is asked for again.
    if [ -z "$sj_victims" ]; then
        :
    elif sj_process_stop "$sj_victims"; then
        printf 'killsent %s\n' $sj_victims
    else
        sj_to_kill=$sj_victims
        sj_kill_by_builtins
    fi
    sj_to_kill=''
    [ -z "$sj_launchers" ] || sj_stop_queued "$@"
    [ -z "$sj_unlisted" ] || sj_process_stop "$sj_unlisted"
    [ "$sj_claim" ] || return 0
    sj_process_start "$sj_claim"
    sj_await_claims $sj_claim
    for sj_i in $sj_claim; do sj_withdraw_job "${sj_i%:*}"; done
}

# Whether a job may run here. If another machine has it, the marker that stands on the shared
# home is for that one: its journal tells whoever reads there.
sj_may_run_here() {
    # ID
    [ -f "jobs/$1/run" ] || return 0
    sj_read_line "jobs/$1/run"
    case $sj_line in
    "machine=$sj_machine" | '') return 0 ;;
    machine=[!A-Za-z0-9_]* | machine=*[!A-Za-z0-9._-]*) return 1 ;;
    machine=*) sj_there=${sj_line#machine=} ;;
    *) return 0 ;;
    esac
    [ -h "$sj_there" ] || [ -h "$sj_there/journal" ] || [ ! -f "$sj_there/journal" ] ||
        {
            printf '\nK %s .\n' "$1" >>"$sj_there/journal"
            [ -h "$sj_there/due" ] || [ -d "$sj_there/due" ] || mkdir "$sj_there/due"
            [ -h "$sj_there/due" ] || [ -e "$sj_there/due/$1" ] || printf '' >"$sj_there/due/$1"
        } 2>/dev/null
    case ${sj_there##*-} in
    *[!0]*) [ "${sj_there##*-}" = "${sj_machine##*-}" ] ;;
    *) return 1 ;;
    esac
}

# No process is left that could look for what is to end: the groups are told by builtins, and
# ended if they were told longer ago than the grace.
sj_kill_by_builtins() {
    sj_read_line /proc/uptime
    sj_now_up=${sj_line%%.*}
    for sj_victim in $sj_to_kill; do
        sj_told_up=''
        [ -d "jobs/$sj_victim" ] && [ ! -h "jobs/$sj_victim" ] || continue
        if [ -f "jobs/$sj_victim/cancel" ]; then
            while read -r sj_line; do
                case $sj_line in up=[0-9]*) sj_told_up=${sj_line#up=} ;; esac
            done <"jobs/$sj_victim/cancel"
        fi
        sj_read_grace "$sj_victim"
        if [ -z "$sj_told_up" ]; then
            sj_is_regular "jobs/$sj_victim/cancel" &&
                { printf 'up=%s\n' "$sj_now_up" >>"jobs/$sj_victim/cancel"; } 2>/dev/null
            sj_signal_groups TERM "$sj_victim"
            sj_signal_groups CONT "$sj_victim"
        elif [ $((sj_now_up * 100 - sj_told_up * 100)) -ge "$sj_hundredths" ]; then
            sj_signal_groups KILL "$sj_victim"
        fi
    done
}

sj_write_cancelled() {
    # ID: its tombstone
    sj_is_regular "gone/$1" && { printf 'cause=cancelled\nuntil=%s\n' "$((${sj_now%.*} + sj_gone_ttl))" >"gone/$1"; } 2>/dev/null
}

# Where there is no room for a claim, nobody can publish that a job was cancelled which
# never started. Its directory is put out of reach then, by renames alone, and the
# tombstone tells. That stands first: a runner looks for it between claim and start.
sj_withdraw_job() {
    # ID
    [ -e "jobs/$1/run" ] && return
    { printf '%300s' '' >"$sj_tmp.room"; } 2>/dev/null
    sj_failure=$?
    rm -f "$sj_tmp.room"
    [ $sj_failure -eq 0 ] && return
    [ -e "gone/$1" ] || mv -f "jobs/$1/script" "gone/$1" 2>/dev/null ||
        mv -f "jobs/$1/spec" "gone/$1" 2>/dev/null || return
    sj_aside=$sj_tmp.$1
    mv "jobs/$1" "$sj_aside" 2>/dev/null || return
    if [ -e "$sj_aside/run" ]; then
        mv "$sj_aside" "jobs/$1"
        return
    fi
    rm -rf "$sj_aside"
    sj_write_cancelled "$1"
    printf 'killmissing %s\n' "$1"
}
