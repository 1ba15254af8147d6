"""Taking back what a submit that failed, or was interrupted, has not sent."""

from __future__ import annotations

import time

from .. import errors
from ..errors import NotYet, SshJobsError, TransportError
from ..rounds import Coordinator, is_permanent
from ..startup.records import TYPE_CHECKING
from ..store import FAILED, Store, slices

if TYPE_CHECKING:
    from collections.abc import Sequence


def settle_others(store: Store) -> None:
    """See to those jobs that wait here for one that was just ended or taken back.

    It is called inside the transaction that did so: what follows from it is written
    with it, or neither is.
    """
    if store.intents.has_held():
        from ..rounds.held import settle_held

        settle_held(store, time.time())


def leave_what_was_sent(
    store: Store, numbers: Sequence[int], for_good: bool
) -> list[str]:
    """Withdraw the rest of an interrupted batch; return the jobs that go on.

    Args:
        for_good: Nobody comes back for them, so that none is ever forgotten.
    """
    ids = [
        intent.job_id
        for some in slices(numbers)
        for intent in store.intents.read_outcomes(some).values()
        if (intent.outcome != FAILED if intent.done else intent.sent)
    ]
    with store.begin_write(durable=for_good):
        _, kept = store.intents.withdraw_intents(numbers)
        settle_others(store)
        if for_good:
            store.files.sync_specs(kept)
            store.intents.disown_starts(kept)
    return ids


def withdraw_unsent(
    store: Store, numbers: Sequence[int]
) -> tuple[list[str], list[str]]:
    """Withdraw intents that were never sent, and keep the others durably.

    Returns:
        The ids of the jobs that are as if never asked for, and of those that any later
        verb of this machine sees to.
    """
    with store.begin_write(durable=True):
        gone, kept = store.intents.withdraw_intents(numbers)
        store.files.sync_specs(kept)
        store.intents.disown_starts(kept)
        for job_id in kept:
            store.jobs.update_job(job_id, reason="sent, and not answered yet")
    return gone, kept


def take_back_unsent(
    coordinator: Coordinator,
    numbers: Sequence[int],
    held: Sequence[int],
    error: SshJobsError,
) -> None:
    """Withdraw unsent intents, keep the others durably, and raise an error.

    Args:
        held: Those of the batch that wait here: where none of the others is left, they
            are withdrawn as well.
    """
    store = coordinator.store
    waiting: list[int] = []
    answered: list[int] = []
    refused: list[str] = []
    ids: list[str] = []
    # All at once: others may be serving it right now.
    with store.begin_write(durable=True):
        for some in slices(numbers):
            for number, intent in store.intents.read_outcomes(some).items():
                good = intent.outcome != FAILED
                ids.append(intent.job_id if good else "")
                (answered if intent.done else waiting).append(number)
                refused += [] if good else [intent.note]
        if not waiting:
            return  # the reply came after all, perhaps to another process
        gone, kept = withdraw_unsent(store, waiting)
        dropped = set(gone)
        ids = ["" if job_id in dropped else job_id for job_id in ids]
        if not any(ids):
            store.intents.withdraw_intents(held)
        settle_others(store)
    if not any(ids):
        if isinstance(error, TransportError) and is_permanent(error):
            store.sites.forget_site(
                coordinator.site_id, coordinator.clock()
            )  # a name that was mistyped
        raise error
    store.intents.drop_intents(answered)
    rest = f"; {len(gone)} were not sent and are not done" * bool(gone)
    if refused:
        first = errors.load(refused[0])
        rest += f"; {len(refused)} were refused and are not done, the first: {first}"
    raise NotYet(
        f"{coordinator.identity.host}: {len(kept)} of {len(numbers)} jobs were sent, "
        f"and the host has not answered yet; the next sshjobs poll asks again{rest}. "
        f"The last try: {error}",
        tuple(ids),
    ) from error
