#!/bin/sh
# What runs on a host: POSIX sh and nothing else.
#
# Theory of operation. The file has several parts, and none is run as it stands:
# protocol.py sends those that a request needs, without these comments, inside one compound
# command that `exec sh` reads from its standard input (a cut stream then runs nothing).
#
#   round   and `frame`, in each request; `judge`, `runs`, `reap`, `logs` and `list` where
#           they are wanted: functions, and then the request itself as calls of them. It writes
#           frames to stdout (docs/reference/wire-format.md) and leaves nothing running
#           but what it has detached.
#   runner  a file on the host, written once per version. `s` starts jobs: one
#           process a job stays as its runner, claims it (O_EXCL creation of `run`),
#           starts it in a session of its own, waits, deals with what the job left
#           behind and publishes its end (decision 0004). `k` ends the trees of jobs.
#
# Everything is repeatable under the job's id. A directory appears whole, by rename;
# only a process that holds `run` runs the job; only that process writes `exit`.
# Evidence is gathered by one awk over /proc, so that the number of forks of a poll
# depends neither on what is known nor on what runs; where a few run as before, by none.
#
# Rules of this file, each measured (2026; dash 0.5.12, bash 5.2, BusyBox 1.35, ksh93):
# a redirection that fails on a special builtin (`:`, `exec`, `.`) ends the shell, on
# printf it does not; no descriptor above 2; no `trap ''`, a job would inherit it; all
# variables begin with sj_, since assigning to one that came in exported would change
# the job's environment; data are quoted words, never bytes after the program.
#
# Keep in sync with protocol.py and docs/reference/host-layout.md.
#
# shellcheck shell=sh
# shellcheck disable=SC2154,SC2034 # variables cross from one part to the other
# shellcheck disable=SC2016        # awk programs stand in single quotes
# shellcheck disable=SC2086,SC2046 # lists of ids, numbers and tool words are split
# shellcheck disable=SC1090,SC1091 # a job's spec and env are sourced
# shellcheck disable=SC2059        # stdin travels as a printf format
# shellcheck disable=SC3013        # [ -O ]: dash, bash, ksh and BusyBox have it
# shellcheck disable=SC2317        # the request calls the functions
# shellcheck disable=SC2015        # A && B || C, where B is an assignment or ends in success
# shellcheck disable=SC2030,SC2031 # what a pipeline assigns is used inside it only

#: bashrc, the head of a runner

# bash reads this file before a shell line, by BASH_ENV, and from here what it reads before
# `ssh HOST LINE` (bash 5.2, shell.c: of sshd, for -c, not for a file).
case ${SSHJOBS_BASH_ENV+x} in
x)
    BASH_ENV=$SSHJOBS_BASH_ENV sj_back=''
    # What the job was given by name (--env, --cwd) is not for an rc to change.
    for sj_n in $SSHJOBS_BASH_KEEP; do
        eval "printf -v sj_value %q \"\$$sj_n\""
        sj_back="$sj_back builtin export $sj_n=$sj_value;"
    done
    case $SSHJOBS_BASH_CWD in
    ?*)
        eval 'printf -v sj_value %q "$PWD"'
        sj_back="$sj_back CDPATH='' builtin cd -P -- $sj_value >/dev/null;"
        ;;
    esac
    unset SSHJOBS_BASH_ENV SSHJOBS_BASH_KEEP SSHJOBS_BASH_CWD sj_n sj_value
    case $BASH_ENV in '') unset BASH_ENV ;; esac
    [ -r /etc/bash.bashrc ] && . /etc/bash.bashrc
    [ -r ~/.bashrc ] && . ~/.bashrc
    { builtin eval "$sj_back builtin unset sj_back"; } 2>/dev/null # and no trace of values
    return
    ;;
esac

#: shell, of a round and of a runner

# Only bash takes functions and options from its environment (SHELLOPTS, BASHOPTS), and
# passes on what it could not take.
# Both names, since a login may export the first to whatever serves as sh.
sj_bash=''
# shellcheck disable=SC3028
case ${BASH_VERSION+x}${BASH_VERSINFO+x} in
xx)
    sj_bash=1
    unset -f [ awk cat cd cksum command cut date dd declare env export find grep head id \
        jobs kill ln ls mkdir mv od printf ps pwd read rm rmdir sed set setsid sh shopt \
        sleep stat sysctl tail test touch tr true umask uname unset wait wc 2>/dev/null
    # shellcheck disable=SC3040,SC3041
    set +kmtTE +o pipefail
    # shellcheck disable=SC3044
    shopt -u dotglob extdebug failglob globstar lastpipe nocaseglob nocasematch nullglob \
        xpg_echo 2>/dev/null
    ;;
esac
set +aeCfnuvx
IFS='
'
IFS=" 	$IFS"

# A record is absent or a regular file: a FIFO would hang who opens it for ever, a device or
# a symbolic link can lead anywhere.
sj_regular() { [ ! -h "$1" ] && { [ -f "$1" ] || [ ! -e "$1" ]; }; }

# Of a record only the end counts: a job may make a file of any name in its directory.
sj_is_whole() { # FILE
    [ -f "$1" ] && [ ! -h "$1" ] || return
    case $(dd if="$1" bs=65536 count=1 2>/dev/null) in
    *"
end=" | *"
end=
"*) ;;
    *) return 1 ;;
    esac
}

#: table, of a round and of a runner

# All processes, for what looks for them and for what ends them. A name may hold anything, a
# newline and ") R 1 1" too; the kernel keeps 15 bytes of it, and behind it stand numbers
# only. So each record is read whole, by itself, and counts from its last ") " on. A first
# thread that has ended looks like a zombie while others run.
#
# list() tells whether it was seen who looks, marks() likewise: a listing that failed is
# not an empty one, and nothing is concluded from it. Whose a process is, its own record
# says (`uid`: the real one, which a setuid program keeps): marks are believed of our own
# processes alone, since anybody can carry one.
sj_table='
function stat(p,  f, l, s, n) {
    f = "/proc/" p "/stat"
    while (n < 20 && (getline l < f) > 0) {
        s = s " " l
        l = s
        sub(/^.*\) /, "", l)
        n = split(l, V, " ")
    }
    close(f)
    PID = s + 0
    return n >= 20 && !(V[1] ~ /^[XxZ]/ && V[18] < 2)
}
function uid(p,  f, l, a, u) {
    if (!proc) return UI[p]
    f = "/proc/" p "/status"
    while ((getline l < f) > 0) if (l ~ /^Uid:/) { split(l, a, " "); u = a[2] }
    close(f)
    return u
}
function own(p) { return uid(p) == UID }
function put(p, pp, g, se, st, how) {
    ST[p] = st
    PP[p] = pp
    GR[p] = g
    SE[p] = se
    HA[p] = (how ~ /^T/)
    if (g > 1) IN[g] = IN[g] " " p
    if (se > 1 && se != g) IN[se] = IN[se] " " p
}
function list(  c, l, a, i, n, me) {
    if (listed) return shown
    listed = 1
    me = self
    if (!proc) ps()
    else if (stat("self")) {
        me = PID
        c = "cd /proc && echo [0-9]*"
        if ((c | getline l) > 0) n = split(l, a, " ")
        close(c)
        for (i = 1; i <= n; i++) if (stat(a[i])) put(a[i], V[2], V[3], V[4], V[20], V[1])
    }
    UID = uid(me)
    shown = (me in ST) && UID ~ /^[0-9]+$/
    return shown
}
function ps(  c, l, a, p) {
    c = "ps -A -o pid= -o ppid= -o pgid= -o ruid= -o stat= -o lstart= 2>/dev/null"
    while ((c | getline l) > 0) {
        split(l, a, " ")
        if (a[1] !~ /^[0-9]+$/ || a[5] ~ /^Z/) continue
        p = a[1]
        UI[p] = a[4]
        sub(/^ *[0-9]+ +[0-9]+ +[0-9]+ +[0-9]+ +[^ ]+ +/, "", l)
        sub(/ +$/, "", l)
        gsub(/ +/, "_", l)
        put(p, a[2], a[3], 0, l, a[5])
    }
    close(c)
}
function marks(  c, l, p, all) {
    if (!proc || !grepz) return 1
    c = "cd /proc && SSHJOBS_JOB_ID=all grep -Hszxo \047SSHJOBS_JOB_ID=[a-z2-7]*\047 [0-9]*/environ self/environ 2>/dev/null | tr \047\\000\047 \047\\n\047"
    while ((c | getline l) > 0) {
        p = l + 0
        if (l ~ /^self/) all = 1
        else if (own(p)) {
            if (!(p in ST) && stat(p)) put(p, V[2], V[3], V[4], V[20], V[1])
            if (p in ST) MARK[p] = substr(l, index(l, "=") + 1)
        }
    }
    close(c)
    return all
}
# Whether the record F is of this machine. A name changes, a machine id does not: with the same
# boot and the same first process it is ours under another name; of another boot, or of the
# container before, if it was started before ours, and nothing was done under the old name
# since. Machines that share an id, as clones do, fail that: theirs is told as elsewhere.
function ours(  m, k, began, l) {
    if (!("machine" in F) || F["machine"] == machine) return 1
    m = F["machine"]
    if (m !~ /^[A-Za-z0-9_][A-Za-z0-9._-]*$/) return 0
    k = machine
    sub(/^.*-/, "", k)
    if (k ~ /^0*$/ || substr(m, length(m) - length(k)) != "-" k) return 0
    if (!proc || offset !~ /^[0-9]+$/ || !stat(1)) return 0
    if (F["boot_id"] == boot && F["init"] == V[20]) return 1
    began = (offset + V[20]) / 100
    if (!(F["started_at"] + 0 > 0) || F["started_at"] + 0 >= began) return 0
    if ((getline l < (m "/swept")) < 1) l = 0
    close(m "/swept")
    return l + 0 < began
}
function near(s, r) { return proc ? (s - r >= 0 && s - r < 3000) : 1 }
'

#: groups, of a runner

# The same of one process, without another: when it was started.
sj_start_of() { # PID: to sj_started, if it lives
    sj_stat=''
    while read -r sj_line; do sj_stat="$sj_stat $sj_line"; done <"/proc/$1/stat"
    set -- ${sj_stat##*') '}
    [ $# -ge 20 ] || return 1
    case $1 in [XxZ]) [ "${18}" -gt 1 ] || return 1 ;; esac
    sj_started=${20}
}

# Where no process can be had to look for others, a signal still reaches the group of a job.
# Its number is that of the job if the record has no end and its leader is the process that
# was started, or its runner has still to wait for it.
sj_signal_groups() { # SIGNAL IDS
    sj_signal_name=$1
    shift
    for sj_i; do
        sj_find_group "$sj_i" && kill "-$sj_signal_name" "-$sj_group"
    done 2>/dev/null
    return 0
}

sj_grace_of() { # ID: to sj_hundredths
    sj_hundredths=''
    while read -r sj_line; do
        case $sj_line in sj_gracecs=*) sj_hundredths=${sj_hundredths:-${sj_line#*=}} ;; esac
    done <"jobs/$1/spec"
    sj_hundredths=${sj_hundredths#\'}
    sj_hundredths=${sj_hundredths%\'}
    case $sj_hundredths in *[!0-9]* | '') sj_hundredths=0 ;; esac
}

sj_find_group() { # ID: to sj_group
    sj_group='' sj_born='' sj_of_boot='' sj_of_pid='' sj_of_start=''
    [ -f "jobs/$1/run" ] && sj_regular "jobs/$1/run" || return
    while read -r sj_line; do
        case $sj_line in
        boot_id=*) sj_of_boot=${sj_of_boot:-${sj_line#*=}} ;;
        pid=*) sj_of_pid=${sj_of_pid:-${sj_line#*=}} ;;
        start=*) sj_of_start=${sj_of_start:-${sj_line#*=}} ;;
        pgid=*) sj_group=${sj_group:-${sj_line#*=}} ;;
        born=*) sj_born=${sj_born:-${sj_line#*=}} ;;
        end=) return 1 ;;
        esac
    done <"jobs/$1/run"
    case $sj_group in 0 | 1 | *[!0-9]* | '') return 1 ;; esac
    [ "$sj_of_boot" = "$sj_boot" ] && kill -0 "-$sj_group" || return
    # Of one number root must not conclude anything, it may be anybody's by now: the
    # runner is there too, or it has been too long.
    [ "$sj_proc" ] || {
        [ ! -O / ] || kill -0 "$sj_of_pid"
        return
    }
    case $sj_of_pid-$sj_of_start in -* | *- | *[!0-9-]*) return 1 ;; esac
    if ! sj_start_of "$sj_group"; then
        sj_start_of "$sj_of_pid" && [ "$sj_started" = "$sj_of_start" ]
    elif [ "$sj_born" ]; then
        [ "$sj_started" = "$sj_born" ]
    else
        sj_line=$((sj_started - sj_of_start))
        [ $sj_line -ge 0 ] && [ $sj_line -lt 3000 ]
    fi
}

#: round

# What a login has in its environment must not change what is read from tools, nor how
# this shell reads: block sizes, quotes, colours, time zones, languages. What only shells
# read when they are interactive (ENV, PS1) stays.
sj_names='LS_BLOCK_SIZE BLOCK_SIZE BLOCKSIZE DF_BLOCK_SIZE DU_BLOCK_SIZE FIND_BLOCK_SIZE
TIME_STYLE QUOTING_STYLE LS_COLORS LS_OPTIONS CLICOLOR CLICOLOR_FORCE LSCOLORS LS_SAMESORT
COLUMNS LINES TABSIZE POSIX_ME_HARDER _POSIX2_VERSION COMMAND_MODE
GREP_OPTIONS GREP_COLOR GREP_COLORS PS_FORMAT PS_PERSONALITY PS_SYSTEM_MAP PS_COLORS
PS_OPTIONS CMD_ENV UNIX95 UNIX98 UNIX_STD _XPG I_WANT_A_BROKEN_PS LIBPROC_HIDE_KERNEL
LC_ALL LC_CTYPE LC_COLLATE LC_MESSAGES LC_NUMERIC LC_TIME LC_MONETARY LANG LANGUAGE NLSPATH
TZ AWKPATH AWKLIBPATH AWKBUFSIZE AWK_HASH GAWK_READ_TIMEOUT GAWK_MSG_SRC GAWK_STACKSIZE
GAWK_PERSIST_FILE GAWK_SOCK_RETRIES GAWK_NO_PP_RUN GAWK_LOCALE_DIR TGA_FORCE MAWKBINMODE
MAWK_LONG_OPTIONS WHINY_USERS VERSION_CONTROL SIMPLE_BACKUP_SUFFIX CDPATH FPATH TMOUT
MALLOC_PERTURB_ MALLOC_CHECK_ MALLOC_TRACE BUSYBOX_SUID_WARNING'

sj_tame() {
    # bash has one of its own, which ends its POSIX mode as it goes.
    # shellcheck disable=SC3045
    case $sj_bash in 1) export -n POSIXLY_CORRECT ;; *) unset POSIXLY_CORRECT ;; esac
    unset $sj_names
    LC_ALL=C
    export LC_ALL
}

sj_fail() { # CODE TEXT: the round cannot be served
    printf '%sfailed %s %s\nend\n' "$sj_first" "$1" "$2"
    trap - EXIT
    exit 0
}

sj_beats=0
sj_beat() {
    sj_beats=$((sj_beats + 1))
    case $sj_beats in *[05]0) printf 'beat\n' ;; esac
}

# Write a one-word reason for a failed write, from what a tool said in the C locale.
sj_code() {
    case $1 in
    *[Ss]pace* | *[Qq]uota*) sj_code=ENOSPC ;;
    *ermi* | *ead-only*) sj_code=EACCES ;;
    *) sj_code=EOTHER ;;
    esac
}

