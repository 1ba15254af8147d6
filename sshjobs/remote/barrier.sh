# Lets jobs of a burst wait, claimed, while their host has no processor free for them.
# In: sj_make_barrier; descriptor 3, which holds it shut while this round lives; sj_keep_barrier.
# Out: sj_many, how many of the jobs that come next start at once; the others wait behind sj_barrier.
#
# Jobs that start take processors from the round, and from the client where it is of the same
# machine: a submit of a thousand would last until most of them have ended. Where more can run
# than there are processors, all jobs are written down and claimed first. The barrier is a
# FIFO that nobody writes to: a supervisor reads the end of it once the round has closed it,
# or is gone.

sj_make_barrier() {
    # to sj_barrier: /dev/null, which never keeps anybody waiting, where there can be none
    sj_barrier=/dev/null sj_processors='' sj_waits=''
    sj_count_processors
    [ -z "$sj_processors" ] || {
        mkfifo "$sj_tmp.barrier" 2>/dev/null && sj_barrier=$sj_tmp.barrier
    }
}

# Of a line as 0-3,8 how many it names.
sj_count_processors() {
    read -r sj_line </sys/devices/system/cpu/online || return
    case $sj_line in '' | *[!0-9,-]*) return ;; esac
    sj_ifs=$IFS IFS=,
    for sj_i in $sj_line; do
        sj_processors=$((sj_processors + ${sj_i#*-} - ${sj_i%-*} + 1))
    done
    IFS=$sj_ifs
} 2>/dev/null

# How many may start at once: as many as make eight for each processor, with those that run
# or could. The fourth word of loadavg tells how many those are, and how many there are.
sj_count_at_once() {
    # ID:ATTEMPT ...: to sj_many
    sj_many=$#
    [ "$sj_barrier" != /dev/null ] && read -r sj_i sj_i sj_i sj_line </proc/loadavg || return 0
    sj_line=${sj_line%%/*}
    case $sj_line in '' | *[!0-9]*) return 0 ;; esac
    sj_line=$((8 * sj_processors + 1 - sj_line))
    [ $sj_line -ge $# ] || {
        sj_waits=1
        [ $sj_line -gt 0 ] || sj_line=1
        sj_many=$sj_line
    }
} 2>/dev/null

# The reply is still to be read and written down: a moment more.
sj_keep_barrier() {
    # SECONDS
    [ -z "$sj_waits" ] || { sleep "$1" >&3 2>/dev/null 3<&- & }
}
