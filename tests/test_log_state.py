"""A job's log, end and directory, by its row: each function at each of its bounds."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from sshjobs import states
from sshjobs.model import Job
from sshjobs.rounds.log_state import (
    count_bytes_left,
    is_end_known,
    is_log_cut,
    is_log_full,
    is_log_home,
    is_log_wanted,
    is_rest_given_up,
    runs_elsewhere,
    wants_cleanup,
)

pytestmark = pytest.mark.quick


def a_job(state: str = "RUNNING", **columns: object) -> Job:
    job = Job("a" * 16, "h", "c", state)
    return job._replace(**columns)  # type: ignore[arg-type]


CUT = a_job("COMPLETED", max_log_bytes=5, log_local_bytes=5, log_bytes=9)

CASES: list[tuple[Callable[[Job], object], Job, object]] = [
    (is_log_wanted, a_job(), True),
    (is_log_wanted, a_job(log_final=True), False),
    (is_log_wanted, a_job(reaped_at=0.0), False),
    (is_log_wanted, CUT, False),
    (is_log_full, a_job(log_local_bytes=5), False),
    (is_log_full, a_job(log_local_bytes=4, max_log_bytes=5), False),
    (is_log_full, a_job(log_local_bytes=5, max_log_bytes=5), True),
    (is_log_full, a_job(log_local_bytes=6, max_log_bytes=5), True),
    (is_log_full, a_job(log_local_bytes=1, max_log_bytes=1), True),
    (is_log_cut, CUT, True),
    (is_log_cut, CUT._replace(state="RUNNING"), False),
    (is_log_cut, CUT._replace(reaped_at=0.0), False),
    (is_log_cut, CUT._replace(log_final=True), False),
    (is_log_cut, CUT._replace(max_log_bytes=0), False),
    (is_rest_given_up, CUT._replace(log_final=True), True),
    (is_rest_given_up, CUT, False),
    (is_rest_given_up, CUT._replace(log_final=True, log_bytes=5), False),
    (is_rest_given_up, CUT._replace(log_final=True, max_log_bytes=0), False),
    (count_bytes_left, a_job(log_bytes=9, log_local_bytes=4), 5),
    (count_bytes_left, a_job(log_bytes=9, log_local_bytes=4, max_log_bytes=6), 2),
    (count_bytes_left, a_job(log_bytes=5, log_local_bytes=4, max_log_bytes=6), 1),
    (count_bytes_left, a_job(log_bytes=9, log_local_bytes=4, log_final=True), 0),
    (count_bytes_left, CUT, 0),
    (is_log_home, a_job(log_final=True), False),
    (is_log_home, a_job("FAILED"), False),
    (is_log_home, a_job("FAILED", log_final=True), True),
    (is_log_home, a_job("FAILED", reaped_at=0.0), True),
    (is_log_home, None, False),  # type: ignore[list-item]
    (runs_elsewhere, a_job(reason="runs on n"), True),
    (runs_elsewhere, a_job(reason="it runs on n"), False),
    (runs_elsewhere, a_job("FAILED", reason="runs on n"), False),
    (wants_cleanup, a_job("FAILED", cleanup="always"), True),
    (wants_cleanup, a_job("FAILED", cleanup="on_success"), False),
    (wants_cleanup, a_job("COMPLETED", cleanup="on_success"), True),
    (wants_cleanup, a_job("COMPLETED", cleanup="never"), False),
    (wants_cleanup, CUT._replace(cleanup="always"), False),
    (wants_cleanup, CUT._replace(cleanup="always", log_bytes=5), True),
    (wants_cleanup, CUT._replace(cleanup="always", max_log_bytes=1), False),
    (wants_cleanup, CUT._replace(cleanup="always", max_log_bytes=0), True),
]


@pytest.mark.parametrize(("tell", "job", "told"), CASES)
def test_a_row_tells_of_its_log(
    tell: Callable[[Job], object], job: Job, told: object
) -> None:
    assert tell(job) == told


@pytest.mark.parametrize("state", states.STATES)
def test_an_end_is_known_of_each_final_state_but_lost(state: str) -> None:
    assert is_end_known(a_job(state)) == (state in states.FINAL and state != "LOST")
