"""How long a wait goes on, and what it says when it gives up."""

from __future__ import annotations

import random
import time
from pathlib import Path

import backoff
import pytest

from sshjobs import errors
from sshjobs.rounds import retry
from sshjobs.rounds.cooldown import cause_of, cooldown_end, is_permanent
from sshjobs.rounds.retry import RetryBudget, remember_failure
from sshjobs.rounds.site import Site
from sshjobs.rounds.wish import PAUSING
from sshjobs.settings import Settings
from sshjobs.store import Store
from sshjobs.transports.identity.identity import local_identity

pytestmark = pytest.mark.quick


@pytest.fixture
def place(tmp_path: Path) -> Site:
    store = Store(str(tmp_path / "home"))
    found = Settings()
    return Site(store, local_identity(), found, str(tmp_path / "run"))


def cool_down(place: Site) -> float:
    """Let the cooldown be over; return a time after it."""
    place.store.sites.update_site(place.site_id, cooldown_until=0.0)
    return place.clock() + 10.0


def test_what_has_failed_last_is_what_is_said(place: Site) -> None:
    """A session that was refused is no reason once the host admits no login."""
    patience = RetryBudget(place)
    patience.count_failure(errors.SessionRefused("h", "no session; nothing ran there"))
    for _ in range(place.settings.conn_retry_attempts - 1):
        patience.count_failure(errors.HostUnreachable("h", "nobody listens"))
        patience.next_try(cool_down(place))
    patience.count_failure(errors.HostUnreachable("h", "nobody listens"))
    with pytest.raises(errors.HostUnreachable, match="nobody listens"):
        patience.next_try(cool_down(place))


def test_a_refused_session_does_not_end_the_wait_for_a_door(place: Site) -> None:
    """Who is throttled waits as long as --wait-host says, however often it tried."""
    patience = RetryBudget(place)
    patience.count_failure(errors.SessionRefused("h", "no session; nothing ran there"))
    for _ in range(place.settings.conn_retry_attempts + 1):
        patience.count_failure(errors.Throttled("h", "closed before authentication"))
        patience.next_try(cool_down(place))


def test_who_has_waited_long_enough_begins_nothing_more(place: Site) -> None:
    place.settings = place.settings.replace(wait_host=0.0)
    patience = RetryBudget(place)
    assert patience.next_try(place.clock()) <= place.clock()
    patience.count_failure(errors.CommandTimeout("h", "nothing came"))
    with pytest.raises(errors.CommandTimeout, match="--wait-host 0 s"):
        patience.next_try(cool_down(place))


def test_a_silent_session_ends_with_the_time_to_wait(place: Site) -> None:
    """A whole round begins it anew; so long as files of a login take, it may be."""
    place.settings = place.settings.replace(command_timeout=100.0, wait_host=40.0)
    patience = RetryBudget(place)
    assert 30.0 < place.bound_silence() <= 40.0
    place.bears_until -= 35.0
    assert place.bound_silence() == 10.0
    patience.reset_budget()
    assert 30.0 < place.bound_silence() <= 40.0
    place.settings = place.settings.replace(command_timeout=3.0)
    assert place.bound_silence() == 3.0


# -- by a clock of the test, and without chance -------------------------------------


class Clock:
    """The time of day and the monotonic clock, which go together."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now - 999_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still, and jitter that is all that it may be."""
    made = Clock()
    monkeypatch.setattr(retry, "time", made)
    monkeypatch.setattr(random, "uniform", lambda _least, most: most)
    monkeypatch.setattr(backoff, "full_jitter", lambda most: most)
    return made


@pytest.fixture
def site(tmp_path: Path, clock: Clock) -> Site:
    store = Store(str(tmp_path / "home"))
    run = str(tmp_path / "run")
    made = Site(store, local_identity(), Settings(), run, clock)
    made.row()
    return made


def of_login() -> errors.ConnectionLost:
    lost = errors.ConnectionLost("h", "ended after the login")
    lost.is_of_login = True
    return lost


