"""Long logs, each in a session of its own that is nothing but their bytes."""

from __future__ import annotations

import os
import resource
import signal
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from sshjobs import protocol, states, transports
from sshjobs.errors import ConnectionLost, ProtocolError, StoreError
from sshjobs.locks import Bell, LeaderLock
from sshjobs.model import Job
from sshjobs.rounds import Coordinator, RoundWish
from sshjobs.rounds.log_transfer import LogTransfer
from sshjobs.settings import Settings
from sshjobs.store import Store
from sshjobs.transports import Completed, StdoutTaker
from sshjobs.transports.local import Local
from tests.cli import Cli, all_processes, eventually, finish
from tests.fake_transport import FakeTransport, find_nonce

ID = "a" * 16
LOG = bytes(range(256)) * 40_000
HOME = 5_000

#: 37 MB and some, no two lines alike.
LINES = "seq 1 5000000"


# -- one fetch, and a host that says what it likes ---------------------------------


class Host(FakeTransport):
    """Stands in for a transport: says something, waits for the word, says the rest."""

    def __init__(self, noise: bytes = b"", rest: bytes = LOG[HOME:]) -> None:
        self.noise = noise
        self.rest = rest
        self.fence = True
        self.after: BaseException | None = None
        self.meanwhile: Callable[[], object] = lambda: None
        self.word: bytes | None = None

    def answer(
        self,
        program: bytes,
        sink: Callable[[bytes], None],
        into: StdoutTaker | None = None,
    ) -> Completed:
        assert into is not None
        nonce = find_nonce(program, b"sj_fetch_log") or b""
        fence = b"\nsshjobs-log 1 %s\n" % nonce if self.fence else b""
        self.meanwhile()
        pipe = os.pipe()
        try:
            for piece in (self.noise, fence, b""):
                self.say(into, pipe, piece)
                self.word = into.answer()
            self.say(into, pipe, self.rest if self.word else b"")
        finally:
            for end in pipe:
                os.close(end)
        if self.after is not None:
            raise self.after
        return Completed(0, b"", 0)

    def say(self, into: StdoutTaker, pipe: tuple[int, int], data: bytes) -> None:
        """Write what a pipe holds, and have it taken, again and again."""
        os.set_blocking(pipe[0], False)
        for start in range(0, len(data), 50_000):
            os.write(pipe[1], data[start : start + 50_000])
            with suppress(BlockingIOError):
                while into.take(pipe[0]):
                    continue


class Here:
    """A record with one job, of whose log the first bytes are here."""

    def __init__(self, folder: Path) -> None:
        self.store = Store(f"{folder}/home")
        settings = Settings()
        rundir = folder / "run"
        rundir.mkdir(mode=0o700)
        identity = transports.resolve_host("local", settings)
        self.coordinator = Coordinator(self.store, identity, settings, str(rundir))
        site_id = self.coordinator.site_id
        self.wish = RoundWish()
        self.bell = Bell(str(rundir), site_id)
        self.lead = LeaderLock(
            os.path.join(self.store.home, "locks"),
            site_id,
            lambda: self.coordinator.site.row().generation,
            lambda _: True,
        )
        assert self.lead.try_to_lead()
        job = Job(
            id=ID,
            host="local",
            site_id=site_id,
            state=states.COMPLETED,
            log_bytes=len(LOG),
            log_local_bytes=HOME,
        )
        with self.store.begin_write():
            self.store.jobs.add_jobs([job])
        self.path = Path(self.store.files.locate_log(ID))
        self.path.write_bytes(LOG[:HOME])

    @property
    def job(self) -> Job:
        job = self.store.jobs.find_job(ID)
        assert job is not None
        return job

    def fetch(self, host: transports.Transport) -> bool:
        transfer = LogTransfer(
            self.coordinator.site, self.lead, self.job, 0, self.bell, self.wish
        )
        again = transfer.run(host)
        self.wish = self.wish._replace(portion_bytes=transfer.next_portion)
        return again

    def another_leads(self, log: bytes) -> None:
        """Have another take over, who brings more of the log."""
        generation = self.coordinator.site.row().generation
        self.store.sites.update_site(
            self.coordinator.site_id, generation=generation + 1
        )
        self.path.write_bytes(log)
        self.store.jobs.update_job(ID, log_local_bytes=len(log))


