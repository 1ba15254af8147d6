"""The Python API, against a real sshd."""

from __future__ import annotations

import doctest
import importlib
import inspect
import multiprocessing
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

import sshjobs
from sshjobs import Host, Job, errors
from sshjobs.api import pool as pools
from sshjobs.api.words import JobOptions
from sshjobs.model import Spec
from sshjobs.store import Store
from sshjobs.verbs.submit import JobRequest
from tests.cli import Cli, eventually

_MODULES = (
    "sshjobs",
    "sshjobs.api.host",
    "sshjobs.api.job",
    "sshjobs.api.crowd",
    "sshjobs.api.files",
)


@pytest.fixture
def gpu1(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """The host of the examples, as a program of the user sees it."""
    assert cli.sshd is not None
    cli.sshd.alias = cli.host = "gpu1"
    cli.sshd.write_client_config()
    for name, value in cli.env.items():
        if name.startswith("SSHJOBS_"):
            monkeypatch.setenv(name, value)
    with Host("gpu1") as host:
        yield host


@pytest.mark.quick
def test_to_import_it_alone_brings_no_module() -> None:
    """End line 4: under 1 ms; what it may cost is what it imports."""
    code = (
        "import sys; a = set(sys.modules); import sshjobs; print(set(sys.modules) - a)"
    )
    done = subprocess.run([sys.executable, "-c", code], stdout=-1, check=True)
    assert done.stdout.decode().strip() == "{'sshjobs'}"


def test_the_names_of_the_package_are_there() -> None:
    for name in sshjobs.__all__:
        assert getattr(sshjobs, name) is not None
    assert set(sshjobs.__all__) <= set(dir(sshjobs))
    with pytest.raises(AttributeError, match="no attribute 'hosts'"):
        sshjobs.hosts  # noqa: B018


@pytest.mark.parametrize("name", _MODULES)
def test_the_examples_of_its_pages_run(name: str, gpu1: Host, cli: Cli) -> None:
    module = importlib.import_module(name)
    names = {n: getattr(sshjobs, n) for n in sshjobs.__all__}
    tests = doctest.DocTestFinder().find(module, extraglobs=names)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    for test in tests:
        runner.run(test)
    assert runner.tries > 2 and not runner.failures
    assert cli.sshd is not None and (cli.sshd.connections, cli.sshd.drops) == (1, 0)


def test_help_shows_real_signatures() -> None:
    text = subprocess.run(
        [sys.executable, "-c", "import sshjobs; help(sshjobs.Host)"],
        stdout=-1,
        check=True,
    ).stdout.decode()
    assert "class Host(" in text and ">>> with Host(" in text
    assert "submit(self, command: 'Command', *, name: 'str | None' = None" in text
    assert "**kwargs" not in text and "*args" not in text


def test_submit_run_and_an_item_of_a_batch_take_the_same_arguments_of_a_job() -> None:
    def read_names(function: Callable[..., object]) -> set[str]:
        return {*inspect.signature(function).parameters} - {"self", "command"}

    names = {*JobOptions.__annotations__}
    assert read_names(Host.submit) == names
    assert read_names(Host.run) == names | {"check", "text", "stdout"}


def test_a_job_from_its_start_to_its_reaping(gpu1: Host, cli: Cli) -> None:
    job = gpu1.submit(
        'echo "$WHO in $PWD"; cat; exit 4',
        name="all",
        key="of/it",
        env={"WHO": b"me"},
        cwd=PurePosixPath("/tmp"),
        timeout="6h",
        stdin="some input\n",
    )
    assert (job.host, job.name, job.key, job.attempt) == ("gpu1", "all", "of/it", 1)
    with pytest.raises((errors.NotYet, errors.JobFailed)):
        job.check()
    assert job.wait() is job and job.is_final
    assert (job.state, job.exit_status, job.signal) == ("FAILED", 4, None)
    assert job.log() == b"me in /tmp\nsome input\n"
    assert job.log(tail=1, text=True) == "some input\n"
    [listed] = cli.ok("list", "--json").objects
    assert job.to_dict().items() <= listed.items()
    assert job.finished_at and job.started_at and job.finished_at >= job.started_at
    assert cli.directory(job.id).exists()
    job.reap()
    assert not cli.directory(job.id).exists()
    assert job.reap().log() == b"me in /tmp\nsome input\n"
    with pytest.raises(errors.JobFailed) as caught:
        job.check()
    assert caught.value.returncode == 4
    again = pickle.loads(pickle.dumps(caught.value))
    assert (again.job_id, again.returncode) == (job.id, 4)
    assert pickle.loads(pickle.dumps(job)) == job and len({job, job}) == 1


@pytest.mark.parametrize(
    ("command", "log"),
    [
        ("echo é $((1+1))", "é 2\n".encode()),
        (b"printf '\\377'", b"\xff"),
        (["printf", "%s|", "a b", b"\xff", Path("c d")], b"a b|\xff|c d|"),
        (("printf", "%s", "$HOME"), b"$HOME"),
        (PurePosixPath("/usr/bin/env"), b"SSHJOBS_ATTEMPT=1\n"),
        ([PurePosixPath("here"), "x"], b"here x\n"),
    ],
)
def test_commands_of_each_kind(
    command: Any, log: bytes, gpu1: Host, cli: Cli, place: Path
) -> None:
    program = place / "here"
    program.write_text("#!/bin/sh\necho here $1\n")
    program.chmod(0o755)
    job = gpu1.submit(command, cwd=place)
    assert log in job.wait().log()


def test_run_is_as_that_of_subprocess(gpu1: Host, place: Path) -> None:
    done = gpu1.run("echo out; echo err >&2; kill -9 $$")
    assert (done.returncode, done.stdout) == (137, b"out\nerr\n")
    assert done.state == "FAILED" and done.args.startswith("echo out")  # type: ignore
    with pytest.raises(errors.JobFailed, match="exit status 3"):
        gpu1.run("exit 3", check=True)
    with pytest.raises(errors.JobFailed):
        done.check_returncode()
    assert gpu1.run("sleep 60", timeout=timedelta(seconds=0.2)).returncode == 124
    with open(place / "log", "wb") as sink:
        text = gpu1.run(["seq", "20000"], stdout=sink, text=True).stdout
    assert (
        (place / "log").read_text()
        == text
        == "".join(f"{n + 1}\n" for n in range(20000))
    )


def test_an_interrupt_of_run_kills_the_job(gpu1: Host) -> None:
    class Sink:
        def write(self, data: bytes) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gpu1.run("echo a; sleep 60", stdout=Sink())  # type: ignore[call-overload]
    [job] = gpu1.find()
    assert job.state == "CANCELLED"


def test_follow_gives_each_line_once_as_it_comes(gpu1: Host, place: Path) -> None:
    go = place / "go"
    line = (
        f"echo one; while ! [ -e {go} ]; do sleep 0.1; done; printf 'two\\n\\351 end'"
    )
    job = gpu1.submit(line)
    lines = job.follow()
    assert next(lines) == b"one\n"
    go.touch()
    assert list(lines) == [b"two\n", b"\xe9 end"]
    assert job.state == "COMPLETED"
    assert list(job.follow(text=True)) == ["one\n", "two\n", "\ufffd end"]
    long = gpu1.submit("head -c 300000 /dev/zero; echo; echo x")
    parts = list(long.follow())
    assert b"".join(parts) == bytes(300000) + b"\nx\n" == long.log()
    assert max(map(len, parts)) < 1 << 19 and parts[-1] == b"x\n"


def test_a_reader_may_leave_a_log_it_follows(gpu1: Host) -> None:
    job = gpu1.submit("echo one; sleep 60")
    lines = job.follow()
    assert next(lines) == b"one\n"
    lines.close()  # type: ignore[attr-defined]
    assert job.kill().state == "CANCELLED"


_WRONG: list[Any] = [
    {"command": 5},
    {"command": []},
    {"command": ["a", 1]},
    {"command": None},
    {"command": ""},
    {"command": "a\0b"},
    {"command": {"a": 1}},
    {"command": bytearray(b"x")},
    {"command": "\ud800"},
    {"command": "true", "env": ["A=1"]},
    {"command": "true", "env": {"A": 1}},
    {"command": "true", "env": {1: "A"}},
    {"command": "true", "env": {"A B": "x"}},
    {"command": "true", "cwd": 3},
    {"command": "true", "timeout": "soon"},
    {"command": "true", "timeout": -1},
    {"command": "true", "timeout": True},
    {"command": "true", "timeout": b"6h"},
    {"command": "true", "timeout": timedelta(0)},
    {"command": "true", "name": 3},
    {"command": "true", "name": b"x"},
    {"command": "true", "key": 3},
    {"command": "true", "key": ""},
    {"command": "true", "once": 1, "key": "k"},
    {"command": "true", "once": True},
    {"command": "true", "login": "yes"},
    {"command": "true", "shell": ["sh"]},
    {"command": "true", "stdin": 3},
    {"command": "true", "stdin": Path("/nonexistent")},
    {"command": "true", "cleanup": "later"},
    {"command": "true", "cleanup": ["never"]},
    {"command": "true", "nme": "x"},
]


@pytest.mark.parametrize("item", _WRONG, ids=str)
def test_a_wrong_value_is_an_error_of_the_caller(
    item: Any, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSHJOBS_HOME", str(place / "home"))
    host = Host("local")
    with pytest.raises(errors.SpecError):
        host.submit_all([item])
    if "nme" not in item:
        with pytest.raises(errors.SpecError):
            host.submit(**item)
    assert not sshjobs.find()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Spec("true"),  # type: ignore[arg-type]
        lambda: Spec((b"a", "b")),  # type: ignore[arg-type]
        lambda: Spec(b"a", env={"A": b"1"}),  # type: ignore[arg-type]
        lambda: Spec(b"a", cwd=b"/"),  # type: ignore[arg-type]
        lambda: Spec(b"a", timeout="6h"),  # type: ignore[arg-type]
        lambda: Spec(b"a", stdin="x"),  # type: ignore[arg-type]
        lambda: Spec(b"a")._replace(shell=None),  # type: ignore[arg-type]
        lambda: JobRequest(b"a"),  # type: ignore[arg-type]
        lambda: JobRequest(Spec(b"a"), name=None),  # type: ignore[arg-type]
        lambda: JobRequest(Spec(b"a"), once="yes"),  # type: ignore[arg-type]
        lambda: Host(5),  # type: ignore[arg-type]
        lambda: Host("-oProxyCommand=x"),
        lambda: Host("a", nosuch=1),
        lambda: Host("a", poll_interval="often"),
        lambda: sshjobs.find(state="DONE"),
        lambda: sshjobs.wait([5]),  # type: ignore[list-item]
        lambda: sshjobs.wait([], return_when="soon"),
    ],
)
def test_records_check_their_types(make: Callable[[], object]) -> None:
    """Each was a TypeError from the depths, or went through, before."""
    with pytest.raises(errors.SpecError):
        make()


