"""One DAG, run by ``airflow dags test``: what a task makes of each way a job ends."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.airflow.real import (
    AIRFLOW_3,
    Airflow,
    asleep,
    eventually,
    login,
    open_folder,
)
from tests.sshd import Sshd, sshd_path

pytest.importorskip("airflow")
pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not sshd_path(), reason="no sshd"),
]

DAG = r"""
import os
from datetime import timedelta

from airflow.sdk import DAG
from sshjobs.airflow import SSHJobOperator, SSHJobSensor, SSHSubmitOperator

with DAG("ways", schedule=None, default_args={"ssh_conn_id": "target"}):
    SSHJobOperator(task_id="skip99", command="exit 99")
    SSHJobOperator(task_id="skip3", command="exit 3", skip_on_exit_code=[3, 4])
    SSHJobOperator(task_id="fails99", command="exit 99", skip_on_exit_code=None)
    SSHJobOperator(
        task_id="bad", command="echo first; echo last words; exit 5", cleanup="always"
    )
    SSHJobOperator(
        task_id="timed",
        command="setsid sleep 7101 & echo began; sleep 7101",
        execution_timeout=timedelta(seconds=6),
    )
    SSHJobOperator(task_id="limited", command="sleep 7102", timeout=2)
    SSHJobOperator(
        task_id="variables",
        command='printf "%s|" "$A" "$B_1" "${PATH%%:*}"; echo; pwd; env',
        environment={
            "A": "it's \"$(x)\"",
            "B_1": "{{ ti.task_id }}",
            "PATH": "/x:/usr/bin:/bin",
            "PYTHONPATH": "/nowhere/of/the/job",
            "LD_PRELOAD": "",
            "SSHJOBS_CONFIG": "/nowhere",
            "UID": "4711",
        },
        cwd="/usr",
    )
    SSHJobOperator(
        task_id="big",
        command=": " + "x" * 300000 + "\nprintf 'h\\303\\244\\377 '; echo two",
    )
    SSHJobOperator(
        task_id="nobody",
        command="true",
        ssh_conn_id=None,
        remote_host="no.such.host.invalid",
        wait_host=1,
        conn_retry_attempts=1,
    )
    SSHJobOperator(
        task_id="wrong", command="true", environment={"NO-NAME": "1"}, retries=3
    )
    SSHJobOperator(
        task_id="text", command="true", environment="{{ {'A': 1} }}", retries=3
    )
    SSHJobOperator(task_id="secret", ssh_conn_id="password", command="true")
    SSHJobOperator(task_id="skip0", command="true", skip_on_exit_code=range(2))
    # What the provider takes for "none" and "one".
    SSHJobOperator(
        task_id="zeros",
        command="sleep 1; echo zeros",
        timeout=0,
        poll_interval=0,
        conn_retry_attempts=0,
        cleanup_retries=0,
        max_reconnect_attempts=0,
    )
    # A key of one's own, whose job ended in an earlier run; now its host is away.
    away = SSHJobOperator(
        task_id="away",
        key="mine",
        command="true",
        ssh_conn_id=None,
        remote_host="no.such.host.invalid",
        wait_host=1,
        conn_retry_attempts=1,
        skip_on_exit_code=3,
        trigger_rule="all_done",
    )
    SSHJobOperator(
        task_id="here", key="mine", command="exit 3", skip_on_exit_code=3
    ) >> away
    deferred = {"deferrable": True, "cleanup": "always"}
    SSHJobOperator.partial(task_id="deferred", **deferred).expand(
        command=["echo d-one; exit 3", "echo d-two", "exit 99", "seq 9000; echo d-end"]
    )
    SSHJobOperator(
        task_id="silent", command="echo s; sleep 7103", cmd_timeout=2, deferrable=True
    )
    SSHJobOperator(
        task_id="quiet", command="echo s; sleep 7104", cmd_timeout=2, retries=0
    )
    for xcom in ("all", "base64", "none"):
        SSHJobOperator(
            task_id=f"xcom_{xcom}", command="echo x; echo y", xcom=xcom, **deferred
        )
    later = SSHSubmitOperator(task_id="later", command="sleep 2; echo l-end; exit 4")
    SSHJobSensor(
        task_id="later_sensor",
        job=later.output,
        deferrable=True,
        skip_on_exit_code=4,
    )
    submit = SSHSubmitOperator.partial(task_id="submit", cleanup="always").expand(
        command=["echo one; exit 99", "echo two"]
    )
    SSHJobSensor.partial(task_id="sensor", poke_interval=1).expand(job=submit.output)
    far = SSHSubmitOperator.partial(
        task_id="far", remote_base_dir=os.environ["FAR"]
    ).expand(command=["sleep 2; echo from afar", "exit 3", "echo far words; exit 4"])
    SSHJobSensor.partial(
        task_id="elsewhere",
        poke_interval=1,
        skip_on_exit_code=[3],
        remote_base_dir=os.environ["FAR"],
        env={**os.environ, "SSHJOBS_HOME": os.environ["SSHJOBS_HOME"] + ".other"},
    ).expand(job=far.output)
    # Its worker takes up three jobs at once, of which two ended badly.
    SSHJobSensor(
        task_id="third",
        job="{{ ti.xcom_pull(task_ids='far', map_indexes=0) }}",
        poke_interval=1,
        remote_base_dir=os.environ["FAR"],
        env={**os.environ, "SSHJOBS_HOME": os.environ["SSHJOBS_HOME"] + ".third"},
    ).set_upstream(far)
    SSHJobSensor(task_id="unknown", job="aaaaaaaaaaaaaaaa", poke_interval=1)
    SSHJobSensor(
        task_id="nothing", job="{{ ti.xcom_pull(task_ids='bad') }}", poke_interval=1
    )
