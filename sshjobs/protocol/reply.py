"""Reads the reply to a request, piece by piece; total over bytes, without I/O.

Theory of operation: the reply starts after a *fence*, a line that carries the nonce
of this request; what a noisy rc file prints before it is skipped and kept for error
texts. Then come *frames*, one line each (:mod:`.frames`). Log bytes follow their frame
as they are and end with a line of the nonce, which no log can know; so a log that
shrinks while it is read does no harm. A frame without its newline is no event.
``docs/reference/wire-format.md`` has the grammar.
"""

from __future__ import annotations

from ..errors import ProtocolError
from ..startup.records import TYPE_CHECKING
from .events import End, LogData, LogEnd
from .frames import MAX_LINE, read_count, read_event, read_log_name
from .program import GUARD
from .request import PROTOCOL_VERSION

if TYPE_CHECKING:
    from .events import Event

#: Ends a line that a tool which died on the host may have left unfinished.
_VOID = b"\x18"

#: So much before the fence is kept.
_PREAMBLE_BYTES = 2000

#: What stands in place of our program says so before the fence.
_OBSTACLES = ("tcsh", "zsh", "terminal")


class Reply:
    """Reads one reply, piece by piece.

    A frame about a job that cannot be read costs that job only: it is an
    :class:`Unread`. What says where frames and log bytes begin and end must be right,
    and so must a frame about the round itself.

    Args:
        nonce: That of the request.
        host: Its name, for error texts.

    Attributes:
        begun: The fence was seen: from there on the host itself answers.
        ended: The reply is whole.
        preamble: The first 2,000 bytes before the fence, for error texts.
        obstacle: The program that has ours in place of an sh that reads it from a pipe:
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
        self._log: tuple[str, int, int, str] | None = None  # id, offset, bytes, stream
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
        if self._error is not None:  # found after good events of the last piece
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
        if len(self.preamble) < _PREAMBLE_BYTES:
            self.preamble = (self.preamble + data)[:_PREAMBLE_BYTES]
        if at < 0:
            noise = bytes(self._buffer)
            for name in _OBSTACLES if b"sshjobs-not-" in noise else ():
                if f"sshjobs-not-{name}".encode("ascii") in noise:
                    self.obstacle = name
            # Keep as much as may be the beginning of a fence that a read has cut.
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

    def _read_frame(self, events: list[Event]) -> bool:
        end = self._buffer.find(b"\n")
        if end < 0 and len(self._buffer) <= MAX_LINE:
            return False  # the rest of the line is still to come
        if not self._skips:  # else this is more of a line that was too long already
            line = bytes(self._buffer[:end] if end >= 0 else self._buffer)
            self._take_line(line, events)
        self._skips = end < 0
        del self._buffer[: end + 1 if end >= 0 else len(self._buffer)]
        return True

    def _take_line(self, line: bytes, events: list[Event]) -> None:
        if line.endswith(_VOID):  # half a frame of awk that was killed, then sh went on
            return
        tag, _, rest = line.partition(b" ")
        if tag == b"log":
            name, offset = rest.split(b" ")
            job_id, stream = read_log_name(name)
            self._log = (job_id, read_count(offset), 0, stream)
        else:
            event = read_event(tag, rest)
            self.ended = isinstance(event, End)
            events.append(event)

    def _read_log(self, events: list[Event]) -> bool:
        """Pass log bytes on, all but those that may begin the closing line."""
        assert self._log is not None
        at = self._buffer.find(self._mark)
        close = self._buffer.find(b"\n", at + 1) if at >= 0 else -1
        size = None
        if close >= 0:
            size = read_count(bytes(self._buffer[at + len(self._mark) : close]))
        elif at >= 0 and len(self._buffer) - at > MAX_LINE:
            raise ValueError("a piece of log without an end")
        # The last bytes may be the first of the closing line, cut by the read.
        sure = at if at >= 0 else max(0, len(self._buffer) - len(self._mark) + 1)
        self._pass_on(sure, events)
        if size is None:
            return False
        job_id, offset, length, stream = self._log
        events.append(LogEnd(job_id, offset, length, size, stream))
        del self._buffer[: close + 1 - sure]
        self._log = None
        return True

    def _pass_on(self, count: int, events: list[Event]) -> None:
        assert self._log is not None
        if count == 0:
            return
        job_id, offset, length, stream = self._log
        with memoryview(self._buffer) as view:  # a slice would be one more copy
            data = bytes(view[:count])
        events.append(LogData(job_id, offset + length, data, stream))
        self._log = (job_id, offset, length + count, stream)
        del self._buffer[:count]