def test_one_wrong_item_of_a_batch_leaves_nothing(gpu1: Host) -> None:
    with pytest.raises(errors.SpecError, match="job 2: "):
        gpu1.submit_all(["true", {"command": "true", "cwd": 1}])
    with pytest.raises(errors.SpecError):
        gpu1.submit_all("true")
    assert not sshjobs.find()


def test_a_batch_says_which_jobs_were_refused(gpu1: Host) -> None:
    with pytest.raises(errors.SomeNotStarted, match="job 2: .*no such shell") as caught:
        gpu1.submit_all(["echo a", {"command": "x", "shell": "nosuch"}, "echo b"])
    first, none, last = caught.value.jobs
    assert none is None and list(caught.value.refused) == [1]
    assert isinstance(first, Job) and first.wait().log() == b"a\n"
    assert isinstance(last, Job) and last.wait().log() == b"b\n"


def test_another_command_under_a_key_is_warned_of(gpu1: Host) -> None:
    gpu1.run("echo 1", key="k")
    with pytest.warns(UserWarning, match="another command"):
        assert gpu1.run("echo 2", key="k").stdout == b"1\n"


def test_jobs_are_waited_for_as_futures_are(gpu1: Host, place: Path) -> None:
    hold = f"while ! [ -e {place}/go ]; do sleep 0.1; done"
    bad, slow = gpu1.submit_all(["exit 1", hold])
    assert sshjobs.wait([]) == (set(), set())
    first = sshjobs.wait([slow, bad], return_when=sshjobs.FIRST_EXCEPTION)
    assert first == ({bad}, {slow})
    assert sshjobs.wait([slow], timeout=0.1) == (set(), {slow})
    with pytest.raises(TimeoutError):
        slow.wait(timeout=0.1)
    with pytest.raises(errors.WaitTimeout):
        list(sshjobs.as_completed([bad, slow], timeout=0.1))
    (place / "go").touch()
    assert sshjobs.wait([slow, bad, slow]).done == {bad, slow}


