"""Jobs that come after jobs of other hosts: they wait in the record of this machine."""

from __future__ import annotations

import json
import os
import random
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import sshjobs
from tests.cli import Cli, enter_environment, eventually, finish
from tests.pages import read_blocks
from tests.pool_rig import PoolRig
from tests.sshd import Sshd

_PATIENCE = "SSHJOBS_WAIT_HOST"


class Hosts:
    """Three hosts of one home, and a gate that keeps jobs from ending."""

    def __init__(self, rig: PoolRig, place: Path) -> None:
        self.rig = rig
        self.cli = rig.cli
        self.gate = place / "gate"
        self.notes = place / "notes"
        self.notes.touch()
        self.notes.chmod(0o666)

    def submit(self, host: str, *words: str) -> str:
        """Submit a job that notes its name; the words begin with flags."""
        *flags, name = words
        line = f"echo {name} >>{self.notes}; echo {name}"
        return self.cli.ok("submit", host, *flags, "--name", name, "--", line).id

    def hold(self, host: str, status: int = 0) -> str:
        """Submit a job that ends once the gate is open."""
        line = f"while [ ! -e {self.gate} ]; do sleep 0.1; done; exit {status}"
        return self.cli.ok("submit", host, "--", line).id

    def tell(self, job_id: str) -> str:
        """Return state and reason of a job, as the record has them."""
        job = self.cli.job(job_id)
        return f"{job['state']} {job['reason']}"

    def open_gate(self) -> None:
        """Let all that holds end, and wait until it has on the hosts."""
        self.gate.touch()
        bases = self.rig.bases.values()
        runs = [run for base in bases for run in base.glob("jobs/*/run")]
        eventually(lambda: all(run.with_name("exit").exists() for run in runs))

    def read_notes(self) -> list[str]:
        return self.notes.read_text().split()


@pytest.fixture
def hosts(new_sshd: Callable[..., Sshd], place: Path) -> Iterator[Hosts]:
    rig = PoolRig(place, [new_sshd() for _ in range(3)])
    yield Hosts(rig, place)
    rig.close()


def test_the_page_on_jobs_of_two_hosts(
    new_sshd: Callable[..., Sshd], place: Path
) -> None:
    *_, block = read_blocks("docs/how-to/limits.md")
    rig = PoolRig(place, [new_sshd() for _ in range(2)], "gpu")
    for script in ("prepare", "train"):
        block = block.replace(f"./{script}.sh", f"'sleep 1; echo {script}'")
    for line in block.splitlines():
        rig.cli.ok(*shlex.split(line)[1:])
    assert rig.where() == {"gpu1": 1, "gpu2": 1}
    assert rig.cli.ok("logs", "train").out == "train\n"
    rig.close()


def test_it_is_sent_once_the_one_before_it_has_ended(hosts: Hosts) -> None:
    first = hosts.hold("n1")
    second = hosts.submit("n2", "--after", first, "b")
    third = hosts.submit("n3", "--after", "b", "c")
    assert hosts.tell(second) == f"PENDING after {first} on n1"
    assert hosts.tell(third) == f"PENDING after {second} on n2"
    assert [one.connections for one in hosts.rig.sshds.values()] == [1, 0, 0]
    waits = hosts.cli.start("wait", third)
    eventually(lambda: hosts.rig.sshds["n1"].sessions > 1, "the first host is asked")
    hosts.open_gate()
    assert finish([waits])[0].status == 0
    assert hosts.read_notes() == ["b", "c"]
    assert hosts.cli.job(second)["state"] == "COMPLETED"


def test_one_poll_sends_what_may_begin(hosts: Hosts) -> None:
    first = hosts.hold("n1")
    batch = [
        {"name": "plain", "command": "true"},
        {"name": "b", "command": f"echo b >>{hosts.notes}", "after": [first, "plain"]},
        {"name": "c", "command": f"echo c >>{hosts.notes}", "after": "b"},
    ]
    lines = "\n".join(map(json.dumps, batch)).encode()
    ids = hosts.cli.ok("submit", "n2", "--from", "-", stdin=lines).lines
    hosts.cli("poll")
    assert hosts.tell(ids[1]) == f"PENDING after {first} on n1"
    assert hosts.tell(ids[2]) == f"PENDING after {ids[1]} on n2"
    hosts.open_gate()
    polled = hosts.cli("poll", ids[1])
    assert f"{first} on n1" not in polled.out, polled
    eventually(lambda: hosts.read_notes() == ["b", "c"], "the host goes on alone")
    assert hosts.cli("wait").status == 0


