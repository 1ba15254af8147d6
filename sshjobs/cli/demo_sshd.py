"""The demonstration's throwaway sshd on the loopback address, and its counts."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import time
from contextlib import ExitStack
from typing import NamedTuple

from .demo_stage import Stage

_SSHD_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {top}/host_key
PidFile {top}/sshd.pid
AuthorizedKeysFile {top}/user_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
LogLevel DEBUG1
SetEnv HOME={top}/login
"""


_SSH_CONFIG = """\
Host demo
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {top}/user_key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {top}/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
"""


#: What is counted in sshd's log, and the text that each line of it begins with.
_COUNTED = {
    "connections": "Connection from ",
    "drops": "drop connection ",
    "sessions": "Starting session: ",
}


class Sshd(NamedTuple):
    """A running sshd of ours, and where its log stood before sshjobs came."""

    version: str
    port: int
    log: str
    offset: int

    def counts(self) -> dict[str, int]:
        """Return sshd's own counts since then."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            file.seek(self.offset)
            lines = file.read().splitlines()
        return {
            name: sum(line.startswith(text) for line in lines)
            for name, text in _COUNTED.items()
        }


def start_demo_sshd(stage: Stage, stack: ExitStack) -> Sshd | None:
    """Start an sshd that this user can log in to; None where that cannot be."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin:/sbin"
    programs = [shutil.which(name, path=path) for name in ("sshd", "ssh", "ssh-keygen")]
    sshd, ssh, keygen = programs
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # ssh runs for no user without a name: a container's made-up uid
        return None
    if not (sshd and ssh and keygen):
        return None
    for name in ("host_key", "user_key"):
        key = f"{stage.top}/{name}"
        words = [keygen, "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", key]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    os.mkdir(f"{stage.top}/login")
    port = _write_configs(stage, user)
    log = f"{stage.top}/sshd.log"
    process = _start_process(stage, stack, sshd, log)
    if not _wait_until_listening(process, log) or not _try_login(stage, ssh):
        return None
    version = subprocess.run([ssh, "-V"], stderr=subprocess.PIPE, check=False).stderr
    name = version.decode().partition(",")[0]
    return Sshd(name, port, log, os.path.getsize(log))


def _write_configs(stage: Stage, user: str) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    values = {"top": stage.top, "port": port, "user": user}
    _write_file(f"{stage.top}/sshd_config", _SSHD_CONFIG.format(**values))
    _write_file(f"{stage.top}/ssh_config", _SSH_CONFIG.format(**values))
    with open(f"{stage.top}/host_key.pub", encoding="ascii") as file:
        _write_file(f"{stage.top}/known_hosts", f"[127.0.0.1]:{port} {file.read()}")
    return port


def _write_file(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _start_process(
    stage: Stage, stack: ExitStack, sshd: str, log: str
) -> subprocess.Popen[bytes]:
    if os.geteuid() == 0 and not os.path.isdir("/run/sshd"):
        # Where sshd has never run as a service, its privilege separation lacks this.
        # It stays: by the time we end, another sshd may rest on it.
        os.makedirs("/run/sshd", 0o755, exist_ok=True)
    process = subprocess.Popen(
        [sshd, "-D", "-E", log, "-f", f"{stage.top}/sshd_config"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    return process


def _wait_until_listening(process: subprocess.Popen[bytes], log: str) -> bool:
    """Wait until sshd says that it listens; its port is not poked."""
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        if os.path.exists(log):
            with open(log, encoding="utf-8", errors="replace") as file:
                if "Server listening on" in file.read():
                    return True
        time.sleep(0.02)
    return False


def _try_login(stage: Stage, ssh: str) -> bool:
    """Tell whether plain ssh gets in; a machine can have reasons to refuse.

    A login that has to wait for somebody's directory service is no use here either.
    """
    words = [
        ssh,
        "-F",
        f"{stage.top}/ssh_config",
        "-o",
        "BatchMode=yes",
        "demo",
        "true",
    ]
    nothing = subprocess.DEVNULL
    try:
        ended = subprocess.run(
            words, stdin=nothing, capture_output=True, timeout=20, check=False
        )
    except subprocess.TimeoutExpired:
        return False
    return ended.returncode == 0