UNREACHABLE = errors.HostUnreachable("h", "nobody listens", "look at it")
REFUSED = errors.SessionRefused("h", "no session; nothing ran there")
FAILURES: list[tuple[errors.TransportError, str, list[float]]] = [
    (errors.Throttled("h", "closed"), "failures", [5, 10, 20, 20]),
    (UNREACHABLE, "failures", [1, 2, 4, 8, 15, 15]),
    (of_login(), "failures", [1, 2, 4, 8, 15, 15]),
    (
        errors.ConnectionLost("h", "in the middle"),
        "bad_rounds",
        [0.25, 0.5, 1, 2, 4, 5, 5],
    ),
    (errors.CommandTimeout("h", "silent"), "bad_rounds", [0.25, 0.5, 1, 2, 4, 5, 5]),
]


@pytest.mark.parametrize(("error", "column", "pauses"), FAILURES)
def test_pauses_double_up_to_a_bound(
    site: Site,
    clock: Clock,
    error: errors.TransportError,
    column: str,
    pauses: list[float],
) -> None:
    budget = RetryBudget(site)
    begin = clock.now
    for count, pause in enumerate(pauses, 1):
        budget.count_failure(error)
        row = site.row()
        assert row.cooldown_until - clock.now == pause
        assert row.cooldown_set_at == clock.now
        assert row.failing_since == begin
        assert type(cause_of(row)) is type(error)
        counts = {"failures": 0, "bad_rounds": 0, column: count}
        assert counts == {"failures": row.failures, "bad_rounds": row.bad_rounds}
        clock.now = row.cooldown_until  # at its end, the next try


def test_a_pause_is_a_quarter_at_least(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backoff, "full_jitter", lambda most: 0.0)
    RetryBudget(site).count_failure(errors.Throttled("h", "closed"))
    assert site.row().cooldown_until - clock.now == 1.25


def test_thousands_of_failures_pause_no_longer(site: Site, clock: Clock) -> None:
    site.store.sites.update_site(site.site_id, failures=5000)
    RetryBudget(site).count_failure(UNREACHABLE)
    assert site.row().cooldown_until - clock.now == 15.0


def test_a_failure_that_was_only_told_once_more_is_not_counted(site: Site) -> None:
    """No handshake is made in a cooldown; a round over a live connection is."""
    budget = RetryBudget(site)
    budget.count_failure(UNREACHABLE)
    row = site.row()
    budget.count_failure(errors.Throttled("h", "closed"))
    assert site.row() == row
    budget.count_failure(errors.CommandTimeout("h", "silent"))
    assert (site.row().failures, site.row().bad_rounds) == (1, 1)


def test_a_host_has_failed_since_no_instant_of_the_future(
    site: Site, clock: Clock
) -> None:
    site.store.sites.update_site(site.site_id, failing_since=clock.now + 50.0)
    RetryBudget(site).count_failure(UNREACHABLE)
    assert site.row().failing_since == clock.now


def test_a_broken_reply_pauses_everybody_and_is_raised(
    site: Site, clock: Clock
) -> None:
    budget = RetryBudget(site)
    broken = errors.ProtocolError("h", "no frame", b"x")
    for pause in (10.0, 20.0, 40.0, 60.0, 60.0):
        with pytest.raises(errors.ProtocolError) as caught:
            budget.count_broken_reply(broken)
        assert caught.value is broken
        assert site.row().cooldown_until - clock.now == pause
        clock.now += 100.0
    assert (site.row().failures, site.row().bad_rounds) == (0, 5)


@pytest.mark.parametrize(
    "error",
    [
        errors.HostUnreachable("h", "Name or service not known"),
        errors.TransportError("h", "the host runs Windows"),
    ],
)
def test_what_another_try_cannot_help_is_raised_at_once(
    site: Site, error: errors.TransportError
) -> None:
    before = site.row()
    with pytest.raises(type(error)) as caught:
        RetryBudget(site).count_failure(error)
    assert caught.value is error and site.row() == before


