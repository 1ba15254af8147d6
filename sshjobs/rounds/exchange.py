"""The request of a round, and the effects of its reply.

Apart from :mod:`.round`, and loaded once a session is asked for: with all that it needs
it is a fifth of the code that a process reads. A follower does without it, and a leader
reads it while the shells of the host start.
"""

from __future__ import annotations

import os
import sys

from .. import errors, protocol, states
from ..locks import LeaderLock
from .apply import ReplyApplier, keep_settled_events, load_handlers
from .asked import Asked
from .bounds import ReplyBounds
from .log_state import LONG
from .reply_sink import ReplySink
from .request import Plan, collect_request, expire
from .site import Site
from .wish import RoundWish

#: What a whole round says of a host.
_WHOLE: dict[str, float | str]
_WHOLE = {
    "failures": 0,
    "bad_rounds": 0,
    "cooldown_until": 0.0,
    "cause": "",
    "failing_since": 0.0,
}


def describe_unread(host: str, unread: list[str]) -> str:
    """Return the error of a whole reply with lines that count for nothing, or ""."""
    if not unread:
        return ""
    error = errors.ProtocolError(
        host,
        f"{len(unread)} of the lines of its last reply could not be read, or say what "
        f"was not asked; the first: {unread[0]}",
    )
    return errors.dump(error)


