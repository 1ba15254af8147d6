"""A record and a host of the tests' own, rounds between them, and replies cut short."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from sshjobs import states, transports
from sshjobs.errors import SshJobsError
from sshjobs.locks import LeaderLock
from sshjobs.model import STDERR, Job, Spec, name_streams
from sshjobs.rounds import Coordinator, RoundWish
from sshjobs.rounds.log_state import view_log
from sshjobs.rounds.round import Round
from sshjobs.settings import Settings
from sshjobs.store import Store
from sshjobs.transports import Completed, StdoutTaker
from tests.fake_transport import FakeTransport, find_nonce

#: The nonce of a request, as it stands in a reply that was kept.
_NONCE = b"@NONCE@"

#: Only these say how a job ended, each in one line.
_ENDS = {"ended", "lost", "missing", "refused", "killmissing", "reaped"}

#: And these how it does, after all that was done to it.
_DOES = _ENDS | {"started", "prepared", "unsupervised", "elsewhere"}

#: What serves an intent of each kind.
_SERVES = {
    "start": _DOES - {"prepared"},
    "kill": _DOES,
    "reap": {"reaped", "unreaped", "missing", "nolog"},
    "log": {"log", "nolog", "missing"},
}


def _nonce(program: bytes) -> bytes:
    nonce = find_nonce(program)
    assert nonce, program[-2000:]
    return nonce


class Shell(FakeTransport):
    """A transport to ``sh`` in a home of the tests' own.

    Attributes:
        said: What the last session said, with its nonce taken out.
    """

    def __init__(self, home: Path) -> None:
        self.home = home
        self.said = b""

    def answer(
        self,
        program: bytes,
        sink: Callable[[bytes], None],
        into: StdoutTaker | None = None,
    ) -> Completed:
        """Run the program as a login would."""
        ran = subprocess.run(
            ["/bin/sh"],
            input=program,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"},
            timeout=60,
            check=False,
        )
        self.said = ran.stdout.replace(_nonce(program), _NONCE)
        sink(ran.stdout)
        return Completed(ran.returncode, b"", len(ran.stdout))


class Cut(Shell):
    """A transport that says what was said before, up to a byte."""

    def __init__(self, said: bytes, length: int) -> None:
        super().__init__(Path())
        self.said = said[:length]

    def answer(
        self,
        program: bytes,
        sink: Callable[[bytes], None],
        into: StdoutTaker | None = None,
    ) -> Completed:
        """Say it again, to who asks now; a host that was cut off did run programs."""
        probe = re.fullmatch(rb"\{ exit (\d+); \}\n", program)
        if probe:  # see rounds.obstacles.runs_our_programs
            return Completed(int(probe[1]), b"", 0)
        data = self.said.replace(_NONCE, _nonce(program))
        for at in range(0, len(data), 4096):
            sink(data[at : at + 4096])
        return Completed(0, b"", len(data))


class Edited(Shell):
    """A transport that changes the program on its way."""

    def __init__(self, home: Path, old: bytes, new: bytes) -> None:
        super().__init__(home)
        self.change = (old, new)

    def answer(
        self,
        program: bytes,
        sink: Callable[[bytes], None],
        into: StdoutTaker | None = None,
    ) -> Completed:
        """Run what the program has become."""
        assert self.change[0] in program
        return super().answer(program.replace(*self.change), sink)


class Broken(Shell):
    """A transport whose connection ends after so many lines; so does the program."""

    def __init__(self, home: Path, count: int) -> None:
        super().__init__(home)
        self.count = count

    def answer(
        self,
        program: bytes,
        sink: Callable[[bytes], None],
        into: StdoutTaker | None = None,
    ) -> Completed:
        """Run the program, and hear only its first lines."""
        with subprocess.Popen(
            ["/bin/sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self.home,
            env={"HOME": str(self.home), "PATH": "/usr/bin:/bin", "SHELL": "/bin/sh"},
            bufsize=0,
        ) as ran:
            assert ran.stdin and ran.stdout
            ran.stdin.write(program)
            ran.stdin.close()
            while self.count and (line := ran.stdout.readline()):
                self.said += line
                self.count -= 1
        sink(self.said)
        return Completed(None, b"", len(self.said))


class Client:
    """A record of this machine, in a directory that can be copied."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(str(folder / "home"))
        rundir = folder / "run"
        rundir.mkdir(mode=0o700, exist_ok=True)
        settings = Settings()
        identity = transports.resolve_host("local", settings)
        self.coordinator = Coordinator(self.store, identity, settings, str(rundir))
        self.lead = LeaderLock(
            str(folder / "home" / "locks"),
            self.coordinator.site_id,
            self.coordinator.site.generation,
            lambda _: True,
        )
        assert self.lead.try_to_lead()

    def close(self) -> None:
        """Have all of it in its directory."""
        self.lead.release()
        self.store.close()

    def submit(
        self, job_id: str, command: bytes, key: str = "", *, split: bool = False
    ) -> None:
        """Write down that a job is wanted."""
        spec = Spec(command, split=split)
        job = Job(
            id=job_id,
            host="local",
            site_id=self.coordinator.site_id,
            state=states.PENDING,
            key=key,
            digest=spec.digest() if key else "",
            stderr_bytes=0 if split else None,
        )
        self.store.files.save_spec(job_id, spec)
        with self.store.begin_write():
            self.store.jobs.add_jobs([job])
            self.want("start", job_id)

    def want(self, kind: str, *ids: str) -> None:
        """Write down that something is wanted."""
        self.store.intents.add_intents(self.coordinator.site_id, kind, ids)

    def round(self, host: Shell, *, listing: bool = False) -> SshJobsError | None:
        """Run one round; return the error with which it ended."""
        round_ = Round(self.coordinator.site, self.lead, RoundWish(listing=listing))
        try:
            round_.run(host)
        except SshJobsError as error:
            return error
        return None

    def rest(self, host: Shell) -> None:
        """Run rounds until nothing is open and no job may still change."""
        end = time.monotonic() + 20.0
        while time.monotonic() < end:
            error = self.round(host)
            assert error is None, error
            if (
                not self.store.jobs.has_active(self.coordinator.site_id)
                and not self.open()
            ):
                return
            time.sleep(0.02)
        raise AssertionError(
            f"still open: {self.open()} {list(self.store.jobs.iterate_jobs())}"
        )

    def open(self) -> list[tuple[str, str]]:
        """Return what is wanted and not served; a log is, until all of it is home."""
        found = []
        for intent in self.store.intents.list_open(self.coordinator.site_id):
            job = self.store.jobs.find_job(intent.job_id)
            home = job is not None and (job.log_final or job.reaped_at is not None)
            if intent.kind != "log" or not home:
                found.append((intent.kind, intent.job_id))
        return found

    def jobs(self) -> dict[str, Job]:
        """Return all jobs."""
        return {job.id: job for job in self.store.jobs.iterate_jobs()}

    def log(self, job_id: str, stream: str = "") -> bytes:
        """Return the bytes of a log that count as home."""
        job = self.store.jobs.find_job(job_id)
        if job is None or stream not in name_streams(job):
            return b""
        with suppress(FileNotFoundError):
            data = Path(self.store.files.locate_log(job_id, stream)).read_bytes()
            return data[: view_log(job, stream).log_local_bytes]
        return b""

    def outcome(self) -> dict[str, tuple[object, ...]]:
        """Return what is known of each job in the end."""
        return {
            job.id: (
                job.state,
                job.exit_status,
                job.log_final,
                job.log_bytes,
                self.log(job.id) + self.log(job.id, STDERR),
                job.reaped_at is not None,
            )
            for job in self.store.jobs.iterate_jobs()
        }


