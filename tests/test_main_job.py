"""The main job, end to end: real processes of ours against a real sshd."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.cli import Cli, eventually, finish


@pytest.mark.quick
def test_a_burst_of_submits_is_one_connection(cli: Cli) -> None:
    assert cli.sshd is not None
    ran = cli.base.parent / "ran"
    ran.mkdir(mode=0o777)
    ran.chmod(0o777)
    script = f'echo $$ >>{ran}/"$SSHJOBS_JOB_ID"'
    ends = finish([cli.start("submit", cli.host, "--", script) for _ in range(60)])
    assert [end.status for end in ends] == [0] * 60, ends
    ids = {end.id for end in ends}
    assert len(ids) == 60
    cli.ok("wait")
    assert {path.name for path in ran.iterdir()} == ids
    assert all(len(path.read_text().splitlines()) == 1 for path in ran.iterdir())
    assert cli.sshd.connections == 1
    assert cli.sshd.drops == 0
    assert cli.sshd.sessions <= 20
    assert cli.hosts()["handshakes"] == 1


def test_a_crowd_on_a_busy_machine_is_waited_for(cli: Cli) -> None:
    assert cli.sshd is not None
    spin = ["nice", "-n", "5", "sh", "-c", "while :; do :; done"]
    spinners = [subprocess.Popen(spin) for _ in range(8 * (os.cpu_count() or 1))]
    try:
        submit = ("submit", cli.host, "--", "true")
        ends = finish([cli.start(*submit) for _ in range(60)])
    finally:
        for spinner in spinners:
            spinner.kill()
            spinner.wait()
    assert [end.status for end in ends] == [0] * 60, ends
    assert len({end.id for end in ends}) == 60
    assert (cli.sshd.logins, cli.sshd.drops) == (1, 0)
    assert cli.sshd.sessions <= 20


def test_runs_side_by_side_keep_to_their_own_job(cli: Cli) -> None:
    assert cli.sshd is not None
    started = time.time()
    runs = [
        cli.start(
            "run",
            cli.host,
            "--",
            f"for i in 1 2 3; do echo {n}.$i; sleep 0.7; done; exit {n}",
        )
        for n in range(20)
    ]
    ends = finish(runs)
    spent = time.time() - started
    for n, end in enumerate(ends):
        assert end.status == n, end
        assert end.lines == [f"{n}.1", f"{n}.2", f"{n}.3"]
        assert len(end.said[0]) == 16
    assert cli.sshd.connections == 1
    assert cli.sshd.sessions <= spent + 20


@pytest.mark.quick
def test_logs_are_bytes(cli: Cli) -> None:
    script = (
        "import os,sys\n"
        "data=bytes(range(256))*1000\n"
        "for i in range(80): os.write(1+i%2, data)\n"
        "os.write(1, b'no newline')"
    )
    job = cli.submit("--", "/usr/bin/python3", "-c", script)
    cli.ok("wait", job)
    expected = bytes(range(256)) * 80_000 + b"no newline"
    assert cli.ok("logs", job).raw == expected
    assert cli.ok("logs", job, "--offset", "20479999").raw == expected[20479999:]
    assert cli.job(job)["log_bytes"] == len(expected)


def test_a_log_goes_into_a_file(cli: Cli, tmp_path: Path) -> None:
    """What is handed over while the rest arrives, after what was here already."""
    job = cli.submit("--", "seq 1 6000000; sleep 1; seq 1 6000000")
    part, whole = tmp_path / "part", tmp_path / "whole"
    _logs_into(part, cli, job)
    cli.ok("wait", job)
    whole.write_bytes(b"before\n")
    _logs_into(whole, cli, job, "--offset", "5")
    expected = (cli.directory(job) / "log").read_bytes()
    assert len(expected) == cli.job(job)["log_bytes"]
    assert whole.read_bytes() == b"before\n" + expected[5:]
    assert expected.startswith(part.read_bytes())
    assert cli.ok("logs", job, "--offset", "50000001").raw == expected[50_000_001:]


def _logs_into(path: Path, cli: Cli, *words: str) -> None:
    with open(path, "ab") as file:
        process = cli.start("logs", *words, stdout=file)
        assert process.communicate(timeout=60)[1] == b""


def test_run_gives_every_byte_of_a_job_with_children(cli: Cli) -> None:
    script = (
        "(for i in 1 2 3 4 5; do echo child $i >&2; sleep 0.05; done) & "
        "for i in 1 2 3 4 5; do echo main $i; sleep 0.05; done; wait; printf end"
    )
    ended = cli.ok("run", cli.host, "--", script)
    lines = ended.lines
    assert lines[-1] == "end"
    assert [line for line in lines if "child" in line] == [
        f"child {i}" for i in range(1, 6)
    ]
    assert [line for line in lines if "main" in line] == [
        f"main {i}" for i in range(1, 6)
    ]


def test_a_tail_begins_at_the_start_of_a_line(cli: Cli) -> None:
    job = cli.submit("--", "seq 1 30000")
    cli.ok("wait", job)
    assert cli.ok("logs", job, "--tail", "3").out == "29998\n29999\n30000\n"
    assert cli.ok("logs", job, "--tail", "0").out == ""
    assert len(cli.ok("logs", job, "--tail", "99999").lines) == 30000


@pytest.mark.parametrize("status", [0, 1, 3, 99, 137, 254, 255])
@pytest.mark.quick
def test_exit_statuses_come_back(cli: Cli, status: int) -> None:
    ended = cli("run", cli.host, "--", f"exit {status}")
    assert ended.status == status, ended


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_a_death_by_a_signal_comes_back(cli: Cli, number: int) -> None:
    job = cli.submit("--", f"kill -{int(number)} $$")
    cli("wait", job)
    record = cli.job(job)
    assert (record["state"], record["signal"]) == ("FAILED", number)
    assert record["exit_status"] is None
    ended = cli("run", cli.host, "--", f"kill -{int(number)} $$")
    assert ended.status == 128 + number


TEXT = "a 'b' \"c\" $HOME `x` \\ \\\\ !! !1 é € \t|&;<>()*?[]#~=%"


def test_an_argument_vector_arrives_byte_for_byte(cli: Cli) -> None:
    words = [TEXT, "two\nlines", "", "-n", "!!", "\\n"]
    program = "import sys,os; os.write(1, b'\\0'.join(map(os.fsencode, sys.argv[1:])))"
    ended = cli.ok("run", cli.host, "--", "/usr/bin/python3", "-c", program, *words)
    assert ended.raw == b"\0".join(word.encode() for word in words)


def test_a_line_of_a_megabyte_runs(cli: Cli) -> None:
    line = b"echo '" + b"x" * 1_000_000 + b"' | wc -c; echo done"
    ended = cli("run", cli.host, stdin=line)
    assert ended.status == 0, ended
    assert ended.out.split() == ["1000001", "done"]


def test_standard_input_arrives_byte_for_byte(cli: Cli, tmp_path: Path) -> None:
    data = os.urandom(100_000) + bytes(range(256)) * 10
    (tmp_path / "in").write_bytes(data)
    ended = cli.ok("run", cli.host, "--stdin", tmp_path / "in", "--", "cat")
    assert ended.raw == data
    assert cli("run", cli.host, "--", "cat").raw == b""


@pytest.mark.quick
def test_a_job_gets_its_directory_and_environment(cli: Cli) -> None:
    assert cli.ok("run", cli.host, "--cwd", "/usr", "--", "pwd").out == "/usr\n"
    home = cli.ok("run", cli.host, "--", "pwd").out
    assert cli.ok("run", cli.host, "--cwd", "~", "--", "pwd").out == home
    ended = cli("run", cli.host, "--cwd", "/no/such", "--", "pwd")
    assert ended.status not in (0, 64)
    assert "/no/such" in ended.err
    out = cli.ok("run", cli.host, "--env", "A=1 2", "--key", "k", "--", "env").lines
    assert {"A=1 2", "SSHJOBS_KEY=k", "SSHJOBS_ATTEMPT=1"} <= set(out)
    assert not [line for line in out if line.startswith("SSHJOBS_HOME")]


def test_nothing_of_this_machines_environment_leaks(cli: Cli) -> None:
    end = cli.start("run", cli.host, "--", "env", env={"LC_SECRET": "x", "FOO": "y"})
    out = finish([end])[0].out
    assert "LC_SECRET" not in out
    assert "FOO" not in out


def test_secrets_stand_in_no_listing_log_or_record(cli: Cli) -> None:
    secret = "s3cret-" + os.urandom(8).hex()
    process = cli.start(
        "run",
        cli.host,
        "--env-from",
        "TOKEN",
        "--",
        'echo ${#TOKEN}; tr "\\0" " " </proc/self/cmdline; ps axww; sleep 1',
        env={"TOKEN": secret},
    )
    eventually(lambda: list(cli.base.glob("jobs/*/run")), "the start")
    (folder,) = cli.base.glob("jobs/*")
    eventually(lambda: not (folder / "env").exists(), "the env file's end")
    processes = subprocess.run(["ps", "axww"], capture_output=True, check=True).stdout
    assert secret.encode() not in processes
    ended = finish([process])[0]
    assert ended.status == 0, ended
    assert ended.lines[0] == str(len(secret))
    assert secret not in ended.out + ended.err
    for top in (cli.home, cli.base):
        for path in top.rglob("*"):
            if path.is_file():
                assert secret.encode() not in path.read_bytes(), path
    assert folder.stat().st_mode & 0o777 == 0o700
    for path in folder.iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.quick
def test_one_key_is_one_job(cli: Cli, tmp_path: Path) -> None:
    other = cli.twin(tmp_path / "other-home")
    submits = [
        where.start("submit", cli.host, "--key", "night", "--", "sleep 2")
        for where in (cli, other) * 5
    ]
    ids = {end.id for end in finish(submits)}
    assert len(ids) == 1
    (job,) = ids
    cli.ok("wait", "key:night")
    assert other.ok("wait", "key:night").lines
    again = other.ok("submit", cli.host, "--key", "night", "--", "echo other")
    assert again.id == job
    assert "another command" in again.err
    assert len(list(cli.base.glob("jobs/[a-z2-7]*"))) == 1
    other.close()


def test_a_key_that_failed_gets_a_new_attempt(cli: Cli) -> None:
    words = ["--key", "k", "--", "echo $SSHJOBS_ATTEMPT; exit 3"]
    assert cli("run", cli.host, *words).out == "1\n"
    assert cli("run", cli.host, *words).out == "2\n"
    once = cli("run", cli.host, "--once", *words)
    assert (once.status, once.out) == (3, "2\n")


def test_a_key_outlives_its_directory(cli: Cli) -> None:
    job = cli.submit("--key", "k", "--", "echo x")
    cli.ok("wait", job)
    cli.ok("reap")
    assert not cli.directory(job).exists()
    assert cli.submit("--key", "k", "--", "echo x") == job
    assert cli.ok("logs", job).out == "x\n"


def test_a_variable_may_travel_under_another_name(cli: Cli) -> None:
    run = cli.start(
        "run",
        cli.host,
        "--env-from",
        "PATH=OTHER",
        "--",
        "/usr/bin/env",
        env={"OTHER": "/x:/usr/bin"},
    )
    assert "PATH=/x:/usr/bin\n" in finish([run])[0].out


def test_another_base_directory_is_another_place(cli: Cli) -> None:
    other = cli.base.parent / "other"
    elsewhere = {"SSHJOBS_REMOTE_BASE_DIR": str(other)}
    job = cli.submit("--", "echo here; sleep 3")
    second = finish([cli.start("submit", cli.host, "--", "true", env=elsewhere)])[0]
    assert (other / "jobs" / second.id).exists()
    assert not (cli.base / "jobs" / second.id).exists()
    ended = finish([cli.start("wait", job, second.id, env=elsewhere)])[0]
    assert ended.status == 0, ended
    assert cli.ok("logs", job).out == "here\n"
    assert len(cli.ok("reap", "--json").objects) == 2
    assert cli.sshd is not None and cli.sshd.connections == 1


def test_a_job_is_asked_for_as_it_was_submitted(cli: Cli) -> None:
    assert cli.sshd is not None
    job = cli.submit("--", "sleep 2; exit 4")
    cli.sshd.write_client_config("IdentityFile /no/such/key")
    assert cli("wait", job).status == 1
    assert cli.job(job)["exit_status"] == 4
    assert [row["id"] for row in cli.ok("reap", "--json").objects] == [job]


@pytest.mark.parametrize(
    "words", [("--key", ""), ("--key", "k", "--from", "-"), ("--stdin", "/dev/null")]
)
def test_flags_that_do_not_fit_are_refused(cli: Cli, words: tuple[str, ...]) -> None:
    lines = b"true\ntrue\n"
    call = ["submit", cli.host, *words]
    call += ["--from", "-"] if "--from" not in words else []
    assert cli(*call, stdin=lines).status == 64
    assert cli.ok("list").out == ""


def test_a_full_standard_output_is_no_traceback(cli: Cli) -> None:
    with open("/dev/full", "wb") as full:
        ended = finish([cli.start("hosts", "--json", stdout=full)])[0]
        listed = finish([cli.start("submit", cli.host, "--", "true", stdout=full)])[0]
    assert "Traceback" not in ended.err + listed.err
    assert listed.status == 70


def test_a_spec_that_is_gone_is_said(cli: Cli) -> None:
    assert cli.sshd is not None
    cli.sshd.stop()
    process = cli.start("submit", cli.host, "--env", "A=b", "--", "echo never")
    eventually(lambda: list(cli.home.glob("specs/*")), "the spec")
    for path in cli.home.glob("specs/*"):
        path.unlink()
    cli.sshd.start()
    ended = finish([process])[0]
    assert ended.status == 1, ended
    assert "spec is gone" in ended.err
    assert cli.ok("list").out == ""
