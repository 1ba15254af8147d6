# Brings pieces of logs, in a round or in a session of their own.
# In: ID OFFSET LIMIT. Out: frames log with their bytes, nolog.

# One ls for all sizes and one dd for each that grew. What is announced is where a
# piece starts; its end is told by a line of the nonce, so that a log may shrink meanwhile.
sj_logs() { # ID OFFSET LIMIT ...
    if [ $# -eq 3 ]; then
        sj_lone_log "$@"
        return
    fi
    sj_q='' sj_f=''
    while [ $# -ge 3 ]; do
        sj_q="$sj_q$1 $2 $3
"
        sj_f="$sj_f jobs/$1/log"
        shift 3
    done
    {
        printf '%s' "$sj_q"
        ls -lnd $sj_f 2>/dev/null
    } | awk '
        NF == 3 { id[++n] = $1; off[n] = $2; lim[n] = $3; next }
        /^-/ { split($NF, a, "/"); size[a[2]] = $5 }
        END {
            for (i = 1; i <= n; i++) {
                there = (id[i] in size)
                s = there ? size[id[i]] : 0
                k = s - off[i]
                if (k > lim[i]) k = lim[i]
                if (k < 0) k = 0
                printf "%s %.0f %.0f %.0f %d\n", id[i], off[i], k, s, there
            }
        }' | while read -r sj_id sj_o sj_k sj_s sj_l; do sj_log; done
}

# That of one job only needs no awk.
sj_lone_log() { # ID OFFSET LIMIT
    sj_id=$1 sj_o=$2 sj_k=$3 sj_s=0 sj_l=0
    set -- $(ls -lnd "jobs/$1/log" 2>/dev/null)
    case ${1-} in -*) sj_s=$5 sj_l=1 ;; esac
    [ $((sj_s - sj_o)) -ge "$sj_k" ] || sj_k=$((sj_s - sj_o))
    [ "$sj_k" -ge 0 ] || sj_k=0
    sj_log
}

sj_log() { # sj_id sj_o sj_k sj_s sj_l: a piece, or 0 bytes; SIZE; 1 if there is a log
    [ "$sj_l" = 1 ] || sj_nolog "$sj_id"
    printf 'log %s %s\n' "$sj_id" "$sj_o"
    [ "$sj_k" = 0 ] || sj_piece "jobs/$sj_id/log" "$sj_o" "$sj_k" </dev/null
    printf '\n%s %s\n' "$sj_nonce" "$sj_s"
}

# Why there is no log to list. A job that has not yet written has none, without a reason.
sj_nolog() { # ID
    sj_l=''
    if [ -h "jobs/$1" ]; then
        sj_l='its directory is a symbolic link'
    elif [ ! -e "jobs/$1" ]; then
        sj_l=gone
    elif [ ! -f "jobs/$1/spec" ] && [ ! -f "jobs/$1/run" ]; then
        sj_l='no whole job of ours'
    elif [ -h "jobs/$1/log" ] || { [ -e "jobs/$1/log" ] && [ ! -f "jobs/$1/log" ]; }; then
        sj_l='its log is no file'
    fi
    [ -z "$sj_l" ] || printf 'nolog %s %s\n' "$1" "$sj_l"
}

# In a session of its own, whose output is a file on the other side: a fence, and once that
# has been seen nothing but bytes of the log, fewer than COUNT if it holds no more. A word
# on stderr wakes who looks for the fence.
sj_fetch() { # NONCE BASE ID OFFSET COUNT
    sj_first=''
    sj_enter "$2"
    sj_nolog "$3" >&2
    [ -z "$sj_l" ] && [ -f "jobs/$3/log" ] || exit 1
    printf '\nsshjobs-log 1 %s\n' "$1"
    printf 'ready\n' >&2
    read -r sj_line && [ "$sj_line" = go ] || exit 1
    sj_piece "jobs/$3/log" "$4" "$5" </dev/null
}

# A job may put anything in place of its log between two looks: GNU dd does not wait for who
# writes into a FIFO, nor follow a link.
sj_piece() { # FILE OFFSET COUNT
    [ -f "$1" ] && [ ! -h "$1" ] || return 0
    case $sj_dd in
    0) tail -c "+$(($2 + 1))" "$1" | head -c "$3" ;;
    *) dd if="$1" bs=262144 iflag="$sj_dd" skip="$2" count="$3" 2>/dev/null ;;
    esac
}
