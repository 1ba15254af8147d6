"""What a host said, brought into the store.

A *fact* is one event of a reply. Facts are applied in the order in which they
were said, inside the one transaction of the round. Each is true whether or not
the rest of the reply arrived (:func:`settled` takes out the few that are not), and
applying one twice changes nothing: a final state absorbs what comes after it,
offsets of logs only grow. A host has a say in the jobs of its own site only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from .. import errors, protocol, states
from ..model import Job
from ..startup.records import TYPE_CHECKING
from ..store import Intent, Store, slices

if TYPE_CHECKING:
    from typing import Any


def wants_log(job: Job) -> bool:
    """Tell whether bytes of a job's log are to be brought here."""
    return job.reaped_at is None and not job.log_final and not is_full(job)


def is_full(job: Job) -> bool:
    """Tell whether as much of a job's log is here as is to be brought home."""
    return 0 < job.max_log_bytes <= job.log_local_bytes


def is_cut(job: Job) -> bool:
    """Tell whether an ended job's log is longer on the host than here, for good."""
    final = states.is_final(job.state) and job.reaped_at is None
    return final and is_full(job) and not job.log_final


def is_given_up(job: Job) -> bool:
    """Tell whether somebody has said that the rest of a log that was cut may go."""
    return is_full(job) and job.log_final and job.log_local_bytes < job.log_bytes


def is_ended(job: Job) -> bool:
    """Tell whether a host has said all of a job, the length of its log with it."""
    return states.is_final(job.state) and job.state != states.LOST


#: The reason of a job that another machine of the host has, before the name of that.
_ELSEWHERE = "runs on "


def runs_elsewhere(job: Job) -> bool:
    """Tell whether the last round could not reach the machine that runs a job."""
    return not states.is_final(job.state) and job.reason.startswith(_ELSEWHERE)


def log_left(job: Job) -> int:
    """Return how many bytes of a job's log are known to be on the host only."""
    if not wants_log(job):
        return 0
    return min(job.log_bytes, job.max_log_bytes or job.log_bytes) - job.log_local_bytes


def is_home(job: Job | None) -> bool:
    """Tell whether a job is final and all of its log is on this machine."""
    if job is None or not states.is_final(job.state):
        return False
    return job.log_final or job.reaped_at is not None


