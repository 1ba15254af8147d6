# What systemd has done to a job, as its runner asks.
# In: sj_id. Out: sj_cause, sj_why.

sj_systemd_tell_why() {
    sj_why='stopped in systemd (systemctl stop, or with the manager of its user)'
    XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
    export XDG_RUNTIME_DIR
    # A manager that is busy may not answer at once.
    for sj_i in 1 2 3; do
        sj_line=$(timeout 10 systemctl --user show -p Result "sj-$sj_id.service" 2>/dev/null)
        case $sj_line in Result=?*) break ;; esac
        sleep 0.3
    done
    case $sj_line in
    Result=timeout) sj_cause=timeout sj_why='its time in systemd was up (RuntimeMaxSec)' ;;
    Result=oom-kill) sj_cause='' sj_why='out of memory: systemd ended it at its limit (MemoryMax)' ;;
    esac
}
