# The base directory: checked, entered, and looked at with one ls.
# In: BASE as the settings name it, and what was read of the journal. Out: sj_dir, sj_home,
# sj_mode, sj_inode, sj_size, sj_small, sj_now, sj_cs, sj_offset, sj_gen, sj_sweep.

# The base directory: a directory, no symlink, ours, not writable by others; entered
# once, everything below it is named relative to it.
sj_enter_base() {
    # BASE
    sj_resolve_base "$1"
    [ -h "$sj_dir" ] && sj_fail_round EBASE 'the base directory is a symbolic link'
    if [ ! -d "$sj_dir" ]; then
        sj_line=$(mkdir -p -- "$sj_dir" 2>&1) || sj_fail_base "$sj_line"
    fi
    # By its own name from the directory that holds it: who replaces it just now by a link
    # leads us elsewhere, which shows.
    sj_up=${sj_dir%/*}
    CDPATH='' cd -P -- "${sj_up:-/}" >/dev/null 2>&1 && sj_up=${PWD%/} &&
        CDPATH='' cd -P -- "./${sj_dir##*/}" >/dev/null 2>&1 || {
        sj_line=$(CDPATH='' cd -P -- "$sj_dir" 2>&1 || exit)
        sj_fail_base "$sj_line"
    }
    case ${sj_dir##*/} in
    '' | . | ..) ;;
    *) [ "${PWD%/*}" = "$sj_up" ] || sj_fail_round EBASE 'the base directory is a symbolic link' ;;
    esac
    sj_dir=$PWD
    [ -O . ] || sj_fail_round EBASE 'the base directory belongs to somebody else'
    sj_journal_file=$sj_machine/journal
    for sj_i in jobs keys gone new "$sj_machine" layout "$sj_journal_file" "$sj_machine/now" \
        "$sj_machine/tools" *-*/swept; do
            # awk reads that of any machine
        case $sj_i in
        layout | */*) sj_is_regular "$sj_i" ;;
        *) [ ! -h "$sj_i" ] && { [ -d "$sj_i" ] || [ ! -e "$sj_i" ]; } ;;
        esac || sj_fail_round EBASE "a symbolic link, or nothing of ours, stands in the base directory: $sj_i"
    done
    if [ ! -d jobs ] || [ ! -d new ] || [ ! -d "$sj_machine" ]; then
        sj_line=$(mkdir -p jobs keys gone new "$sj_machine" 2>&1) ||
            sj_fail_base "$sj_line"
    fi
}

sj_resolve_base() {
    # BASE: to sj_dir, and sj_home
    case ${HOME-} in
    /*) sj_home=$HOME ;;
    *)
        sj_read_passwd 6
        sj_home=$sj_line
        ;;
    esac
    case $1 in
    \~) sj_dir=$sj_home ;;
    \~/*) sj_dir=$sj_home/${1#??} ;;
    /*) sj_dir=$1 ;;
    *) sj_dir=$sj_home/$1 ;;
    esac
    case $sj_dir in /*) ;; *) sj_fail_round EHOME 'HOME is not set and /etc/passwd does not name it' ;; esac
    while :; do case $sj_dir in ?*/) sj_dir=${sj_dir%/} ;; *) break ;; esac; done
}

sj_fail_base() {
    sj_name_error "$1"
    sj_fail_round "$sj_code" "the base directory cannot be made: ${1##*: }"
}

sj_prepare_round() {
    # BASE ID ... of jobs whose records may be read without an awk
    sj_clean_env
    sj_path=${PATH-/usr/local/bin:/usr/bin:/bin}
    PATH=/usr/bin:/bin:$sj_path
    for sj_i in awk cat date dd find head id ln ls mkdir mv rm sed sleep tail tr; do
        command -v $sj_i >/dev/null 2>&1 || sj_fail_round ETOOL "there is no $sj_i on the host"
    done
    sj_find_machine
    sj_enter_base "$1"
    shift
    sj_read_base "$@"
    sj_read_small layout
    case $sj_line in
    1) ;;
    '') { printf '1\n' >layout; } 2>/dev/null ;;
    *) sj_fail_round EVERSION 'a newer sshjobs has used the base directory' ;;
    esac
    sj_load_tools
}

