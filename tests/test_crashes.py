"""Processes that die, stop or lose each other at the worst moment, and what is left.

After each of these: a job has run exactly once, it is known, its log is whole.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli import eventually
from tests.faults.schedule import Work
from tests.faults.world import Command, Home, World, signal_to

#: Nothing here takes that long; a hang shows as this.
PATIENCE = 110.0


@pytest.fixture
def world(need_sshd: None) -> Iterator[World]:
    made = World({}, small=False)
    yield made
    made.close()


@pytest.fixture
def home(world: World) -> Home:
    return world.homes[0]


def ends(*commands: Command) -> list[int]:
    """Return the exit statuses of commands, once all have ended."""
    until = time.monotonic() + PATIENCE
    for command in commands:
        assert command.wait(until), f"hangs: {command} {command.ended}"
    return [command.ended.status for command in commands]


def done(home: Home, *words: str) -> str:
    """Run a command that must end with 0; return what it printed."""
    command = home.start(*words)
    assert ends(command) == [0], command.ended
    return command.ended.out


def submit(home: Home, key: str, line: str) -> Command:
    return home.start("submit", home.cli.host, "--key", key, "--", line)


def work(number: int, lines: int = 3, pause: float = 0.0) -> Work:
    return Work(f"w{number}", lines, pause, 0)


def runs(world: World) -> list[str]:
    """Return what the jobs have written down, each once for each time it ran."""
    return sorted(" ".join(p.read_text().split()) for p in world.ran.iterdir())


def all_is_well(world: World, home: Home, works: list[Work]) -> None:
    """Each job ran once, is known, has ended well, and its log is here and whole."""
    done(home, "wait")
    done(home, "reap")
    assert runs(world) == sorted(one.tag for one in works)
    rows = home.rows("SELECT id, key, state, log_bytes FROM jobs")
    assert {row[1] for row in rows} >= {one.tag for one in works}
    by_tag = {one.tag: one for one in works}
    for job_id, key, state, size in rows:
        assert state == "COMPLETED", (job_id, key, state)
        log = (home.cli.home / "logs" / job_id).read_bytes()
        assert (log, size) == (by_tag[key].log, len(log))
    assert home.rows("SELECT * FROM intents WHERE done = 0") == []
    assert os.listdir(home.cli.home / "specs") == []
    nothing_is_left(home)


def nothing_is_left(home: Home) -> None:
    """No process, socket or file of a connection outlives a disconnect."""
    done(home, "disconnect", home.cli.host)
    assert home.masters() == []
    left = [p for p in home.rundir.rglob("*") if not p.is_dir()]
    assert [p for p in left if not p.name.startswith("gate.")] == []
    assert home.relay.most <= 1


@contextmanager
def in_the_background(deed: Callable[[], object]) -> Iterator[None]:
    """Do something again and again while the block lasts."""
    over = threading.Event()

    def loop() -> None:
        while not over.wait(0.05):
            deed()

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


# -- faults


def _kill_master(home: Home) -> None:
    for pid in home.masters():
        signal_to(pid, signal.SIGKILL)


def _kill_session(home: Home) -> None:
    assert home.cli.sshd is not None
    for pid in home.cli.sshd.session_pids():
        signal_to(pid, signal.SIGKILL)


def _restart(home: Home) -> None:
    assert home.cli.sshd is not None
    home.cli.sshd.stop()
    _kill_session(home)
    home.cli.sshd.start()


def _stop_master(home: Home) -> None:
    for pid in home.masters():
        signal_to(pid, signal.SIGSTOP)


# -- kill -9, at any point of a round


def test_a_submit_killed_at_any_moment(world: World, home: Home) -> None:
    rng = random.Random(4)
    works = [work(n) for n in range(40)]
    for some in (works[n : n + 5] for n in range(0, 40, 5)):
        crowd = [submit(home, w.tag, w.command(world.ran)) for w in some]
        for one in crowd:
            time.sleep(rng.uniform(0.0, 0.1))
            one.hit(signal.SIGKILL)
        ends(*crowd)
    again = [submit(home, w.tag, w.command(world.ran)) for w in works[::4]]
    assert ends(*again) == [0] * len(again)
    known = {row[0] for row in home.rows("SELECT key FROM jobs")}
    late = [submit(home, w.tag, w.command(world.ran)) for w in works[1:]]
    assert ends(*late) == [0] * len(late)
    assert known
    all_is_well(world, home, works)


def _kill_leader(home: Home) -> None:
    command = home.command_of(home.leader())
    if command is not None:
        command.hit(signal.SIGKILL)


def _stop_leader(home: Home) -> None:
    pid = home.leader()
    if home.command_of(pid) is not None:
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.3)
        signal_to(pid, signal.SIGCONT)


def _submit_all(world: World, home: Home, works: list[Work]) -> list[int]:
    """Submit jobs, some forty processes at a time; return the exit statuses."""
    statuses = []
    for at in range(0, len(works), 40):
        some = works[at : at + 40]
        crowd = [submit(home, w.tag, w.command(world.ran)) for w in some]
        statuses += ends(*crowd)
    return statuses


def test_leaders_and_masters_die_under_a_crowd(world: World, home: Home) -> None:
    rng = random.Random(5)
    works = [work(n, 20) for n in range(200)]
    deeds = [_kill_leader, _kill_leader, _kill_master, _kill_session, _stop_leader]
    deeds.append(lambda home: home.relay.drop())

    def deed() -> None:
        time.sleep(rng.uniform(0.1, 0.7))
        rng.choice(deeds)(home)

    with in_the_background(deed):
        statuses = _submit_all(world, home, works)
        assert set(statuses) <= {0, 69, 75, -9}, statuses
    _restart(home)
    assert _submit_all(world, home, works) == [0] * 200
    all_is_well(world, home, works)


def test_a_batch_whose_leader_is_killed_is_started_by_the_next(
    world: World, home: Home
) -> None:
    done(home, "connect", home.cli.host)
    text = "".join(f"{work(n).command(world.ran)}\n" for n in range(60)).encode()
    for delay in (0.15, 0.2, 0.25, 0.3, 0.35):
        batch = home.start("submit", home.cli.host, "--from", "-", stdin=text)
        time.sleep(delay)
        batch.hit(signal.SIGKILL)
    done(home, "wait")
    ran, known = runs(world), home.ids()
    assert len(ran) == len(known)
    assert {path.name for path in world.ran.iterdir()} == set(known)
    assert len(ran) % 60 == 0


# -- in the middle of a job


@pytest.mark.parametrize(
    "fault",
    [
        _kill_master,
        _kill_session,
        _restart,
        _stop_master,
        lambda home: home.relay.drop(),
        lambda home: home.relay.freeze(),
    ],
    ids=["master", "session", "restart", "stopped master", "reset", "black hole"],
)
def test_a_run_does_not_notice(
    world: World, home: Home, fault: Callable[[Home], None]
) -> None:
    one = Work("w", 30, 0.1, 7)
    run = home.start("run", home.cli.host, "--", one.command(world.ran))
    eventually(lambda: b"w 3\n" in run.ended.raw)
    fault(home)
    assert ends(run) == [7], run.ended
    assert run.ended.raw == one.log
    assert runs(world) == ["w"]
    home.relay.drop()
    nothing_is_left(home)


# -- stopped, not dead


def test_a_stopped_leader_is_replaced_and_does_no_harm(
    world: World, home: Home
) -> None:
    """It is stopped in its handshake, so that it holds the gate as well."""
    home.relay.delay = 0.3
    first = submit(home, "w0", work(0).command(world.ran))
    eventually(lambda: home.holder() == first.process.pid)
    world.stop(first.process.pid)
    home.relay.delay = 0.0
    second = submit(home, "w1", work(1).command(world.ran))
    poll = home.start("poll", "--host", home.cli.host)
    assert ends(second, poll) == [0, 0], second.ended
    assert first.alive
    done(home, "wait")
    world.go_on()
    assert ends(first) == [0], first.ended
    all_is_well(world, home, [work(0), work(1)])


def test_a_leader_stopped_in_its_session_does_no_harm_late(
    world: World, home: Home
) -> None:
    done(home, "connect", home.cli.host)
    home.relay.freeze()
    first = submit(home, "w0", work(0).command(world.ran))
    eventually(lambda: home.rows("SELECT 1 FROM intents WHERE sent = 1"))
    world.stop(first.process.pid)
    home.relay.drop()
    (job_id,) = home.ids()
    kill = home.start("kill", job_id)
    assert ends(kill) == [0], kill.ended
    world.go_on()
    assert ends(first) == [0], first.ended
    assert first.ended.id == job_id
    done(home, "poll", "--host", home.cli.host)
    assert home.rows("SELECT state FROM jobs") == [("CANCELLED",)]
    assert runs(world) == []
    nothing_is_left(home)


# -- rounds that arrive late


def _killed_with_its_round_on_the_way(world: World, home: Home, *flags: str) -> str:
    """Return the id of a job whose only request is delivered by ``relay.thaw()``.

    The leader is stopped first: the master of a leader that is killed closes the
    session, and sshd forgets what it has not yet handed to the shell (9.2).
    """
    done(home, "connect", home.cli.host)
    home.relay.limit = 8000
    line = work(0).command(world.ran)
    first = home.start("submit", home.cli.host, *flags, "--", line)
    eventually(lambda: home.relay.frozen)
    home.relay.limit = 0
    eventually(lambda: home.relay.still)
    world.stop(first.process.pid)
    _kill_master(home)
    first.hit(signal.SIGKILL)
    ends(first)
    (job_id,) = home.ids()
    return job_id


def _let_it_arrive(world: World, home: Home) -> None:
    """Deliver the late round, and wait until it has come to its end."""
    assert home.relay.frozen
    home.relay.thaw()
    time.sleep(0.5)  # a round that starts nothing leaves nothing that would tell
    eventually(lambda: os.fsencode(world.base) not in _sessions(), "its end")


def _sessions() -> list[bytes]:
    """Return where the shells of rounds are, as far as there are any."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if (path / "cmdline").read_bytes() == b"sh\0":
                found.append(os.fsencode(os.readlink(path / "cwd")))
        except OSError:
            continue
    return found


