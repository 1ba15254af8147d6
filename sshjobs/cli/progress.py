"""The words for a verb's wait, while it lasts, and for the effect of Ctrl-C.

Theory of operation: from :data:`FIRST` on a timer's signal calls :meth:`Progress.tick`
about twice a second (more and more rarely where it is no terminal, ``handlers.tick``
sets the timer), in the main thread, between any two instructions of the verb. So a
verb tells of its wait wherever it stands still, in its own code or in a library,
and costs nothing before. A tick reads plain attributes only (``rounds.wish.Contact``),
never the store, and writes to descriptor 2 by itself: a stream may be in the middle of
a write. A signal in the middle of an import is left alone (``handlers._is_importing``).
"""

from __future__ import annotations

import time

from ..model import printable
from ..startup.records import TYPE_CHECKING
from .output import FIRST, LIVE_LINE

if TYPE_CHECKING:
    from ..rounds.wish import Contact
    from ..verbs.context import Context

#: The effect of Ctrl-C while nothing has been sent, and once all has been.
_UNSENT = {
    "submit": "nothing was sent",
    "run": "nothing was sent",
    "leave": "nothing was sent",
    "rerun": "nothing was sent",
    "wait": "the jobs go on",
    "logs": "the job goes on",
    "kill": "nothing was sent",
    "connect": "no connection is made",
    "disconnect": "the connection stays",
}
_SENT = {
    "submit": "what was sent goes on",
    "run": "the job is cancelled",
    "leave": "the job goes on",
    "rerun": "what was sent goes on",
    "reap": "what the host was asked for is done",
    "kill": "what was told to end ends",
}


class Progress:
    """Tells of a verb's waits, on standard error.

    On a terminal one line is written anew; elsewhere, and on a terminal that cannot
    move its cursor, each change is a line.
    """

    def __init__(self, ctx: Context, verb: str) -> None:
        self._ctx = ctx
        self._verb = verb
        self._last = ""

    def tick(self) -> None:
        """Say it, if there is anything to say."""
        now = time.monotonic()
        late = [
            contact
            for contact in list(self._ctx.contacts)
            if contact.phase and now - contact.since >= FIRST
        ]
        if not late:
            goal = self._ctx.goal
            self._say(*(("", "") if goal is None else goal()))
            return
        late.sort(key=lambda contact: contact.since)
        first = late[0]
        text, what = describe_wait(first, now)
        more = f" (+{len(late) - 1} more hosts)" if len(late) > 1 else ""
        is_sent = first.is_sent or first.phase == "asking"
        left = (_SENT if is_sent else _UNSENT).get(self._verb) or _UNSENT.get(
            self._verb, "nothing is changed"
        )
        self._say(f"{text}{more}; Ctrl-C: {left}", f"{first.host} {what}")

    def _say(self, text: str, what: str) -> None:
        """Show a text; ``what`` is the part of it that makes a change of it."""
        if LIVE_LINE.is_possible():
            LIVE_LINE.draw(printable(text))
        elif text and what and what != self._last:
            LIVE_LINE.write_whole(f"sshjobs: {printable(text)}\n")
        if text:
            self._last = what


def describe_wait(contact: Contact, now: float) -> tuple[str, str]:
    """Return the words for one wait, and the part of them that does not tick."""
    host, span = contact.host, f"{max(0.0, now - contact.since):.0f} s"
    phase = contact.phase
    if phase == "pausing":
        left = max(0, round(contact.next_try_at - now))
        bound = f" of {contact.most_tries}" if contact.most_tries else ""
        what = f"{_shorten_cause(contact.cause)}, try {contact.tries}{bound}"
        return f"{host}: {what} in {left} s", what
    if phase == "asking":
        silent = now - contact.heard_at
        return f"{host}: connected, no answer for {silent:.0f} s", phase
    words = {
        "resolving": "ssh -G reads its configuration",
        "connecting": "connecting",
        "ending": "its connection ends with the last command on it",
        "following": "another process of this machine asks it",
    }
    return f"{host}: {words[phase]}, for {span}", phase


def _shorten_cause(cause: str) -> str:
    """Return the heart of a cause, so that a line has room for its consequence.

    ssh says "connect to host 10.0.0.7 port 22: Connection refused".
    """
    text = cause.partition("; ")[0]
    if text.startswith("connect to host "):
        text = text.rpartition(": ")[2]
    return text if len(text) <= 44 else text[:43] + "…"
