"""A host as one thread of one process deals with it, and what may be needed of it.

A *need* is a function that returns None once it is met, else the instant from which
on a round is wanted for it. Needs look at the store and at nothing else.
"""

from __future__ import annotations

import os
import time
import zlib
from collections.abc import Callable, Sequence

from .. import errors, transports
from ..errors import SshJobsError
from ..settings import BY_NAME, Settings
from ..store import SiteRow, Store

#: What says whether something is met, and if not, from when on a round is wanted.
Need = Callable[[], "float | None"]

#: While a watch is on and tells of nothing, a round this often.
_IDLE = 15.0

#: How soon an end that was heard of is asked about, where few jobs run.
_SOON = 0.02

#: Between two looks at a job that is prepared and whose process is slow to start.
_PACE = 0.2

#: So many whole rounds at least must have left it as it was, before that is an error.
_TRIES = 3


class TimeUp(Exception):
    """Who leads was to wait no longer than until now; what has come counts."""


def site_id_of(identity: transports.Identity, settings: Settings) -> str:
    """Return the name under which the store keeps a connection and its jobs.

    Jobs live below a base directory, so that one host with two of them is two places
    here, which share the connection and nothing else.
    """
    base = settings.remote_base_dir
    if base == BY_NAME["remote_base_dir"].default:
        return identity.key
    return f"{identity.key[:8]}{zlib.crc32(os.fsencode(base)):08x}"


class Site:
    """What there is to know and to want of one host.

    Args:
        store: The store, for this thread alone.
        identity: What the host's name resolves to.
        settings: Those in force for the host.
        rundir: The directory of sockets.
        clock: Now, in seconds since the epoch.
    """

    def __init__(
        self,
        store: Store,
        identity: transports.Identity,
        settings: Settings,
        rundir: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.store = store
        self.identity = identity
        self.settings = settings
        self.rundir = rundir
        self.site_id = site_id_of(identity, settings)
        self.clock = clock
        self.waits = False  # for an end, which a watch can hear of
        self.unfetched: set[str] = set()  # whose logs come in rounds only
        self.retried = ""  # credentials that were refused before, while they are tried
        self.sessions = 0  # that are not in the ledger yet
        #: Of which jobs the disk took no more log, and what it said.
        self.unwritten: dict[str, errors.StoreError] = {}
        #: The instant of the monotonic clock at which its caller gives up, if any.
        self.until: float | None = None
        self.turn = 0.0  # seconds left to who led the last round, to lead the next

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.identity.host} {self.site_id}>"

    def check_time(self) -> None:
        """Raise once the caller's time is up; called about once a second."""
        if self.until is not None and time.monotonic() >= self.until:
            raise TimeUp

    def room(self) -> int:
        """Return how many bytes of logs this machine's disk may still take."""
        return self.store.room(self.settings.min_free_bytes)

    def no_room(self, job_id: str, home: int, size: int) -> errors.StoreError:
        """Return what it means for a job that its log cannot come home."""
        known = f"{home} of {size}" if size > home else f"the first {home}"
        return errors.StoreError(
            f"{self.store.home}: no room for logs: less than the setting "
            f"min_free_bytes would be free on its disk; {known} bytes of the log of "
            f"job {job_id} are here, the rest stays on {self.identity.host}: make "
            f"room, then: sshjobs logs {job_id} --offset {home}"
        )

    def take_sessions(self) -> int:
        """Return how many sessions the ledger lacks; the caller adds them."""
        count, self.sessions = self.sessions, 0
        return count

    def row(self) -> SiteRow:
        """Return what the store knows of the host now."""
        return self.store.know_host(self.site_id, self.identity.host)

    def generation(self) -> int:
        """Return the number of the lock whose holder leads now."""
        return self.store.generation(self.site_id)

    def served(self, numbers: Sequence[int]) -> Need:
        """Return the need that these intents are served.

        It raises once whole rounds have come back for ``start_grace`` and longer
        that said nothing of what was sent (a job that no process on the host takes).
        """
        sent: list[tuple[int, float]] = []

        def need() -> float | None:
            still, unsent = self.store.unserved(numbers)
            if not still:
                return None
            if unsent:
                return 0.0
            sent.append((self.row().rounds, self.clock()))
            del sent[1:]
            if self.is_overdue(*sent[0]):
                raise self._untaken(still)
            return self.next_look()

        return need

    def is_overdue(self, rounds: int, since: float) -> bool:
        """Tell whether whole rounds enough have come back, and time enough gone by."""
        late = abs(self.clock() - since) > self.settings.start_grace
        return late and self.row().rounds >= rounds + _TRIES

    def _untaken(self, count: int) -> SshJobsError:
        cause = self.row().cause
        return errors.OutcomeUnknown(
            self.identity.host,
            f"the host answers, and has not taken {count} of what was sent for "
            f"{self.settings.start_grace:g} s",
            "a full disk there, or no more processes allowed (ulimit -u); the setting "
            "is start_grace" + (f"; {errors.load(cause)}" if cause else ""),
        )

    def fresh(self, since: float) -> Need:
        """Return the need of a round that began at ``since`` or later."""
        wanted = since

        def need() -> float | None:
            nonlocal wanted
            wanted = min(wanted, self.clock())  # it is less once it was set back
            return None if self.void(self.row().round_started_at) >= wanted else 0.0

        return need

    def paced(self, more: Callable[[], bool], *, live: bool = False) -> Need:
        """Return the need of a round per ``poll_interval`` while ``more()``.

        Args:
            live: What is waited for also comes without an end that is heard of (a
                log that grows); else a silent watch makes rounds rare.
        """

        def need() -> float | None:
            if not more():
                return None
            self.waits = True
            row = self.row()
            last, stirred = self.void(row.round_started_at), self.void(row.end_seen_at)
            usual = last + self.settings.poll_interval + self.turn
            if stirred >= last:  # heard, be it before the first beat of the watch
                lone = self.store.few_active(self.site_id)
                return stirred + _SOON if lone else usual
            if not row.is_watched(self.clock()):
                return usual
            return usual if live else last + _IDLE

        return need

    def next_look(self) -> float:
        """Return when to look again for what was sent and not taken yet."""
        return self.void(self.row().round_ended_at) + _PACE

    def void(self, instant: float) -> float:
        """Return an instant, or 0 if it is further ahead than it can be."""
        return instant if instant <= self.clock() + 1.0 else 0.0
