"""One table of the remedies that errors name, each by its code.

A code is a kind and a word: ``here:`` for files and programs of this machine, after the
name of an errno(3) where there is one; ``host:`` for a code that the host's program
gave, of the frames ``failed`` and ``refused``; ``shell:`` for hosts where no ``sh``
read that program; ``login:`` for connections, ``session:`` for sessions over one,
``round:`` for rounds; ``doctor:`` for findings of the doctor. Names in braces are facts
that the error's place fills in. A host may give any code, so that no ``host:`` hint has
a fact.

Only what goes wrong imports this module (:func:`sshjobs.errors.find_hint`), so that a
start never reads it.
"""

from __future__ import annotations

_ROOM = (
    "make room on that file system (df and df -i tell what is used up) and run the "
    "same command again"
)
_ELSEWHERE = "SSHJOBS_HOME names another place"
_WRITABLE = f"it must be writable by you; {_ELSEWHERE}"
_FILES = "see ulimit -n on this machine"
_ADOPT = (
    "move the file aside, then bring back what the hosts know:\n"
    "sshjobs poll --host HOST --adopt"
)
_NETWORK = "look at the network, a firewall, the host; the setting is conn_timeout"
_JUMP = "see whether ssh to the jump host works and its sshd has AllowTcpForwarding yes"
_FIRST = "log in once with ssh {host} and look at the key that it shows"
_ASSUMPTIONS = "docs/reference/assumptions.md"

