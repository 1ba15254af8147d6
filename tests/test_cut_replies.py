"""A reply that is cut, for each verb and at each place, costs nothing but a round."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sshjobs import states
from sshjobs.errors import StoreError
from sshjobs.model import STDERR, new_job_id
from sshjobs.rounds.exchange import Exchange
from sshjobs.verbs.adopt import adopt_listed_jobs
from tests.cli import all_processes
from tests.cuts import Broken, Client, Cut, Edited, Shell, check_claims, copy_of, places

LONG = 108_894


class World:
    """One host and the records of some machines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host = Shell(folder / "host")
        self.host.home.mkdir()
        self.jobs = self.host.home / ".sshjobs" / "jobs"
        self.client = Client(folder / "one")
        self.listing = False

    def other(self) -> Client:
        """Return the record of another machine."""
        return Client(self.folder / "other")

    def ended(self, *ids: str) -> None:
        """Wait until jobs have ended on the host."""
        end = time.monotonic() + 20.0
        while not all((self.jobs / job_id / "exit").exists() for job_id in ids):
            assert time.monotonic() < end
            time.sleep(0.02)

    def end_all(self) -> None:
        """Kill what still runs."""
        mark = f"HOME={self.host.home}".encode()
        for pid, environ in all_processes("environ"):
            if mark in environ.split(b"\0") and pid != os.getpid():
                os.kill(pid, signal.SIGKILL)


@pytest.fixture
def world(place: Path) -> Iterator[World]:
    made = World(place)
    yield made
    made.end_all()


Script = Callable[[World], Client]


def submit(world: World) -> Client:
    client = world.client
    for status in (0, 3):
        client.submit(new_job_id(), b"echo abc; exit %d" % status)
    return client


def submit_keyed(world: World) -> Client:
    world.client.submit(new_job_id(), b"echo abc; exit 3", "k")
    return world.client


def run(world: World) -> Client:
    job_id = new_job_id()
    world.client.submit(job_id, b"echo abc; sleep 0.01; head -c 5000 /dev/zero")
    world.client.want("log", job_id)
    return world.client


def known(world: World, *commands: bytes, split: bool = False) -> list[str]:
    """Start jobs that have ended since, as nobody here knows yet."""
    ids = []
    for command in commands:
        ids.append(new_job_id())
        world.client.submit(ids[-1], command, split=split)
        assert world.client.round(world.host) is None
    world.ended(*ids)
    return ids


def poll(world: World) -> Client:
    known(world, b"echo abc; sleep 0.3", b"echo def; sleep 0.3; exit 4", b"kill -9 $$")
    return world.client


def logs(world: World) -> Client:
    ids = known(world, b"echo abc", b"printf 'a\\nend\\n\\n'; head -c 3000 /dev/zero")
    world.client.rest(world.host)
    world.client.want("log", *ids)
    return world.client


def one_log(world: World) -> Client:
    ids = known(world, b"head -c %d /dev/zero | tr '\\0' x" % LONG)
    world.client.rest(world.host)
    world.client.want("log", *ids)
    return world.client


def reap(world: World) -> Client:
    client = logs(world)
    client.rest(world.host)
    client.want("reap", *client.jobs())
    return client


def reap_with_logs(world: World) -> Client:
    ids = known(world, b"head -c 5000 /dev/zero", b"exit 5")
    world.client.rest(world.host)
    world.client.want("reap", *ids)
    return world.client


#: Jobs with a second log, and one that has written to it alone.
BOTH = (b"echo abc; head -c 5000 /dev/zero >&2", b"echo def >&2; exit 5")


def two_logs(world: World) -> Client:
    ids = known(world, *BOTH, split=True)
    world.client.rest(world.host)
    world.client.want("log", *ids)
    return world.client


def reap_two_logs(world: World) -> Client:
    client = two_logs(world)
    client.rest(world.host)
    client.want("reap", *client.jobs())
    return client


def adopt(world: World) -> Client:
    other = world.other()
    for command in (b"echo abc", b"echo def; exit 9"):
        other.submit(new_job_id(), command)
    other.rest(world.host)
    known(world, b"echo ghi")
    other.close()
    world.listing = True
    return world.client


def held(world: World, command: bytes, *, reaped: bool) -> Client:
    """Submit with a key that a job of another machine holds."""
    other, job_id = world.other(), new_job_id()
    other.submit(job_id, command, "k")
    other.want("log", job_id)
    other.rest(world.host)
    if reaped:
        other.want("reap", job_id)
        other.rest(world.host)
    other.close()
    world.client.submit(new_job_id(), command, "k")
    return world.client


def key_completed(world: World) -> Client:
    return held(world, b"head -c %d /dev/zero" % LONG, reaped=False)