class ReplyApplier:
    """Applies the facts of one reply, inside the caller's transaction.

    Args:
        store: The store.
        conn: The identity of the connection.
        host: Its name, for error texts.
        intents: What stood in the request.
        skew: What to add to the host's instants to make them ours, in seconds.
        now: The instant of the application.

    Attributes:
        columns: What is known of the host itself by now, for its row.
    """

    def __init__(
        self,
        store: Store,
        site_id: str,
        host: str,
        intents: list[Intent],
        skew: float,
        now: float,
    ) -> None:
        self._store = store
        self._site_id = site_id
        self._host = host
        self._skew = skew
        self._now = now
        self._intents: dict[tuple[str, str], list[int]] = {}
        for intent in intents:
            numbers = self._intents.setdefault((intent.kind, intent.job_id), [])
            numbers.append(intent.id)
        #: Whose logs are being brought anew, see :meth:`_differs`.
        self._anew = {i.job_id for i in intents if i.kind == "reap" and i.note}
        self._node = ""
        self.columns: dict[str, Any] = {}
        self._jobs: dict[str, Job] = {}
        self._foreign: dict[str, Job] = {}
        self._served: dict[str, list[int]] = {}  # by note
        self._started_ids: set[str] = set()  # who needs no spec any more

    def apply(self, facts: list[protocol.Event]) -> list[str]:
        """Bring the store up to these facts.

        Returns:
            The ids of jobs whose specs are not needed any more.
        """
        for some in slices(facts):
            ids = set().union(*map(_names, some))
            with self._holding(ids):
                for fact in some:
                    handler = _HANDLERS.get(type(fact))
                    if handler is not None and not self._is_foreign(fact):
                        handler(self, fact)
        for note, numbers in self._served.items():
            self._store.serve(numbers, note)
        return sorted(self._started_ids)

    @contextmanager
    def _holding(self, ids: Iterable[str]) -> Iterator[None]:
        """Have the rows of some jobs in memory, and write those that change.

        Those of other sites are kept apart: this host has no say in them.
        """
        known = self._store.jobs(ids) if ids else {}
        self._jobs = {
            k: job for k, job in known.items() if job.site_id == self._site_id
        }
        self._foreign = {
            k: job for k, job in known.items() if job.site_id != self._site_id
        }
        before = dict(self._jobs)
        yield
        changed = [job for key, job in self._jobs.items() if before.get(key) != job]
        self._store.put(changed)
        self._clean_up(changed, before)
        waiting = {key for key, job in self._jobs.items() if job.state == "PENDING"}
        self._started_ids |= before.keys() | self._jobs.keys()
        self._started_ids -= waiting

    def _is_foreign(self, fact: protocol.Event) -> bool:
        return getattr(fact, "job_id", "") in self._foreign

    # -- the jobs touched, kept here until the slice is done ------------------------

    def _change(self, job_id: str, event: str = "", **columns: Any) -> None:
        """Advance a job; what is final keeps all but what is said of its log."""
        job = self._jobs.get(job_id)
        if job is None or (states.is_final(job.state) and event):
            return
        state = states.advance(job.state, event) if event else job.state
        self._jobs[job_id] = job._replace(state=state, **columns)

    def _serve(self, kind: str, job_id: str, note: str = "") -> None:
        """Close intents, once all facts are known; what is said first of one counts."""
        numbers = self._intents.pop((kind, job_id), ())
        self._served.setdefault(note, []).extend(numbers)

    def _clean_up(self, changed: list[Job], before: dict[str, Job]) -> None:
        """Want the directories gone of jobs that have just ended, if they say so."""
        ended = [
            job.id
            for job in changed
            if states.is_final(job.state)
            and (job.id not in before or not states.is_final(before[job.id].state))
            and wants_cleanup(job)
        ]
        if ended:
            self._store.add_intents(self._site_id, "reap", ended, owner=0)

    # -- one method a kind of fact ---------------------------------------------------

    def _hello(self, fact: protocol.Hello) -> None:
        self._node = self.columns["node"] = fact.node

    def _journal(self, fact: protocol.JournalAt) -> None:
        self.columns |= {"journal_gen": fact.generation, "journal_at": fact.offset}

    def _started(self, fact: protocol.Started) -> None:
        self._change(
            fact.job_id,
            "started",
            pid=fact.pid,
            start=fact.start,
            node=fact.node,
            started_at=fact.started_at + self._skew,
            reason="",
        )
        self._serve("start", fact.job_id)

    def _ended(self, fact: protocol.Ended) -> None:
        event = states.end_event(fact.exit_status, fact.signal, fact.cause)
        job = self._jobs.get(fact.job_id)
        home = job.log_local_bytes if job else 0
        started = job.started_at if job else None
        if started is None and fact.started_at is not None:
            started = fact.started_at + self._skew
        finished = self._now  # ours already, and no clock of the host's
        if fact.finished_at is not None:
            finished = fact.finished_at + self._skew
        self._change(
            fact.job_id,
            event,
            exit_status=fact.exit_status,
            signal=fact.signal,
            reason=fact.reason or _reason(event, fact),
            started_at=started,
            finished_at=finished,
            log_bytes=fact.log_bytes,
            log_final=home >= fact.log_bytes,
        )
        for kind in ("start", "kill", "forget"):
            self._serve(kind, fact.job_id)

    def _claimed(self, fact: protocol.Claimed) -> None:
        job = self._jobs.get(fact.job_id)
        if fact.winner_id == fact.job_id:
            self._change(fact.job_id, attempt=fact.attempt)
            return
        if job is None or job.state != states.PENDING:  # it has started: it holds it
            return
        other = self._foreign.get(fact.winner_id)
        if other is None:
            self._adopt_winner(fact, job)
        elif (other.host, other.key) != (job.host, job.key):
            self._refuse_holder(fact.job_id, other)
            return
        if self._is_promised(fact.job_id):
            reason = f"never ran: job {fact.winner_id} holds its key"
            self._never_ran(fact.job_id, "cancelled", reason, key="")
            return
        note = "" if fact.same else '["Differs", []]'
        self._serve("start", fact.job_id, note)
        self._store.redirect(fact.job_id, fact.winner_id)
        del self._jobs[fact.job_id]
        self._store.forget([fact.job_id])

    def _adopt_winner(self, fact: protocol.Claimed, loser: Job) -> None:
        """Know the job that holds the key; how it does is said by facts of its own."""
        if fact.winner_id in self._jobs:
            return
        self._jobs[fact.winner_id] = loser._replace(
            id=fact.winner_id,
            state=states.PENDING,
            attempt=fact.attempt,
            command=loser.command if fact.same else "",
            digest=loser.digest if fact.same else "",
            cleanup="never",
            reason="",
        )

    def _refuse_holder(self, job_id: str, holder: Job) -> None:
        """Take no job of another host in place of ours: it would be killed for it.

        The same host under another configuration is another site, and keeps its keys.
        """
        detail = (
            f"it says that job {holder.id} holds the key, which this machine knows as "
            f"a job of {holder.host}"
        )
        hint = "nothing ran; if both names lead to one host, use that one for this key"
        self._give_up(job_id, detail, hint)

    def _refused(self, fact: protocol.Refused) -> None:
        job = self._jobs.get(fact.job_id)
        if job is not None and job.state != states.PENDING:  # it has started, or more
            self._serve("start", fact.job_id)
            return
        if fact.code == "EGONE":
            self._never_ran(fact.job_id)
            return
        detail = f"the job could not be started: {fact.text}"
        self._give_up(fact.job_id, detail, _HINTS.get(fact.code, ""))

    def _give_up(self, job_id: str, detail: str, hint: str) -> None:
        """Tell who wanted a job started that nothing of it ran, or will."""
        if self._is_promised(job_id):
            self._never_ran(job_id, "failed", detail)
            return
        error = errors.HostError(self._host, detail, hint)
        self._serve("start", job_id, errors.dump(error))
        self._jobs.pop(job_id, None)
        self._store.forget_job(job_id)

    def _kill_sent(self, fact: protocol.KillSent) -> None:
        self._serve("kill", fact.job_id)

    def _kill_missing(self, fact: protocol.KillMissing) -> None:
        job = self._jobs.get(fact.job_id)
        if job is not None and job.state == states.RUNNING:
            self._missing(protocol.Missing(fact.job_id))  # it has run, or still does
        else:
            self._never_ran(fact.job_id)
        self._serve("kill", fact.job_id)

    def _is_promised(self, job_id: str) -> bool:
        """Tell whether a user has the id of a job that was not answered in time.

        It is asked of the store: a verb may have given up since the request was made.
        """
        intent = self._store.start_intent(job_id)
        return intent is not None and not intent.pid

    def _never_ran(
        self,
        job_id: str,
        event: str = "cancelled",
        reason: str = "cancelled before it started",
        **columns: Any,
    ) -> None:
        """End a job that will never start."""
        self._change(
            job_id,
            event,
            finished_at=self._now,
            reason=reason,
            log_final=True,
            **columns,
        )
        self._serve("start", job_id)

    def _lost(self, fact: protocol.Lost) -> None:
        self._change(fact.job_id, "lost", finished_at=self._now, reason=fact.reason)
        for kind in ("start", "kill", "forget"):
            self._serve(kind, fact.job_id)

    def _missing(self, fact: protocol.Missing) -> None:
        job = self._jobs.get(fact.job_id)
        if job is not None and states.is_final(job.state):
            self._change(fact.job_id, reaped_at=self._now, log_final=True)
            self._serve("reap", fact.job_id)
            return
        if job is not None and job.node and self._node and job.node != self._node:
            # Another machine answers to that name, with a directory of its own.
            self._change(fact.job_id, reason=f"runs on {job.node}")
            return
        self._change(
            fact.job_id,
            "lost",
            finished_at=self._now,
            reason="its directory on the host has vanished",
            log_final=True,
        )

    def _elsewhere(self, fact: protocol.Elsewhere) -> None:
        self._change(fact.job_id, reason=f"{_ELSEWHERE}{fact.node}")

    def _due(self, fact: protocol.Due) -> None:
        """End what was told to end while its node could not be reached.

        Whoever told it: the job may be another client's, or be declared lost.
        """
        if not self._store.has_intent("kill", fact.job_id):
            self._store.add_intents(self._site_id, "kill", [fact.job_id], owner=0)

    def _unforgotten(self, fact: protocol.Unforgotten) -> None:
        """Tell that a job runs which was to be forgotten; if it is by now, end it."""
        job = self._jobs.get(fact.job_id)
        note = ""
        if job is not None and states.is_final(job.state):
            self._store.add_intents(self._site_id, "kill", [job.id], owner=0)
        else:
            text = f"not declared lost: {fact.reason}; sshjobs kill ends it"
            note = errors.dump(errors.JobError(fact.job_id, text))
        self._serve("forget", fact.job_id, note)

    def _unsupervised(self, fact: protocol.Unsupervised) -> None:
        self._change(fact.job_id, reason="its supervisor is gone; the job runs on")

    def _unseen(self, fact: protocol.Unseen) -> None:
        self._change(fact.job_id, reason=fact.reason)

    def _reaped(self, fact: protocol.Reaped) -> None:
        """Know that a directory is gone; an end that is known was said before."""
        job = self._jobs.get(fact.job_id)
        if job is not None and not states.is_final(job.state):
            reason = "another machine has reaped it, and no record of its end is left"
            self._change(fact.job_id, "lost", finished_at=self._now, reason=reason)
        self._change(fact.job_id, reaped_at=self._now)
        self._serve("reap", fact.job_id)
        self._serve("forget", fact.job_id)

    def _longer(self, fact: protocol.Longer) -> None:
        """Want the rest of a log that was thought to be home; it is reaped after."""
        job = self._jobs.get(fact.job_id)
        if job is None or not is_home(job) or job.reaped_at is not None:
            return
        if fact.log_bytes > job.log_local_bytes:
            self._change(fact.job_id, log_bytes=fact.log_bytes, log_final=False)
            self._intents.pop(("reap", fact.job_id), None)

    def _differs(self, fact: protocol.Differs) -> None:
        """Want a whole log once more, if this was not tried yet; it is reaped after."""
        job = self._jobs.get(fact.job_id)
        if job is None or not is_home(job) or job.reaped_at is not None:
            return
        numbers = self._intents.get(("reap", fact.job_id))
        if numbers and fact.job_id not in self._anew:
            del self._intents["reap", fact.job_id]
            error = errors.JobError(fact.job_id, f"not reaped: {_ANEW}")
            self._store.note(numbers, errors.dump(error))
            self._change(fact.job_id, log_local_bytes=0, log_final=False)

    def _reap_refused(self, fact: protocol.ReapRefused) -> None:
        reason = f"not reaped: {fact.reason}"
        if fact.job_id in self._anew:
            reason += ", though it was brought anew"
        note = errors.dump(errors.JobError(fact.job_id, reason))
        self._serve("reap", fact.job_id, note)

    def _no_log(self, fact: protocol.NoLog) -> None:
        """Tell who wants the log of an ended job that none is left to bring.

        Of one that has not ended, the checks of the same request say more.
        """
        job = self._jobs.get(fact.job_id)
        if job is None or not states.is_final(job.state):
            return
        if fact.reason == "gone":
            self._change(fact.job_id, reaped_at=self._now, log_final=True)
            self._serve("reap", fact.job_id)
            return
        for kind, what in (("reap", "not reaped"), ("log", "its log cannot be read")):
            error = errors.JobError(fact.job_id, f"{what}: {fact.reason}")
            self._serve(kind, fact.job_id, errors.dump(error))

    def _unread(self, fact: protocol.Unread) -> None:
        """Say of a job that may still change why no more is known of it."""
        if fact.job_id:
            reason = f"what the host says of it cannot be read: {fact.detail}"
            job = self._jobs.get(fact.job_id)
            if job is not None and not states.is_final(job.state):
                self._change(fact.job_id, reason=reason)

    def _log_end(self, fact: protocol.LogEnd) -> None:
        job = self._jobs.get(fact.job_id)
        if job is None or fact.offset > job.log_local_bytes:
            return
        home = max(job.log_local_bytes, fact.offset + fact.length)
        final = states.is_final(job.state)
        known = job.log_bytes if final else 0
        if job.state == states.LOST or not final:
            known = max(job.log_bytes, fact.size, home)
        self._change(
            fact.job_id,
            log_local_bytes=home,
            log_bytes=known,
            log_final=final and home >= known,
        )


