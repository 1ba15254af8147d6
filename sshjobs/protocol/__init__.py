"""The words between this machine and a host; pure, and total over bytes.

Theory of operation: :func:`build` (:mod:`.program`) turns a :class:`Request` into a
program for ``exec sh`` on the host; :class:`Reply` (:mod:`.reply`) reads what that
program writes, a :mod:`frame <.frames>` at a time, into :mod:`events <.events>`. A long
log has sessions of its own (:func:`build_fetch`), a watch has its own reader
(:mod:`.watch_reply`). Nothing here does I/O, apart from one cached look at ``remote/``.

Keep in sync with ``remote/``, which writes what is read here.
"""

from __future__ import annotations

from ..startup.records import TYPE_CHECKING
from .events import (
    Beat,
    Claimed,
    Differs,
    Due,
    Elsewhere,
    End,
    Ended,
    Fact,
    Failed,
    Hello,
    JournalAt,
    KillMissing,
    KillSent,
    Listed,
    ListedOdd,
    LogData,
    LogEnd,
    Longer,
    Lost,
    Missing,
    NoLog,
    Prepared,
    Queued,
    Reaped,
    ReapRefused,
    Refused,
    Started,
    Unforgotten,
    Unread,
    Unseen,
    Unsupervised,
)
from .program import GO, GUARD, WATCH_BEATS, build, build_fetch, build_watch
from .reply import Reply
from .request import ANY_LOG, PROTOCOL_VERSION, Check, LogWant, Reap, Request, Start

if TYPE_CHECKING:
    from .events import Event as Event

__all__ = [
    "ANY_LOG",
    "Beat",
    "Check",
    "Claimed",
    "Differs",
    "Due",
    "Elsewhere",
    "End",
    "Ended",
    "Event",
    "Fact",
    "Failed",
    "GO",
    "GUARD",
    "Hello",
    "JournalAt",
    "KillMissing",
    "KillSent",
    "Listed",
    "ListedOdd",
    "LogData",
    "LogEnd",
    "LogWant",
    "Longer",
    "Lost",
    "Missing",
    "NoLog",
    "PROTOCOL_VERSION",
    "Prepared",
    "Queued",
    "Reap",
    "ReapRefused",
    "Reaped",
    "Refused",
    "Reply",
    "Request",
    "Start",
    "Started",
    "Unforgotten",
    "Unread",
    "Unseen",
    "Unsupervised",
    "WATCH_BEATS",
    "build",
    "build_fetch",
    "build_watch",
]