def test_one_that_can_never_begin_is_cancelled(hosts: Hosts) -> None:
    first = hosts.hold("n1", status=3)
    killed = hosts.hold("n2")
    never = hosts.submit("n2", "--after", first, "never")
    beyond = hosts.submit("n3", "--after", never, "beyond")
    hosts.submit("n3", "--after", f"{never}:any", "anyhow")
    mixed = hosts.submit("n1", "--after", killed, "--after", f"{first}:any", "mixed")
    hosts.cli.ok("kill", killed)
    assert hosts.tell(mixed).endswith(
        f"job {killed}, which was to come before it, is CANCELLED"
    )
    hosts.open_gate()
    assert hosts.cli("wait").status == 1
    assert hosts.tell(never).endswith(
        f"job {first}, which was to come before it, is FAILED"
    )
    assert hosts.tell(beyond).startswith("CANCELLED never began")
    assert hosts.read_notes() == ["anyhow"]
    late = hosts.submit("n2", "--after", first, "late")
    assert hosts.tell(late) == hosts.tell(never)
    soon = hosts.submit("n2", "--after", f"{first}:any", "soon")
    assert hosts.cli("wait", soon).status == 0
    assert not list((hosts.cli.home / "specs").iterdir())


def test_a_waiting_job_is_killed_here(hosts: Hosts) -> None:
    first = hosts.hold("n1")
    second = hosts.submit("n2", "--after", first, "b")
    third = hosts.submit("n3", "--after", second, "c")
    hosts.cli.ok("kill", second)
    assert hosts.tell(second) == "CANCELLED cancelled before it was sent"
    assert hosts.tell(third).startswith("CANCELLED never began")
    assert hosts.rig.sshds["n2"].connections == 0
    hosts.open_gate()
    assert hosts.cli("wait", first).status == 0
    assert hosts.read_notes() == []


def test_one_that_was_declared_lost_is_no_good_end(hosts: Hosts) -> None:
    first = hosts.hold("n1")
    second = hosts.submit("n2", "--after", first, "b")
    anyhow = hosts.submit("n3", "--after", f"{first}:any", "c")
    hosts.cli.ok("disconnect", "n1")
    hosts.rig.sshds["n1"].stop()
    brief = {"SSHJOBS_WAIT_HOST": "1"}
    hosts.cli("kill", "--forget", first, env=brief)
    assert hosts.tell(second).endswith("which was to come before it, is LOST")
    assert hosts.cli("wait", anyhow).status == 0
    assert hosts.read_notes() == ["c"]
    hosts.gate.touch()


def test_a_key_is_one_job_while_it_waits(hosts: Hosts) -> None:
    first = hosts.hold("n1")
    words = ("submit", "n2", "--key", "k", "--after", first, "--")
    job_id = hosts.cli.ok(*words, f"echo k >>{hosts.notes}").id
    assert hosts.cli.ok(*words, f"echo k >>{hosts.notes}").id == job_id
    other = hosts.cli.ok("submit", "n2", "--key", "k", "--", "true")
    assert other.id == job_id and "another command" in other.err
    after = hosts.submit("n3", "--after", "key:k", "c")
    hosts.open_gate()
    assert hosts.cli("wait", after).status == 0
    assert hosts.read_notes() == ["k", "c"]
    assert hosts.cli.ok("submit", "n2", "--key", "k", "--", "true").id == job_id


def test_a_host_that_cannot_be_asked_keeps_jobs_waiting(hosts: Hosts) -> None:
    first = hosts.hold("n1")
    second = hosts.submit("n2", "--after", first, "b")
    hosts.cli.ok("disconnect", "n1")
    hosts.rig.sshds["n1"].stop()
    brief = {"SSHJOBS_WAIT_HOST": "1"}
    polled = hosts.cli("poll", second, env=brief)
    assert polled.status == 69 and "n1" in polled.err, polled
    waits = hosts.cli.start("wait", second, env=brief)
    assert waits.stderr
    lines = iter(waits.stderr.readline, b"")
    assert any(b"whose host cannot be asked: n1" in line for line in lines)
    hosts.submit("n2", "other")  # a round of another host
    assert (
        hosts.tell(second) == f"PENDING after {first} on n1, which cannot be asked now"
    )
    hosts.open_gate()
    hosts.rig.sshds["n1"].restart()
    assert finish([waits])[0].status == 0
    assert hosts.read_notes() == ["other", "b"]


def test_the_host_of_a_waiting_job_may_be_away_meanwhile(hosts: Hosts) -> None:
    first = hosts.hold("n1")
    hosts.rig.sshds["n2"].stop()
    second = hosts.submit("n2", "--after", first, "b")
    brief = {"SSHJOBS_WAIT_HOST": "1"}
    assert hosts.cli("poll", env=brief).status == 0, "nothing is due there"
    hosts.open_gate()
    waited = hosts.cli("wait", first, env=brief)
    assert waited.status == 0 and "not sent yet: n2: " in waited.err, waited
    assert hosts.tell(second) == "PENDING let go, and not sent yet"
    assert hosts.cli("poll", env=brief).status == 69
    hosts.rig.sshds["n2"].restart()
    assert hosts.cli("wait", second).status == 0
    assert hosts.read_notes() == ["b"]


