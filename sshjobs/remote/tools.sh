# Which tools the host has and what they can, found once a boot.
# In: sj_machine, sj_boot. Out: sj_setsid, sj_env, sj_dd, sj_grepz, sj_wc, sj_renew.

# What the host has, found once a boot and kept in <machine>/tools: sj_setsid and
# sj_env (command words or -), sj_dd (flags with which it skips and counts bytes, or 0),
# sj_grepz, sj_wc (1 or 0).
sj_load_tools() {
    sj_renew=''
    sj_read_small "$sj_machine/tools"
    case $sj_line in
    "$sj_boot 7 "*)
        set -- $sj_line
        sj_setsid=$3 sj_env=$4 sj_dd=$5 sj_grepz=$6 sj_wc=$7
        # Where it was damaged, its words are none of ours, and are found anew.
        case $#$sj_grepz$sj_wc:$sj_dd: in
        7[01][01]:0: | \
            7[01][01]:skip_bytes,count_bytes,fullblock: | \
            7[01][01]:skip_bytes,count_bytes,fullblock,nonblock,nofollow:)
            case $sj_setsid:$sj_env in
            -:- | -:*env | *setsid:- | *setsid:*env) return ;;
            esac
            ;;
        esac
        ;;
    esac
    # A boot may follow a power failure, and that may leave a file that was renamed into
    # place without its bytes: the runner is written anew when it is next needed.
    sj_renew=1
    sj_probe_tools
    sj_probe_ls
    sj_line="$sj_boot 7 $sj_setsid $sj_env $sj_dd $sj_grepz $sj_wc"
    { printf '%s\n' "$sj_line" >"$sj_machine/tools"; } 2>/dev/null
    return 0
}

sj_probe_tools() {
    # what is kept, and nothing is written
    sj_setsid=$(command -v setsid) || sj_setsid=-
    sj_env=-
    if [ -z "$sj_bash" ] &&
        env --default-signal=INT true 2>/dev/null; then
        sj_env=$(command -v env)
    fi
    sj_dd=0
    # Of those that know these flags, only these two are known to lose no bytes: uutils
    # 0.0.17 drops some within blocks.
    case $(dd --version 2>&1 </dev/null) in
    *GNU* | *BusyBox*)
        case $(printf abcd | dd bs=2 iflag=skip_bytes,count_bytes,fullblock skip=1 count=2 2>/dev/null) in
        bc)
            sj_dd=skip_bytes,count_bytes,fullblock
            case $(dd if=/dev/null "iflag=$sj_dd,nonblock,nofollow" 2>/dev/null && echo y) in
            y) sj_dd=$sj_dd,nonblock,nofollow ;;
            esac
            ;;
        esac
        ;;
    esac
    sj_grepz=0
    printf 'a\000b=1\000c\000' | grep -szxo 'b=[0-9]*' 2>/dev/null | tr '\000' ' ' |
        grep -q '^b=1 *$' && [ -r /proc/self/environ ] && sj_grepz=1
    sj_wc=0
    case $(wc --version 2>/dev/null) in *GNU*) sj_wc=1 ;; esac
    return 0
}

# GNU ls tells nanoseconds: what it says of a file that is opened anew for writing is the
# time, unless the file system has another clock or a coarse one. Where it is, <machine>/now
# exists.
sj_probe_ls() {
    sj_now_file=$sj_machine/now
    rm -f "$sj_now_file"
    { printf '' >"$sj_now_file" && touch -t 200001010000 "$sj_now_file" && printf '' >"$sj_now_file"; } 2>/dev/null
    set -- $(ls -Und --time-style=+%s.%N "$sj_now_file" 2>/dev/null) $(date +%s)
    case $6 in
    *.000000000 | *[!0-9.]* | '') ;;
    *.?????????) [ $(($# == 8 ? $8 - ${6%.*} : 9)) -le 1 ] && return ;;
    esac
    rm -f "$sj_now_file"
}
