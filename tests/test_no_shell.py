"""Accounts on which no round can ever be served: nothing waits for one."""

from __future__ import annotations

import pytest

from tests.cli import Cli
from tests.test_trouble import forced

_COMMANDS = [
    "exit 0",
    "exit 3",
    "git-shell",
    "echo hello",
    "echo hello >&2; exit 255",
    "kill -9 $$",
    "cat >/dev/null",
    "exec 1>&-; cat >/dev/null",
    "exec sleep 0.2",
]


@pytest.mark.parametrize("command", _COMMANDS)
def test_where_nothing_runs_nothing_is_left(cli: Cli, command: str) -> None:
    """Not 75, which says that asking again will do."""
    assert cli.sshd is not None
    with forced(cli.sshd, command):
        ended = cli("submit", cli.host, "--", "true")
        assert (ended.status, ended.out) == (69, ""), ended
        assert "did not run our program" in ended.err
        assert cli.ok("list", "--json").objects == []
        assert cli("run", cli.host, "--key", "k", "--", "true").status == 69
    cli.ok("disconnect", cli.host)
    ended = cli("run", cli.host, "--key", "k", "--", "echo one")
    assert (ended.status, ended.out) == (0, "one\n"), ended
    assert len(list((cli.base / "jobs").iterdir())) == 1


@pytest.mark.parametrize(
    "words",
    [
        "'exec' is not recognized as an internal or external command,\\r\\noperable "
        "program or batch file.\\r",
        "exec : The term 'exec' is not recognized as the name of a cmdlet, function",
        '"exec" - niet herkend: geen interne\\r\\nof externe opdracht.\\r',
    ],
    ids=["cmd", "PowerShell", "cmd in Dutch"],
)
def test_windows_is_recognised(cli: Cli, words: str) -> None:
    """The words are those of Windows; no Windows was at hand."""
    assert cli.sshd is not None
    script = cli.sshd.folder / "windows"
    script.write_text(
        f"cat >/dev/null; printf '%b\\n' \"{words!s}\" >&2; exit 1\n".replace(
            '"exec"', '\\"exec\\"'
        )
    )
    with forced(cli.sshd, f"sh {script}"):
        ended = cli("submit", cli.host, "--", "true")
        assert (ended.status, ended.out) == (69, ""), ended
        assert "the host runs Windows" in ended.err


def test_an_output_that_is_lost_leaves_it_open(cli: Cli) -> None:
    """The program runs there, so that the job may; it is asked about later."""
    assert cli.sshd is not None
    with forced(cli.sshd, "exec >/dev/null 2>&1; eval $SSH_ORIGINAL_COMMAND"):
        ended = cli("submit", cli.host, "--", "true")
        assert ended.status == 75, ended
    cli.ok("disconnect", cli.host)
    (job,) = ended.lines
    assert cli("wait", job).status == 0
    assert len(list((cli.base / "jobs").iterdir())) == 1
