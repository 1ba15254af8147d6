"""Jobs on machines that cannot be reached, and those that a person gives up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli import Cli, eventually
from tests.remote.host import gone

#: A login as round-robin DNS has it: one home, and each time the machine of that name.
_NODE = """#!/bin/sh
read -r node number apart <%(where)s/node
exec unshare -rum $apart sh -c '
    hostname "$1" && printf "%%s\\n" "$2" >%(where)s/id.$1 &&
    mount --bind %(where)s/id.$1 /etc/machine-id && eval "$SSH_ORIGINAL_COMMAND"
' sh "$node" "$number"
"""


class Nodes:
    """Machines that share a home, of which each session reaches the one chosen."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self.cli = cli
        self._file = folder / "node"

    def choose(self, name: str, number: str, apart: str = "") -> None:
        """Have the name lead to another machine from now on.

        Args:
            apart: More flags of ``unshare``, as for a container.
        """
        self._file.write_text(f"{name} {number} {apart}\n")


@pytest.fixture
def nodes(new_box: Callable[..., Cli], place: Path) -> Nodes:
    """Two login nodes by ``unshare -u``, each with a machine id of its own."""
    probe = ("unshare", "-rum", "mount", "--bind", "/etc/machine-id", "/etc/machine-id")
    if not shutil.which("unshare") or subprocess.run(probe, check=False).returncode:
        pytest.skip("no user namespaces here")
    folder = place / "nodes"
    folder.mkdir()
    folder.chmod(0o777)
    script = folder / "login"
    script.write_text(_NODE % {"where": folder})
    script.chmod(0o755)
    made = Nodes(new_box(ForceCommand=script), folder)
    made.choose("anode", "aa" * 16)
    return made


def pid_of(cli: Cli, job_id: str) -> int:
    """Return the process group of a running job, once it is written down."""
    path = cli.directory(job_id) / "run"

    def found() -> bool:
        return path.exists() and "\nborn=" in path.read_text()

    eventually(found)
    return int(record_of(cli, job_id, "run")["pgid"])


def record_of(cli: Cli, job_id: str, name: str) -> dict[str, str]:
    """Return the lines of a record on the host."""
    text = (cli.directory(job_id) / name).read_text()
    return dict(line.partition("=")[::2] for line in text.splitlines()[::-1])


def test_what_is_seen_to_run_is_not_declared_lost(cli: Cli) -> None:
    job_id = cli.submit("sleep 1000")
    group = pid_of(cli, job_id)
    ended = cli("kill", "--forget", job_id)
    assert ended.status == 1 and "it runs there" in ended.err, ended
    assert f"sshjobs kill {job_id}" in ended.err or "sshjobs kill" in ended.err
    assert cli.state(job_id) == "RUNNING" and not gone(group)
    assert not (cli.directory(job_id) / "cancel").exists()


def test_the_tree_without_its_runner_counts(cli: Cli) -> None:
    job_id = cli.submit("sleep 1000")
    group = pid_of(cli, job_id)
    runner = int(cli.job(job_id)["pid"])
    os.kill(runner, signal.SIGKILL)
    eventually(lambda: gone(runner))
    ended = cli("kill", "--forget", job_id)
    assert ended.status == 1 and "run there" in ended.err, ended
    assert not gone(group)
    cli.ok("kill", job_id)


def test_an_ended_job_keeps_its_end(cli: Cli) -> None:
    job_id = cli.submit("exit 3")
    path = cli.directory(job_id) / "exit"
    eventually(path.exists)
    ended = cli("kill", "--forget", job_id, "--json")
    assert ended.objects[0]["state"] == "FAILED", ended
    assert ended.status == 0


def test_a_node_that_is_gone(nodes: Nodes, place: Path) -> None:
    """kill names it, --forget gives it up and frees its key; back, it is ended."""
    cli = nodes.cli
    job_id = cli.submit("--key", "k", "sleep 1000")
    group = pid_of(cli, job_id)
    nodes.choose("bnode", "bb" * 16)
    told = cli("kill", job_id)
    assert told.status == 75 and "anode" in told.err, told
    assert "kill --forget" in told.err
    assert cli.submit("--key", "k", "echo anew") == job_id
    given = cli.ok("kill", "--forget", job_id, "--json")
    (job,) = given.objects
    assert job["state"] == "LOST" and "anode" in job["reason"], given
    assert not gone(group)
    again = cli.ok("run", cli.host, "--key", "k", "--", "echo anew")
    assert again.out == "anew\n"
    kept = cli("reap")
    assert job_id in kept.err and cli.directory(job_id).exists(), kept
    # Whoever reaches that machine ends it, though they never heard of the job.
    nodes.choose("anode", "aa" * 16)
    other = cli.twin(place / "other")
    other.ok("submit", cli.host, "true")
    other("poll")
    eventually(lambda: gone(group))
    assert cli.state(job_id) == "LOST"
    other.close()


