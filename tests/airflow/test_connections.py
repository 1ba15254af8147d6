"""What an Airflow connection becomes: words that the real ssh understands."""

from __future__ import annotations

import inspect
import json
import os
import re
import stat
import subprocess
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.airflow.real import AIRFLOW_3
from tests.airflow.real import connection as connection_to
from tests.airflow.real import login, open_folder
from tests.sshd import Sshd, sshd_path

pytest.importorskip("airflow")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Airflow's own, of each version others
    from airflow.exceptions import AirflowException
    from airflow.models.connection import Connection

    from sshjobs import airflow as ours
    from sshjobs.airflow import connection, process
    from sshjobs.airflow.connection import find_target


@pytest.fixture(autouse=True)
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSHJOBS_HOME", str(tmp_path / "record"))
    return tmp_path / "record"


def made(extra: dict[str, Any] | None = None, **fields: Any) -> connection.Target:
    given = {"host": "box.example", **fields}
    remote_host = given.pop("remote_host", None)
    return connection.read_target(
        Connection(
            conn_id="c", conn_type="ssh", extra=json.dumps(extra or {}), **given
        ),
        remote_host,
    )


def resolved(target: connection.Target) -> dict[str, list[str]]:
    """Return what ssh makes of it: keyword -> values."""
    words = [word for option in target.options for word in ("-o", option)]
    told = subprocess.run(
        ["ssh", "-T", "-G", "-F", "/dev/null", *words, "--", target.host],
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stderr == ""
    answer: dict[str, list[str]] = {}
    for line in told.stdout.splitlines():
        name, _, value = line.partition(" ")
        answer.setdefault(name, []).append(value)
    return answer


def test_host_port_and_login() -> None:
    target = made(login="ann", port=2222)
    assert target.host == "ann@box.example"
    said = resolved(target)
    assert said["user"] == ["ann"]
    assert said["port"] == ["2222"]


def test_an_empty_connection_leaves_all_to_ssh_config() -> None:
    assert made() == connection.Target("box.example")


def test_remote_host_takes_the_place_of_the_host() -> None:
    assert made(login="ann", remote_host="other").host == "ann@other"
    assert made(login="ann", remote_host="local").host == "local"
    assert made(login="ann", remote_host="bob@other").host == "bob@other"


@pytest.mark.parametrize(
    "fields",
    [
        {"host": "x$(id)"},
        {"host": "-oProxyCommand=x"},
        {"login": "a;b"},
        {"login": "-a"},
        {"remote_host": "a|b"},
        {"remote_host": "ssh://%24%28id%29"},
    ],
)
def test_a_host_is_no_line_of_a_shell(fields: dict[str, Any]) -> None:
    with pytest.raises(AirflowException, match="not a host name"):
        made(**fields)


def test_a_remote_host_is_no_line_of_a_shell() -> None:
    with pytest.raises(AirflowException, match="not a host name"):
        connection.find_target(None, "x$(id)")


def test_a_login_goes_with_a_uri() -> None:
    target = made(login="ann", remote_host="ssh://other:2222")
    said = resolved(target)
    assert (said["user"], said["hostname"]) == (["ann"], ["other"])
    assert said["port"] == ["2222"]


@pytest.mark.parametrize("job", ["--help", "-h", "--json", "-"])
def test_a_sensor_takes_no_flag_for_a_job(job: str) -> None:
    sensor = ours.SSHJobSensor(task_id="s", job=job, remote_host="local")
    with pytest.raises(AirflowException, match="not an id of a job"):
        sensor.poke({})


def test_a_connection_without_a_host_is_refused() -> None:
    with pytest.raises(AirflowException, match="'c' names no host"):
        made(host=None)


def test_key_file() -> None:
    said = resolved(made({"key_file": "/keys/my key"}))
    assert said["identityfile"] == ["/keys/my key"]
    assert said["identitiesonly"] == ["yes"]


def test_key_file_is_found_where_paramiko_finds_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "100%h").touch()
    for name in ("~/100%h", "100%h", str(tmp_path / "100%h")):
        target = made({"key_file": name})
        assert target.options[0] == f"IdentityFile={tmp_path}/100%%h"
        assert not target.notes


def test_a_key_file_that_is_missing_is_noted() -> None:
    [note] = made({"key_file": "/no/such/key"}).notes
    assert "there is no /no/such/key on this worker" in note


