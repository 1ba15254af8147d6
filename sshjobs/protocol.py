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
its newline is no event. A long log has sessions of its own (:func:`build_fetch`).
``docs/reference/wire-format.md`` has the grammar.

Keep in sync with ``remote/posix.sh``, which writes what is read here.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from functools import lru_cache

from .errors import ProtocolError
from .model import Spec, printable
from .record import TYPE_CHECKING, Record

if TYPE_CHECKING:
    from typing import Union

PROTOCOL_VERSION = 1

#: A watch ends after so many beats of two seconds, and is made anew if still wanted.
WATCH_BEATS = 150

#: What is said to a program that waits behind its fence.
GO = b"go\n"


class Start(Record):
    """Run this job, once, whatever is repeated."""

    job_id: str
    spec: Spec
    key: str = ""
    once: bool = False
    name: str = ""


class Check(Record):
    """Tell how this job does; ``pid`` is None while it is not known to run."""

    job_id: str
    pid: int | None
    start: str


class LogWant(Record):
    """Bring at most ``limit`` bytes of this log from ``offset`` on."""

    job_id: str
    offset: int
    limit: int


class Reap(Record):
    """Delete this ended job there, unless its log is longer than what is ``home``."""

    job_id: str
    home: int


class Request(Record):
    """All that this machine wants of one host, served in the order of the fields.

    ``journal`` is the place up to which the journal was read, None at the first
    contact. ``kills`` pairs an id with whether its start was ever sent.
    """

    base_dir: str = "~/.sshjobs"
    journal: tuple[str, int] | None = None
    kills: tuple[tuple[str, bool], ...] = ()
    starts: tuple[Start, ...] = ()
    checks: tuple[Check, ...] = ()
    reaps: tuple[Reap, ...] = ()
    logs: tuple[LogWant, ...] = ()
    listing: bool = False
    start_grace: float = 10.0
    key_ttl: float = 30 * 86400.0
    gone_ttl: float = 86400.0


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


class Reaped(Record):
    """The job's directory is gone."""

    job_id: str


class ReapRefused(Record):
    """The job's directory stands as it was."""

    job_id: str
    reason: str


class Longer(Record):
    """A log has so many bytes, more than are home, and so its job was not reaped."""

    job_id: str
    log_bytes: int


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
        Reaped,
        ReapRefused,
        Longer,
        NoLog,
        LogData,
        LogEnd,
        Listed,
        ListedOdd,
        Failed,
        Beat,
        End,
    ]


#: What a word or a text may hold as it is; all else travels as ``%XX``.
_WORD = bytes(byte for byte in range(0x21, 0x7F) if byte != ord("%"))
_TEXT = b" " + _WORD
_HEX = b"0123456789ABCDEF"
_FS = ("utf-8", "surrogateescape")

#: No frame comes near this; what does is not a reply of ours.
_MAX_LINE = 65536
_PREAMBLE_BYTES = 2000

# -- saying ------------------------------------------------------------------------

#: Before a file is made.
_UMASK = b"umask 077\n"

#: What jobs get back; a fork, so only where there are any.
_KEEP = b"sj_umask=$(umask)\nsj_keep\n"


#: So many jobs are prepared before their runners are started.
_AT_A_TIME = 100


def build(request: Request, nonce: str) -> bytes:
    """Return the program that serves ``request``, for the stdin of ``exec sh``.

    It is one compound command: a shell that reads only a part of it runs nothing.

    Args:
        request: What is wanted.
        nonce: 16 or more hex digits that were never used before.
    """
    remote, runner_hash = _remote()
    generation, offset = request.journal or ("-", 0)
    place = (nonce, request.base_dir, generation, offset)
    spans = (request.start_grace, int(request.key_ttl), int(request.gone_ttl))
    opening = _call("sj_open", *place, *spans, runner_hash)
    runs = bool(request.kills or request.starts)
    prologue = (_KEEP if runs else b"") + _UMASK
    wanted = {
        "round": True,
        "runs": runs,
        "reap": request.reaps,
        "logs": request.logs,
        "list": request.listing,
        "frame": True,
    }
    functions = b"".join(remote[name] for name, is_on in wanted.items() if is_on)
    parts = [b"{", functions + prologue, opening]
    if runs:
        parts += [b"sj_runner=" + quote(remote["runner"]), b"sj_prepare_runs"]
    if request.kills:
        parts.append(_call("sj_kill", *(job_id for job_id, _ in request.kills)))
    parts += _starts(request.starts)
    checks = (f"c {c.job_id} {c.pid or '-'} {c.start or '-'}" for c in request.checks)
    parts.append(_call("sj_answer", "\n".join(checks)))
    if request.listing:
        parts.append(b"sj_list")
    if request.reaps:
        words = (f"{reap.job_id}:{reap.home}" for reap in request.reaps)
        parts.append(_call("sj_reap", *words))
    if request.logs:
        wants = (str(word) for want in request.logs for word in want)
        parts.append(_call("sj_logs", *wants))
    return b"\n".join([*parts, b"sj_close", b"}", b"exit 0", b""])


