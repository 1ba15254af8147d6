# What runs on a host: POSIX sh and nothing else.
#
# Theory of operation. No file of this folder is run as it stands: protocol/program.py sends
# those that a request needs, without their comments, inside one compound command that
# `exec sh` reads from its standard input (a cut stream then runs nothing).
#
#   a round   defines functions, and then is the request itself as calls of them. It writes
#             frames to stdout (docs/reference/wire-format.md) and leaves nothing running
#             but what it has detached.
#   a runner  is a file on the host, written once per version, of runner/ and launch/. `s`
#             starts jobs: one process a job stays as its runner, claims it (O_EXCL creation
#             of `run`), starts it in a session of its own, waits, deals with what the job
#             left behind and publishes its end (decision 0004). `k` ends the trees of jobs.
#
# Everything is repeatable under the job's id. A directory appears whole, by rename;
# only a process that holds `run` runs the job; only that process writes `exit`.
# Evidence is gathered by one awk over /proc, so that the number of forks of a poll
# depends neither on what is known nor on what runs; where a few run as before, by none.
#
# Rules of this folder, each measured (2026; dash 0.5.12, bash 5.2, BusyBox 1.35, ksh93):
# a redirection that fails on a special builtin (`:`, `exec`, `.`) ends the shell, on
# printf it does not; no descriptor above 2, but for
# the barrier of a burst (3, closed before a job); no `trap ''`, a job would inherit it;
# all variables begin with sj_, since assigning to one that came in exported would change
# the job's environment; data are quoted words, never bytes after the program. A program
# of awk is a file that holds no single quote (it writes \047); the shell has it as
# $sj_NAME_awk.
#
# Keep in sync with protocol/program.py and docs/reference/host-layout.md.
#
# This part is the shell itself, made the same on each host; first part of a round and of a runner.
# In: whatever the login left in the environment. Out: sj_bash (1 in bash), options and IFS
# as POSIX has them, and the functions that read a record of ours or a line of /proc.

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
sj_is_regular() { [ ! -h "$1" ] && { [ -f "$1" ] || [ ! -e "$1" ]; }; }

# The fields of a line of /proc/PID/stat from its third on, to sj_fields: the name before them
# may hold anything. One prefix after the other, since for the longest one dash tries each end
# of the line (0.13 ms a line, 0.5.12).
sj_cut_process_name() {
    # LINE
    sj_fields=$1
    while :; do
        case $sj_fields in *') '*) sj_fields=${sj_fields#*') '} ;; *) return 0 ;; esac
    done
}

# Of a record only the end counts: a job may make a file of any name in its directory.
sj_is_whole() {
    # FILE
    [ -f "$1" ] && [ ! -h "$1" ] || return
    case $(dd if="$1" bs=65536 count=1 2>/dev/null) in
    *"
end=" | *"
end=
"*) ;;
    *) return 1 ;;
    esac
}
