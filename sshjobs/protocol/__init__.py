"""What is said to a host and what it answers; pure, and total over bytes.

Theory of operation: :func:`build` turns a :class:`Request` into a program for
``exec sh`` on the host, :class:`Reply` reads what that program writes. Nothing
here does I/O, apart from one cached look at ``remote/``.

The reply starts after a *fence*, a line that carries the nonce of this request;
what a noisy rc file prints before it is skipped and kept for error texts. Then
come *frames*, one line each: a tag and words that are separated by single
spaces, in which every byte but printable ASCII is written ``%XX``. Log bytes
follow their frame as they are and end with a line of the nonce, which no log
can know; so a log that shrinks while it is read does no harm. A frame without
its newline is no event. A long log has sessions of its own (:func:`build_fetch`).
``docs/reference/wire-format.md`` has the grammar.

Keep in sync with ``remote/``, which writes what is read here.
"""

from __future__ import annotations

from collections.abc import Callable

from ..errors import ProtocolError
from ..model import is_job_id, printable
from ..startup.records import TYPE_CHECKING, Record
from ..states import STATES
from .program import GO as GO
from .program import GUARD as GUARD
from .program import WATCH_BEATS as WATCH_BEATS
from .program import build as build
from .program import build_examination as build_examination
from .program import build_fetch as build_fetch
from .program import build_watch as build_watch
from .program import key_hash as key_hash
from .quoting import FS_CODEC
from .quoting import quote as quote
from .request import ANY_LOG as ANY_LOG
from .request import PROTOCOL_VERSION as PROTOCOL_VERSION
from .request import Check as Check
from .request import LogWant as LogWant
from .request import Reap as Reap
from .request import Request as Request
from .request import Start as Start

if TYPE_CHECKING:
    from typing import Union


class Hello(Record):
    """The host answers: who it is, since which boot, and its clock."""

    node: str
    boot_id: str
    now: float
    features: tuple[str, ...]


class JournalAt(Record):
    """The journal is read up to here."""

    generation: str
    offset: int


class Started(Record):
    """A runner has claimed the job; ``pid`` and ``start`` are the runner's."""

    job_id: str
    pid: int
    pgid: int
    start: str
    boot_id: str
    node: str
    started_at: float


class Ended(Record):
    """The job is over; either ``exit_status`` or ``signal`` is set, if it ran."""

    job_id: str
    exit_status: int | None
    signal: int | None
    cause: str
    reason: str
    started_at: float | None
    finished_at: float | None
    log_bytes: int


class Prepared(Record):
    """The job's directory is whole; no runner has claimed it yet."""

    job_id: str


class Claimed(Record):
    """Who holds the key of this start; ``winner_id == job_id`` if it is ours."""

    job_id: str
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
    log_bytes: int


class Differs(Record):
    """A log is not what is home of it, and so its job was not reaped."""

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


class LogEnd(Record):
    """``length`` bytes from ``offset`` on have come; the log holds ``size`` now."""

    job_id: str
    offset: int
    length: int
    size: int


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


class ListedOdd(Record):
    """Something among the job directories that is none of ours."""

    entry: str
    reason: str


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
        Failed,
        Beat,
        Unread,
        End,
    ]


_HEX = b"0123456789ABCDEF"

#: What stays as it is in a word that is said back to the host; all else becomes "_".
_TOKEN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:+-"
_TO_TOKEN = bytes(byte if byte in _TOKEN else ord("_") for byte in range(256))

#: What a job can be on a host, as a key's holder or in a listing.
_STATES = frozenset(
    word.encode("ascii") for word in (*STATES, "ELSEWHERE", "MISSING", "GONE")
)

#: Ends a line that a tool which died on the host may have left unfinished.
_VOID = b"\x18"

#: No frame comes near this; what does cannot be read.
_MAX_LINE = 65536

#: Of a text no more characters are kept, of a word no more are borne.
_MAX_TEXT = 1000
_MAX_WORD = 1024
_MAX_TOKEN = 64

#: No count of bytes, and no number of a process, has more digits; SQLite takes these.
_MAX_DIGITS = 15

#: No instant or age lies beyond it (the year 5138): the C library has a date for each.
_MAX_INSTANT = 1e11
_PREAMBLE_BYTES = 2000