def test_several_hosts_are_watched_side_by_side(
    gpu1: Host, cli: Cli, place: Path
) -> None:
    """One that cannot be asked delays no other, and is an error at the end."""
    local = Host("local", remote_base_dir=str(place / "local"))
    jobs = [local.submit(["echo", "l"]), gpu1.submit("echo g")]
    assert {job.log() for job in sshjobs.as_completed(jobs)} == {b"l\n", b"g\n"}
    gone = Host("gpu1", wait_host=1).submit("sleep 60")
    here = local.submit(["echo", "x"])
    assert cli.sshd is not None
    cli.ok("disconnect", "gpu1")
    cli.sshd.stop()
    seen = []
    with pytest.raises(errors.HostUnreachable):
        for job in sshjobs.as_completed([gone, here]):
            seen.append(job)
    assert seen == [here] and gone.state == "RUNNING"
    cli.sshd.start()
    eventually(lambda: not cli("poll", gone.id).status)
    gone.kill()


def test_items_of_a_batch_may_come_from_jobs_as_they_end(gpu1: Host) -> None:
    """A call inside a call of the same thread has a store of its own."""
    first = gpu1.submit_all(f"echo {n}" for n in range(5))
    second = gpu1.submit_all(
        ["echo", "after", job.log(text=True).strip()]
        for job in sshjobs.as_completed(first)
    )
    logs = sorted(job.wait().log(text=True) for job in second)
    assert logs == [f"after {n}\n" for n in range(5)]


