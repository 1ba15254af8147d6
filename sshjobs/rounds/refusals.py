"""Logins that were refused: by which credentials, and when they are tried again.

A refused login is punished by sshd for the whole address (PerSourcePenalties, OpenSSH
9.8 and later: 5 s for each, 600 s at most), so that nobody here tries the same
credentials again until a person acts. But some refusals pass by themselves: a machine
before its cloud-init, an outage of LDAP, /etc/nologin. So one process tries once more
after each ``refused_retry``, which is as long as the longest penalty.
"""

from __future__ import annotations

import json
import math

from .. import errors, transports
from ..errors import SshJobsError, TransportError
from ..store import SiteRow
from .site import Site

#: How long the others let one try run; a handshake is bounded by far less. Should its
#: process die, another tries.
_TRYING = 120.0


def remember_refusal(place: Site, error: TransportError) -> SshJobsError:
    """Have nobody here try these credentials again for now; return what to say.

    An error that was remembered already, and only told once more, changes nothing.
    """
    credentials = transports.digest_credentials(place.identity)
    now = place.clock()
    with place.store.write():
        refused = errors.load_many(place.row().refused)
        if place.retried or _left(place, refused.get(credentials), now) <= 0.0:
            place.retried = ""
            refused[credentials] = [errors.dump(error), now, 0.0]
            place.store.set_host(place.site_id, refused=json.dumps(refused))
        return _told(place, refused[credentials], now)


def known_refusal(place: Site, row: SiteRow) -> SshJobsError | None:
    """Return why the credentials of now are not tried, None if they may be."""
    if row.refused == "{}":
        return None
    entry = errors.load_many(row.refused).get(
        transports.digest_credentials(place.identity)
    )
    now = place.clock()
    return _told(place, entry, now) if _left(place, entry, now) > 0.0 else None


def begin_retry(place: Site) -> None:
    """Write down that this process tries refused credentials once more, if it does.

    The gate is held, and :func:`known_refusal` has let it pass.
    """
    credentials = transports.digest_credentials(place.identity)
    with place.store.write():
        refused = errors.load_many(place.row().refused)
        entry = refused.get(credentials)
        if not entry:
            return
        refused[credentials] = [*_read(entry)[:2], place.clock()]
        place.store.set_host(place.site_id, refused=json.dumps(refused))
    place.retried = credentials


def forget_refusal(place: Site) -> None:
    """The credentials that were tried once more were let in."""
    credentials, place.retried = place.retried, ""
    with place.store.write():
        refused = errors.load_many(place.row().refused)
        refused.pop(credentials, None)
        place.store.set_host(place.site_id, refused=json.dumps(refused))


def _read(entry: object) -> tuple[str, float, float]:
    """Return the error, when it came, and when a further try began."""
    if isinstance(entry, str):  # of an older version, which never tried again
        return entry, 0.0, 0.0
    assert isinstance(entry, list)
    return str(entry[0]), float(entry[1]), float(entry[2])


def _left(place: Site, entry: object, now: float) -> float:
    """Return for how long nobody tries; an instant in the future counts for none."""
    if not entry:
        return 0.0
    _, at, trying_at = _read(entry)
    ends = [at + place.settings.refused_retry] if at <= now + 1.0 else []
    ends += [trying_at + _TRYING] if trying_at <= now + 1.0 else []
    return max(ends, default=0.0) - now


def _told(place: Site, entry: object, now: float) -> SshJobsError:
    """Return the error, with when it is tried again."""
    error = errors.load(_read(entry)[0])
    if not isinstance(error, TransportError):
        return error
    left = math.ceil(_left(place, entry, now))
    more = (
        f"this machine tries again by itself in {left} s at the earliest, the setting "
        f"is refused_retry; sshjobs connect {place.identity.host} tries at once"
    )
    hint = f"{error.hint}; {more}" if error.hint else more
    return type(error)(error.host, error.detail, hint)
