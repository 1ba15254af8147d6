"""Hosts that lack something: setsid, /proc, blocks of a disk, inodes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.protocol import Request
from tests.remote.host import Host, an_order, end_all, fill, gone, of, reap_of, wait


def without(folder: Path, path: str, *missing: str) -> str:
    """Return a directory of the tools in ``path``, less some."""
    folder.mkdir()
    for part in path.split(":"):
        for tool in Path(part).iterdir():
            if tool.name not in missing and not (folder / tool.name).exists():
                (folder / tool.name).symlink_to(tool)
    return str(folder)


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_a_host_without_setsid_runs_and_ends_jobs(
    shell: str, tmp_path: Path, paths: dict[str, str]
) -> None:
    if shell not in paths:
        pytest.skip(f"no {shell} here")
    path = without(tmp_path / "tools", paths[shell], "setsid")
    (tmp_path / "home").mkdir()
    host = Host(tmp_path / "home", path)
    host.env["SJTEST"] = str(host.base)
    try:
        assert host.end(host.start(b"exit 3")).exit_status == 3
        on = host.running(b"sleep 100 & sleep 101")
        host.kill(on.job_id)
        assert host.end(on.job_id).cause == "cancelled"
        wait(lambda: not host.marked())
        left = host.running(b"sleep 102")
        os.kill(left.pid, signal.SIGKILL)
        wait(lambda: gone(left.pid))
        about = (left.job_id, left.pid, left.start)
        assert host.check(*about) == [protocol.Unsupervised(left.job_id)]
    finally:
        end_all(host)


def test_a_host_without_proc_runs_kills_and_loses_jobs(host: Host) -> None:
    """As on a host without /proc: ps tells who is there, marks cannot be seen."""
    if not shutil.which("ps"):
        pytest.skip("no ps here")
    host.hide_proc()
    assert host.end(host.start(b"exit 3")).exit_status == 3
    on = host.running(b"sleep 100 & sleep 101")
    assert host.check(on.job_id, on.pid, on.start) == []
    host.kill(on.job_id)
    assert host.end(on.job_id).cause == "cancelled"
    lost = host.running(b"sleep 100")
    os.kill(lost.pid, signal.SIGKILL)
    os.killpg(lost.pgid, signal.SIGKILL)
    about = (lost.job_id, lost.pid, lost.start)
    wait(lambda: of(protocol.Lost, host.check(*about)))


def test_ends_kills_and_reaps_need_no_free_block(small_disk: Path) -> None:
    host = Host(small_disk)
    host.env["SJTEST"] = str(host.base)
    started = host.running(b"sleep 0.3; echo more; exit 5")
    killed = host.running(b"sleep 100")
    fill(small_disk)
    assert host.end(started.job_id).exit_status == 5
    # The end counts from its line in `run` on; `exit` is its second name, made next.
    second = host.jobs / started.job_id / "exit"
    wait(lambda: second.exists() and second.stat().st_size > 0)
    host.kill(killed.job_id)
    assert host.end(killed.job_id).cause == "cancelled"
    order = an_order(b"true")
    refused = of(protocol.Refused, host.run(Request(starts=(order,))))
    assert [event.code for event in refused] == ["ENOSPC"]
    assert of(
        protocol.Reaped, host.run(Request(reaps=(reap_of(killed.job_id, b"up\n"),)))
    )
    (small_disk / "filler").unlink()
    assert host.end(host.start(b"true")).exit_status == 0


def test_ends_and_kills_need_no_free_inode(small_disk: Path) -> None:
    options = "remount,nr_inodes=60"
    subprocess.run(["mount", "-o", options, small_disk], check=True)
    host = Host(small_disk)
    host.env["SJTEST"] = str(host.base)
    started = host.running(b"sleep 0.3; exit 5")
    killed = host.running(b"sleep 100", kill_grace=0.1)
    for number in range(60):
        try:
            (small_disk / f"f{number}").touch()
        except OSError:
            break
    assert host.end(started.job_id).exit_status == 5
    assert of(protocol.KillSent, host.kill(killed.job_id))
    assert host.end(killed.job_id).cause == "cancelled"
    refused = of(protocol.Refused, host.run(Request(starts=(an_order(b"true"),))))
    assert [event.code for event in refused] == ["ENOSPC"]


def test_a_full_disk_without_a_base_is_said(small_disk: Path) -> None:
    fill(small_disk)
    host = Host(small_disk)
    said = host.run(Request(starts=(an_order(b"true"),)))
    assert of(protocol.Failed, said) or of(protocol.Refused, said)[0].code == "ENOSPC"


@pytest.mark.parametrize("lack", ["blocks", "inodes"])
def test_a_job_that_never_started_can_be_cancelled_on_a_full_disk(
    small_disk: Path, lack: str
) -> None:
    """There is no room for a claim, by which else the end would be published."""
    if lack == "inodes":
        options = "remount,nr_inodes=60"
        subprocess.run(["mount", "-o", options, small_disk], check=True)
    host = Host(small_disk)
    host.env["SJTEST"] = str(host.base)
    host.edit = lambda program: program.replace(b"sj_runner='", b"sj_runner='exit 0\n")
    order = an_order(b"true", key="k")
    assert of(protocol.Prepared, host.run(Request(starts=(order,))))
    host.edit = lambda program: program
    for path in host.base.glob("runner-*"):
        path.unlink()
    assert host.end(host.start(b"true")).exit_status == 0
    if lack == "inodes":
        with pytest.raises(OSError):
            for number in range(60):
                (small_disk / f"f{number}").touch()
    else:
        fill(small_disk)
    assert of(protocol.KillMissing, host.kill(order.job_id))
    assert not (host.jobs / order.job_id).exists()
    (refused,) = of(protocol.Refused, host.run(Request(starts=(order,))))
    assert refused.code == "EGONE"
    for path in small_disk.glob("f*"):
        path.unlink()
    (refused,) = of(protocol.Refused, host.run(Request(starts=(order,))))
    assert refused.code == "EGONE"
    assert host.end(host.start(b"exit 4", key="k")).exit_status == 4
