"""A job's log, brought to this machine in order, no byte lost, none twice."""

from __future__ import annotations

import errno
import os

from .. import errors, states
from ..errors import SshJobsError
from ..model import STDERR, Job
from ..owned import open_owned
from ..rounds import LONG, Coordinator, RoundWish
from ..rounds.log_state import (
    count_bytes,
    has_known_bytes,
    is_end_known,
    is_log_cut,
    is_log_full,
    is_log_wanted,
    view_log,
)
from ..rounds.needs import (
    LATER,
    find_next_look,
    is_overdue,
    require_fresh_round,
    require_paced_rounds,
)
from ..startup.contexts import contextmanager
from ..startup.records import TYPE_CHECKING
from ..store import Store
from .context import Context

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from typing import TypeAlias

    from ..rounds.needs import Need


#: Bytes copied at a time. malloc takes a larger block anew from the kernel each time.
_PIECE = 1 << 18

#: Bytes copied inside the kernel at a time, so that Ctrl-C is heard in between.
_MOST = 1 << 24

#: Errors of sendfile(2) where it cannot serve: not to a file (macOS, BSD), not to its
#: end (Linux, O_APPEND), not from this file system.
_NO_SENDFILE = frozenset(
    (errno.EINVAL, errno.ENOSYS, errno.ENOTSOCK, errno.EOPNOTSUPP, errno.EBADF)
)

#: Takes bytes, all of them.
Write: TypeAlias = "Callable[[bytes | memoryview], object]"

#: What takes the second log of a job, and the byte where that begins.
Second: TypeAlias = "tuple[Write, int]"


class LogCopier:
    """Copies a job's log, as it is brought home, to a sink.

    Args:
        store: The store.
        job_id: The job.
        write: Takes bytes; may raise ``BrokenPipeError``.
        offset: Where to begin, in bytes.
        file: The regular file to which ``write`` writes, -1 if it is none.
        stream: STDERR for the log of its standard error alone.
    """

    def __init__(
        self,
        store: Store,
        job_id: str,
        write: Write,
        offset: int,
        file: int = -1,
        stream: str = "",
    ) -> None:
        self.path = store.files.locate_log(job_id, stream)
        self.stream = stream
        self._job_id = job_id
        self._write = write
        self._file = file
        self.at = offset

    def copy_home(self, job: Job, tail: int | None = None) -> None:
        """Hand over the bytes that are on this machine, of the last lines if given."""
        size = view_log(job, self.stream).log_local_bytes
        if tail is not None:
            self.at = max(self.at, find_tail_offset(self.path, size, tail))
        self.copy(size)

    def copy(self, upto: int) -> None:
        """Hand over the bytes between the last one given and ``upto``."""
        if upto <= self.at:
            return
        with open(open_owned(self.path, os.O_RDONLY), "rb", buffering=0) as log:
            while self.at < upto and self._send_in_kernel(log.fileno(), upto - self.at):
                continue
            log.seek(self.at)
            while self.at < upto:
                data = log.read(min(_PIECE, upto - self.at))
                if not data:
                    break
                self._write(data)
                self.at += len(data)

    def _send_in_kernel(self, log: int, count: int) -> int:
        """Copy bytes inside the kernel, which costs half; return how many."""
        if self._file < 0:
            return 0
        try:
            done = os.sendfile(self._file, log, self.at, min(_MOST, count))
        except OSError as error:
            if error.errno not in _NO_SENDFILE:
                raise
            done, self._file = 0, -1
        self.at += done
        return done

    def hand_over_next(self, job_id: str, offset: int, end: int) -> None:
        """Hand over bytes that have just come, if they are the next ones."""
        if job_id == self._job_id and not self.stream and offset <= self.at:
            self.copy(end)


