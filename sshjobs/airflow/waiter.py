"""Waits for the jobs of all deferred tasks of a triggerer, one thread a host.

Theory of operation: a trigger hands a :class:`WaitedJob` to the waiter of its host and
awaits a future. The waiter is a thread that does what ``sshjobs wait`` and ``sshjobs
logs --follow`` do, for all of them together: one need, one watch, at most one round a
``poll_interval`` (fewer where another process leads them). It looks at the record after
each round, hands new bytes of logs to the :mod:`.task_log`, and tells each trigger of
its job's end over the event loop's own door for threads. It touches no Airflow.

A job that this machine's record does not know (another worker submitted it) is taken up
from the host first. Triggers with other settings, say another ``wait_host``, have a
waiter of their own; they share the connection and the rounds all the same.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from .. import states
from ..errors import SshJobsError
from ..model import Job
from ..rounds import LONG, Coordinator, RoundWish
from ..rounds.log_state import is_log_wanted
from ..rounds.needs import require_paced_rounds
from ..startup.records import Record
from ..store import slices
from ..verbs.adopt import adopt_listed_jobs
from ..verbs.context import Context
from .task_log import PUMP, LogCopy

#: How long an ended job's last bytes are waited for; then the worker asks for them.
_LAST_BYTES = 15.0

#: How long a waiter that has nothing to wait for stays, for the next trigger.
_LINGER = 5.0


class WaitedEnd(Record):
    """What became of a job that was waited for.

    ``kind`` is ``ended``, ``unknown`` (neither the record nor the host knows it),
    ``silent`` (it was ended, since it wrote nothing for so long) or ``error``, with the
    exit status of ``sshjobs`` for that error and its text.
    """

    kind: str
    job: Job | None = None
    status: int = 0
    message: str = ""


class WaitedJob:
    """A job that one trigger waits for.

    Args:
        name: Its id, or ``key:K``.
        then: Called once, in the waiter's thread, with its end.
        copy: Takes its log as it comes; None leaves all of it to others.
        silence: Seconds without a byte of log after which it is ended.
        kill: End it, whatever it does.
    """

    def __init__(
        self,
        name: str,
        then: Callable[[WaitedEnd], object],
        *,
        copy: LogCopy | None = None,
        silence: float | None = None,
        kill: bool = False,
    ) -> None:
        self.name = name
        self.copy = copy
        self.silence = silence
        self.kill = kill
        self.is_dropped = False
        self.id = ""
        self.home_bytes = -1
        self.grown_at = 0.0
        self.ended_at = 0.0
        self.is_silent = False
        self.numbers: list[int] = []  # of its intents
        self._then = then

    def tell(self, end: WaitedEnd) -> None:
        """Tell the trigger, once."""
        if not self.is_dropped:
            self.is_dropped = True
            self._then(end)


class HostWaiter:
    """Waits for jobs of one host, below one base directory, in a thread."""

    def __init__(self, host: str, site_id: str, environ: Mapping[str, str]) -> None:
        self._host = host
        self._site_id = site_id  # "" is what the name means now
        self._environ = dict(environ)
        self._lock = threading.Lock()
        self._new: list[WaitedJob] = []
        self._thread: threading.Thread | None = None
        self._open: dict[WaitedJob, None] = {}
        self._seen_rounds = -1

    def add(self, waited: WaitedJob) -> None:
        """Wait for one more."""
        with self._lock:
            self._new.append(waited)
            if self._thread is None:
                name = f"sshjobs {self._host}"
                self._thread = threading.Thread(
                    target=self._wait_until_idle, name=name, daemon=True
                )
                self._thread.start()

    def _wait_until_idle(self) -> None:
        """Wait until nobody has anything to wait for, and a little longer."""
        idle_since = time.monotonic()
        while True:
            if self._new or self._open:
                self._wait_in_own_context()
                idle_since = time.monotonic()
            with self._lock:
                if not self._new and time.monotonic() > idle_since + _LINGER:
                    self._thread = None
                    return
            time.sleep(_LINGER / 50)

    def _wait_in_own_context(self) -> None:
        """Wait for all; an error that others cannot mend is told to each of them."""
        try:
            ctx = Context(self._environ)
            try:
                where = (
                    ctx.coordinator_at(self._site_id)
                    if self._site_id
                    else ctx.coordinator(self._host)
                )
                with where as coordinator:
                    self._wait_for_all(coordinator)
            finally:
                ctx.close()
        except SshJobsError as error:
            self._fail_all(WaitedEnd("error", None, error.exit_status, str(error)))
        except BaseException as error:
            self._fail_all(WaitedEnd("error", None, 70, f"{error!r}: a bug of sshjobs"))
            raise

    def _fail_all(self, end: WaitedEnd) -> None:
        with self._lock:
            new, self._new = self._new, []
        every, self._open = dict.fromkeys([*self._open, *new]), {}
        for waited in every:
            waited.tell(end)

    def _wait_for_all(self, coordinator: Coordinator) -> None:
        paced = require_paced_rounds(coordinator.site, lambda: True, live=True)

        def need() -> float | None:
            return None if self._new or not self._open else paced()

        def look() -> None:
            self._tell_of_round(coordinator)

        wish = RoundWish(portion_bytes=LONG, waits_for_end=True, on_look=look)
        try:
            while self._new or self._open:
                self._take_up_new(coordinator)
                coordinator.wait_for(need, wish=wish)
        finally:
            coordinator.store.intents.drop_intents(
                number for waited in self._open for number in waited.numbers
            )

    def _take_up_new(self, coordinator: Coordinator) -> None:
        """Find those that are new in the record, or on the host."""
        with self._lock:
            new = list(self._new)
        unknown = [
            waited for waited in new if not self._begin_wait(coordinator, waited)
        ]
        if unknown:
            names = {waited.name for waited in unknown}
            adopt_listed_jobs(
                coordinator, lambda one: bool(names & {one.job_id, f"key:{one.key}"})
            )
        for waited in unknown:
            if not self._begin_wait(coordinator, waited):
                waited.tell(WaitedEnd("unknown"))
        with self._lock:
            del self._new[: len(new)]
        self._seen_rounds = -1

    def _begin_wait(self, coordinator: Coordinator, waited: WaitedJob) -> bool:
        """Begin to wait for a job if the record has it."""
        store = coordinator.store
        if waited.name.startswith("key:"):
            job = next(iter(store.jobs.find_by_key(waited.name[4:])), None)
        else:
            job = store.jobs.find_job(waited.name)
        if job is None:
            return False
        waited.name, waited.id = job.id, job.id
        if job.site_id != coordinator.site_id:
            find_waiter(self._host, self._environ, job.site_id).add(waited)
            return True
        site_id = coordinator.site_id
        if waited.copy is not None:
            waited.numbers = store.intents.add_intents(site_id, "log", [job.id])
        if waited.kill and not states.is_final(job.state):
            self._order_kills(coordinator, [waited])
        self._open[waited] = None
        return True

    def _tell_of_round(self, coordinator: Coordinator) -> None:
        """Tell triggers of what the last round has brought."""
        rounds = coordinator.site.row().rounds
        if rounds != self._seen_rounds:
            self._seen_rounds = rounds
            store, ids = coordinator.store, [waited.id for waited in self._open]
            # Of a thousand that run only the ended ones are read whole, once a round.
            active = store.jobs.read_active_bytes(ids)
            jobs: dict[str, Job] = {}
            for some in slices([job_id for job_id in ids if job_id not in active]):
                jobs |= store.jobs.find_jobs(some)
            now = time.monotonic()
            for waited in self._open:
                if waited.is_dropped:
                    continue
                if waited.id in active:
                    self._take_growth(coordinator, waited, active[waited.id], now)
                    late = waited.silence and now > waited.grown_at + waited.silence
                    waited.is_silent = waited.is_silent or bool(late)
                else:
                    self._tell_end(coordinator, waited, jobs.get(waited.id), now)
            silent = [one for one in self._open if one.is_silent and not one.kill]
            self._order_kills(coordinator, silent)
        dropped = [waited for waited in self._open if waited.is_dropped]
        for waited in dropped:
            del self._open[waited]
        numbers = [number for waited in dropped for number in waited.numbers]
        if numbers:
            coordinator.store.intents.drop_intents(numbers)

    @staticmethod
    def _take_growth(
        coordinator: Coordinator, waited: WaitedJob, home_bytes: int, now: float
    ) -> None:
        """Have new bytes of a log copied that are here."""
        if home_bytes == waited.home_bytes:
            return
        waited.home_bytes, waited.grown_at = home_bytes, now
        if waited.copy is not None and home_bytes:
            waited.copy.grow(coordinator.store.files.locate_log(waited.id), home_bytes)
            PUMP.stir(waited.copy)

    def _tell_end(
        self, coordinator: Coordinator, waited: WaitedJob, job: Job | None, now: float
    ) -> None:
        """Tell of an ended job once its log is here, or was waited for long enough."""
        if job is None:
            waited.tell(WaitedEnd("unknown"))
            return
        self._take_growth(coordinator, waited, job.log_local_bytes, now)
        waited.ended_at = waited.ended_at or now
        wants_more = waited.copy is not None and is_log_wanted(job)
        if not wants_more or now > waited.ended_at + _LAST_BYTES:
            waited.tell(WaitedEnd("silent" if waited.is_silent else "ended", job))

    def _order_kills(
        self, coordinator: Coordinator, waiting: Iterable[WaitedJob]
    ) -> None:
        """Have the next round end jobs, be this process there to lead it or not."""
        ids = [waited.id for waited in waiting]
        for waited in waiting:
            waited.kill = True
        coordinator.store.intents.add_intents(coordinator.site_id, "kill", ids, owner=0)


_WAITERS: dict[Any, HostWaiter] = {}
_LOCK = threading.Lock()


def find_waiter(host: str, environ: Mapping[str, str], site_id: str = "") -> HostWaiter:
    """Return the waiter of this process for a host, with these settings."""
    given = sorted(pair for pair in environ.items() if pair[0].startswith("SSHJOBS_"))
    with _LOCK:
        name = (host, site_id, tuple(given))
        if name not in _WAITERS:
            _WAITERS[name] = HostWaiter(host, site_id, environ)
        return _WAITERS[name]
