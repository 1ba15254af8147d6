"""The ledger of a host by the minute, which a trigger of the schema keeps.

Apart from the tables: no start reads it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from ..startup.records import Record
from .database import RowCheck

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


def read_rows(path: str, rows: Iterable[Sequence[Any]]) -> list[TrafficRow]:
    """Return the records of rows of a store.

    Raises:
        StoreError: a row is damaged.
    """
    found = list(rows)
    for row in found:
        _CHECK.check_row(path, row)
    return [TrafficRow(*row) for row in found]
