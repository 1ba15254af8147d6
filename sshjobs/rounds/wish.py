"""What a process wants of the rounds that it leads itself, and what it gets back.

Intents, which any leader serves, stand in the store. A wish is for this process alone:
it goes in with a call of ``Coordinator.wait_for``, and the result comes out of it. A
contact tells a person of the thread's waits.
"""

from __future__ import annotations

import time

from ..errors import Interrupted
from ..startup.records import TYPE_CHECKING, Record

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Protocol

    from .. import protocol

    class Receiver(Protocol):
        """Has this process write down the wishes of others."""

        @property
        def descriptor(self) -> int:
            """Return the descriptor at which others knock, or -1."""

        def receive_wishes(self) -> None:
            """Write down the wishes of those that have come."""

        def tell_started(self) -> None:
            """Tell those whose wishes were served."""

        def close(self) -> None:
            """Leave the rest to their own processes."""


class RoundWish(Record):
    """What one call of ``wait_for`` wants, beside its need.

    ``listing`` asks for one round, led by this process, that lists every job directory.
    ``urgent_log`` names the job whose log is wanted now. ``portion_bytes`` bounds the
    bytes of a long log that one session brings, 0 for all that there are. ``on_log`` is
    told of the id, offset and end of each piece of log that a session of this process
    has put into its file, at once, before it counts; it must not wait for anything, and
    it is not told of a log of standard error alone.
    ``waits_for_end`` says that an end is waited for, of which a watch can hear.
    ``on_look`` is called before each look at the need, to deliver what has come by
    then: the need itself only looks. ``receiver`` writes down the wishes of
    other processes, before each look and while a leader waits for others.
    """

    listing: bool = False
    urgent_log: str = ""
    portion_bytes: int = 0
    on_log: Callable[[str, int, int], None] | None = None
    waits_for_end: bool = False
    on_look: Callable[[], None] | None = None
    receiver: Receiver | None = None


#: A call that has a need and no wish.
NO_WISH = RoundWish()


class RoundResult(Record):
    """What one call of ``wait_for`` brought.

    ``is_met`` is false if the time was up first. ``listed`` is what a listing found, in
    the order of the reply; None if none was asked for or none came.
    """

    is_met: bool
    listed: list[protocol.Event] | None = None


#: The things a thread may wait for; "" is nothing that a host owes it.
RESOLVING, CONNECTING, ASKING = "resolving", "connecting", "asking"
FOLLOWING, PAUSING, ENDING = "following", "pausing", "ending"


class Contact:
    """The waits of one thread for one host, for a person to read.

    Its thread sets plain attributes, each of which is true by itself: a signal handler
    and other threads read them between any two instructions.

    Attributes:
        since: Since when its host owes it something, of the monotonic clock.
        heard_at: When its host last said something in the session that is open.
        tries: How many tries there have been, and ``most_tries``, 0 for no bound.
        next_try_at: While it pauses, the end of that.
        is_sent: All that was asked for has gone into a request.
        interrupt: The signals by which a person wants its thread to end.
    """

    __slots__ = (
        "host",
        "phase",
        "since",
        "heard_at",
        "cause",
        "tries",
        "most_tries",
        "next_try_at",
        "is_sent",
        "interrupt",
    )

    def __init__(self, host: str, interrupt: Sequence[int] = ()) -> None:
        self.host = host
        self.interrupt = interrupt
        self.phase = ""
        self.since = self.heard_at = self.next_try_at = 0.0
        self.cause = ""
        self.tries = self.most_tries = 0
        self.is_sent = False

    def begin(self, phase: str) -> None:
        """Note the thing that its host owes it from now on."""
        # A wait that goes through several things is one wait for a person.
        if not self.phase:
            self.since = time.monotonic()
        # The clock of its silence begins with the session, not with that of the one
        # before.
        if phase == ASKING and self.phase != ASKING:
            self.hear()
        self.phase = phase

    def hear(self) -> None:
        """Note that its host has said something."""
        self.heard_at = time.monotonic()

    def pause(self, seconds: float, cause: str, tries: int, most_tries: int) -> None:
        """Note why nothing is tried for so many seconds."""
        self.begin(PAUSING)
        self.cause, self.tries, self.most_tries = cause, tries, most_tries
        self.next_try_at = time.monotonic() + seconds

    def follow_or_rest(self, is_due: bool, is_pausing: bool) -> None:
        """Note that its thread waits, for a round that is due or for nothing."""
        if is_due:
            self.begin(FOLLOWING)
        elif not is_pausing:  # of a pause the budget of tries tells more
            self.rest()

    def rest(self) -> None:
        """Note that its host owes it nothing."""
        self.phase = ""

    def check(self) -> None:
        """Raise if a person wants it to end."""
        if self.interrupt:
            raise Interrupted(self.interrupt[0])
