"""DAG files of users of the ssh provider: each runs after its imports have changed.

They are as such files are in the wild: mapped tasks, files as templates, pools, hooks,
XCom pulls, trigger rules, setup and teardown, groups, get_pty, cmd_timeout.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from tests.airflow.real import Airflow, login, open_folder
from tests.sshd import Sshd, sshd_path

pytest.importorskip("airflow")
pytestmark = [
    pytest.mark.timeout(1800),
    pytest.mark.skipif(not sshd_path(), reason="no sshd"),
]

HEAD = """
import base64
import os
from datetime import timedelta

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, TaskGroup, task
from airflow.providers.ssh.operators.ssh import SSHOperator
from airflow.providers.ssh.operators.ssh_remote_job import SSHRemoteJobOperator
from airflow.providers.ssh.hooks.ssh import SSHHook


def note(context, word):
    with open(os.environ["AIRFLOW_HOME"] + "/told", "a") as file:
        file.write(f"{context['ti'].task_id} {word}\\n")


HOOK = SSHHook(ssh_conn_id="target", cmd_timeout=30)

with DAG("wild", schedule=None, default_args={"ssh_conn_id": "target"}):
"""

#: A DAG a shape; its tasks and how they end.
SHAPES = {
    "plain": """
    SSHOperator(task_id="a", command="echo plain", conn_timeout=10, banner_timeout=30)
""",
    "pty_and_timeouts": """
    SSHOperator(task_id="a", command="sudo -n true || echo no", get_pty=True)
    SSHOperator(task_id="b", command="sleep 2", cmd_timeout=None, get_pty=False)
    SSHOperator(
        task_id="c", command="echo x", cmd_timeout=60,
        execution_timeout=timedelta(minutes=2),
    )
""",
    "hook": """
    SSHOperator(task_id="a", ssh_conn_id=None, ssh_hook=HOOK, command="echo by hook")
""",
    "xcom": """
    a = SSHOperator(task_id="a", command="echo first; echo second")

    @task
    def check(encoded, status):
        assert base64.b64decode(encoded) == b"first\\nsecond\\n", encoded
        assert status == 0

    @task
    def pull(**context):
        ti = context["ti"]
        status = ti.xcom_pull(task_ids="a", key="ssh_exit")
        check.function(ti.xcom_pull(task_ids="a"), status)

    a >> pull()
""",
    "remote_xcom": """
    a = SSHRemoteJobOperator(task_id="a", command="echo there", poll_interval=1)
    b = SSHOperator(
        task_id="b",
        command="grep there {{ ti.xcom_pull(task_ids='a', key='ssh_remote_job')"
        "['log_file'] }}",
    )
    a >> b
""",
    "mapped": """
    SSHRemoteJobOperator.partial(task_id="a", cleanup="always", poll_interval=1).expand(
        command=["echo one", "echo two"]
    )
    SSHOperator.partial(task_id="b").expand_kwargs(
        [{"command": "echo $N", "environment": {"N": "1"}}, {"command": "true"}]
    )
""",
    "files": """
    SSHOperator(task_id="a", command="wild_script.sh", params={"word": "templated"})
    SSHRemoteJobOperator(task_id="b", command="wild_script.sh", params={"word": "b"})
""",
    "skips": """
    a = SSHOperator(task_id="a", command="exit 7", skip_on_exit_code=7)
    b = SSHRemoteJobOperator(task_id="b", command="exit 8", skip_on_exit_code=[8, 9])
    SSHOperator(task_id="c", command="exit 99", retries=0)
    a >> SSHOperator(task_id="d", command="true", trigger_rule="none_failed")
""",
    "pools": """
    SSHOperator(
        task_id="a", command="true", pool="default_pool", priority_weight=3,
        queue="default", retries=2, retry_delay=timedelta(seconds=1),
        do_xcom_push=False,
    )
""",
    "setup_teardown": """
    up = SSHOperator(task_id="up", command="mktemp -d").as_setup()
    work = SSHRemoteJobOperator(task_id="work", command="true", environment={"A": "1"})
    down = SSHOperator(task_id="down", command="true").as_teardown(setups=up)
    up >> work >> down
""",
    "groups": """
    with TaskGroup("g"):
        a = SSHOperator(task_id="a", command="echo {{ task.task_id }}")
        with TaskGroup("h"):
            b = SSHRemoteJobOperator(task_id="b", command="echo {{ ds or 'today' }}")
    a >> b
""",
    "all_parameters": """
    SSHRemoteJobOperator(
        task_id="a", ssh_conn_id="target", command="echo all", remote_host="127.0.0.1",
        environment={"LONG": "x"}, remote_base_dir=None, poll_interval=5,
        log_chunk_size=65536, timeout=7200, cleanup="on_success", remote_os="posix",
        skip_on_exit_code=None, conn_timeout=None, banner_timeout=30.0,
        conn_retry_attempts=5, cleanup_retries=3, command_timeout=30.0,
        max_reconnect_attempts=5,
    )
    SSHOperator(
        task_id="b", ssh_hook=None, command="echo b", remote_host="127.0.0.1",
        conn_timeout=None, environment=None, get_pty=False, banner_timeout=30.0,
        skip_on_exit_code=None,
    )
