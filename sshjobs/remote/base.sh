# The ground of every round: its environment, its ways to fail, and who this machine is.
# In: the login. Out: sj_node, sj_machine, sj_boot, sj_uid, and sj_line of its readers.

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

sj_clean_env() {
    # bash has one of its own, which ends its POSIX mode as it goes.
    # shellcheck disable=SC3045
    case $sj_bash in 1) export -n POSIXLY_CORRECT ;; *) unset POSIXLY_CORRECT ;; esac
    unset $sj_names SSHJOBS_BASH_ENV SSHJOBS_BASH_KEEP SSHJOBS_BASH_CWD SSHJOBS_BASH_POSIX
    LC_ALL=C
    export LC_ALL
}

sj_fail_round() {
    # CODE TEXT: the round cannot be served
    printf '%sfailed %s %s\nend\n' "$sj_first" "$1" "$2"
    trap - EXIT
    exit 0
}

sj_beats=0

sj_send_beat() {
    sj_beats=$((sj_beats + 1))
    case $sj_beats in *[05]0) printf 'beat\n' ;; esac
}

# Write a one-word reason for a failed write, from what a tool said in the C locale.
sj_name_error() {
    case $1 in
    *[Ss]pace* | *[Qq]uota*) sj_code=ENOSPC ;;
    *ermi* | *ead-only*) sj_code=EACCES ;;
    *) sj_code=EOTHER ;;
    esac
}

sj_read_line() {
    # FILE: its first line to sj_line
    sj_line=
    [ -r "$1" ] && { read -r sj_line <"$1"; } 2>/dev/null
    return 0
}

sj_read_passwd() {
    # FIELD: of this user's line in /etc/passwd to sj_line, 6 home, 7 shell
    sj_uid=$(id -u)
    sj_line=$(awk -F: -v u="$sj_uid" -v f="$1" '$3 == u { print $f; exit }' /etc/passwd)
}

sj_find_machine() {
    # sj_node, sj_machine, sj_boot
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