def test_a_round_that_arrives_after_the_kill_starts_nothing(
    world: World, home: Home
) -> None:
    job_id = _killed_with_its_round_on_the_way(world, home)
    kill = home.start("kill", job_id)
    assert ends(kill) == [0], kill.ended
    assert (world.base / "gone" / job_id).exists()
    _let_it_arrive(world, home)
    assert home.rows("SELECT state FROM jobs") == [("CANCELLED",)]
    assert runs(world) == []
    assert list((world.base / "jobs").iterdir()) == []
    assert list((world.base / "new").iterdir()) == []


def test_a_round_that_arrives_after_the_reaping_starts_nothing(
    world: World, home: Home
) -> None:
    _killed_with_its_round_on_the_way(world, home)
    done(home, "wait")
    done(home, "reap")
    assert runs(world) == ["w0"]
    assert list((world.base / "jobs").iterdir()) == []
    _let_it_arrive(world, home)
    assert runs(world) == ["w0"]
    assert list((world.base / "jobs").iterdir()) == []
    assert list((world.base / "new").iterdir()) == []


def test_a_round_that_arrives_while_its_job_runs_starts_no_second(
    world: World, home: Home
) -> None:
    _killed_with_its_round_on_the_way(world, home)
    done(home, "poll", "--host", home.cli.host)
    _let_it_arrive(world, home)
    done(home, "wait")
    assert runs(world) == ["w0"]
    assert home.rows("SELECT state FROM jobs") == [("COMPLETED",)]