""",
    "mapped_hosts": """
    SSHRemoteJobOperator.partial(task_id="a", command="echo $USER").expand(
        ssh_conn_id=["target", "target"]
    )
    SSHOperator.partial(task_id="b", params={"word": "x"}).expand(
        command=["test {{ params.word }} = x", "test {{ ti.map_index }} = 1"]
    )
    SSHRemoteJobOperator.partial(task_id="c", deferrable=False).expand_kwargs(
        [{"command": "true", "remote_host": "127.0.0.1"}, {"command": "true"}]
    )
""",
    "mapped_results": """
    @task
    def list_commands():
        return ["test $WORD = one", "test $WORD = one # again"]

    SSHRemoteJobOperator.partial(
        task_id="a", environment={"WORD": "one"}, max_active_tis_per_dag=1
    ).expand(command=list_commands())
""",
    "environment_of_a_task": """
    @task
    def make_environment():
        return {"WORD": "it is me", "NUMBER": 5}

    SSHOperator(
        task_id="a", command='test "$WORD $NUMBER" = "it is me 5"',
        environment=make_environment(),
    )
""",
    "retries": """
    SSHRemoteJobOperator(
        task_id="a", command="test $SSHJOBS_ATTEMPT = 2", retries=2,
        retry_delay=timedelta(seconds=1), retry_exponential_backoff=True,
        max_retry_delay=timedelta(seconds=2),
    )
""",
    "branches": """
    @task.branch
    def choose():
        return "branches_b"

    a = SSHOperator(task_id="a", command="true")
    b = SSHOperator(task_id="b", command="true")
    c = SSHRemoteJobOperator(task_id="c", command="true")
    d = SSHOperator(
        task_id="d", command="true", trigger_rule="none_failed_min_one_success"
    )
    a >> choose() >> [b, c] >> d
""",
    "callbacks": """
    SSHOperator(
        task_id="a", command="exit 7", email_on_failure=False, depends_on_past=True,
        on_failure_callback=lambda context: note(context, "failed"),
        on_success_callback=lambda context: note(context, "succeeded"),
    )
    SSHRemoteJobOperator(
        task_id="b", command="true", wait_for_downstream=False, doc_md="# what it is",
        on_failure_callback=[lambda context: note(context, "failed")],
        on_success_callback=[lambda context: note(context, "succeeded")],
    )
""",
    "inherited": """
    class Mine(SSHOperator):
        template_fields = (*SSHOperator.template_fields, "place")

        def __init__(self, *, place, **kwargs):
            super().__init__(command=f"cd {place} && pwd", **kwargs)
            self.place = place

    Mine(task_id="a", place="/usr")
""",
}

#: Tasks that do not end well, and how they do.
ENDS = {
    ("skips", "a"): "skipped",
    ("skips", "b"): "skipped",
    ("skips", "c"): "failed",
    ("branches", "c"): "skipped",
    ("callbacks", "a"): "failed",
}

CHANGED = (
    ("airflow.providers.ssh.operators.ssh_remote_job", "sshjobs.airflow"),
    ("airflow.providers.ssh.operators.ssh", "sshjobs.airflow"),
)


@pytest.fixture(scope="module")
def airflow() -> Iterator[Airflow]:
    with open_folder() as base, Sshd(base, login()) as sshd:
        made = Airflow(base, sshd)
        text = HEAD
        for old, new in CHANGED:
            text = text.replace(f"from {old} import", f"from {new} import")
        for name, tasks in SHAPES.items():
            renamed = re.sub(r'task_id="', f'task_id="{name}_', tasks)
            renamed = renamed.replace("task_ids='a'", f"task_ids='{name}_a'")
            renamed = renamed.replace('task_ids="a"', f'task_ids="{name}_a"')
            text += renamed
        script = "#!/bin/sh\\necho {{ params.word }}\\n".encode().decode(
            "unicode_escape"
        )
        (made.dags / "wild_script.sh").write_text(script)
        made.dag("wild", text)
        made.migrate()
        made.printed = made.test("wild")
        yield made
        made.stop()


def test_each_shape_runs_after_the_change(airflow: Airflow) -> None:
    ended = {key: state for key, (state, _) in airflow.tasks("wild").items()}
    assert len(ended) >= 44, airflow.printed[-6000:]
    wanted = {f"{shape}_{task}": end for (shape, task), end in ENDS.items()}
    wrong = {
        key: state
        for key, state in ended.items()
        if state != wanted.get(key[0], "success")
    }
    lines = airflow.printed.splitlines()
    words = "Exception", "Error", "sshjobs:"
    said = [line[:400] for line in lines if any(word in line for word in words)]
    assert not wrong, "\n".join(said)


def test_their_callbacks_are_called(airflow: Airflow) -> None:
    told = (airflow.home / "told").read_text().splitlines()
    assert sorted(told) == ["callbacks_a failed", "callbacks_b succeeded"]


def test_their_xcoms_are_there(airflow: Airflow) -> None:
    sql = "select task_id, value from xcom where key = ?"
    [job] = [
        value
        for task, value in airflow.query(sql, "ssh_remote_job")
        if task == "remote_xcom_a"
    ]
    # Airflow 2 keeps bytes there.
    found = json.loads(job) if isinstance(job, (str, bytes)) else job
    names = {"job_id", "job_dir", "log_file", "exit_code_file", "pid_file"}
    assert names < set(found) and found["remote_os"] == "posix"
