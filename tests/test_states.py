"""The table of states."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshjobs import states

pytestmark = pytest.mark.quick


@given(st.sampled_from(states.STATES), st.lists(st.sampled_from(states.EVENTS)))
def test_a_final_state_absorbs_every_event(state: str, events: list[str]) -> None:
    for event in events:
        before, state = state, states.advance(state, event)
        assert state in states.STATES
        if states.is_final(before):
            assert state == before


@pytest.mark.parametrize("state", states.STATES)
def test_a_state_is_active_or_final(state: str) -> None:
    assert states.is_final(state) is (state not in ("PENDING", "RUNNING"))
    assert (state in states.ACTIVE) is not states.is_final(state)


def test_every_pair_has_an_entry() -> None:
    assert set(states.TABLE) == {(s, e) for s in states.STATES for e in states.EVENTS}


def test_every_final_state_can_be_reached() -> None:
    reached = {states.advance(states.PENDING, event) for event in states.EVENTS}
    assert reached == {states.RUNNING, *states.FINAL}


@pytest.mark.parametrize(
    ("status", "signal", "cause", "event"),
    [
        (0, None, "", "completed"),
        (3, None, "", "failed"),
        (255, None, "", "failed"),
        (None, 9, "", "failed"),
        (0, None, "cancelled", "cancelled"),
        (None, 15, "timeout", "timed_out"),
        (None, None, "", "failed"),
    ],
)
def test_the_event_of_an_end(
    status: int | None, signal: int | None, cause: str, event: str
) -> None:
    assert states.end_event(status, signal, cause) == event


def test_unknown_words_are_bugs() -> None:
    with pytest.raises(KeyError):
        states.advance("UNKNOWN", "started")
