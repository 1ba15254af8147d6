"""What this machine knows and wants: one SQLite file, and bytes beside it.

Theory of operation: the store is the meeting place of all processes of one
user on one machine. A verb writes an *intent* before any contact with a host;
the leader of a round reads every open intent of that host, and applies the
host's reply in one transaction; everyone else looks here for the outcome.

WAL lets readers go on while one process writes. Every writing transaction is
``BEGIN IMMEDIATE``: a deferred one that turns into a writer fails at once with
"database is locked", whatever the timeout (SQLite 3.40, 89 of 120 processes).

Specs and logs are files beside the database, never in it: a spec may hold
secrets, and a WAL keeps old frames until it is overwritten, whereas a file of
its own is gone once the job has started (docs/decisions/0002). The order of
writing is spec file, then row; the order of deleting is row, then file; so a
spec without a row is a left-over, and :meth:`Store.sweep` removes it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from ..errors import ELSEWHERE, ROOM, SpecError, StoreError, of_system
from ..locks import FileLock, describe_holders
from ..model import Job, Spec, is_job_id, printable
from ..owned import (
    check_dir,
    check_file,
    check_way,
    close_to_others,
    make_private,
    open_owned,
)
from ..processes import is_that_process, read_start_time
from ..startup.records import TYPE_CHECKING, Record
from ..startup.stdlib import sqlite3
from ..states import PENDING, STATES

if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T")

VERSION = 3

#: Seconds that a writer waits for others; a transaction here lasts milliseconds.
_BUSY = 60.0

#: A WAL of more pages than this is folded into the database by whoever commits. It is
#: read by the next process that finds nobody else at work, so it is kept short.
_WAL_PAGES = 200

#: What :meth:`Store.few_active` calls few.
_FEW = 4

#: So many rows of a long batch are held in memory at a time.
SLICE = 500

_SCHEMA = """
CREATE TABLE jobs (
    id TEXT PRIMARY KEY, host TEXT NOT NULL, conn TEXT NOT NULL, state TEXT NOT NULL,
    key TEXT NOT NULL, name TEXT NOT NULL, once INTEGER NOT NULL,
    attempt INTEGER NOT NULL, command TEXT NOT NULL, digest TEXT NOT NULL,
    cwd TEXT NOT NULL, shell TEXT NOT NULL, env_names TEXT NOT NULL, timeout REAL,
    cleanup TEXT NOT NULL, exit_status INTEGER, signal INTEGER, reason TEXT NOT NULL,
    node TEXT NOT NULL, pid INTEGER, start TEXT NOT NULL, submitted_at REAL NOT NULL,
    started_at REAL, finished_at REAL, log_bytes INTEGER NOT NULL,
    log_home INTEGER NOT NULL, log_final INTEGER NOT NULL, reaped_at REAL
) WITHOUT ROWID;
CREATE INDEX jobs_active ON jobs (conn) WHERE state IN ('PENDING', 'RUNNING');
CREATE INDEX jobs_active_age ON jobs (submitted_at, id)
    WHERE state IN ('PENDING', 'RUNNING');
CREATE INDEX jobs_key ON jobs (key, submitted_at) WHERE key <> '';
CREATE INDEX jobs_age ON jobs (submitted_at);
CREATE INDEX jobs_unreaped ON jobs (conn, finished_at)
    WHERE reaped_at IS NULL AND state NOT IN ('PENDING', 'RUNNING');
