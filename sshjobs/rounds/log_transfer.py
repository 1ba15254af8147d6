"""A long log, brought home in a session of its own that is nothing but its bytes.

Theory of operation: a round brings the first bytes of a log and tells how many there
are. What is left, if that is much, passes by the reader of replies: the bytes go from
the session's pipe to the file inside the kernel (splice(2)). A noisy login shell may
print something first, so the program on the host says a fence, and waits; once the
fence was seen, the program is told to go on. From then on each byte is the log's, at
the offset of the file, and not one beyond those that were asked for reaches it: the
pipe is full until we read, whatever the host sends. A process that is killed in between
leaves nothing that counts, and the other side finds nobody at the pipe.
"""

from __future__ import annotations

import errno
import os
import time

from .. import protocol
from ..locks import Bell, LeaderLock
from ..model import Job
from ..protocol import LogWant
from ..transports import StdoutTaker, Transport
from .apply import ReplyApplier
from .bounds import Bounds
from .log_state import LONG, count_bytes_left, view_log
from .reply_sink import is_disk_full, not_written, open_log
from .site import Site
from .wish import NO_WISH, RoundWish

#: No login shell says more than so many bytes.
_NOISE = 1 << 16

#: Moved, or copied, at a time.
_MOST = 1 << 20
_PIECE = 1 << 18

#: Errors of splice(2) where it cannot serve: this file system, or this system.
_NO_SPLICE = frozenset((errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP))

#: Seconds that a session may last on once all that was asked for has come.
_LINGER = 2.0

#: Seconds between two looks whether others want something done; what has come counts.
_TURN = 1.0

#: After so many, those who only wait for news have their turn as well.
_LONG_TURN = 5.0


class _Enough(Exception):
    """The session is not worth waiting for."""


class _Whole(Exception):
    """All that was asked for has come."""


def _move_bytes(pipe: int, file: int, count: int) -> int:
    """Move bytes from a pipe to the place in a file where that stands.

    Returns:
        How many there were, up to ``count``; 0 at the end of the pipe.

    Raises:
        BlockingIOError: there are none yet.
    """
    if hasattr(os, "splice"):  # Linux
        try:
            return os.splice(pipe, file, count)
        except OSError as error:
            if error.errno not in _NO_SPLICE:
                raise
    data = os.read(pipe, min(_PIECE, count))
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]
    return len(data)