class WatchReply:
    """Reads what a watch says.

    Attributes:
        beats: How many signs of life have come.
        stirs: How many jobs have ended since it began.
    """

    def __init__(self, nonce: str) -> None:
        self.beats = 0
        self.stirs = 0
        self._fence = f"\nsshjobs-reply {PROTOCOL_VERSION} {nonce}\n".encode("ascii")
        self._begun = False
        self._buffer = b"\n"

    def feed(self, data: bytes) -> None:
        """Take the next bytes; lines that are not understood are passed over."""
        self._buffer += data
        if not self._begun:
            _, fence, rest = self._buffer.partition(self._fence)
            if not fence:
                self._buffer = self._buffer[-len(self._fence) :]
                return
            self._begun, self._buffer = True, rest
        lines = self._buffer.split(b"\n")
        self._buffer = lines.pop()[-_MAX_LINE:]
        self.beats += lines.count(b"beat")
        self.stirs += sum(line.startswith(b"E ") for line in lines)


#: What stands in place of our program says so before the fence.
_OBSTACLES = ("tcsh", "zsh", "terminal")


# -- reading -----------------------------------------------------------------------


class Reply:
    """Reads one reply, piece by piece.

    A frame about a job that cannot be read costs that job only: it is an
    :class:`Unread`. What says where frames and log bytes begin and end must be right,
    and so must a frame about the round itself.

    Args:
        nonce: That of the request.
        host: Its name, for error texts.

    Attributes:
        begun: The fence was seen: what follows is the host's own answer.
        ended: The reply is whole.
        preamble: The first 2,000 bytes before the fence, for error texts.
        obstacle: What has our program in place of an sh that reads it from a pipe:
            ``zsh``, ``tcsh`` or ``terminal``; empty if nothing says so.
    """

    def __init__(self, nonce: str, host: str = "the host") -> None:
        self.begun = False
        self.ended = False
        self.preamble = b""
        self.obstacle = ""
        self._host = host
        self._skips = False  # the rest of a frame that is too long
        self._fence = f"\nsshjobs-reply {PROTOCOL_VERSION} {nonce}\n".encode("ascii")
        self._mark = f"\n{nonce} ".encode("ascii")
        self._buffer = bytearray(b"\n")
        self._log: tuple[str, int, int] | None = None  # id, offset, bytes so far
        self._error: ProtocolError | None = None

    @property
    def unread(self) -> bool:
        """Whether our program was sent back, as by cat or a terminal's echo."""
        return GUARD[: GUARD.index(b"\n")] in self.preamble

    def feed(self, data: bytes) -> list[Event]:
        """Take the next bytes and return the events that they complete.

        Raises:
            ProtocolError: nonsense inside the fence. Events that came before it in
                the same piece are returned first, and the next call raises.
        """
        if self._error is not None:
            raise self._error
        if self.ended:
            return []
        events: list[Event] = []
        self._buffer += data
        try:
            if self.begun or self._find_fence(data):
                self._read(events)
        except (ValueError, LookupError, TypeError) as error:
            said = bytes(self._buffer[:_PREAMBLE_BYTES])
            self._error = ProtocolError(self._host, str(error), said)
            self._error.__cause__ = error
            if not events:
                raise self._error from error
        return events

    def _find_fence(self, data: bytes) -> bool:
        at = self._buffer.find(self._fence)
        noise = bytes(self._buffer[: at if at >= 0 else len(self._buffer)])
        if len(self.preamble) < _PREAMBLE_BYTES:
            self.preamble = (self.preamble + data)[:_PREAMBLE_BYTES]
        if at < 0:
            for name in _OBSTACLES if b"sshjobs-not-" in noise else ():
                if f"sshjobs-not-{name}".encode("ascii") in noise:
                    self.obstacle = name
            del self._buffer[: max(0, len(noise) - len(self._fence))]
            return False
        self.preamble = self.preamble.split(self._fence[1:])[0]
        del self._buffer[: at + len(self._fence)]
        self.begun = True
        return True

    def _read(self, events: list[Event]) -> None:
        """Take whole frames, and log bytes as they are, off the buffer."""
        while not self.ended:
            more = self._read_frame if self._log is None else self._read_log
            if not more(events):
                return
        self._buffer.clear()

    def _read_frame(self, events: list[Event]) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0 and len(self._buffer) <= _MAX_LINE:
            return False
        if not self._skips:
            line = bytes(self._buffer[:end] if end >= 0 else self._buffer)
            self._take_line(line, events)
        self._skips = end < 0
        del self._buffer[: end + 1 if end >= 0 else len(self._buffer)]
        return True

    def _take_line(self, line: bytes, events: list[Event]) -> None:
        if line.endswith(_VOID):
            return
        tag, _, rest = line.partition(b" ")
        if tag == b"log":
            job_id, offset = rest.split(b" ")
            self._log = (_id(job_id), _count(offset), 0)
        else:
            event = _event(tag, rest)
            self.ended = isinstance(event, End)
            events.append(event)

    def _read_log(self, events: list[Event]) -> bool:
        """Pass log bytes on, all but those that may begin the closing line."""
        assert self._log is not None
        at = self._buffer.find(self._mark)
        close = self._buffer.find(b"\n", at + 1) if at >= 0 else -1
        size = None
        if close >= 0:
            size = _count(bytes(self._buffer[at + len(self._mark) : close]))
        elif at >= 0 and len(self._buffer) - at > _MAX_LINE:
            raise ValueError("a piece of log without an end")
        sure = at if at >= 0 else max(0, len(self._buffer) - len(self._mark) + 1)
        self._pass_on(sure, events)
        if size is None:
            return False
        job_id, offset, length = self._log
        events.append(LogEnd(job_id, offset, length, size))
        del self._buffer[: close + 1 - sure]
        self._log = None
        return True

    def _pass_on(self, count: int, events: list[Event]) -> None:
        assert self._log is not None
        if count == 0:
            return
        job_id, offset, length = self._log
        with memoryview(self._buffer) as view:  # a slice would be one more copy
            data = bytes(view[:count])
        events.append(LogData(job_id, offset + length, data))
        self._log = (job_id, offset, length + count)
        del self._buffer[:count]