CREATE TABLE intents (
    id INTEGER PRIMARY KEY AUTOINCREMENT, conn TEXT NOT NULL, kind TEXT NOT NULL,
    job_id TEXT NOT NULL, pid INTEGER NOT NULL, pid_start TEXT NOT NULL,
    created_at REAL NOT NULL, sent INTEGER NOT NULL DEFAULT 0,
    done INTEGER NOT NULL DEFAULT 0, note TEXT NOT NULL DEFAULT ''
);
CREATE INDEX intents_open ON intents (conn, done, id);
CREATE INDEX intents_job ON intents (job_id);
CREATE TABLE hosts (
    conn TEXT PRIMARY KEY, host TEXT NOT NULL, node TEXT NOT NULL DEFAULT '',
    identity BLOB NOT NULL DEFAULT x'', base TEXT NOT NULL DEFAULT '',
    since REAL NOT NULL, generation INTEGER NOT NULL DEFAULT 0,
    journal_gen TEXT NOT NULL DEFAULT '', journal_at INTEGER NOT NULL DEFAULT 0,
    round_started_at REAL NOT NULL DEFAULT 0, round_ended_at REAL NOT NULL DEFAULT 0,
    watched_at REAL NOT NULL DEFAULT 0, stirred_at REAL NOT NULL DEFAULT 0,
    unwatched_until REAL NOT NULL DEFAULT 0,
    cooldown_until REAL NOT NULL DEFAULT 0, cooldown_set_at REAL NOT NULL DEFAULT 0,
    cause TEXT NOT NULL DEFAULT '', failures INTEGER NOT NULL DEFAULT 0,
    bad_rounds INTEGER NOT NULL DEFAULT 0, refused TEXT NOT NULL DEFAULT '{}',
    handshakes INTEGER NOT NULL DEFAULT 0, drops INTEGER NOT NULL DEFAULT 0,
    refusals INTEGER NOT NULL DEFAULT 0, sessions INTEGER NOT NULL DEFAULT 0,
    rounds INTEGER NOT NULL DEFAULT 0, bytes_in INTEGER NOT NULL DEFAULT 0,
    bytes_out INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE TABLE identities (name TEXT PRIMARY KEY, data BLOB NOT NULL) WITHOUT ROWID;
"""

#: What makes a store of a version one of the next, each in a transaction of its own;
#: 0 is an empty file. A release that changes the schema adds a step and raises
#: :data:`VERSION`. A process of the version before that is still at work goes on if the
#: step only adds columns that have a default; if the step renames some, that process
#: ends with an error that says so, and its intents stay for the next process.
MIGRATIONS = {
    0: _SCHEMA,
    1: "ALTER TABLE jobs ADD COLUMN max_log_bytes INTEGER NOT NULL DEFAULT 0",
    2: """
ALTER TABLE jobs RENAME COLUMN conn TO site_id;
ALTER TABLE jobs RENAME COLUMN log_home TO log_local_bytes;
ALTER TABLE intents RENAME COLUMN conn TO site_id;
ALTER TABLE hosts RENAME TO sites;
ALTER TABLE sites RENAME COLUMN conn TO site_id;
ALTER TABLE sites RENAME COLUMN stirred_at TO end_seen_at
""",
}

#: Said of a record that was just begun where there was one: it was moved aside, or is
#: of no bytes (which SQLite takes for a new one, and drops the WAL with it).
_LOST = (
    "{} was empty or gone, and is begun anew beside the logs of an older one; bring "
    "back what the hosts know with: sshjobs poll --host HOST --adopt"
)

#: File systems on which flock and the memory that WAL shares are not to be relied on.
#: Source: sqlite.org/wal.html, "all processes must be on the same host"; flock(2).
_NETWORK = frozenset(
    "nfs nfs4 cifs smb3 smbfs 9p afs ceph lustre gpfs beegfs fuse.sshfs "
    "fuse.glusterfs fuse.s3fs fuse.rclone".split()
)

_JOB_COLUMNS = ", ".join(Job._fields)
_JOB_MARKS = ", ".join("?" * len(Job._fields))

#: A watch is there if it gave a sign so many seconds ago.
_WATCHED = 6.0

#: Counters of the ledger, as :meth:`Store.count` takes them.
COUNTERS = (
    "handshakes",
    "drops",
    "refusals",
    "sessions",
    "rounds",
    "bytes_in",
    "bytes_out",
)


class Intent(Record):
    """Something asked of a host and not yet served; kinds: start kill reap log."""

    id: int
    site_id: str
    kind: str
    job_id: str
    pid: int
    pid_start: str
    created_at: float
    sent: int
    done: int
    note: str


class SiteRow(Record):
    """What is known of a connection's host; the ledger is part of it."""

    site_id: str
    host: str
    node: str
    identity: bytes
    base: str
    since: float
    generation: int
    journal_gen: str
    journal_at: int
    round_started_at: float
    round_ended_at: float
    watched_at: float
    end_seen_at: float
    unwatched_until: float
    cooldown_until: float
    cooldown_set_at: float
    cause: str
    failures: int
    bad_rounds: int
    refused: str
    handshakes: int
    drops: int
    refusals: int
    sessions: int
    rounds: int
    bytes_in: int
    bytes_out: int

    def is_watched(self, now: float) -> bool:
        """Tell whether somebody hears at once of ends; a watch beats every 2 s."""
        return 0.0 <= now - self.watched_at < _WATCHED


#: What SQLite gives for a field; a column takes anything, whatever its type says.
_TYPES = {
    "str": (str,),
    "bytes": (bytes,),
    "bool": (int,),
    "int": (int,),
    "float": (float, int),
    "int | None": (int, type(None)),
    "float | None": (float, int, type(None)),
}


def _damaged(path: str, what: str, key: object, value: object) -> StoreError:
    return StoreError(
        f"{path}: the {what} {key!r} is damaged: {value!r:.60}; move the file aside, "
        "then bring back what the hosts know with: sshjobs poll --host HOST --adopt"
    )


class _Kinds:
    """Refuses rows that are no record of a kind; a shape is looked at once."""

    def __init__(self, record: type[Record]) -> None:
        self._name = record.__name__.lower().removesuffix("row")
        self._fields = record._fields
        self._kinds = [_TYPES[record.__annotations__[name]] for name in self._fields]
        self._good: set[tuple[type, ...]] = set()

    def check(self, path: str, row: Sequence[Any]) -> None:
        """Raise a StoreError for a row of which a field has another type."""
        shape = tuple(map(type, row))
        if shape in self._good:
            return
        for name, kinds, value in zip(self._fields, self._kinds, row):
            if type(value) not in kinds:
                raise _damaged(path, f"{name} of {self._name}", row[0], value)
        self._good.add(shape)


_JOB_KINDS, _INTENT_KINDS, _HOST_KINDS = map(_Kinds, (Job, Intent, SiteRow))

# Named, so that a process of this version goes on while a newer one adds columns.
_INTENTS = f"SELECT {', '.join(Intent._fields)} FROM intents WHERE "
_HOSTS = f"SELECT {', '.join(SiteRow._fields)} FROM sites "


def slices(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield a long list in pieces, so that the rows of all are never held at once."""
    for at in range(0, len(values), SLICE):
        yield values[at : at + SLICE]


class _Seam:
    """Lets no error of SQLite or of the file system cross in another form.

    A class, since that costs a fifth of what a generator does; a round crosses here
    forty times.
    """

    __slots__ = ("_path",)

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        if isinstance(error, sqlite3.OperationalError):
            said = printable(str(error))
            text = f"{self._path}: {said}; {_advice(said, self._path)}"
            raise StoreError(text) from error
        # The module cannot tell of a schema that is damaged into no text (Python 3.11).
        if isinstance(error, (sqlite3.DatabaseError, UnicodeDecodeError)):
            raise StoreError(
                f"{self._path}: {printable(str(error))}; move it aside, then bring "
                "back what the hosts know with: sshjobs poll --host HOST --adopt"
            ) from error
        if isinstance(error, OSError):
            raise of_system(str(error.filename or self._path), error) from error


def _advice(text: str, path: str) -> str:
    if "full" in text:
        return ROOM
    if "no such" in text and (found := _version_now(path)) > VERSION:
        return (
            f"a newer sshjobs has brought it to version {found} while this command, "
            f"which knows {VERSION}, was at work; what had been asked for by then "
            "stays: run the command again with the newer one"
        )
    if "locked" in text:
        who = describe_holders(path, f"{path}-shm", f"{path}-wal")
        return f"another process holds it for longer than {_BUSY:g} s: {who}"
    if "readonly" in text or "unable to open" in text:
        return ELSEWHERE
    return "SSHJOBS_HOME names another place"


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _version_now(path: str) -> int:
    """Return the version of a store as its file has it, 0 if that cannot be read."""
    try:
        db = sqlite3.connect(path)
        try:
            return _version(db)
        finally:
            db.close()
    except sqlite3.Error:
        return 0


def make_home(path: str) -> None:
    """Make the directory, or take one that is there; an empty one is only ours then.

    What is in use for something else is left as it is: /tmp must not become private.
    Others may look into it, since our files and directories in it are ours alone, but
    not write there.

    Raises:
        StoreError: it is not ours, or others can write there.
    """
    if make_private(path):
        return
    is_ours = os.lstat(path).st_uid == os.geteuid() and not os.path.islink(path)
    if is_ours and os.path.isdir(path) and not os.listdir(path):
        close_to_others(path)
    check_dir(path)


def _own_folder(path: str) -> None:
    """Have a directory of ours."""
    try:
        check_dir(path)
    except FileNotFoundError:
        make_private(path)
        check_dir(path)


def _remark(home: str) -> str:
    kind = on_network(home)
    if not kind:
        return ""
    return (
        f"{home} lies on a network file system ({kind}): locks and SQLite's WAL want a "
        "local disk; let SSHJOBS_HOME name one"
    )


def mount_type(path: str, mounts: str = "/proc/self/mounts") -> str:
    """Return the type of the file system that a path is on, "" if that is not known.

    Source: fstab(5), the format of /proc/self/mounts; the last one mounted counts.
    """
    best, kind, real = "", "", os.path.realpath(path) + "/"
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
            for line in file:
                where, found = (line.split(" ") + ["", ""])[1:3]
                where = where.replace("\\040", " ").rstrip("/") + "/"
                if real.startswith(where) and len(where) >= len(best):
                    best, kind = where, found
    except OSError:  # no Linux
        return ""
    return kind


def on_network(path: str) -> str:
    """Return the type of the network file system that a path is on, else ""."""
    kind = mount_type(path)
    return kind if kind in _NETWORK else ""


class Batch:
    """Jobs that are on their way into the store, however many.

    The first few are held in memory, the rest in a table that only this process sees
    and that SQLite keeps in a file of its own once it grows.
    """

    def __init__(
        self,
        do: Callable[[str], sqlite3.Cursor],
        many: Callable[[str, Iterable[Job]], None],
    ) -> None:
        self._do = do
        self._many = many
        self._jobs: list[Job] = []
        self._is_long = False

    def add(self, job: Job) -> None:
        """Take one more."""
        self._jobs.append(job)
        if len(self._jobs) >= SLICE:
            if not self._is_long:
                self._do(
                    "CREATE TEMP TABLE batch AS "
                    f"SELECT {_JOB_COLUMNS} FROM main.jobs WHERE 0"
                )
                self._is_long = True
            self._put("temp.batch")
            self._jobs.clear()

    def _put(self, table: str) -> None:
        sql = f"INSERT OR IGNORE INTO {table} ({_JOB_COLUMNS}) VALUES ({_JOB_MARKS})"
        self._many(sql, self._jobs)

    def ids(self) -> Iterator[str]:
        """Yield their ids, in the order in which they came."""
        if self._is_long:
            for (job_id,) in self._do("SELECT id FROM temp.batch ORDER BY rowid"):
                yield job_id
        for job in self._jobs:
            yield job.id

    def store(self) -> None:
        """Add them to the jobs that all processes see."""
        if self._is_long:
            self._do(
                f"INSERT OR IGNORE INTO main.jobs ({_JOB_COLUMNS}) "
                f"SELECT {_JOB_COLUMNS} FROM temp.batch"
            )
        self._put("main.jobs")

    def close(self) -> None:
        """Let go of them."""
        if self._is_long:
            self._do("DROP TABLE temp.batch")


class Store:
    """The store of one home directory, as one thread of one process sees it.

    After construction the directory (0700), the database and its schema exist.

    Args:
        home: The directory; created if missing.

    Attributes:
        remark: What there is to say of a directory in which a store was just made.

    Raises:
        StoreError: it cannot be made, is not ours, or is of a newer version.
    """

    def __init__(self, home: str) -> None:
        self.home = home
        self.path = os.path.join(home, "store.db")
        self.remark = ""
        self._depth = 0
        self._doomed: list[str] = []
        with _Seam(self.path):
            self._prepare()
            self._db = self._open()

    def __repr__(self) -> str:
        return f"<Store {self.home}>"

    def close(self) -> None:
        """Close the database; further use is an error."""
        with _Seam(self.path):
            self._db.close()

    # -- opening ---------------------------------------------------------------

    def _prepare(self) -> None:
        fresh = not os.path.lexists(self.path)
        if fresh:
            make_home(self.home)
            self.remark = _remark(self.home)
        check_way(self.home)
        check_dir(self.home)
        for name in ("specs", "logs", "locks"):
            _own_folder(os.path.join(self.home, name))
        for end in ("", "-wal", "-shm", "-journal"):
            check_file(f"{self.path}{end}")
        if not os.path.lexists(os.path.join(self.home, "reserve")):
            from ..reserve import keep_reserve

            keep_reserve(self.home)

    def _open(self) -> sqlite3.Connection:
        db = self._connect()
        try:
            version = _version(db)
            if version < 0:
                raise _damaged(self.path, "version of", "the store", version)
            if version < VERSION:
                db.close()
                self._migrate()
                if not version and os.listdir(os.path.join(self.home, "logs")):
                    self.remark = _LOST.format(self.path)
                db = self._connect()
                version = _version(db)
            if version > VERSION:
                raise StoreError(
                    f"{self.path} is of version {version}, this sshjobs knows "
                    f"{VERSION}: a newer sshjobs has used it; upgrade this one"
                )
        except BaseException:
            db.close()
            raise
        return db

    def _connect(self) -> sqlite3.Connection:
        old = os.umask(0o077)
        try:
            db = sqlite3.connect(
                self.path, timeout=_BUSY, isolation_level=None, check_same_thread=False
            )
            try:
                db.execute("PRAGMA synchronous=NORMAL")
                db.execute("PRAGMA secure_delete=ON")
                db.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
            except BaseException:
                db.close()
                raise
        finally:
            os.umask(old)
        return db

    def _migrate(self) -> None:
        """Bring the schema up to ours once, however many processes want to.

        Changing the journal mode does not wait for a lock, so that this one step
        is behind a lock of our own.
        """
        with self._lock_of("schema") as lock:
            lock.hold()
            db = self._connect()
            try:
                version = _version(db)
                if not version:
                    db.execute("PRAGMA journal_mode=WAL")
                for step in range(version, VERSION):
                    db.executescript(
                        f"BEGIN IMMEDIATE; {MIGRATIONS[step]};"
                        f"PRAGMA user_version={step + 1}; COMMIT;"
                    )
            finally:
                db.close()

    # -- plumbing --------------------------------------------------------------

    @contextmanager
    def write(self, *, durable: bool = False) -> Iterator[None]:
        """Make all that is written inside one transaction; nests.

        Args:
            durable: Survive a power failure, not only a crash of processes.
        """
        with _Seam(self.path):
            if self._depth:
                yield
                return
            if durable:
                self._db.execute("PRAGMA synchronous=FULL")
            self._db.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                self._doomed.clear()
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1
                if durable:
                    self._db.execute("PRAGMA synchronous=NORMAL")
            while self._doomed:
                _unlink(self._doomed.pop())

    def _discard(self, path: str) -> None:
        """Delete a file; inside a transaction, once that has been committed."""
        if self._depth:
            self._doomed.append(path)
        else:
            _unlink(path)

    def _do(self, sql: str, args: Sequence[Any] = ()) -> sqlite3.Cursor:
        with _Seam(self.path):
            return self._db.execute(sql, args)

    def _many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        with _Seam(self.path):
            self._db.executemany(sql, rows)

    def _rows(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        with _Seam(self.path):
            return self._db.execute(sql, args).fetchall()

    def _job(self, row: Sequence[Any]) -> Job:
        values = list(row)
        _JOB_KINDS.check(self.path, values)
        if values[_STATE] not in STATES:
            raise _damaged(self.path, "state of job", values[0], values[_STATE])
        for place in (_ONCE, _LOG_FINAL):
            values[place] = bool(values[place])
        return Job(*values)

    def _intent(self, row: Sequence[Any]) -> Intent:
        _INTENT_KINDS.check(self.path, row)
        return Intent(*row)

    def _host(self, row: Sequence[Any]) -> SiteRow:
        _HOST_KINDS.check(self.path, row)
        return SiteRow(*row)

    # -- jobs ------------------------------------------------------------------

    def add_jobs(self, jobs: Iterable[Job]) -> None:
        """Add jobs that are not known yet; a known id is left as it is."""
        sql = f"INSERT OR IGNORE INTO jobs ({_JOB_COLUMNS}) VALUES ({_JOB_MARKS})"
        self._many(sql, jobs)

    def jobs(self, ids: Iterable[str]) -> dict[str, Job]:
        """Return the jobs of these ids that are known, by id."""
        sql = (
            f"SELECT {_JOB_COLUMNS} FROM jobs "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        ids = list(ids)
        if not ids:
            return {}
        return {row[0]: self._job(row) for row in self._rows(sql, [_array(ids)])}

    def job(self, job_id: str) -> Job | None:
        """Return one job, or None."""
        rows = self._rows(f"SELECT {_JOB_COLUMNS} FROM jobs WHERE id = ?", [job_id])
        return self._job(rows[0]) if rows else None

    def find(self, prefix: str) -> list[Job]:
        """Return the jobs whose id begins with ``prefix``; two at the most."""
        sql = f"SELECT {_JOB_COLUMNS} FROM jobs WHERE id >= ? AND id < ? LIMIT 2"
        return [self._job(row) for row in self._rows(sql, [prefix, prefix + "{"])]

    def by_key(self, key: str, host: str | None = None) -> list[Job]:
        """Return the jobs of a key, newest attempt first."""
        sql = f"SELECT {_JOB_COLUMNS} FROM jobs WHERE key = ?"
        args = [key]
        if host is not None:
            sql, args = sql + " AND host = ?", [key, host]
        sql += " ORDER BY attempt DESC, submitted_at DESC"
        return [self._job(row) for row in self._rows(sql, args)]

    def select(
        self, site_id: str | None = None, states: Sequence[str] = ()
    ) -> Iterator[Job]:
        """Yield jobs, oldest first, without holding them all."""
        where, args = ["1"], []
        if site_id is not None:
            where.append("site_id = ?")
            args.append(site_id)
        if states:
            where.append("state IN (SELECT value FROM json_each(?))")
            args.append(_array(states))
        sql = f"SELECT {_JOB_COLUMNS} FROM jobs WHERE {' AND '.join(where)}"
        with _Seam(self.path):
            for row in self._db.execute(sql + " ORDER BY submitted_at, id", args):
                yield self._job(row)

    def active_ids(self, host: str | None = None) -> Iterator[tuple[str, str]]:
        """Yield the id and the connection of each job that may still change.

        Oldest first; of one host, or of all.
        """
        where, args = "state IN ('PENDING', 'RUNNING')", []
        if host is not None:
            where, args = where + " AND host = ?", [host]
        sql = f"SELECT id, site_id FROM jobs WHERE {where} ORDER BY submitted_at, id"
        with _Seam(self.path):
            yield from self._db.execute(sql, args)

    def sites_of_jobs(self, host: str) -> list[str]:
        """Return the sites of the jobs that were submitted under a name of a host.

        A connection has the name that was used first; others may lead to it too.
        """
        rows = self._rows("SELECT DISTINCT site_id FROM jobs WHERE host = ?", [host])
        return [site_id for (site_id,) in rows]

    def any_active(self, site_id: str) -> bool:
        """Tell whether a job of a connection may still change."""
        sql = (
            "SELECT 1 FROM jobs "
            "WHERE site_id = ? AND state IN ('PENDING', 'RUNNING') LIMIT 1"
        )
        return bool(self._rows(sql, [site_id]))

    def asked_to_start(self, site_id: str) -> list[tuple[str, int | None, str]]:
        """Return (id, pid, start) of jobs that may still change, but for what waits.

        What waits are those whose start is still to be asked for.
        """
        sql = (
            "SELECT id, pid, start FROM jobs "
            "WHERE site_id = ? AND state IN ('PENDING', 'RUNNING') AND NOT EXISTS ("
            "SELECT 1 FROM intents WHERE job_id = jobs.id AND kind = 'start' "
            "AND done = 0)"
        )
        return [(i, pid, start) for i, pid, start in self._rows(sql, [site_id])]

    def count_active(self, ids: Sequence[str]) -> int:
        """Return how many of these jobs may still change."""
        sql = (
            "SELECT count(*) FROM jobs WHERE state IN ('PENDING', 'RUNNING') "
            "AND id IN (SELECT value FROM json_each(?))"
        )
        return int(self._rows(sql, [_array(ids)])[0][0])

    def home_bytes(self, ids: Sequence[str]) -> int:
        """Return how many bytes of the logs of these jobs are here."""
        sql = (
            "SELECT coalesce(sum(log_local_bytes), 0) FROM jobs "
            "WHERE id IN (SELECT value FROM json_each(?))"
        )
        return sum(int(self._rows(sql, [_array(some)])[0][0]) for some in slices(ids))

    def few_active(self, site_id: str) -> bool:
        """Tell whether so few jobs of a connection may change that each end counts.

        Its end is asked about almost at once then; those of many share usual rounds.
        """
        sql = (
            "SELECT count(*) FROM (SELECT 1 FROM jobs WHERE site_id = ? "
            "AND state IN ('PENDING', 'RUNNING') LIMIT ?)"
        )
        return int(self._rows(sql, [site_id, _FEW + 1])[0][0]) <= _FEW

    def unreaped(self, site_id: str, before: float) -> list[str]:
        """Return the ids of final jobs that ended before an instant, not reaped."""
        sql = (
            "SELECT id FROM jobs WHERE site_id = ? AND reaped_at IS NULL "
            "AND state NOT IN ('PENDING', 'RUNNING') "
            "AND coalesce(finished_at, submitted_at) <= ? ORDER BY submitted_at, id"
        )
        return [job_id for (job_id,) in self._rows(sql, [site_id, before])]

    def update(self, job_id: str, **columns: Any) -> None:
        """Set columns of a job."""
        names = ", ".join(f"{name} = ?" for name in columns)
        self._do(f"UPDATE jobs SET {names} WHERE id = ?", [*columns.values(), job_id])

    def put(self, jobs: Iterable[Job]) -> None:
        """Write jobs whole, whether they are known or not."""
        sql = f"INSERT OR REPLACE INTO jobs ({_JOB_COLUMNS}) VALUES ({_JOB_MARKS})"
        self._many(sql, jobs)

    def forget(self, ids: Iterable[str]) -> None:
        """Delete jobs, their intents, specs and logs."""
        ids = list(ids)
        text = _array(ids)
        with self.write():
            for table, column in (("jobs", "id"), ("intents", "job_id")):
                self._do(
                    f"DELETE FROM {table} WHERE {column} IN "
                    "(SELECT value FROM json_each(?))",
                    [text],
                )
        for job_id in ids:
            self.drop_spec(job_id)
            self._discard(self.log_path(job_id))

    def prune(self, site_id: str, before: float) -> int:
        """Forget jobs that were reaped before an instant, with their logs here.

        Returns:
            How many there were.
        """
        sql = "SELECT id FROM jobs WHERE site_id = ? AND reaped_at < ?"
        ids = [job_id for (job_id,) in self._rows(sql, [site_id, before])]
        for some in slices(ids):
            self.forget(some)
        return len(ids)

    def forget_job(self, job_id: str) -> None:
        """Delete a job, its spec and its log; its intents stay for their owners."""
        self._do("DELETE FROM jobs WHERE id = ?", [job_id])
        self.drop_spec(job_id)
        self._discard(self.log_path(job_id))

    @contextmanager
    def batch(self) -> Iterator[Batch]:
        """Collect jobs that come into the store together, or not at all."""
        batch = Batch(self._do, self._many)
        try:
            yield batch
        except BaseException:
            for job_id in batch.ids():
                self.drop_spec(job_id)
            raise
        finally:
            batch.close()

    # -- specs and logs, beside the database -------------------------------------

    def log_path(self, job_id: str) -> str:
        """Return where the brought-home bytes of a job's log are."""
        return self._path_of("logs", job_id)

    def make_room(self) -> bool:
        """Let a verb that ends jobs, or asks about them, have what room is kept.

        Returns:
            Whether there is more of it now.
        """
        from ..reserve import give_up_reserve

        return give_up_reserve(self.home)

    def room(self, floor: int) -> int:
        """Return how many bytes of logs may be written before space gets scarce.

        Args:
            floor: So many bytes are to stay free; of a small disk, a tenth.
        """
        with _Seam(self.home):
            disk = os.statvfs(self.home)
        free, total = disk.f_bavail * disk.f_frsize, disk.f_blocks * disk.f_frsize
        if not total:  # a file system that does not tell
            return 1 << 62
        return max(0, free - min(floor, total // 10))

    def sync_logs(self, jobs: Iterable[Job]) -> list[str]:
        """Make logs survive a power failure, before they are deleted on a host.

        Returns:
            The ids of those that have not survived one, see :meth:`check_log`.
        """
        short = []
        for job in jobs:
            _sync(self.log_path(job.id))
            if self.check_log(job) != job:
                short.append(job.id)
        return short

    def check_log(self, job: Job) -> Job:
        """Return a job as it is known once its log's file has been looked at.

        A power failure may leave less of a file than the record says is there; it
        is brought again then, as long as the host has it.
        """
        path = self.log_path(job.id)
        with _Seam(path):
            try:
                size = os.stat(path).st_size
            except FileNotFoundError:
                size = 0
        if size >= job.log_local_bytes:
            return job
        final = job.reaped_at is not None
        self.update(job.id, log_local_bytes=size, log_final=final)
        return job._replace(log_local_bytes=size, log_final=final)

    def _spec_path(self, job_id: str) -> str:
        return self._path_of("specs", job_id)

    def _path_of(self, folder: str, job_id: str) -> str:
        """Return the path of a job's file, which is named by a job's id or not at all.

        Ids from a host are checked as they are read; this is the second wall, so that
        no text from anywhere else names a file that is not ours.
        """
        if not is_job_id(job_id):
            raise StoreError(f"{self.home}: not the id of a job: {job_id[:80]!a}")
        return os.path.join(self.home, folder, job_id)

    def save_spec(self, job_id: str, spec: Spec, *, durable: bool = False) -> None:
        """Keep a spec until its job has started; before its row is written."""
        path = self._spec_path(job_id)
        with _Seam(path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
            with open(os.open(path, flags, 0o600), "wb") as file:
                file.write(spec.dumps())
                if durable:
                    file.flush()
                    os.fsync(file.fileno())

    def sync_specs(self, ids: Iterable[str]) -> None:
        """Make specs survive a power failure."""
        for job_id in ids:
            _sync(self._spec_path(job_id))

    def spec(self, job_id: str) -> Spec | None:
        """Return the spec of a job that has not started, None if it is no use."""
        path = self._spec_path(job_id)
        with _Seam(path):
            try:
                with open(open_owned(path, os.O_RDONLY), "rb") as file:
                    return Spec.loads(file.read())
            except (FileNotFoundError, ValueError):  # gone, or damaged
                return None

    def drop_spec(self, job_id: str) -> None:
        """Delete a spec; nothing of it is left in the store."""
        self._discard(self._spec_path(job_id))

    @contextmanager
    def writing_specs(self) -> Iterator[None]:
        """Hold off :meth:`sweep` while specs have no rows yet."""
        with self._lock_of("specs") as lock:
            lock.hold(shared=True)
            yield

    def sweep(self) -> int:
        """Delete specs that a crash has left; return how many.

        They are those without a row, and of jobs that have started. While a
        process is writing specs, nothing is deleted.
        """
        folder = os.path.join(self.home, "specs")
        if not os.listdir(folder):
            return 0
        with self._lock_of("specs") as lock:
            if not lock.try_to_hold():
                return 0
            names = list(filter(is_job_id, os.listdir(folder)))
            jobs = self.jobs(names) if names else {}
            left = [n for n in names if n not in jobs or jobs[n].state != PENDING]
            for name in left:
                self.drop_spec(name)
        return len(left)

    def _lock_of(self, name: str) -> FileLock:
        return FileLock(os.path.join(self.home, "locks", name))

    # -- intents ---------------------------------------------------------------

    def add_intents(
        self, site_id: str, kind: str, ids: Iterable[str], owner: int | None = None
    ) -> list[int]:
        """Write down what is wanted; return the intents' numbers.

        Args:
            owner: The process that wants it; None is this one, 0 is nobody.
        """
        pid = os.getpid() if owner is None else owner
        start = read_start_time(pid) or "" if pid else ""
        now = time.time()
        numbers = []
        sql = (
            "INSERT INTO intents (site_id, kind, job_id, pid, pid_start, created_at) "
            "VALUES (?, ?, ?, ?, ?, ?)"
        )
        with self.write():
            for job_id in ids:
                cursor = self._do(sql, [site_id, kind, job_id, pid, start, now])
                numbers.append(int(cursor.lastrowid or 0))
        return numbers

    def intents(self, site_id: str, most: int = 1000, turn: int = 0) -> list[Intent]:
        """Return the open intents of a connection, oldest first.

        Args:
            most: How many of a kind, since there may be very many.
            turn: Of more than that, others with each number; but starts keep their
                order.
        """
        count = (
            "SELECT kind, count(*) FROM intents WHERE site_id = ? AND done = 0 "
            "GROUP BY kind"
        )
        sql = _INTENTS + (
            "site_id = ? AND done = 0 AND kind = ? ORDER BY id LIMIT ? OFFSET ?"
        )
        rows: list[tuple[Any, ...]] = []
        for kind, number in self._rows(count, [site_id]):
            pages = -(-number // most)
            skip = 0 if kind == "start" else turn % pages * most
            rows += self._rows(sql, [site_id, kind, most, skip])
        return [self._intent(row) for row in sorted(rows, key=_first)]

    def crowd(self, site_id: str) -> bool:
        """Tell whether other processes than this one have intents there that wait."""
        sql = (
            "SELECT 1 FROM intents WHERE site_id = ? AND done = 0 AND pid <> ? "
            "AND kind <> 'log' LIMIT 1"
        )
        return bool(self._rows(sql, [site_id, os.getpid()]))

    def waiting(self, site_id: str) -> tuple[int, int]:
        """Return how many intents wait, logs apart, and how many were never sent."""
        sql = (
            "SELECT count(*), coalesce(sum(sent = 0), 0) FROM intents "
            "WHERE site_id = ? AND done = 0 AND kind <> 'log'"
        )
        ((every, unsent),) = self._rows(sql, [site_id])
        return int(every), int(unsent)

    def unserved(self, numbers: Sequence[int]) -> tuple[int, int]:
        """Return how many of these are open, and how many of those were never sent."""
        sql = (
            "SELECT count(*), coalesce(sum(sent = 0), 0) FROM intents "
            "WHERE done = 0 AND id IN (SELECT value FROM json_each(?))"
        )
        ((every, unsent),) = self._rows(sql, [_array(numbers)])
        return int(every), int(unsent)

    def start_intent(self, job_id: str) -> Intent | None:
        """Return the open intent to start a job, if there is one."""
        sql = _INTENTS + "job_id = ? AND kind = 'start' AND done = 0"
        rows = self._rows(sql, [job_id])
        return self._intent(rows[0]) if rows else None

    def has_intent(self, kind: str, job_id: str) -> bool:
        """Tell whether an intent about a job is open."""
        sql = "SELECT 1 FROM intents WHERE job_id = ? AND kind = ? AND done = 0"
        return bool(self._rows(sql, [job_id, kind]))

    def leave_open(self, numbers: Iterable[int]) -> None:
        """Have intents of this process stay when it has ended."""
        sql = "UPDATE intents SET pid = 0, pid_start = '' WHERE id = ? AND done = 0"
        self._many(sql, [[number] for number in numbers])

    def unowned_intents(self, site_id: str) -> bool:
        """Tell whether something is open that no process waits for.

        A job to start is not meant: whoever has its id will ask.
        """
        sql = (
            "SELECT 1 FROM intents WHERE site_id = ? AND done = 0 AND pid = 0 "
            "AND kind <> 'start' LIMIT 1"
        )
        return bool(self._rows(sql, [site_id]))

    def newest_intent(self, site_id: str) -> int:
        """Return the number of the newest open intent, 0 if there is none."""
        sql = "SELECT coalesce(max(id), 0) FROM intents WHERE site_id = ? AND done = 0"
        return int(self._rows(sql, [site_id])[0][0])

    def outcomes(self, numbers: Sequence[int]) -> dict[int, Intent]:
        """Return these intents as they stand now; see :func:`slices`."""
        sql = _INTENTS + "id IN (SELECT value FROM json_each(?))"
        rows = self._rows(sql, [_array(numbers)])
        return {row[0]: self._intent(row) for row in rows}

    def mark_sent(self, numbers: Iterable[int]) -> None:
        """Note that intents stand in a request from now on."""
        self._many("UPDATE intents SET sent = 1 WHERE id = ?", [[n] for n in numbers])

    def mark_unsent(self, numbers: Iterable[int]) -> None:
        """Note that the request in which intents stood has reached nobody."""
        self._many("UPDATE intents SET sent = 0 WHERE id = ?", [[n] for n in numbers])

    def disown(self, ids: Iterable[str]) -> None:
        """Note that users have the ids of jobs that are to start, and wait no more.

        Such a job is never forgotten, whatever becomes of it.
        """
        self._many(
            "UPDATE intents SET pid = 0, pid_start = '' "
            "WHERE job_id = ? AND kind = 'start' AND done = 0",
            [[job_id] for job_id in ids],
        )

    def serve(self, numbers: Iterable[int], note: str = "") -> None:
        """Close intents; ``note`` is an error, dumped, or empty."""
        self._many(
            "UPDATE intents SET done = 1, note = ? WHERE id = ? AND done = 0",
            [[note, number] for number in numbers],
        )

    def note(self, numbers: Iterable[int], note: str) -> None:
        """Keep an error for who gives up on intents that stay open."""
        sql = "UPDATE intents SET note = ? WHERE id = ?"
        self._many(sql, [[note, number] for number in numbers])

    def redirect(self, job_id: str, winner: str) -> None:
        """Let who wanted a job started hear of another, which holds its key.

        Who wanted it killed did not mean the other.
        """
        self._do(
            "UPDATE intents SET job_id = ? WHERE job_id = ? AND kind = 'start'",
            [winner, job_id],
        )

    def drop_intents(self, numbers: Iterable[int]) -> None:
        """Delete intents, served or not."""
        self._many("DELETE FROM intents WHERE id = ?", [[n] for n in numbers])

    def withdraw(self, numbers: Sequence[int]) -> tuple[list[str], list[str]]:
        """Take back what was never sent.

        Returns:
            The ids of the jobs that are as if never asked for, and of those whose
            intent has gone into a request and stays.
        """
        gone: list[str] = []
        kept: list[str] = []
        with self.write():
            for some in slices(numbers):
                self._withdraw(some, gone, kept)
            self.forget(gone)
        return gone, kept

    def _withdraw(
        self, numbers: Sequence[int], gone: list[str], kept: list[str]
    ) -> None:
        for intent in self.outcomes(numbers).values():
            if intent.sent and not intent.done:
                kept.append(intent.job_id)
                continue
            self.drop_intents([intent.id])
            if intent.kind == "start" and not (intent.sent or intent.done):
                gone.append(intent.job_id)

    def expire(self, site_id: str, ttl: float, now: float) -> list[Intent]:
        """Close what dead processes asked for too long ago, and return it.

        A ``log`` intent ends with its process. Others of a dead process stay for
        ``ttl`` seconds; one that is dated further ahead than the clock allows is
        void as well. What was declared lost while its host could not be asked is told
        there whenever that can be.
        """
        sql = _INTENTS + (
            "site_id = ? AND done = 0 AND NOT (kind = 'forget' AND pid = 0) "
            "AND (kind = 'log' OR created_at NOT BETWEEN ? AND ?)"
        )
        stale = []
        with self.write():
            for row in self._rows(sql, [site_id, now - ttl, now + ttl]):
                intent = self._intent(row)
                if not intent.pid or not is_that_process(intent.pid, intent.pid_start):
                    stale.append(intent)
            self.drop_intents(intent.id for intent in stale if intent.kind == "log")
            stale = [intent for intent in stale if intent.kind != "log"]
            self.serve(
                (intent.id for intent in stale), '["JobError", ["?", "expired"]]'
            )
            self._do(
                "DELETE FROM intents WHERE done = 1 AND created_at < ?", [now - ttl]
            )
        return stale

    # -- hosts -----------------------------------------------------------------

    def host(self, site_id: str) -> SiteRow | None:
        """Return what is known of a connection's host."""
        rows = self._rows(_HOSTS + "WHERE site_id = ?", [site_id])
        return self._host(rows[0]) if rows else None

    def generation(self, site_id: str) -> int:
        """Return the number of the lock that makes one the leader for a host."""
        rows = self._rows("SELECT generation FROM sites WHERE site_id = ?", [site_id])
        return int(rows[0][0]) if rows else 0

    def hosts(self) -> list[SiteRow]:
        """Return all hosts, by name."""
        return [self._host(row) for row in self._rows(_HOSTS + "ORDER BY host")]

    def know_host(self, site_id: str, host: str) -> SiteRow:
        """Return the row of a host, made if it is new."""
        row = self.host(site_id)
        if row is None:
            self._do(
                "INSERT OR IGNORE INTO sites (site_id, host, since) VALUES (?, ?, ?)",
                [site_id, host, time.time()],
            )
            row = self.host(site_id)
        if row is None:
            raise StoreError(f"{self.path}: the row of host {host} is gone")
        return row

    def forget_host(self, site_id: str, before: float) -> bool:
        """Forget a host that never answered and of which nothing is known or wanted.

        A name that was mistyped is one. What was refused, and a cooldown, are kept for
        as long as they count.

        Args:
            before: Only one that is known since then or longer.

        Returns:
            Whether it was one.
        """
        sql = (
            "DELETE FROM sites WHERE site_id = ? AND since <= ? AND round_ended_at = 0 "
            "AND refused = '{}' AND cooldown_until <= ? "
            "AND NOT EXISTS (SELECT 1 FROM jobs WHERE site_id = sites.site_id) "
            "AND NOT EXISTS (SELECT 1 FROM intents WHERE site_id = sites.site_id)"
        )
        return self._do(sql, [site_id, before, time.time()]).rowcount > 0

    def set_host(self, site_id: str, **columns: Any) -> None:
        """Set columns of a host."""
        self.count(site_id, {}, **columns)

    def count(self, site_id: str, counts: Mapping[str, int], **columns: Any) -> None:
        """Add to the ledger, whose names are :data:`COUNTERS`, and set columns."""
        counts = {name: n for name, n in counts.items() if n and name in COUNTERS}
        sets = [f"{name} = {name} + ?" for name in counts]
        sets += [f"{name} = ?" for name in columns]
        if sets:
            self._do(
                f"UPDATE sites SET {', '.join(sets)} WHERE site_id = ?",
                [*counts.values(), *columns.values(), site_id],
            )

    def identity(self, name: str) -> bytes | None:
        """Return the cached identity of a host's name, as it was written."""
        rows = self._rows("SELECT data FROM identities WHERE name = ?", [name])
        return rows[0][0] if rows else None

    def save_identity(self, name: str, data: bytes) -> None:
        """Keep the identity of a host's name."""
        self._do("INSERT OR REPLACE INTO identities VALUES (?, ?)", [name, data])


def _array(values: Iterable[str] | Iterable[int]) -> str:
    """Return the JSON array of numbers, or of words, that json_each() takes apart.

    Ids and states are letters and digits; anything else can be in no row, and is left
    out. (``json`` brings ``re``: 3 ms.)
    """
    words = (str(v) if isinstance(v, int) else f'"{v}"' * v.isalnum() for v in values)
    return f"[{','.join(filter(None, words))}]"


_STATE, _ONCE, _LOG_FINAL = map(Job._fields.index, ("state", "once", "log_final"))


def _first(row: tuple[Any, ...]) -> int:
    return int(row[0])


def _sync(path: str) -> None:
    """Have a file on the disk, if there is one."""
    with _Seam(path):
        try:
            fd = open_owned(path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _unlink(path: str) -> None:
    with _Seam(path):
        try:
            os.unlink(path)
        except FileNotFoundError:
            return


def default_home(environ: dict[str, str]) -> str:
    """Return where this machine's store is.

    It is found from the password file, not from HOME, so that a login shell,
    cron and ``sudo -u`` meet at one place; and it names the machine, so that two
    machines that share a home directory do not.

    Raises:
        SpecError: ``SSHJOBS_HOME`` is not an absolute path, or is not given and
            nothing else says where it would be.
    """
    given = environ.get("SSHJOBS_HOME")
    if given:
        if not os.path.isabs(given):
            raise SpecError(f"SSHJOBS_HOME is not an absolute path: {given!r}")
        return given
    home = login_home()
    if not home:
        raise SpecError(
            f"uid {os.geteuid()} has no entry in the password file, which says where "
            "your home is: set SSHJOBS_HOME to a directory of your own"
        )
    return os.path.join(home, ".local", "state", "sshjobs", machine())


def login_home() -> str:
    """Return our home as the password file has it, "" for a made-up uid."""
    import pwd

    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:
        return ""


def machine() -> str:
    """Return a short name of this machine: its id, or its host name."""
    for path in ("/etc/machine-id", "/var/lib/dbus/machine-id"):
        try:
            with open(path, encoding="ascii") as file:
                text = file.read().strip()
        except (OSError, ValueError):
            continue
        if text:
            return text[:12]
    return os.uname().nodename
