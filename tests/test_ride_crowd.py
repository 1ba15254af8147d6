"""Many programs at once on the one connection, beside submits; a master that dies."""

from __future__ import annotations

import filecmp
import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import Cli, all_processes, eventually, finish
from tests.test_ride import TOP, _make_tree, tools  # noqa: F401

pytestmark = pytest.mark.skipif(
    not (shutil.which("rsync") and shutil.which("git")),
    reason="apt-get install rsync git",
)


class Crowd:
    """Programs that ride to one host, and the directory there that they write to."""

    def __init__(self, cli: Cli, place: Path, programs: Path) -> None:
        self.cli = cli
        self.place = place
        self.there = place / "host0/files"
        self.env = cli.env | {
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYTHONPATH": str(TOP),
        }
        self.ssh = programs / "sshjobs-ssh"
        cli.ok("ssh", cli.host, f"mkdir {self.there}")
        lines = [
            "git init -q repo",
            "git -C repo add -A",
            "git -C repo -c user.name=a -c user.email=a@b commit -qm x",
        ]
        (place / "repo").mkdir()
        for number in range(50):
            (place / f"repo/f{number}").write_bytes(os.urandom(20000))
        for line in lines:
            self.start(line).communicate()
        assert self.end(f"scp -q -S {self.ssh} -r repo {self.name('repo')}") == 0

    def name(self, path: str) -> str:
        return f"{self.cli.host}:{self.there}/{path}"

    def start(self, line: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            ["sh", "-ec", line], cwd=self.place, env=self.env, stderr=subprocess.PIPE
        )

    def end(self, line: str) -> int:
        done = self.start(line)
        _, said = done.communicate(timeout=300)
        assert done.returncode == 0, (line, said)
        return done.returncode

    def build_lines(self, count: int) -> list[str]:
        """Return as many commands: each tool in its turn, there and back."""
        kinds = (
            f"rsync -a -e 'sshjobs ssh' small/ {self.name('r%d')}/; "
            f"rsync -a -e 'sshjobs ssh' {self.name('r%d')}/ back%d/",
            f"GIT_SSH_COMMAND='sshjobs ssh' git clone -q {self.name('repo')} clone%d",
            f"scp -q -S {self.ssh} -r small {self.name('s%d')}",
            f"echo 'put -r small {self.there}/f%d' | "
            f"sftp -q -S {self.ssh} -b - {self.cli.host} >/dev/null",
        )
        lines = (kinds[number % len(kinds)] for number in range(count))
        return [line.replace("%d", str(number)) for number, line in enumerate(lines)]


@pytest.mark.parametrize(
    ("limit", "riders", "submits", "files", "size"),
    [
        (2, 8, 6, 20, 20_000),
        pytest.param(10, 30, 50, 1000, 200_000, marks=pytest.mark.slow),
        pytest.param(2, 30, 50, 1000, 200_000, marks=pytest.mark.slow),
    ],
)
def test_all_programs_ride_at_once_beside_submits(
    limit: int,
    riders: int,
    submits: int,
    files: int,
    size: int,
    new_box: Callable[..., Cli],
    place: Path,
    tools: Path,  # noqa: F811
) -> None:
    """End line 2: one connection, nothing dropped, nothing fails."""
    cli = new_box(MaxSessions=limit, Subsystem="sftp internal-sftp")
    crowd = Crowd(cli, place, tools)
    _make_tree(place / "small", 20, 10_000)
    _make_tree(place / "large", files, size)
    lines = crowd.build_lines(riders - 1)
    lines.append(f"rsync -a -e 'sshjobs ssh' large/ {crowd.name('large')}/")
    started = [crowd.start(line) for line in lines]
    jobs = [cli.start("submit", cli.host, "--", "true") for _ in range(submits)]
    failed = [
        (one.args, said)
        for one in started
        for said in [one.communicate()[1]]
        if one.returncode
    ]
    assert failed == []
    assert [one.status for one in finish(jobs)] == [0] * submits
    compared = filecmp.cmpfiles(
        place / "large", crowd.there / "large", os.listdir(place / "large"), False
    )
    assert [len(names) for names in compared] == [files, 0, 0]
    for number in range(0, riders - 1, 4):
        back = place / f"back{number}"
        assert sorted(os.listdir(back)) == sorted(os.listdir(place / "small"))
    for number in range(1, riders - 1, 4):
        assert (place / f"clone{number}/f49").stat().st_size == 20000
    for start, word in ((2, "s"), (3, "f")):
        for number in range(start, riders - 1, 4):
            assert len(os.listdir(crowd.there / f"{word}{number}")) == 20
    assert cli.sshd is not None
    assert (cli.sshd.connections, cli.sshd.drops) == (1, 0)


def test_a_master_that_dies_fails_its_riders_and_the_next_works(
    new_box: Callable[..., Cli],
    place: Path,
    tools: Path,  # noqa: F811
) -> None:
    cli = new_box(Subsystem="sftp internal-sftp")
    crowd = Crowd(cli, place, tools)
    (place / "one").write_bytes(os.urandom(1 << 20))
    lines = [
        # So slow that they are in the middle of it.
        f"rsync --bwlimit=50 -e 'sshjobs ssh' one {crowd.name('a')}",
        f"scp -q -l 400 -S {crowd.ssh} one {crowd.name('b')}",
        f"sftp -q -l 400 -S {crowd.ssh} -b /dev/stdin {cli.host} <<E\nput one "
        f"{crowd.there}/c\nE",
    ]
    started = [crowd.start(line) for line in lines]
    names = ("b", "c")  # rsync's has a name of its own until it is whole
    eventually(lambda: all((crowd.there / name).exists() for name in names))
    eventually(lambda: list(crowd.there.glob(".a.*")))
    assert cli.sshd is not None
    marks = (str(cli.sshd.config).encode(), b"ControlMaster=yes")
    [pid] = [
        pid
        for pid, words in all_processes("cmdline")
        if all(mark in words for mark in marks)
    ]
    os.kill(pid, signal.SIGKILL)
    ends = [(one.communicate()[0], one.returncode)[1] for one in started]
    assert all(status not in (0, None) for status in ends), ends
    for name in ("a", "b", "c"):
        path = crowd.there / name
        assert not path.exists() or path.stat().st_size < 1 << 20
    assert crowd.end(f"rsync -e 'sshjobs ssh' one {crowd.name('a')}") == 0
    assert filecmp.cmp(place / "one", crowd.there / "a", False)
    assert (cli.sshd.connections, cli.sshd.drops) == (2, 0)