def test_threads_share_a_host_and_its_jobs(gpu1: Host, cli: Cli) -> None:
    shared = gpu1.submit("echo shared")

    def work(number: int) -> tuple[bytes, bytes]:
        job = gpu1.submit(["echo", str(number)])
        return job.wait().log(), shared.wait().log()

    with ThreadPoolExecutor(16) as crowd:
        found = list(crowd.map(work, range(40)))
    assert found == [(b"%d\n" % n, b"shared\n") for n in range(40)]
    assert cli.sshd is not None and (cli.sshd.connections, cli.sshd.drops) == (1, 0)
    assert len(gpu1._pool._free) <= pools._KEPT


def test_threads_that_open_stores_leave_the_umask_as_it_is(place: Path) -> None:
    """It is the whole process's: threads that changed it at once left it so."""
    umask = os.umask(0o022)
    try:
        with ThreadPoolExecutor(16) as crowd:
            for store in crowd.map(Store, [str(place / "home")] * 400):
                store.close()
        assert os.umask(0o022) == 0o022
    finally:
        os.umask(umask)
    for path in (place / "home").iterdir():
        assert path.stat().st_mode & 0o077 == 0


def _submit_after_fork(host: Host, job: Job, out: Any) -> None:
    out.put((job.wait().log(), host.run("echo child").stdout))


