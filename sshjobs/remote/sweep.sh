# Sweeps what dead launchers and old jobs have left.
# In: sj_machine, sj_now. Out: new/, gone/ and keys/ without what has had its time.

# Directories that a launcher left half-made which is no more (their files may hold
# secrets), on every round; at most once an hour expired tombstones, and keys all of whose
# attempts have expired.
sj_sweep_old() {
    for sj_i in new/"$sj_machine".*; do
        sj_owner=${sj_i#"new/$sj_machine."}
        sj_owner=${sj_owner%%.*}
        case $sj_owner in '' | *[!0-9]*) continue ;; esac
        # Where nobody reaps orphans, as in many containers, the dead answer to signals.
        sj_line=''
        kill -0 "$sj_owner" 2>/dev/null && sj_read_line "/proc/$sj_owner/stat" || sj_line='dead) Z'
        sj_cut_process_name "$sj_line"
        case $sj_fields in [XZ]*) rm -rf -- "$sj_i" ;; esac
    done
    sj_read_small "$sj_machine/swept"
    case $sj_line in *[!0-9]* | 0* | ????????????* | '') sj_line=0 ;; esac
    [ $((${sj_now%.*} - sj_line)) -lt 3600 ] && [ "$sj_line" -le "${sj_now%.*}" ] && return
    { printf '%s\n' "${sj_now%.*}" >"$sj_machine/swept"; } 2>/dev/null || return 0
    # A record beside `run` was read by the runner that claimed the job.
    set --
    for sj_i in jobs/*/env; do [ ! -e "${sj_i%env}run" ] || set -- "$@" "$sj_i"; done
    [ $# -eq 0 ] || rm -f -- "$@"
    find gone keys -type f -size -128 -print | awk -v now="$sj_now" "$sj_records_awk$sj_expired_awk" | while read -r sj_f; do
        rm -f -- "$sj_f"
        case $sj_f in keys/*) rmdir "${sj_f%/*}" 2>/dev/null ;; esac
    done
    find new runner-*.* ! -name new -prune -mtime +1 -exec rm -rf -- {} + 2>/dev/null
    return 0
}
