"""A host that has another name than when the job began, or several machines."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.protocol import Check, Request, Started
from tests.cli import Cli, eventually
from tests.remote.host import Host, edit_run, gone, of, wait


def machine_id() -> str:
    """Return what makes two names of a machine one."""
    path = Path("/etc/machine-id")
    text = path.read_text().strip() if path.exists() else ""
    if not text.strip("0"):
        pytest.skip("no machine-id here")
    return text


def running(host: Host) -> Started:
    """Start a job, and wait until its record holds all that it will until its end."""
    job = host.running(b"sleep 1000")
    wait(lambda: "born=" in (host.jobs / job.job_id / "run").read_text())
    return job


def about(job: Started) -> tuple[str, int, str]:
    """Return what a check of a job says."""
    return job.job_id, job.pid, job.start


def test_a_container_before_is_gone(any_host: Host) -> None:
    """As a name that ended before this machine, or container, began."""
    job = running(any_host)
    for name, value in (
        ("machine", f"before-{machine_id()}"),
        ("started_at", "1000000000"),
        ("boot_id", "another"),
    ):
        edit_run(any_host, job.job_id, name, value)
    (event,) = of(protocol.Lost, any_host.check(*about(job)))
    assert "reboot" in event.reason


@pytest.mark.parametrize("dies", [False, True])
def test_another_name_of_the_same_machine(any_host: Host, dies: bool) -> None:
    """The same boot and the same first process: it is judged, and ended, as ever."""
    job = running(any_host)
    edit_run(any_host, job.job_id, "machine", f"before-{machine_id()}")
    assert any_host.check(*about(job)) == []
    any_host.kill_runner(job.job_id)
    assert any_host.check(*about(job)) == [protocol.Unsupervised(job.job_id)]
    if not dies:
        any_host.kill(job.job_id)
        assert any_host.end(job.job_id).cause == "cancelled"
        wait(lambda: gone(job.pgid))
        return
    os.killpg(job.pgid, signal.SIGKILL)
    wait(lambda: gone(job.pgid))
    assert [type(event) for event in any_host.check(*about(job))] == [protocol.Lost]


def test_a_container_beside_this_one_is_not_judged(any_host: Host) -> None:
    """The same kernel and the same image, and another first process."""
    job = running(any_host)
    edit_run(any_host, job.job_id, "machine", f"beside-{machine_id()}")
    edit_run(any_host, job.job_id, "node", "beside")
    edit_run(any_host, job.job_id, "init", "99999999")
    assert any_host.check(*about(job)) == [protocol.Elsewhere(job.job_id, "beside")]
    any_host.kill(job.job_id)
    assert not (any_host.jobs / job.job_id / "killed").exists()
    assert not gone(job.pgid)


@pytest.mark.parametrize("since", ["started", "swept"])
def test_a_clone_with_the_same_id_is_another_machine(host: Host, since: str) -> None:
    """It was at work, under its name, after this one had begun."""
    job = running(host)
    clone = f"clone-{machine_id()}"
    edit_run(host, job.job_id, "machine", clone)
    edit_run(host, job.job_id, "boot_id", "another")
    edit_run(host, job.job_id, "node", "clone")
    if since == "swept":
        edit_run(host, job.job_id, "started_at", "1000000000")
        (host.base / clone).mkdir()
        (host.base / clone / "swept").write_text("99999999999\n")
    assert host.check(*about(job)) == [protocol.Elsewhere(job.job_id, "clone")]


@pytest.mark.parametrize("number", ["0", "00000000000000000000000000000000", "77"])
def test_another_id_is_another_machine(host: Host, number: str) -> None:
    job = running(host)
    edit_run(host, job.job_id, "machine", f"node7-{number}")
    edit_run(host, job.job_id, "node", "node7")
    host.kill_runner(job.job_id)
    assert host.check(*about(job)) == [protocol.Elsewhere(job.job_id, "node7")]


def test_kill_of_what_runs_elsewhere_is_done_there(host: Host) -> None:
    """Its journal says so to whoever reads there; nothing of this machine is ended."""
    job = running(host)
    before = of(protocol.JournalAt, host.run())[0]
    run = (host.jobs / job.job_id / "run").read_text()
    home = re.findall("^machine=(.*)$", run, re.M)[0]
    (host.base / "node7-77").mkdir()
    (host.base / "node7-77" / "journal").write_text("\n")
    edit_run(host, job.job_id, "machine", "node7-77")
    edit_run(host, job.job_id, "node", "node7")
    said = host.kill(job.job_id)
    assert of(protocol.KillSent, said)
    assert of(protocol.Elsewhere, said)
    journal = (host.base / "node7-77" / "journal").read_text()
    assert f"\nK {job.job_id} .\n" in journal
    assert not gone(job.pgid)
    # The same home, seen from that machine.
    edit_run(host, job.job_id, "machine", home)
    with (host.base / home / "journal").open("a") as file:
        file.write(journal)
    place = (before.generation, before.offset)
    due = host.run(Request(journal=place, checks=(Check(*about(job)),)))
    assert of(protocol.Due, due) == [protocol.Due(job.job_id)]
    host.kill(job.job_id)
    assert host.end(job.job_id).cause == "cancelled"


def test_what_runs_elsewhere_is_forgotten(any_host: Host) -> None:
    """Under each shell and awk; and not what runs here."""
    job = running(any_host)
    ask = Request(forgets=(Check(*about(job)),))
    said = any_host.run(ask)
    assert [event.job_id for event in of(protocol.Unforgotten, said)] == [job.job_id]
    path = any_host.jobs / job.job_id / "run"
    home = re.findall("^machine=(.*)$", path.read_text(), re.M)[0]
    (any_host.base / "node7-77").mkdir()
    edit_run(any_host, job.job_id, "machine", "node7-77")
    edit_run(any_host, job.job_id, "node", "node7")
    (lost,) = of(protocol.Lost, any_host.run(ask))
    assert "node7" in lost.reason
    assert of(protocol.Lost, any_host.run(ask)) == [lost]
    # That machine comes back: whoever asks it for anything hears that the job is due.
    edit_run(any_host, job.job_id, "machine", home)
    (any_host.base / "node7-77" / "due").rename(any_host.base / home / "due")
    assert of(protocol.Due, any_host.run()) == [protocol.Due(job.job_id)]
    assert not gone(job.pgid)
    any_host.kill(job.job_id)
    wait(lambda: gone(job.pgid))
    wait(lambda: not of(protocol.Due, any_host.run()))


def test_kill_names_the_machine_at_once(cli: Cli) -> None:
    job_id = cli.submit("sleep 1000")
    eventually(lambda: cli.state(job_id) == "RUNNING")
    path = cli.directory(job_id) / "run"
    eventually(lambda: "born=" in path.read_text())
    own = path.read_text()
    home = re.findall("^machine=(.*)$", own, re.M)[0]
    (cli.base / "node7-77").mkdir(mode=0o777)
    (cli.base / "node7-77" / "journal").touch(mode=0o666)
    (cli.base / "node7-77" / "journal").chmod(0o666)
    path.write_text(own.replace(home, "node7-77").replace("node=", "node=node7\nx="))
    ended = cli("kill", job_id)
    assert ended.status == 75 and "node7" in ended.err, ended
    path.write_text(own)
    with (cli.base / home / "journal").open("a") as file:
        file.write((cli.base / "node7-77" / "journal").read_text())
    eventually(lambda: cli("poll", job_id, "--json").objects[0]["state"] == "CANCELLED")
