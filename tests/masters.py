"""Masters of ssh under test: wait for one, find its process, stop it for a while."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sshjobs.transports import process
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller


def until(true: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def add_key(agent: Path, key: Path) -> None:
    """Add a key to an agent, once it listens: its socket is there before."""
    env = {**os.environ, "SSH_AUTH_SOCK": str(agent)}
    add = ["ssh-add", "-q", str(key)]
    until(lambda: subprocess.run(add, env=env).returncode == 0)


def sunk(_piece: bytes) -> None:
    """Take what a command says and forget it."""


def pid_of(caller: TransportCaller) -> int:
    """Return the pid of the live master."""
    state = caller.state()
    assert state.alive and state.pid
    return state.pid


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


def through_a_script(sshd: Sshd, first: str) -> None:
    """Have the connection go through a program that runs some shell before."""
    relay = sshd.folder / "relay.py"
    relay.write_text(f"""import os, socket, threading
s = socket.create_connection(("127.0.0.1", {sshd.port}))
def up():
    while data := os.read(0, 65536):
        s.sendall(data)
    os._exit(0)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536):
    os.write(1, data)
""")
    script = sshd.folder / "proxy.sh"
    script.write_text(f"{first}\nexec {sys.executable} {relay}\n")
    sshd.write_client_config(f"ProxyCommand sh {script}")


def behind(jump: Sshd, target: Sshd, *lines: str) -> None:
    """Write a configuration in which ``box`` is reached through ``hop``."""
    hop = jump.write_client_config(*lines).read_text().replace("Host box", "Host hop")
    target.write_client_config("ProxyJump hop", before=hop)


def owners(caller: TransportCaller) -> list[int]:
    """Return the processes that own connections of ours."""
    log = f"{caller.folder}/log."
    return [pid for pid, _ in process.find_carriers(log)]
