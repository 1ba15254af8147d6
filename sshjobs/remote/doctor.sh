# What the host is and has, for `sshjobs doctor`.
# In: NONCE BASE, and what sj_probe_tools finds. Out: frames fact; nothing is written to the host.

sj_examine_host() {
    # NONCE BASE LAUNCHERS
    sj_clean_env
    PATH=/usr/bin:/bin:${PATH-/usr/local/bin:/usr/bin:/bin}
    printf '%s' "$sj_first"
    sj_first=''
    sj_resolve_base "$2"
    sj_tell_fact shell "${SHELL-unknown}"
    sj_tell_fact system "$(uname -sm)"
    sj_tell_fact clock "$(date +%s)"
    for sj_i in awk cat cksum date dd find head id ln ls mkdir mv rm sed sleep tail tr uname; do
        command -v $sj_i >/dev/null 2>&1 ||
            { [ $sj_i = cksum ] && command -v sha256sum >/dev/null 2>&1; } ||
            sj_tell_fact missing $sj_i
    done
    sj_probe_tools
    sj_tell_ability setsid "${sj_setsid#-}"
    # bash gives signals back by itself.
    sj_tell_ability signals "$sj_bash${sj_env#-}"
    sj_tell_ability proc "$sj_proc"
    sj_read_line /proc/sys/kernel/random/boot_id
    sj_tell_ability boot "$sj_line"
    sj_tell_ability bytes "${sj_dd#0}"
    sj_examine_disk
    grep -hqi '^ *KillUserProcesses *= *\(yes\|true\|1\)' /etc/systemd/logind.conf \
        /etc/systemd/logind.conf.d/*.conf 2>/dev/null && sj_tell_fact killuser yes
    for sj_launcher in ${3-}; do "sj_${sj_launcher}_examine"; done
    trap - EXIT
    printf 'end\n'
}

# What a tool prints may have lines; the first one counts.
sj_tell_fact() {
    # NAME TEXT
    printf 'fact %s %s\n' "$1" "${2%%"
"*}"
}

sj_tell_ability() {
    # NAME WORD: of which nothing means no
    if [ "$2" ]; then sj_tell_fact "$1" yes; else sj_tell_fact "$1" no; fi
}

sj_examine_disk() {
    sj_tell_fact space "$(df -Pk "$sj_dir" 2>/dev/null | awk 'NR == 2 { print $4 }' 2>/dev/null)"
    sj_tell_fact inodes "$(df -Pi "$sj_dir" 2>/dev/null | awk 'NR == 2 { print $4 }' 2>/dev/null)"
    sj_tell_fact fstype "$(stat -f -c %T "$sj_dir" 2>/dev/null)"
}
