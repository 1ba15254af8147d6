"""The watch: one session that listens to a host's journal and wakes the waiters.

Theory of operation: while processes wait for jobs of a host, the first of them that
gets ``watch.<conn>`` keeps one more session open on the shared connection. The host
says there when a job has ended; the watch writes that instant into the store and
rings the bell; a waiter then runs a round, which alone says how the job is.
Nothing is learnt from the watch itself: with it refused, cut or silent, polling
goes on as without it. It makes no connection, it only rides on one. When its
process ends, the next one that waits takes over.
"""

from __future__ import annotations

import os
import threading
import time

from .. import errors, protocol, transports
from ..errors import SshJobsError
from ..locks import Bell, FileLock
from ..protocol.watch_reply import WatchReply
from ..settings import Settings
from ..startup.contexts import suppress
from ..store import SiteRow, Store

#: Between two tries of one process to become the watch.
_RETRY = 5.0


def remove_lock_file(home: str, site_id: str) -> None:
    """Leave no lock behind, unless somebody watches."""
    path = os.path.join(home, "locks", f"watch.{site_id}")
    with FileLock(path) as lock, suppress(SshJobsError):  # none, or none of ours
        if lock.try_to_hold(create=False):
            lock.remove_file()


#: A watch of a host that lies is given up: after so many bytes (a line an end, and the
#: noise of a login), or so many seconds (twice what its beats take). It wakes who waits
#: so often at once, and then so many times a second.
_BYTES = 4 << 20
_LIFE = 2 * 2.0 * protocol.WATCH_BEATS
_STIRS = 20.0
_STIRS_A_SECOND = 2.0

#: How long a host whose watch had no end is not watched.
_UNWATCHED = 600.0


class _Stop(Exception):
    """The process that watched has no more need of it."""


class _Limits:
    """How much a watch may say, how long it may last, and how often it wakes others.

    An end that is heard of while others came too quickly is told with the next one, or
    with the next sign of life; a waiter also asks without one.
    """

    def __init__(self, host: str) -> None:
        self._host = host
        self._bytes_left = _BYTES
        self._ends_at = self._filled_at = time.monotonic()
        self._ends_at += _LIFE
        self._stirs_left = _STIRS

    def take(self, count: int, beats: int) -> None:
        """Take note of bytes that came; raise once they are too many."""
        self._bytes_left -= count
        late = time.monotonic() > self._ends_at
        if self._bytes_left < 0 or late or beats > 2 * protocol.WATCH_BEATS:
            raise errors.ProtocolError(self._host, "the watch has no end")

    def may_stir(self) -> bool:
        """Tell whether others may be woken now."""
        now = time.monotonic()
        self._stirs_left += (now - self._filled_at) * _STIRS_A_SECOND
        self._stirs_left = min(self._stirs_left, _STIRS)
        self._filled_at = now
        if self._stirs_left < 1.0:
            return False
        self._stirs_left -= 1.0
        return True


class Watch:
    """One process's try to be the watch of a connection, in a thread of its own."""

    def __init__(
        self,
        home: str,
        site_id: str,
        identity: transports.Identity,
        settings: Settings,
        rundir: str,
    ) -> None:
        self._home = home
        self._site_id = site_id
        self._identity = identity
        self._settings = settings
        self._rundir = rundir
        self._thread: threading.Thread | None = None
        self._stop = threading.Event()
        self._tried_at = 0.0

    def __repr__(self) -> str:
        return f"<Watch {self._identity.host}>"

    def start(self, row: SiteRow, now: float) -> None:
        """Become the watch unless there is one, or this host is not to be watched."""
        # An instant far ahead is of a clock that was set back since.
        unwanted = now < row.unwatched_until < now + 3600.0
        if self._thread is not None and self._thread.is_alive():
            if unwanted:
                self._stop.set()
            return
        if unwanted or row.is_watched(now):
            return
        if not row.round_ended_at or time.monotonic() - self._tried_at < _RETRY:
            return
        self._tried_at = time.monotonic()
        self._stop.clear()
        # A daemon thread: a process that ends does not wait for it, and the kernel
        # drops its lock.
        self._thread = threading.Thread(target=self._hold_watch, daemon=True)
        self._thread.start()

    def stop(self, store: Store) -> None:
        """Let go of it, and tell the others so that one of them takes over.

        The session ends within a second, or at once with this process; so does what
        runs on the host.
        """
        self._stop.set()
        if self._thread is not None and self._thread.is_alive():
            store.sites.update_site(self._site_id, watched_at=0.0)
            Bell(self._rundir, self._site_id).ring_others()

    def _hold_watch(self) -> None:
        path = os.path.join(self._home, "locks", f"watch.{self._site_id}")
        # A watch is a hint: refused, cut, or not wanted any more, polling goes on.
        with FileLock(path) as lock, suppress(OSError, SshJobsError, _Stop):
            # One watch a site on this machine: its session counts towards MaxSessions
            # (sshd_config(5): 10), and stays open.
            if lock.try_to_hold():
                self._watch_host()

    def _watch_host(self) -> None:
        # A connection of SQLite is not shared by threads: transactions of both would
        # mix.
        store = Store(self._home)
        try:
            hooks = transports.CallerHooks(
                self._rundir, self._refuse_handshake, on_wait=self._check_stop
            )
            transport = transports.open_transport(self._identity, self._settings, hooks)
            try:
                self._listen_to_host(store, transport)
            except errors.ProtocolError:
                until = time.time() + _UNWATCHED
                store.sites.update_site(self._site_id, unwatched_until=until)
                raise
            finally:
                transport.close()
        finally:
            store.sites.update_site(self._site_id, watched_at=0.0)
            store.close()

    def _refuse_handshake(self) -> None:
        """Refuse every handshake: the watch only rides along."""
        raise errors.HostUnreachable(self._identity.host, "the connection has ended")

    def _check_stop(self) -> None:
        if self._stop.is_set():
            raise _Stop

    def _listen_to_host(self, store: Store, transport: transports.Transport) -> None:
        nonce = os.urandom(8).hex()
        reply = WatchReply(nonce)
        bell = Bell(self._rundir, self._site_id)
        heard = [0, 0, 0]  # beats, stirs, sessions

        limits = _Limits(self._identity.host)

        def sink(data: bytes) -> None:
            self._check_stop()
            limits.take(len(data), reply.beats)
            if data and not heard[2]:  # counted now: this thread may not see the end
                heard[2] = 1
                store.sites.count_events(self._site_id, {"sessions": 1})
            reply.feed(data)
            if reply.beats > heard[0]:
                heard[0] = reply.beats
                store.sites.update_site(self._site_id, watched_at=time.time())
            if reply.stirs > heard[1] and limits.may_stir():
                heard[1] = reply.stirs
                self._wake_waiters(store, bell)

        row = store.sites.ensure_site(self._site_id, self._identity.host)
        journal = (row.journal_gen or "-", row.journal_at)
        base = self._settings.remote_base_dir
        program = protocol.build_watch(base, journal, nonce)
        transport.run(
            "exec sh", stdin=program, timeout=20.0, sink=sink, keep_stdin_open=True
        )

    def _wake_waiters(self, store: Store, bell: Bell) -> None:
        """Write down that something has ended, and wake whom it makes hurry.

        While many jobs run, only the first end after a round does: who waits plans
        the next round then, and each further ring would wake them all for nothing.
        """
        row = store.sites.ensure_site(self._site_id, self._identity.host)
        store.sites.update_site(self._site_id, end_seen_at=time.time())
        if row.end_seen_at < row.round_started_at or store.jobs.has_few_active(
            self._site_id
        ):
            bell.ring_others()