def test_a_job_that_another_machine_has_joined_and_reaped_keeps_its_end(
    world: World, home: Home
) -> None:
    other = world.homes[1]
    _killed_with_its_round_on_the_way(world, home, "--key", "w0")
    _let_it_arrive(world, home)
    assert runs(world) == ["w0"], "the other tests of this section try nothing"
    done(
        other, "submit", other.cli.host, "--key", "w0", "--", work(0).command(world.ran)
    )
    done(other, "wait")
    done(other, "reap")
    assert list((world.base / "jobs").iterdir()) == []
    done(home, "poll", "--host", home.cli.host)
    assert ends(submit(home, "w0", work(0).command(world.ran))) == [0]
    assert runs(world) == ["w0"]
    for one in (home, other):
        assert one.rows("SELECT id, state FROM jobs") == [(home.ids()[0], "COMPLETED")]


def test_a_host_that_takes_orders_and_is_silent(world: World, home: Home) -> None:
    """The id is given, not among the job's own output; a later verb sees to it."""
    home.cli.env |= {"SSHJOBS_MAX_RECONNECT_ATTEMPTS": "1"}
    home.relay.limit = 8000
    works = [work(0), work(1)]
    crowd = [home.start(*_order(home, world, w)) for w in works]
    assert ends(*crowd) == [75, 75], [one.ended for one in crowd]
    ids = set(home.ids())
    assert crowd[0].ended.raw == b""
    assert {crowd[0].ended.err.splitlines()[-1], crowd[1].ended.lines[-1]} == ids
    home.relay.heal()
    home.relay.drop()
    done(home, "wait")
    assert runs(world) == ["w0", "w1"]


