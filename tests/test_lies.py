"""A host that answers any bytes: each verb ends, and nothing else is touched.

An sshd of the test runs :mod:`tests.lying_host` in place of each command. Whatever
that says, each verb ends by itself with an error that names the host, in little
memory, and with no more on the disk than was asked for.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cli import Cli, Ended, eventually, give_empty_home
from tests.lying_host import KINDS, LIES

MIB = 1 << 20

#: Far longer than any bound here; a verb that has none shows as this.
PATIENCE = 60.0

#: What a process of ours may hold, and what may be on the disk beside what was asked.
MOST_MEMORY = 60 * MIB
MOST_DISK = 1 * MIB

#: Of the log of the job that has ended: long enough for a session of its own.
LONG = 9 * MIB

ENV = {
    "SSHJOBS_COMMAND_TIMEOUT": "2",
    "SSHJOBS_ROUND_TIMEOUT": "4",
    "SSHJOBS_MAX_RECONNECT_ATTEMPTS": "1",
    "SSHJOBS_WAIT_HOST": "3",
    "SSHJOBS_START_GRACE": "1",
    "SSHJOBS_KILL_GRACE": "1",
}


class Weighed(Ended):
    """What a command ended with, and what it took."""

    memory = 0
    disk = 0  # what more there is of the record's files at the end
    peak = 0  # the most of that in between


class Host:
    """A host that lies when it is told to, with a job that runs and one that ended."""

    def __init__(self, cli: Cli, lie: Path) -> None:
        self.cli = cli
        self._lie = lie
        self.lying("")
        self.running = cli.submit("--", "sleep 1000")
        self.ended = cli.submit("--", f"head -c {LONG} /dev/zero")
        eventually(lambda: cli.state(self.ended) == "COMPLETED")
        self._kept = cli.home.with_name("kept")
        self._kept.mkdir()
        for name in ("logs", "specs"):
            shutil.copytree(cli.home / name, self._kept / name)
        self._copy_record(cli.home, self._kept)
        cli.env |= ENV

    def lying(self, name: str) -> None:
        """Have it tell that lie from now on; "" is the truth."""
        self._lie.write_text(name)

    def _copy_record(self, source: Path, target: Path) -> None:
        for path in target.glob("store.db*"):
            path.unlink()
        for path in source.glob("store.db*"):
            shutil.copy(path, target)

    def forget(self) -> None:
        """Have the record be as it was before the first lie."""
        home = self.cli.home
        self._copy_record(self._kept, home)
        for name in ("logs", "specs"):
            shutil.rmtree(home / name)
            shutil.copytree(self._kept / name, home / name)

    def verb(self, name: str) -> Weighed:
        """Run a verb as it is called for these jobs, and weigh it."""
        words = [
            {"HOST": self.cli.host, "RUNNING": self.running, "ENDED": self.ended}.get(
                word, word
            )
            for word in VERBS[name].split()
        ]
        return weigh(self.cli, *words)


VERBS = {
    "submit": "submit HOST -- true",
    "keyed submit": "submit HOST --key k -- true",
    "run": "run HOST -- true",
    "poll": "poll RUNNING",
    "wait": "wait RUNNING --timeout 3",
    "logs": "logs RUNNING",
    "a long log": "logs ENDED",
    "follow": "logs ENDED --follow",
    "kill": "kill RUNNING",
    "reap": "reap --host HOST",
    "orphans": "reap --host HOST --orphans",
    "adopt": "poll --host HOST --adopt",
    "doctor": "doctor HOST",
    "connect": "connect HOST",
    "list": "list",
    "hosts": "hosts",
}

#: How much of a log these ask for: a piece of one that goes on, all of one that ended.
ASKED = {"logs": 4 * MIB, "run": 4 * MIB, "a long log": LONG, "follow": LONG}
ASKED |= {"reap": LONG, "orphans": LONG}


def weigh(cli: Cli, *words: str) -> Weighed:
    """Run a command to its end; tell its memory and the most that was on the disk."""
    command = [sys.executable, "-m", "sshjobs", *words]
    weigher = [sys.executable, "-I", "-S", str(Path(__file__).with_name("weigh.py"))]
    ours, theirs = os.pipe()
    before = usage(cli.home)
    process = subprocess.Popen(
        [*weigher, str(theirs), *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=cli.env,
        pass_fds=[theirs],
        start_new_session=True,
    )
    os.close(theirs)
    seen = [0]
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.05):
            seen[0] = max(seen[0], usage(cli.home))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        out, err = process.communicate(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        pytest.fail(f"no end of {words}")
    finally:
        stop.set()
        thread.join()
    ended = Weighed(process.returncode, out, err)
    with open(ours) as file:
        ended.memory = int(file.read())
    ended.disk = usage(cli.home) - before
    ended.peak = max(seen[0] - before, ended.disk)
    return ended


def usage(folder: Path) -> int:
    """Return how much of the disk the files of a directory take."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def picture(folder: Path, but: Path) -> dict[str, str]:
    """Return what stands in a directory, apart from one below it."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if but not in (path, *path.parents) and path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


@pytest.fixture
def host(new_box: Callable[..., Cli], place: Path) -> Iterator[Host]:
    """An honest host, as yet."""
    lie = place / "lie"
    lie.touch()
    program = Path(__file__).with_name("lying_host.py")
    cli = new_box(
        ForceCommand=f"{sys.executable} -I -S {program} {lie}", MaxSessions=40
    )
    canary = place / "canary"
    for name in ("a", "logs/x", "specs/y", "home/.."):
        (canary / name).parent.mkdir(parents=True, exist_ok=True)
        if not name.endswith(".."):
            (canary / name).write_text(name)
    cli.home = canary / "home"
    cli.env["SSHJOBS_HOME"] = str(cli.home)
    made = Host(cli, lie)
    yield made
    made.lying("")
    cli("kill", made.running)


def check(host: Host, lie: str, verbs: list[str]) -> None:
    """Tell one lie to verbs, one after the other."""
    canary = host.cli.home.parent
    for verb in verbs:
        host.forget()
        before = picture(canary, host.cli.home)
        host.lying(lie)
        ended = host.verb(verb)
        told = (
            lie,
            verb,
            ended,
            ended.memory // MIB,
            ended.disk // MIB,
            ended.peak // MIB,
        )
        assert ended.memory < MOST_MEMORY, told
        assert ended.disk < ASKED.get(verb, 0) + MOST_DISK, told
        assert ended.peak < ASKED.get(verb, 0) + MOST_DISK, told
        logs = [path.stat().st_size for path in (host.cli.home / "logs").iterdir()]
        assert max(logs, default=0) <= ASKED.get(verb, 0), told
        assert ended.status in (0, 1, 69, 70, 75, 128 + 15), told
        assert "Traceback" not in ended.err and "\x1b" not in ended.err, told
        if ended.status in (69, 70):
            assert host.cli.host in ended.err, told
        assert picture(canary, host.cli.home) == before, told
        host.lying("")


#: One of each kind, against the verb that it hurts most.
SAMPLE = [
    ("foreign-lost", "poll"),
    ("names-of-files", "kill"),
    ("a-log-of-a-file", "logs"),
    ("a-log-without-end", "logs"),
    ("a-fetch-without-end", "a long log"),
    ("stderr-in-drips", "submit"),
    ("beats-in-drips", "wait"),
    ("noise-without-end", "kill"),
    ("drips-after-the-end", "poll"),
    ("other-jobs-without-end", "adopt"),
    ("facts-without-end", "doctor"),
    ("news-without-end", "wait"),
]


@pytest.mark.parametrize(("lie", "verb"), SAMPLE)
def test_a_lie_of_each_kind(host: Host, lie: str, verb: str) -> None:
    check(host, lie, [verb])


def test_a_wait_ends_in_the_middle_of_a_round(host: Host) -> None:
    """Whether it leads the round or waits for who does."""
    host.cli.env["SSHJOBS_COMMAND_TIMEOUT"] = "100"
    host.cli.env["SSHJOBS_ROUND_TIMEOUT"] = "100"
    host.lying("fence-then-silence")
    leads = host.cli("wait", host.running, "--timeout", "1")
    assert leads.status == 75 and "command_timeout" not in leads.err, leads
    leader = host.cli.start("poll", host.running)
    eventually(lambda: asleep(leader.pid))
    follows = host.cli("wait", host.running, "--timeout", "1")
    assert follows.status == 75, follows
    assert leader.poll() is None
    leader.kill()
    leader.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["submit", "poll", "logs", "kill", "reap"])
def test_a_host_that_is_silent_is_not_borne_for_longer_than_wait_host(
    host: Host, verb: str
) -> None:
    host.cli.env |= {"SSHJOBS_COMMAND_TIMEOUT": "200", "SSHJOBS_WAIT_HOST": "12"}
    host.cli.env["SSHJOBS_MAX_RECONNECT_ATTEMPTS"] = "9"
    host.lying("fence-then-silence")
    before = host.cli.hosts()["sessions"]
    ended = host.verb(verb)
    assert ended.status in (69, 75) and "wait-host 12 s" in ended.err, ended
    assert host.cli.hosts()["sessions"] - before <= 2


def asleep(pid: int) -> bool:
    """Tell whether a process leads a round: it blocks the stops of a terminal."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("SigBlk"))
    return bool(int(line.split()[1], 16) & 1 << (signal.SIGTSTP - 1))


def test_a_host_that_lied_is_left_alone_and_no_other(host: Host) -> None:
    cli = host.cli
    host.lying("beats-without-end")
    first = cli("poll", host.running)
    assert first.status == 70 and "more answers than" in first.err, first
    before = cli.hosts()["sessions"]
    host.lying("")
    second = cli("poll", host.running, env={"SSHJOBS_WAIT_HOST": "0"})
    assert second.status == 70 and "nobody on this machine tries again" in second.err
    assert cli.hosts()["sessions"] == before
    base = {"SSHJOBS_REMOTE_BASE_DIR": str(cli.home.parent.parent / "local")}
    give_empty_home(base, cli.home.parent / "login")
    assert cli("submit", "local", "--", "true", env=base).status == 0
    # What was wanted meanwhile is done as soon as the host is asked again.
    assert cli("kill", host.running, env={"SSHJOBS_WAIT_HOST": "100"}).status in (0, 1)
    assert cli.state(host.running) == "CANCELLED"


@pytest.mark.slow
@pytest.mark.parametrize("lie", sorted(LIES))
def test_each_lie_against_each_verb(host: Host, lie: str) -> None:
    check(host, lie, list(VERBS))
    assert KINDS[lie]
