"""The questions and orders of one round, as values."""

from __future__ import annotations

from ..model import Spec
from ..startup.records import Record

PROTOCOL_VERSION = 1

#: More starts than so many are a burst, and their runners spare processes.
BURST = 32


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
    group run at most, or of all that wait their turn where GROUP is ``-``. With
    ``by_number`` it is enough, of many jobs that run, if there is a process of the
    number of each supervisor; a job that has ended is told all the same.
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
    by_number: bool = False


#: A host looks at so few jobs without an awk, see sj_answer_few.
_FEW_BYTES = 300

#: So many that run are looked for by their numbers alone, where that is enough.
_MANY = 16


def list_questions(request: Request) -> tuple[list[str], list[str]]:
    """Return the words of sj_answer_checks, and the ids asked about if they are few.

    The words are the questions, a line for each; or those about jobs that do not run,
    those about jobs that do, and the numbers of their supervisors.
    """
    asked = [("c", check) for check in request.checks]
    asked += [("f", check) for check in request.forgets]
    lines = [f"{kind} {c.job_id} {c.pid or '-'} {c.start or '-'}" for kind, c in asked]
    questions = "\n".join(lines)
    if len(questions) < _FEW_BYTES:
        return [questions], [check.job_id for check in request.checks]
    pids = [str(check.pid) for check in request.checks if check.pid]
    # A supervisor may be on another node, if a launcher has chosen it.
    if not request.by_number or request.launchers or len(pids) < _MANY:
        return [questions], []
    runs = [kind == "c" and bool(check.pid) for kind, check in asked]
    known = [line for line, is_known in zip(lines, runs) if is_known]
    others = [line for line, is_known in zip(lines, runs) if not is_known]
    return ["\n".join(others), "\n".join(known), " ".join(pids)], []
