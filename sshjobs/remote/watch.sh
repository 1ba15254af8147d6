# Listens to the journal and says each line of it at once, for who waits on the other
# side; sent behind the functions of a round, after its sj_open_round, in one compound. It
# begins where the last round stopped reading, so that no end falls in between; where
# that place is not there any more, it says that there is news.
#
# Nothing here is needed for correctness: who hears a line asks with a round. Standard
# input says nothing and ends as the other side loses interest; then all of it ends, and
# sshd has its session back. The beat tells that side that we are there, and ends us should
# the end of the input never come: printf fails then. It is a process of its own, so that
# SIGPIPE ends it and not the shell, which has the tail to end; and ksh93's own does not
# fail. The journal is followed by its descriptor, so that one that was put aside is left
# alone; the watch ends after sj_life beats and is made anew.
#
# In: sj_from, sj_sweep, sj_machine, sj_life. Out: lines of the journal, and beats.
#
# GNU tail tells a line within a millisecond and sleeps in the kernel until then;
# BusyBox tail looks once a second (coreutils 9.1, BusyBox 1.35).

if [ "$sj_sweep" = 0 ]; then
    tail -c "+$((sj_from + 1))" -f "$sj_machine/journal" 2>/dev/null &
else
    printf 'E - .\n'
    tail -n 0 -f "$sj_machine/journal" 2>/dev/null &
fi
sj_tailer=$!
{
    sj_count=0
    while [ "$sj_count" -lt "$sj_life" ] && env printf 'beat\n' && sleep 2 >/dev/null; do
        sj_count=$((sj_count + 1))
    done
    kill "$sj_tailer" "$$"
} 2>/dev/null &
sj_beater=$!
trap 'kill "$sj_tailer" "$sj_beater" 2>/dev/null; exit 0' TERM
read -r sj_line
kill "$sj_tailer" "$sj_beater" 2>/dev/null
