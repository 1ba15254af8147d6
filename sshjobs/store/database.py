"""The database: opened as ours, written in transactions, its errors in our words.

Theory of operation: WAL lets readers go on while one process writes. Every writing
transaction is ``BEGIN IMMEDIATE``: a deferred one that turns into a writer fails at
once with "database is locked" under any timeout (SQLite 3.40, 89 of 120 processes).
"""

from __future__ import annotations

import os
from _thread import LockType, allocate_lock

from ..errors import StoreError, add_hint, find_hint, of_system
from ..locks import FileLock
from ..model import printable
from ..owned import check_dir, check_file, check_way, open_owned
from ..startup.contexts import contextmanager, suppress
from ..startup.records import TYPE_CHECKING, Record
from ..startup.stdlib import sqlite3
from . import schema
from .home import describe_network, make_home, own_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, TypeVar

    T = TypeVar("T")

#: Seconds that a writer waits for others; a transaction here lasts milliseconds.
BUSY = 60.0

#: A WAL of more pages than this is folded into the database by whoever commits. It is
#: read by the next process that finds nobody else at work, so it is kept short.
_WAL_PAGES = 200

#: So many rows of a long batch are held in memory at a time.
SLICE = 500

#: Said of a record that was just begun where there was one: it was moved aside, or is
#: of no bytes (which SQLite takes for a new one, and drops the WAL with it).
_LOST = "{} was empty or gone, and is begun anew beside the logs of an older one"

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


def describe_damage(path: str, what: str, key: object, value: object) -> StoreError:
    """Return the error of a value that no sshjobs has written."""
    damaged = StoreError(f"{path}: the {what} {key!r} is damaged: {value!r:.60}")
    return add_hint(damaged, find_hint("here:damaged"))


class RowCheck:
    """Refuses rows that are no record of a kind; a shape is looked at once."""

    def __init__(self, record: type[Record]) -> None:
        self._name = record.__name__.lower().removesuffix("row")
        self._fields = record._fields
        self._kinds = [_TYPES[record.__annotations__[name]] for name in self._fields]
        self._good: set[tuple[type, ...]] = set()

    def check_row(self, path: str, row: Sequence[Any]) -> None:
        """Raise a StoreError for a row of which a field has another type."""
        shape = tuple(map(type, row))
        if shape in self._good:
            return
        for name, kinds, value in zip(self._fields, self._kinds, row):
            if type(value) not in kinds:
                raise describe_damage(path, f"{name} of {self._name}", row[0], value)
        self._good.add(shape)

    def check_rows(self, path: str, rows: Iterable[Sequence[Any]]) -> None:
        """Check many rows; of thousands most have one shape."""
        for row in rows:
            if tuple(map(type, row)) not in self._good:
                self.check_row(path, row)


