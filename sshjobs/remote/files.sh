# The questions of a copy, before it begins: where a directory is, and which files are meant.
# In: the login. Out: words, each with a NUL byte behind it, which no name can hold. It
# makes a directory that was asked for with a / at its end, and nothing else.

sj_print_words() {
    printf '%s\0' "$@"
}

sj_find_home() {
    case ${HOME-} in
    /*) sj_home=$HOME ;;
    *) sj_home=$(pwd -P) ;;
    esac
}

# As the working directory of a job: keep in sync with runner/child.sh.
sj_resolve_path() {
    # PATH: absolute to sj_to
    case $1 in
    '' | \~) sj_to=$sj_home ;;
    \~/*) sj_to=$sj_home/${1#??} ;;
    /*) sj_to=$1 ;;
    *) sj_to=$sj_home/$1 ;;
    esac
}

# A path may end with a newline, which a command substitution would drop.
sj_find_real() {
    # DIR: its path without links to sj_real, "" if nobody can go there
    sj_real=$(CDPATH='' cd -P -- "$1" >/dev/null 2>&1 && pwd -P && echo .)
    sj_real=${sj_real%??}
}

sj_enter_dir() {
    # DIR: the files that follow are relative to it
    sj_resolve_path "$1"
    sj_find_real "$sj_to"
    if [ -n "$sj_real" ] && CDPATH='' cd -P -- "$sj_to" >/dev/null 2>&1; then
        sj_print_words in "$sj_real"
    elif [ -d "$sj_to" ]; then
        sj_print_words shut "$sj_to"
    else
        sj_print_words gone "$sj_to"
    fi
}

sj_find_kind() {
    # PATH: one letter to sj_kind
    if [ -d "$1" ]; then
        sj_kind=d
        [ -r "$1" ] && [ -x "$1" ] || sj_kind=p
    elif [ -f "$1" ]; then
        sj_kind=f
        [ -r "$1" ] || sj_kind=p
    elif [ -e "$1" ] || [ -h "$1" ]; then
        sj_kind=o
    else
        sj_kind=n
    fi
}

sj_show_files() {
    # NUMBER PATH...: the files that a pattern has found
    sj_number=$1
    shift
    sj_last=
    for sj_path; do
        sj_find_kind "$sj_path"
        sj_parent=${sj_path%/*}
        # A process for each directory, not for each file.
        if [ "$sj_parent" != "$sj_last" ]; then
            sj_find_real "${sj_parent:-/}"
            sj_last=$sj_parent
        fi
        sj_print_words "$sj_number$sj_kind" "${sj_real%/}/${sj_path##*/}"
    done
}

sj_find_target() {
    # PATH MAKE: where files are to go; MAKE is 1 if a directory may be made
    sj_resolve_path "$1"
    [ -z "$2" ] || mkdir -p -- "$sj_to" 2>/dev/null
    sj_find_kind "$sj_to"
    case $sj_kind in
    d | p) sj_find_real "$sj_to" ;;
    *)
        sj_parent=${sj_to%/*}
        sj_find_real "${sj_parent:-/}"
        [ -z "$sj_real" ] || sj_real=${sj_real%/}/${sj_to##*/}
        ;;
    esac
    sj_print_words "$sj_kind" "$sj_real"
}

sj_find_tool() {
    if command -v rsync >/dev/null 2>&1; then
        sj_print_words rsync
    else
        sj_print_words sftp
    fi
}
