#!/bin/sh
# Listens to the journal and says each line of it at once, for who waits on the other
# side; sent behind the functions of posix.sh, after its sj_open, in one compound. It
# begins where the last round stopped reading, so that no end falls in between; where
# that place is not there any more, it says that there is news.
#
# Nothing here is needed for correctness: who hears a line asks with a round. The beat
# tells both sides that the other is there: when the client is gone, printf fails (its
# SIGPIPE is trapped, so that the shell lives to end the tail) and all of it ends. The
# journal is followed by its descriptor, so that one that was put aside is left alone;
# the watch ends after SJ_LIFE beats and is made anew.
#
# GNU tail tells a line within a millisecond and sleeps in the kernel until then;
# BusyBox tail looks once a second (coreutils 9.1, BusyBox 1.35).
#
# shellcheck shell=sh
# shellcheck disable=SC2154

trap : PIPE
if [ "$sj_sweep" = 0 ]; then
    tail -c "+$((sj_from + 1))" -f "$sj_machine/journal" 2>/dev/null &
else
    printf 'E - .\n'
    tail -n 0 -f "$sj_machine/journal" 2>/dev/null &
fi
sj_t=$!
sj_n=0
while [ "$sj_n" -lt "$sj_life" ] && printf 'beat\n' && sleep 2; do
    sj_n=$((sj_n + 1))
done 2>/dev/null
kill "$sj_t" 2>/dev/null
