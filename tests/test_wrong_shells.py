"""What may read our program in place of sh: told by its name, and left at once."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable

import pytest

from tests.cli import Cli, all_processes, eventually
from tests.sshd import Sshd

#: As an rc file, a forced command or a wrapper of an administrator may do it.
TERMINAL = 'script -qec "$SSH_ORIGINAL_COMMAND" /dev/null'


def left(sshd: Sshd | None) -> list[int]:
    """Return the processes that sessions of a server have left behind."""
    assert sshd is not None
    mark = re.compile(rb"\0SSH_CONNECTION=[^\0]* %d\0" % sshd.port)
    return [
        pid for pid, environ in all_processes("environ") if mark.search(b"\0" + environ)
    ]


@pytest.mark.parametrize("command", ["exec sh", TERMINAL])
@pytest.mark.parametrize("verb", ["run", "submit", "doctor"])
def test_a_session_through_a_terminal(
    new_box: Callable[..., Cli], command: str, verb: str
) -> None:
    if not shutil.which("script"):
        pytest.skip("no script here")
    cli = new_box(ForceCommand=command)
    assert cli.sshd is not None
    words = () if verb == "doctor" else ("--", "echo ran")
    ended = cli(verb, cli.host, *words)
    if command == "exec sh":
        assert ended.status == 0, ended
        return
    assert ended.status == 69, ended
    assert "terminal" in ended.err and cli.host in ended.err
    assert cli.sshd.sessions <= 2
    eventually(lambda: left(cli.sshd) == [], "no process of a session is left")
    assert not cli.base.exists()


@pytest.mark.parametrize("shell", ["zsh", "tcsh", "fish", "python3", "cat"])
def test_another_program_than_sh(new_box: Callable[..., Cli], shell: str) -> None:
    """As ``exec zsh`` in .bashrc does it; nothing of ours is run by it."""
    if not shutil.which(shell):
        pytest.skip(f"no {shell} here")
    cli = new_box(ForceCommand=f"exec {shell}")
    assert cli.sshd is not None
    ended = cli("submit", cli.host, "--", "echo ran")
    assert ended.status == 69, ended
    assert cli.host in ended.err
    if shell in ("zsh", "tcsh", "fish"):
        assert f"{shell} read our program" in ended.err, ended
        assert "exec" in ended.err  # where to look for the cause
    assert "cannot be written" not in ended.err
    assert cli.sshd.sessions <= 2
    eventually(lambda: left(cli.sshd) == [], "no process of a session is left")
    assert not cli.base.exists()