# One ls tells whether the base is sound, where the journal ends, which records are small
# enough to be read here, a byte at a time, and mostly what time it is: sj_mode of the base,
# sj_inode and sj_size of the journal, sj_small, sj_now (seconds), sj_offset (hundredths to
# add to /proc/uptime). BusyBox date has no %N, BSD date prints it as it stands.
sj_read_base() {
    # ID ...
    sj_offset=none sj_i=''
    [ -f "$sj_journal_file" ] || { printf '\n' >>"$sj_journal_file"; } 2>/dev/null
    for sj_few_id; do
        for sj_few_file in "jobs/$sj_few_id/exit" "jobs/$sj_few_id/run"; do
            [ -f "$sj_few_file" ] && sj_is_regular "$sj_few_file" && sj_i="$sj_i $sj_few_file" && break
        done
    done
    sj_i=". $sj_journal_file layout $sj_machine/tools $sj_machine/swept$sj_i" sj_cs=''
    [ -f "$sj_machine/now" ] && { printf '' >"$sj_machine/now"; } 2>/dev/null && {
        sj_read_line /proc/uptime
        sj_parse_ls 8 $(ls -Unid --time-style=+%s%N $sj_i "$sj_machine/now" 2>/dev/null)
    }
    if [ -z "$sj_cs" ]; then
        sj_parse_ls 10 $(ls -lnid $sj_i 2>/dev/null)
        sj_cs=$(date +%s%N)
        sj_read_line /proc/uptime
    fi
    case $sj_cs in
    *[!0-9]*) sj_cs=${sj_cs%%[!0-9]*}00 ;;
    ??????????????????*) sj_cs=${sj_cs%???????} ;;
    *) sj_cs=${sj_cs}00 ;;
    esac
    sj_now=${sj_cs%??}.${sj_cs#"${sj_cs%??}"}
    sj_line=${sj_line%% *}
    case $sj_line in
    [1-9]*.[0-9][0-9]) sj_offset=$((sj_cs - ${sj_line%.*}${sj_line#*.})) ;;
    esac
}

sj_parse_ls() {
    # WORDS (in a line), and the lines of an ls
    sj_width=$1 sj_mode='' sj_inode=none sj_size=0 sj_small=' '
    shift
    while [ $# -ge "$sj_width" ]; do
        sj_entry=$8
        [ "$sj_width" = 8 ] || sj_entry=${10}
        case $sj_entry in
        .) sj_mode=$2 ;;
        "$sj_journal_file") sj_inode=$1 sj_size=$6 ;;
        */now) sj_cs=$7 ;;
        *) [ "$6" -lt 65536 ] && sj_small="$sj_small$sj_entry " ;;
        esac
        shift "$sj_width"
    done 2>/dev/null
}

sj_read_small() {
    # FILE: its first line to sj_line, if it is a small file
    sj_line=''
    case $sj_small in *" $1 "*) sj_read_line "$1" ;; esac
}

# The journal's inode is its generation. Past 4 MB it is put aside; a gap only costs a
# sweep.
sj_open_journal() {
    # what was read so far: sj_gen, sj_from
    case $sj_mode in
    d????-??-*) ;;
    *) sj_fail_round EBASE 'the base directory is writable by others' ;;
    esac
    sj_sweep=0
    [ "$sj_inode" = "$sj_gen" ] && [ "$sj_from" -le "$sj_size" ] &&
        [ $((sj_size - sj_from)) -lt 1048576 ] || sj_sweep=1
    sj_gen=$sj_inode
    if [ "$sj_size" -gt 4194304 ]; then
        mv -f "$sj_journal_file" "$sj_journal_file.old"
        { printf '\n' >>"$sj_journal_file"; } 2>/dev/null
        sj_gen=moved sj_size=0
    fi
    printf '%sjournal %s %s\n' "$sj_first" "$sj_gen" "$sj_size"
    sj_first=''
}
