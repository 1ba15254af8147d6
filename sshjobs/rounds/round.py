"""One request and its reply, in a session of its own."""

from __future__ import annotations

import sys

from .. import errors, transports
from ..locks import LeaderLock
from ..startup.records import TYPE_CHECKING
from .site import Over, Site
from .wish import NO_WISH, RoundWish

if TYPE_CHECKING:
    from .exchange import Exchange


class Round:
    """One request and its reply.

    Attributes:
        exchange: The two, once the transport wants the request.
    """

    def __init__(self, site: Site, lead: LeaderLock, wish: RoundWish = NO_WISH) -> None:
        self._site = site
        self._lead = lead
        self._wish = wish
        self._started_at = self._silence = 0.0
        self.exchange: Exchange | None = None

    def run(self, transport: transports.Transport) -> None:
        """Serve every open intent of the host in one session.

        After return, each served intent is closed and each job is as the host
        said. After an error, what the host had said before is known, and the other
        intents stay open.

        Raises:
            SessionRefused: nothing ran.
            OutcomeUnknown: the host may have acted; running it again is safe.
            HostError: our program could not do its work there.

        Source: sshd_config(5) MaxSessions; docs/reference/wire-format.md.
        """
        self._silence = silence = self._site.bound_silence()
        ran = transports.Completed(None, b"", 0)
        self._started_at = self._site.clock()
        try:
            # The questions are gathered while the host starts its shells.
            ran = transport.run(
                "exec sh",
                stdin=lambda: self._open_exchange().build_request(),
                timeout=silence,
                sink=lambda piece: self._open_exchange().take(piece),
            )
            exchange = self._open_exchange()
            sys.audit("sshjobs.reply", self._site.identity.host, exchange.bytes_in)
        except (errors.SessionRefused, errors.HostUnreachable):
            if self.exchange is not None:
                self.exchange.take_back()
            raise
        except (Over, errors.CommandTimeout):
            # A whole reply counts, though its session would not end.
            if self.exchange is None or not self.exchange.is_whole:
                raise
        finally:
            if self.exchange is not None:
                self.exchange.finish()
        exchange = self._open_exchange()
        # A leader may have been killed right before that.
        self._site.store.sweep_specs()
        if not exchange.reply.begun:
            from .obstacles import has_not_run

            if has_not_run(transport, exchange.reply, ran, silence):
                exchange.take_back()
            exchange.show_beat()
        self._raise_outcome(exchange, ran)

    def _open_exchange(self) -> Exchange:
        if self.exchange is None:
            from .exchange import Exchange

            self.exchange = Exchange(
                self._site, self._lead, self._wish, self._started_at, self._silence
            )
        return self.exchange

    def _raise_outcome(self, exchange: Exchange, ran: transports.Completed) -> None:
        """Raise what a session that ended by itself leaves to be said."""
        host = self._site.identity.host
        if exchange.failed is not None:
            raise errors.HostError(host, exchange.failed.text, exchange.failed.hint)
        if not exchange.reply.begun:
            from .obstacles import build_not_run_error

            raise build_not_run_error(host, exchange.reply, ran)
        if not exchange.is_whole:
            from .host_words import words_of_session

            said = words_of_session(b"", ran)
            raise errors.OutcomeUnknown(host, f"the reply broke off; {said}")
