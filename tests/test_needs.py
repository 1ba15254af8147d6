"""Needs: from which instant on a round is wanted, by a clock of the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from sshjobs import errors
from sshjobs.model import Job
from sshjobs.rounds.needs import (
    require_fresh_round,
    require_intents_served,
    require_paced_rounds,
)
from sshjobs.rounds.site import Site
from sshjobs.settings import Settings
from sshjobs.store import Store
from sshjobs.transports.identity.identity import local_identity

pytestmark = pytest.mark.quick

IDS = [letter * 16 for letter in "abcdefghijkl"]
BEGIN = 1000.0


class Clock:
    """The time of day."""

    now = BEGIN

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def site(tmp_path: Path, clock: Clock) -> Site:
    store = Store(str(tmp_path / "home"))
    settings = Settings().replace(poll_interval=1.0, start_grace=10.0)
    made = Site(store, local_identity(), settings, str(tmp_path / "run"), clock)
    made.row()
    return made


def is_sent(site: Site) -> bool:
    return site.contact.is_sent


def know(site: Site, **columns: object) -> None:
    """Write down what came of a round."""
    site.store.sites.update_site(site.site_id, **columns)


# -- intents --------------------------------------------------------------------------


def test_intents_that_no_request_has_held_want_a_round_at_once(site: Site) -> None:
    numbers = site.store.intents.add_intents(site.site_id, "start", IDS[:2])
    need = require_intents_served(site, numbers)
    assert need() == 0.0 and not is_sent(site)
    site.store.intents.mark_sent(numbers[:1])
    assert need() == 0.0 and not is_sent(site)
    site.store.intents.serve_intents(numbers[1:])
    assert need() is not None and is_sent(site)
    site.store.intents.serve_intents(numbers[:1])
    assert need() is None and is_sent(site)


def test_what_was_sent_is_looked_at_a_moment_after_each_round(site: Site) -> None:
    numbers = site.store.intents.add_intents(site.site_id, "start", IDS[:1])
    site.store.intents.mark_sent(numbers)
    need = require_intents_served(site, numbers)
    know(site, round_ended_at=BEGIN - 3.0)
    assert need() == BEGIN - 2.8
    know(site, round_ended_at=BEGIN + 500.0)  # before the clock was set back
    assert need() == 0.2


@pytest.mark.parametrize(
    ("rounds", "seconds", "is_late"),
    [
        (3, 10.5, True),
        (4, 99.0, True),
        (2, 99.0, False),
        (3, 10.0, False),
        (9, 9.0, False),
        (3, -10.5, True),
        (3, -10.0, False),
    ],
)
def test_a_host_that_takes_nothing_for_rounds_and_seconds_is_told_of(
    site: Site, clock: Clock, rounds: int, seconds: float, is_late: bool
) -> None:
    numbers = site.store.intents.add_intents(site.site_id, "start", IDS[:3])
    site.store.intents.mark_sent(numbers)
    know(site, rounds=7)
    need = require_intents_served(site, numbers)
    need()
    site.store.intents.serve_intents(numbers[:1])
    know(site, rounds=8)
    clock.now += 5.0
    need()  # it counts from the first look
    know(site, rounds=7 + rounds)
    clock.now = BEGIN + seconds
    if not is_late:
        assert need() is not None
        return
    with pytest.raises(errors.OutcomeUnknown) as caught:
        need()
    assert "left 2 of our requests unserved for 10 s" in str(caught.value)
    assert caught.value.hint.endswith("start_grace")
    know(site, cause=errors.dump(errors.StoreError("no room")))
    with pytest.raises(errors.OutcomeUnknown) as caught:
        need()
    assert caught.value.hint.endswith("start_grace; no room")


# -- rounds ---------------------------------------------------------------------------


def test_a_fresh_round_began_at_the_call_or_later(site: Site) -> None:
    need = require_fresh_round(site, BEGIN - 5.0)
    for began, due in ((0.0, 0.0), (BEGIN - 5.5, 0.0), (BEGIN - 5.0, None)):
        know(site, round_started_at=began)
        assert need() == due
    know(site, round_started_at=BEGIN + 50.0)
    assert need() == 0.0, "no round begins in the future"


def test_a_clock_that_is_set_back_asks_for_no_later_round(
    site: Site, clock: Clock
) -> None:
    need = require_fresh_round(site, BEGIN)
    clock.now = BEGIN - 100.0
    assert need() == 0.0
    clock.now = BEGIN
    know(site, round_started_at=BEGIN - 99.0)
    assert need() is None


def run_jobs(site: Site, count: int) -> None:
    jobs = (Job(id, "local", site.site_id, "RUNNING") for id in IDS[:count])
    site.store.jobs.add_jobs(jobs)


@pytest.mark.parametrize("live", [False, True])
def test_nothing_more_is_wanted_once_nothing_more_comes(site: Site, live: bool) -> None:
    assert require_paced_rounds(site, lambda: False, live=live)() is None
    assert require_paced_rounds(site, lambda: True, live=live)() is not None


@pytest.mark.parametrize(
    ("columns", "live", "due"),
    [
        ({}, False, BEGIN - 4.0 + 1.5),
        ({}, True, BEGIN - 4.0 + 1.5),
        # A watch is on and tells of nothing.
        ({"watched_at": BEGIN}, False, BEGIN - 4.0 + 15.0),
        ({"watched_at": BEGIN}, True, BEGIN - 4.0 + 1.5),
        # An end was heard of, since the last round began or before it.
        ({"watched_at": BEGIN, "end_seen_at": BEGIN - 4.0}, False, BEGIN - 4.0),
        ({"end_seen_at": BEGIN - 1.0}, True, BEGIN - 1.0),
        (
            {"watched_at": BEGIN, "end_seen_at": BEGIN - 4.5},
            False,
            BEGIN - 4.0 + 15.0,
        ),
        # What lies in the future was written before the clock was set back.
        ({"end_seen_at": BEGIN + 50.0}, False, BEGIN - 4.0 + 1.5),
        ({"round_started_at": BEGIN + 50.0, "watched_at": BEGIN}, True, 0.0),
    ],
)
def test_rounds_are_a_poll_interval_apart_unless_a_watch_is_on(
    site: Site, columns: dict[str, float], live: bool, due: float
) -> None:
    run_jobs(site, 1)
    site.turn = 0.5
    know(site, **{"round_started_at": BEGIN - 4.0, **columns})
    assert require_paced_rounds(site, lambda: True, live=live)() == pytest.approx(due)


def test_unless_it_is_said_nothing_is_live(site: Site) -> None:
    know(site, round_started_at=BEGIN - 4.0, watched_at=BEGIN)
    assert require_paced_rounds(site, lambda: True)() == BEGIN + 11.0


@pytest.mark.parametrize("count", [2, 4])
def test_the_ends_of_a_few_that_come_together_share_a_round(
    site: Site, count: int
) -> None:
    know(site, round_started_at=BEGIN - 4.0, end_seen_at=BEGIN - 1.0)
    run_jobs(site, count)
    assert require_paced_rounds(site, lambda: True)() == pytest.approx(BEGIN - 0.98)


def test_in_a_crowd_an_end_waits_for_the_usual_round(site: Site) -> None:
    know(site, round_started_at=BEGIN - 4.0, end_seen_at=BEGIN - 1.0)
    run_jobs(site, len(IDS))
    few = site.store.jobs.has_few_active(site.site_id)
    due = require_paced_rounds(site, lambda: True)()
    assert due == pytest.approx(BEGIN - 0.98 if few else BEGIN - 3.0)
    assert not few
