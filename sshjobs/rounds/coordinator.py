"""Waiting for a need: look, lead a round or wait for the leader, look again.

Theory of operation: a need is looked at first, since another process may have met it.
If it is not met and due, this process tries to lead; if another leads, this process
waits for the bell or for the end of the leader's process, since a leader that was
killed rings nobody. Failures count in the store, for all processes (:mod:`.retry`).
"""

from __future__ import annotations

import os
import time

from .. import errors, transports
from ..errors import SshJobsError, TransportError
from ..processes import open_process
from ..settings import Settings
from ..startup.records import TYPE_CHECKING
from ..store import Store
from .leadership import Leadership
from .needs import Need, find_next_look
from .retry import RetryBudget
from .site import Site, TimeUp
from .wish import NO_WISH, Contact, RoundResult, RoundWish

if TYPE_CHECKING:
    from collections.abc import Callable

    from .watch import Watch

#: A follower waits up to this fraction of poll_interval before it tries to lead, so
#: that the last leader usually goes on: two hundred would all try at one instant.
_TURN = 0.5

#: A look at the store without a bell, should the leader have died: where its end is
#: seen at once, and where it is not. A thousand that wait look at nothing meanwhile.
_SAFETY = 2.0
_BLIND = 0.5

#: A follower looks this often whether the watch is still there.
_LOOK = 3.0

#: Where a connection ends with its leader, it goes on for others for so long, through
#: pauses no longer than that, and looks this often for what they want.
_STAY = 30.0
_HOLD = 2.0
_GLANCE = 0.05


