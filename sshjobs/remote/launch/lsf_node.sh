# What LSF has done to a job, as its runner knows on the node.
# In: sj_noticed or sj_signal, the signal that came. Out: sj_cause, sj_why.

sj_lsf_tell_why() {
    case ${sj_noticed-}:${sj_signal-}:${sj_status-} in
    USR2:* | *:12:* | *:140) sj_cause=timeout sj_why='its time in LSF was up (-W)' ;;
    *) sj_why='ended in LSF (by bkill, or by its site)' ;;
    esac
}