sj_read_line() { # FILE: its first line to sj_line
    sj_line=
    [ -r "$1" ] && { read -r sj_line <"$1"; } 2>/dev/null
    return 0
}

sj_passwd() { # FIELD: of this user's line in /etc/passwd to sj_line, 6 home, 7 shell
    sj_uid=$(id -u)
    sj_line=$(awk -F: -v u="$sj_uid" -v f="$1" '$3 == u { print $f; exit }' /etc/passwd)
}

sj_where() { # sj_node, sj_machine, sj_boot
    sj_read_line /proc/sys/kernel/hostname
    [ "$sj_line" ] || sj_line=$(uname -n)
    case $sj_line in *[!A-Za-z0-9._-]* | '') sj_line=unknown ;; esac
    sj_node=$sj_line
    sj_read_line /etc/machine-id
    case $sj_line in *[!A-Za-z0-9]* | '') sj_line=0 ;; esac
    sj_machine=$sj_node-$sj_line
    sj_read_line /proc/sys/kernel/random/boot_id
    [ "$sj_line" ] || sj_line=$(sysctl -n kern.boottime 2>/dev/null | tr -cd '0-9a-f' || :)
    sj_boot=${sj_line:-unknown}
}

# What the host has, found once a boot and kept in <machine>/tools: sj_setsid and
# sj_env (command words or -), sj_dd (it skips and counts bytes), sj_grepz, sj_wc (1 or 0).
sj_tools() {
    sj_renew=''
    sj_read_small "$sj_machine/tools"
    case $sj_line in "$sj_boot 6 "*) ;; *) sj_probe ;; esac
    set -- $sj_line
    sj_setsid=$3 sj_env=$4 sj_dd=$5 sj_grepz=$6 sj_wc=$7
}

sj_probe() {
    # A boot may follow a power failure, and that may leave a file that was renamed into
    # place without its bytes: the runner is written anew when it is next needed.
    sj_renew=1
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
        bc) sj_dd=1 ;;
        esac
        ;;
    esac
    sj_grepz=0
    printf 'a\000b=1\000c\000' | grep -szxo 'b=[0-9]*' 2>/dev/null | tr '\000' ' ' |
        grep -q '^b=1 *$' && [ -r /proc/self/environ ] && sj_grepz=1
    sj_wc=0
    case $(wc --version 2>/dev/null) in *GNU*) sj_wc=1 ;; esac
    sj_probe_ls
    sj_line="$sj_boot 6 $sj_setsid $sj_env $sj_dd $sj_grepz $sj_wc"
    { printf '%s\n' "$sj_line" >"$sj_machine/tools"; } 2>/dev/null
    return 0
}

# GNU ls tells nanoseconds: what it says of a file that is opened anew for writing is the
# time, unless the file system has another clock or a coarse one. Where it is, <machine>/now
# exists.
sj_probe_ls() {
    sj_n=$sj_machine/now
    rm -f "$sj_n"
    { printf '' >"$sj_n" && touch -t 200001010000 "$sj_n" && printf '' >"$sj_n"; } 2>/dev/null
    set -- $(ls -Und --time-style=+%s.%N "$sj_n" 2>/dev/null) $(date +%s)
    case $6 in
    *.000000000 | *[!0-9.]* | '') ;;
    *.?????????) [ $(($# == 8 ? $8 - ${6%.*} : 9)) -le 1 ] && return ;;
    esac
    rm -f "$sj_n"
}

# The base directory: a directory, no symlink, ours, not writable by others; entered
# once, everything below it is named relative to it.
sj_base() {
    case ${HOME-} in
    /*) sj_home=$HOME ;;
    *)
        sj_passwd 6
        sj_home=$sj_line
        ;;
    esac
    case $1 in
    \~) sj_dir=$sj_home ;;
    \~/*) sj_dir=$sj_home/${1#??} ;;
    /*) sj_dir=$1 ;;
    *) sj_dir=$sj_home/$1 ;;
    esac
    case $sj_dir in /*) ;; *) sj_fail EHOME 'HOME is not set and /etc/passwd does not name it' ;; esac
    while :; do case $sj_dir in ?*/) sj_dir=${sj_dir%/} ;; *) break ;; esac; done
    [ -h "$sj_dir" ] && sj_fail EBASE 'the base directory is a symbolic link'
    if [ ! -d "$sj_dir" ]; then
        sj_line=$(mkdir -p -- "$sj_dir" 2>&1) || sj_no_base "$sj_line"
    fi
    CDPATH='' cd -P -- "$sj_dir" >/dev/null 2>&1 || {
        sj_line=$(CDPATH='' cd -P -- "$sj_dir" 2>&1 || exit)
        sj_no_base "$sj_line"
    }
    sj_dir=$PWD
    [ -O . ] || sj_fail EBASE 'the base directory belongs to somebody else'
    sj_j=$sj_machine/journal
    for sj_i in jobs keys gone new "$sj_machine" layout "$sj_j" "$sj_machine/now" \
        "$sj_machine/tools" "$sj_machine/swept"; do
        case $sj_i in
        layout | */*) sj_regular "$sj_i" ;;
        *) [ ! -h "$sj_i" ] && { [ -d "$sj_i" ] || [ ! -e "$sj_i" ]; } ;;
        esac || sj_fail EBASE "a symbolic link, or nothing of ours, stands in the base directory: $sj_i"
    done
    if [ ! -d jobs ] || [ ! -d new ] || [ ! -d "$sj_machine" ]; then
        sj_line=$(mkdir -p jobs keys gone new "$sj_machine" 2>&1) ||
            sj_no_base "$sj_line"
    fi
}

sj_no_base() {
    sj_code "$1"
    sj_fail "$sj_code" "the base directory cannot be made: ${1##*: }"
}

sj_enter() { # BASE ID ... of jobs whose records may be read without an awk
    sj_tame
    sj_path=${PATH-/usr/local/bin:/usr/bin:/bin}
    PATH=/usr/bin:/bin:$sj_path
    for sj_i in awk cat date dd find head id ln ls mkdir mv rm sed sleep tail tr; do
        command -v $sj_i >/dev/null 2>&1 || sj_fail ETOOL "there is no $sj_i on the host"
    done
    sj_where
    sj_base "$1"
    shift
    sj_look "$@"
    sj_read_small layout
    case $sj_line in
    1) ;;
    '') { printf '1\n' >layout; } 2>/dev/null ;;
    *) sj_fail EVERSION 'a newer sshjobs has used the base directory' ;;
    esac
    sj_tools
}

# One ls tells whether the base is sound, where the journal ends, which records are small
# enough to be read here, a byte at a time, and mostly what time it is: sj_mode of the base,
# sj_inode and sj_size of the journal, sj_small, sj_now (seconds), sj_offset (hundredths to
# add to /proc/uptime). BusyBox date has no %N, BSD date prints it as it stands.
sj_look() { # ID ...
    sj_offset=none sj_i=''
    [ -f "$sj_j" ] || { printf '\n' >>"$sj_j"; } 2>/dev/null
    for sj_n; do
        sj_n=jobs/$sj_n/run
        [ -f "$sj_n" ] && sj_regular "$sj_n" && sj_i="$sj_i $sj_n"
    done
    sj_i=". $sj_j layout $sj_machine/tools $sj_machine/swept$sj_i" sj_cs=''
    [ -f "$sj_machine/now" ] && { printf '' >"$sj_machine/now"; } 2>/dev/null && {
        sj_read_line /proc/uptime
        sj_sizes 8 $(ls -Unid --time-style=+%s%N $sj_i "$sj_machine/now" 2>/dev/null)
    }
    if [ -z "$sj_cs" ]; then
        sj_sizes 10 $(ls -lnid $sj_i 2>/dev/null)
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

sj_sizes() { # WORDS (in a line), and the lines of an ls
    sj_n=$1 sj_mode='' sj_inode=none sj_size=0 sj_small=' '
    shift
    while [ $# -ge "$sj_n" ]; do
        sj_l=$8
        [ "$sj_n" = 8 ] || sj_l=${10}
        case $sj_l in
        .) sj_mode=$2 ;;
        "$sj_j") sj_inode=$1 sj_size=$6 ;;
        */now) sj_cs=$7 ;;
        *) [ "$6" -lt 65536 ] && sj_small="$sj_small$sj_l " ;;
        esac
        shift "$sj_n"
    done 2>/dev/null
}

sj_read_small() { # FILE: its first line to sj_line, if it is a small file
    sj_line=''
    case $sj_small in *" $1 "*) sj_read_line "$1" ;; esac
}

# The journal's inode is its generation. Past 4 MB it is put aside; a gap only costs a
# sweep.
sj_journal() { # what was read so far: sj_gen, sj_from
    case $sj_mode in
    d????-??-*) ;;
    *) sj_fail EBASE 'the base directory is writable by others' ;;
    esac
    sj_sweep=0
    [ "$sj_inode" = "$sj_gen" ] && [ "$sj_from" -le "$sj_size" ] &&
        [ $((sj_size - sj_from)) -lt 1048576 ] || sj_sweep=1
    sj_gen=$sj_inode
    if [ "$sj_size" -gt 4194304 ]; then
        mv -f "$sj_j" "$sj_j.old"
        { printf '\n' >>"$sj_j"; } 2>/dev/null
        sj_gen=moved sj_size=0
    fi
    printf '%sjournal %s %s\n' "$sj_first" "$sj_gen" "$sj_size"
    sj_first=''
}

#: judge, where something is asked about

