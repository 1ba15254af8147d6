# systemd: jobs as services of the user's own manager, on the host itself.
# In: ids, ID:ATTEMPT, sj_batch (the runner of batch jobs) and its hash. Out: as queue.sh says.
#
# A login that ends takes its processes along where logind has KillUserProcesses=yes; a service
# of a user who lingers stays. Measured with systemd 252: systemd-run answers in 0.03 s, and a
# unit of a name that is there is refused, with status 1. A unit that has ended well is gone at
# once, one that failed stays, unless --collect. `systemctl stop` tells all of its cgroup TERM.
# A claimed job is judged as any process of this machine; what systemd says is for those that
# wait, and for a person. Source: systemd-run(1), systemctl(1), systemd.service(5), loginctl(1).

sj_run_systemd() (
    # COMMAND WORDS
    XDG_RUNTIME_DIR=${XDG_RUNTIME_DIR:-/run/user/$(id -u)}
    export XDG_RUNTIME_DIR
    exec timeout 15 "$@"
)

sj_systemd_probe() {
    # whether this host can do it
    for sj_i in systemd-run systemctl timeout; do
        command -v $sj_i >/dev/null 2>&1 || {
            sj_said="there is no $sj_i in the PATH of a login on the host"
            return 1
        }
    done
    sj_line=$(id -un)
    [ -e "/var/lib/systemd/linger/$sj_line" ] || {
        sj_said="$sj_line does not linger on the host, and its services end with its last login: loginctl enable-linger, on the host"
        return 1
    }
}

sj_systemd_examine() {
    # for `sshjobs doctor`
    sj_systemd_probe && sj_said=$(sj_run_systemd systemctl --user --version 2>&1) || {
        sj_tell_fact launcher "no: $sj_said"
        return
    }
    sj_line=${sj_said%%"
"*}
    sj_said=$(sj_run_systemd systemctl --user list-units --no-legend 2>&1) || {
        sj_tell_fact launcher "no: systemd does not answer: $sj_said"
        return
    }
    sj_tell_fact launcher "$sj_line, as services of the user"
}

# It takes no standard input; the number of its main process is what there is of a handle.
sj_systemd_submit() (
    # ID:ATTEMPT
    sj_write_batch systemd "$1"
    sj_write_login "$sj_id"
    sj_is_regular "jobs/$sj_id/batch" && { printf '%s\n' "$sj_script" >"jobs/$sj_id/batch"; } || return 124
    eval "set -- $sj_launchargs"
    sj_run_systemd systemd-run --user --collect --unit="sj-$sj_id" -p KillMode=control-group \
        -p WorkingDirectory="$sj_dir" "$@" "$sj_sh" "./jobs/$sj_id/batch" || return
    sj_run_systemd systemctl --user show -p MainPID "sj-$sj_id.service"
)

sj_systemd_find() {
    # WORD: whether it is its process, to sj_handle
    case $1 in MainPID=*) sj_handle=${1#MainPID=} ;; *) return 1 ;; esac
    case $sj_handle in *[!0-9]* | '' | ???????????????*) return 1 ;; esac
}

# Whether it was refused for good, in words: one that is there already was not.
sj_systemd_refuses() {
    # STATUS TEXT
    sj_code=ELAUNCH
    [ "$1" -lt 124 ] || return
    case $2 in
    *"already loaded"* | *onnect* | *"imed out"* | *"ransport endpoint"* | *"No such file"*) return 1 ;;
    *Unknown* | *nvalid* | *unrecognized* | *"Failed to parse"* | *"not supported"* | *denied* | *ermitted*) ;;
    *) return 1 ;;
    esac
}

sj_systemd_look() {
    sj_run_systemd systemctl --user list-units --all --plain --no-legend --full 'sj-*.service' >"$sj_tmp.units" || return
    # A name, whether it is loaded, what it does at large, and in detail.
    awk '{
        sub(/^[^ -~]* */, "")
        if ($1 !~ /^sj-[a-z2-7]+[.]service$/ || length($1) != 27) next
        s = $4
        gsub(/[^a-z-]/, "_", s)
        w = $3 == "failed" ? "failed" : $3 == "inactive" ? "over" : "runs"
        print "q systemd", substr($1, 4, 16), 0, w, "-", "-", s == "running" ? "" : s
    }' "$sj_tmp.units"
    sj_failure=$?
    rm -f "$sj_tmp.units"
    return $sj_failure
}

sj_systemd_recall() {
    # nothing is kept: the journal is not everybody's to read
    return 0
}

sj_systemd_cancel() {
    # ID
    sj_run_systemd systemctl --user --no-block stop "sj-$1.service"
}
