"""How often something is tried again, and how long it is waited for."""

from __future__ import annotations

import time

from .. import errors
from ..errors import SshJobsError, TransportError, add_hint, find_hint
from ..startup.records import TYPE_CHECKING
from .cooldown import cause_of, cooldown_end, is_permanent
from .site import Site

if TYPE_CHECKING:
    from ..store import SiteRow

#: How long a host that refused a session is not watched.
_UNWATCHED = 600.0


def remember_failure(site: Site, error: TransportError) -> None:
    """Have others wait after a failure that a person saw, as after any other."""
    if isinstance(error, errors.AuthenticationError):
        from .refusals import remember_refusal

        remember_refusal(site, error)
    elif isinstance(error, errors.HostUnreachable) and not is_permanent(error):
        RetryBudget(site).count_failure(error)


class RetryBudget:
    """How long one wait goes on after failures of any leader.

    The counts are those of the store, so that what one process has tried, all
    have; each wait gives up after its own share of them.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        row = site.row()
        self._failures = row.failures
        self._bad_rounds = row.bad_rounds
        self._round_at = row.round_started_at
        self._refusal: SshJobsError | None = None
        self._refused_at = (0, 0)  # what had failed by then
        self.reset_budget()

    def next_try(self, now: float) -> float:
        """Return from when on a round may be tried; raise if the budget is spent."""
        row = self._site.row()
        # Another process led a whole round: the host is well, whatever failed before.
        if row.round_started_at != self._round_at:
            self._round_at = row.round_started_at
            self.reset_budget()
        if (row.failures, row.bad_rounds) != self._refused_at:
            self._refusal = None  # something worse has come since
        # Another process's whole round sets the counts back to 0, below where ours
        # began.
        self._failures = min(self._failures, row.failures)
        self._bad_rounds = min(self._bad_rounds, row.bad_rounds)
        end = max(cooldown_end(row, now), self._not_before)
        settings = self._site.settings
        cause = self._refusal or cause_of(row)
        # sshd throttles a handshake before it looks at it: MaxStartups, sshd_config(5).
        # That says nothing against the next one, so only the time bounds those.
        tries, most = row.failures - self._failures, settings.conn_retry_attempts
        if tries >= most and not isinstance(cause, errors.Throttled):
            raise add_hint(cause, find_hint("round:handshakes", most=most))
        rounds, most = (
            row.bad_rounds - self._bad_rounds,
            settings.max_reconnect_attempts,
        )
        if rounds >= most:
            raise add_hint(cause, find_hint("round:rounds", most=most))
        # The budget is of the monotonic clock, which nobody sets; cooldowns are
        # instants, which other processes read.
        left = self._deadline - time.monotonic()
        if end > now and end - now > left:
            raise self._out_of_time(cause, end - now)
        if left <= 0.0 and (tries > 0 or rounds > 0):
            hint = find_hint("round:late", bound=settings.wait_host)
            raise add_hint(cause, hint)
        if end > now:
            self._tell_pause(row, cause, end - now)
        return end

    def _tell_pause(self, row: SiteRow, cause: SshJobsError, seconds: float) -> None:
        """Have a person know why nothing is tried now, and which try is next."""
        settings = self._site.settings
        tries, most = row.failures - self._failures, settings.conn_retry_attempts
        if isinstance(cause, errors.OutcomeUnknown) and row.bad_rounds:
            tries = row.bad_rounds - self._bad_rounds
            most = settings.max_reconnect_attempts
        if isinstance(cause, (errors.Throttled, errors.SessionRefused)):
            most = 0  # only the time bounds those
        detail = str(getattr(cause, "detail", cause))
        self._site.contact.pause(seconds, detail, tries + 1, most)

    def _out_of_time(self, cause: SshJobsError, remaining: float) -> SshJobsError:
        bound, seconds = self._site.settings.wait_host, -int(-remaining // 1)
        hint = find_hint("round:cooldown", seconds=seconds, bound=bound)
        return add_hint(cause, hint)

    def reset_budget(self) -> None:
        """A whole round came back."""
        self._deadline = time.monotonic() + self._site.settings.wait_host
        self._site.bears_until = self._deadline
        self._session_pause = 0.1
        self._not_before = 0.0
        self._refusal = None

    def count_failure(self, error: TransportError) -> None:
        """Take note of a failure of a round that this process led."""
        if isinstance(error, errors.SessionRefused):
            self._wait_for_session(error)
        elif isinstance(error, errors.AuthenticationError):
            from .refusals import remember_refusal

            raise remember_refusal(self._site, error)
        elif isinstance(error, errors.ConnectionLost) and error.is_of_login:
            # The same host as one that is HostUnreachable right after the login: which
            # of the two it is, the instant decides, and they have one budget.
            self._cool(error, "failures", 1.0, 15.0)
        elif isinstance(error, errors.OutcomeUnknown):
            self._cool(error, "bad_rounds", 0.25, 5.0)
        elif isinstance(error, errors.Throttled):
            self._cool(error, "failures", 5.0, 20.0)
        elif isinstance(error, errors.HostUnreachable) and not is_permanent(error):
            self._cool(error, "failures", 1.0, 15.0)
        else:
            raise error

    def count_broken_reply(self, error: errors.ProtocolError) -> None:
        """Take note of a host that breaks the protocol, and raise it.

        It would do so again at once, and each time cost what a round may cost: all
        processes of this machine leave it alone for a while.
        """
        self._cool(error, "bad_rounds", 10.0, 60.0)
        raise error

    def _wait_for_session(self, error: TransportError) -> None:
        """All sessions of the connection are taken: nothing ran, wait a little.

        Should one of them be our own watch, it gives way, for a while.
        """
        import random

        now = self._site.clock()
        until = now + _UNWATCHED
        self._site.store.sites.update_site(self._site.site_id, unwatched_until=until)
        self._refusal = error
        row = self._site.row()
        self._refused_at = (row.failures, row.bad_rounds)
        self._session_pause = min(2.0 * self._session_pause, 2.0)
        self._not_before = now + random.uniform(0.05, self._session_pause)
        if time.monotonic() > self._deadline:
            raise error

    def _cool(self, error: SshJobsError, column: str, base: float, most: float) -> None:
        """Set the cooldown that all processes keep, unless it is just that one.

        It doubles, with jitter over three quarters of it. With full jitter eight tries
        within 20 s are one case in a hundred; the floor makes that impossible.
        """
        import backoff

        site = self._site
        now = site.clock()
        row = site.row()
        if cooldown_end(row, now) > now and column == "failures":
            return  # _admit() refused by it; nothing new was tried
        tries = int(getattr(row, column))
        span = min(base * 2.0 ** min(tries, 20), most)
        delay = span / 4 + backoff.full_jitter(span * 3 / 4)
        site.store.sites.update_site(
            site.site_id,
            cause=errors.dump(error),
            cooldown_set_at=now,
            cooldown_until=now + delay,
            failing_since=site.drop_future(row.failing_since) or now,
            **{column: tries + 1},
        )
