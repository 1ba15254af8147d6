"""The words of a host's reply, once read: a record for each kind of event.

Keep in sync with ``remote/frame.sh`` and its neighbours, which write these frames, and
with ``docs/reference/wire-format.md``.
"""

from __future__ import annotations

from ..startup.records import TYPE_CHECKING, Record

if TYPE_CHECKING:
    from typing import Union


class Hello(Record):
    """The host answers: its name and its clock."""

    node: str
    now: float


class JournalAt(Record):
    """The journal is read up to here."""

    generation: str
    offset: int


class Started(Record):
    """A runner has claimed the job; ``pid`` and ``start`` are the runner's."""

    job_id: str
    # A pid is used again; with its start time it names one process (proc_pid_stat(5),
    # field 22, in ticks since the boot), and boot_id says of which boot.
    pid: int
    pgid: int
    start: str
    boot_id: str
    node: str
    started_at: float


class Ended(Record):
    """The job is over; either ``exit_status`` or ``signal`` is set, if it ran."""

    job_id: str
    # wait(2) has no status above 255 and no signal above 127: others are refused.
    exit_status: int | None
    signal: int | None
    cause: str
    reason: str
    started_at: float | None
    finished_at: float | None
    log_bytes: int
    stderr_bytes: int | None = None  # of a job whose standard error has its own log


class Prepared(Record):
    """The job's directory is whole; no runner has claimed it yet."""

    job_id: str


class Queued(Record):
    """The job waits on the host, or for its launcher's word, and why.

    ``handle`` is the launcher's name for it, with that of the launcher before it.
    """

    job_id: str
    handle: str
    reason: str


class Claimed(Record):
    """The holder of the key of this start; ``winner_id == job_id`` if it is ours."""

    job_id: str
    # Two machines may start a job with one key: link(2) on the host takes one of them,
    # and both hear of it here.
    winner_id: str
    attempt: int
    state: str
    same: bool


class Refused(Record):
    """This start could not be done, and nothing of it ran."""

    job_id: str
    code: str
    text: str


class KillSent(Record):
    """The cancel marker stands and a killer is at work, or the job had ended."""

    job_id: str


class KillMissing(Record):
    """No such job; a tombstone now keeps old rounds from starting it."""

    job_id: str


class Lost(Record):
    """The job is gone without a trace of its end; final, recorded on the host."""

    job_id: str
    reason: str


class Missing(Record):
    """Neither a directory nor a tombstone of that id."""

    job_id: str


class Elsewhere(Record):
    """Another machine that shares this home runs the job; no judgement."""

    job_id: str
    # It may be alive there: a process table says nothing of another machine.
    node: str


class Unsupervised(Record):
    """The runner is gone and processes of the job are alive."""

    job_id: str


class Due(Record):
    """It runs there and was told to end, and nobody there is at it."""

    job_id: str


class Unseen(Record):
    """Its runner is gone, and the host could not list its processes; no judgement."""

    job_id: str
    reason: str


class Reaped(Record):
    """The job's directory is gone."""

    job_id: str


class Unforgotten(Record):
    """It was not declared lost, and why."""

    job_id: str
    reason: str


class ReapRefused(Record):
    """The job's directory stands as it was."""

    job_id: str
    reason: str


class Longer(Record):
    """A log has so many bytes, more than are home, and so its job was not reaped."""

    job_id: str
    # Written since the request was made, by a process that the job left behind.
    log_bytes: int
    stream: str = ""


class Differs(Record):
    """A log differs from the bytes that are home, and so its job was not reaped."""

    job_id: str


class NoLog(Record):
    """There is no log to bring: its directory is ``gone``, or why there is none."""

    job_id: str
    reason: str


class LogData(Record):
    """A piece of a log; it counts once its :class:`LogEnd` has come."""

    job_id: str
    offset: int
    data: bytes
    stream: str = ""


class LogEnd(Record):
    """``length`` bytes from ``offset`` on have come; the log holds ``size`` now."""

    job_id: str
    offset: int
    length: int
    size: int
    stream: str = ""


class Listed(Record):
    """A job directory that stands on the host."""

    job_id: str
    state: str
    age: float
    name: str
    key: str
    digest: str
    log_bytes: int
    node: str
    stderr_bytes: int | None = None


class ListedOdd(Record):
    """Something among the job directories that is none of ours."""

    entry: str
    reason: str


class Fact(Record):
    """What the host says of itself in an examination."""

    name: str
    text: str


class Failed(Record):
    """The round itself failed on the host."""

    code: str
    text: str
    hint: str


class Beat(Record):
    """The host is at work."""


class Unread(Record):
    """A frame that cannot be read; ``job_id`` is whose, "" if that cannot be told."""

    job_id: str
    detail: str


class End(Record):
    """The round is whole."""


if TYPE_CHECKING:
    Event = Union[
        Hello,
        JournalAt,
        Started,
        Ended,
        Prepared,
        Queued,
        Claimed,
        Refused,
        KillSent,
        KillMissing,
        Lost,
        Missing,
        Elsewhere,
        Unsupervised,
        Unseen,
        Due,
        Reaped,
        ReapRefused,
        Unforgotten,
        Longer,
        Differs,
        NoLog,
        LogData,
        LogEnd,
        Listed,
        ListedOdd,
        Fact,
        Failed,
        Beat,
        Unread,
        End,
    ]
