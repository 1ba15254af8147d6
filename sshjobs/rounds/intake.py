"""Where the bytes of a reply go: logs into files, at once, all else to the round."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable

from .. import errors, protocol

#: What splice(2) says where it cannot serve: not of this pipe, or not to this file.
_NO_SPLICE = frozenset((errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EBADF))

#: Not more at a time, so that beats are not late.
_PIECE = 1 << 20

#: A pipe that holds so many bytes is left alone for a moment while less is in it: the
#: bytes of a long piece come 32 kB at a time, and each look costs as much as those.
_FULL = 1 << 18
_MOMENT = 0.0007

#: Takes a job's id, where a piece of its log begins, an offset and bytes from there on.
#: All that lies between the two is in the file by then.
Hear = Callable[[str, int, int, memoryview], None]


class Intake:
    """The sink of one session.

    Long pieces of a log go from the pipe to the file inside the kernel, where it can
    do that (Linux); to read and to write them costs twice as much. For who wants them
    at once they are read all the same, since he would have to read the file.

    Args:
        reply: What reads the reply.
        log_path: Tells where a job's log belongs.
        take: Called with each event but log bytes.
        beat: Called whenever something came, and about once a second.
        hear: Called with log bytes that are in their file, before their piece is whole;
            None if nobody wants that.

    Attributes:
        bytes_in: How many bytes have come.
    """

    def __init__(
        self,
        reply: protocol.Reply,
        log_path: Callable[[str], str],
        take: Callable[[protocol.Event], None],
        beat: Callable[[], None],
        hear: Hear | None = None,
    ) -> None:
        self._reply = reply
        self._log_path = log_path
        self._take = take
        self._beat = beat
        self._hand = None if hear is None else _Hand(reply, hear)
        self._file = -1
        self._job_id = ""
        self._splices = hasattr(os, "splice")
        self._room = -1
        self.bytes_in = 0

    def __call__(self, data: bytes, /) -> None:
        """Take a piece of the reply, or ``b""`` while none comes."""
        self._beat()
        if not data:
            return
        self.bytes_in += len(data)
        for event in self._reply.feed(data):
            if isinstance(event, protocol.LogData):
                self._write(event.job_id, event.offset, event.data)
            else:
                self._take(event)
        if self._hand is not None:
            self._hand.forget()

    def draw(self, pipe: int) -> int:
        """Move log bytes from a pipe to their file; see :class:`~.base.Drain`."""
        span = self._reply.direct()
        if span is None:
            return 0
        self._beat()
        try:
            done = self._move(pipe, *span)
        except BlockingIOError:
            return 0
        if 0 < done < min(span[2], _FULL):
            self._let_it_fill(pipe)
        return done

    def _move(self, pipe: int, job_id: str, offset: int, count: int) -> int:
        """Move some of what was announced; return how many bytes."""
        if self._hand is not None:
            data = self._hand.read(pipe, count)
            self._write(job_id, offset, data)
            done = len(data)
        else:
            done = self._splice(pipe, job_id, offset, count) if self._splices else 0
        self._reply.moved(done)
        self.bytes_in += done
        if self._hand is not None:
            self._hand.tell(job_id, offset, done)
        return done

    def _splice(self, pipe: int, job_id: str, offset: int, count: int) -> int:
        file = self._open(job_id)
        try:
            return os.splice(
                pipe,
                file,
                min(count, _PIECE),
                offset_dst=offset,
                flags=os.SPLICE_F_NONBLOCK,
            )
        except BlockingIOError:
            raise
        except OSError as error:
            if error.errno not in _NO_SPLICE:
                raise self._error(error) from error
            self._splices = False
            return 0

    def _let_it_fill(self, pipe: int) -> None:
        if self._room < 0:
            get_size = getattr(fcntl, "F_GETPIPE_SZ", None)
            self._room = fcntl.fcntl(pipe, get_size) if get_size else 0
        if self._room >= 2 * _FULL:
            time.sleep(_MOMENT)

    def close(self) -> None:
        """Close the file that is open."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._job_id = -1, ""

    def _open(self, job_id: str) -> int:
        """Return the file of a job's log."""
        if self._job_id != job_id:
            self.close()
            self._job_id = job_id
            try:
                path = self._log_path(job_id)
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            except OSError as error:
                raise self._error(error) from error
        return self._file

    def _write(self, job_id: str, offset: int, data: bytes | memoryview) -> None:
        """Put log bytes where they belong; the same bytes twice do no harm."""
        file, rest = self._open(job_id), memoryview(data)
        while rest:
            try:
                done = os.pwrite(file, rest, offset)
            except OSError as error:
                raise self._error(error) from error
            rest, offset = rest[done:], offset + done

    def _error(self, error: OSError) -> errors.StoreError:
        return errors.StoreError(f"{self._log_path(self._job_id)}: {error.strerror}")


class _Hand:
    """Reads long pieces of a log, and hands on at once what is sure to be the log's.

    Where a log has shrunk meanwhile, the rest of its piece is filled up. So the last
    bytes that came are held back until the next have come, or the piece is whole; and
    once there is filling at their end, nothing more is handed on.

    Args:
        reply: What reads the reply.
        hear: See :data:`Hear`.
    """

    #: More than twice the period of the filling.
    _BACK = 64

    def __init__(self, reply: protocol.Reply, hear: Hear) -> None:
        self._reply = reply
        self._hear = hear
        self._view = memoryview(bytearray(self._BACK + _FULL))
        self._held = 0

    def read(self, pipe: int, most: int) -> memoryview:
        """Return what is in a pipe; valid until the next call.

        Raises:
            BlockingIOError: nothing.
        """
        room = self._view[self._BACK : self._BACK + min(most, _FULL)]
        return room[: os.readv(pipe, [room])]

    def tell(self, job_id: str, offset: int, count: int) -> None:
        """Hand on what is sure by now, the last ``count`` bytes read being in place."""
        end = self._BACK + count
        start = self._BACK - self._held
        tail = bytes(self._view[max(start, end - self._BACK) : end])
        if self._reply.is_filled(tail):
            self.forget()
            return
        if end - start > len(tail):
            sure = self._view[start : end - len(tail)]
            begin = self._reply.piece_at()
            self._hear(job_id, begin, offset - self._held, sure)
        self._view[self._BACK - len(tail) : self._BACK] = tail
        self._held = len(tail)

    def forget(self) -> None:
        """Begin anew: what was held back has been told otherwise, or never will be."""
        self._held = 0
