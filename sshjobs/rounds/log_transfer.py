"""A long log, brought home in a session of its own that writes to the file itself.

Theory of operation: a round brings the first bytes of a log and tells how many there
are. What is left, if that is much, is not copied on its way: the session's stdout is
the very file in the store, into which the master of the connection then writes. So
nothing but bytes of the log may come, each at its place. The program on the host says
a fence, and waits. The fence, and what a noisy login shell has printed before it, goes
far behind the end of the log. Once the fence stands there, the offset of the open
file, which is one for both sides, is set to where the log goes on, and the program is
told so. From then on, what lies before the offset is the log's, whether the rest of
it comes or not. A process that is killed in between leaves nothing that counts.
"""

from __future__ import annotations

import os
import time

from .. import protocol
from ..locks import Bell, LeaderLock
from ..model import Job
from ..protocol import LogWant
from ..transports import StdoutFile, Transport
from .apply import ReplyApplier
from .bounds import Bounds
from .log_state import count_bytes_left
from .reply_sink import not_written, open_log
from .request import LONG
from .site import Site
from .wish import NO_WISH, RoundWish

#: So far behind the last byte that is asked for, the fence is waited for.
_APART = 1 << 20

#: No login shell says more than so many bytes.
_NOISE = 1 << 16

#: Seconds that a session may last on once all that was asked for has come, and for
#: which the file is looked at after one that was cut: the other side may be writing.
_LINGER = 2.0
_SETTLE = 0.05

#: Seconds between two looks whether others want something done; what has come counts.
_TURN = 1.0

#: After so many, those who only wait for news have their turn as well.
_LONG_TURN = 5.0


class _Enough(Exception):
    """The session is not worth waiting for."""


class _Whole(Exception):
    """All that was asked for has come."""


def _may_be_written(size: int) -> bool:
    """Tell whether files may be so long (ulimit -f): a master that tries is killed."""
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    return limit == resource.RLIM_INFINITY or size < limit


