"""One job, and the result of a call that ran one."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, AnyStr, BinaryIO, Generic, Literal, overload

from .. import states
from ..errors import (
    JobFailed,
    JobNotFound,
    NotYet,
    SshJobsError,
    TransportError,
    WaitTimeout,
)
from ..model import STDERR
from ..model import Job as Row
from ..verbs.context import Context
from .files import JobFiles
from .pool import ContextPool, find_pool


class Job(JobFiles):
    """A job on a host, whether it waits, runs or has ended.

    Its attributes are as this machine's record has them: none of them asks the
    host. :meth:`poll`, :meth:`wait` and every other verb, of any process of this
    machine, bring the record up to date. Two of them are equal if they mean one job.
    A job may be used from several threads at once, and pickled.

    >>> job = Host("gpu1").submit("sleep 0.1; exit 3", name="bad")
    >>> job.state in ("PENDING", "RUNNING")
    True
    >>> job.wait()                                          # doctest: +ELLIPSIS
    <Job ... bad FAILED(3) on gpu1>
    >>> job.exit_status, job.signal
    (3, None)
    """

    def __init__(self, pool: ContextPool, row: Row) -> None:
        self._pool = pool
        self._row = row

    def __repr__(self) -> str:
        row = self._row
        name = f" {row.name}" if row.name else ""
        end = "" if row.exit_status in (None, 0) else f"({row.exit_status})"
        return f"<Job {row.id}{name!s} {row.state}{end} on {row.host}>"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Job):
            return NotImplemented
        return (self.id, self._pool.home) == (other.id, other._pool.home)

    def __hash__(self) -> int:
        return hash(self._row.id)

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (self.id, dict(self._pool.flags))

    @property
    def id(self) -> str:
        """The job's name for machines: 16 letters and digits."""
        return self._row.id

    @property
    def host(self) -> str:
        """The host, as it was named when the job was submitted."""
        return self._row.host

    @property
    def name(self) -> str:
        """The name that the caller gave, "" if none."""
        return self._row.name

    @property
    def key(self) -> str:
        """The caller's name for "the same work", "" if none."""
        return self._row.key

    @property
    def command(self) -> str:
        """The command as a person would type it, cut after 4,096 characters."""
        return self._row.command

    @property
    def state(self) -> str:
        """PENDING, RUNNING, COMPLETED, FAILED, CANCELLED, TIMEOUT or LOST.

        As the record has it; :meth:`poll` asks the host.
        """
        return self._read_row().state

    @property
    def is_final(self) -> bool:
        """Whether the job has ended; its state never changes then."""
        return states.is_final(self.state)

    @property
    def exit_status(self) -> int | None:
        """The exit status; None while it runs, and if a signal ended it."""
        return self._read_row().exit_status

    @property
    def signal(self) -> int | None:
        """The signal that ended it, None if none did."""
        return self._read_row().signal

    @property
    def reason(self) -> str:
        """Why it is in its state, where there is more to say; else ""."""
        return self._read_row().reason

    @property
    def attempt(self) -> int:
        """Which run of its key it is, from 1 on."""
        return self._read_row().attempt

    @property
    def submitted_at(self) -> float:
        """When it was submitted, in seconds since the epoch, as the next two."""
        return self._row.submitted_at

    @property
    def started_at(self) -> float | None:
        """When it started on the host, None if it has not."""
        return self._read_row().started_at

    @property
    def finished_at(self) -> float | None:
        """When it ended on the host, None if it has not."""
        return self._read_row().finished_at

    @property
    def log_bytes(self) -> int:
        """How many bytes its log has on the host, as far as is known."""
        return self._read_row().log_bytes

    def to_dict(self) -> dict[str, Any]:
        """Return the job's fields in ``--json`` of every verb, by name."""
        return self._read_row().public()

    def poll(self) -> Job:
        """Ask the host now, and return this job; one session for all that ask at once.

        Raises:
            HostUnreachable: it could not be asked; the job stays as it was.
        """
        from ..verbs.poll import poll_jobs

        with self._pool.borrow() as ctx:
            return self._take(poll_jobs(ctx, [self.id]))

    def wait(self, timeout: float | None = None) -> Job:
        """Wait until the job has ended, and return it.

        Args:
            timeout: Seconds; the job is not touched when they pass.

        Raises:
            WaitTimeout: it has not ended by then; a ``TimeoutError``.
            HostUnreachable: the host could not be asked for longer than the settings
                allow; the job stays as it was.
        """
        from ..verbs.wait import wait_for_jobs

        with self._pool.borrow() as ctx:
            self._take(wait_for_jobs(ctx, [self.id], timeout=timeout))
        if not states.is_final(self._row.state):
            text = f"job {self.id} is {self._row.state} after {timeout:g} s"
            raise WaitTimeout(text, (self.id,))
        return self

    def check(self) -> Job:
        """Return the job if it is COMPLETED.

        Raises:
            JobFailed: it ended otherwise.
            NotYet: it has not ended.
        """
        from ..verbs.run import exit_status_of

        row = self._read_row()
        if not states.is_final(row.state):
            raise NotYet(f"job {row.id} is {row.state}", (row.id,))
        if row.state != states.COMPLETED:
            raise JobFailed(row.id, _describe_end(row), exit_status_of(row))
        return self

    @overload
    def log(
        self,
        *,
        tail: int | None = None,
        text: Literal[False] = False,
        stderr: bool = False,
    ) -> bytes: ...

    @overload
    def log(
        self, *, tail: int | None = None, text: Literal[True], stderr: bool = False
    ) -> str: ...

    def log(
        self, *, tail: int | None = None, text: bool = False, stderr: bool = False
    ) -> bytes | str:
        """Bring home and return all that the job has written by now.

        Standard output and error, in order; of a job that was submitted with ``split``
        standard output alone. Bytes that are here are not brought again,
        and of a job that has ended and whose log is here, the host is not asked.

        Args:
            tail: Only the last so many lines.
            text: Return a str: UTF-8, with U+FFFD for other bytes.
            stderr: Return what a job that was submitted with ``split`` has written to
                standard error; of another job, nothing.
        """
        row = self._read_row()
        with self._pool.borrow() as ctx:
            self._row, data = _bring_log(ctx, row, tail, stderr)
        return data.decode("utf-8", "replace") if text else data

    @overload
    def follow(self, *, text: Literal[False] = False) -> Iterator[bytes]: ...

    @overload
    def follow(self, *, text: Literal[True]) -> Iterator[str]: ...

    def follow(self, *, text: bool = False) -> Iterator[bytes] | Iterator[str]:
        """Yield the log line by line from its beginning, as it grows, to its end.

        Joined, the lines are the log: each ends with its newline, the last one perhaps
        without. A line of more than 64 KiB comes in parts.

        >>> job = Host("gpu1").submit("for i in 1 2 3; do echo step $i; done")
        >>> for line in job.follow(text=True):
        ...     print(line, end="")
        step 1
        step 2
        step 3
        """
        lines = _yield_lines(self._yield_pieces())
        return codecs.iterdecode(lines, "utf-8", "replace") if text else lines

    def _yield_pieces(self) -> Iterator[bytes]:
        from ..verbs.logs import yield_log
        from ..verbs.tend import tend_held

        with self._pool.borrow() as ctx, tend_held(ctx, [self.id]):
            self._row = yield from yield_log(ctx, self._read_row())

    def kill(self) -> Job:
        """End the job with its whole tree, and return it once the end is known.

        TERM, then KILL after the setting ``kill_grace``. A job that had ended keeps its
        state; one that was not sent yet is CANCELLED and never sent.

        Raises:
            HostUnreachable: it was not told to end.
            NotYet: it was told, and its end is not known yet.
        """
        from ..verbs.kill import kill_jobs

        with self._pool.borrow() as ctx:
            return self._take(kill_jobs(ctx, [self.id]))

    def reap(self) -> Job:
        """Bring the record and the log home, then delete the directory on the host.

        Raises:
            NotYet: the job has not ended.
            JobError: its log could not be brought home whole; nothing was deleted.
        """
        from ..verbs.reap import reap_job

        with self._pool.borrow() as ctx:
            self._row = reap_job(ctx, self._read_row())
        return self

    def _run_to_end(self, sink: BinaryIO | None) -> Row:
        """Bring the log home as it grows; return the row of the job that has ended.

        Raises:
            NotYet: the host cannot be asked any more; the job goes on.
        """
        from ..verbs.logs import copy_log
        from ..verbs.reap import reap_if_wanted
        from ..verbs.tend import tend_held

        # Without a sink a piece of the log stands in its file already.
        write = (lambda data: None) if sink is None else sink.write
        with self._pool.borrow() as ctx, tend_held(ctx, [self.id]):
            try:
                row = copy_log(ctx, self._row, write, follow=True)
            except TransportError as error:
                text = f"{error}\njob {self.id} goes on. To follow it:\n"
                text += f"sshjobs logs {self.id} --follow"
                raise NotYet(text, (self.id,)) from error
            self._row = reap_if_wanted(ctx, row)
        return self._row

    def _take(self, results: Any) -> Job:
        """Take the row that a verb has returned, or raise its error."""
        if results.errors:
            raise results.errors[0]
        self._row = results.jobs[0]
        return self

    def _read_row(self) -> Row:
        """Return the job as the record has it."""
        if states.is_final(self._row.state) and self._row.log_final:
            return self._row
        with self._pool.borrow() as ctx:
            row = ctx.store.jobs.find_job(self._row.id)
        if row is None:
            raise JobNotFound(self._row.id, "is no longer in this machine's record")
        self._row = row
        return row


