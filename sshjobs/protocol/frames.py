"""Frames: a line of a reply, read into the event that it is.

Theory of operation: a frame is a tag and words that single spaces separate. Each kind
of field has one reader, which raises ``ValueError`` at a value out of its bounds.
A frame about a job that cannot be read becomes :class:`.events.Unread` and costs that
job only; a frame about the round itself must be right.
"""

from __future__ import annotations

from ..errors import find_hint
from ..model import STDERR, is_job_id, printable
from ..quoting import FS_CODEC
from ..startup.records import TYPE_CHECKING
from ..states import STATES
from . import events

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TypeAlias

    from .events import Event

_HEX = b"0123456789ABCDEF"

#: What stays as it is in a word that is said back to the host; all else becomes "_".
_TOKEN = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:+-"
_OTHERS = bytes(range(256)).translate(None, _TOKEN)
_TO_TOKEN = bytes.maketrans(_OTHERS, b"_" * len(_OTHERS))

#: What a job can be on a host, as a key's holder or in a listing.
_STATES = frozenset(
    word.encode("ascii") for word in (*STATES, "ELSEWHERE", "MISSING", "GONE")
)

#: No frame comes near this; what does cannot be read.
MAX_LINE = 65536

#: Of a text no more characters are kept, of a word no more are borne.
_MAX_TEXT = 1000
_MAX_WORD = 1024
_MAX_TOKEN = 64

#: No count of bytes, and no number of a process, has more digits; SQLite takes these.
_MAX_DIGITS = 15

#: No instant or age lies beyond it (the year 5138): the C library has a date for each.
MAX_INSTANT = 1e11


def decode_escapes(data: bytes) -> str:
    if b"%" in data:
        head, *pieces = data.split(b"%")
        data = head + b"".join(map(decode_escape, pieces))
    return data.decode(*FS_CODEC)


def decode_escape(piece: bytes) -> bytes:
    """Return the byte behind ``%`` and this piece; itself if it is no escape."""
    if len(piece) >= 2 and not piece[:2].strip(_HEX):
        return bytes([int(piece[:2], 16)]) + piece[2:]
    return b"%" + piece


FieldReader: TypeAlias = "Callable[[bytes], object]"


# One reader for each kind of field. What a host says is bounded here, and nothing that
# can drive a terminal, or that SQLite, a date or a path could not take, goes further.


def read_job_id(data: bytes) -> str:
    text = data.decode("ascii", "replace")
    if not is_job_id(text):
        raise ValueError(f"not the id of a job: {text[:80]!a}")
    return text


def read_log_name(data: bytes) -> tuple[str, str]:
    """Read the name of a log: the id of its job and its stream."""
    job_id, slash, stream = data.partition(b"/")
    if slash and stream != STDERR.encode("ascii"):
        raise ValueError(f"not a log of a job: {data[:80]!r}")
    return read_job_id(job_id), STDERR if slash else ""


def read_lengths(data: bytes) -> tuple[int, int | None]:
    """Read the length of a log, or of both logs of a job that has two."""
    one, plus, other = data.partition(b"+")
    return read_count(one), read_count(other) if plus else None


def read_text(data: bytes) -> str:
    # Cut before it is decoded, so that a long line costs no more than a short one.
    return printable(decode_escapes(data[:MAX_LINE]))[:_MAX_TEXT]


def read_label(data: bytes) -> str:
    """Read a name that is shown and means nothing."""
    return "" if data == b"-" else printable(decode_escapes(data))[:_MAX_WORD]


def read_word(data: bytes) -> str:
    text = "" if data == b"-" else printable(decode_escapes(data))
    if len(text) > _MAX_WORD:
        raise ValueError(f"a word of {len(text):,} characters")
    return text


def read_name(data: bytes) -> str:
    """Read a word that may not be missing."""
    if not data or data == b"-":
        raise ValueError("a word is missing")
    return read_word(data)