# The evidence. Lines come in, one a question:
#   c ID PID START       how does this job do? PID - : not known to run
#   s ID - -             the same, of a job that was just started or killed
#   w ID SHA N WINNER DIGEST   a key: prints the line again with a state word, see sj_keys
#   r WINNER SHA N       the end of a reaped job, from its key's record
#   l ID SIZE            list it; SIZE of its log
#   f ID PID START       a person knows that it is gone: lost, unless it is seen to run
#   d ID - -             it was to end while this machine could not be reached
# and frames go out. A process counts as alive if its start time is the recorded one and
# it is no zombie. The runner is looked at first and `exit` after it, so that a runner
# that ends in between is not taken for lost. Only for those whose runner is gone without
# an `exit` are all processes listed, once for all of them: by session, group and mark.
# For a job that is as it was (the first lines of `run` as the asker knows them) that is
# all that is read. judge() says the state of one job as frames, unless quiet; settle()
# follows it for those that needed the listing. A damaged record is told as far as it goes:
# num() and sec() keep from the asker what is no number.
sj_evidence='
function rd(f,  l, i, k, r) {
    split("", F)
    i = -1
    if (f in BAD) return 1
    while ((r = (getline l < f)) >= 0) {
        i = 1
        if (!r) break
        if (l == "end=") { F["end"] = 1; break }
        k = index(l, "=")
        if (k > 1 && !(substr(l, 1, k - 1) in F)) F[substr(l, 1, k - 1)] = substr(l, k + 1)
    }
    close(f)
    return i
}
# Which of the records in WHERE are none: no regular file, or larger than any. new/ is always
# said, as the last; without it the look was not whole.
function odd(where,  c, l, a) {
    c = "exec find" where " new ! -name . -prune ! -name log ! -name script ! -name stdin ! -name env \\( ! -type f -o -size +2048 \\) -print 2>/dev/null"
    while ((c | getline l) > 0) {
        sub(/\/\.\//, "/", l)
        if (l ~ /^[gk]|\/(run|lost|exit|spec|again|cancel)$/) BAD[l]
        a = l
    }
    close(c)
    if (a != "new") exit broken = 3
}
function has(f,  l, r) { r = f in BAD || (getline l < f) >= 0; close(f); return r }
function val(k) { return (k in F) && F[k] != "" ? F[k] : "-" }
# What goes out is bounded here, since one record that was spoilt must not spoil the reply:
# texts, words as the client has escaped them, words of our own, and numbers, which go out
# as they stand or not at all: mawk says 3e+09 for what is above 2^31 once it has counted
# with it.
function txt(k,  t) { t = (k in F) ? substr(F[k], 1, 1000) : ""; gsub(/[^ -~]/, "?", t); return t }
function word(k,  t) {
    t = (k in F) ? substr(F[k], 1, 9000) : ""
    gsub(/\047/, "", t)
    gsub(/[^!-~]/, "?", t)
    return t == "" ? "-" : t
}
function plain(k,  t) { t = substr(word(k), 1, 64); gsub(/[^A-Za-z0-9._:+-]/, "_", t); return t }
function num(k, other, most) { return (k in F) && F[k] ~ /^[0-9]+$/ && length(F[k]) < 16 && F[k] + 0 <= most ? F[k] : other }
function real(k, other) { return (k in F) && F[k] ~ /^[0-9]+(\.[0-9]*)?$/ && length(F[k]) < 25 && F[k] + 0 < 1e11 ? F[k] : other }
function say(s) { print s; said++ }
function alive(p, s) {
    if (!(p ~ /^[0-9]+$/)) return 0
    if (!proc) { list(); return (p in ST) && ST[p] == s }
    return stat(p) && V[20] == s
}
function look(  p) {
    if (looked) return
    looked = 1
    if (!list() || !marks()) { blind = 1; return }
    for (p in MARK) MK[MARK[p]] = 1
}
# A leader that is there tells whether the group is the job of old, whoever it has become; of
# a group without one our own processes do.
function tree(id, g, gs, gb,  n, i, a) {
    if (id in MK) return 1
    if (!(g ~ /^[0-9]+$/) || g + 0 < 2) return 0
    # The leader of the group to be is the job before it has its group and its mark.
    if (proc && (g in ST)) return gb == "-" ? near(ST[g], gs) : ST[g] == gb
    n = split(IN[g], a, " ")
    for (i = 1; i <= n; i++) if (own(a[i])) return 1
    return 0
}
function started(id, at) {
    say("started " id " " num("pid", 0, 2e9) " " num("pgid", 0, 2e9) " " plain("start") " " plain("boot_id") " " plain("node") " " real("started_at", now))
}
function ended(id) {
    say("ended " id " " num("status", "-", 255) " " num("signal", "-", 127) " " plain("cause") " " real("started_at", "-") " " real("finished_at", "-") " " num("log_bytes", 0, 1e15) " " txt("reason"))
}
function lost(id) {
    if (val("cause") == "cancelled") { ended(id); return "CANCELLED" }
    say("lost " id " " txt("reason"))
    return "LOST"
}
function endword() {
    if (val("cause") == "cancelled") return "CANCELLED"
    if (val("cause") == "timeout") return "TIMEOUT"
    return val("status") == "0" ? "COMPLETED" : "FAILED"
}
function finish(id, d, new) {
    if (rd(d "lost") >= 0 && ("end" in F)) { state = quiet ? "LOST" : lost(id); return 1 }
    if (rd(d "exit") >= 0 && ("end" in F) || rd(d "run") >= 0 && ("end" in F)) {
        state = endword()
        if (quiet) return 1
        if (new && val("pid") != "-") started(id)
        ended(id)
        return 1
    }
    return 0
}
function suspect(id, why, new) {
    if (!(id in SU)) order[++sus] = id
    SU[id] = why
    SN[id] = new
    PG[id] = val("pgid") == "0" ? val("job_pid") : val("pgid")
    JS[id] = val("start")
    JB[id] = val("born")
    # Its runner died in the instant after the fork, and wrote no number down: the child has
    # a moment to show its mark.
    JY[id] = ("started_at" in F) && !("pgid" in F) && now - F["started_at"] < grace
}
function line(f, want,  l) { return (getline l < f) > 0 && l == want }
function asked(id, pid, start,  f, r) {
    f = "jobs/" id "/run"
    r = !(f in BAD) && line(f, "machine=" machine) && line(f, "boot_id=" boot) && line(f, "pid=" pid) && line(f, "start=" start)
    close(f)
    return r
}
# It was told to end where this machine could not be reached, or its killer has died.
function due(id, d,  l, a) {
    if (quiet || !((id in K) || sweep) || !has(d "cancel") || has(d "killed")) return
    while ((getline l < (d "cancel")) > 0) if (l ~ /^killer=/) split(substr(l, 8), a, " ")
    close(d "cancel")
    if (!(a[1] != "" && alive(a[1], a[2]))) say("due " id)
}
function judge(id, pid, start,  d, new, p, s, at) {
    d = "jobs/" id "/"
    new = (pid == "-")
    state = ""
    AP[id] = pid
    AS[id] = start
    if (rd(d "run") < 0) { unstarted(id, d, new); return }
    if (new || sweep || (id in J) || F["pid"] != pid) {
        if (finish(id, d, new)) return
        rd(d "run")
    }
    new = new || F["pid"] != pid
    if (!ours()) {
        if (!finish(id, d, new)) {
            rd(d "run")
            if (id in FG) { doubt(id, "forgotten", new); return }
            state = "RUNNING"
            if (!quiet) { if (new) started(id); say("elsewhere " id " " plain("node")) }
        }
        return
    }
    p = F["pid"]
    s = F["start"]
    if (("boot_id" in F) && F["boot_id"] != boot) {
        if (!finish(id, d, new)) { rd(d "run"); doubt(id, "boot", new) }
        return
    }
    if (("started_at" in F) && alive(p, s)) {
        state = "RUNNING"
        if (new && !quiet) started(id)
        if (!new) due(id, d)
        return
    }
    if (finish(id, d, new)) return
    rd(d "run")
    if (!("started_at" in F)) {
        p = rd(d "spec")
        at = F["sj_at"]
        if (rd(d "again") >= 0 && F["sj_at"] > at) at = F["sj_at"]
        if (now - at < grace) {
            state = "PENDING"
            if (!quiet) say("prepared " id)
            return
        }
        rd(d "run")
    }
    doubt(id, "gone", new)
}
function buried(id) {
    if (rd("gone/" id) < 0) return 0
    state = "GONE"
    if (!quiet) {
        if (("status" in F) || val("cause") == "cancelled") ended(id)
        say("reaped " id)
    }
    return 1
}
function unstarted(id, d, new) {
    if (finish(id, d, 0)) return
    if (rd(d "spec") >= 0) {
        # Nobody takes back a claim that the asker has heard of: a disk that lost its power
        # can forget it. The grace is for a directory that is just being removed.
        if (!new && now - F["sj_at"] >= grace) { doubt(id, "record", 0); return }
        state = "PENDING"
        if (!quiet) say("prepared " id)
        return
    }
    if (buried(id)) return
    if (id in FG) { say("lost " id " declared lost by a person; the host has no directory of it"); return }
    state = "MISSING"
    if (!quiet) say("missing " id)
}
function doubt(id, why, new) {
    state = "DOUBT"
    suspect(id, why, new)
}
function settle(  i, id, d, why, open) {
    for (i = 1; i <= sus; i++) {
        id = order[i]
        d = "jobs/" id "/"
        why = SU[id]
        open = (why != "boot" && why != "forgotten")
        if (open) look()
        if (open && blind && (id in FG)) { open = 0; why = "forgotten" }
        if (open && blind) {
            if (finish(id, d, SN[id])) { VERDICT[id] = state; continue }
            VERDICT[id] = "RUNNING"
            if (quiet) continue
            if (SN[id] && rd(d "run") >= 0) started(id)
            say("unseen " id " its supervisor is gone, and the processes of the host could not be listed")
            continue
        }
        if (open && (JY[id] || tree(id, PG[id], JS[id], JB[id]))) {
            VERDICT[id] = "RUNNING"
            if (quiet) continue
            if (SN[id] && rd(d "run") >= 0) started(id)
            say("unsupervised " id)
            if (id in FG) say("unforgotten " id " processes of it run there")
            if (!SN[id]) due(id, d)
            continue
        }
        if (finish(id, d, SN[id])) { VERDICT[id] = state; continue }
        # Reaped by somebody else meanwhile: the tombstone knows more than what is left.
        if (buried(id)) { VERDICT[id] = state; continue }
        # Where `run` says nothing, the runner that the asker knows may still be there.
        if (open && alive(AP[id], AS[id])) {
            VERDICT[id] = "RUNNING"
            if (id in FG) say("unforgotten " id " its supervisor runs there")
            continue
        }
        VERDICT[id] = has(d "cancel") && why != "forgotten" ? "CANCELLED" : "LOST"
        if (SN[id] && !quiet && rd(d "run") >= 0 && ("pid" in F)) started(id)
        print id, why | ENVIRON["SJ_LOSER"]
    }
    if (sus) { fflush(); close(ENVIRON["SJ_LOSER"]) }
}
function forget(id, pid, start) {
    FG[id] = 1
    judge(id, pid, start)
    if (state == "RUNNING") say("unforgotten " id " it runs there")
    if (state == "PENDING") say("unforgotten " id " it has not begun there")
}
# Whether what was to end runs here, whatever was recorded of it meanwhile.
function stands(id,  d, p, s) {
    d = "jobs/" id "/"
    if (rd(d "exit") >= 0 && ("end" in F) || has(d "killed") || !has(d "cancel")) return 0
    if (rd(d "run") < 0 || ("end" in F) || !ours() || F["boot_id"] != boot) return 0
    p = F["pid"]
    s = F["start"]
    if (alive(p, s)) return 1
    look()
    return blind || tree(id, val("pgid") == "0" ? val("job_pid") : val("pgid"), s, val("born"))
}
BEGIN {
    if (tail != "") {
        while ((tail | getline l) > 0) {
            n = split(l, a, " ")
            if (n == 3 && a[1] ~ /^[EK]$/ && a[3] == ".") { J[a[2]] = 1; if (a[1] == "K") K[a[2]] = 1 }
        }
        if (close(tail)) exit broken = 3
    }
}
# Who runs as before is told by `run` alone; of all others every record is looked at first.
function still() { return $1 == "c" && $3 != "-" && !sweep && !($2 in J) }
function gather(paths) { some = some paths; if (length(some) > 100000) flush() }
function flush() { if (some != "") odd(some); some = "" }
function answer(  d) {
    if ($1 == "c" || $1 == "s") judge($2, $3, $4)
    if ($1 == "f") forget($2, $3, $4)
    if ($1 == "d") {
        if (stands($2)) { K[$2] = 1; due($2, "jobs/" $2 "/") }
        else print $2, "settled" | ENVIRON["SJ_LOSER"]
    }
    if ($1 == "r" && rd("keys/" $3 "/" $4) >= 0 && ("state" in F)) {
        if (F["state"] == "LOST") say("lost " $2 " it was lost, and its directory was reaped")
        else ended($2)
    }
    if ($1 == "w") {
        quiet = 1
        judge($5, "-", "-")
        W[++ws] = $2 " " $3 " " $4 " " $5
        WS[ws] = state
        WD[ws] = $6
    }
    if ($1 != "l") return
    d = "jobs/" $2 "/"
    if (rd(d "spec") < 0 && rd(d "exit") < 0 || !("sj_ok" in F) && !("end" in F)) { say("odd " $2 " no whole job"); return }
    L[++ls] = $2
    LR[ls] = $3 " " plain("sj_digest") " " word("sj_name") " " word("sj_keyword")
    LA[ls] = real("sj_at", now)
    quiet = 1
    judge($2, "-", "-")
    LS[ls] = state
}
/^[cdflrsw] / { Q[++qs] = $0; if (still()) gather(" jobs/" $2 "/run") }
END {
    if (broken) exit broken
    flush()
    for (i = 1; i <= qs; i++) {
        $0 = Q[i]
        if (still() && asked($2, $3, $4) && alive($3, $4)) Q[i] = ""
        else if ($1 == "r") gather(" keys/" $3 "/" $4)
        else gather($1 == "w" ? " keys/" $3 "/" $4 " jobs/" $5 "/. gone/" $5 : " jobs/" $2 "/. gone/" $2)
    }
    flush()
    for (i = 1; i <= qs; i++) {
        if (i % 50 == 0 && !keys) { print "beat"; fflush() }
        $0 = Q[i]
        answer()
    }
    settle()
    for (i = 1; i <= ws; i++) {
        split(W[i], a, " ")
        s = WS[i]
        if (s == "DOUBT") s = VERDICT[a[4]]
        same = (rd("keys/" a[2] "/" a[3]) >= 0 && F["digest"] == WD[i])
        if (s == "MISSING" || s == "GONE") s = F["state"] ~ /^[A-Z]+$/ ? F["state"] : (s == "GONE" ? "CANCELLED" : "LOST")
        print a[1], a[2], a[3], a[4], s, same
    }
    quiet = 0
    for (i = 1; i <= ls; i++) {
        id = L[i]
        s = LS[i]
        if (s == "DOUBT") s = VERDICT[id]
        rd("jobs/" id "/run")
        say("listed " id " " s " " (now - LA[i]) " " plain("node") " " LR[i])
        new = ("started_at" in F)
        if (s == "RUNNING" || s == "PENDING") { if (new) started(id) }
        else finish(id, "jobs/" id "/", new)
    }
}
'

# Records what is judged lost, for every machine to agree on, and says it. A cancelled
# job whose runner is gone as well was cancelled, not lost.
sj_loser='
case ${BASH_VERSION+x}${BASH_VERSINFO+x} in xx) unset -f [ ;; esac
set -C
whole() {
    [ -f "$1" ] && [ ! -h "$1" ] || return
    case $(dd if="$1" bs=65536 count=1 2>/dev/null) in
    *"
end=" | *"
end=
"*) ;;
    *) return 1 ;;
    esac
}
# The machine that runs it may come back: its next round finds the mark, and ends it.
stand() {
    m=
    n=
    [ -f "$d/run" ] && [ ! -h "$d/run" ] || return
    for l in $(dd if="$d/run" bs=65536 count=1 2>/dev/null); do
        case $l in
        machine=[A-Za-z0-9_]*) [ "$m" ] || m=${l#machine=} ;;
        node=*) [ "$n" ] || n=${l#node=} ;;
        esac
    done
    case $n in *[!A-Za-z0-9._-]*) n= ;; esac
    case $m in *[!A-Za-z0-9._-]* | "") return ;; esac
    [ -h "$d" ] || [ -h "$d/cancel" ] || { printf "" >"$d/cancel"; } 2>/dev/null
    [ -h "$m" ] || [ ! -d "$m" ] || [ -h "$m/due" ] || {
        [ -d "$m/due" ] || mkdir "$m/due"
        printf "" >"$m/due/$id"
    } 2>/dev/null
}
while read -r id why; do
    d=jobs/$id
    c=
    case $why in
    settled) rm -f "$SJ_DUE/$id"; continue ;;
    forgotten) stand; r="declared lost by a person${n:+, who knows that $n is gone}" ;;
    boot) r="the host was rebooted while it ran" ;;
    record) r="its record vanished from the host, as after a loss of power" ;;
    *) r="its processes vanished without a record of their end" ;;
    esac
    if [ "$why" != forgotten ] && [ -e "$d/cancel" ]; then c=cancelled; r="cancelled; its supervisor was gone"; fi
    # Its runner may have died before it removed what it had read.
    [ ! -e "$d/env" ] || rm -f "$d/env"
    if [ -d "$d" ] && [ ! -h "$d/lost" ] && { [ -f "$d/lost" ] || [ ! -e "$d/lost" ]; } && ! whole "$d/exit"; then
        t="cause=$c\nfinished_at=$SJ_NOW\nreason=$r\nid=$id\nend=\n"
        { printf "$t" >"$d/lost"; } 2>/dev/null || whole "$d/lost" ||
            { printf "\n$t" >>"$d/lost"; } 2>/dev/null
    fi
    [ "$SJ_QUIET" ] && continue
    case $c in
    cancelled) printf "ended %s - - cancelled - %s 0 %s\n" "$id" "$SJ_NOW" "$r" ;;
    *) printf "lost %s %s\n" "$id" "$r" ;;
    esac
