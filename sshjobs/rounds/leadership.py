"""Leading: the lock, the connection, and rounds one after another.

Theory of operation: the holder of the leader lock opens the transport first, then waits
briefly for processes on their way (a crowd's intents go into one request), then runs a
round; whatever of a log is too long for it has a session of its own after it. A failure
of the transport closes it, so that the next round opens it anew.
"""

from __future__ import annotations

import os
import time

from .. import errors, transports
from ..errors import SshJobsError, TransportError
from ..locks import Bell, LeaderLock
from ..model import name_streams
from ..startup.records import TYPE_CHECKING
from ..store import SiteRow
from .cooldown import cause_of, cooldown_end
from .log_state import LONG, count_bytes_left, is_end_known, view_log
from .round import Round
from .site import Site
from .wish import ASKING, CONNECTING, NO_WISH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .. import protocol


#: While others keep arriving, a leader waits for the next of them this long, and
#: for all of them together that long: fifty submits are one session then.
_LULL = 0.08
_GATHER = 1.0

#: Those that hand their wishes over within this time are one transaction.
_KNOCKS = 0.02

#: On a machine that has more than so many processes a processor to run, those who are
#: on their way need longer to come: both are so many times as long. Without this 300
#: submits at once were 17 to 31 sessions at a load of 20 on two cores, 9 at one of 3.
_BUSY = 4
_SLOWER = 4