@pytest.fixture
def here(place: Path) -> Iterator[Here]:
    made = Here(place)
    yield made
    made.lead.release()
    made.store.close()


@pytest.mark.parametrize("noise", [b"", b"Welcome\n", b"\n" * 50_000, LOG[:9_000]])
def test_a_fetch_puts_the_rest_where_it_belongs(here: Here, noise: bytes) -> None:
    told: list[tuple[str, int, int]] = []
    here.wish = RoundWish(on_log=lambda *what: told.append(what))
    host = Host(noise)
    assert here.fetch(host)
    assert here.path.read_bytes() == LOG
    assert (here.job.log_local_bytes, here.job.log_final) == (len(LOG), True)
    assert (host.word, told[-1]) == (protocol.GO, (ID, HOME, len(LOG)))
    assert here.coordinator.site.row().bytes_in == len(LOG) - HOME


@pytest.mark.parametrize("noise", [b"", b"no such file\n", bytes(200_000)])
def test_no_fence_no_log(here: Here, noise: bytes) -> None:
    host = Host(noise)
    host.fence = False
    assert not here.fetch(host)
    assert here.path.read_bytes() == LOG[:HOME]
    assert here.job.log_local_bytes == HOME
    assert not host.word


def test_what_has_come_counts_though_the_connection_ends(here: Here) -> None:
    host = Host(rest=LOG[HOME:2_000_000])
    host.after = ConnectionLost("box", "gone", "")
    with pytest.raises(ConnectionLost):
        here.fetch(host)
    assert here.path.read_bytes() == LOG[:2_000_000]
    assert (here.job.log_local_bytes, here.job.log_final) == (2_000_000, False)


def test_a_log_that_is_shorter_there_is_not_fetched_again(here: Here) -> None:
    assert not here.fetch(Host(rest=LOG[HOME:6_000]))
    assert here.job.log_local_bytes == 6_000


def test_more_than_was_asked_for_ends_it_and_is_cut_off(here: Here) -> None:
    with pytest.raises(ProtocolError, match="local: .* more of a log"):
        here.fetch(Host(rest=LOG[HOME:] + b"more" * 500_000))
    assert here.job.log_local_bytes == len(LOG)
    assert here.path.read_bytes() == LOG


class Flood(Local):
    """A host that goes on and on after the fence."""

    def run(self, script: str, **words: Any) -> Completed:
        nonce = words["stdin"].partition(b"sj_fetch_log '")[2][:16].decode()
        return super().run(
            f'while read -r l; do [ "$l" != go ] || exec cat /dev/zero; case $l in '
            f"*'{nonce}'*) printf '\\nsshjobs-log 1 {nonce}\\n' ;; esac; done",
            **words,
        )


def test_not_a_byte_beyond_what_was_asked_for_is_on_the_disk(here: Here) -> None:
    """At no instant, however long we are kept from looking."""
    sizes: list[int] = []

    def stand_still(*_: object) -> None:
        time.sleep(0.02)
        sizes.append(here.path.stat().st_size)

    here.wish = RoundWish(on_log=stand_still)
    with pytest.raises(ProtocolError, match="local: .* more of a log"):
        here.fetch(Flood(here.coordinator.identity))
    assert max(sizes) == here.path.stat().st_size == len(LOG)


@pytest.mark.parametrize("fence", [True, False])
def test_who_leads_no_more_spoils_nothing(here: Here, fence: bool) -> None:
    """It was stopped for so long that another has taken over, and knows more."""
    host = Host(b"noise")
    host.fence = fence
    host.meanwhile = lambda: here.another_leads(LOG[:9_000])
    assert not here.fetch(host)
    assert here.path.read_bytes()[:9_000] == LOG[:9_000]
    assert here.job.log_local_bytes == 9_000


def test_a_portion_grows_while_it_takes_no_time(here: Here) -> None:
    here.wish = RoundWish(portion_bytes=100_000)
    for size in (100_000, 200_000, 400_000):
        before = here.job.log_local_bytes
        assert here.fetch(Host(rest=LOG[before : before + size]))
        assert here.job.log_local_bytes == before + size
    assert here.path.read_bytes() == LOG[: here.job.log_local_bytes]


