# Deletes ended jobs whose log is home, and leaves a tombstone of each.
# In: LOG:BYTES:CKSUM:SHA256; LOG is ID, or ID/stderr. Out: frames reaped, unreaped, longer, differs; gone/ID.
#
# Whole jobs of ours that are final, and whose log is home: who asks says how many bytes of
# it are, and their checksum. awk reads the records and, before them, one ls of the logs and
# of which records are files, none too large to be one, and one cksum of the logs; the shell
# looks once more at each and leaves the tombstone (and the key's last word) before one rm for
# many.
# rm -rf without a trailing slash removes a symbolic link, never what it points to.
# A log is as long as the record of the end says, and as its file is where there is none;
# what a process writes after the end is not the job's.

# Of a job with two logs, the second one stands first.
sj_reap_jobs() {
    # LOG:BYTES of it that are home:CKSUM of these:SHA256 of these ...
    sj_questions='' sj_paths='' sj_logs='' sj_total=0
    sj_find_sums
    for sj_word; do
        sj_i=${sj_word%%:*} sj_log=log
        case $sj_i in
        */*)
            sj_log=stderr sj_i=${sj_i%/*}
            # told with the first
            [ -d "jobs/$sj_i" ] && [ ! -h "jobs/$sj_i" ] || continue
            ;;
        esac
        if [ -h "jobs/$sj_i" ]; then
            printf 'unreaped %s its directory is a symbolic link\n' "$sj_i"
        elif [ ! -e "jobs/$sj_i" ]; then
            printf 'reaped %s\n' "$sj_i"
        elif [ ! -d "jobs/$sj_i" ] || [ ! -O "jobs/$sj_i" ]; then
            printf 'unreaped %s not a directory of ours\n' "$sj_i"
        else
            case $sj_sums in
            cksum) sj_word=${sj_word%:*} ;;
            *) sj_sha256=${sj_word##*:} sj_word=${sj_word%:*:*}:$sj_sha256 ;;
            esac
            sj_questions="$sj_questions $sj_word" sj_job_dir=jobs/$sj_i
            sj_paths="$sj_paths $sj_job_dir/log $sj_job_dir/stderr $sj_job_dir/lost $sj_job_dir/exit $sj_job_dir/run $sj_job_dir/spec"
            sj_word=${sj_word#*:}
            [ -f "$sj_job_dir/$sj_log" ] && [ ! -h "$sj_job_dir/$sj_log" ] &&
                sj_logs="$sj_logs $sj_job_dir/$sj_log" sj_total=$((sj_total + ${sj_word%%:*}))
        fi
    done
    [ "$sj_questions" ] || return 0
    [ "$sj_logs" ] && [ $sj_sums != none ] && sj_sum_logs
    {
        ls -lnd $sj_paths jobs 2>/dev/null
        printf '%s\n' "$sj_logs"
        printf '%s\n' $sj_questions
    } | awk -v now="${sj_now%.*}" -v ttl="$sj_gone_ttl" "$sj_records_awk$sj_reap_awk" | {
        sj_rm='' sj_told=' '
        while read -r sj_id sj_state sj_bytes sj_home sj_sum sj_same sj_bytes2 sj_home2 sj_sum2 sj_same2 sj_sha sj_attempt sj_digest sj_status sj_signal sj_cause sj_t0 sj_t1 sj_why; do
            sj_send_beat
            sj_told="$sj_told$sj_id "
            case $sj_state in
            NO) sj_spare_job 'it has not ended' ;;
            STANDS) sj_spare_job 'it was declared lost less than a day ago, and is ended if its machine comes back' ;;
            FOREIGN) sj_spare_job 'no whole job of ours' ;;
            UNSEEN) sj_spare_job 'the length of its log cannot be told' ;;
            *)
                sj_is_home log "$sj_bytes" "$sj_home" "$sj_sum" "$sj_same" &&
                    sj_is_home stderr "$sj_bytes2" "$sj_home2" "$sj_sum2" "$sj_same2" && sj_record_reap
                ;;
            esac
        done
        sj_remove_jobs $sj_rm
        for sj_word in $sj_questions; do
            sj_i=${sj_word%%:*}
            case $sj_i$sj_told in
            */* | *" $sj_i "*) ;;
            *) printf 'unreaped %s the awk there could not read its record\n' "$sj_i" ;;
            esac
        done
    }
}

# One that counts nothing as it should: to be found does not mean to be executable.
sj_find_sums() {
    # sj_sums
    sj_sums=none
    case $(cksum </dev/null 2>/dev/null) in
    '4294967295 0'*) sj_sums='cksum' ;;
    *)
        case $(sha256sum </dev/null 2>/dev/null) in
        e3b0c44298fc1c149afbf4c8996fb924*) sj_sums='sha256sum' ;;
        esac
        ;;
    esac
}