done
'

sj_judge() { # QUIET QUESTIONS
    printf '%s\n' "$2" | SJ_LOSER=$sj_loser SJ_NOW=$sj_now SJ_DUE=$sj_machine/due SJ_QUIET=$1 awk \
        -v machine="$sj_machine" -v boot="$sj_boot" -v now="$sj_now" -v proc="$sj_proc" \
        -v grepz="$sj_grepz" -v sweep="$sj_sweep" -v grace="$sj_grace" -v keys="$1" \
        -v tail="$sj_tail" -v self="$$" -v offset="$sj_offset" \
        "$sj_table$sj_evidence"
}

#: runs, where something is to be started or killed

# What the tools must not see is set aside for the jobs, which are given it back.
sj_keep() {
    sj_had=''
    case ${TMOUT-} in 0) unset TMOUT ;; esac # ksh93 has one by itself
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

sj_is_burst() { if [ $# -gt 32 ]; then sj_burst=1; else sj_burst=-; fi; }

# Detached processes get what they need on stdin: tools, place, clock, then lines of ids.
sj_detach() { # MODE LINES
    sj_run=runner-$sj_hash
    [ -d "$sj_run" ] && return 1
    if [ "$sj_renew" ] || [ ! -s "$sj_run" ] || ! sj_regular "$sj_run"; then
        sj_renew=
        { printf '%s\n' "$sj_runner" >"$sj_tmp.run"; } 2>/dev/null &&
            mv -f "$sj_tmp.run" "$sj_run" || {
            rm -f "$sj_tmp.run"
            [ -s "$sj_run" ] || return 1
        }
    fi
    [ "$sj_setsid" = - ] || set -- "$1" "$2" "$sj_setsid"
    sj_is_burst $2
    case $1$sj_burst in
    # Each runner holds on to stderr until its record stands: then there is an end of it.
    s-) sj_l=$(sj_tell_all "$2" | ${3-} "$sj_sh" "./$sj_run" s 2>&1 >/dev/null) ;;
    *) sj_tell_all "$2" | ${3-} "$sj_sh" "./$sj_run" "$1" >/dev/null 2>&1 ;;
    esac
}

sj_tell_all() { # LINES
    printf '%s\n' "$sj_machine $sj_boot $sj_node $sj_offset $sj_umask $sj_setsid $sj_env $sj_grepz $sj_wc $sj_burst $sj_proc" \
        "$sj_shell" "$sj_home" "$sj_dir" "$sj_path" "$sj_sh" $1
}

# Cancel markers first, one killer for all. A job that no runner has claimed is claimed
# by one that finds the marker and publishes the end. What does not exist gets a
# tombstone, and then one more look, since a slower round may just be making it.
sj_kill() { # IDS
    sj_k='' sj_claim=''
    for sj_i; do
        sj_d=jobs/$sj_i
        sj_beat
        if [ ! -d "$sj_d" ]; then
            sj_reaped "$sj_i" && {
                printf 'killsent %s\n' "$sj_i"
                continue
            }
            sj_cancelled "$sj_i"
            [ -d "$sj_d" ] || {
                [ -e "gone/$sj_i" ] && printf 'killmissing %s\n' "$sj_i"
                continue
            }
        fi
        if ! sj_is_whole "$sj_d/exit" && { [ -e "$sj_machine/due/$sj_i" ] || ! sj_is_whole "$sj_d/lost"; }; then
            [ ! -e "$sj_d/killed" ] || [ -h "$sj_d" ] || rm -rf "$sj_d/killed"
            if [ -h "$sj_d" ]; then
                sj_k="$sj_k $sj_i" # whoever moved it gets no file of ours
            elif ! [ -e "$sj_d/cancel" ] && ! { rm -f "$sj_d/cancel" && printf '' >"$sj_d/cancel"; } 2>/dev/null &&
                ! mv -f "$sj_d/script" "$sj_d/cancel" 2>/dev/null; then
                printf 'beat\n' # not even room for the marker: it is asked again
                continue
            elif [ -e "$sj_d/run" ]; then
                sj_is_near "$sj_i" && sj_k="$sj_k $sj_i"
            else
                sj_claim="$sj_claim $sj_i:1"
            fi
        fi
        case " $sj_k " in *" $sj_i "*) ;; *) printf 'killsent %s\n' "$sj_i" ;; esac
        sj_ask="$sj_ask
s $sj_i - -"
    done
    # It is said once a killer is there; without one it is asked for again.
    if [ -z "$sj_k" ]; then
        :
    elif sj_detach k "$sj_k"; then
        printf 'killsent %s\n' $sj_k
    else
        sj_to_kill=$sj_k
        sj_kill_bare
    fi
    sj_to_kill=''
    [ "$sj_claim" ] || return 0
    sj_detach s "$sj_claim"
    sj_await $sj_claim
    for sj_i in $sj_claim; do sj_unmake "${sj_i%:*}"; done
}

# Whether a job may run here. If another machine has it, the marker that stands on the shared
# home is for that one: its journal tells whoever reads there.
sj_is_near() { # ID
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
    case ${sj_there##*-} in
    *[!0]*) [ "${sj_there##*-}" = "${sj_machine##*-}" ] ;;
    *) return 1 ;;
    esac
}

# No process is left that could look for what is to end: the groups are told by builtins, and
# ended if they were told longer ago than the grace.
sj_kill_bare() {
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
        sj_grace_of "$sj_victim"
        if [ -z "$sj_told_up" ]; then
            sj_regular "jobs/$sj_victim/cancel" &&
                { printf 'up=%s\n' "$sj_now_up" >>"jobs/$sj_victim/cancel"; } 2>/dev/null
            sj_signal_groups TERM "$sj_victim"
            sj_signal_groups CONT "$sj_victim"
        elif [ $((sj_now_up * 100 - sj_told_up * 100)) -ge "$sj_hundredths" ]; then
            sj_signal_groups KILL "$sj_victim"
        fi
    done
}

sj_cancelled() { # ID: its tombstone
    sj_regular "gone/$1" && { printf 'cause=cancelled\nuntil=%s\n' "$((${sj_now%.*} + sj_gone_ttl))" >"gone/$1"; } 2>/dev/null
}

# Where there is no room for a claim, nobody can publish that a job was cancelled which
# never started. Its directory is put out of reach then, by renames alone, and the
# tombstone tells. That stands first: a runner looks for it between claim and start.
sj_unmake() { # ID
    [ -e "jobs/$1/run" ] && return
    { printf '%300s' '' >"$sj_tmp.room"; } 2>/dev/null
    sj_n=$?
    rm -f "$sj_tmp.room"
    [ $sj_n -eq 0 ] && return
    [ -e "gone/$1" ] || mv -f "jobs/$1/script" "gone/$1" 2>/dev/null ||
        mv -f "jobs/$1/spec" "gone/$1" 2>/dev/null || return
    sj_l=$sj_tmp.$1
    mv "jobs/$1" "$sj_l" 2>/dev/null || return
    if [ -e "$sj_l/run" ]; then
        mv "$sj_l" "jobs/$1"
        return
    fi
    rm -rf "$sj_l"
    sj_cancelled "$1"
    printf 'killmissing %s\n' "$1"
}

# Starting, some at a time, so that the first run while the last are prepared: one mkdir
# for their directories under a temporary name, a few builtin writes each, one mv that
# renames them into place (it refuses to replace one that is there).
sj_mkdir() { # IDS
    sj_t=$sj_tmp.$1
    sj_mk=$sj_t
    for sj_i; do
        if [ -d "jobs/$sj_i" ] && sj_can_start "$sj_i"; then
            sj_old="$sj_old $sj_i"
        elif [ -e "gone/$sj_i" ]; then
            sj_reaped "$sj_i" || printf 'refused %s EGONE cancelled before\n' "$sj_i"
        else
            sj_mk="$sj_mk $sj_t/$sj_i"
        fi
    done
    mkdir $sj_mk 2>/dev/null
    return 0
}

# A directory that no runner has claimed, and none can, for its files were lost or spoilt as
# by a loss of power, makes way for a new one; by a rename, since one may just have done so.
sj_can_start() { # ID
    [ -e "jobs/$1/run" ] || [ -h "jobs/$1" ] && return 0
    sj_l=''
    for sj_n in spec script; do [ -f "jobs/$1/$sj_n" ] && sj_regular "jobs/$1/$sj_n" || sj_l=1; done
    for sj_n in env stdin claim; do sj_regular "jobs/$1/$sj_n" || sj_l=1; done
    [ "$sj_l" ] || case $(tail -c 23 "jobs/$1/spec") in *sj_ok="$1") return 0 ;; esac
    mv "jobs/$1" "$sj_tmp.odd.$1" 2>/dev/null || return 0
    [ -e "$sj_tmp.odd.$1/run" ] && mv "$sj_tmp.odd.$1" "jobs/$1"
    rm -rf "$sj_tmp.odd.$1"
    [ -d "jobs/$1" ]
}

sj_reaped() { # ID: it ran and was reaped; the tombstone, which says how it ended, is asked
    sj_l=''
    [ -f "gone/$1" ] && sj_l=$(dd if="gone/$1" bs=300 count=1 2>/dev/null)
    case $sj_l in
    cause=*"
status="*)
        sj_ask="$sj_ask
s $1 - -"
        ;;
    *) return 1 ;;
    esac
}

sj_job() { # ID SPEC SCRIPT ENV STDIN KEYHASH DIGEST ONCE SHELL
    sj_beat
    if [ ! -d "jobs/$1" ]; then
        [ -e "gone/$1" ] && return
        if ! sj_has_shell "$9"; then
            printf 'refused %s ESHELL no such shell: %s\n' "$1" "$9"
            rm -rf "${sj_t:?}/$1"
            return
        fi
        sj_write "$@" || {
            sj_refuse "$1" "$sj_t"
            rm -rf "${sj_t:?}/$1"
            return
        }
    fi
    if [ "$6" ]; then
        sj_keyed="$sj_keyed $1:$6:$7:$8"
        sj_shas="$sj_shas keys/$6"
    else
        sj_plain="$sj_plain $1"
    fi
}

sj_has_shell() { # WORDS: a shell and its flags, - for the login shell
    case $1 in '' | -*) return 0 ;; esac
    command -v -- "$1" >/dev/null 2>&1 || command -v -- "${1%% *}" >/dev/null 2>&1
}

sj_write() { # the arguments of sj_job
    sj_d=$sj_t/$1
    {
        printf '%s\n' "$3" >"$sj_d/script" || return
        [ -z "$4" ] || printf '%s\n' "$4" >"$sj_d/env" || return
        [ -z "$5" ] || printf "$5" >"$sj_d/stdin" || return
        [ -z "$6" ] || printf 'id=%s\ndigest=%s\n' "$1" "$7" >"$sj_d/claim" || return
        printf '%s\nsj_at=%s\nsj_ok=%s\n' "$2" "$sj_now" "$1" >"$sj_d/spec"
    } 2>/dev/null
}

