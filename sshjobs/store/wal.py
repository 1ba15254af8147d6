"""The write-ahead log of the record, kept short."""

from __future__ import annotations

import sqlite3

from ..startup.contexts import suppress


def begin_wal_anew(db: sqlite3.Connection) -> None:
    """Have the log begin anew, after a commit that made it long.

    That commit has folded it into the database, unless a reader was at work; it is
    begun anew by the next write of the same process alone (wal.c, 3.40). Each later
    process would read it all, and fold it once more.
    """
    try:
        with suppress(sqlite3.Error):  # a full disk, for one: what counts is committed
            db.execute("BEGIN IMMEDIATE")
            # The least that is a write; a newer sshjobs may have changed it meanwhile.
            (version,) = db.execute("PRAGMA user_version").fetchone()
            db.execute(f"PRAGMA user_version={version}")
            db.execute("COMMIT")
    finally:  # a COMMIT that fails may leave it open, a signal does
        if db.in_transaction:
            db.execute("ROLLBACK")