def _unescape(data: bytes) -> str:
    if b"%" in data:
        head, *pieces = data.split(b"%")
        data = head + b"".join(map(_byte_back, pieces))
    return data.decode(*FS_CODEC)


def _byte_back(piece: bytes) -> bytes:
    """Return what stood for ``%`` and this piece; itself if it is no escape."""
    if len(piece) >= 2 and not piece[:2].strip(_HEX):
        return bytes([int(piece[:2], 16)]) + piece[2:]
    return b"%" + piece


_Field = Callable[[bytes], object]


# One reader for each kind of field. What a host says is bounded here, and nothing that
# can drive a terminal, or that SQLite, a date or a path could not take, goes further.


def _id(data: bytes) -> str:
    text = data.decode("ascii", "replace")
    if not is_job_id(text):
        raise ValueError(f"not the id of a job: {text[:80]!a}")
    return text


def _text(data: bytes) -> str:
    return printable(_unescape(data[:_MAX_LINE]))[:_MAX_TEXT]


def _label(data: bytes) -> str:
    """Read a name that is shown and means nothing."""
    return "" if data == b"-" else printable(_unescape(data))[:_MAX_WORD]


def _word(data: bytes) -> str:
    text = "" if data == b"-" else printable(_unescape(data))
    if len(text) > _MAX_WORD:
        raise ValueError(f"a word of {len(text):,} characters")
    return text


def _name(data: bytes) -> str:
    """Read a word that may not be missing."""
    if not data or data == b"-":
        raise ValueError("a word is missing")
    return _word(data)


def _key(data: bytes) -> str:
    """Read a key, byte for byte if it is one that a job can have."""
    text = "" if data == b"-" else _unescape(data)
    stray = any("\ud800" <= char <= "\udfff" for char in text)
    return _word(data) if stray or "\0" in text or len(text) > _MAX_WORD else text


def _token(data: bytes) -> str:
    """Read a word that is said back to the host, where it must stay one word."""
    safe = data[:_MAX_TOKEN].translate(_TO_TOKEN).decode("ascii")
    return "" if data == b"-" else safe


def _count(data: bytes) -> int:
    if len(data) > _MAX_DIGITS or not data.isdigit():
        raise ValueError(f"not a number: {data[:80]!r}")
    return int(data)


def _at_most(most: int) -> _Field:
    """Return the reader of a number that may be missing; one that is larger is.

    So a record with a status that no process can have is still that of an end: exit
    statuses wrap, and 256 would be taken for success.
    """

    def read(data: bytes) -> int | None:
        value = None if data == b"-" else _count(data)
        return value if value is None or value <= most else None

    return read


def _instant(data: bytes) -> float:
    if not data.replace(b".", b"", 1).isdigit():
        raise ValueError(f"not an instant: {data[:80]!r}")
    return _number(data)


def _number(data: bytes) -> float:
    """Read a number as awk prints one."""
    if len(data) > 25 or data.translate(None, b"0123456789.e+-"):
        raise ValueError(f"not a number: {data[:80]!r}")
    value = float(data)
    if not abs(value) < _MAX_INSTANT:
        raise ValueError(f"not an instant: {data!r}")
    return value


def _maybe_instant(data: bytes) -> float | None:
    return None if data == b"-" else _instant(data)


def _flag(data: bytes) -> bool:
    return data == b"1"


def _cause(data: bytes) -> str:
    return data.decode("ascii") if data in (b"cancelled", b"timeout") else ""


def _state(data: bytes) -> str:
    if data not in _STATES:
        raise ValueError(f"not a state: {data[:80]!r}")
    return data.decode("ascii")


def _features(data: bytes) -> tuple[str, ...]:
    return tuple(_word(data).split(",")) if data != b"-" else ()