class Leadership:
    """What one process has while it leads the rounds of a site.

    Args:
        site: The site.

    Attributes:
        lock: The leader lock of the site.
        bell: Wakes those who wait for the site.
        wish: What the rounds are to do besides serving intents.
        listed: What a listing found, None while none has come.
        portion: How many bytes of a long log its next session brings, 0 for all.
        is_contended: Others were seen to lead; they may be about to want something.
    """

    def __init__(self, site: Site) -> None:
        self.site = site
        self.bell = Bell(site.rundir, site.site_id)
        self.lock = LeaderLock(
            os.path.join(site.store.home, "locks"),
            site.site_id,
            site.generation,
            self._take_next_generation,
        )
        self.wish = NO_WISH
        self.listed: list[protocol.Event] | None = None
        self.portion = 0
        self.is_contended = False
        self._transport: transports.Transport | None = None

    def __repr__(self) -> str:
        return f"<Leadership {self.site!r}>"

    def close(self) -> None:
        """Let go of the lock, the bell and the transport."""
        self.lock.release()
        self.bell.__exit__()
        self.close_transport()

    def serve_round(self) -> None:
        """Run one round over the transport, opened anew if need be."""
        transport = self._open_transport()
        self.site.contact.begin(ASKING)
        try:
            # The connection comes first: what gathers during a handshake is served.
            if not self._transfer_urgent_log(transport):
                self._gather_intents()
                self._run_round(transport)
        # What is left of a session may stand in the pipe: the next round opens a
        # transport anew, over the same master if it lives.
        except (TransportError, errors.ProtocolError):
            self.close_transport()
            raise

    def _run_round(self, transport: transports.Transport) -> None:
        """Run a round, and bring what it tells is too long for it."""
        # One listing answers the wish: what rounds follow meanwhile need none.
        listing = self.wish.listing and self.listed is None
        wish = self.wish._replace(listing=listing)
        round_ = Round(self.site, self.lock, wish)
        try:
            round_.run(transport)
        finally:
            exchange = round_.exchange
            for site_id in exchange.let_go if exchange else ():
                Bell(self.site.rundir, site_id).ring_others()
        if exchange is None:
            return
        if listing:
            self.listed = exchange.listed
        if exchange.long:
            self.bell.ring_others()  # whoever was served need not wait for the logs
            self._transfer_logs(transport, exchange.long, exchange.newest)

    def _transfer_urgent_log(self, transport: transports.Transport) -> bool:
        """Bring home the long log of an ended job, of which a round knows no more."""
        urgent = self.wish.urgent_log
        job = self.site.store.jobs.find_job(urgent) if urgent else None
        if job is None or not is_end_known(job) or job.id in self.site.unfetched:
            return False
        left = max(count_bytes_left(view_log(job, s)) for s in name_streams(job))
        if min(left, self.site.measure_room()) < LONG:
            return False
        if not self.bell.is_alone():  # others want a round, which is short
            return False
        logs = [(job.id, stream) for stream in name_streams(job)]
        newest = self.site.store.intents.find_newest(self.site.site_id)
        self._transfer_logs(transport, logs, newest)
        return True

    def _transfer_logs(
        self, transport: transports.Transport, logs: list[tuple[str, str]], newest: int
    ) -> None:
        """Bring home the rest of long logs, until others want a round."""
        from .log_transfer import LogTransfer

        for job_id, stream in logs:
            job = self.site.store.jobs.find_job(job_id)
            if (
                job is None
                or job.site_id != self.site.site_id
                or job_id in self.site.unfetched
            ):
                continue
            left = count_bytes_left(view_log(job, stream))
            if min(left, self.site.measure_room()) < LONG:
                continue
            try:
                wish = self.wish._replace(portion_bytes=self.portion)
                transfer = LogTransfer(
                    self.site, self.lock, job, newest, self.bell, wish, stream
                )
                again = transfer.run(transport)
                self.portion = transfer.next_portion
            except errors.SessionRefused:  # all are taken; rounds bring it, if slower
                self.site.unfetched.add(job_id)
                return
            if not again:
                self.site.unfetched.add(job_id)
            if self.site.store.intents.find_newest(self.site.site_id) > newest:
                return

    def serve_cleanup(self) -> None:
        """Go on for jobs that want their directories gone; nobody waits for that."""
        # Bounded: a directory that cannot be removed is tried again by later rounds.
        for _ in range(self.site.settings.cleanup_retries):
            if not self.site.store.intents.has_unowned(self.site.site_id):
                return
            self.bell.ring_others()
            self.serve_round()

    def receive_wishes(self) -> None:
        """Write down the wishes of those that have this process do so."""
        if self.wish.receiver is not None:
            self.wish.receiver.receive_wishes()

    def wait_for_news(self, timeout: float, process: int) -> tuple[bool, bool]:
        """Wait as :meth:`.Bell.wait_for_news` does, or until others have wishes."""
        receiver = self.wish.receiver
        knock = -1 if receiver is None else receiver.descriptor
        rung, dead = self.bell.wait_for_news(timeout, process, knock)
        if knock >= 0 and not (rung or dead):
            time.sleep(_KNOCKS)
        return rung, dead

    def _gather_intents(self) -> None:
        """Wait, briefly, while other processes keep writing intents."""
        store, site_id = self.site.store, self.site.site_id
        self.receive_wishes()
        newest = store.intents.find_newest(site_id)
        # Alone on this machine: nobody is on the way, a pause would only cost time.
        if not newest or not (self.is_contended or store.intents.has_crowd(site_id)):
            return
        began = came_at = now = time.monotonic()
        scale = 1
        while now - began < _GATHER * scale and now - came_at < _LULL * scale:
            time.sleep(_LULL / 2)
            self._show_beat()
            self.receive_wishes()
            # Numbers of intents only grow, so that a larger one is a newer wish.
            last, newest = newest, store.intents.find_newest(site_id)
            now = time.monotonic()
            came_at = now if newest != last else came_at
            scale = _SLOWER if _is_busy() else 1

    def _open_transport(self) -> transports.Transport:
        if self._transport is None:
            self.site.contact.begin(CONNECTING)
            self._transport = transports.open_transport(
                self.site.identity, self.site.settings, self.build_hooks()
            )
            if self.site.retried:
                from .refusals import forget_refusal

                forget_refusal(self.site)
        return self._transport

    def close_transport(self) -> None:
        """Close the transport, if one is open; the next round opens another."""
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def build_hooks(self, *, interactive: bool = False) -> transports.CallerHooks:
        """Return what the transports may use of the floors above them."""
        return transports.CallerHooks(
            rundir=self.site.rundir,
            before_handshake=(
                self._forget_failures if interactive else self._check_cooldown
            ),
            count_event=self._count_event,
            on_wait=self._show_beat,
        )

    def _show_beat(self) -> None:
        self.lock.show_beat()
        self.site.check_time()

    def kill_unrecorded(self, ids: Sequence[str]) -> list[str]:
        """Tell the host to end jobs though the record takes nothing in (a full disk).

        Nobody else is asked for anything, and nothing of the answer is kept.

        Returns:
            The ids of those that were told.
        """
        from . import unrecorded

        hooks = self.build_hooks()._replace(count_event=lambda _name, _count: None)
        return unrecorded.kill_unrecorded(self.site, hooks, ids)

    def remove_lock_files(self) -> None:
        """Remove the files by which processes wait for each other, if none does."""
        from . import watch

        self.bell.remove_dead()
        self.lock.remove_file()
        watch.remove_lock_file(self.site.store.home, self.site.site_id)

    def _count_event(self, name: str, count: int = 1) -> None:
        # One write for all of a round: each costs a transaction, and a WAL frame.
        if name == "sessions" and self.lock.is_held:
            self.site.sessions += count  # with what the round comes to
        else:
            self.site.store.sites.count_events(self.site.site_id, {name: count})

    def _check_cooldown(self) -> None:
        """Raise why no handshake may be made now, if none may."""
        # Called under the gate: another process may have failed while we waited for it.
        row = self.site.row()
        known = self.find_refusal(row)
        if known is not None:
            raise known
        if self.site.clock() < cooldown_end(row, self.site.clock()):
            raise cause_of(row)
        if row.refused != "{}":
            from .refusals import begin_retry

            begin_retry(self.site)

    def find_refusal(self, row: SiteRow) -> SshJobsError | None:
        """Return the error of these very credentials, if they were refused."""
        if row.refused == "{}":
            return None
        from .refusals import known_refusal

        return known_refusal(self.site, row)

    def _forget_failures(self) -> None:
        """Forget refusals and cooldown: a person has come to see to it."""
        self.site.store.sites.update_site(
            self.site.site_id,
            refused="{}",
            cooldown_until=0.0,
            failures=0,
            bad_rounds=0,
        )

    def _take_next_generation(self, current: int) -> bool:
        """Make the next generation of the lock ours, unless another was quicker."""
        # Read and written under SQLite's write lock, so that of several followers one
        # succeeds.
        with self.site.store.begin_write():
            if self.site.generation() != current:
                return False
            self.site.store.sites.update_site(self.site.site_id, generation=current + 1)
        return True


def _is_busy() -> bool:
    """Tell whether this machine has far more to run than it has processors.

    Source: proc_loadavg(5), the fourth field; elsewhere nobody is waited for longer.
    """
    try:
        with open("/proc/loadavg", "rb") as file:
            runnable = int(file.read().split()[3].partition(b"/")[0])
    except (OSError, ValueError, IndexError):
        return False
    return runnable > _BUSY * (os.cpu_count() or 1)
