"""The hosts of a pool in one call: which may have jobs, and where a key was placed."""

from __future__ import annotations

import time
from contextlib import ExitStack

from .. import errors, states
from ..errors import SshJobsError, add_hint, find_hint
from ..model import Job
from ..rounds import Coordinator, cause_of, cooldown_end
from ..scheduling.pools import Room, deal_jobs, find_retry, read_pool
from ..startup.records import TYPE_CHECKING, Record
from ..store import queries
from .context import Context

if TYPE_CHECKING:
    from collections.abc import Iterator

#: So many hosts are named in an error.
_NAMED = 8


class Member(Record):
    """A host of a pool; ``is_current`` is not one that has left it, with jobs."""

    host: str
    coordinator: Coordinator
    is_current: bool = True


class PoolHosts:
    """The hosts of a pool, as one call meets them.

    Args:
        pool: ``pool:NAME``.
        stack: Closes the contexts of hosts with the call.

    Attributes:
        members: By site.
        errors: Why a host is given nothing more in this call, by site.

    Raises:
        SpecError: there is no such pool.
    """

    def __init__(self, ctx: Context, pool: str, stack: ExitStack) -> None:
        self._ctx = ctx
        self._stack = stack
        self.pool = pool
        self.members: dict[str, Member] = {}
        self.errors: dict[str, SshJobsError] = {}
        self._last_resort = ""
        for host in read_pool(ctx.config, pool):
            try:
                coordinator = stack.enter_context(ctx.coordinator(host))
            except SshJobsError as error:  # its name cannot be made out
                self.errors[host] = error
                continue
            # Two names of one connection are one host.
            self.members.setdefault(coordinator.site_id, Member(host, coordinator))

    def __repr__(self) -> str:
        return f"<PoolHosts {self.pool} {len(self.members)}>"

    @property
    def is_patient(self) -> bool:
        """Tell whether the last host is waited for, so that there is no other."""
        return bool(self._last_resort)

    def deal_sites(self, count: int) -> Iterator[str]:
        """Yield for each of so many jobs the site with the most free room.

        Hosts in cooldown, those whose login is refused, and those that failed in this
        call are passed over. Where no host is left, one is waited for.
        """
        rooms = []
        now = time.time()
        for site_id, member in self.members.items():
            if site_id in self.errors or not member.is_current:
                continue
            row = member.coordinator.site.row()
            end = cooldown_end(row, now)
            if row.failures or row.bad_rounds:  # no connect by a person since then
                end = find_retry(row.failing_since, row.cooldown_set_at, end)
            if end > now or member.coordinator.leadership.find_refusal(row):
                continue
            here = queries.equals("site_id", site_id) & queries.IS_ACTIVE
            limit = member.coordinator.settings.max_running
            rooms.append(Room(site_id, self._ctx.store.queries.count_jobs(here), limit))
        if not rooms:
            self._last_resort = self._last_resort or self._find_last_resort(now)
            if self._last_resort and self._last_resort not in self.errors:
                rooms = [Room(self._last_resort, 0)]
        return deal_jobs(rooms, count) if rooms else iter(())

    def _find_last_resort(self, now: float) -> str:
        """Return the site that is waited for, as long as for any, if all have failed.

        A throttled one comes first, since that passes; then the one that may be tried
        soonest. It is "" if none can come back by itself.
        """
        found = []
        for site_id, cause in self._find_causes().items():
            passes = isinstance(cause, (errors.HostUnreachable, errors.OutcomeUnknown))
            member = self.members.get(site_id)
            if passes and member is not None and member.is_current:
                end = cooldown_end(member.coordinator.site.row(), now)
                found.append((not isinstance(cause, errors.Throttled), end, site_id))
        if not found:
            return ""
        site_id = min(found)[2]
        self.errors.pop(site_id, None)
        return site_id

    def _find_causes(self) -> dict[str, SshJobsError]:
        """Return by site why it takes no job, as far as that is known."""
        causes = dict(self.errors)
        for site_id, member in self.members.items():
            row = member.coordinator.site.row()
            refusal = member.coordinator.leadership.find_refusal(row)
            causes.setdefault(site_id, refusal or cause_of(row))
        return causes

    def find_holder(self, key: str) -> str:
        """Return the site where a key was placed, "" if it has none.

        A job of the key that is active or COMPLETED holds it, on a host of the pool or
        on one that has left it. After a bad end the key stays on its host while that is
        one of the pool.
        """
        jobs = self._ctx.store.jobs.find_by_key(key)
        jobs.sort(key=lambda job: job.submitted_at, reverse=True)
        current = [m for m in self.members if self.members[m].is_current]
        mine = [j for j in jobs if j.pool == self.pool or j.site_id in current]
        holders = [job for job in mine if _holds_key(job)]
        for job in holders + mine:
            if job.site_id not in self.members:
                if not _holds_key(job):
                    continue
                context = self._ctx.coordinator_at(job.site_id)
                left = Member(job.host, self._stack.enter_context(context), False)
                self.members[job.site_id] = left
            member = self.members[job.site_id]
            if member.is_current or _holds_key(job):
                return job.site_id
        return ""

    def explain_key(self, key: str, site_id: str) -> SshJobsError:
        """Return why a key whose host failed runs nowhere."""
        error, host = self.errors[site_id], self.members[site_id].host
        hint = find_hint("round:placed", key=key, host=host)
        return add_hint(error, hint)

    def explain_no_host(self) -> SshJobsError:
        """Return why no host of the pool takes a job."""
        causes = self._find_causes()
        texts = [str(error) for error in causes.values()][:_NAMED]
        more = len(causes) - len(texts)
        texts += [f"and {more} more hosts"] * bool(more)
        kinds = {type(error) for error in causes.values()}
        is_login = all(issubclass(kind, errors.AuthenticationError) for kind in kinds)
        kind = errors.AuthenticationError if is_login else errors.HostUnreachable
        return kind(self.pool, f"none of its hosts takes a job: {'; '.join(texts)}")


def _holds_key(job: Job) -> bool:
    return job.state == states.COMPLETED or not states.is_final(job.state)
