"""A person at a terminal: a password or a host key is asked for once."""

from __future__ import annotations

import os
import pty
import sys
from pathlib import Path

import pytest

from sshjobs import errors
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller


def at_a_terminal(
    caller: TransportCaller, question: bytes, answer: bytes
) -> tuple[int, bytes]:
    """Connect in a process with a terminal of its own and answer what is asked."""
    code = (
        "import sys; from pathlib import Path; "
        "from tests.transport_caller import TransportCaller; "
        "caller = TransportCaller(Path(sys.argv[1]), None, ssh_config=sys.argv[2]); "
        "caller.host = 'box'; caller.connect(interactive=True).close()"
    )
    words = [str(caller.folder), caller.values["ssh_config"]]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(Path(__file__).parent.parent)
        os.execv(sys.executable, [sys.executable, "-c", code, *words])
    seen = b""
    try:
        while piece := _read_terminal(terminal):
            if question in seen + piece and question not in seen:
                os.write(terminal, answer)
            seen += piece
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


def _read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: the last process with this terminal has ended
        return b""


def test_person_answers_and_everyone_rides_on_it(
    sshd: Sshd, caller: TransportCaller
) -> None:
    sshd.known_hosts.write_text("")
    sshd.write_client_config(before="StrictHostKeyChecking ask")
    with pytest.raises(errors.AuthenticationError):
        caller.run("true")
    status, seen = at_a_terminal(caller, b"(yes/no", b"yes\n")
    assert status == 0, seen
    assert caller.run("echo x") == (0, b"x\n")
    assert sshd.logins == 1
    assert caller.state().alive


def test_person_says_no(sshd: Sshd, caller: TransportCaller) -> None:
    sshd.known_hosts.write_text("")
    sshd.write_client_config(before="StrictHostKeyChecking ask")
    status, seen = at_a_terminal(caller, b"(yes/no", b"no\n")
    assert status == 1
    assert b"Host key verification failed" in seen
    assert (sshd.logins, caller.ssh_pids()) == (0, [])