def test_private_key_is_kept_in_a_file_of_ours(record: Path) -> None:
    target = made({"private_key": "-----BEGIN X-----\nabc\n-----END X-----"})
    path = Path(resolved(target)["identityfile"][0])
    assert path.read_text() == "-----BEGIN X-----\nabc\n-----END X-----\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path.parent == record / "airflow"
    assert target == made({"private_key": "-----BEGIN X-----\nabc\n-----END X-----"})
    assert len(os.listdir(path.parent)) == 1


def test_a_private_key_from_a_browser_is_one_that_ssh_reads(tmp_path: Path) -> None:
    path = tmp_path / "key"
    words = ["-q", "-t", "ed25519", "-N", "", "-f"]
    subprocess.run(["ssh-keygen", *words, path], check=True)
    target = made({"private_key": path.read_text().replace("\n", "\r\n") + "  "})
    kept = resolved(target)["identityfile"][0]
    subprocess.run(["ssh-keygen", "-y", "-f", kept], check=True)


def test_a_first_file_of_ours_leaves_the_record_usable(record: Path) -> None:
    made({"host_key": "ssh-ed25519 AAAAC3Nz"})
    assert stat.S_IMODE(record.stat().st_mode) == 0o700
    subprocess.run([*process.find_program(), "list"], check=True)


def test_a_record_that_is_empty_and_open_is_taken(record: Path) -> None:
    record.mkdir(mode=0o755)
    made({"host_key": "ssh-ed25519 AAAAC3Nz"})
    subprocess.run([*process.find_program(), "list"], check=True)


@pytest.mark.parametrize(
    "extra", [{"look_for_keys": "false"}, {"look_for_keys": False}]
)
def test_look_for_keys(extra: dict[str, Any]) -> None:
    assert resolved(made(extra))["identityfile"] == ["none"]


def test_host_key_is_the_only_one_that_is_taken() -> None:
    target = made({"host_key": "ssh-ed25519 AAAAC3Nz comment"})
    said = resolved(target)
    assert said["stricthostkeychecking"] == ["true"]
    [known] = said["userknownhostsfile"]
    assert Path(known).read_text() == "* ssh-ed25519 AAAAC3Nz\n"


def test_a_host_key_without_its_type_is_rsa() -> None:
    [known] = resolved(made({"host_key": "AAAAB3Nz"}))["userknownhostsfile"]
    assert Path(known).read_text() == "* ssh-rsa AAAAB3Nz\n"


@pytest.mark.parametrize(
    ("extra", "checking", "file"),
    [
        ({"no_host_key_check": True}, "accept-new", None),
        ({"no_host_key_check": "true"}, "accept-new", None),
        ({"ignore_hostkey_verification": True}, "accept-new", None),
        ({"no_host_key_check": False}, "ask", None),
        ({"allow_host_key_change": True}, "false", "/dev/null"),
    ],
)
def test_host_key_policy(
    extra: dict[str, Any], checking: str, file: str | None
) -> None:
    said = resolved(made(extra))
    assert said["stricthostkeychecking"] == [checking]
    assert file is None or said["userknownhostsfile"] == [file]


def test_host_key_and_no_check_is_a_contradiction() -> None:
    with pytest.raises(AirflowException, match="must check it"):
        made({"host_key": "ssh-rsa A", "no_host_key_check": True})


def test_algorithms() -> None:
    said = resolved(
        made(
            {
                "compress": False,
                "ciphers": ["aes128-ctr", "aes256-ctr"],
                "disabled_algorithms": {
                    "kex": ["curve25519-sha256"],
                    "pubkeys": ["ssh-ed25519"],
                },
            }
        )
    )
    assert said["compression"] == ["no"]
    assert said["ciphers"] == ["aes128-ctr,aes256-ctr"]
    assert "curve25519-sha256" not in said["kexalgorithms"][0].split(",")
    kept = (said.get("pubkeyacceptedalgorithms") or said["pubkeyacceptedkeytypes"])[0]
    assert "ssh-ed25519" not in kept.split(",")
    assert "rsa-sha2-512" in kept.split(",")


@pytest.mark.parametrize(
    "given",
    [
        {"ProxyJump": "bastion"},
        ["ProxyJump=bastion"],
        "ProxyJump=bastion",
    ],
)
def test_further_ssh_options(given: Any) -> None:
    assert resolved(made({"ssh_options": given}))["proxyjump"] == ["bastion"]


