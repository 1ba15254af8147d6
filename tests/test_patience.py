"""How long a pursuit goes on, and what it says when it gives up."""

from __future__ import annotations

from pathlib import Path

import pytest

from sshjobs import errors
from sshjobs.rounds.retry import RetryBudget
from sshjobs.rounds.site import Site
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
    place.store.set_host(place.site_id, cooldown_until=0.0)
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
    assert 30.0 < place.silence() <= 40.0
    place.bears_until -= 35.0
    assert place.silence() == 10.0
    patience.reset_budget()
    assert 30.0 < place.silence() <= 40.0
    place.settings = place.settings.replace(command_timeout=3.0)
    assert place.silence() == 3.0