def test_a_forked_process_goes_on_with_the_same_objects(gpu1: Host) -> None:
    fork = multiprocessing.get_context("fork")
    job = gpu1.submit("echo parent")
    results = fork.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork with threads
        child = fork.Process(target=_submit_after_fork, args=(gpu1, job, results))
        child.start()
    assert job.wait().log() == b"parent\n"
    assert results.get() == (b"parent\n", b"child\n")
    child.join()
    assert child.exitcode == 0 and job.poll().state == "COMPLETED"


def test_the_environment_counts_as_it_is_when_a_host_is_made(
    gpu1: Host, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = gpu1.submit("true")
    monkeypatch.setenv("SSHJOBS_HOME", str(place / "other"))
    assert not sshjobs.find()
    assert job.wait().state == "COMPLETED" and gpu1.submit("true") != job


def test_jobs_are_found_by_what_they_are_called(gpu1: Host) -> None:
    jobs = gpu1.submit_all({"command": "true", "name": f"n{n}"} for n in range(3))
    assert sshjobs.find() == jobs == gpu1.find()
    assert sshjobs.find(name="n1") == [jobs[1]] == sshjobs.find(jobs[1].id)
    with pytest.raises(errors.JobNotFound):
        sshjobs.find("nosuchjob")
    sshjobs.wait(jobs)
    assert sshjobs.find(state="COMPLETED") == jobs and not sshjobs.find(state="LOST")


def test_nothing_is_left_open_when_a_host_is_closed(gpu1: Host, cli: Cli) -> None:
    def mine() -> list[str]:
        found = []
        for fd in os.listdir("/proc/self/fd"):
            try:
                found.append(os.readlink(f"/proc/self/fd/{fd}"))
            except FileNotFoundError:
                continue
        return [path for path in found if str(cli.home) in path]

    with Host("gpu1") as host:
        job = host.submit("echo a")
        list(sshjobs.as_completed([job]))
        assert mine()
    eventually(lambda: not mine())  # a watch ends within a second
    assert job.log() == b"a\n"  # opened anew


_MANY = """
from sshjobs import Host, as_completed
def commands():
    for n in range(1000):
        yield ["echo", str(n)]
jobs = Host("gpu1").submit_all(commands())
ended = list(as_completed(jobs))
assert len(ended) == len(set(ended)) == 1000
assert {job.state for job in ended} == {"COMPLETED"}
# Not ru_maxrss, which begins with that of the parent.
[most] = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(most.split()[1])
"""


def test_a_thousand_jobs_need_one_connection_and_little_memory(
    gpu1: Host, cli: Cli
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _MANY], env=cli.env, stdout=-1, check=True, timeout=250
    )
    assert int(done.stdout) < 60 * 1024  # KiB
    assert cli.sshd is not None and (cli.sshd.connections, cli.sshd.drops) == (1, 0)


def test_a_reader_that_leaves_stops_its_watchers(gpu1: Host, place: Path) -> None:
    local = Host("local", remote_base_dir=str(place / "local"))
    jobs = [
        gpu1.submit("sleep 60"),
        local.submit(["sleep", "60"]),
        local.submit(["true"]),
    ]
    before = threading.active_count()
    ends = sshjobs.as_completed(jobs)
    assert next(ends) == jobs[2]  # the only one that ends
    ends.close()  # type: ignore[attr-defined]
    eventually(lambda: threading.active_count() <= before)
    for job in jobs[:2]:
        job.kill()
