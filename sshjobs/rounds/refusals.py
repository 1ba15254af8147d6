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


def remember_refusal(site: Site, error: TransportError) -> SshJobsError:
    """Have nobody here try these credentials again for now; return what to say.

    An error that was remembered already, and only told once more, changes nothing.
    """
    credentials = transports.digest_credentials(site.identity, site.settings)
    now = site.clock()
    # Read and written in one transaction: two that are refused at once, with different
    # credentials, would each write a table without the entry of the other.
    with site.store.begin_write():
        refused = errors.load_many(site.row().refused)
        if (
            site.retried
            or _count_seconds_left(site, refused.get(credentials), now) <= 0.0
        ):
            site.retried = ""
            refused[credentials] = [errors.dump(error), now, 0.0]
            site.store.sites.update_site(site.site_id, refused=json.dumps(refused))
        return _explain_refusal(site, refused[credentials], now)


def known_refusal(site: Site, row: SiteRow) -> SshJobsError | None:
    """Return why the credentials of now are not tried, None if they may be."""
    if row.refused == "{}":
        return None
    entry = errors.load_many(row.refused).get(
        transports.digest_credentials(site.identity, site.settings)
    )
    now = site.clock()
    return (
        _explain_refusal(site, entry, now)
        if _count_seconds_left(site, entry, now) > 0.0
        else None
    )


def begin_retry(site: Site) -> None:
    """Write down that this process tries refused credentials once more, if it does.

    The gate is held, and :func:`known_refusal` has let it pass.
    """
    credentials = transports.digest_credentials(site.identity, site.settings)
    with site.store.begin_write():
        refused = errors.load_many(site.row().refused)
        entry = refused.get(credentials)
        if not entry:
            return
        # Before the handshake: a process that is killed in it has had its try, and a
        # crowd that finds the gate free does not follow it one by one.
        refused[credentials] = [*_read_entry(entry)[:2], site.clock()]
        site.store.sites.update_site(site.site_id, refused=json.dumps(refused))
    site.retried = credentials


def forget_refusal(site: Site) -> None:
    """The credentials that were tried once more were let in."""
    credentials, site.retried = site.retried, ""
    with site.store.begin_write():
        refused = errors.load_many(site.row().refused)
        # Only these: another key of the same host stays as it is.
        refused.pop(credentials, None)
        site.store.sites.update_site(site.site_id, refused=json.dumps(refused))


def _read_entry(entry: object) -> tuple[str, float, float]:
    """Return the error, when it came, and when a further try began."""
    if isinstance(entry, str):  # of an older version, which never tried again
        return entry, 0.0, 0.0
    assert isinstance(entry, list)
    return str(entry[0]), float(entry[1]), float(entry[2])


def _count_seconds_left(site: Site, entry: object, now: float) -> float:
    """Return for how long nobody tries; an instant in the future counts for none."""
    if not entry:
        return 0.0
    _, at, trying_at = _read_entry(entry)
    # A clock that was set back would else bar logins for as long as it was ahead.
    ends = [at + site.settings.refused_retry] if at <= now + 1.0 else []
    ends += [trying_at + _TRYING] if trying_at <= now + 1.0 else []
    return max(ends, default=0.0) - now


def _explain_refusal(site: Site, entry: object, now: float) -> SshJobsError:
    """Return the error, with when it is tried again."""
    error = errors.load(_read_entry(entry)[0])
    left = math.ceil(_count_seconds_left(site, entry, now))
    host = site.identity.host
    hint = errors.find_hint("login:again", seconds=left, host=host)
    return errors.add_hint(error, hint)
