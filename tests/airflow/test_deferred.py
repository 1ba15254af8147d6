"""Deferred tasks on a real Airflow whose triggerer is killed, restarted and away."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow.real import Airflow, asleep, eventually, login, open_folder
from tests.sshd import Sshd, sshd_path

pytest.importorskip("airflow.sdk")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not sshd_path(), reason="no sshd"),
]

DAG = """
from airflow.sdk import DAG
from sshjobs.airflow import SSHJobOperator

given = {{"ssh_conn_id": "target", "deferrable": True}}

with DAG("waits", schedule=None, default_args=given):
    SSHJobOperator(
        task_id="lines",
        command="echo lines >>{mark}/jobs; for i in $(seq 300); do echo line $i; "
        "sleep 0.2; while test $i -gt 200 -a ! -e {mark}/go; do sleep 0.2; done; done",
        cleanup="always",
    )
    for number in 7401, 7402, 7403:
        SSHJobOperator(
            task_id=f"tree{{number}}",
            command=f"echo {{number}} >>{mark}/jobs; "
            f"setsid sleep {{number}} & sleep {{number}}",
            cancel_on_kill=number != 7403,
        )
"""


@pytest.fixture(scope="module")
def sshd() -> Iterator[Sshd]:
    with open_folder() as base, Sshd(base, login()) as server:
        yield server


@pytest.fixture(scope="module")
def mark() -> Iterator[Path]:
    """A directory that the jobs may write to."""
    with open_folder() as base:
        base.chmod(0o777)
        yield base


@pytest.fixture(scope="module")
def airflow(
    tmp_path_factory: pytest.TempPathFactory, sshd: Sshd, mark: Path
) -> Iterator[Airflow]:
    made = Airflow(tmp_path_factory.mktemp("home"), sshd)
    made.env["SSHJOBS_REMOTE_BASE_DIR"] = f"{mark}/base"
    made.dag("waits", DAG.format(mark=mark))
    made.migrate(serves=True)
    made.start()
    yield made
    made.sshjobs("kill", "--state", "RUNNING", "--yes")
    made.stop()


def _read_lines(airflow: Airflow) -> list[str]:
    """Return what stands of the job's lines in the task's log, by any triggerer."""
    records = airflow.log("waits", "lines").splitlines()
    events = [json.loads(one)["event"] for one in records if one.startswith("{")]
    return [event for event in events if event.startswith("line ")]


def test_a_triggerer_that_is_killed_loses_no_line_and_no_end(
    airflow: Airflow, sshd: Sshd, mark: Path
) -> None:
    """A person ends a task while Airflow still takes the dead triggerer for alive."""
    airflow.trigger("waits")
    eventually(lambda: [len(asleep(n)) for n in (7401, 7402, 7403)] == 3 * [2])
    eventually(lambda: len(_read_lines(airflow)) > 10)
    deferred = {state for state, _ in airflow.tasks("waits").values()}
    assert deferred == {"deferred"}
    airflow.end_triggerer(signal.SIGKILL)
    airflow.mark_failed("waits", "tree7401")
    airflow.mark_failed("waits", "tree7403")
    airflow.start_triggerer()
    eventually(lambda: not asleep(7401))
    assert len(asleep(7402)) == len(asleep(7403)) == 2
    (mark / "go").touch()
    eventually(lambda: airflow.state("waits", "lines") == ("success", 1))
    assert _read_lines(airflow) == [f"line {n}" for n in range(1, 301)]


def _count_starts(airflow: Airflow) -> int:
    """Return how often a triggerer has begun to wait for the task that still runs."""
    # Airflow 3.3 says so in the task's log, and not in the triggerer's.
    return airflow.log("waits", "tree7402").count("trigger waits/")


def test_a_triggerer_that_is_restarted_ends_no_job(
    airflow: Airflow, sshd: Sshd, mark: Path
) -> None:
    before = _count_starts(airflow)
    airflow.end_triggerer(signal.SIGTERM)
    airflow.start_triggerer()
    eventually(lambda: _count_starts(airflow) > before)
    assert airflow.state("waits", "tree7402") == ("deferred", 1)
    assert len(asleep(7402)) == 2
    airflow.mark_failed("waits", "tree7402")
    eventually(lambda: not asleep(7402))
    assert len(asleep(7403)) == 2
    lines = (mark / "jobs").read_text().split()
    assert sorted(lines) == ["7401", "7402", "7403", "lines"]
    assert sshd.connections == 1
