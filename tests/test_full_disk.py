"""A log that would fill this machine's disk, and a disk that is full already."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli import Cli, eventually

MIB = 1 << 20
FLOOD = "head -c 60000000 /dev/zero | tr '\\0' x; sleep 0.2"


@pytest.fixture
def small(cli: Cli, place: Path) -> Iterator[Cli]:
    """A home on a file system of 24 MiB, of which a tenth is to stay free."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a small file system")
    disk = place / "disk"
    disk.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=24m,mode=0700", "none", str(disk)]
    subprocess.run(command, check=True)
    cli.home = disk / "home"
    cli.env["SSHJOBS_HOME"] = str(cli.home)
    yield cli
    cli.close()
    subprocess.run(["umount", "-l", disk], check=True)


def free(cli: Cli) -> int:
    disk = os.statvfs(cli.home)
    return disk.f_bavail * disk.f_frsize


def fill(cli: Cli) -> Path:
    """Leave not a byte on the disk; return the file that takes it all."""
    ballast = cli.home.parent / "ballast"
    with open(ballast, "wb", 0) as file:
        for size in (65536, 4096, 1):
            with suppress(OSError):
                while file.write(b"x" * size):
                    continue
    return ballast


def test_a_flood_leaves_room_and_says_so(small: Cli) -> None:
    job = small.submit("--", FLOOD)
    ended = small("logs", job, "--follow")
    assert ended.status == 70, ended
    assert "min_free_bytes" in ended.err and f"logs {job} --offset" in ended.err
    assert 2 * MIB < free(small) < 12 * MIB
    home = small.job(job)["log_local_bytes"]
    assert home > 0 and ended.raw == b"x" * home
    assert small.job(job)["state"] == "COMPLETED"
    # What controls jobs goes on.
    other = small.submit("--", "sleep 1000")
    assert small("kill", other).status in (0, 1)
    assert small.job(other)["state"] == "CANCELLED"
    reaped = small("reap")
    assert job in reaped.err and "min_free_bytes" in reaped.err
    assert small.directory(job).exists()


def test_no_byte_is_lost_once_there_is_room(small: Cli) -> None:
    job = small.submit("--", FLOOD)
    first = small("logs", job, "--follow")
    subprocess.run(
        ["mount", "-o", "remount,size=200m", str(small.home.parent)], check=True
    )
    rest = small.ok("logs", job, "--offset", str(len(first.raw)))
    assert first.raw + rest.raw == b"x" * 60_000_000


def test_a_kill_goes_out_though_the_disk_is_full(small: Cli) -> None:
    job = small.submit("--", "sleep 1000")
    ballast = fill(small)
    ended = small("kill", job)
    eventually(lambda: (small.directory(job) / "exit").exists())
    assert ended.status in (0, 1, 75), ended
    ballast.unlink()
    assert small.state(job) == "CANCELLED"


def test_a_kill_goes_out_though_nothing_can_be_written_down(small: Cli) -> None:
    """Not even the room that is kept: somebody else was quicker."""
    job = small.submit("--", "sleep 1000")
    (small.home / "reserve").unlink()
    ballast = fill(small)
    ended = small("kill", job)
    assert ended.status == 75 and "1 of 1 jobs were told to end" in ended.err, ended
    eventually(lambda: (small.directory(job) / "exit").exists())
    ballast.unlink()
    assert small.state(job) == "CANCELLED"


def test_room_that_was_given_up_is_kept_again(small: Cli) -> None:
    job = small.submit("--", "sleep 1000")
    ballast = fill(small)
    small("poll", job)
    assert not (small.home / "reserve").exists()
    ballast.unlink()
    small("kill", job)
    assert (small.home / "reserve").stat().st_size == 512 * 1024


def test_a_wait_goes_on_though_the_disk_becomes_full(small: Cli) -> None:
    job = small.submit("--", "sleep 3")
    waits = small.start("wait", job)
    eventually(lambda: small.hosts()["rounds"] >= 2)
    fill(small)
    out, err = waits.communicate(timeout=60)
    assert waits.returncode == 0 and b"COMPLETED" in out, err


def test_a_poll_is_answered_though_the_disk_is_full(small: Cli) -> None:
    job = small.submit("--", "sleep 0.1")
    fill(small)
    eventually(lambda: (small.directory(job) / "exit").exists())
    ended = small("poll", job)
    assert ended.status == 0 and "COMPLETED" in ended.out, ended