def test_one_whose_predecessor_is_taken_back_waits_no_more(hosts: Hosts) -> None:
    """A submit that cannot reach its host forgets its job, which others came after."""
    hosts.rig.sshds["n1"].stop()
    first = hosts.cli.start("submit", "n1", "--", "true", env={_PATIENCE: "8"})
    eventually(lambda: hosts.cli.ok("list", "--json").out)
    job_id = json.loads(hosts.cli.ok("list", "--json").out)["id"]
    second = hosts.submit("n2", "--after", f"{job_id}:any", "b")
    waits = hosts.cli.start("wait", second, env={_PATIENCE: "1"})
    assert finish([first])[0].status == 69
    assert hosts.tell(second).startswith("CANCELLED never began: the record of this")
    assert finish([waits])[0].status == 1
    assert hosts.read_notes() == []


def test_of_a_batch_that_is_taken_back_none_waits_on(hosts: Hosts) -> None:
    """The second waits here for the first, as under this launcher."""
    hosts.rig.sshds["n1"].stop()
    lines = b'{"command": "true", "name": "a"}\n{"command": "true", "after": "a"}\n'
    words = ("submit", "n1", "--launcher", "systemd", "--from", "-")
    ended = hosts.cli(*words, stdin=lines, env={_PATIENCE: "1"})
    assert ended.status == 69, ended
    assert hosts.cli.ok("list", "--all", "--json").out == ""


def test_a_job_of_another_home_has_no_name_here(hosts: Hosts, place: Path) -> None:
    first = hosts.hold("n1")
    other = Cli(None, place / "other", place)
    other.host, other.env = "n2", hosts.cli.env | {"SSHJOBS_HOME": str(other.home)}
    refused = other("submit", "n2", "--after", first, "--", "true")
    assert (
        refused.status == 64 and "no such job in this machine's record" in refused.err
    )
    assert hosts.rig.sshds["n2"].connections == 0
    hosts.open_gate()


def test_jobs_of_a_pool_come_after_each_other(hosts: Hosts) -> None:
    first = hosts.hold("n1")
    batch: list[dict[str, object]]
    batch = [{"name": "load", "command": "true", "after": first}]
    train: dict[str, object] = {"command": f"echo t >>{hosts.notes}", "after": "load"}
    batch += [{**train, "name": f"t{n}"} for n in range(6)]
    every = [f"t{n}" for n in range(6)]
    batch += [{"command": f"echo r >>{hosts.notes}", "after": every}]
    lines = "\n".join(map(json.dumps, batch)).encode()
    ids = hosts.cli.ok("submit", "pool:p", "--from", "-", stdin=lines).lines
    assert len(set(ids)) == 8
    assert max(hosts.rig.where().values()) == 3
    hosts.open_gate()
    assert hosts.cli("wait").status == 0
    assert hosts.read_notes() == ["t"] * 6 + ["r"]


def test_the_python_api_waits_for_both(
    hosts: Hosts, monkeypatch: pytest.MonkeyPatch
) -> None:
    enter_environment(monkeypatch, hosts.cli.env)
    first = sshjobs.Host("n1").submit("sleep 1; echo a")
    second = sshjobs.Host("n2").submit("echo b", after=[first])
    third = sshjobs.Host("n3").submit("echo c", after=[second, f"{first.id}:any"])
    assert list(third.follow()) == [b"c\n"]
    last = sshjobs.Host("n1").submit("echo d", after=[third])
    others = [sshjobs.Host("n2").submit("sleep 1; false"), last]
    others += [sshjobs.Host("n3").submit("echo e", after=[others[0]])]
    ended = list(sshjobs.as_completed(others))
    assert {job.id: job.state for job in ended} == {
        others[0].id: "FAILED",
        last.id: "COMPLETED",
        others[2].id: "CANCELLED",
    }
    slow = sshjobs.Host("n1").submit("sleep 1")
    assert sshjobs.Host("n2").run("echo f", after=[slow]).stdout == b"f\n"


def test_whoever_learns_of_the_end_and_is_killed_it_runs_once(
    hosts: Hosts,
) -> None:
    chance = random.Random(7)
    for turn in range(2):
        hosts.gate.unlink(missing_ok=True)
        first = hosts.hold("n1")
        second = hosts.submit("n2", "--after", first, f"b{turn}")
        hosts.open_gate()
        polls = [hosts.cli.start("poll") for _ in range(3)]
        time.sleep(chance.uniform(0.1, 0.6))
        for one in polls:
            os.kill(one.pid, signal.SIGKILL)
        finish(polls)
        finish([hosts.cli.start("poll") for _ in range(4)])
        assert hosts.cli("wait", second).status == 0
        assert hosts.cli("logs", second).raw == f"b{turn}\n".encode()
    assert hosts.read_notes() == [f"b{turn}" for turn in range(2)]
