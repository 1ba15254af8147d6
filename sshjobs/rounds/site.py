"""A host below one base directory, as one thread of one process knows it."""

from __future__ import annotations

import os
import time
import zlib

from .. import errors, transports
from ..model import LIMIT
from ..settings import BY_NAME, Settings
from ..startup.records import TYPE_CHECKING
from ..store import SiteRow, Store
from .wish import Contact

if TYPE_CHECKING:
    from collections.abc import Callable


#: However little is left of wait_host, a session may be silent for so long: start-up
#: files of a login take some seconds (conda, modules).
_SHORTEST_SILENCE = 10.0

#: A scheduler is asked no more often, unless poll_interval is set; squeue(1) says that
#: it is not to be called in loops.
QUEUE_INTERVAL = 15.0


class TimeUp(Exception):
    """Who leads was to wait no longer than until now; what has come counts."""


class Over(Exception):
    """A reply is whole; further bytes of the session are of no interest."""


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
    """What this machine knows of one host, and the state of one thread towards it.

    Args:
        store: The store, for this thread alone.
        identity: What the host's name resolves to.
        settings: Those in force for the host.
        rundir: The directory of sockets.
        clock: Now, in seconds since the epoch.
        contact: What its thread waits for.
    """

    def __init__(
        self,
        store: Store,
        identity: transports.Identity,
        settings: Settings,
        rundir: str,
        clock: Callable[[], float] = time.time,
        contact: Contact | None = None,
    ) -> None:
        self.store = store
        self.contact = contact or Contact(identity.host)
        self.identity = identity
        self.settings = settings
        self.rundir = rundir
        self.site_id = site_id_of(identity, settings)
        self.clock = clock
        self.unfetched: set[str] = set()  # whose logs come in rounds only
        self.retried = ""  # credentials that were refused before, while they are tried
        self.sessions = 0  # that are not in the ledger yet
        #: Of which jobs the disk took no more log, and what it said.
        self.unwritten: dict[str, errors.StoreError] = {}
        #: The instant of the monotonic clock at which its caller gives up, if any.
        self.until: float | None = None
        #: The one at which it has borne the host's failures for long enough.
        self.bears_until = float("inf")
        self.turn = 0.0  # seconds left to who led the last round, to lead the next

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.identity.host} {self.site_id}>"

    @property
    def queue_age(self) -> float:
        """How old what a scheduler said of its queue may be, in seconds."""
        given = "poll_interval" in self.settings.given
        return self.settings.poll_interval if given else QUEUE_INTERVAL

    @property
    def poll_interval(self) -> float:
        """Seconds between rounds for those who wait.

        Where a scheduler has all that is waited for, that is how often it may be asked:
        a login node is not there for our sessions.
        """
        return self.queue_age if self.is_scheduled else self.settings.poll_interval

    @property
    def is_scheduled(self) -> bool:
        """Tell whether schedulers have all jobs that may still change.

        systemd's run on the host itself, where they are seen like any.
        """
        names = self.store.jobs.list_launchers(self.site_id)
        return bool(names) and not {"", "systemd", LIMIT} & {*names}

    def check_time(self) -> None:
        """Raise once the caller's time is up; called about once a second."""
        self.contact.check()
        if self.until is not None and time.monotonic() >= self.until:
            raise TimeUp

    def bound_silence(self) -> float:
        """Return how long the host may be silent in a session that begins now."""
        left = max(_SHORTEST_SILENCE, self.bears_until - time.monotonic())
        return min(self.settings.command_timeout, left)

    def measure_room(self) -> int:
        """Return how many bytes of logs this machine's disk may still take."""
        return self.store.files.measure_room(self.settings.min_free_bytes)

    def make_no_room_error(
        self, job_id: str, home: int, size: int
    ) -> errors.StoreError:
        """Return what it means for a job that its log cannot come home."""
        known = f"{home} of {size}" if size > home else f"the first {home}"
        return errors.StoreError(
            f"{self.store.home}: no room for logs: less than the setting "
            f"min_free_bytes would be free on its disk. {known} bytes of the log of "
            f"job {job_id} are on this machine, the rest stays on "
            f"{self.identity.host}. Make room, then run:\n"
            f"sshjobs logs {job_id} --offset {home}"
        )

    def take_sessions(self) -> int:
        """Return how many sessions the ledger lacks; the caller adds them."""
        count, self.sessions = self.sessions, 0
        return count

    def row(self) -> SiteRow:
        """Return what the store knows of the host now."""
        return self.store.sites.ensure_site(self.site_id, self.identity.host)

    def generation(self) -> int:
        """Return the number of the lock whose holder leads now."""
        return self.store.sites.read_generation(self.site_id)

    def drop_future(self, instant: float) -> float:
        """Return an instant, or 0 if it is further ahead than it can be."""
        return instant if instant <= self.clock() + 1.0 else 0.0