HINTS = {
    # Files and programs of this machine.
    "here:ENOSPC": _ROOM,
    "here:EDQUOT": _ROOM,
    "here:EACCES": _WRITABLE,
    "here:EROFS": _WRITABLE,
    "here:EMFILE": _FILES,
    "here:ENFILE": _FILES,
    "here:scarce": "see ulimit -n and ulimit -u on this machine",
    "here:elsewhere": _ELSEWHERE,
    "here:damaged": _ADOPT,
    "here:newer": "all that was asked for stays in the record: run the command again "
    "with the newer sshjobs",
    "here:begun anew": "bring back what the hosts know:\n"
    "sshjobs poll --host HOST --adopt",
    "here:private": "look inside, then chmod 700 it",
    "here:directory": "look inside, then chmod 700 it",
    "here:file": "look inside, then chmod 600 it",
    "here:odd": f"look at it, then move it away, or {_ELSEWHERE}",
    "here:link": "look at its owner; name the very place (SSHJOBS_HOME), or move it "
    "away",
    "here:owner": f"run sshjobs as that user, or {_ELSEWHERE}",
    "here:way": f"chmod o-w {{folder}} (or chmod +t it), or {_ELSEWHERE}",
    "here:config owner": "SSHJOBS_CONFIG names a file of your own",
    "here:config": "look inside, then chmod go-w {path}",
    "here:socket": f"the control socket cannot be made on this machine: {_ROOM}, or "
    "give SSHJOBS_HOME a short path on a local disk",
    "here:socket path": "set a shorter SSHJOBS_HOME",
    "here:no ssh": "install OpenSSH",
    "here:ssh -G": "a Match exec of ssh_config may hang",
    "here:mux": "setting mux=auto lets ssh itself talk to it",
    # The host's program, and the shells that are to run it.
    "host:EBASE": "sshjobs keeps its files in a directory of yours that only you can "
    "write: mend it, or name another one with remote_base_dir",
    "host:ENOSPC": "make room on the host's file system, or set remote_base_dir",
    "host:EACCES": "the base directory on the host must be writable, see "
    "remote_base_dir",
    "host:ESHELL": "with --shell name a shell that the host has",
    "host:ELAUNCH": "see --launcher-args, and what sshjobs doctor says of the host",
    "host:ELIMIT": "the cluster takes no more jobs of yours now: submit this one again "
    "when others have ended, or with --wait-room, which keeps it waiting for that",
    "host:ETOOL": "install it, or have it in the PATH of a login there; nothing was "
    "done",
    "host:EFORK": "end some of its processes, or raise its limit (ulimit -u)",
    "host:EDIED": "a tool died there, as of a limit on memory: the next command asks "
    "again, and sshjobs doctor HOST looks at the tools",
    "host:EHOME": "set remote_base_dir to an absolute path",
    "host:EVERSION": "update sshjobs here, or name another directory with "
    "remote_base_dir",
    "shell:exec": "nothing was done there; look for 'exec {name}' in the start-up "
    "files of the account (.bashrc, .profile) or in a forced command, and let it "
    "happen at a terminal only: [ -t 0 ] && exec {name}",
    "shell:terminal": "nothing was done there; a forced command or a wrapper (script, "
    "tmux, sudo with use_pty) runs each command in a terminal: let it hand on commands "
    "without one",
    "shell:Windows": "nothing was done there; hosts of jobs need a POSIX sh: log in to "
    "Linux on that machine (sshd in WSL), or to another host",
    "shell:account": "the account must be able to run commands: ssh HOST echo yes must "
    "print yes, which a forced command prevents, or start-up files such as .bashrc "
    "that exit, exec or read standard input",
    # Connections; most are of a word of ssh, see transports/ssh_errors.py.
    "login:person": "see ssh -v {host}; a changed key, certificate, ticket or "
    "ssh_config is tried at once; sshjobs connect {host} also asks for a password or a "
    "code",
    "login:first": _FIRST,
    "login:changed key": "if the new key is expected, ssh-keygen -R forgets the old "
    "one; a changed known_hosts is tried at once",
    "login:account": "an expired account or password, /etc/nologin, pam_access, or "
    "pam_slurm_adopt without a job there; the host's admin and its log know",
    "login:algorithms": "both sides must share one: KexAlgorithms, HostKeyAlgorithms, "
    "Ciphers",
    "login:many keys": "more keys are offered than sshd's MaxAuthTries: name one with "
    "IdentityFile and IdentitiesOnly yes in ssh_config",
    "login:own words": "these are the host's own words; its log may say more",
    "login:throttled": "the server admits no more logins now: sshd_config MaxStartups, "
    "PerSourceMaxStartups or, from OpenSSH 9.8, PerSourcePenalties; trying again later "
    "helps, raising banner_timeout does not",
    "login:name": "look at the name, at HostName in ssh_config, at the name service",
    "login:banner": "the port is open and no ssh server greeted; conn_timeout bounds "
    "that too",
    "login:port": "nothing listens at that port; is sshd running, is Port right?",
    "login:jump": _JUMP,
    "login:network": _NETWORK,
    "login:proxy": "run the ProxyCommand of ssh_config by hand, or ssh to the jump "
    "host; of your environment it has *_proxy, what ssh_config names as ${{NAME}}, and "
    "what the setting master_env names",
    "login:environment": "cron and Airflow give other environments than a login does: "
    "set it there",
    "login:ended": "see the server's log; sshd_config UnusedConnectionTimeout does "
    "that too",
    "login:many words": "see what it says with: ssh HOST true",
    "login:silent": "the host accepts connections and goes silent; settings "
    "conn_timeout and banner_timeout bound that together",
    "login:again": "this machine tries again by itself in {seconds} s at the earliest, "
    "the setting is refused_retry; sshjobs connect {host} tries at once",
    # Sessions over a connection.
    "session:again": "asking again is safe",
    "session:full": "the host opens no further session on the connection: sshd_config "
    "MaxSessions; a command that goes on there keeps its place until it ends",
    "session:rider": "MaxSessions",
    "session:log": "the host's log says why: a ChrootDirectory with wrong owners, an "
    "account that its limits or its PAM session do not let in, UnusedConnectionTimeout",
    "session:may go on": "it may go on",
    "session:copy": "run it again to go on",
    "session:sftp": "if it ends at once, the host has neither rsync nor sftp",
    # Rounds, and how often they are tried.
    "round:setting": "the setting is {name}",
    "round:unserved": "a full disk there, or no more processes allowed (ulimit -u)",
    "round:handshakes": "given up after handshake {most}: the setting is "
    "conn_retry_attempts",
    "round:rounds": "given up after round {most}: the setting is "
    "max_reconnect_attempts",
    "round:late": "given up after --wait-host {bound:g} s",
    "round:cooldown": "nobody on this machine tries again for {seconds} s, which is "
    "beyond what is left of --wait-host {bound:g} s",
    "round:placed": "key {key} was placed on {host}, and runs on no other host",
    "round:key": "nothing ran; if both names lead to one host, use that one for this "
    "key",
    # Findings of the doctor.
    "doctor:setsid": "install util-linux",
    "doctor:signals": "GNU coreutils 8.31 or later gives them back",
    "doctor:proc": _ASSUMPTIONS,
    "doctor:boot": _ASSUMPTIONS,
    "doctor:bytes": "install GNU coreutils",
    "doctor:record": "locks and SQLite want a local disk: set SSHJOBS_HOME",
    "doctor:tools": "install coreutils and awk",
    "doctor:shared": "each machine sees to the jobs that it runs",
    "doctor:linger": "loginctl enable-linger, on the host; then --launcher systemd "
    "(setting launcher)",
    "doctor:launcher": "log in to a host of the cluster that has its commands in PATH",
    "doctor:nodes": "nodes must share it, see remote_base_dir; a job that finds none "
    "says so",
    "doctor:space": "make room, or set remote_base_dir",
    "doctor:inodes": "sshjobs reap --older-than 7d",
    "doctor:clock": "times of jobs are corrected by it; run NTP",
}
