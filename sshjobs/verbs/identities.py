"""Finding out what a host's name means, once for all processes that begin together.

Theory of operation: to ask ``ssh -G`` costs a process, and as much time as the rest of
a submit. A hundred that begin together would each do so, since none finds the answer of
another yet. So whoever asks holds a lock meanwhile, and the others wait for its end:
for the first one only, and not for long. An answer may be one that is not kept (``Match
exec``), or come late, or never: then each asks by itself, as if there were no lock.
"""

from __future__ import annotations

import os
import time

from .. import transports
from ..errors import StoreError
from ..settings import Settings
from ..startup.records import TYPE_CHECKING
from ..store import Store

if TYPE_CHECKING:
    from ..locks import FileLock

#: Seconds that the answer of another process is waited for: among a thousand that begin
#: it takes its time. Who is stopped while it asks holds the others up for so long.
_PATIENCE = 20.0

#: Seconds between two looks whether its lock is there: the first ones, and the longest.
_LOOK, _LONG_LOOK = 0.01, 0.3

#: Seconds between two looks whether it is alive: who was killed leaves the file.
_PULSE = 1.0


def find_fresh_identity(store: Store, name: str) -> transports.Identity | None:
    """Return the identity that the store has for a name, if it still holds."""
    data = store.sites.read_identity(name)
    known = transports.Identity.from_bytes(data) if data else None
    return known if known is not None and known.is_fresh() else None


def resolve_identity(
    store: Store, name: str, host: str, settings: Settings
) -> transports.Identity:
    """Return the identity of a host of which the store has none, and keep it there.

    Args:
        name: The name for the store, with all that the answer depends on.

    Raises:
        SpecError: ssh refuses the name or its configuration.
        HostUnreachable: there is no ssh, or it did not answer in time.
    """
    lock = store.sites.make_identity_lock(name)
    try:
        if not _take_turn(lock):
            _wait_for_other(store, lock, name)
        known = find_fresh_identity(store, name)
        if known is not None:
            return known
        identity = transports.resolve_host(host, settings)
        data = identity.to_bytes()
        if identity.cacheable and data != store.sites.read_identity(name):
            store.sites.save_identity(name, data)
        return identity
    finally:
        lock.remove_file()


def _take_turn(lock: FileLock) -> bool:
    """Try to hold the lock; where no file can be made, nobody waits for anybody."""
    try:
        return lock.try_to_hold()
    except StoreError:
        return True


def _wait_for_other(store: Store, lock: FileLock, name: str) -> None:
    """Wait until the process that asks has its answer, or has ended without one."""
    now, pause = time.monotonic(), _LOOK
    end, pulse = now + _PATIENCE, now + _PULSE
    while now < end:
        time.sleep(pause)
        now, pause = time.monotonic(), min(1.5 * pause, _LONG_LOOK)
        if os.path.lexists(lock.path) and now < pulse:
            continue
        pulse = now + _PULSE
        if find_fresh_identity(store, name) is not None:
            return
        if _take_turn(lock):
            # From here on each asks by itself: nobody waits for a second one.
            lock.remove_file()
            return
