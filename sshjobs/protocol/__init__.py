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
from .events import Beat as Beat
from .events import Claimed as Claimed
from .events import Differs as Differs
from .events import Due as Due
from .events import Elsewhere as Elsewhere
from .events import End as End
from .events import Ended as Ended
from .events import Fact as Fact
from .events import Failed as Failed
from .events import Hello as Hello
from .events import JournalAt as JournalAt
from .events import KillMissing as KillMissing
from .events import KillSent as KillSent
from .events import Listed as Listed
from .events import ListedOdd as ListedOdd
from .events import LogData as LogData
from .events import LogEnd as LogEnd
from .events import Longer as Longer
from .events import Lost as Lost
from .events import Missing as Missing
from .events import NoLog as NoLog
from .events import Prepared as Prepared
from .events import Queued as Queued
from .events import Reaped as Reaped
from .events import ReapRefused as ReapRefused
from .events import Refused as Refused
from .events import Started as Started
from .events import Unforgotten as Unforgotten
from .events import Unread as Unread
from .events import Unseen as Unseen
from .events import Unsupervised as Unsupervised
from .program import GO as GO
from .program import GUARD as GUARD
from .program import WATCH_BEATS as WATCH_BEATS
from .program import build as build
from .program import build_fetch as build_fetch
from .program import build_watch as build_watch
from .program import key_hash as key_hash
from .quoting import quote as quote
from .reply import Reply as Reply
from .request import ANY_LOG as ANY_LOG
from .request import PROTOCOL_VERSION as PROTOCOL_VERSION
from .request import Check as Check
from .request import LogWant as LogWant
from .request import Reap as Reap
from .request import Request as Request
from .request import Start as Start

if TYPE_CHECKING:
    from .events import Event as Event