class Completed(Generic[AnyStr]):
    """A job that has been run to its end, as ``subprocess.CompletedProcess``.

    Attributes:
        args: The command, as it was given.
        job: The job.
        returncode: The exit status of ``sshjobs run``: the job's own, 128+N after
            signal N, 124 TIMEOUT, 143 CANCELLED, 70 LOST.
    """

    def __init__(self, args: object, job: Job, returncode: int, text: bool) -> None:
        self.args = args
        self.job = job
        self.returncode = returncode
        self._text = text

    def __repr__(self) -> str:
        return f"<Completed {self.job!r} returncode={self.returncode}>"

    @property
    def state(self) -> str:
        """How the job ended: COMPLETED, FAILED, CANCELLED, TIMEOUT or LOST."""
        return self.job.state

    @property
    def stdout(self) -> AnyStr:
        """Standard output and error of the job, in order; read when it is asked for.

        With ``split``, its standard output alone.
        """
        data: Any = self.job.log(text=True) if self._text else self.job.log()
        return data  # type: ignore[no-any-return]

    @property
    def stderr(self) -> AnyStr:
        """Its standard error, with ``split``; else that stands in ``stdout``."""
        job, text = self.job, self._text
        data: Any = job.log(text=True, stderr=True) if text else job.log(stderr=True)
        return data  # type: ignore[no-any-return]

    def check_returncode(self) -> None:
        """Raise :class:`~sshjobs.errors.JobFailed` unless the job is COMPLETED."""
        self.job.check()


