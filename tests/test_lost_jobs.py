"""Jobs and runners that die by another hand, and the state that their host tells."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest

from tests.cli import Cli, all_processes, eventually


def _run_file(cli: Cli, job: str) -> dict[str, str]:
    text = (cli.directory(job) / "run").read_text()
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _under_way(cli: Cli, job: str) -> None:
    """Wait until a job that is to sleep does: submit returns before its first exec."""
    mark = f"SSHJOBS_JOB_ID={job}".encode()
    eventually(
        lambda: any(
            mark in environ.split(b"\0") and _name(pid) == "sleep"
            for pid, environ in all_processes("environ")
        ),
        "a sleeping job",
    )


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _kill_group(cli: Cli, job: str) -> None:
    """Kill all that runs for a job, its runner first, as the OOM killer might."""
    mark = f"SSHJOBS_JOB_ID={job}".encode()
    _under_way(cli, job)
    os.kill(int(_run_file(cli, job)["pid"]), signal.SIGKILL)
    for pid, environ in all_processes("environ"):
        if mark in environ.split(b"\0"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_job_killed_from_outside_is_lost_within_two_polls(cli: Cli) -> None:
    job = cli.submit("--", "sleep 63")
    _kill_group(cli, job)
    states = [cli.state(job) for _ in range(2)]
    assert states[-1] == "LOST"
    assert cli.job(job)["reason"]


def test_a_job_that_outlives_its_runner_is_running(cli: Cli) -> None:
    job = cli.submit("--", "sleep 64")
    os.kill(int(_run_file(cli, job)["pid"]), signal.SIGKILL)
    assert [cli.state(job) for _ in range(3)] == ["RUNNING"] * 3
    cli("kill", job)
    assert cli.job(job)["state"] in ("CANCELLED", "LOST")


def test_a_main_process_killed_from_outside_is_a_failure(cli: Cli) -> None:
    job = cli.submit("--", "/usr/bin/python3 -c 'import os; os.kill(os.getpid(), 9)'")
    cli("wait", job)
    assert cli.job(job)["state"] == "FAILED"


def test_a_job_killed_from_outside_says_by_what(cli: Cli) -> None:
    job = cli.submit("--", "sleep 64")
    _under_way(cli, job)
    os.killpg(int(_run_file(cli, job)["pgid"]), signal.SIGKILL)
    cli("wait", job)
    assert (cli.job(job)["state"], cli.job(job)["signal"]) == ("FAILED", 9)
    # A process of the group that is still dying is ended once more, and that is told.
    ends = ("ended by SIGKILL", "what was left of its group was ended")
    assert cli.job(job)["reason"].startswith(ends)


def test_another_boot_id_means_lost(cli: Cli) -> None:
    job = cli.submit("--", "sleep 65")
    _under_way(cli, job)
    path = cli.directory(job) / "run"
    text = path.read_text()
    boot = _run_file(cli, job)["boot_id"]
    _kill_group(cli, job)
    path.write_text(text.replace(boot, "0" * len(boot)))
    assert [cli.state(job) for _ in range(2)][-1] == "LOST"
    assert "reboot" in cli.job(job)["reason"]


@pytest.mark.parametrize("size", [0, 1000])
def test_a_runner_that_a_power_failure_has_cut_is_mended(cli: Cli, size: int) -> None:
    cli.ok("run", cli.host, "--", "true")
    (runner,) = cli.base.glob("runner-*")
    whole = runner.read_bytes()
    (tools,) = cli.base.glob("*/tools")
    tools.write_text(f"another-boot {tools.read_text().partition(' ')[2]}")
    os.truncate(runner, size)
    assert cli.ok("run", cli.host, "--", "echo x").out == "x\n"
    assert runner.read_bytes() == whole


def test_a_reused_pid_is_not_taken_for_the_job(cli: Cli) -> None:
    job = cli.submit("--", "sleep 66")
    _under_way(cli, job)
    path = cli.directory(job) / "run"
    text = path.read_text()
    known = _run_file(cli, job)
    _kill_group(cli, job)
    path.write_text(text.replace(f"pid={known['pid']}", f"pid={os.getpid()}"))
    assert [cli.state(job) for _ in range(2)][-1] == "LOST"


def test_a_reused_group_is_not_taken_for_the_job(cli: Cli) -> None:
    # Begun first: in the same hundredth of a second as a job's own group, it would pass
    # for that one by its number and its start, and would be waited for.
    with subprocess.Popen(["sleep", "68"], start_new_session=True) as other:
        job, doomed = cli.submit("--", "sleep 66"), cli.submit("--", "sleep 67")
        for each in (job, doomed):
            _under_way(cli, each)
            path = cli.directory(each) / "run"
            text = path.read_text()
            known = _run_file(cli, each)
            _kill_group(cli, each)
            path.write_text(text.replace(f"pgid={known['pgid']}", f"pgid={other.pid}"))
        cli("kill", doomed)
        assert [cli.state(job) for _ in range(2)][-1] == "LOST"
        assert cli.state(doomed) in ("CANCELLED", "LOST")
        assert other.poll() is None
        other.kill()
