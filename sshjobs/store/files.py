"""Specs and logs: files beside the database, never in it.

A spec may hold secrets, and a WAL keeps old frames until it is overwritten, whereas a
file of its own is gone once the job has started (docs/decisions/0002). The order of
writing is spec file, then row; the order of deleting is row, then file; so a spec
without a row is a left-over, and :meth:`~sshjobs.store.Store.sweep_specs` removes it.
"""

from __future__ import annotations

import os

from ..errors import StoreError
from ..model import RECORDED, STDERR, Spec, build_recorded_spec, is_job_id
from ..owned import open_owned
from ..startup.contexts import contextmanager, suppress
from ..startup.records import TYPE_CHECKING
from .database import Database, Seam, sync_file
from .schema import IS_ACTIVE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ..model import Job


class JobFiles:
    """The files of jobs, named by their ids."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._home = database.home

    def locate_log(self, job_id: str, stream: str = "") -> str:
        """Return where the brought-home bytes of a job's log are.

        Args:
            stream: STDERR for the log of its standard error alone.
        """
        path = self._locate_file("logs", job_id)
        return f"{path}.{STDERR}" if stream else path

    def _spec_path(self, job_id: str) -> str:
        return self._locate_file("specs", job_id)

    def _locate_file(self, folder: str, job_id: str) -> str:
        """Return the path of a job's file, which is named by a job's id or not at all.

        Ids from a host are checked as they are read; this is the second wall, so that
        no text from anywhere else names a file that is not ours.
        """
        if not is_job_id(job_id):
            raise StoreError(f"{self._home}: not the id of a job: {job_id[:80]!a}")
        return os.path.join(self._home, folder, job_id)

    def save_spec(self, job_id: str, spec: Spec, *, durable: bool = False) -> None:
        """Keep a spec until its job has started; before its row is written."""
        path = self._spec_path(job_id)
        with Seam(path):
            # O_EXCL follows no link, and ids are random: none is given twice.
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(os.open(path, flags, 0o600), "wb") as file:
                file.write(spec.dumps())
                if durable:
                    file.flush()
                    os.fsync(file.fileno())

    def save_notify(self, job_id: str, command: str) -> None:
        """Keep the command that hears of a job's end; before its row is written."""
        path = self._locate_file("notify", job_id)
        with Seam(path):
            os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(os.open(path, flags, 0o600), "wb") as file:
                file.write(os.fsencode(command))

    def take_notify(self, job_id: str) -> str:
        """Return that command, "" if there is none, to one caller and no other."""
        path = self._locate_file("notify", job_id)
        try:
            os.rename(path, f"{path}.taken")  # of two, one finds nothing
        except FileNotFoundError:
            return ""
        with Seam(path):
            file = open_owned(f"{path}.taken", os.O_RDONLY)
            with open(file, "rb") as data:
                command = os.fsdecode(data.read())
            os.unlink(f"{path}.taken")
        return command

    def touch_notify(self, ids: Iterable[str]) -> None:
        """Have commands count as new; before the ends of their jobs are written."""
        for job_id in ids:
            with suppress(OSError):  # most jobs have none
                os.utime(self._locate_file("notify", job_id))

    def drop_old_notify(self, before: float) -> None:
        """Delete commands that nobody takes: of jobs that are gone, or long ended.

        Args:
            before: Leave those that were written, or whose jobs ended, since then.
        """
        folder = os.path.join(self._home, "notify")
        for name in os.listdir(folder) if os.path.isdir(folder) else ():
            path = os.path.join(folder, name)
            with suppress(FileNotFoundError):  # taken meanwhile
                if os.stat(path).st_mtime < before:
                    if not self._database.fetch_rows(
                        f"SELECT 1 FROM jobs WHERE id = ? AND {IS_ACTIVE}",
                        [name.partition(".")[0]],
                    ):
                        os.unlink(path)

    def sync_specs(self, ids: Iterable[str]) -> None:
        """Make specs survive a power failure."""
        for job_id in ids:
            sync_file(self._spec_path(job_id))

    def find_spec(self, job: Job | None) -> Spec | None:
        """Return the spec of a job that is to start, None if there is none of use."""
        if job is not None and job.digest == RECORDED:
            return build_recorded_spec(job)
        return None if job is None else self.read_spec(job.id)

    def read_spec(self, job_id: str) -> Spec | None:
        """Return the spec of a job that has not started, None if it is no use."""
        path = self._spec_path(job_id)
        with Seam(path):
            try:
                with open(open_owned(path, os.O_RDONLY), "rb") as file:
                    return Spec.loads(file.read())
            # Its job cannot start then, and its caller is told so; a traceback would
            # stop every round of the site.
            except (FileNotFoundError, ValueError):  # gone, or damaged
                return None

    def drop_spec(self, job_id: str) -> None:
        """Delete a spec; nothing of it is left in the store."""
        self._database.delete_file(self._spec_path(job_id))

    def drop_files(self, job_id: str) -> None:
        """Delete the files of a job: spec, logs, the command that hears of its end."""
        self.drop_spec(job_id)
        for stream in ("", STDERR):
            self._database.delete_file(self.locate_log(job_id, stream))
        self._database.delete_file(self._locate_file("notify", job_id))

    @contextmanager
    def hold_off_sweep(self) -> Iterator[None]:
        """Keep the sweep of left-overs away while specs have no rows yet."""
        with self._database.make_lock("specs") as lock:
            # Any number of processes write specs at once; a sweep wants all of them to
            # be done.
            lock.hold(shared=True)
            yield

    def measure_room(self, floor: int) -> int:
        """Return how many bytes of logs may be written before space gets scarce.

        Args:
            floor: So many bytes are to stay free; of a small disk, a tenth.
        """
        with Seam(self._home):
            disk = os.statvfs(self._home)
        # statvfs(3): f_bavail is free for users, f_bfree counts root's share too.
        free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        if not total:  # a file system that does not tell
            return 1 << 62
        return max(0, free - min(floor, total // 10))

    def make_room(self) -> bool:
        """Let a verb that ends jobs, or asks about them, have the room that is kept.

        Returns:
            Whether there is more of it now.
        """
        from ..reserve import give_up_reserve

        return give_up_reserve(self._home)