def test_a_refused_login_is_remembered_and_raised(site: Site) -> None:
    denied = errors.AuthenticationError("h", "Permission denied")
    with pytest.raises(errors.AuthenticationError, match="refused_retry"):
        RetryBudget(site).count_failure(denied)
    row = site.row()
    assert "Permission denied" in row.refused
    assert (row.failures, row.cooldown_until) == (0, 0.0)


@pytest.mark.parametrize(
    ("error", "failures", "refused"),
    [
        (errors.AuthenticationError("h", "Permission denied"), 0, True),
        (UNREACHABLE, 1, False),
        (errors.Throttled("h", "closed"), 1, False),
        (errors.HostUnreachable("h", "Name or service not known"), 0, False),
        (errors.ConnectionLost("h", "in the middle"), 0, False),
        (REFUSED, 0, False),
    ],
)
def test_failures_that_a_person_saw_count_for_the_others(
    site: Site, error: errors.TransportError, failures: int, refused: bool
) -> None:
    remember_failure(site, error)
    row = site.row()
    assert (row.failures, row.refused != "{}") == (failures, refused)
    assert row.bad_rounds == 0 and row.unwatched_until == 0.0


# -- sessions that are refused -------------------------------------------------------


def test_for_a_session_that_is_refused_the_wait_is_a_little_longer_each_time(
    site: Site, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[float, float]] = []

    def choose(least: float, most: float) -> float:
        asked.append((least, most))
        return least

    monkeypatch.setattr(random, "uniform", choose)
    budget = RetryBudget(site)
    for _ in range(6):
        budget.count_failure(REFUSED)
        assert budget.next_try(clock.now) == clock.now + 0.05
    assert asked == [(0.05, most) for most in (0.2, 0.4, 0.8, 1.6, 2.0, 2.0)]
    row = site.row()
    assert (row.failures, row.bad_rounds, row.cooldown_until) == (0, 0, 0.0)
    assert row.unwatched_until == clock.now + 600.0
    # A whole round of another process begins it anew.
    site.store.sites.update_site(site.site_id, round_started_at=clock.now)
    assert budget.next_try(clock.now) == 0.0
    budget.count_failure(REFUSED)
    assert asked[-1] == (0.05, 0.2)


def test_a_refused_session_is_the_cause_until_something_else_comes(
    site: Site, clock: Clock
) -> None:
    site.store.sites.update_site(
        site.site_id, failures=1, cause=errors.dump(UNREACHABLE)
    )
    budget = RetryBudget(site)
    budget.count_failure(REFUSED)
    assert budget.next_try(clock.now) == clock.now + 0.2
    assert site.contact.cause == "no session; nothing ran there"
    until = clock.now + 5.0
    site.store.sites.update_site(
        site.site_id, round_started_at=1.0, cooldown_until=until
    )
    assert budget.next_try(clock.now) == until
    assert site.contact.cause == "nobody listens"


def test_thousands_of_refused_sessions_are_waited_for(site: Site) -> None:
    """As in an hour of --wait-host while others hold all sessions."""
    site.settings = site.settings.replace(wait_host=3600.0)
    budget = RetryBudget(site)
    for _ in range(1100):
        budget.count_failure(REFUSED)
    assert budget.next_try(site.clock()) == site.clock() + 2.0


def test_a_refused_session_is_raised_when_the_time_is_over(
    site: Site, clock: Clock
) -> None:
    budget = RetryBudget(site)
    clock.now += 60.0
    budget.count_failure(REFUSED)
    clock.now += 0.5
    with pytest.raises(errors.SessionRefused) as caught:
        budget.count_failure(REFUSED)
    assert caught.value is REFUSED


# -- when the next try may be --------------------------------------------------------


def fail(site: Site, clock: Clock, error: errors.TransportError) -> None:
    """Have another process fail, and its cooldown be over."""
    RetryBudget(site).count_failure(error)
    clock.now = site.row().cooldown_until + 1.0