def test_a_standing_cancel_is_carried_out_for_anyone(nodes: Nodes, place: Path) -> None:
    """A client that knows of no job at all reaches the machine first."""
    cli = nodes.cli
    job_id = cli.submit("sleep 1000")
    group = pid_of(cli, job_id)
    nodes.choose("bnode", "bb" * 16)
    assert cli("kill", job_id).status == 75
    assert not gone(group)
    nodes.choose("anode", "aa" * 16)
    other = cli.twin(place / "other")
    other("poll", "--host", cli.host, "--adopt")
    eventually(lambda: gone(group))
    eventually(lambda: cli("poll", job_id, "--json").objects[0]["state"] == "CANCELLED")
    other("poll", "--host", cli.host)
    assert not list(cli.base.glob("*/due/*"))
    other.close()


#: One container a session: all that ran in it is gone afterwards.
_CONTAINER = "-pf --mount-proc --kill-child"


@pytest.mark.parametrize("number", ["cc" * 16, "0"])
def test_a_container_made_anew(nodes: Nodes, number: str) -> None:
    """With the machine id of its image it knows its jobs; without one a person does."""
    cli = nodes.cli
    nodes.choose("first", number, _CONTAINER)
    job_id = cli.submit("--key", "k", "sleep 1000")
    nodes.choose("second", number, _CONTAINER)
    if number == "0":
        assert cli.state(job_id) == "RUNNING"
        assert "first" in cli.job(job_id)["reason"]
        cli.ok("kill", "--forget", job_id)
    assert cli.state(job_id) == "LOST"
    assert cli.submit("--key", "k", "true") != job_id


def test_a_host_that_cannot_be_asked(cli: Cli) -> None:
    """It is said that the job may still run; it ends when the host is back."""
    job_id = cli.submit("sleep 1000")
    group = pid_of(cli, job_id)
    assert cli.sshd is not None
    cli("disconnect", cli.host)
    cli.sshd.stop()
    ended = cli("kill", "--forget", job_id, "--wait-host", "0", "--json")
    assert ended.status == 0 and ended.objects[0]["state"] == "LOST", ended
    assert "may still run" in ended.err, ended
    assert not gone(group)
    cli.sshd.start()
    cli("connect", cli.host)
    cli.submit("true")
    eventually(lambda: gone(group))
    assert cli.state(job_id) == "LOST"


def test_a_directory_that_is_gone(cli: Cli) -> None:
    """As of a machine that shares no home with the one that answers now."""
    job_id = cli.submit("sleep 1000")
    group = pid_of(cli, job_id)
    cli("kill", job_id)
    eventually(lambda: gone(group))
    lone = cli.submit("sleep 1000")
    group = pid_of(cli, lone)
    run = (cli.directory(lone) / "run").read_text().splitlines()
    runner = int(dict(line.partition("=")[::2] for line in run)["pid"])
    # Without its directory a job is known by its mark; its shell has to read the script
    # before that is gone.
    process = Path(f"/proc/{group}")
    eventually(
        lambda: (process / "cmdline").read_bytes().startswith(b"sleep")
        or (process / f"task/{group}/children").read_text()
    )
    shutil.move(str(cli.directory(lone)), str(cli.base / "aside"))
    seen = cli("kill", "--forget", lone)  # its processes are seen to run here
    assert seen.status == 1 and "not declared lost" in seen.err, seen
    assert cli.state(lone) == "RUNNING"
    os.kill(runner, signal.SIGKILL)
    os.killpg(group, signal.SIGKILL)
    eventually(lambda: gone(group) and gone(runner))
    given = cli.ok("kill", "--forget", lone, "--json")
    assert given.objects[0]["state"] == "LOST", given


def test_a_key_whose_host_comes_back_runs_anew(cli: Cli) -> None:
    """What was declared lost meanwhile is ended first: never two of one key."""
    job_id = cli.submit("--key", "k", "sleep 1000")
    group = pid_of(cli, job_id)
    assert cli.sshd is not None
    cli("disconnect", cli.host)
    cli.sshd.stop()
    assert cli("kill", "--forget", job_id, "--wait-host", "0").status == 0
    cli.sshd.start()
    cli("connect", cli.host)
    ended = cli("run", cli.host, "--key", "k", "--", "echo anew")
    assert ended.out == "anew\n", ended
    assert gone(group)
    new_id = ended.err.split()[0]
    old, new = record_of(cli, job_id, "exit"), record_of(cli, new_id, "run")
    assert float(old["finished_at"]) <= float(new["started_at"]) + 0.01