def _names(fact: protocol.Event) -> set[str]:
    """Return the ids of the jobs that a fact is about."""
    names = {getattr(fact, "job_id", ""), getattr(fact, "winner_id", "")}
    return names - {""}


#: How a job does: said after what was done to it, as the last that is said of it.
_JUDGEMENTS = (
    protocol.Started,
    protocol.Ended,
    protocol.Prepared,
    protocol.Lost,
    protocol.Missing,
    protocol.Elsewhere,
    protocol.Unsupervised,
    protocol.Unseen,
    protocol.Reaped,
)


def settled(facts: Sequence[protocol.Event]) -> list[protocol.Event]:
    """Return those facts of a reply that broke off which are whole without the rest.

    ``claimed`` tells of another job, which is taken in place of one of ours: that
    counts once the reply says how that job does; if it has ended, with its end.
    ``killsent`` says that a marker stands; the killer is started after that, and before
    it is said how the job does. And up to where the journal was read is of use only to
    who has heard all that stands in it.
    """
    kept: list[protocol.Event] = []
    judged: set[str] = set()
    ended: set[str] = set()
    for fact in reversed(facts):
        if isinstance(fact, protocol.Claimed) and fact.winner_id != fact.job_id:
            needed = ended if states.is_final(fact.state) else judged
            if fact.winner_id not in needed:
                continue
        if isinstance(fact, protocol.KillSent) and fact.job_id not in judged:
            continue
        if isinstance(fact, protocol.JournalAt):
            continue
        if isinstance(fact, _JUDGEMENTS):
            judged.add(fact.job_id)
        if isinstance(fact, (protocol.Ended, protocol.Lost)):
            ended.add(fact.job_id)
        kept.append(fact)
    return kept[::-1]


