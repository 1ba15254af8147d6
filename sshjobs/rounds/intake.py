"""Where the bytes of a reply go: logs into files, at once, all else to the round."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from .. import errors, protocol

#: What splice(2) says where it cannot serve: not of this pipe, or not to this file.
_NO_SPLICE = frozenset((errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EBADF))

#: Not more at a time, so that beats are not late.
_PIECE = 1 << 20

#: After so many bytes the kernel is asked to write them to the disk. They leave its
#: memory then as soon as nobody needs them (``verbs.reading``): new memory is dear on
#: a virtual machine, and in a container the pages of a file are charged to it.
_WRITTEN = 4 << 20


class Intake:
    """The sink of one session.

    Long pieces of a log go from the pipe to the file inside the kernel, where it can
    do that (Linux); to read and to write them costs more than twice as much.

    Args:
        reply: What reads the reply.
        log_path: Tells where a job's log belongs.
        take: Called with each event but log bytes.
        beat: Called whenever something came, and about once a second.

    Attributes:
        bytes_in: How many bytes have come.
    """

    def __init__(
        self,
        reply: protocol.Reply,
        log_path: Callable[[str], str],
        take: Callable[[protocol.Event], None],
        beat: Callable[[], None],
    ) -> None:
        self._reply = reply
        self._log_path = log_path
        self._take = take
        self._beat = beat
        self._file = -1
        self._job_id = ""
        self._splices = hasattr(os, "splice")
        self._kept = 0
        self.bytes_in = 0

    def __call__(self, data: bytes, /) -> None:
        """Take a piece of the reply, or ``b""`` while none comes."""
        self._beat()
        if not data:
            return
        self.bytes_in += len(data)
        for event in self._reply.feed(data):
            if isinstance(event, protocol.LogData):
                self._write(event)
            else:
                self._take(event)

    def draw(self, pipe: int) -> int:
        """Move log bytes from a pipe to their file; see :class:`~.base.Drain`."""
        span = self._reply.direct()
        if span is None or not self._splices:
            return 0
        self._beat()
        job_id, offset, count = span
        file = self._open(job_id)
        try:
            done = os.splice(
                pipe,
                file,
                min(count, _PIECE),
                offset_dst=offset,
                flags=os.SPLICE_F_NONBLOCK,
            )
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno not in _NO_SPLICE:
                raise self._error(error) from error
            self._splices = False
            return 0
        self._reply.moved(done)
        self.bytes_in += done
        self._kept += done
        if self._kept >= _WRITTEN:
            start = offset + done - self._kept
            os.posix_fadvise(file, start, self._kept, os.POSIX_FADV_DONTNEED)
            self._kept = 0
        return done

    def close(self) -> None:
        """Close the file that is open."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._job_id = -1, ""

    def _open(self, job_id: str) -> int:
        """Return the file of a job's log."""
        if self._job_id != job_id:
            self.close()
            self._job_id, self._kept = job_id, 0
            try:
                path = self._log_path(job_id)
                self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
            except OSError as error:
                raise self._error(error) from error
        return self._file

    def _write(self, event: protocol.LogData) -> None:
        """Put log bytes where they belong; the same bytes twice do no harm."""
        file = self._open(event.job_id)
        data, offset = memoryview(event.data), event.offset
        while data:
            try:
                done = os.pwrite(file, data, offset)
            except OSError as error:
                raise self._error(error) from error
            data, offset = data[done:], offset + done

    def _error(self, error: OSError) -> errors.StoreError:
        return errors.StoreError(f"{self._log_path(self._job_id)}: {error.strerror}")
