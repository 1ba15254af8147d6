"""Other programs on the one connection: ssh, rsync, git, scp and sftp."""

from __future__ import annotations

import filecmp
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sshjobs import errors
from sshjobs.cli.ride_words import read_ride
from tests.cli import Cli, all_processes, finish

TOP = Path(__file__).parent.parent


@pytest.fixture
def tools(place: Path) -> Path:
    """A directory with sshjobs and sshjobs-ssh, as they are installed."""
    folder = place / "tools"
    folder.mkdir()
    (folder / "sshjobs").write_text(
        f'#!/bin/sh\nexec {sys.executable} -m sshjobs "$@"\n'
    )
    shutil.copy(TOP / "sshjobs/script/sshjobs-ssh", folder)
    for path in folder.iterdir():
        path.chmod(0o755)
    return folder


@pytest.mark.quick
@pytest.mark.parametrize(
    ("words", "host", "options", "command"),
    [
        ("h", "h", [], []),
        ("-l me h rsync --server -e.x . /d", "h", [], "rsync --server -e.x . /d"),
        ("-p 22 -o SendEnv=G me@h git-upload-pack 'r'", "me@h", "-o SendEnv=G", None),
        ("-x -oClearAllForwardings=yes -p 22 -s -- h sftp", "h", None, ["sftp"]),
        ("-C -o ControlMaster=auto -tt h /bin/sh -c x", "h", None, "/bin/sh -c x"),
        ("h -v -tt ls -l", "h", ["-v", "-t", "-t"], "ls -l"),
        ("h -- -x", "h", [], ["-x"]),
        ("-4vW a:1 h", "h", "-4 -v -W a:1", []),
    ],
)
def test_the_words_of_ssh_are_read_as_ssh_reads_them(
    words: str, host: str, options: Any, command: Any
) -> None:
    found = read_ride(words.split())
    assert found["host"] == host
    for name, wanted in (("options", options), ("command", command)):
        if wanted is not None:
            wanted = wanted.split() if isinstance(wanted, str) else wanted
            assert found[name] == wanted


@pytest.mark.parametrize("words", ["", "-v", "-M h", "-S x h", "-O exit h", "-p"])
def test_words_that_cannot_stand_are_refused(words: str) -> None:
    with pytest.raises(errors.SpecError):
        read_ride(words.split())


def test_it_is_ssh_in_all_but_the_connection(cli: Cli) -> None:
    cli.ok("ssh", cli.host, "true")  # a slow machine tells of the handshake
    done = cli("ssh", cli.host, "cat; echo err >&2; exit 7", stdin=b"\0bytes\xff")
    assert (done.status, done.raw, done.err) == (7, b"\0bytes\xff", "err\n")
    assert cli("ssh", cli.host, "exit 255").status == 255
    assert cli("ssh", cli.host, "kill -9 $$").status == 255  # as ssh has it
    assert cli("ssh", "-tt", cli.host, "tty").out.startswith("/dev/")
    assert (
        cli(
            "ssh", "-o", "ControlMaster=yes", "-oControlPath=x", cli.host, "true"
        ).status
        == 0
    )
    assert cli("ssh", "local", "true").status == 64
    assert cli.sshd is not None
    assert (cli.sshd.connections, cli.sshd.drops) == (1, 0)


def test_a_master_that_is_killed_fails_it_as_ssh_and_the_next_works(cli: Cli) -> None:
    cli.ok("ssh", cli.host, "true")
    rider = cli.start("ssh", cli.host, "echo on; sleep 5")
    assert rider.stdout is not None and rider.stdout.readline() == b"on\n"
    assert cli.sshd is not None
    marks = (str(cli.sshd.config).encode(), b"ControlMaster=yes")
    [pid] = [
        pid
        for pid, words in all_processes("cmdline")
        if all(mark in words for mark in marks)
    ]
    os.kill(pid, signal.SIGKILL)
    [ended] = finish([rider])
    assert ended.status == 255
    assert cli("ssh", cli.host, "echo again").out == "again\n"
    assert cli.sshd.connections == 2


def _make_tree(folder: Path, files: int, size: int) -> None:
    folder.mkdir()
    for number in range(files):
        (folder / f"f{number}").write_bytes(os.urandom(size))


@pytest.mark.parametrize("limit", [10, 2])
def test_many_ride_beside_submits(
    limit: int, new_box: Callable[..., Cli], place: Path, tools: Path
) -> None:
    """End line 2, in small: one connection, nothing dropped, nothing fails."""
    cli = new_box(MaxSessions=limit)
    assert cli.sshd is not None
    _make_tree(place / "tree", 50, 4000)
    riders = [
        cli.start("ssh", cli.host, f"sleep 0.3; echo {number}") for number in range(15)
    ]
    submits = [cli.start("submit", cli.host, "--", "true") for _ in range(10)]
    ended = finish(riders)
    assert [one.out for one in ended] == [f"{number}\n" for number in range(15)], ended
    assert [one.status for one in finish(submits)] == [0] * 10
    assert (cli.sshd.connections, cli.sshd.drops) == (1, 0)


def test_rsync_git_scp_and_sftp_ride(
    new_box: Callable[..., Cli], place: Path, tools: Path
) -> None:
    cli = new_box(Subsystem="sftp internal-sftp")
    there = place / "host0/files"
    cli.ok("ssh", cli.host, f"mkdir {there}")
    _make_tree(place / "tree", 20, 3000)
    env = cli.env | {"PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": str(TOP)}
    lines = [f"scp -q -S {tools}/sshjobs-ssh -r tree {cli.host}:{there}/scp"]
    lines.append(
        f"echo 'put tree/f1 {there}/sftp' | sftp -S {tools}/sshjobs-ssh -b - {cli.host}"
    )
    if shutil.which("rsync"):
        lines.append(f"rsync -a -e 'sshjobs ssh' tree/ {cli.host}:{there}/rsync/")
        lines.append(f"rsync -a -e 'sshjobs ssh' {cli.host}:{there}/rsync/ back/")
    if shutil.which("git"):
        lines += [
            "git init -q repo",
            "git -C repo -c user.name=a -c user.email=a@b commit -q --allow-empty -m x",
            f"scp -q -S {tools}/sshjobs-ssh -r repo {cli.host}:{there}/repo",
            f"GIT_SSH_COMMAND='sshjobs ssh' git clone -q {cli.host}:{there}/repo clone",
        ]
    for line in lines:
        subprocess.run(["sh", "-ec", line], cwd=place, env=env, check=True, timeout=120)
    assert not filecmp.dircmp(place / "tree", there / "scp").diff_files
    assert filecmp.cmp(place / "tree/f1", there / "sftp")
    if shutil.which("rsync"):
        assert sorted(os.listdir(place / "back")) == sorted(os.listdir(place / "tree"))
    assert cli.sshd is not None
    assert (cli.sshd.connections, cli.sshd.drops) == (1, 0)