# The checksums of whole logs, as lines, to sj_logs (a BusyBox may have no cksum, but has
# sha256sum); of long ones while beats tell that the host is at work. A job may put a FIFO in
# place of its log while others are summed up, and nobody writes into that: there is an end.
sj_sum_logs() {
    sj_beater='' sj_count=$((20 + sj_total / 4194304))
    [ "$sj_total" -lt 67108864 ] || {
        while sleep 5 >/dev/null; do printf 'beat\n'; done 2>/dev/null &
        sj_beater=$!
    }
    sj_logs=$(
        $sj_sums $sj_logs 2>/dev/null </dev/null &
        sj_summer=$!
        {
            while [ "$sj_count" -gt 0 ] && sleep 1; do sj_count=$((sj_count - 1)); done
            kill -9 "$sj_summer"
        } >/dev/null 2>&1 &
        sj_watcher=$!
        { wait "$sj_summer"; kill "$sj_watcher"; wait "$sj_watcher"; } 2>/dev/null
    )
    [ -z "$sj_beater" ] || { kill "$sj_beater" && wait "$sj_beater"; } 2>/dev/null
    return 0
}

sj_spare_job() {
    # WHY sj_id stays
    printf 'unreaped %s %s\n' "$sj_id" "$1"
}

# Bytes that nobody else has are not deleted, whoever believes to have them all.
sj_is_home() {
    # NAME BYTES HOME SUM SAME, as awk tells of a log
    if [ "$2" = - ]; then
        # no log, or no ls
        [ -s "jobs/$sj_id/$1" ] || return 0
        sj_spare_job "the length of its $1 cannot be told"
        return 1
    fi
    [ "$2" -le "${3:-0}" ] && {
        sj_is_same "$@"
        return
    }
    case $1 in
    log) printf 'longer %s %s\n' "$sj_id" "$2" ;;
    *) printf 'longer %s/%s %s\n' "$sj_id" "$1" "$2" ;;
    esac
    sj_spare_job "its $1 has $2 bytes, of which ${3:-0} are home"
    return 1
}

# What is home is what stands there, byte by byte; not what came after the end.
sj_is_same() {
    # NAME BYTES HOME SUM SAME
    case $5 in
    same) return ;;
    longer)
        sj_out=$(head -c "$3" "jobs/$sj_id/$1" 2>/dev/null </dev/null | $sj_sums 2>/dev/null)
        [ "${sj_out%%" "*}" = "$4" ] && return
        ;;
    esac
    if [ $sj_sums = none ]; then
        sj_spare_job "there is no cksum to compare its $1 with"
    elif [ "$5" = unread ]; then
        sj_spare_job "its $1 could not be read to be compared ($sj_sums)"
    else
        printf 'differs %s\n' "$sj_id"
        sj_spare_job "its $1 there and the one that is home differ ($sj_sums)"
    fi
    return 1
}

sj_record_reap() {
    # the tombstone and the key's last word, then onto the list
    sj_rec="cause=${sj_cause#-}
status=${sj_status#-}
signal=${sj_signal#-}
started_at=${sj_t0#-}
finished_at=${sj_t1#-}
log_bytes=${sj_bytes#-}
stderr_bytes=${sj_bytes2#-}
state=$sj_state"
    sj_write_tombstone || { sj_make_room; sj_write_tombstone; } || {
        sj_spare_job 'no room for its tombstone'
        return
    }
    sj_write_key || { sj_make_room; sj_write_key; } || {
        rm -f "$sj_tmp.key"
        sj_spare_job 'no room for the record of its key'
        return
    }
    sj_rm="$sj_rm $sj_id"
}

sj_write_tombstone() {
    # an empty one does
    sj_is_regular "gone/$sj_id" && { printf '%s\nuntil=%s\n' "$sj_rec" "$((${sj_now%.*} + sj_gone_ttl))" >"gone/$sj_id"; } 2>/dev/null
    [ -e "gone/$sj_id" ]
}

sj_write_key() {
    # of the key, if this job holds one
    case $sj_sha$sj_attempt in *[!0-9a-f]*) return 0 ;; esac
    if [ -e "keys/$sj_sha/$sj_attempt" ]; then
        sj_key_file=$sj_tmp.key
        { printf 'id=%s\ndigest=%s\n%s\nuntil=%s\nend=\n' "$sj_id" "$sj_digest" "$sj_rec" "$((${sj_now%.*} + sj_key_ttl))" >"$sj_key_file"; } 2>/dev/null &&
            mv -f "$sj_key_file" "keys/$sj_sha/$sj_attempt" 2>/dev/null
    fi
}

sj_make_room() {
    # on a full disk: what has ended needs these no more, and makes room by them
    [ -h "jobs/$sj_id" ] || rm -f -- "jobs/$sj_id/script" "jobs/$sj_id/stdin"
}

sj_remove_jobs() {
    # IDS
    while [ $# -gt 0 ]; do
        sj_few='' sj_fewer='' sj_count=0
        while [ $# -gt 0 ] && [ $sj_count -lt 50 ]; do
            [ -h "jobs/$1" ] || sj_few="$sj_few jobs/$1"
            sj_fewer="$sj_fewer $1"
            sj_count=$((sj_count + 1))
            shift
        done
        rm -rf -- $sj_few 2>/dev/null
        for sj_i in $sj_fewer; do
            if [ -h "jobs/$sj_i" ] || [ -e "jobs/$sj_i" ]; then
                printf 'unreaped %s its directory could not be removed whole\n' "$sj_i"
            else
                printf 'reaped %s\n' "$sj_i"
            fi
        done
    done
}
