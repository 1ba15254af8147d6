"""The rows and intents that one reply touches, until they are written.

Handlers of events (:mod:`.apply_starts`, :mod:`.apply_ends`, :mod:`.apply_reaps`) look
at :class:`JobChanges` and say there how a job changes; nothing is written before a
slice of the reply is done.
"""

from __future__ import annotations

from .. import errors, states
from ..model import Job
from ..startup.contexts import contextmanager
from ..startup.records import TYPE_CHECKING
from ..store import FAILED, SERVED, Intent, Store
from .log_state import wants_cleanup

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from .. import protocol


class JobChanges:
    """The jobs that a reply is about, and the intents that it closes.

    Args:
        store: The store, inside the caller's transaction.
        site_id: The site whose host replied.
        host: Its name, for error texts.
        intents: Those of the request.
        skew: Seconds to add to the host's instants to make them ours.
        now: The instant of the application.

    Attributes:
        jobs: The rows of the site's jobs in this slice; handlers change them here.
        foreign: The rows of other sites' jobs that the slice names.
        intents: The numbers of the request's intents, by kind and job, that no event
            has closed yet.
        brought_anew: Whose logs are being brought anew, see ``apply_differs``.
        node: Which machine replied, once it has said so.
        columns: Columns of the host's row that the reply changes.
        ended: The ids of jobs that were active before, and have ended.
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
        self.store = store
        self.site_id = site_id
        self.host = host
        self.skew = skew
        self.now = now
        self.node = ""
        self.columns: dict[str, Any] = {}
        self.ended: list[str] = []
        self.jobs: dict[str, Job] = {}
        self.foreign: dict[str, Job] = {}
        self.brought_anew = {i.job_id for i in intents if i.kind == "reap" and i.note}
        self.intents: dict[tuple[str, str], list[int]] = {}
        for intent in intents:
            numbers = self.intents.setdefault((intent.kind, intent.job_id), [])
            numbers.append(intent.id)
        self._served: dict[tuple[str, str], list[int]] = {}  # by outcome and note
        self._started_ids: set[str] = set()  # jobs that need no spec any more

    @contextmanager
    def holding(self, ids: Iterable[str]) -> Iterator[None]:
        """Have the rows of some jobs in memory, and write those that change.

        Those of other sites are kept apart: this host has no say in them.
        """
        # One look and one write a slice: single ones would be 2,000 for 1,000 jobs.
        known = self.store.jobs.find_jobs(ids) if ids else {}
        self.jobs = {k: job for k, job in known.items() if job.site_id == self.site_id}
        self.foreign = {
            k: job for k, job in known.items() if job.site_id != self.site_id
        }
        before = dict(self.jobs)
        yield
        changed = [job for key, job in self.jobs.items() if before.get(key) != job]
        self.store.jobs.put_jobs(changed)
        self._request_cleanup(changed, before)
        # A job that no process has claimed may have to be sent anew: keep its spec.
        waiting = {key for key, job in self.jobs.items() if job.state == "PENDING"}
        self._started_ids |= before.keys() | self.jobs.keys()
        self._started_ids -= waiting

    def note_node(self, event: protocol.Hello) -> None:
        """Take note of the machine that replied."""
        self.node = self.columns["node"] = event.node

    def note_journal(self, event: protocol.JournalAt) -> None:
        """Take note of the place in the host's journal up to which it was read."""
        self.columns["journal_gen"] = event.generation
        self.columns["journal_at"] = event.offset

    def change(self, job_id: str, event: str = "", **columns: Any) -> None:
        """Advance a job; a final one keeps all columns but those of its log."""
        job = self.jobs.get(job_id)
        # Two rounds of one host may be applied in another order than the host replied
        # in: an end that is known absorbs all that comes after it.
        if job is None or (states.is_final(job.state) and event):
            return
        state = states.advance(job.state, event) if event else job.state
        self.jobs[job_id] = job._replace(state=state, **columns)

    def serve_intents(
        self, kind: str, job_id: str, outcome: str = SERVED, note: str = ""
    ) -> None:
        """Close intents, once all facts are known; the first word on one counts."""
        # Taken out: of a start and an end in one reply, the first closes the intent.
        numbers = self.intents.pop((kind, job_id), ())
        self._served.setdefault((outcome, note), []).extend(numbers)

    def fail_intents(self, kind: str, job_id: str, error: errors.SshJobsError) -> None:
        """Close intents that the host does not serve, with the reason."""
        self.serve_intents(kind, job_id, FAILED, errors.dump(error))

    def _request_cleanup(self, changed: list[Job], before: dict[str, Job]) -> None:
        """Want the directories gone of jobs that have just ended, if they say so."""
        # Only on the step from active to final, which a job makes once: a round that
        # hears of the same end again wants no second reap, and has nobody notified
        # twice.
        ended = [
            job
            for job in changed
            if states.is_final(job.state)
            and (job.id not in before or not states.is_final(before[job.id].state))
        ]
        self.ended += [job.id for job in ended if job.id in before]
        useless = [job.id for job in ended if wants_cleanup(job)]
        if useless:
            # Nobody waits for it, so that whichever process leads next serves it.
            self.store.intents.add_intents(self.site_id, "reap", useless, owner=0)

    def end_unstarted(
        self,
        job_id: str,
        event: str = "cancelled",
        reason: str = "cancelled before it started",
        **columns: Any,
    ) -> None:
        """End a job that will never start."""
        self.change(
            job_id,
            event,
            finished_at=self.now,
            reason=reason,
            # Nothing of it ran, so that no log is to come.
            log_final=True,
            **columns,
        )
        self.serve_intents("start", job_id)

    def close_intents(self) -> list[str]:
        """Close the intents that the reply served, in the store.

        Returns:
            The ids of jobs whose specs are not needed any more.
        """
        for (outcome, note), numbers in self._served.items():
            self.store.intents.serve_intents(numbers, outcome, note)
        return sorted(self._started_ids)