# Says of a job that it cannot be written, and why. The printf of dash only knows "I/O
# error" (0.5.12), so dd is asked what is wrong with the place.
sj_refuse() { # ID DIRECTORY
    [ -d "$2" ] || set -- "$1" new
    sj_err=$(dd if=/dev/zero of="$2/probe" bs=9000 count=1 2>&1) && sj_err=''
    rm -f "$2/probe"
    sj_err=${sj_err%%"
"*}
    sj_code "$sj_err"
    sj_err=${sj_err##*: }
    printf 'refused %s %s %s\n' "$1" "$sj_code" "${sj_err:-its files cannot be written}"
}

sj_start() {
    set -- "$sj_t"/*
    [ -e "$1" ] && mv -f -- "$@" jobs/ 2>/dev/null
    rm -rf "$sj_t" >/dev/null 2>&1 & # nobody need wait for that
    sj_go=''
    for sj_i in $sj_plain; do sj_ready "$sj_i" 1; done
    [ "$sj_keyed" ] && {
        mkdir -p $sj_shas 2>/dev/null
        sj_keys
    }
    [ "$sj_go" ] && {
        if sj_detach s "$sj_go"; then
            sj_due="$sj_due$sj_go"
        else
            for sj_i in $sj_go; do sj_take_back "${sj_i%%:*}"; done
        fi
    }
    sj_plain='' sj_keyed='' sj_shas='' sj_drop=''
}

# The launcher could not do its work, or not all of it. A job that nothing has claimed is
# taken out of reach by one rename, which asks no disk for room; what was claimed after
# all goes back and is asked about like any other.
sj_take_back() { # ID
    [ -e "jobs/$1/run" ] && return
    if mv "jobs/$1" "$sj_tmp.$1" 2>/dev/null; then
        if [ -e "$sj_tmp.$1/run" ]; then
            mv "$sj_tmp.$1" "jobs/$1"
            return
        fi
        rm -rf "$sj_tmp.$1"
        sj_refuse "$1" new
    fi
}

sj_ready() { # ID ATTEMPT: to be started unless it was; asked about in any case
    if [ -d "jobs/$1" ]; then
        [ -e "jobs/$1/run" ] || {
            # Its grace begins anew: a claim whose record is still being written is not
            # to be judged by the age of a directory that was prepared long ago.
            case " $sj_old " in *" $1 "*)
                sj_regular "jobs/$1/again" &&
                    { printf 'sj_at=%s\n' "$sj_now" >"jobs/$1/again"; } 2>/dev/null
                ;;
            esac
            sj_go="$sj_go $1:$2"
        }
        sj_ask="$sj_ask
s $1 - -"
    else
        sj_refuse "$1" jobs
    fi
}

# Runners claim within milliseconds; a short wait saves the next round.
sj_await() { # ID:ATTEMPT ...
    for sj_n in .001 .001 .002 .003 .005 .01 .02 .03 .04 .05 .05 .05 .05 .05; do
        while [ $# -gt 0 ] && [ -s "jobs/${1%%:*}/run" ]; do shift; done
        [ $# -eq 0 ] && return
        sleep "$sj_n" 2>/dev/null || return
    done
}

# Who follows a job wants to hear of its end: one that ends in 50 ms costs no further
# session. Nobody else is kept waiting, since this is for a few jobs only.
sj_await_ends() { # IDS
    for sj_n in .002 .003 .005 .01 .01 .01 .01; do
        while [ $# -gt 0 ] && { [ -e "jobs/$1/exit" ] || [ ! -d "jobs/$1" ]; }; do shift; done
        [ $# -eq 0 ] && return
        sleep "$sj_n" 2>/dev/null || return
    done
}

# Keys. keys/<sha>/<n> is a hard link to the claim file of the job that holds attempt n:
# link(2) is atomic, and the claim is whole before it has that name. Who finds a holder
# that is active or completed joins it; after a bad end the next attempt is claimed, or
# the whole look is repeated if somebody else was faster.
sj_keys() {
    sj_todo=$sj_keyed sj_huge=''
    for sj_n in 1 2 3 4 5 6 7 8; do
        sj_q='' sj_again=''
        for sj_i in $sj_todo; do sj_key_look "$sj_i"; done
        [ "$sj_q" ] || break
        sj_out=$(sj_tail='' sj_judge 1 "$sj_q") || { sj_broken='awk or find' && break; }
        set -- $sj_out
        while [ $# -ge 6 ]; do
            sj_key_judge "$1" "$2" "$3" "$4" "$5" "$6"
            shift 6
        done
        sj_todo=$sj_again
        [ "$sj_todo" ] || break
    done
    [ "$sj_drop" ] && rm -rf -- $sj_drop
    return 0
}

sj_key_look() { # ID:SHA:DIGEST:ONCE
    sj_l=$1
    sj_id=${1%%:*} sj_l=${sj_l#*:}
    sj_sha=${sj_l%%:*} sj_l=${sj_l#*:}
    sj_digest=${sj_l%%:*}
    sj_a=1 sj_holder='' sj_mine=''
    while [ -e "keys/$sj_sha/$sj_a" ]; do
        sj_key_holder "keys/$sj_sha/$sj_a" || {
            printf 'refused %s EKEY %s\n' "$sj_id" "the record of its key is damaged: keys/$sj_sha/$sj_a in the base directory"
            [ -e "jobs/$sj_id/run" ] || sj_drop="$sj_drop jobs/$sj_id"
            return
        }
        [ "$sj_holder" = "$sj_id" ] && sj_mine=$sj_a
        sj_a=$((sj_a + 1))
    done
    if [ "$sj_mine" ]; then
        sj_key_won "$sj_id" "$sj_mine"
    elif [ ! -d "jobs/$sj_id" ]; then
        sj_ready "$sj_id" 1
    elif [ "$sj_a" -eq 1 ]; then
        sj_key_take "$sj_id" "$sj_sha" 1 || sj_key_look "$1"
    else
        sj_q="${sj_q:+$sj_q
}w $1 $sj_sha $((sj_a - 1)) $sj_holder $sj_digest"
    fi
}

# Who holds an attempt, to sj_holder; - if nobody says so, as a loss of power leaves it. Who
# cannot be told is not taken for gone.
sj_key_holder() { # FILE
    [ "$sj_huge" ] || sj_huge=" $(find $sj_shas -size +128 2>/dev/null) "
    case $sj_huge in *"$1"*) return 1 ;; esac
    [ ! -h "$1" ] && [ -f "$1" ] || return
    sj_read_line "$1"
    sj_holder=${sj_line#id=}
    [ "$sj_line" ] || sj_holder=-
    case $sj_holder in
    -) ;;
    "$sj_line" | *[!a-z2-7]*) return 1 ;;
    ????????????????) ;;
    *) return 1 ;;
    esac
}

sj_key_take() { # ID SHA ATTEMPT
    [ -d "keys/$2" ] || mkdir "keys/$2" 2>/dev/null
    if ln "jobs/$1/claim" "keys/$2/$3" 2>/dev/null; then
        sj_key_won "$1" "$3"
    elif [ -e "keys/$2/$3" ]; then
        return 1
    else # a file system without hard links: O_EXCL, not whole at once
        set -C
        if { printf 'id=%s\n' "$1" >"keys/$2/$3"; } 2>/dev/null; then
            set +C
            sj_key_won "$1" "$3"
        else
            set +C
            sj_refuse "$1" keys
        fi
    fi
}

sj_key_won() { # ID ATTEMPT
    printf 'claimed %s %s %s PENDING 1\n' "$1" "$1" "$2"
    sj_ready "$1" "$2"
}

sj_key_judge() { # ID:SHA:DIGEST:ONCE SHA N HOLDER STATE SAME
    sj_id=${1%%:*}
    case $5:${1##*:} in
    PENDING:* | RUNNING:* | ELSEWHERE:* | COMPLETED:* | *:1)
        printf 'claimed %s %s %s %s %s\n' "$sj_id" "$4" "$3" "$5" "$6"
        [ -e "jobs/$sj_id/run" ] || sj_drop="$sj_drop jobs/$sj_id"
        if [ -d "jobs/$4" ]; then
            sj_old="$sj_old $4"
            sj_ready "$4" "$3"
        else
            sj_ask="$sj_ask
r $4 $2 $3"
        fi
        ;;
    *) sj_key_take "$sj_id" "$2" "$(($3 + 1))" || sj_again="$sj_again $1" ;;
    esac
}

#: reap

# Whole jobs of ours that are final, and whose log is home: who asks says how many bytes of
# it are, and their checksum. awk reads the records and, before them, one ls of the logs and
# of which records are files, none too large to be one, and one cksum of the logs; the shell
# looks once more at each and leaves the tombstone (and the key's last word) before one rm for
# many.
# rm -rf without a trailing slash removes a symbolic link, never what it points to.
# A log is as long as the record of the end says, and as its file is where there is none;
# what a process writes after the end is not the job's.
sj_reap_records='
function rd(f,  l, i, k) {
    i = -1
    if (!(f in SOUND)) return i
    while ((getline l < f) > 0) {
        i = 1
        if (l == "end=") { F["end"] = 1; break }
        k = index(l, "=")
        if (k > 1 && !(substr(l, 1, k - 1) in F)) F[substr(l, 1, k - 1)] = substr(l, k + 1)
    }
    close(f)
    return i
}
function runs(p, s,  f, l, a) {
    f = "/proc/" p "/stat"
    if (!(p ~ /^[0-9]+$/) || (getline l < f) < 1) return 0
    close(f)
    sub(/^.*\) /, "", l)
    split(l, a, " ")
    return a[20] == s && !(a[1] ~ /^[XxZ]/)
}
function clean(k,  t) { t = (k in F) ? substr(F[k], 1, 1000) : ""; gsub(/\047/, "", t); gsub(/[^!-~]/, "_", t); return t == "" ? "-" : t }
/^-/ {
    split($NF, a, "/")
    if (a[3] == "log") size[a[2]] = file[a[2]] = $5
    else if ($5 < 1048577) SOUND[$NF]
    next
}
$NF == "jobs" { listed = 1; next }
NF < 4 && $NF ~ /^jobs\// { split($NF, a, "/"); sum[a[2]] = $1; next }
NF != 1 { next }
{
    split($1, word, ":")
    id = word[1]
    d = "jobs/" id "/"
    split("", F)
    fin = (rd(d "lost") >= 0) ? "LOST" : ""
    # One without its end is what a full disk left, or something of the job.
    if (fin != "" && !("end" in F)) {
        split("", F)
        if (rd(d "run") >= 0 && runs(F["pid"], F["start"])) fin = ""
    }
    if (fin != "" && F["cause"] == "cancelled") fin = "CANCELLED"
    if (fin == "LOST" && F["reason"] ~ /, who knows that / && now - F["finished_at"] < ttl) fin = "STANDS"
    delete F["end"]
    if (fin == "" && (rd(d "exit") >= 0 && ("end" in F) || rd(d "run") >= 0 && ("end" in F))) {
        fin = F["cause"] == "cancelled" ? "CANCELLED" : F["cause"] == "timeout" ? "TIMEOUT" : F["status"] == "0" ? "COMPLETED" : "FAILED"
        if (F["log_bytes"] ~ /^[0-9]+$/ && length(F["log_bytes"]) < 16) size[id] = F["log_bytes"]
    }
    rd(d "run")
    rd(d "spec")
    whole = (F["sj_ok"] == id || F["id"] == id)
    if (!listed) fin = "UNSEEN"
    else if (!whole) fin = "FOREIGN"
    else if (fin == "") fin = "NO"
    if (!(id in size)) size[id] = "-"
    # A file that is shorter than what is home has been cut, and has nothing that is not.
    same = "other"
    if (!(id in file) || file[id] + 0 == 0 || file[id] + 0 < word[2] + 0) same = "same"
    else if (file[id] + 0 > word[2] + 0) same = "longer"
    else if ((id in sum) && (sum[id] "") == (word[3] "")) same = "same"
    digest = clean("digest")
    if (digest == "-") digest = clean("sj_digest")
    # Bare ?: in a list to print is not understood by the one true awk (20220912).
    print id, fin, size[id], word[2], word[3], same, clean("sj_sha"), clean("attempt"), digest, clean("status"), clean("signal"), clean("cause"), clean("started_at"), clean("finished_at"), clean("reason")
}'

sj_reap() { # ID:BYTES of its log that are home:CKSUM of these:SHA256 of these ...
    sj_q='' sj_f='' sj_logs='' sj_total=0
    sj_find_sums
    for sj_l; do
        sj_i=${sj_l%%:*}
        if [ -h "jobs/$sj_i" ]; then
            printf 'unreaped %s its directory is a symbolic link\n' "$sj_i"
        elif [ ! -e "jobs/$sj_i" ]; then
            printf 'reaped %s\n' "$sj_i"
        elif [ ! -d "jobs/$sj_i" ] || [ ! -O "jobs/$sj_i" ]; then
            printf 'unreaped %s not a directory of ours\n' "$sj_i"
        else
            case $sj_sums in
            cksum) sj_l=${sj_l%:*} ;;
            *) sj_w=${sj_l##*:} sj_l=${sj_l%:*:*}:$sj_w ;;
            esac
            sj_q="$sj_q $sj_l" sj_d=jobs/$sj_i
            sj_f="$sj_f $sj_d/log $sj_d/lost $sj_d/exit $sj_d/run $sj_d/spec"
            sj_l=${sj_l#*:}
            [ -f "jobs/$sj_i/log" ] && [ ! -h "jobs/$sj_i/log" ] &&
                sj_logs="$sj_logs jobs/$sj_i/log" sj_total=$((sj_total + ${sj_l%%:*}))
        fi
    done
    [ "$sj_q" ] || return 0
    [ "$sj_logs" ] && [ $sj_sums != none ] && sj_sum_up
    {
        LC_ALL=C ls -lnd $sj_f jobs 2>/dev/null
        printf '%s\n' "$sj_logs"
        printf '%s\n' $sj_q
    } | awk -v now="${sj_now%.*}" -v ttl="$sj_gone_ttl" "$sj_reap_records" | {
        sj_rm='' sj_told=' '
        while read -r sj_id sj_state sj_bytes sj_home sj_sum sj_same sj_sha sj_a sj_digest sj_status sj_signal sj_cause sj_t0 sj_t1 sj_why; do
            sj_beat
            sj_told="$sj_told$sj_id "
            case $sj_state in
            NO) printf 'unreaped %s it has not ended\n' "$sj_id" ;;
            STANDS) printf 'unreaped %s it was declared lost less than a day ago, and is ended if its machine comes back\n' "$sj_id" ;;
            FOREIGN) printf 'unreaped %s no whole job of ours\n' "$sj_id" ;;
            UNSEEN) printf 'unreaped %s the length of its log cannot be told\n' "$sj_id" ;;
            *) sj_is_home && sj_bury ;;
            esac
        done
        sj_remove $sj_rm
        for sj_l in $sj_q; do
            case $sj_told in
            *" ${sj_l%%:*} "*) ;;
            *) printf 'unreaped %s the awk there could not read its record\n' "${sj_l%%:*}" ;;
            esac
        done
    }
}

# One that counts nothing as it should: to be found does not mean to be executable.
sj_find_sums() { # sj_sums
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
# sha256sum); of long ones while beats tell that the
# host is at work.
sj_sum_up() {
    sj_n=''
    [ "$sj_total" -lt 67108864 ] || {
        while sleep 5 >/dev/null; do printf 'beat\n'; done 2>/dev/null &
        sj_n=$!
    }
    sj_logs=$($sj_sums $sj_logs 2>/dev/null </dev/null)
    [ -z "$sj_n" ] || { kill "$sj_n" && wait "$sj_n"; } 2>/dev/null
    return 0
}

# Bytes that nobody else has are not deleted, whoever believes to have them all.
sj_is_home() {
    if [ "$sj_bytes" = - ]; then # no log, or no ls
        [ -s "jobs/$sj_id/log" ] || return 0
        printf 'unreaped %s the length of its log cannot be told\n' "$sj_id"
        return 1
    fi
    [ "$sj_bytes" -le "${sj_home:-0}" ] && {
        sj_is_same
        return
    }
    printf 'longer %s %s\n' "$sj_id" "$sj_bytes"
    printf 'unreaped %s its log has %s bytes, of which %s are home\n' "$sj_id" "$sj_bytes" "${sj_home:-0}"
    return 1
}

# What is home is what stands there, byte by byte; not what came after the end.
sj_is_same() {
    case $sj_same in
    same) return ;;
    longer)
        set -- $(head -c "$sj_home" "jobs/$sj_id/log" 2>/dev/null </dev/null | $sj_sums 2>/dev/null)
        [ "${1-}" = "$sj_sum" ] && return
        ;;
    esac
    if [ $sj_sums = none ]; then
        printf 'unreaped %s there is no cksum to compare its log with\n' "$sj_id"
    else
        printf 'differs %s\n' "$sj_id"
        printf 'unreaped %s its log there and the one that is home differ (%s)\n' "$sj_id" "$sj_sums"
    fi
    return 1
}

sj_bury() { # the tombstone and the key's last word, then onto the list
    sj_rec="cause=${sj_cause#-}
status=${sj_status#-}
signal=${sj_signal#-}
started_at=${sj_t0#-}
finished_at=${sj_t1#-}
log_bytes=${sj_bytes#-}
state=$sj_state"
    sj_tombstone || { sj_strip; sj_tombstone; } || {
        printf 'unreaped %s no room for its tombstone\n' "$sj_id"
        return
    }
    sj_last_word || { sj_strip; sj_last_word; } || {
        rm -f "$sj_tmp.key"
        printf 'unreaped %s no room for the record of its key\n' "$sj_id"
        return
    }
    sj_rm="$sj_rm $sj_id"
}

sj_tombstone() { # an empty one does
    sj_regular "gone/$sj_id" && { printf '%s\nuntil=%s\n' "$sj_rec" "$((${sj_now%.*} + sj_gone_ttl))" >"gone/$sj_id"; } 2>/dev/null
    [ -e "gone/$sj_id" ]
}

sj_last_word() { # of the key, if this job holds one
    case $sj_sha$sj_a in *[!0-9a-f]*) return 0 ;; esac
    if [ -e "keys/$sj_sha/$sj_a" ]; then
        sj_l=$sj_tmp.key
        { printf 'id=%s\ndigest=%s\n%s\nuntil=%s\nend=\n' "$sj_id" "$sj_digest" "$sj_rec" "$((${sj_now%.*} + sj_key_ttl))" >"$sj_l"; } 2>/dev/null &&
            mv -f "$sj_l" "keys/$sj_sha/$sj_a" 2>/dev/null
    fi
}

sj_strip() { # on a full disk: what has ended needs these no more, and makes room by them
    [ -h "jobs/$sj_id" ] || rm -f -- "jobs/$sj_id/script" "jobs/$sj_id/stdin"
}

sj_remove() { # IDS
    while [ $# -gt 0 ]; do
        sj_few='' sj_fewer='' sj_n=0
        while [ $# -gt 0 ] && [ $sj_n -lt 50 ]; do
            [ -h "jobs/$1" ] || sj_few="$sj_few jobs/$1"
            sj_fewer="$sj_fewer $1"
            sj_n=$((sj_n + 1))
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

#: logs

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

sj_piece() { # FILE OFFSET COUNT
    if [ "$sj_dd" = 1 ]; then
        dd if="$1" bs=262144 iflag=skip_bytes,count_bytes,fullblock skip="$2" count="$3" 2>/dev/null
    else
        tail -c "+$(($2 + 1))" "$1" | head -c "$3"
    fi
}

#: list

# Every directory entry; ls -R does not follow symbolic links.
sj_list() {
    sj_uid=$(id -u)
    # shellcheck disable=SC2012 # names that are not ours are only counted as odd
    sj_out=$(ls -lnR jobs 2>/dev/null | awk -v uid="$sj_uid" '
        /^jobs\/[^\/]*:$/ { d = substr($0, 6, length($0) - 6); next }
        /^jobs:$/ { d = ""; next }
        NF < 9 { next }
        d == "" {
            # mawk 1.3.4 has no intervals ({8}) in patterns.
            name = $0
            for (i = 1; i < 9; i++) sub(/^[^ ]+ +/, "", name)
            if (/^l/) sub(/ -> .*$/, "", name)
            if (name ~ /^[a-z2-7]+$/ && length(name) == 16) {
                if (/^d/ && $3 == uid) order[++n] = name
                else if (/^d/) odd[name] = "not a directory of ours"
                else if (/^l/) odd[name] = "a symbolic link"
                else odd[name] = "not a directory"
            } else {
                gsub(/[^!-~]/, "?", name)
                odd[name] = "not the name of a job"
            }
            next
        }
        $9 == "log" && /^-/ { size[d] = $5 }
        END {
            for (i = 1; i <= n; i++) printf "l %s %.0f\n", order[i], size[order[i]]
            for (o in odd) print "o " o " " odd[o]
        }')
    printf '%s\n' "$sj_out" | sed -n 's/^o /odd /p'
    sj_tail='' sj_judge '' "$sj_out" || sj_broken='awk or find'
}

#: frame

# Directories that a launcher left half-made which is no more (their files may hold
# secrets), on every round; at most once an hour expired tombstones, and keys all of whose
# attempts have expired.
sj_sweep_old() {
    for sj_i in new/"$sj_machine".*; do
        sj_n=${sj_i#"new/$sj_machine."}
        sj_n=${sj_n%%.*}
        case $sj_n in '' | *[!0-9]*) continue ;; esac
        # Where nobody reaps orphans, as in many containers, the dead answer to signals.
        sj_line=''
        kill -0 "$sj_n" 2>/dev/null && sj_read_line "/proc/$sj_n/stat" || sj_line='dead) Z'
        case ${sj_line##*") "} in [XZ]*) rm -rf -- "$sj_i" ;; esac
    done
    sj_read_small "$sj_machine/swept"
    case $sj_line in *[!0-9]* | 0* | ????????????* | '') sj_line=0 ;; esac
    [ $((${sj_now%.*} - sj_line)) -lt 3600 ] && [ "$sj_line" -le "${sj_now%.*}" ] && return
    { printf '%s\n' "${sj_now%.*}" >"$sj_machine/swept"; } 2>/dev/null || return 0
    # A record beside `run` was read by the runner that claimed the job.
    set --
    for sj_i in jobs/*/env; do [ ! -e "${sj_i%env}run" ] || set -- "$@" "$sj_i"; done
    [ $# -eq 0 ] || rm -f -- "$@"
    find gone keys -type f -size -128 -print | awk -v now="$sj_now" '
        $0 !~ /^gone\/[a-z2-7]+$/ && $0 !~ /^keys\/[0-9a-f]+\/[0-9]+$/ { next }
        {
            f = $0
            d = f
            sub(/\/[0-9]+$/, "", d)
            u = 0
            while ((getline l < f) > 0) if (substr(l, 1, 6) == "until=") u = substr(l, 7) + 0
            close(f)
            if (u && u < now) old[f] = d
            else fresh[d] = 1
        }
        END { for (f in old) if (!(old[f] in fresh)) print f }' | while read -r sj_f; do
        rm -f -- "$sj_f"
        case $sj_f in keys/*) rmdir "${sj_f%/*}" 2>/dev/null ;; esac
    done
    find new runner-*.* ! -name new -prune -mtime +1 -exec rm -rf -- {} + 2>/dev/null
    return 0
}

# A shell that cannot fork ends (dash, BusyBox; bash after 15 s). Nothing was done then unless
# it had begun, and what was to end is told so by builtins.
sj_unforked() {
    if [ "${sj_to_kill-}" ]; then
        [ "$sj_opened" ] || {
            sj_where
            sj_base "$sj_at_base"
        }
        sj_kill_bare
    fi
    [ "$sj_opened" ] || printf '%sfailed EFORK the host has no process left for this user\nend\n' "$sj_first"
}

sj_guard() { # NONCE BASE IDS to kill
    unset sj_first
    sj_proc='' sj_opened='' sj_at_base=$2
    [ -r /proc/self/stat ] && sj_proc=1
    sj_first="
sshjobs-reply 1 $1
"
    shift 2
    sj_to_kill=$*
    trap sj_unforked EXIT
    # ksh93 tries to fork a tool for ever, but a part of itself for 30 s only (93u+m 1.0).
    case ${KSH_VERSION-} in *93*) : & ;; esac
}

# The frame around every request.
sj_open() { # NONCE BASE GENERATION OFFSET START_GRACE KEY_TTL GONE_TTL HASH ID ...
    unset sj_nonce sj_first # neither is exported, whatever the login exports
    sj_nonce=$1 sj_gen=$3 sj_from=$4 sj_grace=$5 sj_key_ttl=$6 sj_gone_ttl=$7 sj_hash=$8
    sj_first="
sshjobs-reply 1 $1
"
    sj_broken='' sj_ask='' sj_plain='' sj_keyed='' sj_shas='' sj_drop='' sj_mk='' sj_old='' sj_due=''
    sj_proc=''
    [ -r /proc/self/stat ] && sj_proc=1
    sj_dir=$2
    shift 8
    sj_enter "$sj_dir" "$@"
    sj_features=setsid
    [ "$sj_setsid" = - ] && sj_features=no-setsid
    [ "$sj_proc" ] || sj_features=$sj_features,no-proc
    [ "$sj_grepz" = 1 ] || sj_features=$sj_features,no-mark
    sj_first="${sj_first}hello $sj_node $sj_boot $sj_now $sj_features
"
    sj_tmp=new/$sj_machine.$$.$sj_cs
    sj_journal
    sj_opened=1
    sj_tail=''
    [ $sj_sweep = 0 ] && [ "$sj_size" -gt "$sj_from" ] &&
        sj_tail="tail -c +$((sj_from + 1)) $sj_machine/journal"
    return 0
}

sj_prepare_runs() { # what only rounds need that start or kill something
    sj_sh=$(PATH=$sj_path && command -v sh) || sj_sh=/bin/sh
    case ${SHELL-} in
    /*) sj_shell=$SHELL ;;
    *)
        sj_passwd 7
        sj_shell=$sj_line
        ;;
    esac
    [ -x "$sj_shell" ] || sj_shell=/bin/sh
}

# Mostly nothing has happened. A few that run are looked at as judge() would do first, with
# no process started: awk costs as much as nine of them (1.4 ms; dash 0.5.12, mawk 1.3.4).
sj_glance() {
    [ "$sj_proc" ] && [ "$sj_sweep$sj_tail" = 0 ] && [ ${#sj_ask} -lt 300 ] || return 0
    set -- $sj_ask
    sj_ask=''
    while [ $# -gt 3 ]; do
        [ "$1" = c ] && sj_as_before "$2" "$3" "$4" 2>/dev/null || sj_ask="$sj_ask$1 $2 $3 $4
"
        shift 4
    done
}

sj_as_before() { # ID PID START
    case $sj_small in *" jobs/$1/run "*) ;; *) return 1 ;; esac
    for sj_i in "machine=$sj_machine" "boot_id=$sj_boot" "pid=$2" "start=$3"; do
        read -r sj_line && [ "$sj_line" = "$sj_i" ] || return
    done <"jobs/$1/run" || return
    read -r sj_line <"/proc/$2/stat" || return
    set -- "$3" ${sj_line##*') '}
    case $2 in [XZ]) return 1 ;; esac
    [ "${21}" = "$1" ]
}

sj_answer() { # CHECKS
    sj_ask="$1$sj_ask"
    for sj_i in "$sj_machine"/due/*; do
        [ -f "$sj_i" ] || break
        sj_n=${sj_i##*/}
        case $sj_n:${sj_evidence:+1} in
        *[!a-z2-7]*:*) ;;
        ????????????????:1) sj_ask="$sj_ask
d $sj_n - -" ;;
        ????????????????:) # a round that asks about nothing
            if [ -e "jobs/$sj_n/killed" ] || [ ! -e "jobs/$sj_n/cancel" ]; then
                rm -f "$sj_i"
            else
                printf 'due %s\n' "$sj_n"
            fi
            ;;
        esac
    done
    sj_glance
    [ "$sj_ask" ] && { sj_judge '' "$sj_ask" || sj_broken='awk or find'; }
    return 0
}

