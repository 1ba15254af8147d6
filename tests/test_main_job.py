"""The main job, end to end: real processes of ours against a real sshd."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sshjobs.model import new_job_id
from sshjobs.store import Store
from tests.cli import Cli, all_processes, eventually, finish


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
        assert len(end.err.splitlines()[0]) == 16
    assert cli.sshd.connections == 1
    assert cli.sshd.sessions <= spent + 20


def test_a_batch_of_a_thousand_is_a_few_sessions(cli: Cli, tmp_path: Path) -> None:
    assert cli.sshd is not None
    ran = cli.base.parent / "ran"
    ran.mkdir(mode=0o777)
    ran.chmod(0o777)
    jobs = tmp_path / "jobs"
    lines = [f": >{ran}/{n}.$SSHJOBS_JOB_ID" for n in range(1000)]
    jobs.write_text("\n".join(lines) + "\n")
    ids = cli.ok("submit", cli.host, "--from", jobs).lines
    assert cli.sshd.sessions <= 5
    cli.ok("wait", "--json")
    names = dict(path.name.split(".")[:2] for path in ran.iterdir())
    assert [names[str(n)] for n in range(1000)] == ids


def test_a_batch_may_be_objects(cli: Cli) -> None:
    lines = (
        b'{"command": ["printf", "%s", "a  b"], "name": "one"}\n'
        b'{"command": "echo $X", "env": {"X": "\xc3\xa9"}, "cwd": "/"}\n'
        b"\n# a remark\n"
        b"{ echo two; }\n"
    )
    ids = cli.ok("submit", cli.host, "--from", "-", stdin=lines).lines
    cli.ok("wait")
    logs = [cli.ok("logs", job_id).raw for job_id in ids]
    assert logs == [b"a  b", b"\xc3\xa9\n", b"two\n"]
    assert cli.job(ids[0])["name"] == "one"


_WEIGH = """if True:
    import resource, subprocess, sys
    status = subprocess.call([sys.executable, "-m", "sshjobs", *sys.argv[1:]])
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
    sys.exit(status)
