"""A kill that goes out past the record, on a disk that takes no intent any more."""

from __future__ import annotations

import os
from collections.abc import Sequence

from .. import protocol, transports
from .asked import Asked
from .bounds import ReplyBounds
from .reply_sink import ReplySink
from .site import Site


def kill(place: Site, hooks: transports.CallerHooks, ids: Sequence[str]) -> list[str]:
    """Run a round that ends jobs and does nothing else; return the ids that were told.

    Raises:
        TransportError: there is no connection, or it broke.
        ProtocolError: the host answered nonsense.
    """
    settings, host = place.settings, place.identity.host
    kills = tuple((job_id, True) for job_id in ids)
    request = protocol.Request(base_dir=settings.remote_base_dir, kills=kills)
    nonce = os.urandom(8).hex()
    program = protocol.build(request, nonce)
    told: list[str] = []

    def take(event: protocol.Event) -> None:
        if isinstance(event, (protocol.KillSent, protocol.KillMissing)):
            told.append(event.job_id)

    transport = transports.open_transport(place.identity, settings, hooks)
    try:
        transport.run(
            "exec sh",
            stdin=program,
            timeout=settings.command_timeout,
            sink=ReplySink(
                protocol.Reply(nonce, host),
                Asked(request, host).check,
                place.store.log_path,
                take,
                hooks.on_wait,
                ReplyBounds(host, settings, request, len(program)),
            ),
        )
    finally:
        transport.close()
    return told