def _bring_log(
    ctx: Context, row: Row, tail: int | None, stderr: bool
) -> tuple[Row, bytes]:
    """Bring a log home; return its job as it is then, and the bytes."""
    from ..verbs.logs import copy_log

    if stderr and row.stderr_bytes is None:
        return row, b""
    pieces: list[bytes] = []
    row = copy_log(
        ctx,
        row,
        lambda data: pieces.append(bytes(data)),
        tail=tail,
        stream=STDERR if stderr else "",
    )
    return row, b"".join(pieces)


def run_or_kill(job: Job, sink: BinaryIO | None) -> Row:
    """Return the row of a job that has ended; kill it if anything ends the call before.

    Raises:
        NotYet: the host cannot be asked any more; the job goes on.
    """
    try:
        return job._run_to_end(sink)
    except NotYet:
        raise
    except BaseException:
        with suppress(SshJobsError):
            job.kill()
        raise


def _describe_end(row: Row) -> str:
    """Return how a job ended, with the command that shows why."""
    how = f"signal {row.signal}" if row.signal else f"exit status {row.exit_status}"
    how = how if row.state == states.FAILED else ""
    said = " ".join(filter(None, (row.state, how, row.reason)))
    return f"{said}. To see its log:\nsshjobs logs {row.id}"


def _unpickle(job_id: str, flags: dict[str, Any]) -> Job:
    pool = find_pool(flags)
    with pool.borrow() as ctx:
        row = ctx.store.jobs.find_job(job_id)
    if row is None:
        raise JobNotFound(job_id, "is not in this machine's record")
    return Job(pool, row)


#: A line of more bytes comes in parts, so that no job fills our memory.
_LINE_BYTES = 1 << 16


def _yield_lines(pieces: Iterator[bytes]) -> Iterator[bytes]:
    rest = b""
    for piece in pieces:
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) >= _LINE_BYTES:
            yield rest
            rest = b""
    if rest:
        yield rest