class LogTransfer:
    """The rest of one log; see above.

    Args:
        place: The host.
        lead: The lock of its rounds, held by us.
        job: Whose log it is.
        newest: The newest intent there is, as long as nobody wants more done.
        bell: The place where others wait for the host.
        wish: How many bytes of it to bring at most, and who is told of them.

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
    ) -> None:
        self._site = site
        self._lead = lead
        self._newest = newest
        self._bell = bell
        self._job_id = job.id
        self._on_log = wish.on_log
        self.next_portion = wish.portion_bytes
        most = wish.portion_bytes or count_bytes_left(job)
        most = min(most, count_bytes_left(job), site.room())
        self._want = LogWant(job.id, job.log_local_bytes, most)
        self._path = site.store.log_path(job.id)
        self._fence = b""
        self._file = -1
        self._goes = False
        self._come = self._counted = 0
        self._began_at = self._looked_at = 0.0
        self._called = False
        self._full_at = 0.0
        self._bounds = Bounds(site.identity.host, site.settings, 0)

    def run(self, transport: Transport) -> bool:
        """Bring it; return whether to try that again, should there be more.

        Raises:
            TransportError: as of any session; bytes that are here by then count.
            StoreError: the file cannot be written.
        """
        if not _may_be_written(self._behind() + _NOISE):
            return False
        base = self._site.settings.remote_base_dir
        nonce = os.urandom(8).hex()
        program, self._fence = protocol.build_fetch(base, self._want, nonce)
        self._began_at = self._looked_at = time.monotonic()
        try:
            self._file = open_log(self._path)
            os.lseek(self._file, self._behind(), os.SEEK_SET)
        except OSError as error:
            raise not_written(self._path, error) from error
        try:
            transport.run(
                "exec sh",
                stdin=program,
                timeout=self._site.settings.command_timeout,
                sink=self._beat,
                into=StdoutFile(self._file, self._look, self._end),
            )
        except _Enough:
            return self._called
        except _Whole:
            pass
        finally:
            self._count()
            self._close()
        self._feel(time.monotonic() - self._began_at)
        return self._come == self._want.limit

    def _feel(self, seconds: float) -> None:
        """Have the next portion take about a second."""
        if seconds < 0.5:
            self.next_portion *= 2
        elif self.next_portion and seconds > 2.0:
            self.next_portion = max(LONG, self.next_portion // 2)

    def _behind(self) -> int:
        return self._want.offset + self._want.limit + _APART

    def _beat(self, _: bytes) -> None:
        self._lead.show_beat()
        self._site.check_time()
        self._bounds.check_time()

    def _end(self) -> int:
        """Return the offset beyond which the host is to write nothing."""
        if self._goes:
            return self._want.offset + self._want.limit
        return self._behind() + _NOISE

    def _look(self, at: int) -> bytes:
        """See how far the file has come; return the words for the host."""
        if not self._goes:
            return self._find_fence(at - self._behind())
        if not self._site.room():
            raise _Enough
        last = self._come
        self._come = max(0, min(at - self._want.offset, self._want.limit))
        self._bounds.log(self._come - last)
        if at > self._end():
            raise self._bounds.broke("more of a log than it was asked for")
        if self._come == self._want.limit:
            self._linger()
        if self._on_log is not None:
            end = self._want.offset + self._come
            self._on_log(self._job_id, self._want.offset, end)
        now = time.monotonic()
        if now - self._looked_at >= _TURN:
            self._looked_at = now
            self._lead.show_beat()
            self._count()
            self._bell.ring_others()
            self._called = self._is_called(now)
            if self._called:
                raise _Enough
        return b""

    def _linger(self) -> None:
        """Let the session end by itself, if it does so soon: all is here."""
        now = time.monotonic()
        self._full_at = self._full_at or now
        if now - self._full_at > _LINGER:
            raise _Whole

    def _is_called(self, now: float) -> bool:
        if self._site.store.newest_intent(self._site.site_id) > self._newest:
            return True
        return now - self._began_at >= _LONG_TURN and not self._bell.is_alone()

    def _find_fence(self, length: int) -> bytes:
        if length > _NOISE:
            raise _Enough
        said = os.pread(self._file, length, self._behind()) if length > 0 else b""
        if not said.endswith(self._fence):
            return b""
        self._cut(self._want.offset)
        os.lseek(self._file, self._want.offset, os.SEEK_SET)
        self._goes = True
        self._bounds.live()
        return protocol.GO

    def _cut(self, size: int) -> None:
        """Cut off bytes that do not count, unless another leads and counts more."""
        with self._site.store.write():
            if not self._leads():
                raise _Enough
            try:
                os.ftruncate(self._file, size)
            except OSError as error:
                raise not_written(self._path, error) from error

    def _at(self) -> int:
        return os.lseek(self._file, 0, os.SEEK_CUR)

    def _settle(self) -> None:
        """Wait, briefly, until nobody writes to the file any more.

        The session was closed from here; a master still has it open for an instant.
        """
        end = time.monotonic() + _LINGER
        last = -1
        while last != self._at() and time.monotonic() < end:
            last = self._at()
            time.sleep(_SETTLE)

    def _close(self) -> None:
        try:
            over = self._at() > self._end()
            if over:
                self._settle()
            if over or not self._goes:
                self._cut(self._end() if self._goes else self._want.offset)
        except _Enough:  # who leads now sees to it, should it matter
            return
        finally:
            os.close(self._file)

    def _leads(self) -> bool:
        return self._site.generation() == self._lead.generation

    def _count(self) -> None:
        """Have the store count the bytes, unless another leads by now."""
        site, store = self._site, self._site.store
        offset, length = self._want.offset + self._counted, self._come - self._counted
        if not length:
            return
        self._counted = self._come
        with store.write():
            if not self._leads():
                return
            store.count(site.site_id, {"bytes_in": length})
            now, host = site.clock(), site.identity.host
            end = protocol.LogEnd(self._job_id, offset, length, offset + length)
            ReplyApplier(store, site.site_id, host, [], 0.0, now).apply([end])