sj_close() {
    trap - EXIT
    # CAN: what stands on its line, cut off by a tool that died, is void.
    [ "$sj_broken" ] && printf '\030\n' && sj_fail EDIED "$sj_broken ended badly on the host: some jobs were not looked at"
    sj_sweep_old
    printf 'end\n'
}

#: runner

umask 077
sj_mode=$1
case $sj_mode in
again) set -- ;;
*) sj_me=0 sj_told='' sj_since='' sj_stage='' sj_left='' sj_alone='' sj_s='' ;;
esac
hash ln rm sleep 2>/dev/null
case $sj_mode in
again) ;;
*)
    read -r sj_machine sj_boot sj_node sj_offset sj_umask sj_setsid sj_tool sj_grepz sj_wc sj_burst sj_proc
    case $sj_burst in -) sj_burst='' ;; esac
    IFS= read -r sj_shell
    IFS= read -r sj_home
    IFS= read -r sj_dir
    IFS= read -r sj_path
    IFS= read -r sj_posix
    case $sj_setsid in -) sj_setsid='' ;; esac
    case $sj_tool in -) sj_tool='' ;; *) sj_tool="$sj_tool --default-signal=INT,QUIT" ;; esac
    ;;
esac

# Without a fork: who am I, and what time is it.
sj_self() { # sj_pid sj_start
    if [ "$sj_proc" ]; then
        read -r sj_line </proc/self/stat
        sj_pid=${sj_line%% *}
        sj_line=${sj_line##*') '}
        set -- $sj_line
        shift 19
        sj_start=$1
    else
        sj_pid=$(sh -c 'echo $PPID')
        sj_start=$(ps -o lstart= -p "$sj_pid" 2>/dev/null | tr -s ' ' _)
        sj_start=${sj_start%_}
    fi
}

sj_clock() { # sj_cs hundredths, sj_t seconds
    if [ "$sj_offset" = none ]; then
        sj_cs=$(date +%s)00
    else
        read -r sj_line </proc/uptime
        sj_line=${sj_line%% *}
        sj_cs=$((sj_offset + ${sj_line%.*}${sj_line#*.}))
    fi
    sj_t=${sj_cs%??}.${sj_cs#"${sj_cs%??}"}
}

# Publishes the end: the record is appended to `run`, in one write to a block that the file
# has had since the claim, so that a full disk loses no end; from here on it counts. Then
# `run` is linked to `exit`: link(2) is as atomic as rename, and ln starts faster than mv
# (fewer libraries). In a burst of starts that process would be a quarter of what a short
# job costs, so there `exit` is a copy, created exclusively and written at once.
sj_publish() { # STATUS SIGNAL CAUSE REASON
    sj_bytes=0
    [ -s "$sj_d/log" ] && sj_regular "$sj_d/log" && sj_size "$sj_d/log"
    sj_rec="id=$sj_id
status=$1
signal=$2
cause=$3
finished_at=$sj_t
log_bytes=$sj_bytes
reason=$4
end="
    if sj_regular "$sj_d/run"; then
        printf '%s\n' "$sj_rec" >>"$sj_d/run"
        sj_stage=published
        [ "$sj_burst" ] && sj_copy || ln -f "$sj_d/run" "$sj_d/exit" || sj_copy
    else
        sj_copy
    fi
    sj_announce
}

sj_announce() {
    sj_stage=''
    sj_note "E $sj_id"
}

sj_note() { # TEXT: a line of the journal
    sj_regular "$sj_machine/journal" && printf '\n%s .\n' "$1" >>"$sj_machine/journal"
    return 0
}

# A shell that cannot fork ends (dash, BusyBox), bash after 15 s. What it then has to do, by
# builtins alone, depends on how far it was. The end of a job, or of a tree, is seen to by the
# same process in a new shell, again and again until it can: it counts for a pause, since
# sleep would be a process.
sj_unforked() {
    case $sj_stage in
    claimed)
        [ "$sj_hasenv" ] && printf '' >"$sj_d/env"
        sj_burst=1
        sj_publish 126 '' '' 'could not be started: the host has no process left for its user (see ulimit -u)'
        ;;
    published)
        sj_copy
        sj_announce
        ;;
    ended | kill)
        sj_clock
        [ "$sj_left" ] && sj_unseen
        [ "$sj_stage" = kill ] || [ -z "$sj_left" ] || [ "$sj_live" ] || sj_alone=1
        ;;
    esac
    [ "$sj_s" ] && sj_stop_clock
    case $sj_stage in ended | kill) sj_anew ;; esac
}

# Where the time was up, the sleep was waited for, and its number may be anybody's since.
sj_stop_clock() {
    [ -z "$sj_proc" ] || {
        sj_start_of "$sj_s" && [ "$sj_started" = "$sj_s_born" ]
    } && kill -9 "$sj_s"
}

sj_anew() {
    sj_s='' sj_since=${sj_from:-$sj_since} sj_count=0
    while [ $sj_count -lt 4000 ] && read -r sj_line </proc/uptime; do sj_count=$((sj_count + 1)); done
    export sj_stage sj_machine sj_boot sj_offset sj_setsid sj_grepz sj_wc sj_burst sj_proc \
        sj_posix sj_pid sj_me sj_told sj_since sj_left sj_scope sj_s sj_alone sj_id sj_d sj_j \
        sj_record sj_status sj_signal sj_cause sj_why sj_t sj_gracecs
    exec "$sj_posix" "$0" again
}

sj_copy() {
    sj_regular "$sj_d/exit" || rm -rf "$sj_d/exit"
    set -C
    printf '%s\npgid=%s\n%s\n' "$sj_record" "${sj_j:-0}" "$sj_rec" >"$sj_d/exit"
    sj_n=$?
    set +C
    return $sj_n
}

# BusyBox wc reads the whole file to count, its ls is the same binary.
sj_size() {
    if [ "$sj_wc" = 1 ]; then
        sj_bytes=$(wc -c <"$1")
    else
        set -- $(ls -lnd "$1")
        sj_bytes=$5
    fi
}

# One job: its runner, and with a timeout the process that keeps the time beside it.
sj_one() { # ID ATTEMPT
    sj_id=$1 sj_a=$2 sj_d=jobs/$1 sj_ok='' sj_envnames=''
    [ -f "$sj_d/spec" ] && sj_regular "$sj_d/spec" && [ ! -e "$sj_d/run" ] || return 0
    . "./$sj_d/spec"
    [ "$sj_ok" = "$sj_id" ] || return 0
    if [ "$sj_hasenv" ]; then
        [ -f "$sj_d/env" ] && sj_regular "$sj_d/env" || return 0
        . "./$sj_d/env"
    fi
    if [ -z "$sj_timeout" ]; then
        sj_main
        return
    fi
    # The time is kept by the parent of the sleep, the job by a child of it that ends
    # the sleep: a TERM that is trapped between fork and exec would be lost.
    sleep "$sj_timeout" 2>/dev/null &
    sj_s=$! sj_s_born=''
    [ "$sj_proc" ] && sj_start_of "$sj_s" && sj_s_born=$sj_started
    trap sj_unforked EXIT
    {
        trap sj_unforked EXIT
        sj_main
    } &
    sj_g=$!
    exec 2>/dev/null
    if wait "$sj_s"; then
        sj_s='' sj_stage=kill sj_left=$sj_id sj_scope=tree
        sj_clock
        sj_from=$sj_cs
        [ -e "$sj_d/cancel" ] || sj_is_whole "$sj_d/exit" || ! sj_regular "$sj_d/expire" || printf '' >"$sj_d/expire"
        [ ! -e "$sj_d/killed" ] || [ -e "$sj_d/cancel" ] || rm -rf "$sj_d/killed"
        sj_expire
    fi
    sj_s='' sj_stage=''
    wait "$sj_g"
}

# Out of time. The group is told first, which costs no listing; then one listing finds what
# else there is of the tree, mostly nothing.
sj_expire() {
    sj_j=''
    if ! [ -e "$sj_d/cancel" ] && sj_find_group "$sj_id"; then
        sj_j=$sj_group
        sj_clock
        sj_since=$sj_cs
        sj_tell && sj_told=1
    fi
    sj_self
    sj_end_trees tree "$sj_id"
}

# TERM for the group, and a moment to follow it. A group of zombies alone looks alive to
# kill, only the listing tells.
sj_tell() {
    kill -TERM "-$sj_j" || return
    kill -CONT "-$sj_j"
    for sj_n in 0.01 0.05 0.1; do
        sleep $sj_n || break
        kill -0 "-$sj_j" || break
    done
    return 0
}

# The claim is the O_EXCL creation of `run`, which becomes stdout; who comes second ends
# here. The record is whole before the job is started. J, forked next, will be the leader
# of its session and group: setsid does not fork for who leads no group.
sj_main() {
    set -C
    exec >"$sj_d/run"
    set +C
    sj_self
    sj_j=''
    sj_record="machine=$sj_machine
boot_id=$sj_boot
pid=$sj_pid
start=$sj_start
node=$sj_node
init=$sj_init
attempt=$sj_a
started_at=$sj_t"
    printf '%s\n' "$sj_record" || {
        rm -f "$sj_d/run"
        return 0
    }
    sj_stage=claimed
    trap sj_unforked EXIT
    # Where nothing can be forked, it is empty at least.
    [ "$sj_hasenv" ] && { sj_regular "$sj_d/env" && printf '' >"$sj_d/env"; rm -f "$sj_d/env"; }
    exec 2>/dev/null
    if [ -e "$sj_d/cancel" ] || [ -e "$sj_d/lost" ] || [ -e "gone/$sj_id" ]; then
        sj_publish '' '' cancelled 'cancelled before it started'
        return 0
    fi
    sj_place || return 0
    sj_child &
    sj_j=$! sj_stage=''
    if [ "$sj_setsid" ]; then printf 'pgid=%s\n' $sj_j; else printf 'pgid=0\njob_pid=%s\n' $sj_j; fi
    [ -z "$sj_proc" ] || { [ "$sj_burst" ] && [ ! -O / ]; } || sj_born
    sj_wait
    sj_clock
    sj_cause=''
    if [ -e "$sj_d/cancel" ]; then
        sj_cause=cancelled
    elif [ -e "$sj_d/expire" ]; then
        sj_cause=timeout
    fi
    sj_stage=ended
    sj_finish
}

sj_finish() {
    if [ "$sj_cause" ]; then sj_stopped; else sj_leftover; fi
    [ -e "$sj_d/log" ] || [ "$sj_cause" ] || sj_why='the log could not be written'
    sj_publish "$sj_status" "$sj_signal" "$sj_cause" "$sj_why"
}

# When J was started, so that its number can be given to nobody else unnoticed. In a burst
# of starts this read is left out, and the moment after the start of the runner must do; not
# for root (who owns /), whose signals reach everybody.
sj_born() {
    sj_start_of "$sj_j" && printf 'born=%s\n' "$sj_started"
}

# Where the job is to run, and what; what is missing ends it here.
sj_place() {
    for sj_l in script ${sj_hasin:+stdin}; do
        [ -f "$sj_d/$sj_l" ] && sj_regular "$sj_d/$sj_l" && continue
        sj_publish 126 '' '' "its $sj_l is no file"
        return 1
    done
    case $sj_cwd in
    '' | \~) sj_cwd=$sj_home ;;
    \~/*) sj_cwd=$sj_home/${sj_cwd#??} ;;
    /*) ;;
    *) sj_cwd=$sj_home/$sj_cwd ;;
    esac
    [ -d "$sj_cwd" ] && [ -x "$sj_cwd" ] && return 0
    sj_l='no such directory'
    [ -d "$sj_cwd" ] && sj_l='permission denied'
    sj_publish 126 '' '' "cwd: $sj_l: ${sj_cwdtext:-the login directory}"
    return 1
}

# The job's environment is that of the login, as if our tools had never been in it.
sj_give_back() {
    unset LC_ALL
    for sj_i in $sj_had; do eval "export $sj_i=\"\$sj_was_$sj_i\"; unset sj_was_$sj_i"; done
    unset sj_had
}

# What runs the script: sj_sh with sj_flags. A login shell is `-` with its flags; another
# one is named, with flags or without. sj_rc: where bash finds what ssh would have it read,
# unless it is in POSIX mode, where it does not look.
sj_choose_shell() {
    sj_sh=$sj_shell sj_flags='' sj_rc=''
    case $sj_kind:$sj_useshell in
    vector:*) sj_sh=$sj_posix ;;
    *:)
        case $sj_sh${POSIXLY_CORRECT+:} in
        */bash | */rbash) sj_rc=$sj_dir/$0 ;;
        esac
        ;;
    *:-*) sj_flags=${sj_useshell#-} ;;
    *)
        sj_sh=$(command -v -- "$sj_useshell") || {
            sj_sh=$(command -v -- "${sj_useshell%% *}")
            sj_flags=${sj_useshell#* }
        }
        ;;
    esac
}

