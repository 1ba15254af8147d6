"""The questions of one request: nothing else that its reply says counts.

Theory of operation: a host is not trusted with this machine. Each event of a reply
passes here, before a fact is applied, a byte of log is written or a file is unlinked.
An id counts if the request named it for what is said of it, or if a few are said to be
due to end, which the host alone can do; the holder of a key, if it
was named in answer to a start with that key; a directory that stands there, if a
listing was asked for, and what is said of it after that. A log begins where it was
asked for, once, and is no longer than that. All else that is said of jobs is dropped
and counted; log bytes that nobody asked for end the round.
"""

from __future__ import annotations

from .. import protocol
from ..errors import ProtocolError
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

#: How a job does; of whom that may be said is the same for all.
_JUDGEMENTS = (
    protocol.Started,
    protocol.Ended,
    protocol.Prepared,
    protocol.Queued,
    protocol.Lost,
    protocol.Missing,
    protocol.Elsewhere,
    protocol.Unsupervised,
    protocol.Unseen,
    protocol.Due,
)

#: So many jobs that another client wanted ended a host may name in a reply.
_MOST_DUE = 100

#: What is said of the round, not of a job.
_OF_ROUND = (
    protocol.Hello,
    protocol.JournalAt,
    protocol.Failed,
    protocol.Beat,
    protocol.Unread,
    protocol.End,
)


class Asked:
    """The questions of a request, and the answers that are still to come.

    Args:
        request: The request.
        host: The name of the host, for error texts.
    """

    def __init__(self, request: protocol.Request, host: str) -> None:
        self._host = host
        self._lists = request.listing
        self._examines = request.examine
        self._wants = {(want.job_id, want.stream): want for want in request.logs}
        self._come: dict[tuple[str, str], int] = {}  # how many bytes of each log
        starts = _collect_ids(request.starts)
        kills = set(request.kills)
        reaps = _collect_ids(request.reaps)
        forgets = _collect_ids(request.forgets)
        self._due_left = _MOST_DUE
        logs = _collect_ids(request.logs)
        self._judged = starts | kills | forgets | _collect_ids(request.checks)
        self._ids: dict[type, tuple[set[str], ...]] = {
            **dict.fromkeys(_JUDGEMENTS, (self._judged,)),
            protocol.Claimed: (_collect_ids(s for s in request.starts if s.key),),
            protocol.Refused: (starts,),
            protocol.KillSent: (kills,),
            protocol.KillMissing: (kills,),
            protocol.Reaped: (self._judged, reaps),
            protocol.ReapRefused: (reaps,),
            protocol.Unforgotten: (forgets,),
            protocol.Longer: (reaps,),
            protocol.Differs: (reaps,),
            protocol.NoLog: (logs,),
        }

    def check(self, event: protocol.Event) -> protocol.Event:
        """Return an event that counts, or a substitute for one that does not.

        Raises:
            ProtocolError: log bytes that were not asked for.
        """
        if isinstance(event, _OF_ROUND):
            return event
        if isinstance(event, (protocol.LogData, protocol.LogEnd)):
            return self._check_log(event)
        if isinstance(event, (protocol.ListedOdd, protocol.Fact)):
            return self._check_unnamed(event)
        if isinstance(event, protocol.Listed):
            if not self._lists:
                return _make_unread(event, event.job_id)
            self._judged.add(event.job_id)
            return event
        if not self._is_asked(event.job_id, type(event)):
            return _make_unread(event, event.job_id)
        if isinstance(event, protocol.Claimed):
            # The holder is a job that this machine may not know: what follows says how
            # it does, and counts from here on.
            self._judged.add(event.winner_id)
        return event

    def _check_unnamed(
        self, event: protocol.ListedOdd | protocol.Fact
    ) -> protocol.Event:
        """Return an event that names no job, if the request can have caused it."""
        if isinstance(event, protocol.Fact):
            return event if self._examines else _make_unread(event, event.name)
        return event if self._lists else _make_unread(event, event.entry)

    def _is_asked(self, job_id: str, kind: type) -> bool:
        if any(job_id in ids for ids in self._ids[kind]):
            return True
        self._due_left -= kind is protocol.Due
        return kind is protocol.Due and self._due_left >= 0

    def _check_log(self, event: protocol.LogData | protocol.LogEnd) -> protocol.Event:
        log = event.job_id, event.stream
        want = self._wants.get(log)
        if want is None:
            raise self._make_log_error(
                event.job_id, "was not asked for, or came before"
            )
        come = self._come.get(log, 0)
        if isinstance(event, protocol.LogEnd):
            at, length = want.offset, come
            del self._wants[log]
        else:
            at, length = want.offset + come, len(event.data)
            self._come[log] = come + length
        # A piece that repeats or skips bytes would put others in their place.
        if event.offset != at:
            raise self._make_log_error(
                event.job_id, f"begins at {event.offset}, not at {at}"
            )
        if self._come.get(log, 0) > want.limit:
            raise self._make_log_error(
                event.job_id, f"is longer than the {want.limit} asked"
            )
        return event

    def _make_log_error(self, job_id: str, what: str) -> ProtocolError:
        return ProtocolError(self._host, f"a piece of the log of job {job_id} {what}")


def _collect_ids(
    wanted: Iterable[
        protocol.Start | protocol.Check | protocol.Reap | protocol.LogWant
    ],
) -> set[str]:
    return {one.job_id for one in wanted}


def _make_unread(event: protocol.Event, what: str) -> protocol.Unread:
    """Return an event of nobody in place of one that was not asked for."""
    kind = type(event).__name__.lower()
    return protocol.Unread("", f"{kind}: {what}: not asked about")
