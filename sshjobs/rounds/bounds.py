"""How much may come from a host, and how long it may take: the answer, no more.

Theory of operation: a host is not trusted with the memory, the disk or the time of
this machine. Every session ends: each frame must be one that the
request can have caused, log bytes are as many as were asked for, and what is no answer
(noise before the fence, beats, standard error) is no sign of life beyond its own
bound. A host that sends more breaks the protocol, which is told apart from one that is
slow: the first is a :class:`~sshjobs.errors.ProtocolError` and costs a cooldown, the
second a :class:`~sshjobs.errors.CommandTimeout`, after which the round is run again.
"""

from __future__ import annotations

import time

from ..errors import CommandTimeout, ProtocolError, find_hint
from ..protocol import ANY_LOG, Beat, End, Listed, ListedOdd, LogData, Request, Unread
from ..settings import Settings
from ..startup.records import TYPE_CHECKING
from .site import Over

if TYPE_CHECKING:
    from ..protocol import Event

#: Bytes before the fence, or after the end of a reply: no rc file prints more.
NOISE = 1 << 18

#: Frames that a reply may have apart from those about what was asked for; and those
#: about each start, kill, check, reap and log of the request, of which a keyed start
#: whose key another job holds has most.
_FRAMES = 200
_FRAMES_EACH = 8

#: Frames that say nothing that was asked, or cannot be read; signs of life, beside one
#: for each thing and for each second that logs are summed up.
_STRAYS = 1000
_BEATS = 20

#: Bytes of such frames, each; the reasons in them are short.
_BYTES = 1 << 20
_BYTES_EACH = 4096

#: Bytes that a listing has for each directory: two names, which users choose.
_LISTED_BYTES = 400

#: Bytes a second that every link has: for each so many that are sent, and that come of
#: logs, the bound of a whole round is a second longer.
_RATE = 8192

#: So many starts, kills, checks and reaps a second, and so many bytes of logs that a
#: host sums up before it deletes them, the slowest host manages.
_THINGS_RATE = 4
_SUM_RATE = 4 << 20

#: Seconds that a session may last on after the end of its reply.
_LINGER = 5.0

#: So many log bytes within ``command_timeout`` are a sign of life.
_ALIVE = 4096


class Bounds:
    """Watches over one session; each method raises once too much has come.

    Args:
        host: Its name, for the error.
        settings: Those in force for it.
        sent: How many bytes of program it has to take in first.
        silence: For how long nothing that was asked for may come; None for the
            setting.
    """

    def __init__(
        self, host: str, settings: Settings, sent: int, silence: float | None = None
    ) -> None:
        self._host = host
        self._settings = settings
        self._silence = settings.command_timeout if silence is None else silence
        self._sending = sent / _RATE
        now = time.monotonic()
        self._began_at = self._lived_at = now
        self._limit = settings.round_timeout + self._sending
        self._begun = False
        self._noise = 0
        self._log_bytes = 0

    def make_error(self, what: str) -> ProtocolError:
        """Return the error of a host that sends more than was asked for."""
        return ProtocolError(
            self._host, f"the host sends {what}; the session was ended and no more read"
        )

    def note_life(self) -> None:
        """Take note of something that was asked for."""
        self._begun = True
        self._lived_at = time.monotonic()

    def count_noise(self, count: int) -> None:
        """Take note of bytes before the fence."""
        self._noise += count
        if self._noise > NOISE:
            raise self.make_error(f"{NOISE} bytes that are no reply to our program")

    def count_log_bytes(self, count: int) -> None:
        """Take note of log bytes."""
        self._log_bytes += count
        self._limit += count / _RATE
        if self._log_bytes >= _ALIVE:
            self._log_bytes = 0
            self.note_life()

    def check_time(self) -> None:
        """Raise once nothing that was asked for comes any more, or all takes too long.

        It is called while bytes come: silence is seen to by the session itself.
        """
        now = time.monotonic()
        silence = self._silence
        allowed = silence if self._begun else silence + self._sending
        if now - self._lived_at > allowed:
            raise CommandTimeout(
                self._host,
                f"nothing that was asked for came for {silence:g} s, only noise or a "
                "trickle; the command may go on there",
                find_hint("round:setting", "session:again", name="command_timeout"),
            )
        if now - self._began_at > self._limit:
            raise CommandTimeout(
                self._host,
                f"the round was not over after {self._limit:.0f} s; the command may go "
                "on there",
                find_hint("round:setting", "session:again", name="round_timeout"),
            )


class ReplyBounds(Bounds):
    """Watches over the reply to one request."""

    def __init__(
        self,
        host: str,
        settings: Settings,
        request: Request,
        sent: int,
        silence: float | None = None,
    ) -> None:
        super().__init__(host, settings, sent, silence)
        wanted = (request.starts, request.checks, request.reaps, request.logs)
        ids = [one.job_id for some in wanted for one in some]
        ids += [check.job_id for check in request.forgets]
        ids += request.kills
        things = len(ids)
        self._ids = frozenset(ids)
        homes = (reap.home for reap in request.reaps if reap.home != ANY_LOG)
        summed = sum(homes) / _SUM_RATE
        self._limit += things / _THINGS_RATE + summed
        self._lists = request.listing
        listed = settings.max_listed if request.listing else 0
        self._answers_left = _FRAMES + _FRAMES_EACH * things
        self._others_left = 3 * listed + _FRAMES
        self._beats_left = _BEATS + things + listed // 50 + round(summed)
        self._strays_left = _STRAYS + things
        self._listed_left = listed
        self._bytes_left = _BYTES + _BYTES_EACH * things + _LISTED_BYTES * listed
        self._ended_at = 0.0

    def is_asked(self, job_id: str) -> bool:
        """Tell whether the request names a job."""
        return job_id in self._ids

    def count_event(self, event: Event) -> None:
        """Take note of a frame, or of log bytes: a sign of life."""
        if isinstance(event, LogData):
            self.count_log_bytes(len(event.data))
            return
        self._count_frame(event)
        left = min(self._answers_left, self._others_left, self._strays_left)
        if min(left, self._beats_left) < 0:
            raise self.make_error("more answers than there were questions")
        if isinstance(event, End):
            self._ended_at = time.monotonic()
        if not isinstance(event, Unread):
            self.note_life()

    def _count_frame(self, event: Event) -> None:
        """Take a frame off the number of its kind."""
        if isinstance(event, Beat):
            self._beats_left -= 1
        elif self._lists and not self.is_asked(getattr(event, "job_id", "")):
            self._others_left -= 1
        else:
            self._answers_left -= 1
        if isinstance(event, Unread):
            self._strays_left -= 1
        elif isinstance(event, (Listed, ListedOdd)):
            self._listed_left -= 1
            if self._listed_left < 0:
                most = self._settings.max_listed
                raise self.make_error(
                    f"a listing of more than {most} directories (the setting is "
                    "max_listed)"
                )

    def count_other_bytes(self, count: int) -> None:
        """Take note of bytes that are no log's; called after each piece that came."""
        if self._begun:
            self._bytes_left -= count
        if self._bytes_left < 0:
            raise self.make_error("longer answers than there can be")
        self.check_time()

    def count_after_end(self, count: int) -> None:
        """Take note of bytes after the end of the reply, or of none for a while."""
        self._noise += count
        late = time.monotonic() - self._ended_at > _LINGER
        if late or self._noise > NOISE:
            raise Over