"""


def _weighed(cli: Cli, *words: object) -> list[str]:
    """Run a verb that may take 60 MB; return its words."""
    process = subprocess.run(
        [sys.executable, "-c", _WEIGH, *map(str, words)],
        env=cli.env,
        capture_output=True,
        text=True,
    )
    *said, rss = process.stderr.split()
    assert (process.returncode, said) == (0, [])
    assert int(rss) < 60_000
    return process.stdout.split()


_MAKE_ENDED = """cd {base}/jobs && umask 077 && xargs mkdir <{ids} && while read -r id
do printf 'id=%s\\nstatus=0\\nlog_bytes=0\\nend=\\n' "$id" >"$id/exit"; done <{ids}
"""


def test_many_jobs_cost_no_memory(cli: Cli) -> None:
    ids = [new_job_id() for _ in range(25_000)]
    file = cli.base.parent / "ids"
    file.write_text("".join(f"{job_id}\n" for job_id in ids))
    cli.ok("run", cli.host, "--", _MAKE_ENDED.format(base=cli.base, ids=file))
    store = Store(str(cli.home))
    (row,) = store.select()
    store.add_jobs(
        row._replace(id=job_id, state="RUNNING", command="x" * 200) for job_id in ids
    )
    store.close()
    assert _weighed(cli, "wait").count("COMPLETED") == len(ids)
    assert _weighed(cli, "reap").count("COMPLETED") == len(ids) + 1
    assert list((cli.base / "jobs").iterdir()) == []


def test_a_batch_costs_no_memory(cli: Cli, tmp_path: Path) -> None:
    jobs = tmp_path / "jobs"
    with jobs.open("w") as file:
        for n in range(80):
            file.write(f"echo {n} #{'x' * 1_000_000}\n")
    ids = _weighed(cli, "submit", cli.host, "--from", jobs)
    assert len(set(ids)) == 80
    cli.ok("wait")
    assert cli.ok("logs", ids[0]).out == "0\n" and cli.ok("logs", ids[-1]).out == "79\n"


@pytest.mark.parametrize(
    "line",
    [
        b'{"command": 3}',
        b'{"comand": "x"}',
        b'{"a',
        b'{"command": "\\ud800"}',
        b'{"command": "x", "cwd": "\\ud800"}',
        b'{"command": "x", "name": "\\ud800"}',
        b'{"command": "x", "cleanup": "perhaps"}',
    ],
)
def test_a_batch_with_a_mistake_is_refused_whole(cli: Cli, line: bytes) -> None:
    ended = cli("submit", cli.host, "--from", "-", stdin=b"true\n" + line)
    assert ended.status == 64
    assert "line 2" in ended.err
    assert cli.ok("list").out == ""
    assert not list((cli.home / "specs").iterdir())


def test_a_batch_may_begin_with_a_byte_order_mark(cli: Cli) -> None:
    text = b'\xef\xbb\xbf{"command": "echo one"}\r\necho two\r\n'
    ids = cli.ok("submit", cli.host, "--from", "-", stdin=text).lines
    cli.ok("wait")
    assert [cli.ok("logs", job_id).out for job_id in ids] == ["one\n", "two\n"]


def test_a_name_that_is_no_text_is_refused(cli: Cli) -> None:
    for flag in ("--name", "--key"):
        ended = cli("submit", cli.host, flag, os.fsdecode(b"\xff"), "--", "true")
        assert ended.status == 64, ended


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


def test_tails_of_logs(cli: Cli) -> None:
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


def test_a_line_of_a_megabyte(cli: Cli) -> None:
    line = b"echo '" + b"x" * 1_000_000 + b"' | wc -c; echo done"
    ended = cli("run", cli.host, stdin=line)
    assert ended.status == 0, ended
    assert ended.out.split() == ["1000001", "done"]


def test_standard_input_of_any_bytes(cli: Cli, tmp_path: Path) -> None:
    data = os.urandom(100_000) + bytes(range(256)) * 10
    (tmp_path / "in").write_bytes(data)
    ended = cli.ok("run", cli.host, "--stdin", tmp_path / "in", "--", "cat")
    assert ended.raw == data
    assert cli("run", cli.host, "--", "cat").raw == b""


@pytest.mark.quick
def test_the_directory_and_the_environment(cli: Cli) -> None:
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


def test_secrets_are_nowhere(cli: Cli) -> None:
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
def test_kill_ends_the_whole_tree_and_nothing_else(cli: Cli) -> None:
    other = cli.submit("--", "sleep 60")
    marker = "61.%d" % os.getpid()
    script = (
        f"trap '' TERM; (trap '' TERM; sleep {marker} & sleep {marker}) & "
        f"setsid sleep {marker} & setsid sh -c 'trap \"\" TERM; sleep {marker}; :' & "
        "while :; do sleep 0.1; done"
    )
    job = cli.ok(
        "submit", cli.host, "--", script, stdin=None
    ).id  # dies by KILL after the grace only
    eventually(lambda: _running(marker) == 4, "four sleepers")
    ended = finish([cli.start("kill", job, env={"SSHJOBS_KILL_GRACE": "1"})])[0]
    assert ended.status == 0, ended
    assert cli.job(job)["state"] == "CANCELLED"
    eventually(lambda: _running(marker) == 0, "no sleeper left")
    assert cli.state(other) == "RUNNING"
    cli.ok("kill", other)


def _running(marker: str) -> int:
    found = subprocess.run(["pgrep", "-fc", f"sleep {marker}$"], capture_output=True)
    return int(found.stdout)


def test_a_timeout_is_kept_with_no_client_alive(cli: Cli) -> None:
    job = cli.submit("--timeout", "1", "--", "sleep 61")
    cli.close()
    eventually(lambda: (cli.directory(job) / "exit").exists(), "the end")
    assert cli.state(job) == "TIMEOUT"


def test_run_of_a_job_that_takes_too_long(cli: Cli) -> None:
    assert cli("run", cli.host, "--timeout", "1", "--", "sleep 61").status == 124


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_run_cancels_the_job(cli: Cli, number: int) -> None:
    process = cli.start("run", cli.host, "--", "echo up; exec sleep 62")
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(number)
    assert finish([process])[0].status == 143
    (record,) = cli.ok("list", "--json").objects
    assert record["state"] == "CANCELLED"


def test_a_signal_to_a_run_that_detaches_leaves_the_job(cli: Cli) -> None:
    process = cli.start(
        "run", cli.host, "--detach-on-signal", "--", "echo up; exec sleep 62"
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGTERM)
    ended = finish([process])[0]
    assert ended.status == 143
    (record,) = cli.ok("poll", "--json").objects
    assert record["state"] == "RUNNING"
    assert f"sshjobs logs {record['id']} --follow" in ended.err
    cli.ok("kill", record["id"])


def test_a_closed_pipe_leaves_the_job(cli: Cli) -> None:
    process = cli.start("run", cli.host, "--", "while :; do echo y; sleep 0.1; done")
    assert process.stdout is not None
    assert process.stdout.readline() == b"y\n"
    process.stdout.close()
    finish([process])
    (record,) = cli.ok("poll", "--json").objects
    assert record["state"] == "RUNNING"
    cli.ok("kill", record["id"])


def _run_file(cli: Cli, job: str) -> dict[str, str]:
    text = (cli.directory(job) / "run").read_text()
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _under_way(cli: Cli, job: str) -> None:
    """Wait until a job that is to sleep does: submit returns before its first exec."""
    mark = f"SSHJOBS_JOB_ID={job}".encode()
    eventually(
        lambda: any(
            mark in environ.split(b"\0") and _name(pid) == "sleep"
            for pid, environ in all_processes("environ")
        ),
        "a sleeping job",
    )


def _name(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""


def _kill_group(cli: Cli, job: str) -> None:
    """Kill all that runs for a job, its runner first, as the OOM killer might."""
    mark = f"SSHJOBS_JOB_ID={job}".encode()
    _under_way(cli, job)
    os.kill(int(_run_file(cli, job)["pid"]), signal.SIGKILL)
    for pid, environ in all_processes("environ"):
        if mark in environ.split(b"\0"):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_job_killed_from_outside_is_lost_within_two_polls(cli: Cli) -> None:
    job = cli.submit("--", "sleep 63")
    _kill_group(cli, job)
    states = [cli.state(job) for _ in range(2)]
    assert states[-1] == "LOST"
    assert cli.job(job)["reason"]


def test_a_job_that_outlives_its_runner_is_running(cli: Cli) -> None:
    job = cli.submit("--", "sleep 64")
    os.kill(int(_run_file(cli, job)["pid"]), signal.SIGKILL)
    assert [cli.state(job) for _ in range(3)] == ["RUNNING"] * 3
    cli("kill", job)
    assert cli.job(job)["state"] in ("CANCELLED", "LOST")


def test_a_main_process_killed_from_outside_is_a_failure(cli: Cli) -> None:
    job = cli.submit("--", "/usr/bin/python3 -c 'import os; os.kill(os.getpid(), 9)'")
    cli("wait", job)
    assert cli.job(job)["state"] == "FAILED"


def test_a_job_killed_from_outside_says_by_what(cli: Cli) -> None:
    job = cli.submit("--", "sleep 64")
    _under_way(cli, job)
    os.killpg(int(_run_file(cli, job)["pgid"]), signal.SIGKILL)
    cli("wait", job)
    assert (cli.job(job)["state"], cli.job(job)["signal"]) == ("FAILED", 9)
    assert cli.job(job)["reason"] == "ended by SIGKILL"


def test_another_boot_id_means_lost(cli: Cli) -> None:
    job = cli.submit("--", "sleep 65")
    _under_way(cli, job)
    path = cli.directory(job) / "run"
    text = path.read_text()
    boot = _run_file(cli, job)["boot_id"]
    _kill_group(cli, job)
    path.write_text(text.replace(boot, "0" * len(boot)))
    assert [cli.state(job) for _ in range(2)][-1] == "LOST"
    assert "reboot" in cli.job(job)["reason"]


@pytest.mark.parametrize("size", [0, 1000])
def test_a_runner_that_a_power_failure_has_cut_is_mended(cli: Cli, size: int) -> None:
    cli.ok("run", cli.host, "--", "true")
    (runner,) = cli.base.glob("runner-*")
    whole = runner.read_bytes()
    (tools,) = cli.base.glob("*/tools")
    tools.write_text(f"another-boot {tools.read_text().partition(' ')[2]}")
    os.truncate(runner, size)
    assert cli.ok("run", cli.host, "--", "echo x").out == "x\n"
    assert runner.read_bytes() == whole


def test_a_reused_pid_fools_nobody(cli: Cli) -> None:
    job = cli.submit("--", "sleep 66")
    _under_way(cli, job)
    path = cli.directory(job) / "run"
    text = path.read_text()
    known = _run_file(cli, job)
    _kill_group(cli, job)
    path.write_text(text.replace(f"pid={known['pid']}", f"pid={os.getpid()}"))
    assert [cli.state(job) for _ in range(2)][-1] == "LOST"


def test_a_reused_group_fools_nobody(cli: Cli) -> None:
    job, doomed = cli.submit("--", "sleep 66"), cli.submit("--", "sleep 67")
    with subprocess.Popen(["sleep", "68"], start_new_session=True) as other:
        for each in (job, doomed):
            _under_way(cli, each)
            path = cli.directory(each) / "run"
            text = path.read_text()
            known = _run_file(cli, each)
            _kill_group(cli, each)
            path.write_text(text.replace(f"pgid={known['pgid']}", f"pgid={other.pid}"))
        cli("kill", doomed)
        assert [cli.state(job) for _ in range(2)][-1] == "LOST"
        assert cli.state(doomed) in ("CANCELLED", "LOST")
        assert other.poll() is None
        other.kill()


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


@pytest.mark.quick
def test_reap_brings_home_before_it_deletes(cli: Cli) -> None:
    ended, running = cli.submit("--", "seq 1 1000"), cli.submit("--", "sleep 67")
    cli.ok("wait", ended)
    dry = cli.ok("reap", "--dry-run", "--json").objects
    assert [row["id"] for row in dry] == [ended]
    assert cli.directory(ended).exists()
    assert cli.ok("reap", "--older-than", "1h").out == ""
    assert [row["id"] for row in cli.ok("reap", "--json").objects] == [ended]
    assert not cli.directory(ended).exists()
    assert cli.directory(running).exists()
    assert len(cli.ok("logs", ended).lines) == 1000
    cli.ok("kill", running)


def test_reap_asks_before_it_chooses(cli: Cli) -> None:
    job = cli.submit("--", "sleep 0.5")
    eventually(lambda: (cli.directory(job) / "exit").exists(), "the end")
    assert [row["id"] for row in cli.ok("reap", "--json").objects] == [job]


def test_reap_leaves_what_is_not_a_job_of_ours(cli: Cli, tmp_path: Path) -> None:
    linked, odd = cli.submit("--", "echo x"), cli.submit("--", "echo y")
    cli.ok("wait")
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "file").write_text("x")
    os.rename(cli.directory(linked), cli.base / "moved")
    cli.directory(linked).symlink_to(precious)
    for path in cli.directory(odd).iterdir():
        path.unlink()
    (cli.directory(odd) / "mine").write_text("x")
    foreign = cli.base / "jobs" / "notes"
    foreign.mkdir()
    dry = cli("reap", "--orphans", "--dry-run")
    assert f"{cli.host}: notes: not the name of a job; left as it is" in dry.err
    ended = cli("reap", "--orphans")
    assert (precious / "file").exists()
    assert (cli.directory(odd) / "mine").exists()
    assert foreign.exists()
    assert f"job {linked}: not reaped: its directory is a symbolic link" in ended.err
    assert f"job {odd}: not reaped: no whole job of ours" in ended.err
    assert f"{cli.host}: notes: not the name of a job" in ended.err
    for job in (linked, odd):
        said = cli("logs", job)
        assert (said.status, said.raw) == (1, b""), said
        assert "its log cannot be read" in said.err


def test_a_log_that_another_machine_reaped_is_missed(cli: Cli, tmp_path: Path) -> None:
    other = cli.twin(tmp_path / "other-home")
    job, kept = other.submit("--", "echo baa"), other.submit("--", "echo maa")
    other("wait")
    other.ok("logs", kept)
    cli.ok("reap", "--host", cli.host, "--orphans")
    said = other("logs", job)
    assert (said.status, said.out) == (1, ""), said
    assert "0 of the 4 bytes" in said.err
    assert other.ok("logs", kept).out == "maa\n"
    assert other("reap").status == 0
    other.close()


def test_a_log_that_was_cut_short_ends_what_reads_it(cli: Cli) -> None:
    job = cli.submit("--", "echo abcdef")
    cli.ok("wait", job)
    cli.env["SSHJOBS_START_GRACE"] = "1"
    os.truncate(cli.directory(job) / "log", 3)
    said = cli("logs", job)
    assert (said.status, said.raw) == (1, b"abc"), said
    assert "3 of the 7 bytes" in said.err


def test_reap_drops_records_of_what_was_reaped_long_ago(cli: Cli) -> None:
    job, young = cli.submit("--", "echo old"), cli.submit("--", "echo young")
    cli.ok("wait")
    cli.ok("reap")
    store = Store(str(cli.home))
    store.update(job, reaped_at=time.time() - 91 * 86400.0)
    store.close()
    assert cli.ok("reap", "--dry-run").err == ""
    assert (
        "records and logs of 1 job reaped more than 90 days ago" in cli.ok("reap").err
    )
    assert cli("show", job).status == 64
    assert cli.ok("logs", young).out == "young\n"


def test_reap_takes_orphans_with_their_records(cli: Cli, tmp_path: Path) -> None:
    other = cli.twin(tmp_path / "other-home")
    job = other.submit("--name", "lost sheep", "--", "echo baa")
    other.ok("wait")
    running = other.submit("--", "sleep 68")
    assert cli.ok("reap", "--host", cli.host).out == ""
    dry = cli.ok("reap", "--host", cli.host, "--orphans", "--dry-run", "--json")
    assert [row["id"] for row in dry.objects] == [job]
    assert cli.directory(job).exists()
    cli.ok("reap", "--host", cli.host, "--orphans")
    assert not cli.directory(job).exists()
    assert cli.directory(running).exists()
    assert cli.ok("logs", job).out == "baa\n"
    other.ok("kill", running)
    other.close()


def test_jobs_can_be_adopted_into_an_empty_store(cli: Cli, tmp_path: Path) -> None:
    job = cli.submit("--name", "n", "--", "echo here; sleep 2")
    other = cli.twin(tmp_path / "other-home")
    adopted = other.ok("poll", "--host", cli.host, "--adopt", "--json").objects
    assert [(row["id"], row["name"]) for row in adopted] == [(job, "n")]
    other.ok("wait", job)
    assert other.ok("logs", job).out == "here\n"
    other.close()


@pytest.mark.parametrize("cleanup", ["always", "on_success", "never"])
def test_cleanup(cli: Cli, cleanup: str) -> None:
    good = cli("run", cli.host, "--cleanup", cleanup, "--", "echo x")
    bad = cli("run", cli.host, "--cleanup", cleanup, "--", "echo x; exit 2")
    assert (good.status, good.out, bad.status, bad.out) == (0, "x\n", 2, "x\n")
    left = {path.name for path in cli.base.glob("jobs/*")}
    kept = {end.err.splitlines()[0] for end in (good, bad)}
    expected = {"always": 0, "on_success": 1, "never": 2}[cleanup]
    assert len(left & kept) == expected


def test_a_job_not_yet_sent_is_cancelled_here(cli: Cli) -> None:
    assert cli.sshd is not None
    cli.sshd.stop()
    process = cli.start("submit", cli.host, "--", "echo never")
    eventually(lambda: cli("list", "--json").out, "the row")
    (row,) = cli.ok("list", "--json").objects
    assert cli.ok("kill", row["id"], "--json").objects[0]["state"] == "CANCELLED"
    cli.sshd.start()
    finish([process])
    assert not cli.directory(row["id"]).exists()
    assert cli.job(row["id"])["state"] == "CANCELLED"


@pytest.mark.parametrize("delay", [0.05, 0.15, 0.25, 0.4])
def test_a_run_that_is_told_to_end_early_leaves_nothing(cli: Cli, delay: float) -> None:
    runs = [cli.start("run", cli.host, "--", "sleep 600") for _ in range(4)]
    time.sleep(delay)
    for run in runs:
        run.send_signal(signal.SIGTERM)
    finish(runs)
    for row in cli("poll", "--json").objects:
        assert row["state"] != "RUNNING", row
    assert not [row for row in cli.ok("list", "--json").objects if _alive(row)]


def _alive(row: dict[str, object]) -> bool:
    return row["state"] in ("PENDING", "RUNNING")


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


def test_a_line_for_systemd_tmpfiles(cli: Cli) -> None:
    line = cli.ok("reap", "--tmpfiles", "--older-than", "7d").out
    assert line == f"e {cli.base}/jobs - - - 7d\n"


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


def test_a_cancel_that_cannot_be_told_is_kept(cli: Cli) -> None:
    assert cli.sshd is not None
    run = cli.start(
        "run", cli.host, "--wait-host", "1", "--", "echo up; exec sleep 600"
    )
    assert run.stdout is not None and run.stdout.readline() == b"up\n"
    cli.sshd.close()
    run.send_signal(signal.SIGTERM)
    ended = finish([run])[0]
    assert ended.status == 75, ended
    assert "NOT cancelled" in ended.err
    cli.sshd.start()
    (row,) = cli.ok("list", "--json").objects
    eventually(lambda: cli.state(str(row["id"])) == "CANCELLED", "the end")


def test_a_cancelled_run_gives_the_rest_of_the_log(cli: Cli) -> None:
    script = 'trap "echo tail; exit 0" TERM; echo head; while :; do sleep 0.1; done'
    run = cli.start("run", cli.host, "--", script)
    assert run.stdout is not None and run.stdout.readline() == b"head\n"
    run.send_signal(signal.SIGTERM)
    assert finish([run])[0].lines[-1] == "tail"


def test_a_grace_is_for_what_a_trap_starts(cli: Cli) -> None:
    script = 'trap "sleep 2; echo slept \\$?; exit 0" TERM; while :; do sleep 0.1; done'
    job = cli.submit("--", script)
    time.sleep(0.5)
    cli.ok("kill", job)
    assert cli.ok("logs", job).lines[-1] == "slept 0"


def test_a_batch_stays_in_step_with_its_input(cli: Cli) -> None:
    lines = b'true\n{"command": "true", "shell": "/no/such/shell"}\ntrue\n'
    ended = cli("submit", cli.host, "--from", "-", stdin=lines)
    assert ended.status == 69
    assert [len(line) for line in ended.lines] == [16, 1, 16]
    assert "job 2 of 3" in ended.err and "/no/such/shell" in ended.err


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
    process = cli.start("submit", cli.host, "--", "echo never")
    eventually(lambda: list(cli.home.glob("specs/*")), "the spec")
    for path in cli.home.glob("specs/*"):
        path.unlink()
    cli.sshd.start()
    ended = finish([process])[0]
    assert ended.status == 1, ended
    assert "spec is gone" in ended.err
    assert cli.ok("list").out == ""