def _reason(event: str, fact: protocol.Ended) -> str:
    """Say what no exit status says: a signal that we have not sent ended the job."""
    if event != "failed" or fact.exit_status is not None:
        return ""
    if fact.signal is None:
        return "its end is recorded without a status"
    import signal

    names = {int(known): known.name for known in signal.Signals}
    return f"ended by {names.get(fact.signal, f'signal {fact.signal}')}"


def wants_cleanup(job: Job) -> bool:
    """Tell whether a job's own setting wants its directory gone now.

    It stays where its log does not come home whole.
    """
    if 0 < job.max_log_bytes < job.log_bytes:
        return False
    if job.cleanup == "on_success":
        return job.state == states.COMPLETED
    return job.cleanup == "always"


_ANEW = (
    "its log there and the one that is home differ, and it could not be brought anew"
)

_HINTS = {
    "ENOSPC": "make room on the host's file system, or set remote_base_dir",
    "EACCES": "the base directory on the host must be writable, see remote_base_dir",
    "ESHELL": "name one that the host has with --shell",
    "EOTHER": "",
}

_HANDLERS: dict[type, Callable[[ReplyApplier, Any], None]] = {
    protocol.Hello: ReplyApplier._hello,
    protocol.JournalAt: ReplyApplier._journal,
    protocol.Started: ReplyApplier._started,
    protocol.Ended: ReplyApplier._ended,
    protocol.Claimed: ReplyApplier._claimed,
    protocol.Refused: ReplyApplier._refused,
    protocol.KillSent: ReplyApplier._kill_sent,
    protocol.KillMissing: ReplyApplier._kill_missing,
    protocol.Lost: ReplyApplier._lost,
    protocol.Missing: ReplyApplier._missing,
    protocol.Elsewhere: ReplyApplier._elsewhere,
    protocol.Unsupervised: ReplyApplier._unsupervised,
    protocol.Unseen: ReplyApplier._unseen,
    protocol.Due: ReplyApplier._due,
    protocol.Unforgotten: ReplyApplier._unforgotten,
    protocol.Reaped: ReplyApplier._reaped,
    protocol.ReapRefused: ReplyApplier._reap_refused,
    protocol.Longer: ReplyApplier._longer,
    protocol.Differs: ReplyApplier._differs,
    protocol.NoLog: ReplyApplier._no_log,
    protocol.LogEnd: ReplyApplier._log_end,
    protocol.Unread: ReplyApplier._unread,
}
