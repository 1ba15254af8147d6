"""Seeing to jobs that wait here for jobs of other hosts: these hosts are asked too.

A command that is about such a job asks the hosts of those before it, and sends what its
rounds have let go.
"""

from __future__ import annotations

from functools import partial

from .. import states
from ..errors import Interrupted, SshJobsError, StoreError
from ..rounds import RoundWish
from ..rounds.needs import (
    LATER,
    Need,
    require_fresh_round,
    require_intents_served,
    require_paced_rounds,
)
from ..rounds.site import Site
from ..startup.contexts import closing, contextmanager, suppress
from ..startup.records import TYPE_CHECKING
from ..store import Store
from .context import Context
from .fanout import HostResults, Show, work_side_by_side

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable, Collection, Iterator, Sequence

    from .selection import Selection

#: While a host cannot be asked, it is tried again after so many seconds.
_PAUSE = 5.0

#: A host that is to get a job which was let go is borne for so many seconds.
_BRIEF = 5.0

#: Is said of a host that none of a call's own jobs is on.
NOT_SENT = "a job may begin, and is not sent yet: {}"


def find_sites_to_ask(store: Store, ids: Collection[str]) -> set[str]:
    """Return the sites whose jobs decide on some that wait here, now.

    If one before a job waits here as well, the sites of those before that one count.
    """
    held = {one.job_id: one.words for one in store.held.list_held()}
    wanted = [job_id for job_id in ids if job_id in held]
    before: set[str] = set()
    while wanted:
        new = {word[:16] for word in held[wanted.pop()].split()} - before
        before |= new
        wanted += [job_id for job_id in new if job_id in held]
    facts = store.held.find_facts(before - held.keys()).values()
    return {one.site_id for one in facts if not states.is_final(one.state)}


def _settle_unasked(store: Store, ids: Collection[str]) -> set[str]:
    """Return what :func:`find_sites_to_ask` does; where that is none, see to the jobs.

    No host can say more of what comes before them: a job before one of them may have
    left the record, and no leader of a round has looked since.
    """
    sites = find_sites_to_ask(store, ids)
    if not sites and not {one.job_id for one in store.held.list_held()}.isdisjoint(ids):
        from .withdraw import settle_others

        with suppress(StoreError), store.begin_write():
            settle_others(store)
    return sites


def ask_and_send(
    ctx: Context,
    jobs: Selection,
    work: Callable[[Context, str], object],
    show: Show | None,
    age: float,
) -> HostResults:
    """Do as :func:`.fanout.ask_all_hosts` does, where jobs wait here for others.

    The hosts of those before them are asked too, and what may begin then is sent before
    jobs are shown.

    Args:
        age: So old may the answer of these hosts be, in seconds.
    """
    results = HostResults(show)
    ctx.store.files.make_room()
    ids = [job_id for some in jobs.active.values() for job_id in some]
    sites = {**jobs.every, **dict.fromkeys(_settle_unasked(ctx.store, ids))}

    def ask_there(own: Context, site_id: str) -> None:
        if site_id not in jobs.every:
            with own.coordinator_at(site_id) as coordinator:
                since = coordinator.clock() - age
                coordinator.wait_for(require_fresh_round(coordinator.site, since))
        elif own.store.held.has_other_active(jobs.every[site_id]):
            work(own, site_id)

    found = dict(work_side_by_side(ctx, sites, ask_there))
    for site_id, error in send_let_go(ctx).items():
        if site_id in sites:
            found[site_id] = error
        else:  # no error of this call, which is about other jobs
            ctx.say(NOT_SENT.format(error))
    results.errors += [one for one in found.values() if isinstance(one, SshJobsError)]
    for ids in jobs.every.values():
        results.take_from_record(ctx.store, ids, jobs.named)
    return results


def send_let_go(ctx: Context) -> dict[str, SshJobsError]:
    """Send what was let go and not sent yet; return by site why that failed.

    One that starts, or never does, may let others go. Nobody waits long for a host that
    is down: the next command sends it.
    """
    failed: dict[str, SshJobsError] = {}
    tried: set[int] = set()

    def send_there(own: Context, site_id: str) -> None:
        with own.coordinator_at(site_id) as coordinator:
            need = require_intents_served(coordinator.site, unsent[site_id])
            coordinator.wait_for(need)

    while unsent := {
        site_id: numbers
        for site_id, numbers in ctx.store.held.list_unsent().items()
        if site_id not in failed and not tried.issuperset(numbers)
    }:
        tried.update(number for numbers in unsent.values() for number in numbers)
        own = ctx.open_for_thread(
            wait_host=min(_BRIEF, ctx.settings("").wait_host), conn_retry_attempts=1
        )
        with closing(own):
            own.interrupts = ctx.interrupts
            for site_id, result in work_side_by_side(own, unsent, send_there):
                if isinstance(result, SshJobsError):
                    failed[site_id] = result
    return failed


def rest_while_held(site: Site, ids: Sequence[str], need: Need) -> Need:
    """Return a need that wants no round while all that is left of jobs waits here."""
    if not site.store.intents.has_held():
        return need

    def wanted() -> float | None:
        due = need()
        if due is None or site.store.held.has_other_active(ids):
            return due
        return site.clock() + LATER

    return wanted


@contextmanager
def tend_held(ctx: Context, ids: Collection[str]) -> Iterator[None]:
    """Have a thread ask about those before jobs that wait here, as long as they do.

    A host that cannot be asked is told of once, and tried again; its jobs may run on.
    """
    if not (ctx.store.intents.has_held() and _settle_unasked(ctx.store, ids)):
        yield
        return
    import threading

    own = ctx.open_for_thread()
    done = threading.Event()
    tending = _Tending(own, ids, done)
    threading.Thread(target=tending.run, daemon=True).start()
    try:
        yield
    finally:
        done.set()
        own.interrupt.append(2)  # SIGINT, signal(7): it waits for no host any more
        ctx.interrupts[:] = [one for one in ctx.interrupts if one is not own.interrupt]


class _Tending:
    """What the thread does: asks hosts in their usual rounds, until nothing waits here.

    Args:
        own: A context of its own.
        ids: The jobs that its caller is about.
        done: Is set once its caller wants no more of it.
    """

    def __init__(
        self, own: Context, ids: Collection[str], done: threading.Event
    ) -> None:
        self._own = own
        self._ids = ids
        self._done = done
        self._told: set[str] = set()

    def run(self) -> None:
        """Go on until none of the jobs waits here."""
        with closing(self._own), suppress(Interrupted):
            while not self._done.is_set():
                sites = _settle_unasked(self._own.store, self._ids)
                if not sites:
                    return
                work = partial(self._ask_until_change, sites)
                for _, result in work_side_by_side(self._own, sites, work):
                    if isinstance(result, SshJobsError):
                        text = (
                            f"a job waits for one whose host cannot be asked: {result}"
                        )
                        if text not in self._told:
                            self._told.add(text)
                            self._own.say(text)
                        self._done.wait(_PAUSE)

    def _ask_until_change(self, sites: set[str], own: Context, site_id: str) -> None:
        """Ask a host until other hosts decide than did in the beginning."""
        with own.coordinator_at(site_id) as coordinator:
            store = coordinator.store

            def is_same() -> bool:
                is_done = self._done.is_set()
                return not is_done and sites == find_sites_to_ask(store, self._ids)

            paced = require_paced_rounds(coordinator.site, is_same)

            def need() -> float | None:
                due = paced()
                is_unsent = due is not None and site_id in store.held.list_unsent()
                return 0.0 if is_unsent else due

            coordinator.wait_for(need, wish=RoundWish(waits_for_end=True))