def read_key(data: bytes) -> str:
    """Read a key, byte for byte if it is one that a job can have."""
    text = "" if data == b"-" else decode_escapes(data)
    # Lone surrogates stand for bytes that are no UTF-8; SQLite stores no such text.
    stray = any("\ud800" <= char <= "\udfff" for char in text)
    return read_word(data) if stray or "\0" in text or len(text) > _MAX_WORD else text


def read_token(data: bytes) -> str:
    """Read a word that is said back to the host, where it must stay one word."""
    safe = data[:_MAX_TOKEN].translate(_TO_TOKEN).decode("ascii")
    return "" if data == b"-" else safe


def read_count(data: bytes) -> int:
    if len(data) > _MAX_DIGITS or not data.isdigit():
        raise ValueError(f"not a number: {data[:80]!r}")
    return int(data)


def make_bounded_reader(most: int) -> FieldReader:
    """Return the reader of a number that may be missing; one that is larger is.

    So a record with a status that no process can have is still that of an end: exit
    statuses wrap, and 256 would be taken for success.
    """

    def read(data: bytes) -> int | None:
        value = None if data == b"-" else read_count(data)
        return value if value is None or value <= most else None

    return read


def read_instant(data: bytes) -> float:
    if not data.replace(b".", b"", 1).isdigit():
        raise ValueError(f"not an instant: {data[:80]!r}")
    return read_number(data)


def read_number(data: bytes) -> float:
    """Read a number as awk prints one."""
    if len(data) > 25 or data.translate(None, b"0123456789.e+-"):
        raise ValueError(f"not a number: {data[:80]!r}")
    value = float(data)
    if not abs(value) < MAX_INSTANT:
        raise ValueError(f"not an instant: {data!r}")
    return value


def read_optional_instant(data: bytes) -> float | None:
    return None if data == b"-" else read_instant(data)


def read_flag(data: bytes) -> bool:
    return data == b"1"


def read_cause(data: bytes) -> str:
    # A newer host may know other causes; the exit status says enough then.
    return data.decode("ascii") if data in (b"cancelled", b"timeout") else ""


def read_state(data: bytes) -> str:
    if data not in _STATES:
        raise ValueError(f"not a state: {data[:80]!r}")
    return data.decode("ascii")


def read_features(data: bytes) -> tuple[str, ...]:
    return tuple(read_word(data).split(",")) if data != b"-" else ()


def make_hello(
    node: str, _boot_id: str, now: float, _features: tuple[str, ...]
) -> events.Hello:
    """Take what is of use here; the rest of the frame must be readable all the same."""
    return events.Hello(node, now)


def make_failed(code: str, text: str) -> events.Failed:
    return events.Failed(code, text, find_hint(f"host:{code}"))


def make_ended(
    job_id: str,
    exit_status: int | None,
    signal: int | None,
    cause: str,
    started_at: float | None,
    finished_at: float | None,
    lengths: tuple[int, int | None],
    reason: str,
) -> events.Ended:
    """Take the fields as they come: the text is the last one there."""
    times = (started_at, finished_at)
    return events.Ended(job_id, exit_status, signal, cause, reason, *times, *lengths)


def make_listed(
    job_id: str,
    state: str,
    age: float,
    node: str,
    lengths: tuple[int, int | None],
    digest: str,
    name: str,
    key: str,
) -> events.Listed:
    one, other = lengths
    return events.Listed(job_id, state, age, name, key, digest, one, node, other)


def make_longer(log: tuple[str, str], log_bytes: int) -> events.Longer:
    return events.Longer(log[0], log_bytes, log[1])


def make_frame_reader(
    make: Callable[..., Event], *fields: FieldReader
) -> Callable[[bytes], Event]:
    """Return the reader of a frame; a last field of text takes the rest of the line."""
    texts = fields[-1:] == (read_text,)

    def read(rest: bytes) -> Event:
        words = rest.split(b" ", len(fields) - 1) if texts else rest.split(b" ")
        if not fields:  # b"".split(b" ") is one empty word
            words = words if rest else []
        elif texts and len(words) == len(fields) - 1:  # an empty text: no space either
            words.append(b"")
        if len(words) != len(fields):
            raise ValueError(f"{make.__name__}: {len(words)} fields")
        return make(*(field(word) for field, word in zip(fields, words)))

    return read


