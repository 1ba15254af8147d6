"""Where the bytes of a reply go: logs into files, at once, all else to the round."""

from __future__ import annotations

import errno
import os

from .. import errors, protocol
from ..owned import open_owned
from ..startup.records import TYPE_CHECKING
from .bounds import ReplyBounds

if TYPE_CHECKING:
    from collections.abc import Callable


class ReplySink:
    """The sink of one session.

    Args:
        reply: The reader of the reply.
        check: Returns each event as it counts, see :class:`.asked.Asked`.
        log_path: Tells where a job's log belongs.
        take: Called with each event but log bytes.
        beat: Called whenever something came, and about once a second.
        bounds: How much may come, and until when.

    Attributes:
        bytes_in: How many bytes have come.
        unwritten: Of which jobs the disk took no more log, and what it said.
    """

    def __init__(
        self,
        reply: protocol.Reply,
        check: Callable[[protocol.Event], protocol.Event],
        log_path: Callable[[str, str], str],
        take: Callable[[protocol.Event], None],
        beat: Callable[[], None],
        bounds: ReplyBounds | None = None,
    ) -> None:
        self._reply = reply
        self._check = check
        self._log_path = log_path
        self._take = take
        self._beat = beat
        self._bounds = bounds
        self._file = -1
        self._log = ("", "")  # the job and the stream of that file
        self.bytes_in = 0
        self.unwritten: dict[str, errors.StoreError] = {}

    def __call__(self, data: bytes, /) -> None:
        """Take a piece of the reply, or ``b""`` while none comes."""
        self._beat()
        bounds = self._bounds
        if bounds is not None and self._reply.ended:
            bounds.count_after_end(len(data))
        if not data:
            return
        self.bytes_in += len(data)
        if bounds is not None and not self._reply.begun:
            bounds.count_noise(len(data))
        logged = 0
        # The host is not trusted: each event passes the questions of the request and
        # the bounds before anything is written.
        for said in self._reply.feed(data):
            event = self._check(said)
            if isinstance(event, protocol.LogData):
                logged += len(event.data)
            if bounds is not None:
                bounds.count_event(event)
            self._pass_on(event)
        if bounds is not None:
            bounds.count_other_bytes(len(data) - logged)

    def _pass_on(self, event: protocol.Event) -> None:
        if isinstance(event, (protocol.LogData, protocol.LogEnd)):
            if event.job_id in self.unwritten:
                return  # nothing of that piece counts; all else that is said does
        if isinstance(event, protocol.LogData):
            self._write_log(event)
        else:
            self._take(event)

    def close(self) -> None:
        """Close the file that is open."""
        if self._file >= 0:
            os.close(self._file)
        self._file, self._log = -1, ("", "")

    def _write_log(self, event: protocol.LogData) -> None:
        """Put log bytes where they belong; the same bytes twice do no harm."""
        log = event.job_id, event.stream
        if self._log != log:
            self.close()
            self._log = log
        rest, offset = memoryview(event.data), event.offset
        try:
            if self._file < 0:
                self._file = open_log(self._log_path(*log))
            while rest:
                # At its offset, not appended: a round that was run again brings the
                # same bytes to the same place, and a signal may cut a write short
                # (write(2)).
                done = os.pwrite(self._file, rest, offset)
                rest, offset = rest[done:], offset + done
        except OSError as error:
            failed = not_written(self._log_path(*log), error)
            if not is_disk_full(error):
                raise failed from error
            # A full disk ends no round: states and ends count, which need no room here,
            # and the bytes stay on the host until there is some.
            self.unwritten[event.job_id] = failed


def open_log(path: str) -> int:
    """Open the file of a job's log, which may be a new one, to read and to write."""
    return open_owned(path, os.O_RDWR | os.O_CREAT)


def is_disk_full(error: OSError) -> bool:
    """Tell whether no log can come for now, while the rest of a round counts."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def not_written(path: str, error: OSError) -> errors.StoreError:
    """Return the error of a log that cannot be put into its file."""
    return errors.StoreError(f"{path}: {error.strerror}")