# The job itself. What is exported, is exported only here.
sj_child() {
    sj_regular "$sj_d/log" || exit 126
    exec >>"$sj_d/log" 2>&1
    [ "$sj_hasin" ] && exec <"$sj_d/stdin"
    sj_give_back
    PATH=$sj_path
    CDPATH='' cd -P -- "$sj_cwd" >/dev/null || exit 126
    unset OLDPWD
    umask "$sj_umask"
    trap - INT QUIT
    sj_choose_shell
    # Its environment may hold any name, IFS and those of this file too.
    set -f
    set -- "$sj_rc" "$sj_envnames" "$sj_cwdtext" "$sj_id" "$sj_a" "$sj_key" $sj_tool $sj_setsid "$sj_sh" $sj_flags "$sj_dir/$sj_d/script"
    [ "$sj_hasenv" ] && sj_env
    [ "$1" ] && export SSHJOBS_BASH_ENV="${BASH_ENV-}" BASH_ENV="$1" SSHJOBS_BASH_KEEP="$2" SSHJOBS_BASH_CWD="$3"
    SSHJOBS_JOB_ID=$4 SSHJOBS_ATTEMPT=$5 SSHJOBS_KEY=$6
    export SSHJOBS_JOB_ID SSHJOBS_ATTEMPT SSHJOBS_KEY
    shift 6
    exec "$@"
}