FRAME_READERS: dict[bytes, Callable[[bytes], Event]] = {
    b"hello": make_frame_reader(
        make_hello, read_name, read_word, read_instant, read_features
    ),
    b"journal": make_frame_reader(events.JournalAt, read_token, read_count),
    b"started": make_frame_reader(
        events.Started,
        read_job_id,
        read_count,
        read_count,
        read_token,
        read_word,
        read_word,
        read_instant,
    ),
    b"ended": make_frame_reader(
        make_ended,
        read_job_id,
        make_bounded_reader(255),
        make_bounded_reader(127),
        read_cause,
        read_optional_instant,
        read_optional_instant,
        read_lengths,
        read_text,
    ),
    b"prepared": make_frame_reader(events.Prepared, read_job_id),
    b"queued": make_frame_reader(events.Queued, read_job_id, read_token, read_text),
    b"claimed": make_frame_reader(
        events.Claimed, read_job_id, read_job_id, read_count, read_state, read_flag
    ),
    b"refused": make_frame_reader(events.Refused, read_job_id, read_name, read_text),
    b"killsent": make_frame_reader(events.KillSent, read_job_id),
    b"killmissing": make_frame_reader(events.KillMissing, read_job_id),
    b"lost": make_frame_reader(events.Lost, read_job_id, read_text),
    b"missing": make_frame_reader(events.Missing, read_job_id),
    b"elsewhere": make_frame_reader(events.Elsewhere, read_job_id, read_word),
    b"unsupervised": make_frame_reader(events.Unsupervised, read_job_id),
    b"due": make_frame_reader(events.Due, read_job_id),
    b"unseen": make_frame_reader(events.Unseen, read_job_id, read_text),
    b"reaped": make_frame_reader(events.Reaped, read_job_id),
    b"unreaped": make_frame_reader(events.ReapRefused, read_job_id, read_text),
    b"unforgotten": make_frame_reader(events.Unforgotten, read_job_id, read_text),
    b"longer": make_frame_reader(make_longer, read_log_name, read_count),
    b"differs": make_frame_reader(events.Differs, read_job_id),
    b"nolog": make_frame_reader(events.NoLog, read_job_id, read_text),
    b"listed": make_frame_reader(
        make_listed,
        read_job_id,
        read_state,
        read_number,
        read_word,
        read_lengths,
        read_word,
        read_label,
        read_key,
    ),
    b"odd": make_frame_reader(events.ListedOdd, read_name, read_text),
    b"fact": make_frame_reader(events.Fact, read_name, read_text),
    b"failed": make_frame_reader(make_failed, read_name, read_text),
    b"beat": make_frame_reader(events.Beat),
    b"end": make_frame_reader(events.End),
}

#: Frames about the round itself.
_OF_ROUND = (b"hello", b"journal", b"failed", b"beat", b"end")


def read_event(tag: bytes, rest: bytes) -> Event:
    """Read a frame, or tell whose it is that cannot be read."""
    if tag not in FRAME_READERS:
        raise ValueError(f"no frame of ours: {tag[:40]!r}")
    try:
        if len(rest) > MAX_LINE:
            raise ValueError("longer than any of ours")
        return FRAME_READERS[tag](rest)
    except ValueError as error:
        # Without one of these the other frames mean nothing; any other is about one
        # job, whose neighbours in the reply are as good as before.
        if tag in _OF_ROUND:
            raise
        job_id = rest.partition(b" ")[0].decode("ascii", "replace")
        detail = printable(f"{tag.decode('ascii')}: {error}")
        return events.Unread(job_id if is_job_id(job_id) else "", detail)
