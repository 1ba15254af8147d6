"""When the next try may be, and why not now; read from a host's row."""

from __future__ import annotations

from .. import errors
from ..errors import SshJobsError, TransportError
from ..store import SiteRow

#: No instant in the store can lie further ahead than this; one that does was
#: written before the clock was set back, and is void.
_HORIZON = 3600.0


def cooldown_end(row: SiteRow, now: float) -> float:
    """Return until when no handshake may be made, 0 if one may be.

    A cooldown that lies in the future of its own making is void: the clock was
    set back since.
    """
    if row.cooldown_set_at > now + 1.0 or row.cooldown_until > now + _HORIZON:
        return 0.0
    return row.cooldown_until


def cause_of(row: SiteRow) -> SshJobsError:
    """Return the error that the last failure of a host was."""
    if row.cause:
        return errors.load(row.cause)
    return errors.HostUnreachable(row.host, "in cooldown")


def is_permanent(error: TransportError) -> bool:
    """Tell whether another try right now cannot help (a name that does not exist)."""
    return "not known" in error.detail
