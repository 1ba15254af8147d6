"""Starting jobs: written down here, then run there exactly once."""

from __future__ import annotations

from collections.abc import Sequence

from .. import errors, states
from ..errors import NotYet, SshJobsError
from ..model import CLEANUP, Job, Spec, check_host, check_spec, new_job_id
from ..record import Record
from ..rounds import Party
from ..store import Intent, Store
from .context import Context

#: A record of a command longer than this is cut; the host has it whole.
_COMMAND_SHOWN = 4096

#: The note of an intent whose key another command holds; see ``facts.Ledger``.
_DIFFERS = '["Differs", []]'


class Order(Record):
    """One job to submit: what to run, and what it is to be called."""

    spec: Spec
    name: str = ""
    key: str = ""
    once: bool = False
    cleanup: str | None = None  # None: the setting
    id: str = ""  # the id that it is to have, "" for a fresh one


class Submitted(Record):
    """What became of an order; either ``job`` or ``error`` is set.

    ``differs`` says that the job holds the order's key with another command.
    """

    job: Job | None
    error: SshJobsError | None = None
    differs: bool = False


def submit(ctx: Context, host: str, orders: Sequence[Order]) -> list[Submitted]:
    """Start jobs on a host.

    After return, each job has started there, exactly once, or its error says why
    it never will. After an error, nothing of the batch is left here or there.

    Returns:
        One entry an order, in their order.

    Raises:
        SpecError: an order is wrong; nothing was done.
        HostUnreachable: nothing ran, nothing will.
        NotYet: sent, and unanswered; ``job_ids`` name what any later verb of this
            machine will see to.
    """
    check_host(host)
    for order in orders:
        check_order(order)
    with ctx.party(host) as party:
        known = {i: _completed(party, order) for i, order in enumerate(orders)}
        fresh = [order for i, order in enumerate(orders) if known[i] is None]
        results = iter(_submit_fresh(party, fresh) if fresh else ())
        return [known[i] or next(results) for i in range(len(orders))]


def check_order(order: Order) -> Order:
    """Return the order if it can be carried out.

    Raises:
        SpecError: it cannot, and why.
    """
    check_spec(order.spec)
    for text in (order.name, order.key):
        # Stray bytes of an argument, or half a surrogate pair of JSON, are no text.
        if "\0" in text or len(text) > 1024 or _storable(text) != text:
            raise errors.SpecError(f"not a name or key: {text[:60]!r}")
    if order.cleanup not in (None, *CLEANUP):
        raise errors.SpecError(f"{order.cleanup!r} is not one of {', '.join(CLEANUP)}")
    if order.once and not order.key:
        raise errors.SpecError("--once goes with --key")
    return order


def _completed(party: Party, order: Order) -> Submitted | None:
    """Return the COMPLETED job of the order's key, if it is known here.

    A final state never changes, so that the host need not be asked.
    """
    if not order.key:
        return None
    for job in party.store.by_key(order.key):
        if job.conn == party.conn and job.state == states.COMPLETED:
            return Submitted(job, None, job.digest != order.spec.digest())
    return None


def _submit_fresh(party: Party, orders: Sequence[Order]) -> list[Submitted]:
    numbers = _write_down(party, orders)
    try:
        party.pursue(party.served(numbers))
    except SshJobsError as error:
        _take_back(party, numbers, error)
    except BaseException:
        party.store.withdraw(numbers)
        raise
    return _outcomes(party.store, numbers)


def _write_down(party: Party, orders: Sequence[Order]) -> list[int]:
    """Write jobs and what is wanted of them into the store."""
    store, now = party.store, party.clock()
    # A microsecond apart, so that lists keep the order of a batch.
    jobs = [_job_of(party, o, now + i * 1e-6) for i, o in enumerate(orders)]
    try:
        with store.writing_specs():
            for job, order in zip(jobs, orders):
                store.save_spec(job.id, order.spec)
            with store.write():
                store.add_jobs(jobs)
                return store.add_intents(party.conn, "start", [job.id for job in jobs])
    except SshJobsError:
        for job in jobs:
            store.drop_spec(job.id)
        raise


def _job_of(party: Party, order: Order, now: float) -> Job:
    spec = order.spec
    return Job(
        id=order.id or new_job_id(),
        host=party.identity.host,
        conn=party.conn,
        state=states.PENDING,
        key=order.key,
        name=order.name,
        once=order.once,
        command=_storable(spec.text()[:_COMMAND_SHOWN]),
        digest=spec.digest() if order.key else "",
        cwd=_storable(spec.cwd),
        shell=spec.shell,
        env_names=" ".join(name for name, _ in spec.env),
        timeout=spec.timeout,
        cleanup=order.cleanup or party.settings.cleanup,
        submitted_at=now,
    )


def _storable(text: str) -> str:
    """Return text that SQLite takes: stray bytes become escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _take_back(party: Party, numbers: Sequence[int], error: SshJobsError) -> None:
    """Withdraw what was not sent; keep, durably, what was; raise what to say."""
    store = party.store
    with store.write(durable=True):  # all at once: others may be serving it right now
        outcomes = store.outcomes(numbers)
        waiting = [number for number, i in outcomes.items() if not i.done]
        if not waiting:
            return  # the reply came after all, perhaps to another process
        gone, kept = store.withdraw(waiting)
        store.sync_specs(kept)
        store.disown(kept)
        for job_id in kept:
            store.update(job_id, reason="sent, and not answered yet")
    started = [i.job_id for i in outcomes.values() if i.done and _is_good(i)]
    if not kept and not started:
        raise error
    rest = f"; {len(gone)} were not sent and are not done" * bool(gone)
    raise NotYet(
        f"{party.identity.host}: {len(kept)} of {len(outcomes)} jobs were sent and not "
        f"answered; the next sshjobs poll sees to them{rest}. The last try: {error}",
        (*kept, *started),
    ) from error


def _is_good(intent: Intent) -> bool:
    """Tell whether a served intent is not an error."""
    return intent.note in ("", _DIFFERS)


def _outcomes(store: Store, numbers: Sequence[int]) -> list[Submitted]:
    """Read what became of orders, and clear it away."""
    intents = store.outcomes(numbers)
    jobs = store.jobs({intent.job_id for intent in intents.values()})
    results = []
    for number in numbers:
        intent = intents[number]
        differs = intent.note == _DIFFERS
        job = jobs.get(intent.job_id)
        if not _is_good(intent):
            results.append(Submitted(None, errors.load(intent.note)))
        elif job is None:
            error = errors.JobError(intent.job_id, "is no longer in the record")
            results.append(Submitted(None, error))
        else:
            results.append(Submitted(job, None, differs))
    store.drop_intents(numbers)
    return results
