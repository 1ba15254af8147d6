"""A record that is kept fresh: each host with active jobs is asked, again and again.

Theory of operation: a thread for each connection waits for a round a poll_interval, as
``wait`` does, so that whoever leads, one round serves all who wait. While a job is
looked at, an open intent has each of these rounds bring its log. A caller reads the
record at its own pace and never waits for a host.
"""

from __future__ import annotations

import os
import threading
import time

from ..errors import SshJobsError
from ..owned import open_owned
from ..rounds.log_state import count_bytes_left, is_log_wanted
from ..rounds.needs import require_paced_rounds
from ..startup.records import TYPE_CHECKING
from .kill import kill_jobs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..model import Job
    from ..rounds import Coordinator
    from .context import Context

#: A host is tried for so long, and then shown as one that does not answer.
_BOUND = 5.0

#: A thread looks so often, at least, whether it is still wanted.
_LOOK = 1.0

#: A log of which more bytes than these are missing is not brought to be looked at.
_MOST_BYTES = 8_000_000

#: So much of the end of a log is looked at.
_END_BYTES = 32_768


class LiveRecord:
    """The threads that keep a record fresh.

    Attributes:
        errors: Why a connection's host could not be asked last time, by site.
        told: The outcome of the last kill, in words.
    """

    def __init__(self, ctx: Context) -> None:
        brief = {"wait_host": _BOUND, "conn_timeout": _BOUND}
        self._ctx = type(ctx)(ctx.environ, ctx.config, ctx.flags | brief)
        self.errors: dict[str, SshJobsError] = {}
        self.told = ""
        self._selected: Job | None = None
        self._wanted: set[str] = set()
        self._threads: dict[str, threading.Thread] = {}
        self._is_paused = False

    def ask_sites(self, site_ids: Iterable[str]) -> None:
        """Keep jobs of these connections fresh from now on; and bring one job's log."""
        job = self._selected
        lacks_log = job is not None and is_log_wanted(job)
        self._wanted = {*site_ids, *([job.site_id] if job and lacks_log else ())}
        most = self._ctx.settings("").max_hosts
        for site_id in sorted(self._wanted):
            thread = self._threads.get(site_id)
            if (thread is None or not thread.is_alive()) and len(self._alive()) < most:
                thread = threading.Thread(
                    target=self._keep_site, args=(site_id,), daemon=True
                )
                self._threads[site_id] = thread
                thread.start()

    def select_job(self, job: Job | None) -> None:
        """Bring the log of this job, as it grows."""
        self._selected = job

    def pause(self, bound: float) -> None:
        """Have no thread lead a round any more, within a bound of seconds."""
        self._is_paused = True
        end = time.monotonic() + bound
        for thread in self._alive():
            thread.join(max(0.0, end - time.monotonic()))

    def resume(self) -> None:
        """Let threads ask again, after :meth:`pause`."""
        self._is_paused = False

    def end_job(self, job: Job) -> None:
        """Have a job end, in a thread of its own; :attr:`told` has the outcome."""
        threading.Thread(target=self._end_job, args=(job,), daemon=True).start()

    def _alive(self) -> list[threading.Thread]:
        return [thread for thread in self._threads.values() if thread.is_alive()]

    def _end_job(self, job: Job) -> None:
        name = job.name or job.key or job.id
        self.told = f"{name}: telling {job.host} to end it"
        own = self._ctx.open_for_thread()
        try:
            results = kill_jobs(own, [job.id], until_told=True)
            failed = [str(error) for error in results.errors]
            self.told = failed[0] if failed else f"{name}: was told to end"
        except SshJobsError as error:
            self.told = str(error)
        finally:
            own.close()

    def _keep_site(self, site_id: str) -> None:
        own = self._ctx.open_for_thread()
        try:
            while self._is_wanted(site_id):
                try:
                    with own.coordinator_at(site_id) as coordinator:
                        self._ask_again_and_again(coordinator)
                    self.errors.pop(site_id, None)
                except SshJobsError as error:
                    self.errors[site_id] = error
                    time.sleep(_LOOK)
        finally:
            own.close()

    def _is_wanted(self, site_id: str) -> bool:
        return site_id in self._wanted and not self._is_paused

    def _ask_again_and_again(self, coordinator: Coordinator) -> None:
        site_id, store = coordinator.site_id, coordinator.store
        numbers: list[int] = []
        looked_at: str | None = None
        try:
            while self._is_wanted(site_id):
                job = self._selected
                now_at = job.id if job is not None and job.site_id == site_id else ""
                if now_at != looked_at:
                    store.intents.drop_intents(numbers)
                    is_short = job is not None and count_bytes_left(job) < _MOST_BYTES
                    wanted = [now_at] if now_at and is_short else []
                    numbers = store.intents.add_intents(site_id, "log", wanted)
                    looked_at = now_at

                def is_current(seen: Job | None = job) -> bool:
                    return self._is_wanted(site_id) and self._selected is seen

                need = require_paced_rounds(coordinator.site, is_current, live=True)
                coordinator.wait_for(need, until=time.monotonic() + _LOOK)
                self.errors.pop(site_id, None)
        finally:
            store.intents.drop_intents(numbers)


def read_log_end(path: str, size: int, lines: int) -> list[str]:
    """Return the last lines of a log, as text; a line that is rewritten as it ends.

    Args:
        size: So many bytes of the file count.
    """
    if size <= 0:
        return []
    start = max(0, size - _END_BYTES)
    try:
        with open(open_owned(path, os.O_RDONLY), "rb") as log:
            log.seek(start)
            text = log.read(size - start).decode("utf-8", "replace")
    except OSError:
        return []
    found = text.rstrip("\n").split("\n")[1 if start else 0 :][-lines:]
    return [line.rstrip("\r").rpartition("\r")[2] for line in found]