def build_watch(base_dir: str, journal: tuple[str, int], nonce: str) -> bytes:
    """Return the program that says at once when something ends on the host.

    Its reply is for :class:`WatchReply`.

    Args:
        journal: Up to where rounds have read it, as (generation, offset).
    """
    remote, runner_hash = _remote()
    functions = remote["round"] + remote["frame"]
    opening = _call("sj_open", nonce, base_dir, *journal, 0, 0, 0, runner_hash)
    life = b"sj_life=%d" % WATCH_BEATS
    return _listening(functions, opening, life, _watch())


def build_fetch(base_dir: str, want: LogWant, nonce: str) -> tuple[bytes, bytes]:
    """Return the program that brings bytes of one log, and the fence it says first.

    After the fence it waits for :data:`GO`; then come bytes of that log, from the
    offset on, in order, and nothing else. They are fewer than ``limit`` if the log
    holds no more. The program does not end the fence if there is no such log.
    """
    remote, _ = _remote()
    functions = remote["round"] + remote["logs"]
    call = _call("sj_fetch", nonce, base_dir, *want)
    fence = f"\nsshjobs-log {PROTOCOL_VERSION} {nonce}\n"
    return _listening(functions, call), fence.encode("ascii")


def build_examination(script: bytes, nonce: str) -> bytes:
    """Return a program that says the nonce and then what ``script`` does.

    The tools there are read as those of a round are: in an environment of ours.
    """
    head = b"sj_tame\nprintf '\\n%s\\n' " + nonce.encode("ascii")
    lines = [b"{", _remote()[0]["round"] + head, script, b"}", b"exit 0", b""]
    return b"\n".join(lines)


def _listening(functions: bytes, *parts: bytes) -> bytes:
    """Return a program that reads what comes after it on its standard input.

    bash leaves there what it has not parsed yet (5.2); dash may have read it.
    """
    lines = [b"{", functions + _UMASK, *parts, b"exit 0", b"}", b""]
    return b"\n".join(lines)


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


def quote(data: bytes) -> bytes:
    """Return ``data`` as one word of POSIX sh."""
    return b"'" + data.replace(b"'", b"'\\''") + b"'"


def _call(function: str, *words: object) -> bytes:
    """Return a call of a function of ``posix.sh``; plain words stay readable."""
    encoded = (str(word).encode(*_FS) for word in words)
    return b" ".join([function.encode("ascii"), *map(quote, encoded)])


def _starts(starts: tuple[Start, ...]) -> list[bytes]:
    if not starts:
        return []
    parts = []
    for at in range(0, len(starts), _AT_A_TIME):
        some = starts[at : at + _AT_A_TIME]
        parts.append(_call("sj_mkdir", *(start.job_id for start in some)))
        parts += [*map(_job, some), b"sj_start"]
    return [*parts, b"sj_await $sj_due"]


def _job(start: Start) -> bytes:
    spec = start.spec
    vector = not isinstance(spec.command, bytes)
    words = (
        start.job_id.encode("ascii"),
        _spec_file(start),
        _script(spec.command),
        _env_file(spec.env),
        b"" if spec.stdin is None else _printf_format(spec.stdin),
        key_hash(start.key).encode("ascii") if start.key else b"",
        _digest(start),
        b"1" if start.once else b"",
        b"" if vector else spec.shell.encode(*_FS),
    )
    return b" ".join([b"sj_job", *map(quote, words)])


def _digest(start: Start) -> bytes:
    """Return the digest of a command that a key may be asked about, else ``-``."""
    return start.spec.digest().encode("ascii") if start.key else b"-"


