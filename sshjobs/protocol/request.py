"""The questions and orders of one round, as values."""

from __future__ import annotations

from ..model import Spec
from ..startup.records import Record

PROTOCOL_VERSION = 1


class Start(Record):
    """Run this job, once, however often this is repeated."""

    job_id: str
    spec: Spec
    key: str = ""
    once: bool = False
    name: str = ""


class Check(Record):
    """Tell how this job does; ``pid`` is None while it is not known to run."""

    job_id: str
    # The runner as this machine knows it: a job whose record on the host names another
    # one has been started anew, or its record was changed.
    pid: int | None
    start: str


class LogWant(Record):
    """Bring at most ``limit`` bytes of this log from ``offset`` on."""

    job_id: str
    # From offset on: the bytes before are home, and are never sent twice.
    offset: int
    limit: int
    stream: str = ""  # STDERR: of the log of standard error alone


#: Of a job to reap: whatever there is of its log may go. No log is as long.
ANY_LOG = 10**15 - 1


class Reap(Record):
    """Delete this ended job there, if ``home`` bytes are all of its log.

    ``cksum`` and ``sha256`` are the checksums of those bytes, as tools of these names
    print them: without any, bytes count as different.
    """

    job_id: str
    home: int
    cksum: int = -1
    sha256: str = "-"
    # STDERR: of its second log, and another one tells of the first.
    stream: str = ""


def name_log(job_id: str, stream: str) -> str:
    """Return the word by which a request and its reply name a log."""
    return f"{job_id}/{stream}" if stream else job_id


class Request(Record):
    """All that this machine wants of one host, served in the order of the fields.

    ``journal`` is the place up to which the journal was read, None at the first
    contact. ``kills`` are ids of jobs. ``ends`` are
    those of ``starts`` that somebody follows: the host waits a moment for their ends.
    ``forgets`` are jobs that a person knows to be gone. With ``examine`` the host says
    what it is and has, and nothing else of the request is served. ``launchers`` are
    those of the jobs that it names, apart from process. What one of them said of its
    queue serves for ``queue_age`` seconds; a job that it has no more, and that left no
    end, is lost after ``vanish_grace``. ``limits`` are words GROUP=N: so many jobs of a
    group run at most, or of all that wait their turn where GROUP is ``-``.
    """

    base_dir: str = "~/.sshjobs"
    journal: tuple[str, int] | None = None
    kills: tuple[str, ...] = ()
    starts: tuple[Start, ...] = ()
    checks: tuple[Check, ...] = ()
    reaps: tuple[Reap, ...] = ()
    logs: tuple[LogWant, ...] = ()
    listing: bool = False
    # Seconds all; a host measures them by its own clock.
    start_grace: float = 10.0
    key_ttl: float = 30 * 86400.0
    gone_ttl: float = 86400.0
    ends: tuple[str, ...] = ()
    forgets: tuple[Check, ...] = ()
    examine: bool = False
    launchers: tuple[str, ...] = ()
    queue_age: float = 0.0
    vanish_grace: float = 90.0
    limits: str = ""