def key_reaped(world: World) -> Client:
    return held(world, b"head -c %d /dev/zero" % LONG, reaped=True)


def key_failed(world: World) -> Client:
    return held(world, b"echo $SSHJOBS_ATTEMPT; exit 7", reaped=False)


def key_running(world: World) -> Client:
    other, job_id = world.other(), new_job_id()
    other.submit(job_id, b"echo abc; sleep 0.5", "k")
    assert other.round(world.host) is None
    other.close()
    world.client.submit(new_job_id(), b"echo abc; sleep 0.5", "k")
    return world.client


SCRIPTS = [
    submit,
    submit_keyed,
    run,
    poll,
    logs,
    one_log,
    reap,
    reap_with_logs,
    two_logs,
    reap_two_logs,
    adopt,
    key_completed,
    key_reaped,
    key_failed,
    key_running,
]


def rehearse(world: World, script: Script) -> tuple[Client, bytes]:
    """Return a record before a round, closed, and what the host says in the round."""
    client = script(world)
    client.close()
    first = copy_of(client, world.folder / "first")
    assert first.round(world.host, listing=world.listing) is None
    said = world.host.said
    first.close()
    time.sleep(0.05)
    world.ended(*(path.name for path in world.jobs.iterdir()))
    return client, said


def cut_at(world: World, before: Client, said: bytes, at: int, number: int) -> Client:
    """Return the record after a reply that was cut; it is checked."""
    after = copy_of(before, world.folder / f"cut{number}")
    after.round(Cut(said, at), listing=world.listing)
    was = copy_of(before, world.folder / f"was{number}")
    check_claims(was, after, said[:at])
    was.close()
    return after


def finish(world: World, client: Client, number: int) -> dict[str, tuple[object, ...]]:
    """Bring everything home, on a copy of the host, and return what is known then."""
    home = world.folder / f"host{number}"
    shutil.copytree(world.host.home, home)
    host = Shell(home)
    client.rest(host)
    ids = [job.id for job in client.jobs().values() if job.reaped_at is None]
    client.want("log", *ids)
    client.rest(host)
    outcome = client.outcome()
    client.want("reap", *ids)
    client.rest(host)
    for job_id in ids:  # nothing is deleted that nobody has
        for name, stream in (("log", ""), ("stderr", STDERR)):
            path = world.jobs / job_id / name
            there = path.read_bytes() if path.exists() else b""
            assert client.log(job_id, stream) == there, (job_id, name)
    client.close()
    return outcome


def try_all(world: World, script: Script, every: bool) -> None:
    before, said = rehearse(world, script)
    whole = cut_at(world, before, said, len(said), 0)
    truth = finish(world, whole, 0)
    finished: set[int] = set()
    for number, at in enumerate(places(said, every), 1):
        after = cut_at(world, before, said, at, number)
        newlines = said.count(b"\n", 0, at)
        if newlines in finished:
            after.close()
        else:  # after each line once
            finished.add(newlines)
            assert finish(world, after, number) == truth, (at, said[:at])
        for name in ("cut", "was", "host"):
            shutil.rmtree(world.folder / f"{name}{number}", ignore_errors=True)


NAMES = {script.__name__: script for script in SCRIPTS}


@pytest.mark.parametrize("name", NAMES)
def test_a_reply_that_is_cut_at_a_line(world: World, name: str) -> None:
    try_all(world, NAMES[name], every=False)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(NAMES.keys() - {"one_log", "reap_with_logs"}))
def test_a_reply_that_is_cut_at_any_byte(world: World, name: str) -> None:
    try_all(world, NAMES[name], every=True)


def take_up_with_cuts(
    world: World, monkeypatch: pytest.MonkeyPatch, cuts: list[int]
) -> dict[str, tuple[object, ...]]:
    """Take up what stands on the host while replies are cut after so many lines."""
    client = adopt(world)
    client.lead.release()
    hosts: list[Shell] = [Broken(world.host.home, count) for count in cuts]
    coordinator = client.coordinator

    def connect() -> Shell:
        return hosts.pop(0) if hosts else world.host

    monkeypatch.setattr(coordinator.leadership, "_open_transport", connect)
    with coordinator:
        ids, notes = adopt_listed_jobs(coordinator, lambda listed: True)
    assert len(ids) == 2 and notes == [] and not hosts
    assert client.lead.try_to_lead()
    client.want("log", *client.jobs())
    client.rest(world.host)
    outcome = client.outcome()
    client.close()
    return {job_id: found for job_id, found in outcome.items() if job_id in ids}


