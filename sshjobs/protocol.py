"""What is said to a host and what it answers; pure, and total over bytes.

Theory of operation: :func:`build` turns a :class:`Request` into a program for
``exec sh`` on the host, :class:`Reply` reads what that program writes. Nothing
here does I/O, apart from one cached look at ``remote/posix.sh``.

The reply starts after a *fence*, a line that carries the nonce of this request;
what a noisy rc file prints before it is skipped and kept for error texts. Then
come *frames*, one line each: a tag and words that are separated by single
spaces, in which every byte but printable ASCII is written ``%XX``. Log bytes
follow their frame as they are and end with a line of the nonce, which no log
can know; so a log that shrinks while it is read does no harm. A frame without
its newline is no event. ``docs/reference/wire-format.md`` has the grammar.

Keep in sync with ``remote/posix.sh``, which writes what is read here.
"""

from __future__ import annotations

from typing import NamedTuple, Union

from .model import Spec

PROTOCOL_VERSION = 1


class Start(NamedTuple):
    """Run this job, once, whatever is repeated."""

    job_id: str
    spec: Spec
    key: str = ""
    once: bool = False
    name: str = ""


class Check(NamedTuple):
    """Tell how this job does; ``pid`` is None while it is not known to run."""

    job_id: str
    pid: int | None
    start: str


class LogWant(NamedTuple):
    """Bring at most ``limit`` bytes of this log from ``offset`` on."""

    job_id: str
    offset: int
    limit: int


class Request(NamedTuple):
    """All that this machine wants of one host, served in the order of the fields.

    ``journal`` is the place up to which the journal was read, None at the first
    contact. ``kills`` pairs an id with whether its start was ever sent.
    """

    base_dir: str = "~/.sshjobs"
    journal: tuple[str, int] | None = None
    kills: tuple[tuple[str, bool], ...] = ()
    starts: tuple[Start, ...] = ()
    checks: tuple[Check, ...] = ()
    reaps: tuple[str, ...] = ()
    logs: tuple[LogWant, ...] = ()
    listing: bool = False
    start_grace: float = 10.0
    key_ttl: float = 30 * 86400.0
    gone_ttl: float = 86400.0


class Hello(NamedTuple):
    """The host answers: who it is, since which boot, and its clock."""

    node: str
    boot_id: str
    now: float
    features: tuple[str, ...]


class JournalAt(NamedTuple):
    """The journal is read up to here."""

    generation: str
    offset: int


class Started(NamedTuple):
    """A runner has claimed the job; ``pid`` and ``start`` are the runner's."""

    job_id: str
    pid: int
    pgid: int
    start: str
    boot_id: str
    node: str
    started_at: float


class Ended(NamedTuple):
    """The job is over; either ``exit_status`` or ``signal`` is set, if it ran."""

    job_id: str
    exit_status: int | None
    signal: int | None
    cause: str
    reason: str
    started_at: float | None
    finished_at: float | None
    log_bytes: int


class Prepared(NamedTuple):
    """The job's directory is whole; no runner has claimed it yet."""

    job_id: str


class Claimed(NamedTuple):
    """Who holds the key of this start; ``winner_id == job_id`` if it is ours."""

    job_id: str
    winner_id: str
    attempt: int
    state: str
    same: bool


class Refused(NamedTuple):
    """This start could not be done, and nothing of it ran."""

    job_id: str
    code: str
    text: str


class KillSent(NamedTuple):
    """The cancel marker stands and a killer is at work, or the job had ended."""

    job_id: str


class KillMissing(NamedTuple):
    """No such job; a tombstone now keeps old rounds from starting it."""

    job_id: str


class Lost(NamedTuple):
    """The job is gone without a trace of its end; final, recorded on the host."""

    job_id: str
    reason: str


class Missing(NamedTuple):
    """Neither a directory nor a tombstone of that id."""

    job_id: str


class Elsewhere(NamedTuple):
    """Another machine that shares this home runs the job; no judgement."""

    job_id: str
    node: str


class Unsupervised(NamedTuple):
    """The runner is gone and processes of the job are alive."""

    job_id: str


class Reaped(NamedTuple):
    """The job's directory is gone."""

    job_id: str


class ReapRefused(NamedTuple):
    """The job's directory stands as it was."""

    job_id: str
    reason: str


class LogData(NamedTuple):
    """A piece of a log; it counts once its :class:`LogEnd` has come."""

    job_id: str
    offset: int
    data: bytes


class LogEnd(NamedTuple):
    """``length`` bytes from ``offset`` on have come; the log holds ``size`` now."""

    job_id: str
    offset: int
    length: int
    size: int


class Listed(NamedTuple):
    """A job directory that stands on the host."""

    job_id: str
    state: str
    age: float
    name: str
    key: str
    digest: str
    log_bytes: int
    node: str


class ListedOdd(NamedTuple):
    """Something among the job directories that is none of ours."""

    entry: str
    reason: str


class Failed(NamedTuple):
    """The round itself failed on the host."""

    code: str
    text: str
    hint: str


class Beat(NamedTuple):
    """The host is at work."""


class End(NamedTuple):
    """The round is whole."""


Event = Union[
    Hello,
    JournalAt,
    Started,
    Ended,
    Prepared,
    Claimed,
    Refused,
    KillSent,
    KillMissing,
    Lost,
    Missing,
    Elsewhere,
    Unsupervised,
    Reaped,
    ReapRefused,
    LogData,
    LogEnd,
    Listed,
    ListedOdd,
    Failed,
    Beat,
    End,
]


def build(request: Request, nonce: str) -> bytes:
    """Return the program that serves ``request``, for the stdin of ``exec sh``.

    Args:
        request: What is wanted.
        nonce: 16 or more hex digits that were never used before.
    """
    raise NotImplementedError


class Reply:
    """Reads one reply, piece by piece.

    Attributes:
        begun: The fence was seen: what follows is the host's own answer.
        ended: The reply is whole.
        preamble: The first 2,000 bytes before the fence, for error texts.
    """

    def __init__(self, nonce: str) -> None:
        self.begun = False
        self.ended = False
        self.preamble = b""

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes and return the events that they complete.

        Raises:
            ProtocolError: nonsense inside the fence; it is raised once, the rest
                of the reply is ignored.
        """
        raise NotImplementedError