"""


@pytest.fixture(scope="module")
def airflow() -> Iterator[Airflow]:
    with open_folder() as base, Sshd(base, login()) as sshd:
        made = Airflow(base, sshd)
        made.env["AIRFLOW_CONN_PASSWORD"] = "ssh://ann:sw0rdfish@127.0.0.1:1"
        (base / "far").mkdir()
        (base / "far").chmod(0o777)
        made.env["FAR"] = f"{base}/far/jobs"
        # In Airflow 2.10 a task that is over its time ends all of "dags test".
        over = "execution_timeout=timedelta(seconds=6)"
        made.dag("ways", DAG if AIRFLOW_3 else DAG.replace(over, "timeout=6"))
        made.migrate()
        made.printed = made.test("ways")
        yield made
        made.stop()


def is_printed(airflow: Airflow, text: str) -> bool:
    """Tell whether a text was printed, with line breaks of Rich (3.0) in it or not."""
    return " ".join(text.split()) in " ".join(airflow.printed.split())


def test_the_states_of_the_tasks(airflow: Airflow) -> None:
    states = {task: state for task, (state, _) in airflow.tasks("ways").items()}
    assert states == {
        ("skip99", -1): "skipped",
        ("skip3", -1): "skipped",
        ("fails99", -1): "failed",
        ("bad", -1): "failed",
        ("timed", -1): "failed",
        ("limited", -1): "failed",
        ("variables", -1): "success",
        ("big", -1): "success",
        ("nobody", -1): "failed",
        ("wrong", -1): "failed",
        ("text", -1): "failed",
        ("secret", -1): "failed",
        ("skip0", -1): "skipped",
        ("zeros", -1): "success",
        ("here", -1): "skipped",
        ("away", -1): "failed",
        ("deferred", 0): "failed",
        ("deferred", 1): "success",
        ("deferred", 2): "skipped",
        ("deferred", 3): "success",
        ("silent", -1): "failed",
        ("quiet", -1): "failed",
        ("xcom_all", -1): "success",
        ("xcom_base64", -1): "success",
        ("xcom_none", -1): "success",
        ("later", -1): "success",
        ("later_sensor", -1): "skipped",
        ("submit", 0): "success",
        ("submit", 1): "success",
        ("sensor", 0): "skipped",
        ("sensor", 1): "success",
        ("far", 0): "success",
        ("far", 1): "success",
        ("far", 2): "success",
        ("elsewhere", 0): "success",
        ("elsewhere", 1): "skipped",
        ("elsewhere", 2): "failed",
        ("third", -1): "success",
        ("unknown", -1): "failed",
        ("nothing", -1): "failed",
    }, airflow.printed[-8000:]


def test_a_failure_says_how_and_the_last_lines(airflow: Airflow) -> None:
    words = "FAILED with exit status 5; the last lines of its log:\nfirst\nlast words\n"
    assert is_printed(airflow, words)
    assert is_printed(airflow, "FAILED with exit status 99; its log is empty")
    assert ": TIMEOUT" in airflow.printed


def test_the_tree_of_a_task_that_was_ended_is_gone(airflow: Airflow) -> None:
    assert "began" in airflow.printed
    eventually(lambda: not any(map(asleep, range(7101, 7105))), 30)


def test_a_deferred_task_logs_all_and_tells_the_end(airflow: Airflow) -> None:
    words = "FAILED with exit status 3; the last lines of its log:\nd-one\n"
    assert is_printed(airflow, words)
    for line in ("d-two", "d-end", "8999"):
        # The console of Airflow 2 has a worker's line once more, with another date;
        # that of 3.0 has a trigger's as Airflow 2 has it.
        record = rf"[+]0000\] .* INFO - {line}\n"
        record = rf"\] {line}\s+\[|{record}" if AIRFLOW_3 else record
        assert len(re.findall(record, airflow.printed)) == 1
    assert airflow.printed.count("wrote nothing for 2 s") >= 2


def test_what_a_task_leaves_as_its_xcom(airflow: Airflow) -> None:
    sql = "select task_id, map_index, value from xcom where key = 'return_value'"
    left = {(task, index): value for task, index, value in airflow.query(sql)}
    wanted = {"xcom_all": "x\ny\n", "xcom_base64": "eAp5Cg=="}
    for task, text in wanted.items():
        assert json.loads(left[task, -1]) in (text, json.dumps(text))
    assert ("xcom_none", -1) not in left
    assert "d-two" in str(left["deferred", 1])


def test_values_arrive_and_stand_in_no_line(airflow: Airflow) -> None:
    assert """it's "$(x)"|variables|/x|""" in airflow.printed
    assert "/usr" in airflow.printed.partition("|variables|/x|")[2][:400]
    lines = [line for line in airflow.printed.splitlines() if "--env-from A" in line]
    assert lines and not any("$(x)" in line for line in lines)