def places(said: bytes, every: bool) -> Iterator[int]:
    """Yield the bytes at which to cut a reply: those around each line, or all.

    Inside a long run of one byte, as in a log of zeros, one in 61 will do.
    """
    if every:
        long_runs = [m.span() for m in re.finditer(rb"(.)\1{200,}", said, re.S)]
        for at in range(len(said) + 1):
            inside = any(a + 40 < at < b - 40 for a, b in long_runs)
            if not inside or at % 61 == 0:
                yield at
        return
    ends = {0, len(said)}
    for found in re.finditer(rb"\n", said):
        ends |= {found.start() - 1, found.start(), found.end()}
    yield from sorted(end for end in ends if 0 <= end <= len(said))


def lines(said: bytes) -> list[list[str]]:
    """Return the words of each whole line of a reply."""
    text = said.rpartition(b"\n")[0].decode("utf-8", "replace")
    return [line.split(" ") for line in text.split("\n")]


def check_claims(before: Client, after: Client, said: bytes) -> None:
    """See that nothing is known that a whole line has not said."""
    words = lines(said)
    told = {(line[0], line[1]) for line in words if len(line) > 1}
    old = before.jobs()
    for job in after.jobs().values():
        was = old.get(job.id)
        if states.is_final(job.state) and (was is None or was.state != job.state):
            assert any((tag, job.id) in told for tag in _ENDS), (job, said)
        if job.state == states.COMPLETED:
            assert job.exit_status == 0, job
        if job.reaped_at is not None and (was is None or was.reaped_at is None):
            assert told & {(tag, job.id) for tag in ("reaped", "nolog", "missing")}
        assert job.log_local_bytes <= len(after.log(job.id))
        assert job.stderr_local_bytes <= len(after.log(job.id, STDERR))
    for job_id in old.keys() - after.jobs().keys():
        holders = [line[2] for line in words if line[:2] == ["claimed", job_id]]
        refused = ("refused", job_id) in told
        assert refused or holders and holders[0] in after.jobs(), (job_id, said)
    for kind, job_id in set(before.open()) - set(after.open()):
        ids = {job_id} | {line[2] for line in words if line[:2] == ["claimed", job_id]}
        served = {(tag, name) for tag in _SERVES[kind] for name in ids}
        assert told & served, (kind, job_id, said)


def copy_of(client: Client, to: Path) -> Client:
    """Return a copy of a record that was closed."""
    shutil.copytree(client.folder / "home", to / "home")
    return Client(to)
