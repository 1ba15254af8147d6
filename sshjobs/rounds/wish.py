"""What a process wants of the rounds that it leads itself, and what it gets back.

Intents, which any leader serves, stand in the store. A wish is for this process alone:
it goes in with a call of ``Coordinator.wait_for``, and the result comes out of it.
"""

from __future__ import annotations

from ..startup.records import TYPE_CHECKING, Record

if TYPE_CHECKING:
    from collections.abc import Callable

    from .. import protocol


class RoundWish(Record):
    """What one call of ``wait_for`` wants, beside its need.

    ``listing`` asks for one round, led by this process, that lists every job directory.
    ``urgent_log`` names the job whose log is wanted now. ``portion_bytes`` bounds the
    bytes of a long log that one session brings, 0 for all that there are. ``on_log`` is
    told of the id, offset and end of each piece of log that a session of this process
    has put into its file, at once, before it counts; it must not wait for anything.
    ``waits_for_end`` says that an end is waited for, of which a watch can hear.
    ``on_look`` is called before each look at the need, to deliver what has come by
    then: the need itself only looks.
    """

    listing: bool = False
    urgent_log: str = ""
    portion_bytes: int = 0
    on_log: Callable[[str, int, int], None] | None = None
    waits_for_end: bool = False
    on_look: Callable[[], None] | None = None


#: A call that has a need and no wish.
NO_WISH = RoundWish()


class RoundResult(Record):
    """What one call of ``wait_for`` brought.

    ``is_met`` is false if the time was up first. ``listed`` is what a listing found, in
    the order of the reply; None if none was asked for or none came.
    """

    is_met: bool
    listed: list[protocol.Event] | None = None
