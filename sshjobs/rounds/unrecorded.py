"""Rounds past the record: a kill on a disk that takes no intent, an examination."""

from __future__ import annotations

import os

from .. import protocol, transports
from ..startup.records import TYPE_CHECKING
from .asked import Asked
from .bounds import ReplyBounds
from .reply_sink import ReplySink
from .site import Site

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def kill_unrecorded(
    site: Site, hooks: transports.CallerHooks, ids: Sequence[str]
) -> list[str]:
    """Run a round that ends jobs and does nothing else; return the ids that were told.

    Raises:
        TransportError: there is no connection, or it broke.
        ProtocolError: the host answered nonsense.
    """
    base = site.settings.remote_base_dir
    # No intent stands for it: SQLite takes none on a full disk (SQLITE_FULL), and a
    # kill must go out all the same (docs/decisions/0012).
    request = protocol.Request(base_dir=base, kills=tuple(ids))
    told: list[str] = []

    def take(event: protocol.Event) -> None:
        if isinstance(event, (protocol.KillSent, protocol.KillMissing)):
            told.append(event.job_id)

    ask_unrecorded(site, hooks, request, take)
    return told


def ask_unrecorded(
    site: Site,
    hooks: transports.CallerHooks,
    request: protocol.Request,
    take: Callable[[protocol.Event], None],
) -> None:
    """Serve a request past the record; pass on each event of the reply that counts.

    Raises:
        TransportError: there is no connection, or it broke.
        ProtocolError: the host answered nonsense.
    """
    settings, host = site.settings, site.identity.host
    # The reply is fenced by it: a start-up file that prints, or a job that knows the
    # protocol, cannot write a frame of a request that was never made before.
    nonce = os.urandom(8).hex()
    program = protocol.build(request, nonce)
    transport = transports.open_transport(site.identity, settings, hooks)
    try:
        transport.run(
            "exec sh",
            stdin=program,
            timeout=settings.command_timeout,
            sink=ReplySink(
                protocol.Reply(nonce, host),
                Asked(request, host).check,
                site.store.files.locate_log,
                take,
                hooks.on_wait,
                ReplyBounds(host, settings, request, len(program)),
            ),
        )
    finally:
        # One session of the shared connection; the master stays for others.
        transport.close()
