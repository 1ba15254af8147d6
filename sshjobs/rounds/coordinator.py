"""Pursuing a need: look, lead a round or wait for who leads, look again."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from .. import errors, protocol, transports
from ..errors import SshJobsError, TransportError
from ..locks import Bell, LeaderLock
from ..settings import Settings
from ..startup.records import TYPE_CHECKING
from ..store import SiteRow, Store
from .cooldown import cause_of, cooldown_end
from .log_state import count_bytes_left, is_end_known
from .request import LONG
from .retry import RetryBudget
from .round import Round
from .site import Need, Site, TimeUp
from .wish import NO_WISH, RoundResult, RoundWish

if TYPE_CHECKING:
    from .watch import Watch

#: While others keep arriving, a leader waits for the next of them this long, and
#: for all of them together that long: fifty submits are one session then.
_LULL = 0.08
_GATHER = 1.0

#: On a machine that has more than so many processes a processor to run, those who are
#: on their way need longer to come: both are so many times as long. Without this 300
#: submits at once were 17 to 31 sessions at a load of 20 on two cores, 9 at one of 3.
_BUSY = 4
_SLOWER = 4

#: Who did not lead the last of the usual rounds leaves the next one to who did, for up
#: to this part of a poll_interval: two hundred who wait would all try at one instant.
_TURN = 0.5

#: A look at the store without a bell, should the leader have died.
_SAFETY = 0.5

#: Who waits looks this often whether the watch is still there.
_LOOK = 3.0

#: Where a connection ends with its leader, it goes on for others for so long, through
#: pauses no longer than that, and looks this often for what they want.
_STAY = 30.0
_HOLD = 2.0
_GLANCE = 0.05


class Coordinator(Site):
    """One host, as one thread of one process deals with it; see :class:`Site`."""

    def __init__(
        self,
        store: Store,
        identity: transports.Identity,
        settings: Settings,
        rundir: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(store, identity, settings, rundir, clock)
        self._wish = NO_WISH
        self._listed: list[protocol.Event] | None = None
        self._portion = 0  # bytes of a long log for its next session, 0 for all
        self._bell = Bell(rundir, self.site_id)
        self._lead = LeaderLock(
            os.path.join(store.home, "locks"),
            self.site_id,
            self.generation,
            self._next_generation,
        )
        self._transport: transports.Transport | None = None
        self._contended = False
        self._turn = settings.poll_interval * _TURN * (1 + os.urandom(1)[0]) / 256
        self._stays = transports.ends_with_leader(identity, settings)
        self._watch: Watch | None = None
        row = store.know_host(self.site_id, identity.host)
        known = {"identity": identity.to_bytes(), "base": settings.remote_base_dir}
        if (row.identity, row.base) != tuple(known.values()):
            store.set_host(self.site_id, **known)

    def __enter__(self) -> Coordinator:
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.stop(self.store)
        self._lead.release()
        self._bell.__exit__()
        self._hang_up()

    # -- pursuing ----------------------------------------------------------------

    def wait_for(
        self, need: Need, *, until: float | None = None, wish: RoundWish = NO_WISH
    ) -> RoundResult:
        """Lead or wait until a need is met.

        Args:
            need: Returns None once met, else the instant from which on a round is
                wanted for it.
            until: Give up at this instant of the monotonic clock, without an error.
            wish: What the rounds that this process leads meanwhile are to do besides;
                a listing is waited for as the need is.

        Raises:
            HostUnreachable: the budget of handshakes or of waiting is spent.
            AuthenticationError: only a person can mend that.
            OutcomeUnknown: the budget of broken rounds is spent.
            HostError: the host cannot do what was asked.
        """
        patience = RetryBudget(self)
        self.until = until
        self._contended = False
        self._wish, self._listed, self._portion = wish, None, wish.portion_bytes
        try:
            met = self._lead_or_wait(patience, need, until)
        finally:
            self._wish = NO_WISH
        return RoundResult(met, self._listed)

    def _lead_or_wait(
        self, patience: RetryBudget, need: Need, until: float | None
    ) -> bool:
        """Return whether the need was met, as :meth:`wait_for` does."""
        while True:
            due = self._find_due(need)
            if due is None:
                return True
            left = float("inf") if until is None else until - time.monotonic()
            if left <= 0.0:
                return False
            now = self.clock()
            due = max(due, patience.next_try(now))
            if now >= due and self._lead_once(patience, need, until):
                continue
            if self.waits:
                self._listen()
            limit = min(_SAFETY if now >= due else due - now, _LOOK, left)
            if self._bell.wait_for_ring(limit):
                self.turn = self._turn

    def _find_due(self, need: Need) -> float | None:
        """Return from when on this process wants a round, None once it has all."""
        if self._wish.on_look is not None:
            self._wish.on_look()
        if self._wish.listing and self._listed is None:
            return 0.0
        return need()

    def _listen(self) -> None:
        """See to it that one process of this machine hears at once of ends."""
        if self._watch is None and self.settings.watch == "auto" and not self._stays:
            from .watch import Watch

            self._watch = Watch(
                self.store.home, self.site_id, self.identity, self.settings, self.rundir
            )
        if self._watch is not None:
            self._watch.start(self.row(), self.clock())

    def _lead_once(
        self,
        patience: RetryBudget,
        need: Need,
        until: float | None,
    ) -> bool:
        """Run one round if nobody else leads; tell whether to look again at once.

        It is more than one where the connection ends with us: see :meth:`_go_on`.
        """
        self._bell.be_reachable()
        if not self._lead.try_to_lead():
            self._contended = True
            return False
        try:
            self._serve_round()
            self._tidy()
            self.turn = 0.0
            patience.succeeded()
            if self._stays:
                self._go_on(need, until)
        except (SshJobsError, TimeUp) as error:
            self._take_failure(patience, error)
        finally:
            if self._stays:
                self._hang_up()
            self._lead.release()
            self._bell.ring_others()
            self.store.count(self.site_id, {"sessions": self.take_sessions()})
        return True

    def _take_failure(
        self, patience: RetryBudget, error: SshJobsError | TimeUp
    ) -> None:
        """Take note of how a round failed, and raise what no further one mends."""
        if isinstance(error, TransportError):
            patience.failed(error)
        elif isinstance(error, errors.ProtocolError):
            patience.broke(error)
        elif isinstance(error, TimeUp):
            self._hang_up()
        elif not isinstance(error, errors.StoreError) or not self.store.make_room():
            raise error  # else the disk has become full, and there was room kept

    def _go_on(self, need: Need, until: float | None) -> None:
        """Keep leading while a round is wanted: the next leader must log in anew.

        For this process's own need that is as long as it takes, or ``until``; for what
        others want done, not more than :data:`_STAY`. Who wants a log can lead.
        """
        self._bell.ring_others()
        end = time.monotonic() + _STAY
        while self.generation() == self._lead.generation:
            mine, theirs = self._find_due(need), self._asked()
            if mine is not None:
                end = time.monotonic() + _STAY
            now = self.clock()
            due = min(_or_never(mine), _or_never(theirs))
            late = until is not None and time.monotonic() >= until
            if late or due > now + _HOLD or time.monotonic() > end:
                return
            if due > now:
                time.sleep(min(_GLANCE, due - now))
                self._lead.show_beat()
            else:
                self._serve_round()
                self._tidy()
                self._bell.ring_others()

    def _asked(self) -> float | None:
        """Return from when on a round is wanted for what is open, if anything is."""
        waiting, unsent = self.store.waiting(self.site_id)
        if not waiting:
            return None
        return 0.0 if unsent else self.next_look()

    def _serve_round(self) -> None:
        transport = self._connect()
        try:
            if not self._fetch_first(transport):
                self._gather()
                self._ask(transport)
        except (TransportError, errors.ProtocolError):
            self._hang_up()
            raise

    def _ask(self, transport: transports.Transport) -> None:
        """Run a round, and bring what it tells is too long for it."""
        # One listing answers the wish: what rounds follow meanwhile need none.
        listing = self._wish.listing and self._listed is None
        wish = self._wish._replace(listing=listing)
        round_ = Round(self, self._lead, wish)
        round_.run(transport)
        if listing:
            self._listed = round_.listed
        if round_.long:
            self._fetch(transport, round_.long, round_.newest)

    def _fetch_first(self, transport: transports.Transport) -> bool:
        """Bring home the long log of an ended job, of which a round knows no more."""
        urgent = self._wish.urgent_log
        job = self.store.job(urgent) if urgent else None
        if job is None or not is_end_known(job) or job.id in self.unfetched:
            return False
        if min(count_bytes_left(job), self.room()) < LONG or not self._bell.is_alone():
            return False
        self._fetch(transport, [job.id], self.store.newest_intent(self.site_id))
        return True

    def _fetch(
        self, transport: transports.Transport, ids: list[str], newest: int
    ) -> None:
        """Bring home the rest of long logs, until others want a round."""
        from .log_transfer import LogTransfer

        for job_id in ids:
            job = self.store.job(job_id)
            if job is None or job.site_id != self.site_id or job_id in self.unfetched:
                continue
            if min(count_bytes_left(job), self.room()) < LONG:
                continue
            try:
                wish = self._wish._replace(portion_bytes=self._portion)
                transfer = LogTransfer(self, self._lead, job, newest, self._bell, wish)
                again = transfer.run(transport)
                self._portion = transfer.next_portion
            except errors.SessionRefused:  # all are taken; rounds bring it, if slower
                self.unfetched.add(job_id)
                return
            if not again:
                self.unfetched.add(job_id)
            if self.store.newest_intent(self.site_id) > newest:
                return

    def _tidy(self) -> None:
        """Go on for jobs that want their directories gone; nobody waits for that."""
        for _ in range(self.settings.cleanup_retries):
            if not self.store.unowned_intents(self.site_id):
                return
            self._bell.ring_others()
            self._serve_round()

    def _gather(self) -> None:
        """Wait, briefly, while other processes keep writing intents."""
        store, site_id = self.store, self.site_id
        newest = store.newest_intent(site_id)
        if not newest or not (self._contended or store.crowd(site_id)):
            return
        began = came_at = now = time.monotonic()
        scale = 1
        while now - began < _GATHER * scale and now - came_at < _LULL * scale:
            time.sleep(_LULL / 2)
            self._beat()
            last, newest = newest, store.newest_intent(site_id)
            now = time.monotonic()
            came_at = now if newest != last else came_at
            scale = _SLOWER if _is_busy() else 1

    # -- the connection ------------------------------------------------------------

    def _connect(self) -> transports.Transport:
        if self._transport is None:
            self._transport = transports.open_transport(
                self.identity, self.settings, self.hooks()
            )
            if self.retried:
                from .refusals import forget_refusal

                forget_refusal(self)
        return self._transport

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.close()
            self._transport = None

    def hooks(self, *, interactive: bool = False) -> transports.CallerHooks:
        """Return what the transports may use of the floors above them."""
        return transports.CallerHooks(
            rundir=self.rundir,
            before_handshake=self._forgive if interactive else self._admit,
            count_event=self._note,
            on_wait=self._beat,
        )

    def _beat(self) -> None:
        self._lead.show_beat()
        self.check_time()

    def kill_unrecorded(self, ids: Sequence[str]) -> list[str]:
        """Tell the host to end jobs though the record takes nothing in (a full disk).

        Nobody else is asked for anything, and nothing of the answer is kept.

        Returns:
            The ids of those that were told.
        """
        from .unrecorded import kill

        hooks = self.hooks()._replace(count_event=lambda _name, _count: None)
        return kill(self, hooks, ids)

    def clear(self) -> None:
        """Remove the files by which processes wait for each other, if none does."""
        from . import watch

        self._bell.remove_dead()
        self._lead.remove_file()
        watch.clear(self.store.home, self.site_id)

    def _note(self, name: str, count: int = 1) -> None:
        if name == "sessions" and self._lead.is_held:
            self.sessions += count  # with what the round comes to
        else:
            self.store.count(self.site_id, {name: count})

    def _admit(self) -> None:
        """Raise why no handshake may be made now, if none may."""
        row = self.row()
        known = self.refused(row)
        if known is not None:
            raise known
        if self.clock() < cooldown_end(row, self.clock()):
            raise cause_of(row)
        if row.refused != "{}":
            from .refusals import begin_retry

            begin_retry(self)

    def refused(self, row: SiteRow) -> SshJobsError | None:
        """Return the error of these very credentials, if they were refused."""
        if row.refused == "{}":
            return None
        from .refusals import known_refusal

        return known_refusal(self, row)

    def _forgive(self) -> None:
        """Forget refusals and cooldown: a person has come to see to it."""
        self.store.set_host(
            self.site_id, refused="{}", cooldown_until=0.0, failures=0, bad_rounds=0
        )

    def _next_generation(self, current: int) -> bool:
        with self.store.write():
            if self.generation() != current:
                return False
            self.store.set_host(self.site_id, generation=current + 1)
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


def _or_never(instant: float | None) -> float:
    return float("inf") if instant is None else instant