def endless(site: Site) -> RetryBudget:
    """Return a budget that no time bounds."""
    site.settings = site.settings.replace(wait_host=10_000.0)
    return RetryBudget(site)


def test_handshakes_are_given_up_after_so_many(site: Site, clock: Clock) -> None:
    fail(site, clock, UNREACHABLE)  # before this one began
    budget = endless(site)
    for _ in range(5):
        assert budget.next_try(clock.now) <= clock.now
        fail(site, clock, UNREACHABLE)
    with pytest.raises(errors.HostUnreachable) as caught:
        budget.next_try(clock.now)
    assert str(caught.value) == (
        "h: nobody listens (look at it; given up after handshake 5: the setting is "
        "conn_retry_attempts)"
    )


def test_rounds_are_given_up_after_so_many(site: Site, clock: Clock) -> None:
    lost = errors.ConnectionLost("h", "in the middle")
    fail(site, clock, lost)
    budget = endless(site)
    for _ in range(5):
        assert budget.next_try(clock.now) <= clock.now
        fail(site, clock, lost)
    with pytest.raises(errors.ConnectionLost) as caught:
        budget.next_try(clock.now)
    assert str(caught.value) == (
        "h: in the middle (given up after round 5: the setting is "
        "max_reconnect_attempts)"
    )


@pytest.mark.parametrize("column", ["failures", "bad_rounds"])
def test_a_count_that_began_anew_is_counted_from_there(
    site: Site, clock: Clock, column: str
) -> None:
    error = UNREACHABLE if column == "failures" else errors.CommandTimeout("h", "x")
    site.store.sites.update_site(site.site_id, **{column: 3})
    budget = endless(site)
    site.store.sites.update_site(site.site_id, **{column: 0})
    for count in range(5):
        budget.next_try(clock.now)
        fail(site, clock, error)
        assert getattr(site.row(), column) == count + 1
    with pytest.raises(type(error), match="given up after"):
        budget.next_try(clock.now)


def test_a_broken_reply_is_told_with_its_bound(site: Site, clock: Clock) -> None:
    site.settings = site.settings.replace(max_reconnect_attempts=1, wait_host=1e4)
    budget = RetryBudget(site)
    with pytest.raises(errors.ProtocolError):
        budget.count_broken_reply(errors.ProtocolError("h", "no frame"))
    with pytest.raises(errors.ProtocolError) as caught:
        budget.next_try(clock.now)
    assert str(caught.value) == (
        "h: no frame; given up after round 1: the setting is max_reconnect_attempts"
    )


def test_another_error_has_the_bound_in_its_text(site: Site, clock: Clock) -> None:
    budget = RetryBudget(site)
    cause = errors.dump(errors.StoreError("no room"))
    site.store.sites.update_site(site.site_id, cause=cause, bad_rounds=5)
    with pytest.raises(errors.StoreError, match="^no room; given up after round 5: "):
        budget.next_try(clock.now)


def test_a_pause_that_fits_is_waited_for_and_told(site: Site, clock: Clock) -> None:
    budget = RetryBudget(site)
    site.store.sites.update_site(
        site.site_id,
        failures=1,
        cause=errors.dump(UNREACHABLE),
        cooldown_until=1e6 + 60,
    )
    assert budget.next_try(clock.now) == clock.now + 60.0
    contact = site.contact
    assert (contact.phase, contact.cause) == (PAUSING, "nobody listens")
    assert (contact.tries, contact.most_tries) == (2, 5)
    assert 0.0 < contact.next_try_at - time.monotonic() <= 60.0
    site.store.sites.update_site(site.site_id, cooldown_until=1e6 + 60.5)
    with pytest.raises(errors.HostUnreachable) as caught:
        budget.next_try(clock.now)
    assert str(caught.value) == (
        "h: nobody listens (look at it; nobody on this machine tries again for 61 s, "
        "which is beyond what is left of --wait-host 60 s)"
    )