def test_a_file_that_cannot_be_opened_is_named(here: Here) -> None:
    here.path.unlink()
    here.path.mkdir()
    with pytest.raises(StoreError, match=ID):
        here.fetch(Host())


# -- over a real sshd ----------------------------------------------------------------


@pytest.fixture
def slow_box(new_box: Callable[..., Cli], place: Path) -> Cli:
    """A host that sends five megabytes a second."""
    slowly = place / "slowly"
    slowly.write_text(
        "import os, time\n"
        "while data := os.read(0, 65536):\n"
        "    os.write(1, data)\n"
        "    time.sleep(len(data) / 5e6)\n"
    )
    forced = f'eval "$SSH_ORIGINAL_COMMAND" | {sys.base_prefix}/bin/python3 {slowly}'
    return new_box(ForceCommand=f"sh -c '{forced}'")


def on_host(cli: Cli, job: str) -> bytes:
    return (cli.directory(job) / "log").read_bytes()


def test_a_long_log_takes_two_sessions_at_most(cli: Cli, tmp_path: Path) -> None:
    job = cli.submit("--", LINES)
    cli.ok("wait", job)
    before, path = cli.hosts()["sessions"], tmp_path / "log"
    with open(path, "wb") as file:
        assert finish([cli.start("logs", job, stdout=file)])[0].status == 0
    assert path.read_bytes() == on_host(cli, job)
    assert cli.hosts()["sessions"] - before <= 2
    assert cli.hosts()["bytes_in"] >= path.stat().st_size
    assert cli.ok("logs", job).raw == on_host(cli, job)
    assert cli.hosts()["sessions"] - before <= 2


@pytest.mark.parametrize(
    "noise, sessions", [("echo noise", 2), ("head -c 100000 /dev/zero; sleep 0.3", 12)]
)
def test_a_login_shell_that_talks_does_no_harm(
    new_box: Callable[..., Cli], noise: str, sessions: int
) -> None:
    """A little is passed over; where it is too much, the log comes in rounds."""
    cli = new_box(ForceCommand=f"sh -c '{noise}; eval \"$SSH_ORIGINAL_COMMAND\"'")
    job = cli.submit("--", LINES)
    cli.ok("wait", job)
    before = cli.hosts()["sessions"]
    assert cli.ok("logs", job).raw == on_host(cli, job)
    used = cli.hosts()["sessions"] - before
    assert sessions - 2 <= used <= sessions


@pytest.mark.parametrize("mux", ["native", "ssh"])
def test_run_gives_a_long_log_as_it_comes(cli: Cli, mux: str) -> None:
    cli.env["SSHJOBS_MUX"] = mux
    ended = cli.ok("run", cli.host, "--", f"{LINES}; sleep 1; {LINES}")
    lines = b"".join(b"%d\n" % number for number in range(1, 5_000_001))
    assert ended.raw == lines * 2


def test_reaping_brings_a_long_log_home_first(cli: Cli) -> None:
    job = cli.submit("--", LINES)
    cli.ok("wait", job)
    expected = on_host(cli, job)
    cli.ok("reap")
    assert not cli.directory(job).exists()
    assert cli.ok("logs", job).raw == expected


def test_others_are_served_while_a_long_log_is_on_its_way(
    slow_box: Cli, place: Path
) -> None:
    """Eight seconds' worth of log; a submit in between has its answer before."""
    job, path = slow_box.submit("--", LINES), place / "log"
    slow_box.ok("wait", job)
    with open(path, "wb") as file:
        logs = slow_box.start("logs", job, stdout=file)
        eventually(lambda: path.stat().st_size > 2_000_000)
        other = slow_box.submit("--", "echo hello")
        assert logs.poll() is None
        assert slow_box.ok("logs", other, "--follow").out == "hello\n"
        assert finish([logs])[0].status == 0
    assert path.read_bytes() == on_host(slow_box, job)