def copy_log(
    ctx: Context,
    job: Job,
    write: Write,
    *,
    follow: bool = False,
    offset: int = 0,
    tail: int | None = None,
    file: int = -1,
    whole: bool = False,
    until: float | None = None,
    stream: str = "",
    second: Second | None = None,
) -> Job:
    """Hand over the bytes of a job's log.

    Args:
        write: Takes each piece, in order, none twice.
        file: The descriptor to which ``write`` writes, if that is a regular file: no
            reader is waited for, so bytes go there while others are on their way.
        follow: Go on until the job has ended and its last byte was given.
        offset, tail: Begin at this byte, or with the last so many lines of now.
        whole: Bring also the bytes that ``max_log_bytes`` would leave on the host.
        until: Follow no longer than to this instant of the monotonic clock.
        stream: STDERR for the log of its standard error alone.
        second: What takes the bytes of that log beside, and from which byte on.

    Raises:
        HostUnreachable: after the bytes on this machine were given.
    """
    job = ctx.store.check_log(job)
    seconds = [second] if second is not None else []
    copiers = [LogCopier(ctx.store, job.id, *one, stream=STDERR) for one in seconds]
    copiers.insert(0, LogCopier(ctx.store, job.id, write, offset, file, stream))
    if whole and job.max_log_bytes:
        ctx.store.jobs.update_job(job.id, max_log_bytes=0)
        job = job._replace(max_log_bytes=0)
    if job.log_final or job.reaped_at is not None or is_log_cut(job):
        for copier in copiers:
            copier.copy_home(job, tail)
        return job
    with ctx.coordinator_at(job.site_id) as coordinator, _want_log(
        coordinator, job.id
    ) as missing:
        if tail is not None or not follow:
            is_early = file >= 0 and tail is None
            job = _give_bytes_of_now(coordinator, copiers, job, missing, tail, is_early)
            if not follow:
                return job
        return _follow_log(coordinator, job.id, copiers, missing, ctx.say, until)


def _give_bytes_of_now(
    coordinator: Coordinator,
    copiers: list[LogCopier],
    job: Job,
    missing: MissingBytes,
    tail: int | None,
    is_early: bool,
) -> Job:
    """Bring home the bytes of a log that are there now, and hand them over.

    Args:
        is_early: Hand over each piece as it comes, and not after the last.

    Raises:
        HostUnreachable: after the bytes on this machine were given.
    """
    wish = RoundWish(urgent_log=job.id)
    if is_early:
        copiers[0].copy_home(job)
        wish = wish._replace(on_log=copiers[0].hand_over_next)
    error = _bring_log_home(coordinator, job.id, missing, wish)
    job = coordinator.store.jobs.find_job(job.id) or job
    for copier in copiers:
        copier.copy_home(job, tail)
    if error is not None:
        raise error
    return job


def find_tail_offset(path: str, size: int, lines: int) -> int:
    """Return where the last ``lines`` lines of the first ``size`` bytes begin."""
    if lines <= 0 or not size:
        return size
    with open(open_owned(path, os.O_RDONLY), "rb") as file:
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


class MissingBytes:
    """The bytes of one log that are on the host and not yet on this machine."""

    def __init__(
        self, coordinator: Coordinator, job_id: str, numbers: list[int]
    ) -> None:
        self._coordinator = coordinator
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
        coordinator = self._coordinator
        if job.id in coordinator.site.unwritten:
            raise coordinator.site.unwritten[job.id]
        if not coordinator.site.measure_room():
            raise coordinator.site.make_no_room_error(job.id, *count_bytes(job))
        for intent in coordinator.store.intents.read_outcomes(self._numbers).values():
            if intent.note:
                raise errors.load(intent.note)
        rounds = coordinator.site.row().rounds
        home, there = count_bytes(job)
        if home != self._home:
            self._home, self._mark = home, (rounds, coordinator.clock())
        if rounds == self._mark[0]:
            return 0.0
        if is_overdue(coordinator.site, *self._mark):
            raise errors.JobError(
                self._job_id,
                f"{home} of the {there} bytes of its log are "
                "here, and the host has no more of them: it was made shorter there",
            )
        return find_next_look(coordinator.site)


@contextmanager
def _want_log(coordinator: Coordinator, job_id: str) -> Iterator[MissingBytes]:
    """Have every round bring this job's log, as long as this lasts."""
    coordinator.site.contact.is_sent = True  # a person hears that the job is there
    numbers = coordinator.store.intents.add_intents(
        coordinator.site_id, "log", [job_id]
    )
    try:
        yield MissingBytes(coordinator, job_id, numbers)
    finally:
        coordinator.store.intents.drop_intents(numbers)


def _bring_log_home(
    coordinator: Coordinator, job_id: str, missing: MissingBytes, wish: RoundWish
) -> SshJobsError | None:
    """Bring home all of a log that there is now; return the error that prevented it."""
    need = require_log_of_now(coordinator, job_id, missing)
    try:
        coordinator.wait_for(need, wish=wish)
    except SshJobsError as error:
        return error
    return None


