"""The words of a host, brought into the store.

Theory of operation: the events of a reply are applied in the order in which the host
said them, inside the one transaction of the round. Each event is true whether or not
the rest of the reply arrived (:func:`keep_settled_events` takes out the few that are
not), and applying one twice changes nothing: a final state absorbs all that comes after
it, offsets of logs only grow. A host has a say in the jobs of its own site only.

A handler is a function of one event and of :class:`.changes.JobChanges`, kept by kind:
:mod:`.apply_starts`, :mod:`.apply_ends`, :mod:`.apply_reaps`. These are imported with
the first event of theirs: a submit hears of starts only, and most polls of nothing.
"""

from __future__ import annotations

from .. import protocol, states
from ..startup.records import TYPE_CHECKING
from ..store import Intent, Store, slices
from .changes import JobChanges

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class ReplyApplier:
    """Applies the events of one reply, inside the caller's transaction.

    Args:
        store: The store.
        site_id: The site whose host replied.
        host: Its name, for error texts.
        intents: Those of the request.
        skew: Seconds to add to the host's instants to make them ours.
        now: The instant of the application.
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
        self._changes = JobChanges(store, site_id, host, intents, skew, now)

    @property
    def columns(self) -> dict[str, Any]:
        """Columns of the host's row that the reply changes."""
        return self._changes.columns

    @property
    def ended(self) -> list[str]:
        """The ids of jobs that ended by this reply; no other reply ends them again."""
        return self._changes.ended

    def apply(self, events: list[protocol.Event]) -> list[str]:
        """Bring the store up to these events.

        Returns:
            The ids of jobs whose specs are not needed any more.
        """
        changes = self._changes
        for some in slices(events):
            # claimed names two jobs: the row of the winner may change with it.
            fields = ("job_id", "winner_id")
            names = {getattr(event, name, "") for event in some for name in fields}
            # Some at a time: a listing of 10,000 jobs is not held in memory twice.
            with changes.holding(names - {""}):
                for event in some:
                    handler = _find_handler(type(event))
                    # Another site's job: this host has no say in it.
                    foreign = getattr(event, "job_id", "") in changes.foreign
                    # A kind without a handler says how the round went, not how a job
                    # does.
                    if handler is not None and not foreign:
                        handler(changes, event)
        return changes.close_intents()


#: The handlers that were looked for already; None: events of that kind have none.
_handlers: dict[type, Callable[[JobChanges, Any], None] | None] = {
    protocol.Hello: JobChanges.note_node,
    protocol.JournalAt: JobChanges.note_journal,
    protocol.Beat: None,
    protocol.Prepared: None,
}


def _find_handler(kind: type) -> Callable[[JobChanges, Any], None] | None:
    if kind not in _handlers:
        from . import apply_starts

        handler = apply_starts.HANDLERS.get(kind)
        if handler is None:
            from . import apply_ends

            handler = apply_ends.HANDLERS.get(kind)
        if handler is None:
            from . import apply_reaps

            handler = apply_reaps.HANDLERS.get(kind)
        _handlers[kind] = handler
    return _handlers[kind]


def load_handlers() -> None:
    """Load the handlers that the answer to a start mostly wants."""
    _find_handler(protocol.Started)
    _find_handler(protocol.Ended)


#: How a job does: said after what was done to it, as the last that is said of it.
_JUDGEMENTS = (
    protocol.Started,
    protocol.Ended,
    protocol.Prepared,
    protocol.Queued,
    protocol.Lost,
    protocol.Missing,
    protocol.Elsewhere,
    protocol.Unsupervised,
    protocol.Unseen,
    protocol.Reaped,
)


def keep_settled_events(events: Sequence[protocol.Event]) -> list[protocol.Event]:
    """Return those events of a reply that broke off which are whole without the rest.

    ``claimed`` tells of another job, which is taken in place of one of ours: that
    counts once the reply says how that job does; if it has ended, with its end.
    ``killsent`` says that a marker stands; the killer is started after that, and before
    it is said how the job does. And up to where the journal was read is of use only to
    who has heard all that stands in it.
    """
    # The host may die, or its connection, between any two frames (a master that is
    # killed ends all its sessions at once).
    kept: list[protocol.Event] = []
    judged: set[str] = set()
    ended: set[str] = set()
    # Backwards: a word that needs a later one is met after it.
    for event in reversed(events):
        if isinstance(event, protocol.Claimed) and event.winner_id != event.job_id:
            needed = ended if states.is_final(event.state) else judged
            if event.winner_id not in needed:
                continue
        if isinstance(event, protocol.KillSent) and event.job_id not in judged:
            continue
        if isinstance(event, protocol.JournalAt):
            continue
        if isinstance(event, _JUDGEMENTS):
            judged.add(event.job_id)
        if isinstance(event, (protocol.Ended, protocol.Lost)):
            ended.add(event.job_id)
        kept.append(event)
    return kept[::-1]