@pytest.mark.parametrize("victim", ["leader", "master", "sshd"])
def test_a_fetch_that_is_killed_goes_on(
    slow_box: Cli, place: Path, victim: str
) -> None:
    """Nothing is handed over twice, and what has come need not come again."""
    sshd = slow_box.sshd
    assert sshd is not None
    job, path = slow_box.submit("--", LINES), place / "log"
    slow_box.ok("wait", job)
    log = on_host(slow_box, job)
    with open(path, "wb") as file:
        logs = slow_box.start("logs", job, stdout=file)
        eventually(lambda: path.stat().st_size > 8_000_000)
        if victim == "leader":
            os.kill(logs.pid, signal.SIGKILL)
        for pid in sshd.session_pids() if victim == "sshd" else ():
            os.kill(pid, signal.SIGKILL)
        for pid, words in all_processes("cmdline") if victim == "master" else ():
            if words.split(b"\0")[0].endswith(b"ssh") and bytes(slow_box.home) in words:
                os.kill(pid, signal.SIGKILL)
        (ended,) = finish([logs])
    if victim == "leader":
        assert log.startswith(path.read_bytes())
        assert slow_box.ok("logs", job).raw == log
    else:
        assert (ended.status, path.read_bytes()) == (0, log)
        # Nothing but what it waited for is told.
        assert all("; Ctrl-C: " in line for line in ended.err.splitlines())
    assert sshd.connections == 1 + (victim != "leader")
    assert slow_box.hosts()["bytes_in"] < 1.5 * len(log)


def test_a_limit_of_files_costs_no_connection(cli: Cli, tmp_path: Path) -> None:
    """With ulimit -f nothing of ours is killed (SIGXFSZ), and the cause is said."""
    job = cli.submit("--", LINES)
    cli.ok("wait", job)
    cli.ok("disconnect", cli.host)
    limit = (20_000_000, 20_000_000)
    with open(tmp_path / "log", "wb") as file:
        process = cli.start(
            "logs",
            job,
            stdout=file,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        )
        (ended,) = finish([process])
    assert (ended.status, "File too large" in ended.err) == (70, True), ended
    assert on_host(cli, job).startswith((tmp_path / "log").read_bytes())
    assert cli.sshd is not None and cli.sshd.connections == 2
    # The master has that limit, too, and writes to no file.
    assert cli.ok("logs", job).raw == on_host(cli, job)
    assert cli.sshd.connections == 2


# -- a record that knows more than the disk has kept ----------------------------------


def lose_power(cli: Cli, job: str, left: int) -> None:
    """Leave less of a log than was known to be here."""
    os.truncate(cli.home / "logs" / job, left)


@pytest.mark.parametrize("left", [0, 7, 1000])
def test_a_log_that_a_power_failure_took_is_brought_again(cli: Cli, left: int) -> None:
    job = cli.submit("--", "seq 1 9000")
    cli.ok("wait", job)
    expected = cli.ok("logs", job).raw
    lose_power(cli, job, left)
    assert cli.ok("logs", job).raw == expected
    lose_power(cli, job, left)
    cli.ok("reap")
    assert not cli.directory(job).exists()
    assert cli.ok("logs", job).raw == expected


def test_of_a_log_that_is_nowhere_any_more_it_is_said(cli: Cli) -> None:
    job = cli.submit("--", "seq 1 9000")
    cli.ok("wait", job)
    cli.ok("reap")
    lose_power(cli, job, 4)
    ended = cli("logs", job)
    assert (ended.status, ended.out) == (1, "1\n2\n")
    assert "4 of the" in ended.err


def test_a_log_is_not_continued_behind_a_hole(cli: Cli) -> None:
    """Its file is shorter than what a running job has already sent home."""
    job = cli.submit("--", "seq 1 9000; sleep 3; seq 1 9000")
    eventually(lambda: len(cli.ok("logs", job).raw) > 9000)
    with closing(sqlite3.connect(cli.home / "store.db", timeout=30)) as db:
        ((home,),) = db.execute("SELECT log_local_bytes FROM jobs")
    lose_power(cli, job, home - 100)
    cli.ok("wait", job)
    cli.ok("reap")
    lines = b"".join(b"%d\n" % number for number in range(1, 9001))
    assert cli.ok("logs", job).raw == lines * 2
