"""The round: one command on a host that serves all that this machine wants there.

Theory of operation: a verb writes intents into the store and then *waits for* a
need: it looks whether the store already shows it met, and if not, it tries to
lead. Who leads makes sure of the connection first, and only then reads the open
intents, of every process, so that all that gathered during a handshake goes into
one request. It runs the request, writes log bytes to their files as they arrive,
and applies everything else in one transaction, if the lock's generation is still
its own. No transaction waits for a session: that one comes once the reply is whole,
while its session ends. Then it rings the bell, and those whose need is met go home.

A reply that breaks off is not thrown away: each whole event counts, apart from those
that mean something only with a later one (``apply.keep_settled_events``). A round
whose outcome is unknown is run again, since every effect on the host is idempotent
under the job's id. What was refused is told apart from what is unknown: the first
costs a cooldown, kept in the store for all processes, the second counts against
``max_reconnect_attempts``.
"""

from __future__ import annotations

from .cooldown import cause_of, cooldown_end, is_permanent
from .coordinator import Coordinator
from .log_state import LONG
from .retry import remember_failure
from .wish import RoundWish

__all__ = [
    "LONG",
    "Coordinator",
    "RoundWish",
    "cause_of",
    "cooldown_end",
    "is_permanent",
    "remember_failure",
]