def slices(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield a long list in pieces, so that the rows of all are never held at once."""
    for at in range(0, len(values), SLICE):
        yield values[at : at + SLICE]


def quote_array(values: Iterable[str] | Iterable[int]) -> str:
    """Return the JSON array of numbers, or of words, that json_each() takes apart.

    Ids and states are letters and digits; anything else can be in no row, and is left
    out. (``json`` brings ``re``: 3 ms.)
    """
    words = (str(v) if isinstance(v, int) else f'"{v}"' * v.isalnum() for v in values)
    return f"[{','.join(filter(None, words))}]"


class Seam:
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
            raise _explain(printable(str(error)), self._path) from error
        # The module cannot tell of a schema that is damaged into no text (Python 3.11).
        if isinstance(error, (sqlite3.DatabaseError, UnicodeDecodeError)):
            damaged = StoreError(f"{self._path}: {printable(str(error))}")
            raise add_hint(damaged, find_hint("here:damaged")) from error
        if isinstance(error, OSError):
            raise of_system(str(error.filename or self._path), error) from error


def _explain(said: str, path: str) -> StoreError:
    """Return the error for SQLite's words about a record that it cannot use."""
    detail, code = f"{path}: {said}", "here:elsewhere"
    if "full" in said:
        code = "here:ENOSPC"
    elif "no such" in said and (found := _read_version_of_file(path)) > schema.VERSION:
        detail += (
            f"; a newer sshjobs has brought it to version {found} while this command, "
            f"which knows {schema.VERSION}, was at work"
        )
        code = "here:newer"
    elif "locked" in said or "locking" in said:
        from ..holders import describe_holders

        who = describe_holders(path, f"{path}-shm", f"{path}-wal")
        # "locking protocol": SQLite itself gives up after 10 s where somebody was
        # stopped at the index of the write-ahead log (wal.c, 3.40).
        span = f"for longer than {BUSY:g} s" if "locked" in said else "and stands still"
        return StoreError(f"{detail}; another process holds it {span}: {who}")
    elif "readonly" in said or "unable to open" in said:
        code = "here:EACCES"
    return add_hint(StoreError(detail), find_hint(code))


def _read_version(db: sqlite3.Connection) -> int:
    return int(db.execute("PRAGMA user_version").fetchone()[0])


def _read_version_of_file(path: str) -> int:
    """Return the version of a store as its file has it, 0 if that cannot be read."""
    try:
        db = sqlite3.connect(path)
        try:
            return _read_version(db)
        finally:
            db.close()
    except sqlite3.Error:
        return 0


def sync_file(path: str) -> None:
    """Have a file on the disk, if there is one."""
    with Seam(path):
        try:
            fd = open_owned(path, os.O_RDONLY)
        except FileNotFoundError:
            return
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def _unlink_if_there(path: str) -> None:
    with Seam(path):
        try:
            os.unlink(path)
        except FileNotFoundError:
            return


class _Turn:
    """The turn of a thread to write, among those of this process.

    SQLite makes a writer sleep, for up to 0.1 s at a time, and look again
    (sqliteDefaultBusyCallback(), main.c, 3.40). Of a hundred threads that look, each
    with a connection of its own, some found the lock taken each time for a minute. A
    thread that waits for its turn is woken, and this process looks once. It waits for
    as long as others have theirs: a hundred that write much, on a busy machine, may
    come before it for longer than SQLite would wait.
    """

    __slots__ = ("_is_taken", "_lock", "_path")

    def __init__(self, path: str) -> None:
        self._path = path
        self._lock = _turns.get(path) or _turns.setdefault(path, allocate_lock())
        self._is_taken: list[bool] = []

    def __enter__(self) -> None:
        # A thread without its turn asks SQLite itself, which says who holds the lock.
        seen = -1
        try:
            while not any(self._is_taken) and seen != _turns_had.get(self._path, 0):
                seen = _turns_had.get(self._path, 0)
                # In one call: an interrupt between the turn and its note would keep the
                # turn for ever. The interpreter handles no signal inside of it.
                self._is_taken.extend(map(self._lock.acquire, (True,), (BUSY,)))
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        if any(self._is_taken):
            _turns_had[self._path] = _turns_had.get(self._path, 0) + 1
            self._lock.release()


#: By database. A forked child has none of the threads that hold a turn.
_turns: dict[str, LockType] = {}

#: How many threads have had their turns, by database.
_turns_had: dict[str, int] = {}
os.register_at_fork(after_in_child=_turns.clear)


class Database:
    """The database of one home directory, as one thread of one process sees it.

    After construction the directory (0700), the database and its schema exist.

    Args:
        home: The directory; created if missing.

    Attributes:
        remark: A hint for the user, where a store was just made in the directory.

    Raises:
        StoreError: it cannot be made, is not ours, or is of a newer version.
    """

    def __init__(self, home: str) -> None:
        self.home = home
        self.path = os.path.join(home, "store.db")
        self.remark = ""
        self._depth = 0
        self._doomed: list[str] = []
        with Seam(self.path):
            self._prepare_home()
            self._db = self._open_current()

    def close(self) -> None:
        """Close the database; further use is an error."""
        with Seam(self.path):
            self._db.close()

    def _prepare_home(self) -> None:
        fresh = not os.path.lexists(self.path)
        if fresh:
            make_home(self.home)
            self.remark = describe_network(self.home)
        check_way(self.home)
        check_dir(self.home)
        for name in ("specs", "logs", "locks"):
            own_folder(os.path.join(self.home, name))
        # SQLite opens these by itself, and would follow a link that another user has
        # put there.
        for end in ("", "-wal", "-shm", "-journal"):
            check_file(f"{self.path}{end}")
        if not os.path.lexists(os.path.join(self.home, "reserve")):
            from ..reserve import keep_reserve

            keep_reserve(self.home)

    def _open_current(self) -> sqlite3.Connection:
        db = self._connect()
        try:
            version = _read_version(db)
            if version < 0:
                raise describe_damage(self.path, "version of", "the store", version)
            if version < schema.VERSION:
                db.close()
                self._migrate()
                if not version and os.listdir(os.path.join(self.home, "logs")):
                    hint = find_hint("here:begun anew")
                    self.remark = f"{_LOST.format(self.path)}; {hint}"
                db = self._connect()
                version = _read_version(db)
            if version > schema.VERSION:
                raise StoreError(
                    f"{self.path} is of version {version}, this sshjobs knows "
                    f"{schema.VERSION}: a newer sshjobs has used it; upgrade this one"
                )
        except BaseException:
            db.close()
            raise
        return db

    def _connect(self) -> sqlite3.Connection:
        # SQLite gives its other files the mode of this one (os_unix.c, 3.40). The umask
        # is the whole process's, and other threads make files too. O_EXCL: to close a
        # file that another thread has open in SQLite would drop the locks of that.
        if not os.path.lexists(self.path):
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with suppress(FileExistsError):
                os.close(os.open(self.path, flags, 0o600))
        db = sqlite3.connect(
            self.path, timeout=BUSY, isolation_level=None, check_same_thread=False
        )
        try:
            db.execute("PRAGMA synchronous=NORMAL")
            # What is deleted is overwritten with zeros; the WAL has old frames until it
            # is reset.
            db.execute("PRAGMA secure_delete=ON")
            db.execute(f"PRAGMA wal_autocheckpoint={_WAL_PAGES}")
        except BaseException:
            db.close()
            raise
        return db

    def _migrate(self) -> None:
        """Bring the schema up to ours once, however many processes want to.

        Changing the journal mode does not wait for a lock, so that this one step
        is behind a lock of our own.
        """
        with self.make_lock("schema") as lock:
            lock.hold()
            db = self._connect()
            try:
                # Read under the lock: another process may have migrated while we waited
                # for it.
                version = _read_version(db)
                if not version:
                    db.execute("PRAGMA journal_mode=WAL")
                # The version is part of the step's transaction: a crash leaves both or
                # neither.
                while version < schema.VERSION:
                    version, step = schema.MIGRATIONS[version]
                    db.executescript(
                        f"BEGIN IMMEDIATE; {step};"
                        f"PRAGMA user_version={version}; COMMIT;"
                    )
            finally:
                db.close()

    def make_lock(self, name: str) -> FileLock:
        """Return a lock between the processes of this home."""
        return FileLock(os.path.join(self.home, "locks", name))

    @contextmanager
    def begin_write(self, *, durable: bool = False) -> Iterator[None]:
        """Make all that is written inside one transaction; nests.

        Args:
            durable: Survive a power failure, not only a crash of processes.
        """
        with Seam(self.path):
            if self._depth:
                yield
                return
            with _Turn(self.path):
                # Only the outermost begins and ends a transaction: SQLite nests none
                # (sqlite.org/lang_transaction.html).
                self._depth += 1
                before = self._db.total_changes
                try:
                    # SQLite refuses this pragma within a transaction (pragma.c, 3.40),
                    # so it stands before BEGIN and after COMMIT.
                    if durable:
                        self._db.execute("PRAGMA synchronous=FULL")
                    # A signal that comes while SQLite waits here is handled after it.
                    self._db.execute("BEGIN IMMEDIATE")
                    yield
                    self._db.execute("COMMIT")
                except BaseException:
                    self._doomed.clear()
                    # A full disk or an I/O error may have rolled it back already
                    # (sqlite.org/lang_transaction.html, "Response To Errors").
                    if self._db.in_transaction:
                        self._db.execute("ROLLBACK")
                    raise
                finally:
                    self._depth -= 1
                    if durable:
                        self._db.execute("PRAGMA synchronous=NORMAL")
                # A rollback brings rows back and no file: files go when their rows are
                # gone for good.
                while self._doomed:
                    _unlink_if_there(self._doomed.pop())
                if self._db.total_changes - before > _WAL_PAGES:
                    from .wal import begin_wal_anew

                    begin_wal_anew(self._db)

    def delete_file(self, path: str) -> None:
        """Delete a file; inside a transaction, once that has been committed."""
        if self._depth:
            self._doomed.append(path)
        else:
            _unlink_if_there(path)

    def execute_sql(self, sql: str, args: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run a statement; outside a transaction it is one by itself."""
        with Seam(self.path):
            if self._depth:
                return self._db.execute(sql, args)
            with _Turn(self.path):
                return self._db.execute(sql, args)

    def execute_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run a statement for each of these rows, all in one transaction."""
        # Outside of one SQLite makes a transaction of each row, and locks for each
        # (sqlite.org/lang_transaction.html, "Implicit versus explicit").
        with self.begin_write():
            self._db.executemany(sql, rows)

    def execute_own(self, sql: str) -> sqlite3.Cursor:
        """Run a statement on a table of this connection, or inside a transaction."""
        with Seam(self.path):
            return self._db.execute(sql)

    def execute_own_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run such a statement for each of these rows."""
        with Seam(self.path):
            self._db.executemany(sql, rows)

    def fetch_rows(self, sql: str, args: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with Seam(self.path):
            return self._db.execute(sql, args).fetchall()

    def iterate_rows(
        self, sql: str, args: Sequence[Any] = ()
    ) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of a query without holding them all."""
        with Seam(self.path):
            # In WAL mode a reader that takes its time keeps nobody from writing, only
            # the WAL from being reset (sqlite.org/wal.html).
            yield from self._db.execute(sql, args)