_HINTS = {
    "EBASE": "sshjobs keeps its files in a directory of yours that only you can write: "
    "mend it, or name another one with remote_base_dir",
    "ENOSPC": "make room on the host's file system, or set remote_base_dir",
    "EACCES": "the base directory on the host must be writable, see remote_base_dir",
    "ETOOL": "install it, or have it in the PATH of a login there; nothing was done",
    "EFORK": "end some of its processes, or raise its limit (ulimit -u)",
    "EDIED": "a tool died there, as of a limit on memory: the next command "
    "asks again, and sshjobs doctor HOST looks at the tools",
    "EHOME": "set remote_base_dir to an absolute path",
    "EVERSION": "update sshjobs here, or name another directory with remote_base_dir",
}


def _failed(code: str, text: str) -> Failed:
    return Failed(code, text, _HINTS.get(code, ""))


def _ended(
    job_id: str,
    exit_status: int | None,
    signal: int | None,
    cause: str,
    started_at: float | None,
    finished_at: float | None,
    log_bytes: int,
    reason: str,
) -> Ended:
    """Take the fields as they come: the text is the last one there."""
    times = (started_at, finished_at)
    return Ended(job_id, exit_status, signal, cause, reason, *times, log_bytes)


def _listed(
    job_id: str,
    state: str,
    age: float,
    node: str,
    log_bytes: int,
    digest: str,
    name: str,
    key: str,
) -> Listed:
    return Listed(job_id, state, age, name, key, digest, log_bytes, node)


def _frame(make: Callable[..., Event], *fields: _Field) -> Callable[[bytes], Event]:
    """Return the reader of a frame; a last field of text takes the rest of the line."""
    texts = fields[-1:] == (_text,)

    def read(rest: bytes) -> Event:
        words = rest.split(b" ", len(fields) - 1) if texts else rest.split(b" ")
        if not fields:
            words = words if rest else []
        elif texts and len(words) == len(fields) - 1:
            words.append(b"")
        if len(words) != len(fields):
            raise ValueError(f"{make.__name__}: {len(words)} fields")
        return make(*(field(word) for field, word in zip(fields, words)))

    return read


_FRAMES: dict[bytes, Callable[[bytes], Event]] = {
    b"hello": _frame(Hello, _name, _word, _instant, _features),
    b"journal": _frame(JournalAt, _token, _count),
    b"started": _frame(Started, _id, _count, _count, _token, _word, _word, _instant),
    b"ended": _frame(
        _ended,
        _id,
        _at_most(255),
        _at_most(127),
        _cause,
        _maybe_instant,
        _maybe_instant,
        _count,
        _text,
    ),
    b"prepared": _frame(Prepared, _id),
    b"claimed": _frame(Claimed, _id, _id, _count, _state, _flag),
    b"refused": _frame(Refused, _id, _name, _text),
    b"killsent": _frame(KillSent, _id),
    b"killmissing": _frame(KillMissing, _id),
    b"lost": _frame(Lost, _id, _text),
    b"missing": _frame(Missing, _id),
    b"elsewhere": _frame(Elsewhere, _id, _word),
    b"unsupervised": _frame(Unsupervised, _id),
    b"due": _frame(Due, _id),
    b"unseen": _frame(Unseen, _id, _text),
    b"reaped": _frame(Reaped, _id),
    b"unreaped": _frame(ReapRefused, _id, _text),
    b"unforgotten": _frame(Unforgotten, _id, _text),
    b"longer": _frame(Longer, _id, _count),
    b"differs": _frame(Differs, _id),
    b"nolog": _frame(NoLog, _id, _text),
    b"listed": _frame(
        _listed, _id, _state, _number, _word, _count, _word, _label, _key
    ),
    b"odd": _frame(ListedOdd, _name, _text),
    b"failed": _frame(_failed, _name, _text),
    b"beat": _frame(Beat),
    b"end": _frame(End),
}

#: Frames about the round itself; without one of them the others mean nothing.
_OF_ROUND = (b"hello", b"journal", b"failed", b"beat", b"end")


def _event(tag: bytes, rest: bytes) -> Event:
    """Read a frame, or tell whose it is that cannot be read."""
    if tag not in _FRAMES:
        raise ValueError(f"no frame of ours: {tag[:40]!r}")
    try:
        if len(rest) > _MAX_LINE:
            raise ValueError("longer than any of ours")
        return _FRAMES[tag](rest)
    except ValueError as error:
        if tag in _OF_ROUND:
            raise
        job_id = rest.partition(b" ")[0].decode("ascii", "replace")
        detail = printable(f"{tag.decode('ascii')}: {error}")
        return Unread(job_id if is_job_id(job_id) else "", detail)
