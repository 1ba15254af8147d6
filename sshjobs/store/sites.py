"""Sites: a row for each connection with a base directory, and its rounds."""

from __future__ import annotations

import time
import zlib

from ..errors import StoreError
from ..startup.records import TYPE_CHECKING, Record
from .database import Database, RowCheck

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from ..locks import FileLock

#: A watch is there if it gave a sign so many seconds ago.
_WATCHED = 6.0

#: Counters of the ledger, as :meth:`SiteTable.count_events` takes them.
COUNTERS = (
    "handshakes",
    "drops",
    "refusals",
    "sessions",
    "rounds",
    "bytes_in",
    "bytes_out",
)


class SiteRow(Record):
    """The record of a connection's host; the ledger is part of it."""

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
    failing_since: float  # when the first try after the last whole round failed, or 0

    def is_watched(self, now: float) -> bool:
        """Tell whether somebody hears at once of ends; a watch beats every 2 s."""
        return 0.0 <= now - self.watched_at < _WATCHED


_SITE_CHECK = RowCheck(SiteRow)

# Named, so that a process of this version goes on while a newer one adds columns.
_SITES = f"SELECT {', '.join(SiteRow._fields)} FROM sites "


class SiteTable:
    """The sites that this machine knows, and the cached identities of host names."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def _make_site(self, row: Sequence[Any]) -> SiteRow:
        _SITE_CHECK.check_row(self._database.path, row)
        return SiteRow(*row)

    def find_site(self, site_id: str) -> SiteRow | None:
        """Return the record of a connection's host."""
        rows = self._database.fetch_rows(_SITES + "WHERE site_id = ?", [site_id])
        return self._make_site(rows[0]) if rows else None

    def read_generation(self, site_id: str) -> int:
        """Return the number of the lock that makes one the leader for a host."""
        rows = self._database.fetch_rows(
            "SELECT generation FROM sites WHERE site_id = ?", [site_id]
        )
        return int(rows[0][0]) if rows else 0

    def list_sites(self) -> list[SiteRow]:
        """Return all hosts, by name."""
        return [
            self._make_site(row)
            for row in self._database.fetch_rows(_SITES + "ORDER BY host")
        ]

    def ensure_site(
        self, site_id: str, host: str, identity: bytes = b"", base: str = ""
    ) -> SiteRow:
        """Return the row of a host, made with these two if it is new."""
        row = self.find_site(site_id)
        if row is None:
            # Many processes may meet a host for the first time at once: one row comes
            # of it.
            self._database.execute_sql(
                "INSERT OR IGNORE INTO sites (site_id, host, since, identity, base) "
                "VALUES (?, ?, ?, ?, ?)",
                [site_id, host, time.time(), identity, base],
            )
            row = self.find_site(site_id)
        if row is None:
            raise StoreError(f"{self._database.path}: the row of host {host} is gone")
        return row

    def forget_site(self, site_id: str, before: float) -> bool:
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
        return (
            self._database.execute_sql(sql, [site_id, before, time.time()]).rowcount > 0
        )

    def update_site(self, site_id: str, **columns: Any) -> None:
        """Set columns of a host."""
        self.count_events(site_id, {}, **columns)

    def count_events(
        self, site_id: str, counts: Mapping[str, int], **columns: Any
    ) -> None:
        """Add to the ledger, whose names are :data:`COUNTERS`, and set columns."""
        counts = {name: n for name, n in counts.items() if n and name in COUNTERS}
        # Added by SQLite: a sum made here would lose another process's between read and
        # write.
        sets = [f"{name} = {name} + ?" for name in counts]
        sets += [f"{name} = ?" for name in columns]
        if sets:
            self._database.execute_sql(
                f"UPDATE sites SET {', '.join(sets)} WHERE site_id = ?",
                [*counts.values(), *columns.values(), site_id],
            )

    def read_identity(self, name: str) -> bytes | None:
        """Return the cached identity of a host's name, as it was written."""
        rows = self._database.fetch_rows(
            "SELECT data FROM identities WHERE name = ?", [name]
        )
        return rows[0][0] if rows else None

    def save_identity(self, name: str, data: bytes) -> None:
        """Keep the identity of a host's name."""
        self._database.execute_sql(
            "INSERT OR REPLACE INTO identities VALUES (?, ?)", [name, data]
        )

    def make_identity_lock(self, name: str) -> FileLock:
        """Return the lock of the process that finds out what a name means."""
        crc = zlib.crc32(name.encode("utf-8", "surrogateescape"))
        return self._database.make_lock(f"identity.{crc:08x}")
