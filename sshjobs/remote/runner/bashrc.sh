# Opens the runner file: what bash reads of it by BASH_ENV before a shell line of a job.
# In: SSHJOBS_BASH_ENV, the BASH_ENV of the job itself. Out: what ssh would have bash read.

# bash reads this file before a shell line, by BASH_ENV, and from here what it reads before
# `ssh HOST LINE` (bash 5.2, shell.c: of sshd, for -c, not for a file).
case ${SSHJOBS_BASH_ENV+x} in
x)
    BASH_ENV=$SSHJOBS_BASH_ENV sj_back=''
    case ${SSHJOBS_BASH_POSIX+x} in x) export POSIXLY_CORRECT="$SSHJOBS_BASH_POSIX" ;; esac
    # What the job was given by name (--env, --cwd) is not for an rc to change.
    for sj_name in $SSHJOBS_BASH_KEEP; do
        eval "printf -v sj_value %q \"\$$sj_name\""
        sj_back="$sj_back builtin export $sj_name=$sj_value;"
    done
    case $SSHJOBS_BASH_CWD in
    ?*)
        eval 'printf -v sj_value %q "$PWD"'
        sj_back="$sj_back CDPATH='' builtin cd -P -- $sj_value >/dev/null;"
        ;;
    esac
    unset SSHJOBS_BASH_ENV SSHJOBS_BASH_KEEP SSHJOBS_BASH_CWD SSHJOBS_BASH_POSIX sj_name sj_value
    case $BASH_ENV in '') unset BASH_ENV ;; esac
    [ -r /etc/bash.bashrc ] && . /etc/bash.bashrc
    [ -r ~/.bashrc ] && . ~/.bashrc
    { builtin eval "$sj_back builtin unset sj_back"; } 2>/dev/null # and no trace of values
    return
    ;;
esac