def key_hash(key: str) -> str:
    """Return the name of a key's directory on a host: 64 hex digits."""
    import hashlib

    return hashlib.sha256(key.encode(*_FS)).hexdigest()


def _script(command: bytes | tuple[bytes, ...]) -> bytes:
    """Return the text of the file that the job's shell runs."""
    if isinstance(command, bytes):
        return command
    return b"exec " + b" ".join(map(quote, command))


def _spec_file(start: Start) -> bytes:
    """Return the assignments that a runner reads.

    What a listing reads with awk comes first and holds no newline: the first line
    of a name counts there, so that nothing in a later value can pose as one.
    """
    spec = start.spec
    cwd = spec.cwd.encode(*_FS)
    # A whole number is taken by every sleep(1), a fraction by most.
    timeout = "" if spec.timeout is None else f"{spec.timeout:.3f}".rstrip("0")
    pairs = (
        ("digest", _digest(start)),
        ("name", _escape(_WORD, start.name)),
        ("keyword", _escape(_WORD, start.key)),
        ("sha", key_hash(start.key).encode("ascii") if start.key else b""),
        ("kind", b"line" if isinstance(spec.command, bytes) else b"vector"),
        ("grace", b"%.2f" % spec.kill_grace),
        ("gracecs", b"%d" % round(spec.kill_grace * 100)),
        ("timeout", timeout.rstrip(".").encode("ascii")),
        ("useshell", spec.shell.encode(*_FS)),
        ("hasenv", b"1" if spec.env else b""),
        ("hasin", b"" if spec.stdin is None else b"1"),
        ("cwdtext", _escape(_TEXT, spec.cwd)[:160]),
        ("cwd", cwd),
        ("key", start.key.encode(*_FS)),
    )
    return b"\n".join(b"sj_%s=%s" % (n.encode("ascii"), quote(v)) for n, v in pairs)


def _env_file(env: tuple[tuple[str, bytes], ...]) -> bytes:
    """Return a function that exports ``env``, empty if there is nothing to export.

    ``command`` keeps a name that a shell holds read-only (UID in bash) from ending
    it, as an error in a special builtin otherwise does (POSIX 2.8.1).
    """
    if not env:
        return b""
    lines = (b"command export %s=%s" % (n.encode("ascii"), quote(v)) for n, v in env)
    return b"sj_env() {\n" + b"\n".join(lines) + b"\n}"


def _printf_format(data: bytes) -> bytes:
    """Return a format of printf(1) that prints ``data``, which may hold NUL bytes."""
    if not data:
        return b"%s"
    text = data.replace(b"\\", b"\\\\").replace(b"%", b"%%").replace(b"\0", b"\\000")
    return b"\\055" + text[1:] if text.startswith(b"-") else text


def _escape(allowed: bytes, text: str) -> bytes:
    data = text.encode(*_FS)
    if not data.translate(None, allowed):
        return data
    pieces = (b"%c" if byte in allowed else b"%%%02X" for byte in data)
    return b"".join(piece % byte for piece, byte in zip(pieces, data))


@lru_cache(maxsize=1)
def _remote() -> tuple[dict[str, bytes], str]:
    """Return the parts of ``posix.sh`` as they are sent, and the runner's hash."""
    path = os.path.join(os.path.dirname(__file__), "remote", "posix.sh")
    with open(path, "rb") as file:
        text = file.read()
    parts = {}
    for part in text.split(b"\n#: ")[1:]:
        title, _, lines = part.partition(b"\n")
        parts[title.split()[0].decode("ascii").rstrip(",")] = strip_comments(lines)
    for name in ("round", "runner"):
        parts[name] = parts["shell"] + parts[name]
    return parts, f"{zlib.crc32(parts['runner']):08x}"


@lru_cache(maxsize=1)
def _watch() -> bytes:
    path = os.path.join(os.path.dirname(__file__), "remote", "watch.sh")
    with open(path, "rb") as file:
        return strip_comments(file.read())


def strip_comments(text: bytes) -> bytes:
    """Return a shell script without lines of comment, indentation and empty lines.

    Strings are not known: none in ``remote/`` may depend on a line like these. To
    look at each of its tokens cost every round 2.5 ms.
    """
    lines = (line.lstrip(b" \t") for line in text.splitlines(keepends=True))
    return b"".join(line for line in lines if line[:1] not in (b"#", b"\n", b""))