def require_log_of_now(
    coordinator: Coordinator, job_id: str, missing: MissingBytes
) -> Need:
    """Return the need that all of a log is home that there is now."""
    fresh = require_fresh_round(coordinator.site, coordinator.clock())

    def need() -> float | None:
        known = coordinator.store.jobs.find_job(job_id)
        due = None if known is not None and is_end_known(known) else fresh()
        if due is not None:
            return due
        job = coordinator.store.jobs.find_job(job_id)
        if job is None or job.reaped_at is not None:
            return None
        if is_log_full(job):
            return None
        if has_known_bytes(job) and (
            is_end_known(job) or coordinator.site.measure_room()
        ):
            return None
        return missing.due(job)

    return need


def _make_delivery(
    coordinator: Coordinator,
    job_id: str,
    copiers: list[LogCopier],
    say: Callable[[str], object],
) -> Callable[[], None]:
    """Return a function that hands over the bytes that have come home by then.

    It says once that this machine has no room for more, should that be so.
    """
    said: list[str] = []

    def deliver() -> None:
        job = coordinator.store.jobs.find_job(job_id)
        if job is None:
            return
        for copier in copiers:
            copier.copy_home(job)
        if said or not is_log_wanted(job) or coordinator.site.measure_room():
            return
        error = coordinator.site.make_no_room_error(job_id, *count_bytes(job))
        said.append(str(error))
        say(said[0])

    return deliver


def yield_log(ctx: Context, job: Job) -> Generator[bytes, None, Job]:
    """Yield a job's log from its beginning, as it grows, until the job has ended.

    Returns:
        The job as it is then.

    Raises:
        HostUnreachable: after the bytes on this machine were given.
    """
    pieces: list[bytes] = []

    def take(upto: int) -> Iterator[bytes]:
        while copier.at < upto:  # no more than a piece in memory, however long it is
            before = copier.at
            copier.copy(min(upto, before + _PIECE))
            yield from pieces
            pieces.clear()
            if copier.at == before:
                return

    job = ctx.store.check_log(job)
    copier = LogCopier(
        ctx.store, job.id, lambda data: pieces.append(bytes(data)), offset=0
    )
    yield from take(job.log_local_bytes)
    if job.log_final or job.reaped_at is not None or is_log_cut(job):
        return job
    with ctx.coordinator_at(job.site_id) as coordinator, _want_log(
        coordinator, job.id
    ) as missing:
        whole = require_whole_log(coordinator, job.id, missing)

        def need() -> float | None:
            known = coordinator.store.jobs.find_job(job.id)
            if known is not None and known.log_local_bytes > copier.at:
                return None
            return whole()

        wish = RoundWish(portion_bytes=LONG, waits_for_end=True)
        while whole() is not None:
            coordinator.wait_for(need, wish=wish)
            yield from take(_find_job(coordinator, job.id).log_local_bytes)
        job = _find_job(coordinator, job.id)
        yield from take(job.log_local_bytes)
        return job


def require_whole_log(
    coordinator: Coordinator, job_id: str, missing: MissingBytes
) -> Need:
    """Return the need that a job has ended and that its log is home.

    While this machine has no room for more of it, the end alone is waited for.
    """
    paced = require_paced_rounds(coordinator.site, lambda: True, live=True)

    def need() -> float | None:
        job = coordinator.store.jobs.find_job(job_id)
        if job is None:
            return None
        if states.is_final(job.state) and not is_log_wanted(job):
            return None
        if job.state == states.PENDING and coordinator.store.intents.is_held(job_id):
            return coordinator.clock() + LATER
        full = not coordinator.site.measure_room() or is_log_full(job)
        if not has_known_bytes(job) and (states.is_final(job.state) or not full):
            return missing.due(job)
        return paced() or 0.0

    return need


def _find_job(coordinator: Coordinator, job_id: str) -> Job:
    job = coordinator.store.jobs.find_job(job_id)
    if job is None:
        raise errors.JobError(job_id, "is no longer in the record")
    return job


def _follow_log(
    coordinator: Coordinator,
    job_id: str,
    copiers: list[LogCopier],
    missing: MissingBytes,
    say: Callable[[str], object],
    until: float | None,
) -> Job:
    """Copy a log until its job has ended and its last byte is given.

    While this machine has no room for more of it, the end is waited for all the same.
    """
    deliver = _make_delivery(coordinator, job_id, copiers, say)
    need = require_whole_log(coordinator, job_id, missing)
    wish = RoundWish(portion_bytes=LONG, waits_for_end=True, on_look=deliver)
    coordinator.wait_for(need, until=until, wish=wish)
    deliver()  # bytes that came after the last delivery and before the last look
    return _find_job(coordinator, job_id)
