"""The bytes that a job writes, brought here in order, none lost, none twice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .. import errors, states
from ..errors import SshJobsError
from ..model import Job
from ..rounds import Party
from ..store import Store
from .context import Context

#: What is copied at a time. A larger one is memory that malloc takes anew each time.
_PIECE = 1 << 18

#: Takes bytes, all of them.
Write = Callable[["bytes | memoryview"], object]


class Tap:
    """Copies a job's log, as it is brought home, to a sink.

    Args:
        store: The store.
        job_id: The job.
        write: Takes bytes; may raise ``BrokenPipeError``.
        offset: Where to begin, in bytes.
    """

    def __init__(self, store: Store, job_id: str, write: Write, offset: int) -> None:
        self._path = store.log_path(job_id)
        self._job_id = job_id
        self._write = write
        self.at = offset

    def copy(self, upto: int) -> None:
        """Hand over what lies between the last byte given and ``upto``."""
        if upto <= self.at:
            return
        with open(self._path, "rb", buffering=0) as file:
            file.seek(self.at)
            while self.at < upto:
                data = file.read(min(_PIECE, upto - self.at))
                if not data:
                    break
                self._write(data)
                self.at += len(data)

    def heard(self, job_id: str, offset: int, end: int) -> None:
        """Hand over a piece that has just come, if it is the next."""
        if job_id == self._job_id and offset <= self.at:
            self.copy(end)

    def take(self, job_id: str, begin: int, offset: int, data: memoryview) -> None:
        """Hand over bytes of a piece that is coming, with what lies before them."""
        if job_id != self._job_id or begin > self.at:
            return
        self.copy(offset)
        if offset == self.at:
            self._write(data)
            self.at += len(data)


def logs(
    ctx: Context,
    job: Job,
    write: Write,
    *,
    follow: bool = False,
    offset: int = 0,
    tail: int | None = None,
    prompt: bool = False,
) -> Job:
    """Hand over the bytes of a job's log.

    Args:
        write: Takes each piece, in order, none twice.
        prompt: ``write`` never waits for a reader, so that it may be called while the
            rest of a long log is on its way.
        follow: Go on until the job has ended and its last byte was given.
        offset: Begin at this byte.
        tail: Begin with the last so many lines of what there is now.

    Raises:
        HostUnreachable: after what is here already was given.
    """
    if job.log_final or job.reaped_at is not None:
        _give(ctx.store, job, write, offset, tail)
        return job
    with ctx.party_at(job.conn) as party, _wanting_log(party, job.id) as rest:
        if tail is not None or not follow:
            tap = Tap(party.store, job.id, write, offset)
            if prompt and tail is None:
                tap.copy(job.log_home)
                party.on_log = tap.heard
                party.on_bytes = tap.take
            error = _bring(party, job.id, rest)
            job = party.store.job(job.id) or job
            at = _give(party.store, job, write, tap.at, tail)
            if error is not None:
                raise error
            if not follow:
                return job
            offset = at
        tap = Tap(party.store, job.id, write, offset)
        return _follow(party, job.id, tap, rest)


def _give(
    store: Store,
    job: Job,
    write: Write,
    offset: int,
    tail: int | None,
) -> int:
    """Hand over what is here; return the offset after it."""
    if tail is not None:
        offset = max(offset, _tail_offset(store.log_path(job.id), job.log_home, tail))
    tap = Tap(store, job.id, write, offset)
    tap.copy(job.log_home)
    return max(tap.at, offset)


def _tail_offset(path: str, size: int, lines: int) -> int:
    """Return where the last ``lines`` lines of the first ``size`` bytes begin."""
    if lines <= 0 or not size:
        return size
    with open(path, "rb") as file:
        at = size
        while at > 0:
            start = max(0, at - 65536)
            file.seek(start)
            block = file.read(at - start)
            end = len(block) - (at == size)  # a final newline ends the last line
            while (end := block.rfind(b"\n", 0, end)) >= 0:
                lines -= 1
                if not lines:
                    return start + end + 1
            at = start
    return 0


class _Rest:
    """The bytes of one log that are on the host and not here."""

    def __init__(self, party: Party, job_id: str, numbers: list[int]) -> None:
        self._party = party
        self._job_id = job_id
        self._numbers = numbers
        self._home = -1
        self._mark = (0, 0.0)

    def due(self, job: Job) -> float:
        """Return from when on a round is wanted for them.

        Raises:
            JobError: the host cannot read that log; or whole rounds have come back
                for ``start_grace`` and longer that brought nothing.
        """
        party = self._party
        for intent in party.store.outcomes(self._numbers).values():
            if intent.note:
                raise errors.load(intent.note)
        rounds = party.row().rounds
        if job.log_home != self._home:
            self._home, self._mark = job.log_home, (rounds, party.clock())
        if rounds == self._mark[0]:
            return 0.0
        if party.is_overdue(*self._mark):
            raise errors.JobError(
                self._job_id,
                f"{job.log_home} of the {job.log_bytes} bytes of its log are here, and "
                "the host has no more of them: it was made shorter there",
            )
        return party.next_look()


@contextmanager
def _wanting_log(party: Party, job_id: str) -> Iterator[_Rest]:
    """Have every round bring this job's log, as long as this lasts."""
    numbers = party.store.add_intents(party.conn, "log", [job_id])
    try:
        yield _Rest(party, job_id, numbers)
    finally:
        party.store.drop_intents(numbers)


def _bring(party: Party, job_id: str, rest: _Rest) -> SshJobsError | None:
    """Bring home all of a log that there is now; return what prevented it."""
    fresh = party.fresh(party.clock())

    def need() -> float | None:
        due = fresh()
        if due is not None:
            return due
        job = party.store.job(job_id)
        if job is None or job.reaped_at is not None or job.log_home >= job.log_bytes:
            return None
        return rest.due(job)

    try:
        party.pursue(need)
    except SshJobsError as error:
        return error
    return None


def _follow(party: Party, job_id: str, tap: Tap, rest: _Rest) -> Job:
    """Copy a log until its job has ended and its last byte is given."""

    def need() -> float | None:
        job = party.store.job(job_id)
        if job is None:
            return None
        tap.copy(job.log_home)
        if states.is_final(job.state) and (job.log_final or job.reaped_at is not None):
            return None
        if job.log_bytes > job.log_home:
            return rest.due(job)
        return pace()

    pace_ = party.paced(lambda: True, live=True)

    def pace() -> float:
        return pace_() or 0.0

    party.pursue(need)
    job = party.store.job(job_id)
    if job is None:
        raise errors.JobError(job_id, "is no longer in the record")
    return job