# -- reading -----------------------------------------------------------------------


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
        self._fence = f"\nsshjobs-reply {PROTOCOL_VERSION} {nonce}\n".encode("ascii")
        self._mark = f"\n{nonce} ".encode("ascii")
        self._buffer = bytearray(b"\n")
        self._log: tuple[str, int, int] | None = None  # id, offset, bytes so far
        self._error: ProtocolError | None = None

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
            self._error = ProtocolError("the host", str(error), bytes(self._buffer))
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
        if end < 0:
            if len(self._buffer) > _MAX_LINE:
                raise ValueError("a frame without an end")
            return False
        line = bytes(self._buffer[:end])
        tag, _, rest = line.partition(b" ")
        if tag == b"log":
            job_id, offset = rest.decode("ascii").split(" ")
            self._log = (job_id, int(offset), 0)
        else:
            event = _FRAMES[tag](rest)
            events.append(event)
            self.ended = isinstance(event, End)
        del self._buffer[: end + 1]
        return True

    def _read_log(self, events: list[Event]) -> bool:
        """Pass log bytes on, all but those that may begin the closing line."""
        assert self._log is not None
        at = self._buffer.find(self._mark)
        close = self._buffer.find(b"\n", at + 1) if at >= 0 else -1
        size = None
        if close >= 0:
            size = int(self._buffer[at + len(self._mark) : close])
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
    return data.decode(*_FS)


def _byte_back(piece: bytes) -> bytes:
    """Return what stood for ``%`` and this piece; itself if it is no escape."""
    if len(piece) >= 2 and not piece[:2].strip(_HEX):
        return bytes([int(piece[:2], 16)]) + piece[2:]
    return b"%" + piece


def _text(data: bytes) -> str:
    return printable(_unescape(data))


def _word(data: bytes) -> str:
    return "" if data == b"-" else _unescape(data)


def _name(data: bytes) -> str:
    """Read a word that may not be missing."""
    if not data or data == b"-":
        raise ValueError("a word is missing")
    return _text(data)


def _int(data: bytes) -> int:
    return int(data)


def _maybe_int(data: bytes) -> int | None:
    return None if data == b"-" else int(data)


def _float(data: bytes) -> float:
    value = float(data)
    if not abs(value) < 1e15:
        raise ValueError(f"not an instant: {value}")
    return value


def _maybe_float(data: bytes) -> float | None:
    return None if data == b"-" else _float(data)


def _flag(data: bytes) -> bool:
    return data == b"1"


def _features(data: bytes) -> tuple[str, ...]:
    return tuple(_word(data).split(",")) if data != b"-" else ()


_HINTS = {
    "EBASE": "sshjobs keeps its files in a directory of yours that only you can write: "
    "mend it, or name another one with remote_base_dir",
    "ENOSPC": "make room on the host's file system, or set remote_base_dir",
    "EACCES": "the base directory on the host must be writable, see remote_base_dir",
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


_Field = Callable[[bytes], object]


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
    b"hello": _frame(Hello, _name, _word, _float, _features),
    b"journal": _frame(JournalAt, _name, _int),
    b"started": _frame(Started, _name, _int, _int, _word, _word, _word, _float),
    b"ended": _frame(
        _ended,
        _name,
        _maybe_int,
        _maybe_int,
        _word,
        _maybe_float,
        _maybe_float,
        _int,
        _text,
    ),
    b"prepared": _frame(Prepared, _name),
    b"claimed": _frame(Claimed, _name, _name, _int, _name, _flag),
    b"refused": _frame(Refused, _name, _name, _text),
    b"killsent": _frame(KillSent, _name),
    b"killmissing": _frame(KillMissing, _name),
    b"lost": _frame(Lost, _name, _text),
    b"missing": _frame(Missing, _name),
    b"elsewhere": _frame(Elsewhere, _name, _word),
    b"unsupervised": _frame(Unsupervised, _name),
    b"reaped": _frame(Reaped, _name),
    b"unreaped": _frame(ReapRefused, _name, _text),
    b"longer": _frame(Longer, _name, _int),
    b"nolog": _frame(NoLog, _name, _text),
    b"listed": _frame(_listed, _name, _name, _float, _word, _int, _word, _word, _word),
    b"odd": _frame(ListedOdd, _name, _text),
    b"failed": _frame(_failed, _name, _text),
    b"beat": _frame(Beat),
    b"end": _frame(End),
}