def test_settings_of_the_connection() -> None:
    environ = made({"conn_timeout": 7, "ssh_config": "/c"}).list_environment()
    assert environ["SSHJOBS_CONN_TIMEOUT"] == "7"
    assert environ["SSHJOBS_SSH_CONFIG"] == "/c"


def test_the_options_of_the_worker_come_after(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSHJOBS_SSH_OPTIONS", "Port=1 Compression=yes")
    environ = made(port=2).list_environment()
    assert environ["SSHJOBS_SSH_OPTIONS"] == "Port=2 Port=1 Compression=yes"


def test_secrets_are_printed_by_a_command_and_stand_nowhere(record: Path) -> None:
    extra = {"key_file": "/k", "private_key_passphrase": "p4ss ph\"rase'"}
    target = made(extra, password="s3cret", login="ann")
    environ = target.list_environment()
    for name, secret in (
        ("SSHJOBS_PASSWORD_COMMAND", "s3cret"),
        ("SSHJOBS_PASSPHRASE_COMMAND", "p4ss ph\"rase'"),
    ):
        said = subprocess.run(["sh", "-c", environ[name]], capture_output=True)
        assert said.stdout.decode() == f"{secret}\n"
        assert secret not in repr(target) + repr(environ)
        assert made(extra, password="s3cret", login="ann") == target
        found = [path for path in record.rglob("*") if path.is_file()]
        assert not any(secret.encode() in path.read_bytes() for path in found)


def test_a_password_beside_a_key_opens_the_key_as_well() -> None:
    environ = made({"key_file": "/k"}, password="s3cret").list_environment()
    commands = [environ[f"SSHJOBS_PASS{kind}_COMMAND"] for kind in ("WORD", "PHRASE")]
    assert commands[0] == commands[1]
    alone = made(password="s3cret").list_environment()
    assert "SSHJOBS_PASSPHRASE_COMMAND" not in alone


@pytest.mark.skipif(not sshd_path(), reason="no sshd")
def test_a_private_key_with_a_passphrase_logs_in() -> None:
    with open_folder() as base, Sshd(base, login()) as sshd:
        words = ["ssh-keygen", "-q", "-p", "-P", "", "-N", "open it", "-f"]
        nothing = subprocess.DEVNULL
        subprocess.run([*words, sshd.key], check=True, stdin=nothing, stdout=nothing)
        host_key = " ".join((sshd.folder / "host.pub").read_text().split()[:2])
        extra = {"private_key": sshd.key.read_text(), "host_key": host_key}
        fields = {"host": "127.0.0.1", "port": sshd.port, "login": sshd.user}
        bad = made({**extra, "private_key_passphrase": "no"}, **fields)
        good = made({**extra, "private_key_passphrase": "open it"}, **fields)
        (base / "there").mkdir()
        (base / "there").chmod(0o777)
        there = {**os.environ, "SSHJOBS_REMOTE_BASE_DIR": f"{base}/there/jobs"}
        run = [*process.find_program(), "run", good.host, "--cleanup", "always", "true"]
        for target, status in ((bad, 77), (bad, 77), (good, 0)):
            env = there | target.list_environment()
            assert subprocess.run(run, env=env).returncode == status
        assert sshd.connections == 2
        leave = [*process.find_program(), "disconnect", good.host]
        subprocess.run(leave, check=True, env=there | good.list_environment())


@pytest.mark.skipif(not sshd_path(), reason="no sshd")
def test_a_hook_runs_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_folder() as base, Sshd(base, login()) as sshd:
        (base / "there").mkdir()
        (base / "there").chmod(0o777)
        monkeypatch.setenv("AIRFLOW_CONN_TARGET", connection_to(sshd))
        hook = ours.SSHJobHook("target", remote_base_dir=f"{base}/there/jobs")
        with hook.get_conn() as host:
            jobs = host.submit_all(["echo one", "echo two"])
            assert [job.wait().log() for job in jobs] == [b"one\n", b"two\n"]
        assert sshd.connections == 1
        leave = [*process.find_program(), "disconnect", host.name]
        there = os.environ | find_target("target", None).list_environment()
        subprocess.run(leave, check=True, env=there)


def test_windows_is_refused_when_the_dag_is_read() -> None:
    with pytest.raises(ValueError, match="keep SSHRemoteJobOperator"):
        ours.SSHJobOperator(task_id="t", command="c", remote_os="windows")


@pytest.mark.parametrize(
    "wrong",
    [
        {"at_most": -1},
        {"at_most": True},
        {"priority": 1.5},
        {"priority": "high"},
        {"launcher": "cloud"},
    ],
)
def test_a_wrong_limit_is_refused_when_the_dag_is_read(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        ours.SSHJobOperator(task_id="t", command="c", **wrong)


def test_limits_and_a_launcher_reach_the_host(record: Path) -> None:
    target = connection.Target("local")
    context = {"ti": SimpleNamespace(dag_id="d", task_id="t", map_index=-1)}
    words, env = [], {}
    for key in ("first", "second"):
        task = ours.SSHJobOperator(
            task_id=key,
            command="true",
            remote_base_dir=str(record / "base"),
            group="sweep",
            at_most=1,
            priority=-5,
            launcher="process",
            key=key,
        )
        words = task._list_words(target, context, "submit")
        env = os.environ | task._build_env(target, {})
        subprocess.run([*words, "--", "sleep 60"], check=True, env=env)
    other = ours.SSHJobOperator(task_id="t", command="c", launcher_args="-p gpu")
    assert other._build_env(target, {})["SSHJOBS_LAUNCHER_ARGS"] == "-p gpu"
    assert env["SSHJOBS_LAUNCHER"] == "process"
    program = words[: words.index("submit")]
    told = subprocess.run(
        [*program, "poll", "--json"], env=env, stdout=subprocess.PIPE, text=True
    )
    jobs = {job["key"]: job for job in map(json.loads, told.stdout.splitlines())}
    assert jobs["first"]["state"] == "RUNNING"
    assert jobs["second"]["state"] == "PENDING"
    assert "limit 1" in jobs["second"]["reason"]
    words = [*program, "kill", "--yes", "--state", "RUNNING", "--state", "PENDING"]
    subprocess.run(words, check=True, env=env)


def test_the_parameters_are_those_of_the_provider() -> None:
    theirs = pytest.importorskip("airflow.providers.ssh.operators.ssh_remote_job")
    wanted = set(inspect.signature(theirs.SSHRemoteJobOperator).parameters)
    given = set(inspect.signature(ours.SSHJobOperator).parameters)
    assert wanted <= given
    fields = set(theirs.SSHRemoteJobOperator.template_fields)
    assert fields <= set(ours.SSHJobOperator.template_fields)


PAGE = Path(__file__).parents[2] / "docs/how-to/migrate-from-airflow-ssh.md"


def test_the_imports_of_the_migration_guide_are_all_that_changes() -> None:
    """As printed; each parameter in its tables is taken, or is said to be removed."""
    text = PAGE.read_text("utf-8")
    first, second = text.split("## From SSHOperator")
    for part, name in ((first, "SSHRemoteJobOperator"), (second, "SSHOperator")):
        [block] = re.findall(r"^```python\n(.*?)^```", part, re.DOTALL | re.MULTILINE)
        space: dict[str, Any] = {}
        exec(block, space)
        assert space[name] is getattr(ours, name)
        rows = re.findall(r"^\| (`.*?) \| (.*) \|$", part, re.MULTILINE)
        assert len(rows) > 3
        kinds = space[name], ours.SSHJobOperator
        taken = {p for kind in kinds for p in inspect.signature(kind).parameters}
        for cell, said in rows:
            names = set(re.findall(r"`(\w+)`", cell)) - taken
            assert not names or "remove it" in said or "give `ssh_conn_id`" in said


def test_the_dag_of_the_migration_guide_is_ours_after_the_change() -> None:
    """As printed: its lines after the change make a DAG of a task of ours."""
    [block] = re.findall(r"^```diff\n(.*?)^```", PAGE.read_text("utf-8"), re.S | re.M)
    lines = [line[1:] for line in block.splitlines() if line[:1] != "-"]
    text = "\n".join(lines)
    if not AIRFLOW_3:
        text = text.replace("airflow.sdk", "airflow")
    space: dict[str, Any] = {}
    exec(text, space)
    assert space["SSHRemoteJobOperator"] is ours.SSHRemoteJobOperator
    assert block.count("\n-") == block.count("\n+") == 1
