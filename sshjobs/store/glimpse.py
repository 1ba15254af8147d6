"""A glimpse of the record for the completion of words: read, never written.

Apart from the tables, whose construction makes a home, migrates a schema and waits for
writers. A record that is not there, not ours, damaged, or of another version has
nothing to offer, which is no error here.
"""

from __future__ import annotations

import os

from ..errors import StoreError
from ..owned import check_dir, check_file
from ..startup.records import TYPE_CHECKING, Record
from ..startup.stdlib import sqlite3

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

#: So many of the newest jobs are looked through.
_DEPTH = 20_000

_RECENT = f"(SELECT * FROM jobs ORDER BY submitted_at DESC LIMIT {_DEPTH})"


class KnownJob(Record):
    """The words by which a job can be named, and how it is."""

    id: str
    name: str
    key: str
    state: str
    host: str


def glimpse_jobs(
    home: str, beginning: str, states: Sequence[str], most: int
) -> list[KnownJob]:
    """Return jobs whose id, name or key begins with a text, newest first.

    Args:
        states: Only jobs in one of these.
        most: No more jobs than this.
    """
    begins = " OR ".join(
        f"substr({name}, 1, length(?1)) = ?1" for name in ("id", "name", "key")
    )
    marks = ", ".join(f"?{place}" for place in range(3, len(states) + 3))
    rows = _glimpse_rows(
        home,
        f"SELECT id, name, key, state, host FROM {_RECENT} "
        f"WHERE ({begins}) AND state IN ({marks}) LIMIT ?2",
        [beginning, most, *states],
    )
    return [KnownJob(*row) for row in rows]


def glimpse_hosts(home: str) -> list[str]:
    """Return the names of the hosts of the record."""
    sql = f"SELECT host FROM sites UNION SELECT host FROM {_RECENT} ORDER BY 1"
    return [host for (host,) in _glimpse_rows(home, sql, [])]


def _glimpse_rows(home: str, sql: str, args: Sequence[Any]) -> list[tuple[str, ...]]:
    path = os.path.join(home, "store.db")
    try:
        # Names of another user are offered to nobody: a shell would take them as words.
        check_dir(home)
        for end in ("", "-wal", "-shm"):
            check_file(f"{path}{end}")
        # A person waits for the key: a writer that holds the lock for longer
        # (SQLITE_BUSY) has nothing offered.
        db = sqlite3.connect(_build_uri(path), timeout=0.2, uri=True)
        try:
            rows = db.execute(sql, args).fetchall()
        finally:
            db.close()
    except (OSError, StoreError, sqlite3.Error, UnicodeError):
        return []
    # Columns of SQLite hold any type: a damaged row is left out, the others count.
    return [row for row in rows if all(isinstance(text, str) for text in row)]


def _build_uri(path: str) -> str:
    """Return the URI of a record that SQLite opens without a file of its own.

    A record in WAL mode is read through its index, which SQLite makes where there is
    none (sqlite.org/wal.html, "Read-Only Databases"). Without one nobody is at work,
    and the database is read as it lies there.
    """
    quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
    is_at_work = os.path.exists(f"{path}-wal") and os.path.exists(f"{path}-shm")
    return f"file:{quoted}?{'mode=ro' if is_at_work else 'immutable=1'}"
