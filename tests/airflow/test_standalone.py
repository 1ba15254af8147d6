"""A real Airflow, with its scheduler, against a real sshd: what users of it rely on."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.airflow.real import Airflow, asleep, eventually, login, open_folder, tree
from tests.sshd import Sshd, sshd_path

pytest.importorskip("airflow.sdk")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not sshd_path(), reason="no sshd"),
]

# As a user of the ssh provider has it; the test changes the import, and nothing else.
FAN = """
from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator
from airflow.sdk import DAG

with DAG("fan", schedule=None):
    SSHRemoteJobOperator.partial(
        task_id="job",
        ssh_conn_id="target",
        cleanup="always",
        poll_interval=5,
        remote_base_dir={base!r},
    ).expand(
        command=[
            f"seq {{i}} 100 {{i}}000\\nsleep 5\\necho 'end' {{i}}" for i in range(50)
        ]
    )
"""

IMPORT = (
    "from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator"
)
OURS = "from sshjobs.airflow import SSHJobOperator as SSHRemoteJobOperator"

ENDS = """
from datetime import timedelta

from airflow.sdk import DAG
from sshjobs.airflow import SSHJobOperator, SSHJobSensor, SSHSubmitOperator

LONG = "echo began; setsid sleep {{0}} & sleep {{0}}; echo woke"

with DAG("ends", schedule=None, default_args={{"ssh_conn_id": "target"}}):
    SSHJobOperator(task_id="marked", command=LONG.format(7001))
    SSHJobOperator(
        task_id="timed",
        command=LONG.format(7002),
        execution_timeout=timedelta(seconds=12),
    )
    SSHJobOperator(task_id="stopped", command=LONG.format(7003))
    SSHJobOperator(
        task_id="lost",
        command="echo lost >>{mark}/lost; sleep 25; echo lost $SSHJOBS_ATTEMPT",
        retries=2,
        retry_delay=timedelta(seconds=1),
    )
    SSHJobOperator(
        task_id="torn",
        command="echo torn >>{mark}/torn; "
        "for i in 1 2 3 4 5; do sleep 4; echo $i; done",
        retries=2,
        retry_delay=timedelta(seconds=1),
        cleanup="always",
    )
    SSHJobOperator(
        task_id="again",
        command="echo x >>{mark}/again; test $SSHJOBS_ATTEMPT = 2",
        retries=1,
        retry_delay=timedelta(seconds=1),
    )
    SSHJobOperator(task_id="cleared", command="echo x >>{mark}/cleared", retries=3)
    SSHJobOperator(
        task_id="orphan",
        command="test ! -e {mark}/orphan || exit 0; touch {mark}/orphan; sleep 7004",
    )
    submit = SSHSubmitOperator(
        task_id="submit", command="sleep 3; echo both", cleanup="always"
    )
    SSHJobSensor(task_id="sensor", job=submit.output, poke_interval=2)
"""


# "{{ 5 }}" is a number there, and so is the key.
NATIVE = """
from airflow.sdk import DAG
from sshjobs.airflow import SSHJobOperator