def _swallowed(home: Home, *words: str) -> str:
    """Submit a job whose order gets lost on the way; return the id that was given."""
    home.relay.limit = 8000
    one = home.start("submit", home.cli.host, *words)
    assert ends(one) == [75], one.ended
    home.relay.heal()
    home.relay.drop()
    return one.ended.lines[-1]


def test_an_id_that_was_given_is_known_though_the_host_refuses_the_job(
    home: Home,
) -> None:
    home.cli.env |= {"SSHJOBS_MAX_RECONNECT_ATTEMPTS": "1"}
    job = _swallowed(home, "--shell", "/no/such/shell", "--", "true")
    assert ends(home.start("wait", job)) == [1]
    ((state, reason),) = home.rows("SELECT state, reason FROM jobs")
    assert state == "FAILED"
    assert "/no/such/shell" in reason
    assert home.rows("SELECT * FROM intents WHERE done = 0") == []


def test_an_id_that_was_given_is_known_though_another_holds_its_key(
    world: World, home: Home
) -> None:
    home.cli.env |= {"SSHJOBS_MAX_RECONNECT_ATTEMPTS": "1"}
    other = world.homes[1]
    line = work(0).command(world.ran)
    job = _swallowed(home, "--key", "w0", "--", line)
    winner = done(other, "submit", other.cli.host, "--key", "w0", "--", line)
    assert ends(home.start("wait", job)) == [1]
    rows = dict(home.rows("SELECT id, state FROM jobs"))
    assert rows == {job: "CANCELLED", winner.strip(): "COMPLETED"}
    ((reason,),) = home.rows(f"SELECT reason FROM jobs WHERE id = '{job}'")
    assert winner.strip() in reason
    assert home.rows("SELECT id FROM jobs WHERE key = 'w0'") == [(winner.strip(),)]
    assert runs(world) == ["w0"]


def _order(home: Home, world: World, one: Work) -> tuple[str, ...]:
    verb = "run" if one.tag == "w0" else "submit"
    return (verb, home.cli.host, "--", one.command(world.ran))


# -- disks


def test_a_host_that_cannot_keep_jobs_leaves_none_here(home: Home) -> None:
    home.cli.env["SSHJOBS_REMOTE_BASE_DIR"] = "/proc/nowhere"
    crowd = [submit(home, "k", "true") for _ in range(3)]
    assert ends(*crowd) == [69, 69, 69]
    assert "/proc" in crowd[0].ended.err or "directory" in crowd[0].ended.err
    assert done(home, "list") == ""
    assert os.listdir(home.cli.home / "specs") == []
    assert home.rows("SELECT * FROM intents WHERE done = 0") == []
    nothing_is_left(home)


@pytest.fixture
def small(need_sshd: None) -> Iterator[World]:
    if os.geteuid() != 0:
        pytest.skip("only root can make a small file system")
    made = World({}, small=True)
    yield made
    made.close()