class Coordinator:
    """Brings one host to what this thread of this process needs of it.

    Args:
        store: The store, for this thread alone.
        identity: The meaning of the host's name.
        settings: Those in force for the host.
        rundir: The directory of sockets.
        clock: Now, in seconds since the epoch.
        contact: The waits of this thread, for others to read.

    Attributes:
        site: This machine's knowledge of the host.
        leadership: The means of this process while it leads.
    """

    def __init__(
        self,
        store: Store,
        identity: transports.Identity,
        settings: Settings,
        rundir: str,
        clock: Callable[[], float] = time.time,
        contact: Contact | None = None,
    ) -> None:
        self.site = site = Site(store, identity, settings, rundir, clock, contact)
        self.store = store
        self.identity = identity
        self.settings = settings
        self.rundir = rundir
        self.clock = clock
        self.site_id = site.site_id
        self.leadership = Leadership(site)
        self._turn = settings.poll_interval * _TURN * (1 + os.urandom(1)[0]) / 256
        self._stays = transports.ends_with_leader(identity, settings)
        self._watch: Watch | None = None
        self._dead = 0  # the pid of a leader whose end was seen
        known = (identity.to_bytes(), settings.remote_base_dir)
        # In one step: another process that lists the sites asks each of them.
        row = store.sites.ensure_site(self.site_id, identity.host, *known)
        if (row.identity, row.base) != known:
            store.sites.update_site(self.site_id, identity=known[0], base=known[1])

    def __repr__(self) -> str:
        return f"<Coordinator {self.identity.host} {self.site_id}>"

    def __enter__(self) -> Coordinator:
        return self

    def __exit__(self, *_: object) -> None:
        if self._watch is not None:
            self._watch.stop(self.store)
        self.leadership.close()

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
        budget = RetryBudget(self.site)
        self.site.until = until
        leadership = self.leadership
        leadership.is_contended = False
        leadership.wish, leadership.listed = wish, None
        leadership.portion = wish.portion_bytes
        try:
            met = self._lead_or_wait(budget, need, until)
        finally:
            leadership.wish = NO_WISH
            self.site.contact.rest()
        return RoundResult(met, leadership.listed)

    def _lead_or_wait(
        self, budget: RetryBudget, need: Need, until: float | None
    ) -> bool:
        """Return whether the need was met, as :meth:`wait_for` does."""
        while True:
            # The store is looked at first: another leader may have served us while we
            # slept.
            due = self._find_due(need)
            if due is None:
                return True
            left = float("inf") if until is None else until - time.monotonic()
            if left <= 0.0:
                return False
            self.site.contact.check()
            now = self.clock()
            not_before = budget.next_try(now)
            due = max(due, not_before)
            if now >= due and self._lead_once(budget, need, until):
                continue
            self.site.contact.follow_or_rest(now >= due, now < not_before)
            if self.leadership.wish.waits_for_end:
                self._start_watch()
            if self.leadership.bell.be_reachable():
                continue  # what was rung before, nobody heard: look again
            self._wait_for_news(due - now, left)

    def _wait_for_news(self, pause: float, left: float) -> None:
        """Sleep until somebody rings, the leader dies, or it is time for a look.

        Args:
            pause: Seconds until a round is wanted; 0 or less, and another leads.
            left: Seconds that its caller waits at most.
        """
        process, limit = -1, min(pause, _LOOK, left)
        if pause <= 0.0:
            # A leader that was killed rings nobody. The stamp in a lock that has just
            # been taken may be that of a holder before: each dead one counts once.
            leader = self.leadership.lock.leader
            if leader and leader != self._dead:
                try:
                    process = open_process(leader)
                except ProcessLookupError:
                    self._dead = leader
                    return
            limit = min(_SAFETY if process >= 0 else _BLIND, left)
        try:
            is_rung, is_dead = self.leadership.wait_for_news(limit, process)
        finally:
            if process >= 0:
                os.close(process)
        if is_rung:
            self.site.turn = self._turn
        if is_dead:
            self._dead = leader

    def _find_due(self, need: Need) -> float | None:
        """Return from when on this process wants a round, None once it has all."""
        if self.leadership.wish.on_look is not None:
            self.leadership.wish.on_look()
        if self.leadership.wish.listing and self.leadership.listed is None:
            return 0.0
        due = need()
        if due is not None:  # else nobody is left here to see to the others
            self.leadership.receive_wishes()
        return due

    def _start_watch(self) -> None:
        """See to it that one process of this machine hears at once of ends."""
        if (
            self._watch is None
            and self.settings.watch == "auto"
            and not self._stays
            and not self.site.is_scheduled
        ):
            from .watch import Watch

            self._watch = Watch(
                self.store.home, self.site_id, self.identity, self.settings, self.rundir
            )
        if self._watch is not None:
            self._watch.start(self.site.row(), self.clock())

    def _lead_once(
        self,
        budget: RetryBudget,
        need: Need,
        until: float | None,
    ) -> bool:
        """Run one round if nobody else leads; tell whether to look again at once.

        It runs more where the connection ends with us, see :meth:`_keep_leading`.
        """
        if not self._try_to_lead():
            self.leadership.is_contended = True
            return False
        try:
            self.leadership.serve_round()
            self.leadership.serve_cleanup()
            self.site.contact.rest()
            self.site.turn = 0.0  # the leader of the last round goes on without a pause
            budget.reset_budget()
            if self._stays:
                self._keep_leading(need, until)
        except (SshJobsError, TimeUp) as error:
            self._handle_failure(budget, error)
        finally:
            # Before the lock is free: the next leader makes a connection of its own,
            # and there are never two.
            if self._stays:
                self.leadership.close_transport()
            # In this order: a follower that the ring wakes finds the lock free.
            self.leadership.lock.release()
            self.leadership.bell.ring_others()
            self.store.sites.count_events(
                self.site_id, {"sessions": self.site.take_sessions()}
            )
        return True

    def _try_to_lead(self) -> bool:
        """Try to lead; whoever does not can be rung from before the try on.

        A process that leads at once needs no bell: a socket that is bound and removed
        costs as much as the rest of what a poll asks of the kernel.
        """
        leadership = self.leadership
        # flock(2) without waiting: of all processes that try, one has it.
        if leadership.lock.try_to_lead():
            return True
        # A leader that ends right after the second try rings this bell, too.
        return leadership.bell.be_reachable() and leadership.lock.try_to_lead()

    def _handle_failure(
        self, budget: RetryBudget, error: SshJobsError | TimeUp
    ) -> None:
        """Take note of how a round failed, and raise what no further one mends."""
        if isinstance(error, TransportError):
            budget.count_failure(error)
        elif isinstance(error, errors.ProtocolError):
            budget.count_broken_reply(error)
        elif isinstance(error, TimeUp):
            self.leadership.close_transport()
        elif (
            not isinstance(error, errors.StoreError) or not self.store.files.make_room()
        ):
            raise error  # else the disk has become full, and there was room kept

    def _keep_leading(self, need: Need, until: float | None) -> None:
        """Keep leading while a round is wanted: the next leader must log in anew.

        For this process's own need that is as long as it takes, or ``until``; for what
        others want done, not more than :data:`_STAY`. Who wants a log can lead.
        """
        self.leadership.bell.ring_others()
        end = time.monotonic() + _STAY
        while self.site.generation() == self.leadership.lock.generation:
            mine, theirs = self._find_due(need), None
            waiting, unsent = self.store.intents.count_waiting(self.site_id)
            if waiting:
                theirs = 0.0 if unsent else find_next_look(self.site)
            if mine is not None:
                end = time.monotonic() + _STAY
            now = self.clock()
            due = min(_or_never(mine), _or_never(theirs))
            late = until is not None and time.monotonic() >= until
            # Whoever still waits finds the lock free, and logs in by itself.
            if late or due > now + _HOLD or time.monotonic() > end:
                return
            if due > now:
                time.sleep(min(_GLANCE, due - now))
                self.leadership.lock.show_beat()
            else:
                self.leadership.serve_round()
                self.leadership.serve_cleanup()
                self.leadership.bell.ring_others()


def _or_never(instant: float | None) -> float:
    return float("inf") if instant is None else instant