with DAG(
    "native",
    schedule=None,
    render_template_as_native_obj=True,
    params={"n": 5, "env": {"A": 1}},
):
    SSHJobOperator(
        task_id="native",
        ssh_conn_id="target",
        command="{{ params.n }}",
        environment="{{ params.env }}",
        key="{{ params.n }}",
        skip_on_exit_code=127,
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
    made.dag("fan", FAN.format(base=f"{mark}/jobs").replace(IMPORT, OURS))
    made.dag("ends", ENDS.format(mark=mark))
    made.dag("native", NATIVE)
    made.migrate(serves=True)
    made.start()
    yield made
    made.stop()


def test_fan_out_is_one_connection(airflow: Airflow, sshd: Sshd, mark: Path) -> None:
    airflow.trigger("fan")
    eventually(lambda: _ended(airflow, "fan", 50))
    states = {state for state, _ in airflow.tasks("fan").values()}
    assert states == {"success"}
    print(f"sessions: {sshd.sessions}", file=sys.stderr)
    assert (sshd.connections, sshd.drops) == (1, 0)
    for index in range(50):
        text = airflow.log("fan", "job", index)
        assert f"end {index}" in text
        wanted = [f'"{n}"' for n in range(index, index * 1000 + 1, 100)]
        assert all(line in text for line in wanted)
    assert not list((mark / "jobs" / "jobs").iterdir())


def _ended(airflow: Airflow, dag: str, count: int) -> bool:
    final = ("success", "failed", "skipped", "upstream_failed")
    tasks = airflow.tasks(dag).values()
    return len(tasks) == count and all(state in final for state, _ in tasks)


def test_every_end_is_told(airflow: Airflow, sshd: Sshd, mark: Path) -> None:
    airflow.trigger("ends")
    eventually(lambda: airflow.state("ends", "marked")[0] == "running")
    eventually(lambda: asleep(7001))
    airflow.mark_failed("ends", "marked")
    eventually(lambda: (mark / "lost").exists())
    eventually(lambda: _kill_worker("ends.lost", whole=True))
    eventually(lambda: (mark / "torn").exists())
    eventually(lambda: _kill_worker("ends.torn", whole=False))
    eventually(lambda: asleep(7004))
    eventually(lambda: _kill_worker("ends.orphan", whole=True))
    eventually(lambda: asleep(7003))
    eventually(lambda: _stop_worker("ends.stopped"))

    eventually(lambda: not asleep(7001))
    eventually(lambda: not asleep(7003))
    eventually(lambda: _ended(airflow, "ends", 10))
    assert not asleep(7002)
    states = {task: state for (task, _), (state, _) in airflow.tasks("ends").items()}
    assert states == {
        "marked": "failed",
        "timed": "failed",
        "stopped": "failed",
        "lost": "success",
        "torn": "success",
        "again": "success",
        "cleared": "success",
        "orphan": "failed",
        "submit": "success",
        "sensor": "success",
    }
    # The worker was killed with -9: the next try took up the job that still ran.
    assert airflow.state("ends", "lost")[1] == 2
    assert (mark / "lost").read_text() == "lost\n"
    assert "lost 1" in airflow.log("ends", "lost")
    # Likewise where sshjobs outlived it; the log is whole all the same.
    assert airflow.state("ends", "torn")[1] == 2
    assert (mark / "torn").read_text() == "torn\n"
    text = airflow.log("ends", "torn")
    assert all(f'"event":"{i}"' in text for i in range(1, 6))
    # A job that failed is run anew by the retry.
    assert airflow.state("ends", "again")[1] == 2
    assert (mark / "again").read_text() == "x\nx\n"
    assert "both" in airflow.log("ends", "sensor")
    assert sshd.connections == 1


def test_clearing_runs_anew(airflow: Airflow, mark: Path) -> None:
    assert (mark / "cleared").read_text() == "x\n"
    airflow.clear("ends", "cleared")
    eventually(lambda: (mark / "cleared").read_text() == "x\nx\n")
    eventually(lambda: airflow.state("ends", "cleared") == ("success", 2))


def test_clearing_ends_what_the_lost_worker_left(airflow: Airflow) -> None:
    assert asleep(7004)
    airflow.clear("ends", "orphan")
    eventually(lambda: airflow.state("ends", "orphan") == ("success", 2))
    assert not asleep(7004)


def test_a_dag_may_render_to_native_objects(airflow: Airflow) -> None:
    airflow.trigger("native")
    eventually(lambda: _ended(airflow, "native", 1))
    said = airflow.log("native", "native")
    assert airflow.state("native", "native")[0] == "skipped", said[-4000:]
    assert "script: line 1: 5: " in said or "script: 1: 5: " in said


def _sshjobs(name: str) -> tuple[int, int] | None:
    """Return pid and parent of the sshjobs that runs for a task."""
    for pid, parent, args in tree():
        if "sshjobs run" in args and f"--name {name} " in args:
            return pid, parent
    return None


def _kill_worker(name: str, *, whole: bool) -> bool:
    """Kill -9 the task's process; if ``whole`` the sshjobs that it started, too."""
    found = _sshjobs(name)
    if found:
        os.kill(found[1], signal.SIGKILL)
    if found and whole:
        os.kill(found[0], signal.SIGKILL)
    return bool(found)


def _stop_worker(name: str) -> bool:
    """Send SIGTERM to the worker of a task: it is the parent of the task's process."""
    found = _sshjobs(name)
    parents = {pid: parent for pid, parent, _ in tree()}
    if found:
        os.kill(parents[found[1]], signal.SIGTERM)
    return bool(found)