class Exchange:
    """One request to a host, and its reply.

    Args:
        started_at: When its round began, by the clock of the site.
        silence: Seconds for which the host may say nothing.

    Attributes:
        reply: The reader of the reply.
        listed: All that a listing brought, in the order of the reply.
        long: Jobs and streams of which the host has far more than it was asked for.
        newest: The newest of the intents that it could serve, see
            IntentTable.find_newest.
        let_go: The sites of jobs that waited here until this round.
        failed: The fault that the host tells of, if it tells of one.
        is_whole: Each event of the reply was taken, the last one too.
    """

    _sink: ReplySink  # from the request on
    _plan: Plan | None

    def __init__(
        self,
        site: Site,
        lead: LeaderLock,
        wish: RoundWish,
        started_at: float,
        silence: float,
    ) -> None:
        self._site = site
        self._lead = lead
        self._wish = wish
        self._store = site.store
        self._started_at = started_at
        self._silence = silence
        self._nonce = os.urandom(8).hex()
        self.reply = protocol.Reply(self._nonce, site.identity.host)
        self.listed: list[protocol.Event] = []
        self.long: list[tuple[str, str]] = []
        self.newest = 0
        self.let_go: set[str] = set()
        self.failed: protocol.Failed | None = None
        self.is_whole = False
        #: Parts of the reply that could not be read, or were not asked for.
        self._unread: list[str] = []
        self._plan = None  # until the request is made
        self._is_finished = False
        self._bytes_out = 0
        self._facts: list[protocol.Event] = []
        self._skew = 0.0
        self._only_listed: set[str] = set()
        self._notify = site.settings.notify
        self._ended: list[str] = []  # whose ends somebody wants to hear of
        self._never_began: list[str] = []  # of those that waited here for others

    @property
    def bytes_in(self) -> int:
        """Bytes of the reply so far."""
        return self._sink.bytes_in if self._plan else 0

    def build_request(self) -> bytes:
        """Return the program that serves the intents that are open now."""
        with self._store.begin_write():
            expire(self._site, self._started_at)
            self._settle_held()
            plan, request = collect_request(self._site, self._wish.listing)
        self.newest = plan.newest
        program = protocol.build(self._add_log_sums(request), self._nonce)
        self._bytes_out = len(program)
        host = self._site.identity.host
        self._bounds = ReplyBounds(
            host, self._site.settings, request, self._bytes_out, self._silence
        )
        self._sink = ReplySink(
            self.reply,
            Asked(request, host).check,
            self._store.files.locate_log,
            self._take_event,
            self.show_beat,
            self._bounds,
        )
        self._plan = plan
        sys.audit("sshjobs.request", host, request, self._bytes_out)
        return program

    def _settle_held(self) -> None:
        """See to jobs that wait here for those of other hosts; in a transaction."""
        if self._store.intents.has_held():
            from .held import settle_held

            settled = settle_held(self._store, self._site.clock())
            self._never_began += settled.ended
            self.let_go |= settled.sites

    def _add_log_sums(self, request: protocol.Request) -> protocol.Request:
        """Add the sums of logs that may be deleted; no transaction waits for that."""
        if not request.reaps:
            return request
        from .checksum import add_checksums

        path, beat = self._store.files.locate_log, self.show_beat
        reaps = tuple(
            add_checksums(reap, path(reap.job_id, reap.stream), beat)
            for reap in request.reaps
        )
        return request._replace(reaps=reaps)

    def take(self, piece: bytes) -> None:
        """Take bytes of the reply.

        Raises:
            Over: it is whole.
            CommandTimeout: the host says nothing more of it.
            ProtocolError: it has said too much.
        """
        self._sink(piece)
        if self.is_whole and not self._is_finished:
            # Its session takes a moment to end, and would be counted only then.
            self._site.sessions += 1
            try:
                self.finish()
            finally:
                self._site.sessions -= 1

    def finish(self) -> None:
        """Bring the record up to the reply, as far as it came, once."""
        if self._plan is None or self._is_finished:
            return
        self._is_finished = True
        self._sink.close()
        self._site.unwritten.update(self._sink.unwritten)
        for job_id in self._apply_reply(self._plan):
            self._store.files.drop_spec(job_id)

    def show_beat(self) -> None:
        """Show other processes that this one is at work."""
        self._lead.show_beat()
        self._site.check_time()

    def take_back(self) -> None:
        """Let what this request was the first to hold count as never sent.

        No session was opened, or another program was run in it, so that nobody can
        have acted on it.
        """
        plan = self._plan
        if plan is None or self.is_whole:
            return
        with self._store.begin_write():
            if self._site.generation() == self._lead.generation:
                intents = [*plan.starts, *plan.kills, *plan.reaps]
                self._store.intents.mark_unsent(i.id for i in intents if not i.sent)

    def _take_event(self, event: protocol.Event) -> None:
        """Keep what was said for the transaction."""
        self._site.contact.hear()
        if isinstance(event, protocol.End):
            self.is_whole = True
        elif isinstance(event, protocol.Failed):
            self.failed = event
        elif isinstance(event, (protocol.Listed, protocol.ListedOdd)):
            self._take_listed(event)
        elif getattr(event, "job_id", "") in self._only_listed:
            return  # it is asked about once it is known here
        else:
            self._facts.append(event)
        self._take_now(event)

    def _take_listed(self, event: protocol.Listed | protocol.ListedOdd) -> None:
        self.listed.append(event)
        bounds = self._bounds
        if isinstance(event, protocol.Listed) and not bounds.is_asked(event.job_id):
            self._only_listed.add(event.job_id)

    def _take_now(self, event: protocol.Event) -> None:
        """Take from an event that which cannot wait for the transaction."""
        if isinstance(event, protocol.Hello):
            skew = self._site.clock() - event.now
            self._skew = skew if abs(skew) > 5.0 else 0.0
            if self._plan and self._plan.starts:  # the host is at work now
                load_handlers()
        elif isinstance(event, protocol.Unread):
            self._unread.append(event.detail)
        elif isinstance(event, protocol.LogEnd):
            end = event.offset + event.length
            if event.size - end >= LONG:
                self.long.append((event.job_id, event.stream))
            if self._wish.on_log is not None and not event.stream:
                self._wish.on_log(event.job_id, event.offset, end)

    # -- what was said -----------------------------------------------------------------

    def _apply_reply(self, plan: Plan) -> list[str]:
        """Bring the store up to the reply, unless another leads by now.

        Returns:
            The ids of jobs whose specs are not needed any more.
        """
        store, site = self._store, self._site
        whole = self.is_whole and self.failed is None
        with store.begin_write():
            counts = {"sessions": site.take_sessions()}
            if site.generation() != self._lead.generation:
                store.sites.count_events(site.site_id, counts)
                return []
            counts |= {"rounds": whole, "bytes_in": self._sink.bytes_in}
            counts["bytes_out"] = self._bytes_out
            intents = [*plan.starts, *plan.kills, *plan.reaps, *plan.waits]
            host = site.identity.host
            applier = ReplyApplier(
                store, site.site_id, host, intents, self._skew, site.clock()
            )
            useless = applier.apply(
                self._facts if whole else keep_settled_events(self._facts)
            )
            if self.failed is not None:
                # The host says up to where it has read the journal, and then acts.
                if not any(isinstance(one, protocol.JournalAt) for one in self._facts):
                    self._fail_intents(plan, self.failed)
            if applier.ended:
                self._settle_held()
            ended = applier.ended + self._never_began
            folder = os.path.join(store.home, "notify")
            if ended and (self._notify or os.path.isdir(folder)):
                # From the commit on, another notifier may look for commands that are
                # left over: it is to leave these to theirs.
                store.files.touch_notify(ended)
                self._ended = ended
            columns = applier.columns
            if whole:
                columns |= dict(_WHOLE, round_started_at=self._started_at)
                columns["round_ended_at"] = site.clock()
                columns["cause"] = describe_unread(host, self._unread)
            store.sites.count_events(site.site_id, counts, **columns)
        if self._ended:
            from .notify import start_notifier

            start_notifier(store.home, self._notify, self._ended)
        return useless

    def _fail_intents(self, plan: Plan, failed: protocol.Failed) -> None:
        """Tell everyone whose intents stood in the request what failed there.

        Nothing of it was done this time. What an earlier request held may have been
        done then: that stays open, and so does what no process waits for.
        """
        store = self._store
        error = errors.HostError(self._site.identity.host, failed.text, failed.hint)
        told = [i for i in [*plan.kills, *plan.reaps] if i.pid]
        never = [i for i in plan.starts if not i.sent]
        store.intents.fail_intents((i.id for i in [*told, *never]), error)
        jobs = store.jobs.find_jobs(intent.job_id for intent in never)
        for job in jobs.values():
            if job.state == states.PENDING:  # else the same reply has said more of it
                store.jobs.drop_job(job.id)
