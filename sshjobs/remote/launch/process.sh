# Launches jobs as processes of this machine: the launcher of jobs that name none.
# In: lines of ID:ATTEMPT, ids. Out: a runner for each job; one killer for all.
#
# Its probe is sj_probe_tools (tools.sh). It has nothing to find or to look at apart from the
# claims and /proc, which judge.awk reads.

sj_process_start() { sj_detach_runner s "$1"; }
sj_process_stop() { sj_detach_runner k "$1"; }