def test_where_nothing_is_waited_for_nothing_is_told(site: Site, clock: Clock) -> None:
    budget = RetryBudget(site)
    site.store.sites.update_site(site.site_id, failures=1, cooldown_until=clock.now)
    assert budget.next_try(clock.now) == clock.now
    assert site.contact.phase == ""


@pytest.mark.parametrize(
    ("error", "tries", "most"),
    [
        (errors.Throttled("h", "closed"), 3, 0),
        (errors.SessionRefused("h", "closed"), 3, 0),
        (errors.HostUnreachable("h", "closed"), 3, 5),
        (errors.ConnectionLost("h", "closed"), 5, 7),
    ],
)
def test_the_number_of_the_next_try_is_told(
    site: Site, clock: Clock, error: errors.TransportError, tries: int, most: int
) -> None:
    site.settings = site.settings.replace(max_reconnect_attempts=7)
    site.store.sites.update_site(site.site_id, failures=1, bad_rounds=2)
    budget = RetryBudget(site)
    site.store.sites.update_site(
        site.site_id,
        failures=3,
        bad_rounds=6,
        cause=errors.dump(error),
        cooldown_until=clock.now + 9.0,
    )
    assert budget.next_try(clock.now) == clock.now + 9.0
    assert (site.contact.tries, site.contact.most_tries) == (tries, most)
    assert site.contact.cause == "closed"


def test_of_a_lost_connection_without_a_bad_round_logins_are_counted(
    site: Site, clock: Clock
) -> None:
    budget = RetryBudget(site)
    budget.count_failure(of_login())
    budget.next_try(clock.now)
    assert (site.contact.tries, site.contact.most_tries) == (2, 5)


@pytest.mark.parametrize("column", ["failures", "bad_rounds", ""])
@pytest.mark.parametrize("spent", [59.5, 60.0, 99.0])
def test_when_the_time_is_over_only_a_host_that_failed_is_given_up(
    site: Site, clock: Clock, column: str, spent: float
) -> None:
    budget = RetryBudget(site)
    if column:
        site.store.sites.update_site(site.site_id, **{column: 1})
    clock.now += spent
    if column and spent >= 60.0:
        with pytest.raises(errors.HostUnreachable, match="--wait-host 60 s"):
            budget.next_try(clock.now)
    else:
        assert budget.next_try(clock.now) == 0.0


def test_a_whole_round_gives_all_the_time_again(site: Site, clock: Clock) -> None:
    budget = RetryBudget(site)
    fail(site, clock, UNREACHABLE)
    clock.now += 100.0
    site.store.sites.update_site(site.site_id, round_started_at=clock.now)
    assert budget.next_try(clock.now) <= clock.now
    assert site.bears_until == clock.monotonic() + 60.0
    clock.now += 61.0
    with pytest.raises(errors.HostUnreachable):
        budget.next_try(clock.now)  # the same round is no reason to begin anew


# -- a row's cooldown -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("set_at", "until", "end"),
    [
        (0.0, 0.0, 0.0),
        (0.0, 90.0, 90.0),
        (0.0, 110.0, 110.0),
        (101.0, 110.0, 110.0),
        (101.5, 110.0, 0.0),
        (0.0, 3700.0, 3700.0),
        (0.0, 3700.5, 0.0),
    ],
)
def test_a_cooldown_from_before_the_clock_was_set_back_is_void(
    site: Site, set_at: float, until: float, end: float
) -> None:
    row = site.row()._replace(cooldown_set_at=set_at, cooldown_until=until)
    assert cooldown_end(row, 100.0) == end


def test_a_cooldown_without_a_cause_is_unreachable(site: Site) -> None:
    cause = cause_of(site.row())
    assert isinstance(cause, errors.HostUnreachable) and cause.host == "local"
    told = site.row()._replace(cause=errors.dump(REFUSED))
    assert str(cause_of(told)) == str(REFUSED)


def test_a_name_that_does_not_exist_is_no_matter_of_time() -> None:
    assert is_permanent(errors.HostUnreachable("h", "Name or service not known"))
    assert not is_permanent(UNREACHABLE)
