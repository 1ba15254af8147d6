"""The crash suite over connections that Fabric makes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import test_crashes as crashes
from tests.faults.world import Home, World

test_submit_killed = crashes.test_a_submit_killed_at_any_moment
test_crowd = crashes.test_leaders_and_masters_die_under_a_crowd
test_batch = crashes.test_a_batch_whose_leader_is_killed_is_started_by_the_next
test_run_does_not_notice = crashes.test_a_run_does_not_notice
test_stopped_leader = crashes.test_a_stopped_leader_is_replaced_and_does_no_harm

pytestmark = pytest.mark.slow


@pytest.fixture
def world(need_sshd: None) -> Iterator[World]:
    """A world in which nobody uses ssh."""
    made = World({}, small=False, transport="fabric")
    yield made
    made.close()


@pytest.fixture
def home(world: World) -> Home:
    return world.homes[0]
