"""put and get at a real terminal."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import Cli
from tests.test_copies import no_rsync  # noqa: F401

#: A name that would drive a terminal, and one that is long.
NAME = "\x1b]0;title\x07\x1b[2J.csv"


def _type(cli: Cli, env: dict[str, str], *words: str | Path) -> bytes:
    """Run a command at a terminal; return all that it shows."""
    ours, theirs = pty.openpty()
    # sftp draws in the foreground of a terminal that is its own.
    argv = ["", "--ctty", "--wait", sys.executable, "-m", "sshjobs", *map(str, words)]
    argv[0] = str(shutil.which("setsid"))
    env = cli.env | {"TERM": "xterm"} | env
    child = subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # Linux ends a terminal without a process so
            break
    os.close(ours)
    assert child.wait() == 0, shown
    return shown


@pytest.mark.parametrize("has_rsync", [True, False])
def test_a_line_shows_how_far_it_is_and_no_name_drives_the_terminal(
    new_box: Callable[..., Cli],
    place: Path,
    no_rsync: dict[str, str],  # noqa: F811
    has_rsync: bool,
) -> None:
    cli = new_box(Subsystem="sftp internal-sftp")
    (place / NAME).write_bytes(os.urandom(1 << 20))
    env = {} if has_rsync else no_rsync
    there = place / "host0/there"
    shown = _type(cli, env, "put", cli.host, place / NAME, f"{there}/")
    shown += _type(cli, env, "get", cli.host, f"{there}/*", f"{place}/back/")
    assert (place / "back" / NAME).stat().st_size == 1 << 20
    assert shown.count(b"100%") >= 2
    assert b"\x1b]" not in shown and b"\x07" not in shown
    for words in (["-q"], ["--json"]):
        shown = _type(cli, env, "get", cli.host, f"{there}/*", f"{place}/b/", *words)
        assert b"%" not in shown
    assert _type(cli, env, "get", cli.host, f"{there}/*", f"{place}/b/", "-q") == b""