class LogTransfer:
    """The rest of one log; see above.

    Args:
        place: The host.
        lead: The lock of its rounds, held by us.
        job: Whose log it is.
        newest: The newest intent there is, as long as nobody wants more done.
        bell: The place where others wait for the host.
        wish: How many bytes of it to bring at most, and who is told of them.
        stream: Which of the two logs that a job may have.

    Attributes:
        next_portion: How many bytes the next session is to bring, so that it takes
            about a second; 0 for all that there are.
    """

    def __init__(
        self,
        site: Site,
        lead: LeaderLock,
        job: Job,
        newest: int,
        bell: Bell,
        wish: RoundWish = NO_WISH,
        stream: str = "",
    ) -> None:
        self._site = site
        self._lead = lead
        self._newest = newest
        self._bell = bell
        self._job_id = job.id
        self._on_log = None if stream else wish.on_log
        self.next_portion = wish.portion_bytes
        log = view_log(job, stream)
        most = wish.portion_bytes or count_bytes_left(log)
        most = min(most, count_bytes_left(log), site.measure_room())
        self._want = LogWant(job.id, log.log_local_bytes, most, stream)
        self._path = site.store.files.locate_log(job.id, stream)
        self._fence = self._said = b""
        self._file = -1
        self._goes = False
        self._come = self._counted = 0
        self._began_at = self._looked_at = 0.0
        self._called = False
        self._full_at = 0.0
        self._silence = site.bound_silence()
        self._bounds = Bounds(site.identity.host, site.settings, 0, self._silence)

    def run(self, transport: Transport) -> bool:
        """Bring it; return whether to try that again, should there be more.

        Raises:
            TransportError: as of any session; bytes that are here by then count.
            StoreError: the file cannot be written.
        """
        base = self._site.settings.remote_base_dir
        # Fresh in each session: nothing that a job has written into its log can be
        # taken for the fence.
        nonce = os.urandom(8).hex()
        program, self._fence = protocol.build_fetch(base, self._want, nonce)
        self._began_at = self._looked_at = time.monotonic()
        try:
            self._file = open_log(self._path)
            os.lseek(self._file, self._want.offset, os.SEEK_SET)
        except OSError as error:
            raise not_written(self._path, error) from error
        try:
            transport.run(
                "exec sh",
                stdin=program,
                timeout=self._silence,
                sink=self._show_beat,
                # GO has the host go on, once it has said the fence.
                into=StdoutTaker(
                    self._take_bytes, lambda: protocol.GO if self._goes else b""
                ),
            )
        except _Enough:
            return self._called
        except _Whole:
            pass
        finally:
            # However the session ended: bytes in the file count, and are not brought
            # again.
            self._count_bytes()
            os.close(self._file)
        # The next portion is to take about a second.
        seconds = time.monotonic() - self._began_at
        if seconds < 0.5:
            self.next_portion *= 2
        elif self.next_portion and seconds > 2.0:
            self.next_portion = max(LONG, self.next_portion // 2)
        return self._come == self._want.limit

    def _show_beat(self, _: bytes) -> None:
        self._lead.show_beat()
        self._site.check_time()
        self._bounds.check_time()
        if self._full_at and time.monotonic() - self._full_at > _LINGER:
            raise _Whole

    def _take_bytes(self, pipe: int) -> int:
        """Take the next bytes of the session; return how many these were."""
        if not self._goes:
            return self._take_noise(pipe)
        left = self._want.limit - self._come
        if not left:
            if os.read(pipe, 1):
                raise self._bounds.make_error("more of a log than it was asked for")
            return 0
        try:
            count = _move_bytes(pipe, self._file, min(_MOST, left))
        except BlockingIOError:
            raise
        except OSError as error:
            failed = not_written(self._path, error)
            if not is_disk_full(error):
                raise failed from error
            self._site.unwritten[self._job_id] = failed
            raise _Enough from error
        self._come += count
        self._bounds.count_log_bytes(count)
        self._tell_of_bytes()
        return count

    def _take_noise(self, pipe: int) -> int:
        piece = os.read(pipe, _NOISE)
        self._said += piece
        if len(self._said) > _NOISE + len(self._fence):
            raise _Enough
        if self._said.endswith(self._fence):
            # The last look before bytes go into the file: a leader that was stopped at
            # the fence would write beside the next one.
            if not self._is_leading():
                raise _Enough
            self._goes = True
            self._bounds.note_life()
        return len(piece)

    def _tell_of_bytes(self) -> None:
        """Tell of what has come, and see whether that is enough for now."""
        if not self._site.measure_room():
            raise _Enough
        self._site.contact.hear()
        if self._come == self._want.limit:
            self._full_at = time.monotonic()
        if self._on_log is not None:
            end = self._want.offset + self._come
            self._on_log(self._job_id, self._want.offset, end)
        now = time.monotonic()
        if now - self._looked_at >= _TURN:
            self._looked_at = now
            self._lead.show_beat()
            self._count_bytes()
            self._bell.ring_others()
            is_newer = (
                self._site.store.intents.find_newest(self._site.site_id) > self._newest
            )
            is_long = now - self._began_at >= _LONG_TURN
            self._called = is_newer or (is_long and not self._bell.is_alone())
            if self._called:
                raise _Enough

    def _is_leading(self) -> bool:
        return self._site.generation() == self._lead.generation

    def _count_bytes(self) -> None:
        """Have the store count the bytes, unless another leads by now."""
        site, store = self._site, self._site.store
        offset, length = self._want.offset + self._counted, self._come - self._counted
        if not length:
            return
        self._counted = self._come
        # Looked at within the transaction that counts: generations change in one, too.
        with store.begin_write():
            if not self._is_leading():
                return
            store.sites.count_events(site.site_id, {"bytes_in": length})
            now, host = site.clock(), site.identity.host
            log = self._job_id, offset, length, offset + length, self._want.stream
            end = protocol.LogEnd(*log)
            ReplyApplier(store, site.site_id, host, [], 0.0, now).apply([end])
