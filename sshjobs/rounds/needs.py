"""Needs: what a process waits for, as functions that look at the store and only look.

A *need* is a function that returns None once it is met, else the instant from which on
a round is wanted for it. Whoever leads meets it; so nothing but the store can tell.
"""

from __future__ import annotations

from .. import errors
from ..errors import SshJobsError
from ..startup.records import TYPE_CHECKING
from .site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeAlias


#: What says whether something is met, and if not, from when on a round is wanted.
Need: TypeAlias = "Callable[[], float | None]"

#: While a watch is on and tells of nothing, a round this often.
_IDLE = 15.0

#: How soon an end that was heard of is asked about, where few jobs run: those that end
#: together share a round. After the end of the only one there is nothing to share.
_SOON = 0.02

#: So far ahead is a round for jobs that wait on this machine: none, with an open need.
LATER = 3600.0

#: Between two looks at a job that is prepared and whose process is slow to start.
_PACE = 0.2

#: So many whole rounds at least must have left it as it was, before that is an error.
_TRIES = 3


def require_intents_served(site: Site, numbers: Sequence[int]) -> Need:
    """Return the need that these intents are served.

    It raises once whole rounds have come back for ``start_grace`` and longer
    that said nothing of what was sent (a job that no process on the host takes).
    """
    first: tuple[int, float] | None = None  # rounds and time once all was sent

    def need() -> float | None:
        nonlocal first
        still, unsent = site.store.intents.count_unserved(numbers)
        site.contact.is_sent = not unsent
        if not still:
            return None
        if unsent:  # no request has held it yet: the next round may start at once
            return 0.0
        first = first or (site.row().rounds, site.clock())
        if is_overdue(site, *first):
            raise build_unserved_error(site, still)
        return find_next_look(site)

    return need


def is_overdue(site: Site, rounds: int, since: float) -> bool:
    """Tell whether whole rounds enough have come back, and time enough gone by."""
    # Both: a stopped clock of rounds (no leader) is no fault of the host, and three
    # rounds can come back within a second.
    late = abs(site.clock() - since) > site.settings.start_grace
    return late and site.row().rounds >= rounds + _TRIES


def build_unserved_error(site: Site, count: int) -> SshJobsError:
    """Return the error of a host that replies and starts nothing of what was sent."""
    cause = site.row().cause
    error = errors.OutcomeUnknown(
        site.identity.host,
        f"the host replied, but left {count} of our requests unserved for "
        f"{site.settings.start_grace:g} s",
        errors.find_hint("round:unserved", "round:setting", name="start_grace"),
    )
    return errors.add_hint(error, str(errors.load(cause)) if cause else "")


def require_fresh_round(site: Site, since: float) -> Need:
    """Return the need of a round that began at ``since`` or later."""
    wanted = since

    def need() -> float | None:
        nonlocal wanted
        wanted = min(wanted, site.clock())  # it is less once it was set back
        return None if site.drop_future(site.row().round_started_at) >= wanted else 0.0

    return need


def require_paced_rounds(
    site: Site, more: Callable[[], bool], *, live: bool = False
) -> Need:
    """Return the need of a round per ``poll_interval`` while ``more()``.

    Args:
        live: What is waited for also comes without an end that is heard of (a
            log that grows); else a silent watch makes rounds rare.
    """

    def need() -> float | None:
        if not more():
            return None
        row = site.row()
        last = site.drop_future(row.round_started_at)
        stirred = site.drop_future(row.end_seen_at)
        usual = last + site.poll_interval + site.turn
        if stirred >= last:  # heard, be it before the first beat of the watch
            if site.store.jobs.has_few_active(site.site_id, 1):
                return stirred
            # In a crowd one round a poll_interval tells of all ends together.
            is_few = site.store.jobs.has_few_active(site.site_id)
            return stirred + _SOON if is_few else usual
        if not row.is_watched(site.clock()):
            return usual
        return usual if live else last + _IDLE

    return need


def find_next_look(site: Site) -> float:
    """Return when to look again for what was sent and not taken yet."""
    return site.drop_future(site.row().round_ended_at) + _PACE
