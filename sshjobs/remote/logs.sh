# Brings pieces of logs, in a round or in a session of their own.
# In: LOG OFFSET LIMIT; LOG is ID, or ID/stderr. Out: frames log with their bytes, nolog.

# One ls for all sizes and one dd for each that grew. What is announced is where a
# piece starts; its end is told by a line of the nonce, so that a log may shrink meanwhile.
sj_send_logs() {
    # LOG OFFSET LIMIT ...
    if [ $# -eq 3 ]; then
        sj_send_lone_log "$@"
        return
    fi
    sj_questions='' sj_paths=''
    while [ $# -ge 3 ]; do
        sj_questions="$sj_questions$1 $2 $3
"
        sj_find_log "$1"
        sj_paths="$sj_paths $sj_log_path"
        shift 3
    done
    {
        printf '%s' "$sj_questions"
        ls -lnd $sj_paths 2>/dev/null
    } | awk "$sj_logs_awk" | while read -r sj_id sj_log_from sj_length sj_log_size sj_has_log; do
        sj_find_log "$sj_id"
        sj_send_log
    done
}

sj_find_log() {
    # LOG: its sj_log_path
    case $1 in
    */*) sj_log_path=jobs/$1 ;;
    *) sj_log_path=jobs/$1/log ;;
    esac
}

# A single one needs no awk.
sj_send_lone_log() {
    # LOG OFFSET LIMIT
    sj_id=$1 sj_log_from=$2 sj_length=$3 sj_log_size=0 sj_has_log=0
    sj_find_log "$1"
    set -- $(ls -lnd "$sj_log_path" 2>/dev/null)
    case ${1-} in -*) sj_log_size=$5 sj_has_log=1 ;; esac
    [ $((sj_log_size - sj_log_from)) -ge "$sj_length" ] || sj_length=$((sj_log_size - sj_log_from))
    [ "$sj_length" -ge 0 ] || sj_length=0
    sj_send_log
}

sj_send_log() {
    # sj_id sj_log_path sj_log_from sj_length sj_log_size sj_has_log: a piece, or 0 bytes; SIZE; 1 if there is a log
    [ "$sj_has_log" = 1 ] || sj_explain_no_log "${sj_id%/*}"
    printf 'log %s %s\n' "$sj_id" "$sj_log_from"
    [ "$sj_length" = 0 ] || sj_read_piece "$sj_log_path" "$sj_log_from" "$sj_length" </dev/null
    printf '\n%s %s\n' "$sj_nonce" "$sj_log_size"
}

# Why there is no log to list. A job that has not yet written has none, without a reason.
sj_explain_no_log() {
    # ID, and sj_log_path
    sj_why_none=''
    if [ -h "jobs/$1" ]; then
        sj_why_none='its directory is a symbolic link'
    elif [ ! -e "jobs/$1" ]; then
        sj_why_none=gone
    elif [ ! -f "jobs/$1/spec" ] && [ ! -f "jobs/$1/run" ]; then
        sj_why_none='no whole job of ours'
    elif [ -h "$sj_log_path" ] || { [ -e "$sj_log_path" ] && [ ! -f "$sj_log_path" ]; }; then
        sj_why_none='its log is no file'
    fi
    [ -z "$sj_why_none" ] || printf 'nolog %s %s\n' "$1" "$sj_why_none"
}

# In a session of its own, whose output is a file on the other side: a fence, and once that
# has been seen nothing but bytes of the log, fewer than COUNT if it holds no more. A word
# on stderr wakes who looks for the fence.
sj_fetch_log() {
    # NONCE BASE LOG OFFSET COUNT
    sj_first=''
    sj_prepare_round "$2"
    sj_find_log "$3"
    sj_explain_no_log "${3%/*}" >&2
    [ -z "$sj_why_none" ] && [ -f "$sj_log_path" ] || exit 1
    printf '\nsshjobs-log 1 %s\n' "$1"
    printf 'ready\n' >&2
    read -r sj_line && [ "$sj_line" = go ] || exit 1
    sj_read_piece "$sj_log_path" "$4" "$5" </dev/null
}

# A job may put anything in place of its log between two looks: GNU dd does not wait for who
# writes into a FIFO, nor follow a link.
sj_read_piece() {
    # FILE OFFSET COUNT
    [ -f "$1" ] && [ ! -h "$1" ] || return 0
    case $sj_dd in
    0) tail -c "+$(($2 + 1))" "$1" | head -c "$3" ;;
    *) dd if="$1" bs=262144 iflag="$sj_dd" skip="$2" count="$3" 2>/dev/null ;;
    esac
}
