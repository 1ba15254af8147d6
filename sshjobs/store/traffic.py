"""The ledger of a host by the minute, which a trigger of the schema keeps.

Apart from the tables: no start reads it.
"""

from __future__ import annotations

from ..startup.records import Record
from .database import Database, RowCheck

#: The seconds of one row.
SPAN = 60


class TrafficRow(Record):
    """The ledger of a connection in the :data:`SPAN` seconds from ``at`` on."""

    site_id: str
    at: int
    handshakes: int
    drops: int
    sessions: int


_CHECK = RowCheck(TrafficRow)


class TrafficTable:
    """The ledger of each site by the minute."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def read_minutes(self, site_id: str, since: float) -> list[TrafficRow]:
        """Return the ledger of a site by the minute, oldest first.

        Args:
            since: An instant; the minute that it lies in is the first one.

        Raises:
            StoreError: a row is damaged.
        """
        rows = self._database.fetch_rows(
            f"SELECT {', '.join(TrafficRow._fields)} FROM traffic "
            "WHERE site_id = ? AND at > ? ORDER BY at",
            [site_id, since - SPAN],
        )
        for row in rows:
            _CHECK.check_row(self._database.path, row)
        return [TrafficRow(*row) for row in rows]

    def prune_minutes(self, site_id: str, before: float) -> None:
        """Forget the ledger by the minute before an instant; its totals stay."""
        self._database.execute_sql(
            "DELETE FROM traffic WHERE site_id = ? AND at < ?", [site_id, before]
        )