def test_a_full_host_is_an_error_and_no_hang(small: World) -> None:
    """Whatever is the first that does not fit: directory, script, claim, log."""
    home = small.homes[1]
    disk = small.disks[0]
    done(home, "submit", home.cli.host, "--", "true")
    done(home, "wait")
    for pages in range(6):
        small.fill(disk)
        with open(disk / "ballast", "r+b") as ballast:
            ballast.truncate(max(0, ballast.seek(0, 2) - 4096 * pages))
        one = home.start("submit", home.cli.host, "--", work(pages).command(small.ran))
        (status,) = ends(one)
        assert status in (0, 69, 75), one.ended
        small.free()
        done(home, "poll", "--host", home.cli.host)
        ended = home.start("wait")
        assert ends(ended)[0] in (0, 1), ended.ended
        known = home.rows(f"SELECT state FROM jobs WHERE command LIKE ': w{pages};%'")
        assert len(known) == (status != 69), (pages, status, known, one.ended)
    assert len(runs(small)) == len(set(runs(small)))
    assert os.listdir(home.cli.home / "specs") == []
    assert list((small.base / "new").iterdir()) == []


def test_a_full_host_can_be_reaped(small: World) -> None:
    """What an ended job needs no more makes room for what must stay of it."""
    home = small.homes[1]
    ids = {}
    for key in ("k0", "k1", "k2"):
        one = submit(home, key, "true")
        assert ends(one) == [0], one.ended
        ids[key] = one.ended.out
    done(home, "wait")
    small.fill(small.disks[0])
    done(home, "reap")
    assert list((small.base / "jobs").iterdir()) == []
    small.free()
    other = small.homes[0]
    for key, job_id in ids.items():
        assert (
            done(other, "submit", other.cli.host, "--key", key, "--", "true") == job_id
        )


def test_a_batch_on_a_full_host_stays_in_step_with_its_input(
    small: World, tmp_path: Path
) -> None:
    """A part is refused, and a part has no room for its claims."""
    home = small.homes[1]
    done(home, "submit", home.cli.host, "--", "true")
    done(home, "wait")
    small.fill(small.disks[0])
    with open(small.disks[0] / "ballast", "r+b") as ballast:
        ballast.truncate(ballast.seek(0, 2) - 4096 * 60)
    lines = [f"echo $SSHJOBS_JOB_ID >{small.ran}/{n}\n" for n in range(40)]
    (tmp_path / "batch").write_text("".join(lines))
    batch = home.cli(
        "submit", home.cli.host, "--json", "--from", str(tmp_path / "batch")
    )
    ids = [row["id"] for row in batch.objects]
    assert (batch.status, len(ids)) == (75, 40), batch
    refused = ids.count(None)
    assert 0 < refused < 40
    assert f"{refused} were refused" in batch.err
    assert "No space left on device" in batch.err
    small.free()
    done(home, "wait")
    written = {path.name: path.read_text().strip() for path in small.ran.iterdir()}
    assert written == {str(n): job for n, job in enumerate(ids) if job}
    assert home.rows("SELECT * FROM intents WHERE done = 0") == []


def test_a_full_home_is_an_error_and_loses_nothing(small: World) -> None:
    home = small.homes[0]
    disk = small.disks[1]
    one = Work("w0", 20000, 0.0, 0)
    done(home, "submit", home.cli.host, "--key", "w0", "--", one.command(small.ran))
    small.fill(disk)
    for words in (("wait",), ("poll",), ("submit", home.cli.host, "--", "true")):
        command = home.start(*words)
        (status,) = ends(command)
        assert status in (0, 69, 70, 75), command.ended
        assert "Traceback" not in command.ended.err, command.ended
        assert status == 0 or str(disk) in command.ended.err, command.ended
    small.free()
    done(home, "wait")
    done(home, "reap")
    (log,) = home.rows("SELECT id FROM jobs WHERE key = 'w0'")[0]
    assert Path(home.cli.home, "logs", log).read_bytes() == one.log
    nothing_is_left(home)