@pytest.mark.parametrize("cuts", [[], [3, 6], [8, 10, 2]])
def test_a_listing_that_is_cut_takes_up_all_or_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch, cuts: list[int]
) -> None:
    found = take_up_with_cuts(world, monkeypatch, cuts)
    ends = sorted(
        (state, status, log) for state, status, _, _, log, _ in found.values()
    )
    assert ends == [("COMPLETED", 0, b"abc\n"), ("FAILED", 9, b"def\n")]


def running(world: World, count: int) -> list[str]:
    """Return jobs that run on the host, and are known to."""
    ids = [new_job_id() for _ in range(count)]
    for job_id in ids:
        world.client.submit(job_id, b"exec sleep 100")
    while any(job.state != states.RUNNING for job in world.client.jobs().values()):
        assert world.client.round(world.host) is None
    return ids


def test_a_kill_that_is_cut_is_asked_for_again(world: World) -> None:
    """What was cut off may be that the killer was started."""
    ids = running(world, 2)
    world.client.want("kill", *ids)
    world.client.close()
    first = copy_of(world.client, world.folder / "first")
    assert first.round(world.host) is None
    said = world.host.said
    assert said.count(b"\nkillsent ") == 2
    for number, at in enumerate(places(said, every=False)):
        cut_at(world, world.client, said, at, number).close()
        for name in ("cut", "was"):
            shutil.rmtree(world.folder / f"{name}{number}")
    first.rest(world.host)
    assert {job.state for job in first.jobs().values()} == {states.CANCELLED}
    first.close()


@pytest.mark.parametrize("count", range(3, 9))
def test_a_host_that_loses_us_while_it_kills_is_asked_again(
    world: World, count: int
) -> None:
    ids = running(world, 3)
    world.client.want("kill", *ids)
    world.client.round(Broken(world.host.home, count))
    world.client.rest(world.host)
    jobs = world.client.jobs().values()
    assert [job.state for job in jobs] == [states.CANCELLED] * 3
    world.client.close()


@pytest.mark.parametrize("count", range(3, 8))
def test_a_holder_that_was_never_started_is_started_by_who_joins_it(
    world: World, count: int
) -> None:
    """The other machine is gone for good, and so is our first round."""
    other, job_id = world.other(), new_job_id()
    other.submit(job_id, b"echo abc", "k")
    no_runner = b"sj_detach_runner() { :; }\nsj_start_jobs\n"
    other.round(Edited(world.host.home, b"sj_start_jobs\n", no_runner))
    other.close()
    assert not (world.jobs / job_id / "run").exists()
    world.client.submit(new_job_id(), b"echo abc", "k")
    world.client.round(Broken(world.host.home, count))
    world.client.rest(world.host)
    (job,) = world.client.jobs().values()
    assert (job.id, job.state) == (job_id, states.COMPLETED)
    world.client.close()


def test_a_holder_that_was_reaped_is_known_with_its_end(world: World) -> None:
    client = key_reaped(world)
    client.rest(world.host)
    ((job_id, outcome),) = client.outcome().items()
    job = client.jobs()[job_id]
    assert (job.state, job.exit_status) == (states.COMPLETED, 0)
    assert (job.log_bytes, job.log_local_bytes) == (LONG, 0)
    client.close()


@pytest.mark.slow
@pytest.mark.parametrize("count", range(2, 9))
@pytest.mark.parametrize(
    "name", ["submit", "submit_keyed", "run", "reap", "reap_with_logs", "key_reaped"]
)
def test_a_host_that_loses_us_does_it_all_when_asked_again(
    world: World, name: str, count: int
) -> None:
    client = NAMES[name](world)
    before = client.jobs()
    logs = {path.parent.name: path.read_bytes() for path in world.jobs.glob("*/log")}
    client.round(Broken(world.host.home, count))
    client.rest(world.host)
    client.want("log", *client.jobs())
    client.rest(world.host)
    for job_id, job in client.jobs().items():
        assert job.exit_status is not None, job
        if name != "key_reaped":
            assert job_id in before
            assert client.log(job_id).startswith(logs.get(job_id, b""))
            assert len(client.log(job_id)) == job.log_bytes
    client.close()


def test_a_reply_that_cannot_be_written_down_leaves_no_count_of_its_session(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who opened the session counts it once it has ended."""

    def fail(*_: object) -> None:
        raise StoreError("no room")

    submit(world)
    with monkeypatch.context() as patch:
        patch.setattr(Exchange, "_apply_reply", fail)
        assert isinstance(world.client.round(world.host), StoreError)
    assert world.client.coordinator.site.sessions == 0
    world.client.rest(world.host)
    ended = sorted(job.state for job in world.client.jobs().values())
    assert ended == [states.COMPLETED, states.FAILED]
    world.client.close()