def test_variables_of_the_job_do_not_steer_sshjobs(airflow: Airflow) -> None:
    for line in (
        "PYTHONPATH=/nowhere/of/the/job",
        "SSHJOBS_CONFIG=/nowhere",
        "UID=4711",
    ):
        assert line in airflow.printed


def test_a_sensor_on_another_worker_takes_the_job_up(airflow: Airflow) -> None:
    """Its record knows nothing of the job; it asks the host."""
    assert "from afar" in airflow.printed
    words = "FAILED with exit status 4; the last lines of its log:\nfar words\n"
    assert is_printed(airflow, words)


def test_a_sensor_says_that_nobody_knows_its_job(airflow: Airflow) -> None:
    assert "job aaaaaaaaaaaaaaaa is neither in this worker's record" in airflow.printed


def test_a_sensor_says_that_it_was_given_nothing(airflow: Airflow) -> None:
    assert "job is empty: it is the XCom of the task" in airflow.printed


def test_a_big_command_and_odd_bytes(airflow: Airflow) -> None:
    assert r"hä\xff two" in airflow.printed


def test_an_unreachable_host_is_named(airflow: Airflow) -> None:
    words = "sshjobs ended with 69; no job was started:"
    assert " ".join(airflow.printed.split()).count(words) >= 2
    assert "no.such.host.invalid" in airflow.printed.partition("ended with 69")[2]


def test_a_wrong_call_is_told_and_not_repeated(airflow: Airflow) -> None:
    words = "sshjobs ended with 64; no job was started:\nsshjobs: not the name of an "
    assert is_printed(airflow, f"{words}environment variable:")
    assert airflow.state("ways", "wrong") == ("failed", 1)
    assert "environment has become a str, and is to be a dict" in airflow.printed
    assert airflow.state("ways", "text") == ("failed", 1)


def test_a_password_is_not_shown(airflow: Airflow) -> None:
    assert "sw0rdfish" not in airflow.printed


def test_what_was_to_be_cleaned_up_is_gone(airflow: Airflow) -> None:
    cleaned = [job for job in airflow.records() if job["cleanup"] == "always"]
    assert len(cleaned) == 10
    assert all(job["reaped_at"] for job in cleaned)