# Waits for the job: sj_status, or sj_signal if it died of one. `wait` says 128+n for
# both; the builtin jobs tells them apart. bash forgets a job once it was waited for, so
# there jobs is asked before; ksh93 says 256+n for a signal.
sj_wait() {
    sj_status='' sj_signal='' sj_why=''
    if [ "$sj_bash" ]; then
        sj_wait_bash
    else
        wait "$sj_j"
        sj_status=$?
        [ "$sj_status" -gt 128 ] && jobs
    fi
    [ "$sj_status" -gt 128 ] || return 0
    [ "$sj_status" -gt 255 ] || [ "$sj_status" -le 192 ] || return 0 # there are 64 signals
    sj_how
    case $sj_line:$sj_status in
    *[Dd]one*:* | *[Ee]xit*:*) ;;
    :2[5-9][0-9] | :3[0-9][0-9])
        [ "$sj_status" -le 256 ] || {
            sj_signal=$((sj_status - 256)) sj_status=''
        }
        ;;
    :*)
        [ "${KSH_VERSION-}" ] && return
        sj_why="status $sj_status was read as a signal, this sh cannot tell them apart"
        sj_signal=$((sj_status - 128)) sj_status=''
        ;;
    *) sj_signal=$((sj_status - 128)) sj_status='' ;;
    esac
}

sj_wait_bash() {
    # shellcheck disable=SC3040 # only bash comes here
    set -o posix
    trap : CHLD
    sj_n=''
    while kill -0 "$sj_j"; do
        wait "$sj_j"
        sj_n=$?
        jobs
    done
    jobs
    wait "$sj_j"
    sj_status=$?
    trap - CHLD
    # The trap interrupts a wait for what runs. What ended just before it was asked about
    # has told it all there is; then jobs shows no line of it, and the last wait says 127.
    if [ "$sj_status" = 127 ] && [ "$sj_n" ]; then
        sj_how
        [ "$sj_line" ] || sj_status=$sj_n
    fi
}

sj_how() { # the last line of jobs that tells an end, to sj_line
    sj_line=''
    sj_regular "$sj_d/run" && while read -r sj_l; do
        case $sj_l in *Running*) ;; '['*) sj_line=$sj_l ;; esac
    done <"$sj_d/run"
}

# Cancelled or out of time: whoever ends the tree says when it is gone. If that process
# is gone itself, the runner does its work.
sj_stopped() {
    sj_n=0
    while [ ! -e "$sj_d/killed" ]; do
        sj_n=$((sj_n + 1))
        [ $sj_n -gt $((sj_gracecs / 50 + 20)) ] && {
            sj_end_trees tree "$sj_id"
            return
        }
        if [ $sj_n -lt 10 ]; then sleep 0.1 || sleep 1; else sleep 0.5 || sleep 1; fi
    done
}

# What a job leaves behind in its group ends with it. One builtin kill tells that there
# is nothing, which is the common case; what is there mostly ends at once.
sj_leftover() {
    [ -z "$sj_alone" ] && [ "$sj_setsid" ] && kill -0 "-$sj_j" && sj_find_group "$sj_id" || {
        sj_alone=1
        return 0
    }
    sj_why=${sj_why:-'what was left of its group was ended: a job ends with its main process'}
    if [ -z "$sj_told" ]; then
        sj_told=1
        sj_tell
    fi
    kill -0 "-$sj_j" && sj_end_trees group "$sj_id"
    sj_alone=1
}

# Who belongs to which of the jobs ID, and what is due to them after E seconds: soft (TERM,
# once each; a group that was TOLD has had it) before the grace of the job has passed, hard
# after it. Never the runners; nor the killer ME with its children, should a job have asked
# for its own end. A recorded group counts unless its leader was not started when the record
# says, or where it does not say it, soon after the runner (30 s, in ticks of 10 ms): then
# the number has been given to somebody else. The
# leader comes first, so that it does not live to see its child's end.
sj_tree_awk='
function rd(f,  l, k) {
    split("", F)
    if (index(unsound, " " f " ")) return
    while ((getline l < f) > 0) {
        k = index(l, "=")
        if (k > 1 && !(substr(l, 1, k - 1) in F)) F[substr(l, 1, k - 1)] = substr(l, k + 1)
    }
    close(f)
}
function take(p, id, sure) {
    if (!sure && !own(p)) return 0
    OW[p] = id
    SURE[p] = sure
    return 1
}
function there(p) { return !proc || (stat(p) && V[20] == ST[p]) }
# Whether the leader of that number is the one of old, as far as its start tells; and whether
# it certainly is: started in the very tick that was noted, or still the child of its runner.
# What hangs on such a leader belongs to the job whatever its user is (decision 0013). The
# number may have been given to somebody else, within 30 s of the start: root, whose signals
# reach everybody, ends only its own processes then.
function led(g) { return (g in ST) && (GB[g] == "" ? near(ST[g], GS[g]) : ST[g] == GB[g]) }
function sure(g, id) { return led(g) && (GB[g] != "" || UID != 0 || (up[id] && PP[g] == RP[id])) }
{
    id = $1
    want[id] = ++n
    ids[n] = id
    rd("jobs/" id "/spec")
    gsub(/\047/, "", F["sj_grace"])
    grace[id] = F["sj_grace"] + 0
    rd("jobs/" id "/run")
    if (!ours()) { n--; delete want[id]; next }
    known[id] = ("pgid" in F) # before it is asked for, which makes it be there
    g = F["pgid"] + 0
    if (g > 1) { G[g] = id; GS[g] = F["start"]; GB[g] = F["born"] }
    p = F["job_pid"] + 0
    if (p > 1) { LP[p] = id; GS[p] = F["start"]; GB[p] = F["born"] }
    RP[id] = F["pid"]
    RB[id] = F["start"]
    rd("jobs/" id "/exit")
    over[id] = ("end" in F)
}
END {
    if (!list() || (scope != "group" && !marks())) exit
    for (i = 1; i <= n; i++) if ((RP[ids[i]] in ST) && ST[RP[ids[i]]] == RB[ids[i]]) { spare[RP[ids[i]]] = 1; up[ids[i]] = 1 }
    for (g in G) if ((g in ST) && !led(g)) delete G[g]
    for (p in LP) if (led(p)) take(p, LP[p], sure(p, LP[p]))
    for (p in ST) {
        # Who is to lead a group is the job before it has one.
        g = (p in G) ? p : (GR[p] in G) ? GR[p] : (scope != "group" && (SE[p] in G)) ? SE[p] : 0
        if (g) take(p, G[g], (scope == "group" && !(g in ST)) || sure(g, G[g]))
    }
    for (p in MARK) if (MARK[p] in want) OW[p] = MARK[p]
    if (me) mine[me] = 1
    do {
        more = 0
        for (p in ST) {
            if (!(p in mine) && (PP[p] in mine)) { mine[p] = 1; more = 1 }
            if (scope != "group" && !(p in OW) && (PP[p] in OW) && !(p in other)) {
                if (take(p, OW[PP[p]], SURE[PP[p]])) more = 1
                else other[p] = 1
            }
        }
    } while (more)
    soft = "soft"; hard = "hard"; live = "live"; done = "done"; wake = "wake"; nap = 1
    for (p in spare) if (HA[p]) wake = wake " " p
    for (p in OW) {
        if ((p in mine) || (p in spare) || p + 0 < 2 || !there(p)) continue
        id = OW[p]
        left[id]++
        if (e >= grace[id]) hard = hard " " p
        else if ((termed == " " || (at != "" && ST[p] + 0 < at)) && !index(termed, " " p " ") && !(told && (GR[p] in G))) {
            if (p in G) lead = lead " " p; else soft = soft " " p
        }
    }
    for (i = 1; i <= n; i++) {
        id = ids[i]
        # A child that is not yet known, or not yet marked, has a moment to be.
        if (left[id] || (!over[id] && !known[id] && (up[id] || e < 1))) {
            live = live " " id
            if (grace[id] > e && grace[id] - e < nap) nap = grace[id] - e
            if (!known[id] && nap > 0.1) nap = 0.1
        } else done = done " " id
    }
    print "seen"
    print "soft" lead substr(soft, 5); print hard; print live; print done; print wake
    printf "nap %.2f\n", nap
}'

sj_scan() {
    sj_out=$(printf '%s\n' $sj_left | LC_ALL=C awk -v proc="$sj_proc" -v grepz="$sj_grepz" \
        -v scope="$sj_scope" -v me="$sj_me" -v e="$sj_e" -v termed="$sj_termed" -v told="$sj_told" -v at="$sj_at0" \
        -v self="$sj_pid" -v machine="$sj_machine" -v boot="$sj_boot" -v offset="$sj_offset" \
        -v unsound="$sj_unsound" "$sj_table$sj_tree_awk")
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
sj_end_trees() { # SCOPE IDS
    sj_scope=$1 sj_l=''
    shift
    sj_left=$*
    sj_unsound='' sj_termed=' ' sj_rounds=0
    sj_clock
    sj_at0=''
    sj_from=${sj_since:-$sj_cs}
    for sj_i; do sj_l="$sj_l jobs/$sj_i/spec jobs/$sj_i/run jobs/$sj_i/exit"; done
    set -- $(find $sj_l \( ! -type f -o -size +2048 \) -prune -print 2>/dev/null)
    sj_unsound=" $* "
    while [ "$sj_left" ] && [ $sj_rounds -lt 7200 ]; do
        sj_rounds=$((sj_rounds + 1))
        sj_clock
        sj_e=$((sj_cs - sj_from))
        sj_e=$((sj_e / 100)).$((sj_e / 10 % 10))
        sj_scan
        [ "$sj_seen" ] || sj_unseen
        if [ "$sj_soft" ]; then
            if [ "$sj_termed" = ' ' ] && [ "$sj_proc" ] && [ "$sj_offset" != none ]; then
                sj_clock
                sj_at0=$((sj_cs - sj_offset)) # in ticks since the boot, as a start is
            fi
            kill -s TERM $sj_soft
            kill -s CONT $sj_soft
            sj_termed="$sj_termed$sj_soft "
        fi
        if [ "$sj_hard" ]; then
            kill -s STOP $sj_hard
            sj_scan
            [ "$sj_hard" ] && kill -s KILL $sj_hard
            sj_nap=0.05
        fi
        # A runner that somebody stopped could not tell of the end.
        [ "$sj_wake" ] && kill -s CONT $sj_wake
        for sj_i in $sj_done; do [ -h "jobs/$sj_i" ] || ! sj_regular "jobs/$sj_i/killed" || printf '' >"jobs/$sj_i/killed"; done
        sj_left=$sj_live
        [ "$sj_left" ] || break
        case $sj_rounds in [1-4]) sj_nap=0.05 ;; esac
        sleep "$sj_nap" || sleep 1
    done
}

# Nobody could be listed, so that nothing is known of what is left. The groups are told as
# they are, once, and ended after the grace; one that is there no more is the end of what was
# asked for if that was a group.
sj_unseen() {
    sj_live=$sj_left sj_done='' sj_nap=0.5
    if [ -z "$sj_told" ]; then
        sj_signal_groups TERM $sj_left
        sj_signal_groups CONT $sj_left
        sj_told=1
    fi
    for sj_w in $sj_left; do
        sj_grace_of "$sj_w"
        [ $((sj_cs - sj_from)) -lt "$sj_hundredths" ] || sj_signal_groups KILL "$sj_w"
    done
    [ $sj_scope = tree ] || kill -0 "-$sj_j" || sj_live=''
}

# The jobs of a batch share the instant of their start to a few milliseconds, and a line of
# the journal: both are read and written once for sixteen.
sj_batch() {
    sj_n=0 sj_l='' sj_init=''
    [ "$sj_proc" ] && sj_start_of 1 2>/dev/null && sj_init=$sj_started
    while read -r sj_line; do
        [ $((sj_n % 16)) -eq 0 ] && {
            [ "$sj_l" ] && sj_note "S$sj_l"
            sj_l=''
            sj_w=$sj_line
            sj_clock
            sj_line=$sj_w
        }
        sj_n=$((sj_n + 1))
        sj_l="$sj_l ${sj_line%%:*}"
        sj_one "${sj_line%%:*}" "${sj_line#*:}" &
    done
    [ "$sj_l" ] && sj_note "S$sj_l"
}

# Who waits for a few starts listens to stderr: it ends once their records stand.
case $sj_mode$sj_burst in
s) exec >/dev/null ;;
*) exec >/dev/null 2>&1 ;;
esac
case $sj_mode in
s) sj_batch ;;
k)
    set --
    while read -r sj_line; do set -- "$@" "$sj_line"; done
    {
        sj_self
        sj_me=$sj_pid sj_stage=kill sj_scope=tree sj_left=$*
        trap sj_unforked EXIT
        for sj_i; do
            [ -f "jobs/$sj_i/cancel" ] && printf 'killer=%s %s\n' "$sj_pid" "$sj_start" >>"jobs/$sj_i/cancel"
        done
        sj_end_trees tree "$@"
        sj_stage=''
    } &
    ;;
again)
    trap sj_unforked EXIT
    case $sj_stage in
    kill) sj_end_trees tree $sj_left ;;
    ended) sj_finish ;;
    esac
    sj_stage=''
    ;;
esac
exit 0
