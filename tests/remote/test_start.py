"""Starts: what a job gets, what it ends with, and that it runs once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.model import new_job_id
from sshjobs.protocol import Request
from tests.cli import all_processes
from tests.remote.host import Host, an_order, of, prepared, wait

ENDS = [
    (b"true", 0, None),
    (b"exit 3", 3, None),
    (b"exit 137", 137, None),
    (b"kill -9 $$", None, 9),
    (b"exit 143", 143, None),
    (b"kill -TERM $$", None, 15),
    (b"exit 141", 141, None),
    (b"kill -PIPE $$", None, 13),
    (b"exit 130", 130, None),
    (b"exit 255", 255, None),
]

NO_RUNNER = "its runner could not be started"


def test_the_status_of_a_job_that_ended_before_the_wait_is_known(
    any_host: Host,
) -> None:
    """bash gives its status to the first wait, whenever that comes."""
    any_host.edit = lambda program: program.replace(
        b'while kill -0 "$sj_job_pid"; do\n',
        b'while kill -0 "$sj_job_pid"; do\nsleep 0.3\n',
    )
    for command, status in ((b"true", 0), (b"exit 3", 3), (b"exit 127", 127)):
        assert any_host.end(any_host.start(command)).exit_status == status


def test_an_exit_is_told_from_a_signal(any_host: Host) -> None:
    """For sure where the job outlives its start: bash's wait forgets what has ended.

    One that ends right before it is waited for is told as ended by a signal there, with
    a reason that says so.
    """
    orders = [an_order(b"sleep 0.2; " + command) for command, _, _ in ENDS]
    any_host.run(Request(starts=tuple(orders)))
    for order, (command, status, number) in zip(orders, ENDS):
        ended = any_host.end(order.job_id)
        assert (ended.exit_status, ended.signal) == (status, number), command
        assert (ended.cause, ended.reason) == ("", "")


def test_a_job_starts_and_ends_as_its_files_say(any_host: Host) -> None:
    job_id = any_host.start(b"echo out; echo err >&2; exit 4", name="n m")
    ended = any_host.end(job_id)
    assert (ended.exit_status, ended.log_bytes) == (4, 8)
    assert any_host.log(job_id) == b"out\nerr\n"
    assert any_host.log(job_id, 4, 2) == b"er"
    folder = any_host.jobs / job_id
    names = {entry.name for entry in folder.iterdir()}
    assert names >= {"spec", "script", "run", "log", "exit"}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(entry.stat().st_mode & 0o077 == 0 for entry in folder.iterdir())
    run = dict(
        line.split("=", 1)
        for line in (folder / "run").read_text().splitlines()
        if "=" in line
    )
    assert {"machine", "boot_id", "pid", "pgid", "start"} <= run.keys()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    assert run["boot_id"] == boot
    assert (any_host.base / run["machine"] / "journal").exists()
    started = of(protocol.Started, any_host.check(job_id))[0]
    assert (str(started.pid), started.start) == (run["pid"], run["start"])
    assert ended.started_at is not None and ended.finished_at is not None
    assert abs(ended.finished_at - time.time()) < 60
    assert ended.started_at <= ended.finished_at


def test_a_job_gets_its_words_input_and_environment_byte_by_byte(
    any_host: Host,
) -> None:
    words = (b"printf", b"%s|", b"a'b", b"", b" x\ny ", b"\xff\xc3", b"-n", b"$HOME")
    vector = any_host.start(words)
    any_host.end(vector)
    assert any_host.log(vector) == b"a'b|| x\ny |\xff\xc3|-n|$HOME|"

    stdin = bytes(range(256)) + b"%s\\n-"
    piped = any_host.start(b"cat", stdin=stdin)
    any_host.end(piped)
    assert any_host.log(piped) == stdin

    env = (("A_B", b"it's\n 'x' \xff"), ("PATH", b"/usr/bin:/bin:/nope"))
    job_id = any_host.start(b"env -0; umask; pwd", env=env, cwd="/", key="a k")
    any_host.end(job_id)
    *pairs, rest = any_host.log(job_id).split(b"\0")
    got = dict(pair.split(b"=", 1) for pair in pairs)
    assert rest == b"0022\n/\n"
    assert got[b"A_B"] == env[0][1] and got[b"PATH"] == env[1][1]
    assert got[b"SSHJOBS_JOB_ID"] == job_id.encode()
    assert (got[b"SSHJOBS_KEY"], got[b"SSHJOBS_ATTEMPT"]) == (b"a k", b"1")
    known = {b"HOME", b"PWD", b"SHELL", b"SHLVL", b"_", b"SJTEST", b"OLDPWD"}
    ours = {b"SSHJOBS_JOB_ID", b"SSHJOBS_KEY", b"SSHJOBS_ATTEMPT", b"PYTHONUNBUFFERED"}
    assert got.keys() <= known | ours | {b"A_B", b"PATH"}
    assert not (any_host.jobs / job_id / "env").exists()


def test_an_environment_may_use_the_runner_s_own_names(any_host: Host) -> None:
    env = (("IFS", b"/"), ("sj_id", b"x"), ("sj_sh", b"y"), ("sj_setsid", b"z"))
    job_id = any_host.start(b"env -0", env=env, key="k")
    any_host.end(job_id)
    given = set(any_host.log(job_id).split(b"\0"))
    assert {f"SSHJOBS_JOB_ID={job_id}".encode(), b"SSHJOBS_KEY=k"} <= given
    assert {b"sj_id=x", b"sj_sh=y", b"sj_setsid=z"} <= given


def test_a_job_without_input_reads_dev_null_and_has_no_other_file_open(
    any_host: Host,
) -> None:
    job_id = any_host.start(
        b"readlink /proc/self/fd/0; ls /proc/self/fd | tr '\\n' ' '"
    )
    any_host.end(job_id)
    assert any_host.log(job_id).split() == [b"/dev/null", b"0", b"1", b"2", b"3"]


def test_a_job_can_be_interrupted(host: Host) -> None:
    """What ``&`` ignores is given back (GNU env 8.31 and later)."""
    job_id = host.start(b"grep SigIgn /proc/self/status; kill -INT $$")
    ended = host.end(job_id)
    assert ended.signal == signal.SIGINT
    ignored = int(host.log(job_id).split()[1], 16)
    assert not ignored & (1 << signal.SIGINT - 1 | 1 << signal.SIGQUIT - 1)


def test_a_job_whose_directory_is_missing_ends_with_that_reason(any_host: Host) -> None:
    ended = any_host.end(any_host.start(b"true", cwd="/no/such%\n"))
    assert ended.exit_status == 126
    assert ended.reason == "cwd: no such directory: /no/such%\\n"


def test_a_job_whose_shell_is_missing_is_refused(any_host: Host) -> None:
    order = an_order(b"true", shell="no-such-shell")
    refused = of(protocol.Refused, any_host.run(Request(starts=(order,))))
    assert [(r.job_id, r.code) for r in refused] == [(order.job_id, "ESHELL")]
    assert not (any_host.jobs / order.job_id).exists()


def test_a_script_runs_under_the_shell_that_was_chosen(host: Host) -> None:
    if not shutil.which("bash"):
        pytest.skip("no bash here")
    job_id = host.start(b"echo ${BASH_VERSION:+yes} $0", shell="bash")
    host.end(job_id)
    assert host.log(job_id) == f"yes {host.jobs / job_id}/script\n".encode()


def test_a_job_is_the_leader_of_a_session_of_its_own(any_host: Host) -> None:
    """``kill 0`` in a job hits the job, and not who records its end."""
    job_id = any_host.start(b"trap : TERM; kill 0; echo still; exit 7")
    assert any_host.end(job_id).exit_status == 7
    started = any_host.running(b"sleep 100")
    assert os.getsid(started.pgid) == started.pgid == os.getpgid(started.pgid)
    assert os.getsid(started.pid) != started.pgid


def test_a_repeated_start_runs_nothing_twice(any_host: Host) -> None:
    orders = tuple(an_order(b"echo x >>$HOME/ran; sleep 0.1") for _ in range(8))
    for _ in range(3):
        any_host.run(Request(starts=orders))
    for order in orders:
        any_host.end(order.job_id)
    any_host.run(Request(starts=orders))
    assert (any_host.home / "ran").read_text() == "x\n" * 8


def test_each_job_runs_once_though_launchers_are_killed_and_race(host: Host) -> None:
    orders = tuple(an_order(b"echo x >>$HOME/ran") for _ in range(40))
    host.run()
    for delay in range(8):
        nonce = os.urandom(8).hex()
        program = host.program(Request(starts=orders), nonce)
        with subprocess.Popen(
            ["sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            cwd=host.home,
            env=host.env,
            start_new_session=True,
        ) as launcher:
            assert launcher.stdin
            launcher.stdin.write(program)
            launcher.stdin.flush()
            time.sleep(0.005 + 0.01 * delay)
            launcher.kill()
    racers = []
    for _ in range(2):
        program = host.program(Request(starts=orders), os.urandom(8).hex())
        racers.append(
            subprocess.Popen(["sh"], stdin=subprocess.PIPE, cwd=host.home, env=host.env)
        )
        assert racers[-1].stdin
        racers[-1].stdin.write(program)
        racers[-1].stdin.close()
    for racer in racers:
        racer.wait()
    for order in orders:
        host.until(protocol.Ended, Request(starts=(order,)))
    assert (host.home / "ran").read_text() == "x\n" * 40


def test_a_batch_answers_for_each_of_its_jobs(host: Host) -> None:
    orders = tuple(an_order(b"true") for _ in range(130))
    said = host.run(Request(starts=orders))
    assert of(protocol.Beat, said)
    known = {event.job_id for event in of(protocol.Started, said)}
    known |= {event.job_id for event in of(protocol.Prepared, said)}
    known |= {event.job_id for event in of(protocol.Ended, said)}
    assert known == {order.job_id for order in orders}
    for order in orders:
        assert host.end(order.job_id).exit_status == 0
    wait(lambda: all((host.jobs / o.job_id / "exit").exists() for o in orders))
    texts = [(host.jobs / order.job_id / "exit").read_text() for order in orders]
    assert all("\npgid=" in text and text.endswith("\nend=\n") for text in texts)


@pytest.mark.parametrize("count", [1, 2, 8, 9])
def test_of_few_each_is_started_or_refused_once(any_host: Host, count: int) -> None:
    bad = an_order(b"true", shell="no-such-shell")
    orders = (bad, *(an_order(b"sleep 30") for _ in range(count - 1)))
    said = any_host.run(Request(starts=orders))
    told = [getattr(one, "job_id", "") for one in said if not is_of_the_frame(one)]
    assert sorted(told) == sorted(order.job_id for order in orders)
    assert [one.job_id for one in of(protocol.Refused, said)] == [bad.job_id]
    wait(lambda: not list((any_host.base / "new").iterdir()))


def is_of_the_frame(event: protocol.Event) -> bool:
    kinds = (protocol.Hello, protocol.JournalAt, protocol.Beat, protocol.End)
    return isinstance(event, kinds)


@pytest.mark.parametrize("count", [1, 3])
def test_of_few_nothing_is_left_where_no_runner_can_be_started(
    any_host: Host, count: int
) -> None:
    any_host.edit = lambda program: program.replace(
        b'"$sj_sh" "./$sj_run" s', b'false "./$sj_run" s'
    )
    orders = [an_order(b"true") for _ in range(count)]
    said = any_host.run(Request(starts=tuple(orders)))
    refused = [one.job_id for one in of(protocol.Refused, said)]
    assert sorted(refused) == sorted(order.job_id for order in orders)
    assert {one.text for one in of(protocol.Refused, said)} == {NO_RUNNER}
    assert not list(any_host.jobs.iterdir())
    wait(lambda: not list((any_host.base / "new").iterdir()))


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("step", ["sj_prepare_few", "sj_move_jobs\nsj_plan_jobs"])
def test_of_few_none_is_lost_where_their_part_dies(
    any_host: Host, step: str, count: int
) -> None:
    """Nobody was told of them then, and they are asked for again."""
    kill = b"read -r sj_i sj_line </proc/self/stat\nkill -9 $sj_i\n"
    part = f"{step} >&3".encode()
    any_host.edit = lambda program: program.replace(part, kill + part)
    orders = [an_order(b"true") for _ in range(count)]
    said = any_host.run(Request(starts=tuple(orders)))
    any_host.edit = lambda program: program
    assert all(map(is_of_the_frame, said)) and not list(any_host.jobs.iterdir())
    any_host.run(Request(starts=tuple(orders)))
    for order in orders:
        assert any_host.end(order.job_id).exit_status == 0


def test_a_lone_job_that_another_round_has_just_prepared_starts_once(
    any_host: Host,
) -> None:
    order = an_order(b"echo x >>$HOME/ran", env=(("A", b"secret"),))
    there = f"cp -R $sj_new_dir jobs/{order.job_id}\n".encode()
    move = b"sj_move_jobs\nsj_plan_jobs >&3"
    any_host.edit = lambda program: program.replace(move, there + move)
    any_host.run(Request(starts=(order,)))
    assert any_host.end(order.job_id).exit_status == 0
    assert (any_host.home / "ran").read_text() == "x\n"
    job_dir = any_host.jobs / order.job_id
    assert not [path for path in job_dir.iterdir() if path.is_dir()]
    assert not list((any_host.base / "new").iterdir())


def test_no_tool_tidies_up_after_a_lone_job(any_host: Host) -> None:
    """Who waits for its start waits for that, too, on a machine of few processors."""
    any_host.run()
    any_host.edit = lambda program: program.replace(
        b"sj_close_round\n}", b"rm() { echo rm >>$HOME/tools; }\nsj_close_round\n}"
    )
    any_host.run(Request(starts=(an_order(b"true"),)))
    assert not (any_host.home / "tools").exists()
    any_host.run(Request(starts=(an_order(b"true"), an_order(b"true"))))
    wait((any_host.home / "tools").exists)


def test_the_first_of_a_batch_run_while_the_last_are_prepared(host: Host) -> None:
    """The last is of the key of the first, which holds it by then."""
    ran = host.home / "ran"
    first = an_order(f"echo $SSHJOBS_JOB_ID >>{ran}".encode(), key="k")
    others = tuple(an_order(b"true") for _ in range(120))
    last = first._replace(job_id=new_job_id())
    nonce = os.urandom(8).hex()
    program = host.program(Request(starts=(first, *others, last)), nonce)
    whole = [line for line in program.splitlines() if line == b"sj_start_jobs"]
    assert len(whole) == 4
    assert program.index(b"\nsj_start_jobs\n") < program.index(last.job_id.encode())
    said = host.run(Request(starts=(first, *others, last)))
    claims = {(c.job_id, c.winner_id) for c in of(protocol.Claimed, said)}
    assert claims == {(first.job_id, first.job_id), (last.job_id, first.job_id)}
    host.end(first.job_id)
    assert ran.read_text().split() == [first.job_id]
    assert not (host.jobs / last.job_id).exists()


def test_secrets_stay_in_files_and_leave_with_the_start(host: Host) -> None:
    started = host.running(b"sleep 50 # COMMANDSECRET", env=(("T", b"ENVSECRET"),))
    lines = b"".join(line for _, line in all_processes("cmdline"))
    assert b"COMMANDSECRET" not in lines and b"ENVSECRET" not in lines
    texts = {
        path.name: path.read_bytes() for path in host.base.rglob("*") if path.is_file()
    }
    assert not any(b"ENVSECRET" in text for text in texts.values())
    assert [name for name, text in texts.items() if b"COMMAND" in text] == ["script"]
    host.kill(started.job_id)
    host.end(started.job_id)


def test_a_prepared_job_is_started_by_the_next_request(host: Host) -> None:
    order = prepared(host, b"exit 3")
    assert of(protocol.Prepared, host.check(order.job_id))
    host.run(Request(starts=(order,)))
    assert host.end(order.job_id).exit_status == 3


def test_a_launcher_that_ends_badly_takes_back_nothing_that_runs(host: Host) -> None:
    """As when it cannot fork on in the middle of a batch."""
    host.edit = lambda program: program.replace(
        b"\nexit 0\n'", b"\nsleep 0.2\nexit 2\n'"
    )
    orders = [an_order(b"sleep 30", env=(("TOKEN", b"s3cret"),)) for _ in range(3)]
    request = Request(starts=tuple(orders))
    assert host.program(request, "0" * 16).count(b"exit 2\n'") == 1
    said = host.run(request)
    assert not of(protocol.Refused, said)
    assert len(of(protocol.Started, said)) == 3


@pytest.mark.parametrize("count", [1, 3, 20])
def test_a_launcher_that_is_killed_is_started_once_more(
    any_host: Host, count: int
) -> None:
    mark = any_host.home / "killed"
    kill = f"[ -e {mark} ] || {{ : >{mark}; kill -9 $$; }}\n".encode()
    any_host.edit = lambda text: text.replace(b"sj_runner='", b"sj_runner='" + kill)
    orders = [an_order(b"exit 3") for _ in range(count)]
    said = any_host.run(Request(starts=tuple(orders)))
    assert mark.exists() and not of(protocol.Refused, said)
    for order in orders:
        assert any_host.end(order.job_id).exit_status == 3


def test_a_job_that_nothing_could_start_leaves_nothing(host: Host) -> None:
    host.edit = lambda program: program.replace(b"sj_runner='", b"sj_runner='exit 2\n")
    orders = [
        an_order(b"true", env=(("TOKEN", b"s3cret"),)),
        an_order(b"true", key="k"),
    ]
    said = host.run(Request(starts=tuple(orders)))
    assert {refused.job_id for refused in of(protocol.Refused, said)} == {
        order.job_id for order in orders
    }
    assert not of(protocol.Started, said)
    assert os.listdir(host.jobs) == []
    host.edit = lambda program: program
    for path in host.base.glob("runner-*"):
        path.unlink()
    assert host.end(host.start(b"true", key="k")).exit_status == 0


def test_functions_of_the_environment_replace_no_tool(
    host: Host, paths: dict[str, str]
) -> None:
    """A login shell may export functions, and bash as sh takes them over."""
    if "bash" not in paths:
        pytest.skip("no bash here")
    host = Host(host.home, paths["bash"])
    for name in ("ls", "printf", "cd", "kill", "mv"):
        host.env[f"BASH_FUNC_{name}%%"] = "() { echo no; }"
    assert host.end(host.start(b"exit 3")).exit_status == 3


def test_files_are_private_and_jobs_have_the_login_s_umask(host: Host) -> None:
    order = an_order(b"umask; touch $HOME/made")
    host.run(Request(starts=(order,)), umask=0)
    host.end(order.job_id)
    assert host.log(order.job_id) == b"0000\n"
    assert (host.home / "made").stat().st_mode & 0o777 == 0o666
    for path in host.base.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_exported_shell_options_change_nothing(host: Host) -> None:
    host.env |= {"SHELLOPTS": "errexit:noclobber:nounset:noglob", "IFS": "x"}
    assert host.end(host.start(b"exit 3")).exit_status == 3


def test_names_that_the_login_exports_reach_the_job(host: Host) -> None:
    names = {"id": "1", "d": "2", "key": "3", "CDPATH": "/", "base": "4"}
    host.env |= names
    job_id = host.start(b"echo $id $d $key $CDPATH $base")
    host.end(job_id)
    assert host.log(job_id) == b"1 2 3 / 4\n"
