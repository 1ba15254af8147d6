"""What the program does on a host: real shells, real processes, a home of its own."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import pytest

from sshjobs import protocol
from sshjobs.model import Spec, new_job_id
from sshjobs.protocol import Check, LogWant, Reap, Reply, Request, Start
from sshjobs.protocol.watch_reply import WatchReply
from sshjobs.rounds.checksum import Sums
from tests.cli import all_processes

E = TypeVar("E")
PATIENCE = 20.0
#: The program looks for its tools in the system's directories first.
SYSTEM_PATH = b"PATH=/usr/bin:/bin:"


class Host:
    """One home, and the shell that serves requests there.

    Args:
        home: The login directory.
        path: Where tools are looked for, ``sh`` among them.
    """

    def __init__(self, home: Path, path: str = "/usr/bin:/bin") -> None:
        self.home = home
        self.path = path
        self.base = home / ".sshjobs"
        self.jobs = self.base / "jobs"
        self.env = {"HOME": str(home), "PATH": path, "SHELL": "/bin/sh"}
        self.edit: Callable[[bytes], bytes] = lambda program: program

    def program(self, request: Request, nonce: str) -> bytes:
        """Return the program, made to look for tools in ``path`` alone."""
        program = protocol.build(request, nonce)
        if not self.path.startswith("/usr/bin"):
            assert SYSTEM_PATH in program
            program = program.replace(SYSTEM_PATH, b"PATH=")
        return self.edit(program)

    def run(
        self, request: Request = Request(), umask: int = 0o022
    ) -> list[protocol.Event]:
        """Serve a request and return what was said."""
        nonce = os.urandom(8).hex()
        ran = subprocess.run(
            [shutil.which("sh", path=self.path) or "sh"],
            input=self.program(request, nonce),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.home,
            env=self.env,
            umask=umask,
            timeout=60,
            check=False,
        )
        reply = Reply(nonce)
        events = reply.feed(ran.stdout)
        assert reply.ended, (events, ran.stdout[-500:], ran.stderr[-500:])
        return events

    def start(self, command: bytes | tuple[bytes, ...], **how: Any) -> str:
        """Start a job and return its id."""
        start = an_order(command, **how)
        said = self.run(Request(starts=(start,)))
        assert not of(protocol.Refused, said), said
        return start.job_id

    def running(
        self, command: bytes | tuple[bytes, ...], **how: Any
    ) -> protocol.Started:
        """Start a job and return how it started, once its shell is under way."""
        job_id = self.start(
            b"echo up\n" + command if isinstance(command, bytes) else command, **how
        )
        started = self.until(
            protocol.Started, Request(checks=(Check(job_id, None, ""),))
        )
        log = self.jobs / job_id / "log"
        wait(lambda: log.exists() and log.stat().st_size > 0)
        return started

    def check(
        self, job_id: str, pid: int | None = None, start: str = ""
    ) -> list[protocol.Event]:
        """Ask how a job does, and return what was said of it."""
        said = self.run(Request(checks=(Check(job_id, pid, start),)))
        return [event for event in said if getattr(event, "job_id", "") == job_id]

    def until(self, kind: type[E], request: Request) -> E:
        """Repeat a request until something of a kind is said."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = of(kind, self.run(request))
            if found:
                return found[0]
            time.sleep(0.03)
        raise AssertionError(f"no {kind.__name__} within {PATIENCE} s")

    def end(self, job_id: str) -> protocol.Ended:
        """Wait for the end of a job."""
        return self.until(protocol.Ended, Request(checks=(Check(job_id, None, ""),)))

    def log(self, job_id: str, offset: int = 0, limit: int = 1 << 30) -> bytes:
        """Bring a log."""
        said = self.run(Request(logs=(LogWant(job_id, offset, limit),)))
        data = b"".join(event.data for event in of(protocol.LogData, said))
        assert of(protocol.LogEnd, said)[0].length == len(data)
        return data

    def fetch(
        self, want: LogWant, word: bytes = protocol.GO, base: str = "~/.sshjobs"
    ) -> tuple[bool, bytes]:
        """Have a log fetched; return whether the fence came, and what came after it."""
        program, fence = protocol.build_fetch(base, want, os.urandom(8).hex())
        if not self.path.startswith("/usr/bin"):
            program = program.replace(SYSTEM_PATH, b"PATH=")
        with subprocess.Popen(
            [shutil.which("sh", path=self.path) or "sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.home,
            env=self.env,
        ) as ran:
            assert ran.stdin and ran.stdout and ran.stderr
            ran.stdin.write(program)
            ran.stdin.flush()
            ready = ran.stderr.readline() == b"ready\n"
            out, _ = ran.communicate(word, timeout=60)
        assert not ready or out.startswith(fence), out
        return ready, out[len(fence) :] if ready else out

    def kill(self, *ids: str) -> list[protocol.Event]:
        """Ask for the end of jobs."""
        return self.run(Request(kills=tuple((job_id, True) for job_id in ids)))

    def kill_runner(self, job_id: str) -> None:
        """Kill the runner of a job, if it has said who it is."""
        with suppress(FileNotFoundError):
            run = (self.jobs / job_id / "run").read_text()
            for pid in map(int, re.findall(r"^pid=(\d+)$", run, re.M)):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                wait(lambda: gone(pid))

    def marked(self) -> dict[int, str]:
        """Return the living processes of jobs in this home: pid and command line."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                line = _mine(entry, str(self.base))
                if line is not None:
                    found[int(entry.name)] = line
        return found


def _mine(entry: Path, base: str) -> str | None:
    try:
        environ = (entry / "environ").read_bytes().split(b"\0")
        state = (entry / "stat").read_text(errors="replace").rpartition(") ")[2][0]
        line = (
            (entry / "cmdline")
            .read_bytes()
            .replace(b"\0", b" ")
            .decode(errors="replace")
        )
        cwd = os.readlink(entry / "cwd")
    except OSError:
        return None
    marks = [word for word in environ if word.startswith(b"SJTEST=")]
    if state in "ZX":
        return None
    return line if marks == [b"SJTEST=" + base.encode()] or cwd == base else None


def an_order(
    command: bytes | tuple[bytes, ...],
    key: str = "",
    once: bool = False,
    name: str = "",
    job_id: str = "",
    **spec: Any,
) -> Start:
    """Return an order to start a job."""
    spec.setdefault("kill_grace", 1.0)
    return Start(job_id or new_job_id(), Spec(command=command, **spec), key, once, name)


def reap_of(job_id: str, data: bytes) -> Reap:
    """Return the wish to reap a job of whose log these bytes are home."""
    sums = Sums()
    sums.update(data)
    return Reap(job_id, sums.length, sums.cksum, sums.sha256)


def of(kind: type[E], said: list[protocol.Event]) -> list[E]:
    """Return what was said of one kind."""
    return [event for event in said if isinstance(event, kind)]


def wait(ready: Callable[[], object]) -> None:
    """Wait until something holds."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def gone(pid: int) -> bool:
    """Tell whether a process has ended."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(") ")[2][0] in "ZX"


def shells(folder: Path) -> dict[str, str]:
    """Return the PATHs under which ``sh`` is each shell that this machine has."""
    found = {}
    for name in ("dash", "bash", "ksh"):
        tool = shutil.which(name)
        if tool:
            (folder / name).mkdir()
            (folder / name / "sh").symlink_to(tool)
            found[name] = f"{folder / name}:/usr/bin:/bin"
    busybox = shutil.which("busybox")
    if busybox:
        (folder / "busybox").mkdir()
        subprocess.run([busybox, "--install", "-s", folder / "busybox"], check=True)
        found["busybox"] = str(folder / "busybox")
    return found


@pytest.fixture(scope="session")
def paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return shells(tmp_path_factory.mktemp("shells"))


def end_all(host: Host) -> None:
    """Kill what still runs of the jobs of a host."""
    for pid in host.marked():
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


@pytest.fixture(params=["dash", "bash", "busybox", "ksh"])
def any_host(
    request: pytest.FixtureRequest, tmp_path: Path, paths: dict[str, str]
) -> Iterator[Host]:
    """A host of each shell."""
    if request.param not in paths:
        pytest.skip(f"no {request.param} here")
    host = Host(tmp_path, paths[request.param])
    host.env["SJTEST"] = str(host.base)
    yield host
    end_all(host)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host whose ``sh`` is this machine's."""
    host = Host(tmp_path)
    host.env["SJTEST"] = str(host.base)
    yield host
    end_all(host)


# -- one job, on every shell -------------------------------------------------------

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


def test_a_job_that_has_ended_before_it_is_waited_for(any_host: Host) -> None:
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


def test_a_job_starts_and_ends_as_files_say(any_host: Host) -> None:
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


def test_what_a_job_gets(any_host: Host) -> None:
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
    ours = {b"SSHJOBS_JOB_ID", b"SSHJOBS_KEY", b"SSHJOBS_ATTEMPT"}
    assert got.keys() <= known | ours | {b"A_B", b"PATH"}
    assert not (any_host.jobs / job_id / "env").exists()


def test_an_environment_of_the_runners_own_names(any_host: Host) -> None:
    env = (("IFS", b"/"), ("sj_id", b"x"), ("sj_sh", b"y"), ("sj_setsid", b"z"))
    job_id = any_host.start(b"env -0", env=env, key="k")
    any_host.end(job_id)
    given = set(any_host.log(job_id).split(b"\0"))
    assert {f"SSHJOBS_JOB_ID={job_id}".encode(), b"SSHJOBS_KEY=k"} <= given
    assert {b"sj_id=x", b"sj_sh=y", b"sj_setsid=z"} <= given


def test_nothing_at_standard_input_is_dev_null(any_host: Host) -> None:
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


def test_a_directory_that_is_missing(any_host: Host) -> None:
    ended = any_host.end(any_host.start(b"true", cwd="/no/such%\n"))
    assert ended.exit_status == 126
    assert ended.reason == "cwd: no such directory: /no/such%\\n"


def test_a_shell_that_is_missing(any_host: Host) -> None:
    order = an_order(b"true", shell="no-such-shell")
    refused = of(protocol.Refused, any_host.run(Request(starts=(order,))))
    assert [(r.job_id, r.code) for r in refused] == [(order.job_id, "ESHELL")]
    assert not (any_host.jobs / order.job_id).exists()


def test_a_shell_of_choice(host: Host) -> None:
    if not shutil.which("bash"):
        pytest.skip("no bash here")
    job_id = host.start(b"echo ${BASH_VERSION:+yes} $0", shell="bash")
    host.end(job_id)
    assert host.log(job_id) == f"yes {host.jobs / job_id}/script\n".encode()


def test_a_job_is_a_session_apart(any_host: Host) -> None:
    """``kill 0`` in a job hits the job, and not who records its end."""
    job_id = any_host.start(b"trap : TERM; kill 0; echo still; exit 7")
    assert any_host.end(job_id).exit_status == 7
    started = any_host.running(b"sleep 100")
    assert os.getsid(started.pgid) == started.pgid == os.getpgid(started.pgid)
    assert os.getsid(started.pid) != started.pgid


# -- exactly once ------------------------------------------------------------------


def test_repeating_runs_nothing_twice(any_host: Host) -> None:
    orders = tuple(an_order(b"echo x >>$HOME/ran; sleep 0.1") for _ in range(8))
    for _ in range(3):
        any_host.run(Request(starts=orders))
    for order in orders:
        any_host.end(order.job_id)
    any_host.run(Request(starts=orders))
    assert (any_host.home / "ran").read_text() == "x\n" * 8


def test_killed_launchers_and_racing_ones(host: Host) -> None:
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


def test_a_batch_answers_for_each(host: Host) -> None:
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


def test_the_first_of_a_batch_run_while_the_last_are_prepared(host: Host) -> None:
    """The last is of the key of the first, which holds it by then."""
    ran = host.home / "ran"
    first = an_order(f"echo $SSHJOBS_JOB_ID >>{ran}".encode(), key="k")
    others = tuple(an_order(b"true") for _ in range(120))
    last = first._replace(job_id=new_job_id())
    nonce = os.urandom(8).hex()
    program = host.program(Request(starts=(first, *others, last)), nonce)
    whole = [line for line in program.splitlines() if line == b"sj_start"]
    assert len(whole) == 2
    assert program.index(b"\nsj_start\n") < program.index(last.job_id.encode())
    said = host.run(Request(starts=(first, *others, last)))
    claims = {(c.job_id, c.winner_id) for c in of(protocol.Claimed, said)}
    assert claims == {(first.job_id, first.job_id), (last.job_id, first.job_id)}
    host.end(first.job_id)
    assert ran.read_text().split() == [first.job_id]
    assert not (host.jobs / last.job_id).exists()


def test_secrets_stay_in_files_and_leave(host: Host) -> None:
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


# -- ends that are asked for -------------------------------------------------------

STUBBORN = b"""
trap '' TERM
setsid sh -c 'trap "" TERM; echo child; while :; do sleep 100; done' &
(sleep 100 & sleep 100) &
while :; do sleep 100; done
"""


def test_kill_ends_the_tree(any_host: Host) -> None:
    started = any_host.running(b"setsid sleep 100 & sleep 101 & sleep 102")
    other = any_host.running(b"sleep 103")
    said = any_host.kill(started.job_id)
    assert of(protocol.KillSent, said)
    ended = any_host.end(started.job_id)
    assert (ended.cause, ended.signal) == ("cancelled", signal.SIGTERM)
    assert sorted(
        line for line in any_host.marked().values() if line.startswith("sleep")
    ) == ["sleep 103 "]
    assert not gone(other.pgid)


def test_kill_ends_who_does_not_want_to(any_host: Host) -> None:
    started = any_host.running(STUBBORN, kill_grace=0.5)
    wait(lambda: b"child" in any_host.log(started.job_id))
    any_host.kill(started.job_id)
    ended = any_host.end(started.job_id)
    assert (ended.cause, ended.signal) == ("cancelled", signal.SIGKILL)
    wait(lambda: not any_host.marked())


def test_kill_wakes_a_runner_that_was_stopped(any_host: Host) -> None:
    started = any_host.running(b"sleep 100")
    os.kill(started.pid, signal.SIGSTOP)
    any_host.kill(started.job_id)
    assert any_host.end(started.job_id).cause == "cancelled"


def slow_child(program: bytes) -> bytes:
    """Return the program with time between the fork of a job and its first exec."""
    return program.replace(b"sj_child() {\n", b"sj_child() {\nsleep 0.7\n")


def dying_runner(program: bytes) -> bytes:
    """Return the program whose runners die before they note whom they have forked."""
    return slow_child(program).replace(
        b"sj_child &\n", b'sj_child &\nkill -9 "$sj_pid"\n'
    )


def slow_runner(program: bytes) -> bytes:
    """Return the program with time between a claim and the fork of the job."""
    return program.replace(b"sj_place ||", b"sleep 0.7\nsj_place ||")


@pytest.mark.parametrize("edit", [slow_child, slow_runner])
def test_kill_before_the_exec(any_host: Host, edit: Callable[[bytes], bytes]) -> None:
    """The job has no group of its own yet and no mark, or there is only its runner."""
    any_host.edit = edit
    job_id = any_host.start(b"sleep 100")
    any_host.kill(job_id)
    ended = any_host.end(job_id)
    assert (ended.cause, ended.signal) == ("cancelled", signal.SIGTERM)
    assert ended.reason == ""
    wait(lambda: not any_host.marked())


@pytest.mark.parametrize("edit", [slow_child, dying_runner])
def test_a_runner_that_dies_between_fork_and_exec(
    any_host: Host, edit: Callable[[bytes], bytes]
) -> None:
    any_host.edit = edit
    job_id = any_host.start(b"echo up; sleep 100")
    run = (any_host.jobs / job_id / "run").read_text()
    assert ("pgid=" in run) == (edit is slow_child)
    any_host.kill_runner(job_id)
    unsupervised = [protocol.Unsupervised(job_id)]
    assert any_host.check(job_id)[1:] == unsupervised
    wait(lambda: any_host.log(job_id) == b"up\n")
    assert any_host.check(job_id)[1:] == unsupervised
    any_host.kill(job_id)
    wait(lambda: not any_host.marked())


@pytest.mark.parametrize("edit", [slow_child, dying_runner])
def test_kill_of_what_lost_its_runner_between_fork_and_exec(
    any_host: Host, edit: Callable[[bytes], bytes]
) -> None:
    any_host.edit = edit
    job_id = any_host.start(b"sleep 100")
    any_host.kill_runner(job_id)
    any_host.kill(job_id)
    wait(lambda: not any_host.marked())
    assert any_host.end(job_id).cause == "cancelled"


def test_a_runner_that_died_before_its_fork(host: Host) -> None:
    """Nothing is known of a child: it is waited for as long as one might yet show."""
    host.edit = lambda program: program.replace(
        b"sj_child &\n", b'kill -9 "$sj_pid"\nsj_child &\n'
    )
    job_id = host.start(b"true")
    assert host.check(job_id)[1:] == [protocol.Unsupervised(job_id)]
    check = Check(job_id, None, "")
    assert of(protocol.Lost, host.run(Request(checks=(check,), start_grace=0.0)))


def test_kill_of_what_has_ended_changes_nothing(host: Host) -> None:
    job_id = host.start(b"exit 5")
    before = host.end(job_id)
    said = host.kill(job_id)
    assert of(protocol.KillSent, said)
    assert host.end(job_id) == before


def test_kill_before_the_start(host: Host) -> None:
    order = an_order(b"echo x >>$HOME/ran")
    assert of(protocol.KillMissing, host.kill(order.job_id))
    refused = of(protocol.Refused, host.run(Request(starts=(order,))))
    assert refused[0].code == "EGONE"
    assert not (host.home / "ran").exists()


def test_kill_of_a_prepared_job(host: Host) -> None:
    order = prepared(host, b"echo x >>$HOME/ran")
    assert of(protocol.Prepared, host.check(order.job_id))
    host.kill(order.job_id)
    ended = host.end(order.job_id)
    assert (ended.cause, ended.exit_status) == ("cancelled", None)
    host.run(Request(starts=(order,)))
    assert not (host.home / "ran").exists()


def test_kill_of_a_prepared_batch(host: Host) -> None:
    orders = tuple(an_order(b"echo x >>$HOME/ran") for _ in range(40))
    host.edit = lambda program: program.replace(b"sj_detach s", b"true")
    host.run(Request(starts=orders))
    host.edit = lambda program: program
    host.kill(*(order.job_id for order in orders))
    wait(lambda: all((host.jobs / order.job_id / "exit").exists() for order in orders))
    for order in orders:
        said = host.check(order.job_id)
        assert [event.pgid for event in of(protocol.Started, said)] == [0]
        assert of(protocol.Ended, said)[0].cause == "cancelled"
    assert not (host.home / "ran").exists()


def prepared(host: Host, command: bytes) -> Start:
    """Prepare a job as a launcher does that dies before it starts it."""
    order = an_order(command)
    host.edit = lambda program: program.replace(b"sj_detach s", b"true")
    host.run(Request(starts=(order,)))
    host.edit = lambda program: program
    return order


def test_a_prepared_job_is_started_by_the_next(host: Host) -> None:
    order = prepared(host, b"exit 3")
    assert of(protocol.Prepared, host.check(order.job_id))
    host.run(Request(starts=(order,)))
    assert host.end(order.job_id).exit_status == 3


def test_the_killer_may_die(host: Host) -> None:
    """The runner does its work, so that a cancelled job ends all the same."""
    started = host.running(b"trap '' TERM; while :; do sleep 100; done", kill_grace=0.3)
    (host.jobs / started.job_id / "cancel").touch()
    os.kill(started.pgid, signal.SIGKILL)
    assert host.end(started.job_id).cause == "cancelled"
    wait(lambda: not host.marked())


def test_timeout_is_kept_on_the_host(any_host: Host) -> None:
    began = time.monotonic()
    job_id = any_host.start(b"setsid sleep 100 & sleep 101", timeout=0.4)
    ended = any_host.end(job_id)
    assert (ended.cause, ended.signal) == ("timeout", signal.SIGTERM)
    assert time.monotonic() - began >= 0.4
    wait(lambda: not any_host.marked())


def test_a_job_in_time_leaves_no_clock_behind(any_host: Host) -> None:
    orders = tuple(an_order(b"exit 2", timeout=500) for _ in range(10))
    any_host.run(Request(starts=orders))
    for order in orders:
        ended = any_host.end(order.job_id)
        assert (ended.exit_status, ended.cause) == (2, "")
    wait(lambda: not any_host.marked())


def test_what_is_left_of_the_group_ends_first(any_host: Host) -> None:
    job_id = any_host.start(b"(sleep 0.1; sleep 100) & sleep 100 & echo x; exit 6")
    assert any_host.end(job_id).exit_status == 6
    assert not any_host.marked()


def test_leftovers_that_ignore_term(any_host: Host) -> None:
    job_id = any_host.start(
        b"(trap '' TERM; while :; do sleep 1; done) & sleep 0.2; exit 6", kill_grace=0.3
    )
    assert any_host.end(job_id).exit_status == 6
    assert not any_host.marked()


# -- evidence ----------------------------------------------------------------------


def edit_run(host: Host, job_id: str, name: str, value: str) -> None:
    """Edit a line of ``run`` as sed -i does: a new file under the old name."""
    path = host.jobs / job_id / "run"
    lines = path.read_text().splitlines()
    changed = [f"{name}={value}" if li.startswith(f"{name}=") else li for li in lines]
    (path.parent / "run.new").write_text("\n".join(changed) + "\n")
    (path.parent / "run.new").rename(path)


def forget_exit(host: Host, job_id: str) -> None:
    """Leave the end in `run` alone, which counts before its second name is there."""
    path = host.jobs / job_id / "exit"
    wait(path.exists)
    path.unlink()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pid", ""),
        ("pid", "9" * 30),
        ("pgid", ""),
        ("started_at", "x"),
        ("status", "x"),
        ("signal", "-9"),
        ("finished_at", ""),
        ("log_bytes", "x"),
    ],
)
def test_a_spoilt_record_spoils_no_reply(any_host: Host, name: str, value: str) -> None:
    job_id = any_host.start(b"echo x")
    any_host.end(job_id)
    forget_exit(any_host, job_id)
    edit_run(any_host, job_id, name, value)
    said = any_host.check(job_id)
    assert [event.job_id for event in of(protocol.Ended, said)] == [job_id]


def test_a_log_may_be_larger_than_31_bits(any_host: Host) -> None:
    job_id = any_host.start(b"echo x")
    any_host.end(job_id)
    forget_exit(any_host, job_id)
    edit_run(any_host, job_id, "log_bytes", "3000000001")
    os.truncate(any_host.jobs / job_id / "log", 3000000001)
    assert any_host.end(job_id).log_bytes == 3000000001
    want = LogWant(job_id, 3000000000, 65536)
    assert of(protocol.LogEnd, any_host.run(Request(logs=(want,)))) == [
        protocol.LogEnd(job_id, 3000000000, 1, 3000000001)
    ]


def test_lost_when_all_is_gone(any_host: Host) -> None:
    started = any_host.running(b"sleep 100")
    about = (started.job_id, started.pid, started.start)
    assert any_host.check(*about) == []
    os.kill(started.pid, signal.SIGKILL)
    wait(lambda: gone(started.pid))
    assert any_host.check(*about) == [protocol.Unsupervised(started.job_id)]
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: gone(started.pgid))
    lost = any_host.check(*about)
    assert [type(event) for event in lost] == [protocol.Lost]
    assert any_host.check(*about) == lost
    assert (any_host.jobs / started.job_id / "lost").exists()


def test_lost_when_its_record_is_gone(any_host: Host) -> None:
    """A disk that loses its power can forget a claim that was told of."""
    ran = any_host.home / "ran"
    order = an_order(b"echo x >>%s; sleep 100" % bytes(ran))
    any_host.run(Request(starts=(order,)))
    wait(ran.exists)
    job_id, folder = order.job_id, any_host.jobs / order.job_id
    started = of(protocol.Started, any_host.check(job_id))[0]
    (folder / "run").unlink()
    checks = (Check(job_id, started.pid, started.start),)
    young = any_host.run(Request(checks=checks))
    assert of(protocol.Prepared, young) and not of(protocol.Lost, young)
    alive = any_host.run(Request(checks=checks, start_grace=0.0))
    assert of(protocol.Unsupervised, alive) and not of(protocol.Lost, alive)
    os.kill(started.pid, signal.SIGKILL)
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: gone(started.pid) and not any_host.marked())
    lost = of(protocol.Lost, any_host.run(Request(checks=checks, start_grace=0.0)))
    assert lost and "record vanished" in lost[0].reason
    again = any_host.run(Request(starts=(order,)))
    assert of(protocol.Lost, again) and ran.read_text() == "x\n"


def test_lost_by_a_reboot(host: Host) -> None:
    started = host.running(b"sleep 100")
    edit_run(host, started.job_id, "boot_id", "another")
    lost = of(protocol.Lost, host.check(started.job_id, started.pid, started.start))
    assert lost and "reboot" in lost[0].reason
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: gone(started.pid))
    again = host.check(started.job_id, started.pid, started.start)
    assert of(protocol.Lost, again) and not of(protocol.Ended, again)


def test_a_pid_of_another_time_is_somebody_else(host: Host) -> None:
    started = host.running(b"sleep 100")
    os.kill(started.pid, signal.SIGKILL)
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: gone(started.pgid))
    edit_run(host, started.job_id, "pid", str(os.getpid()))
    assert of(protocol.Lost, host.check(started.job_id, started.pid, started.start))


def test_no_judgement_of_another_machine(host: Host) -> None:
    started = host.running(b"sleep 100")
    edit_run(host, started.job_id, "machine", "node7-1")
    edit_run(host, started.job_id, "node", "node7")
    os.kill(started.pid, signal.SIGKILL)
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: gone(started.pid))
    said = host.check(started.job_id, started.pid, started.start)
    assert said == [protocol.Elsewhere(started.job_id, "node7")]


def test_a_lost_job_that_was_cancelled(host: Host) -> None:
    started = host.running(b"sleep 100")
    os.kill(started.pid, signal.SIGKILL)
    wait(lambda: gone(started.pid))
    host.kill(started.job_id)
    ended = host.end(started.job_id)
    assert (ended.cause, ended.exit_status, ended.signal) == ("cancelled", None, None)


def test_a_claim_without_a_record(host: Host) -> None:
    """A runner that was killed between its claim and its first line."""
    order = prepared(host, b"true")
    (host.jobs / order.job_id / "run").touch()
    check = Check(order.job_id, None, "")
    assert of(protocol.Prepared, host.run(Request(checks=(check,))))
    said = host.run(Request(checks=(check,), start_grace=0.0))
    assert of(protocol.Lost, said)


def test_a_claim_without_a_record_of_a_job_started_anew(host: Host) -> None:
    """The grace runs from the last start, not from when it was prepared."""
    order = prepared(host, b"true")
    spec = host.jobs / order.job_id / "spec"
    spec.write_text(re.sub(r"sj_at=\d+", "sj_at=1000000000", spec.read_text()))
    check = Check(order.job_id, None, "")
    host.edit = lambda program: program.replace(b"sj_detach s", b"true")
    host.run(Request(starts=(order,)))
    (host.jobs / order.job_id / "run").touch()
    assert of(protocol.Prepared, host.run(Request(checks=(check,))))
    (host.jobs / order.job_id / "again").unlink()
    assert of(protocol.Lost, host.run(Request(checks=(check,))))


def test_no_directory_is_missing(host: Host) -> None:
    job_id = new_job_id()
    assert host.check(job_id) == [protocol.Missing(job_id)]


def test_an_end_whose_link_is_missing_counts(host: Host) -> None:
    """The record in ``run`` is the truth; ``exit`` announces it."""
    job_id = host.start(b"exit 9")
    host.end(job_id)
    (host.jobs / job_id / "exit").unlink()
    assert host.end(job_id).exit_status == 9


def test_the_journal_tells_who_ended(host: Host) -> None:
    at = of(protocol.JournalAt, host.run())[0]
    job_id = host.start(b"true")
    host.end(job_id)
    now = of(protocol.JournalAt, host.run(Request(journal=(at.generation, at.offset))))
    assert now[0].generation == at.generation
    assert now[0].offset > at.offset
    machine = next(host.base.glob("*/journal"))
    assert f"\nE {job_id} .\n" in machine.read_text()
    machine.unlink()
    assert of(protocol.JournalAt, host.run())[0].offset < now[0].offset


def test_a_poll_forks_seldom_whatever_runs(host: Host) -> None:
    """One process tells the time; a few jobs need no other, many not more than some."""
    if not shutil.which("strace"):
        pytest.skip("no strace here")

    def forks(request: Request) -> int:
        program = host.program(request, NONCE)
        trace = host.home / "trace"
        subprocess.run(
            ["strace", "-f", "-o", trace, "-e", "trace=clone,fork,vfork,clone3", "sh"],
            input=program,
            stdout=subprocess.DEVNULL,
            cwd=host.home,
            env=host.env,
            check=True,
        )
        return len(re.findall(r"(?m)^\d+ +(?:clone3?|v?fork)\(", trace.read_text()))

    runs = [host.running(b"sleep 100") for _ in range(3)]
    orders = tuple(an_order(b"sleep 100") for _ in range(40))
    host.run(Request(starts=orders))
    more = [
        host.until(protocol.Started, Request(checks=(Check(order.job_id, None, ""),)))
        for order in orders
    ]
    checks = tuple(Check(run.job_id, run.pid, run.start) for run in [*runs, *more])
    at = of(protocol.JournalAt, host.run())[0]
    one, some, all_ = (
        forks(Request(journal=(at.generation, at.offset), checks=checks[:number]))
        for number in (1, 20, len(checks))
    )
    assert one == 1
    assert some == all_ <= 4


def test_a_glance_sees_what_has_changed(any_host: Host) -> None:
    """No process is started for jobs that are as they were; what is not is judged."""
    runs = [any_host.running(b"sleep 100") for _ in range(6)]
    fine, alone, dead, other, spoilt, bare = runs
    at = of(protocol.JournalAt, any_host.run())[0]
    any_host.edit = lambda program: program.replace(
        b"sj_judge ''", rb"printf 'failed EOTHER judged\n'"
    )
    checks = tuple(Check(run.job_id, run.pid, run.start) for run in runs)
    glance = Request(journal=(at.generation, at.offset), checks=checks)
    assert {type(event) for event in any_host.run(glance)} == {
        protocol.Hello,
        protocol.JournalAt,
        protocol.End,
    }
    any_host.edit = lambda program: program
    for run in (alone, dead):
        os.kill(run.pid, signal.SIGKILL)
        wait(lambda: gone(run.pid))
    os.killpg(dead.pgid, signal.SIGKILL)
    wait(lambda: gone(dead.pgid))
    edit_run(any_host, other.job_id, "start", "1")
    edit_run(any_host, spoilt.job_id, "machine", "node7-1")
    (any_host.jobs / bare.job_id / "run").unlink()
    said = {getattr(e, "job_id", ""): type(e) for e in any_host.run(glance)}
    assert {job_id: kind for job_id, kind in said.items() if job_id} == {
        alone.job_id: protocol.Unsupervised,
        dead.job_id: protocol.Lost,
        other.job_id: protocol.Unsupervised,
        spoilt.job_id: protocol.Elsewhere,
        bare.job_id: protocol.Prepared,
    }


NONCE = "00112233445566aa"

# -- keys --------------------------------------------------------------------------


def claim(host: Host, command: bytes, key: str, once: bool = False) -> protocol.Claimed:
    """Start a job under a key and return who holds it."""
    order = an_order(command, key=key, once=once)
    return of(protocol.Claimed, host.run(Request(starts=(order,))))[0]


def test_a_key_is_one_job(any_host: Host) -> None:
    first = claim(any_host, b"echo x >>$HOME/ran; sleep 0.3", "k")
    assert first.winner_id == first.job_id and first.attempt == 1
    again = claim(any_host, b"echo x >>$HOME/ran; sleep 0.3", "k")
    assert (again.winner_id, again.state, again.same) == (first.job_id, "RUNNING", True)
    assert not (any_host.jobs / again.job_id).exists()
    any_host.end(first.job_id)
    later = claim(any_host, b"other", "k")
    assert (later.winner_id, later.state) == (first.job_id, "COMPLETED")
    assert not later.same
    assert (any_host.home / "ran").read_text() == "x\n"


def test_a_key_after_a_bad_end(any_host: Host) -> None:
    first = claim(any_host, b"exit 1", "k")
    any_host.end(first.job_id)
    kept = claim(any_host, b"exit 1", "k", once=True)
    assert (kept.winner_id, kept.state) == (first.job_id, "FAILED")
    second = claim(any_host, b"echo $SSHJOBS_ATTEMPT", "k")
    assert (second.winner_id, second.attempt) == (second.job_id, 2)
    any_host.end(second.job_id)
    assert any_host.log(second.job_id) == b"2\n"


def test_a_key_survives_reap(any_host: Host) -> None:
    first = claim(any_host, b"exit 0", "k")
    ended = any_host.end(first.job_id)
    any_host.run(Request(reaps=(Reap(first.job_id, 0),)))
    order = an_order(b"exit 0", key="k")
    said = any_host.run(Request(starts=(order,)))
    claimed = of(protocol.Claimed, said)[0]
    assert (claimed.winner_id, claimed.state) == (first.job_id, "COMPLETED")
    assert claimed.same
    assert of(protocol.Ended, said) == [ended._replace(log_bytes=ended.log_bytes)]


def test_a_repeated_start_keeps_its_key(host: Host) -> None:
    order = an_order(b"sleep 0.1", key="k")
    first = of(protocol.Claimed, host.run(Request(starts=(order,))))[0]
    again = of(protocol.Claimed, host.run(Request(starts=(order,))))[0]
    assert first.winner_id == again.winner_id == order.job_id


def test_racing_for_a_key(host: Host) -> None:
    host.run()
    racers = []
    for _ in range(12):
        order = an_order(b"echo x >>$HOME/ran", key="k")
        nonce = os.urandom(8).hex()
        racer = subprocess.Popen(
            ["sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=host.home,
            env=host.env,
        )
        racers.append((racer, nonce, host.program(Request(starts=(order,)), nonce)))
    winners = set()
    for racer, _, program in racers:
        assert racer.stdin
        racer.stdin.write(program)
        racer.stdin.close()
    for racer, nonce, _ in racers:
        assert racer.stdout
        with racer.stdout:
            said = Reply(nonce).feed(racer.stdout.read())
        racer.wait()
        winners |= {event.winner_id for event in of(protocol.Claimed, said)}
    assert len(winners) == 1
    host.end(winners.pop())
    assert (host.home / "ran").read_text() == "x\n"


def test_who_finds_an_unstarted_holder_starts_it(host: Host) -> None:
    order = an_order(b"echo x >>$HOME/ran", key="k")
    host.edit = lambda program: program.replace(b"sj_detach s", b"true")
    host.run(Request(starts=(order,)))
    host.edit = lambda program: program
    joined = claim(host, b"echo x >>$HOME/ran", "k")
    assert joined.winner_id == order.job_id
    host.end(order.job_id)
    assert (host.home / "ran").read_text() == "x\n"


def test_a_key_whose_holder_was_lost(host: Host) -> None:
    order = an_order(b"sleep 100", key="k")
    said = host.run(Request(starts=(order,)))
    started = host.until(
        protocol.Started, Request(checks=(Check(order.job_id, None, ""),))
    )
    assert of(protocol.Claimed, said)
    os.kill(started.pid, signal.SIGKILL)
    os.killpg(started.pgid, signal.SIGKILL)
    wait(lambda: gone(started.pgid))
    assert claim(host, b"true", "k").attempt == 2


# -- reaping and listing -----------------------------------------------------------


def test_reap_takes_what_has_ended(any_host: Host) -> None:
    job_id = any_host.start(b"true")
    any_host.end(job_id)
    request = Request(reaps=(Reap(job_id, 0),))
    assert of(protocol.Reaped, any_host.run(request))
    assert of(protocol.Reaped, any_host.run(request))
    assert not (any_host.jobs / job_id).exists()
    again = any_host.run(Request(starts=(an_order(b"true", job_id=job_id),)))
    assert of(protocol.Ended, again)[0].exit_status == 0
    assert of(protocol.Reaped, again)
    assert not (any_host.jobs / job_id).exists()


def test_kill_of_what_was_reaped_keeps_its_end(any_host: Host) -> None:
    job_id = any_host.start(b"exit 4")
    any_host.end(job_id)
    any_host.run(Request(reaps=(Reap(job_id, 0),)))
    for _ in range(2):
        said = any_host.run(Request(kills=((job_id, True),)))
        assert of(protocol.Ended, said)[0].exit_status == 4
        assert of(protocol.KillSent, said) and not of(protocol.KillMissing, said)


def test_reap_refuses_what_has_not(host: Host) -> None:
    started = host.running(b"sleep 100")
    foreign = new_job_id()
    (host.jobs / foreign).mkdir()
    (host.jobs / foreign / "exit").write_text("end=\n")
    reaps = (Reap(started.job_id, 99), Reap(foreign, 99))
    said = of(protocol.ReapRefused, host.run(Request(reaps=reaps)))
    assert [event.job_id for event in said] == [started.job_id, foreign]
    assert (host.jobs / foreign / "exit").exists()


def test_reap_follows_no_link(any_host: Host) -> None:
    job_id = any_host.start(b"true")
    any_host.end(job_id)
    elsewhere = any_host.home / "precious"
    (any_host.jobs / job_id).rename(elsewhere)
    (any_host.jobs / job_id).symlink_to(elsewhere)
    said = of(protocol.ReapRefused, any_host.run(Request(reaps=(Reap(job_id, 0),))))
    assert "symbolic link" in said[0].reason
    assert (elsewhere / "exit").exists()
    inner = any_host.start(b"ln -s $HOME/precious $HOME/.sshjobs/jobs/*/into; true")
    any_host.end(inner)
    any_host.run(Request(reaps=(Reap(inner, 0),)))
    assert (elsewhere / "exit").exists()


def test_a_link_that_comes_at_the_last_moment(host: Host) -> None:
    job_id = host.start(b"true")
    host.end(job_id)
    precious = host.home / "precious"
    (precious / "deep").mkdir(parents=True)
    swap = f"rm -r jobs/{job_id}; ln -s {precious} jobs/{job_id}; rm -rf --".encode()
    host.edit = lambda program: program.replace(
        b"rm -rf -- $sj_few", swap + b" $sj_few"
    )
    host.run(Request(reaps=(Reap(job_id, 0),)))
    assert (precious / "deep").is_dir()


def test_listing(any_host: Host) -> None:
    done = any_host.start(b"echo abc", name="näme %", key="ke\ty")
    any_host.end(done)
    on = any_host.running(b"sleep 100")
    (any_host.jobs / "no job").mkdir()
    (any_host.jobs / new_job_id()).symlink_to("/etc")
    (any_host.jobs / new_job_id()).mkdir()
    said = any_host.run(Request(listing=True))
    listed = {event.job_id: event for event in of(protocol.Listed, said)}
    assert listed.keys() == {done, on.job_id}
    assert listed[done].state == "COMPLETED" and listed[on.job_id].state == "RUNNING"
    assert (listed[done].name, listed[done].key) == ("näme %", "ke\ty")
    assert listed[done].log_bytes == 4
    assert 0 <= listed[done].age < 60
    assert {event.job_id for event in of(protocol.Started, said)} == listed.keys()
    assert [event.job_id for event in of(protocol.Ended, said)] == [done]
    assert len(of(protocol.ListedOdd, said)) == 3


def test_listing_names_what_is_somebody_elses(host: Host) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give a directory away")
    job_id = host.start(b"true")
    host.end(job_id)
    os.chown(host.jobs / job_id, 65534, -1)
    said = host.run(Request(listing=True))
    assert not of(protocol.Listed, said)
    (odd,) = of(protocol.ListedOdd, said)
    assert (odd.entry, odd.reason) == (job_id, "not a directory of ours")


def test_expired_tombstones_go(host: Host) -> None:
    job_id = new_job_id()
    host.run(Request(kills=((job_id, False),), gone_ttl=-5.0))
    (host.base / "gone" / new_job_id()).touch()
    for stamp in host.base.glob("*/swept"):
        stamp.unlink()
    host.run()
    assert not (host.base / "gone" / job_id).exists()


def test_a_key_stays_until_all_its_attempts_expire(host: Host) -> None:
    first = claim(host, b"exit 1", "k")
    host.end(first.job_id)
    second = claim(host, b"exit 0", "k")
    host.end(second.job_id)
    keys = next((host.base / "keys").iterdir())

    def sweep(reap: str) -> None:
        for stamp in host.base.glob("*/swept"):
            stamp.unlink()
        host.run(Request(reaps=(Reap(reap, 0),), key_ttl=-5.0))

    sweep(first.job_id)
    assert {path.name for path in keys.iterdir()} == {"1", "2"}
    sweep(second.job_id)
    assert not keys.exists()
    assert claim(host, b"exit 0", "k").attempt == 1


def test_functions_in_the_environment(host: Host, paths: dict[str, str]) -> None:
    """A login shell may export functions, and bash as sh takes them over."""
    if "bash" not in paths:
        pytest.skip("no bash here")
    host = Host(host.home, paths["bash"])
    for name in ("ls", "printf", "cd", "kill", "mv"):
        host.env[f"BASH_FUNC_{name}%%"] = "() { echo no; }"
    assert host.end(host.start(b"exit 3")).exit_status == 3


# -- logs --------------------------------------------------------------------------


def test_a_log_comes_in_pieces(any_host: Host) -> None:
    job_id = any_host.start(
        b"i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done"
    )
    ended = any_host.end(job_id)
    whole = b"".join(b"%d\n" % number for number in range(20_000))
    assert ended.log_bytes == len(whole)
    got = b""
    while len(got) < len(whole):
        got += any_host.log(job_id, len(got), 30_001)
    assert got == whole


def test_a_log_that_shrinks(any_host: Host) -> None:
    job_id = any_host.start(b"echo 0123456789; echo 0123456789")
    any_host.end(job_id)
    other = any_host.start(b"echo hello")
    any_host.end(other)
    (any_host.jobs / job_id / "log").write_bytes(b"short")
    wants = (
        LogWant(job_id, 11, 100),
        LogWant(other, 0, 100),
        LogWant(new_job_id(), 0, 9),
    )
    said = any_host.run(Request(logs=wants))
    ends = of(protocol.LogEnd, said)
    assert [(end.length, end.size) for end in ends] == [(0, 5), (6, 6), (0, 0)]


LONG = b"0123456789abcde\n" * 90_000


def test_a_long_piece_of_log(any_host: Host) -> None:
    job_id = any_host.start(b"echo")
    any_host.end(job_id)
    (any_host.jobs / job_id / "log").write_bytes(LONG)
    assert any_host.log(job_id, 7, len(LONG)) == LONG[7:]
    assert any_host.log(job_id, 0, 1_300_000) == LONG[:1_300_000]


@pytest.mark.parametrize(
    "offset, limit", [(0, len(LONG)), (7, 1_300_000), (70_001, 2 * len(LONG)), (0, 0)]
)
def test_a_log_that_is_fetched(any_host: Host, offset: int, limit: int) -> None:
    job_id = any_host.start(b"echo")
    any_host.end(job_id)
    (any_host.jobs / job_id / "log").write_bytes(LONG)
    said, fetched = any_host.fetch(LogWant(job_id, offset, limit))
    assert said
    assert fetched == LONG[offset : offset + limit]


@pytest.mark.parametrize(
    "change",
    [
        "rm {0}/log",
        "rm -r {0}",
        "mv {0}/log {0}/other; ln -s other {0}/log",
        "mv {0} {0}2; ln -s {0}2 {0}",
        "rm {0}/log; mkfifo {0}/log",
        "chmod go+w .",
    ],
)
def test_what_is_no_log_is_not_fetched(host: Host, change: str) -> None:
    job_id = host.start(b"echo hello")
    host.end(job_id)
    subprocess.run(change.format(job_id), cwd=host.jobs, shell=True, check=True)
    said, fetched = host.fetch(LogWant(job_id, 0, 100))
    sound = change.startswith("chmod")
    assert (said, fetched) == (sound, b"hello\n" if sound else b"")


@pytest.mark.parametrize("word", [b"", b"no\n", b"go", b"gone\n"])
def test_a_fetch_that_nobody_wants_any_more_sends_nothing(
    any_host: Host, word: bytes
) -> None:
    job_id = any_host.start(b"echo hello")
    any_host.end(job_id)
    assert any_host.fetch(LogWant(job_id, 0, 100), word) == (True, b"")


def test_what_the_dead_left_half_made_is_swept(any_host: Host) -> None:
    """A zombie counts as dead: PID 1 of a container may never reap it."""
    any_host.run()
    (journal,) = any_host.base.glob("*/journal")
    half_made = []
    with subprocess.Popen(["true"]) as zombie:
        os.waitid(os.P_PID, zombie.pid, os.WEXITED | os.WNOWAIT)
        for pid in (zombie.pid, os.getpid()):
            half_made.append(any_host.base / f"new/{journal.parent.name}.{pid}.ab.cd")
            half_made[-1].mkdir()
        any_host.run()
        assert [path.exists() for path in half_made] == [False, True]


@contextmanager
def watching(host: Host, life: int = 150) -> Iterator[subprocess.Popen[bytes]]:
    """Have a watch listen to the journal, in a session of its own."""
    at = of(protocol.JournalAt, host.run())[0]
    journal = (at.generation, at.offset)
    program = protocol.build_watch("~/.sshjobs", journal, "0123456789abcdef")
    if not host.path.startswith("/usr/bin"):
        program = program.replace(SYSTEM_PATH, b"PATH=")
    assert b"sj_life=150" in program
    with subprocess.Popen(
        [shutil.which("sh", path=host.path) or "sh"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=host.home,
        env=host.env,
        start_new_session=True,
    ) as watch:
        assert watch.stdin and watch.stdout
        watch.stdin.write(program.replace(b"sj_life=150", b"sj_life=%d" % life))
        watch.stdin.flush()
        yield watch
    wait(lambda: not _group_lives(watch.pid))


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_watch_hears_of_an_end_and_ends_as_its_input_does(any_host: Host) -> None:
    with watching(any_host) as watch:
        assert watch.stdin and watch.stdout
        reply = WatchReply("0123456789abcdef")
        while not reply.beats:
            reply.feed(watch.stdout.readline())
        any_host.start(b"true")
        while not reply.stirs:
            reply.feed(watch.stdout.readline())
        watch.stdin.close()
        assert watch.wait(PATIENCE) == 0


def test_a_watch_ends_as_nobody_hears_it(any_host: Host) -> None:
    """Though its input does not end."""
    with watching(any_host) as watch:
        assert watch.stdin and watch.stdout
        while watch.stdout.readline() != b"beat\n":
            continue
        watch.stdout.close()
        assert watch.wait(PATIENCE) == 0


def test_a_watch_does_not_live_for_ever(any_host: Host) -> None:
    with watching(any_host, life=1) as watch:
        assert watch.stdout
        said = watch.stdout.read()
        assert watch.wait(PATIENCE) == 0
    assert said.count(b"\nbeat\n") == 1


# -- hosts that are poor, full or not ours -------------------------------------------


def test_a_base_that_is_a_link(host: Host) -> None:
    (host.home / "else").mkdir()
    host.base.symlink_to(host.home / "else")
    failed = of(protocol.Failed, host.run())
    assert (failed[0].code, failed[0].hint != "") == ("EBASE", True)


@pytest.mark.parametrize("name", ["jobs", "journal", "now", "tools", "swept", "layout"])
def test_a_link_inside_the_base_is_not_followed(host: Host, name: str) -> None:
    host.run()
    (machine,) = (path for path in host.base.iterdir() if (path / "journal").exists())
    kept = host.home / "kept"
    kept.write_text("kept\n")
    path = (host.base if name in ("jobs", "layout") else machine) / name
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()
    path.symlink_to(kept)
    for request in (Request(), Request(starts=(an_order(b"true"),))):
        failed = of(protocol.Failed, host.run(request))
        assert failed[0].code == "EBASE" and "symbolic link" in failed[0].text
    assert kept.read_text() == "kept\n"


def test_a_base_that_others_may_write(host: Host) -> None:
    host.base.mkdir()
    host.base.chmod(0o777)
    failed = of(protocol.Failed, host.run())
    assert failed[0].code == "EBASE" and "writable by others" in failed[0].text


def test_a_base_of_a_newer_version(host: Host) -> None:
    host.run()
    (host.base / "layout").write_text("2\n")
    assert of(protocol.Failed, host.run())[0].code == "EVERSION"


def test_no_home(host: Host) -> None:
    del host.env["HOME"]
    said = host.run(Request(base_dir=str(host.base)))
    assert of(protocol.Hello, said)


def test_umask_is_ours_for_files_and_the_users_for_jobs(host: Host) -> None:
    order = an_order(b"umask; touch $HOME/made")
    host.run(Request(starts=(order,)), umask=0)
    host.end(order.job_id)
    assert host.log(order.job_id) == b"0000\n"
    assert (host.home / "made").stat().st_mode & 0o777 == 0o666
    for path in host.base.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_exported_shell_options(host: Host) -> None:
    host.env |= {"SHELLOPTS": "errexit:noclobber:nounset:noglob", "IFS": "x"}
    assert host.end(host.start(b"exit 3")).exit_status == 3


def test_exported_names_are_left_alone(host: Host) -> None:
    names = {"id": "1", "d": "2", "key": "3", "CDPATH": "/", "base": "4"}
    host.env |= names
    job_id = host.start(b"echo $id $d $key $CDPATH $base")
    host.end(job_id)
    assert host.log(job_id) == b"1 2 3 / 4\n"


def without(folder: Path, path: str, *missing: str) -> str:
    """Return a directory of the tools in ``path``, less some."""
    folder.mkdir()
    for part in path.split(":"):
        for tool in Path(part).iterdir():
            if tool.name not in missing and not (folder / tool.name).exists():
                (folder / tool.name).symlink_to(tool)
    return str(folder)


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_no_setsid(shell: str, tmp_path: Path, paths: dict[str, str]) -> None:
    if shell not in paths:
        pytest.skip(f"no {shell} here")
    path = without(tmp_path / "tools", paths[shell], "setsid")
    (tmp_path / "home").mkdir()
    host = Host(tmp_path / "home", path)
    host.env["SJTEST"] = str(host.base)
    try:
        assert host.end(host.start(b"exit 3")).exit_status == 3
        on = host.running(b"sleep 100 & sleep 101")
        host.kill(on.job_id)
        assert host.end(on.job_id).cause == "cancelled"
        wait(lambda: not host.marked())
        left = host.running(b"sleep 102")
        os.kill(left.pid, signal.SIGKILL)
        wait(lambda: gone(left.pid))
        about = (left.job_id, left.pid, left.start)
        assert host.check(*about) == [protocol.Unsupervised(left.job_id)]
    finally:
        end_all(host)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    place = tmp_path / "small"
    place.mkdir()
    options = "size=1m,mode=0755"
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True
    )
    if made.returncode:
        pytest.skip("only root may mount a small file system here")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


def fill(place: Path) -> None:
    """Leave no block free."""
    with (place / "filler").open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while True:
                    file.write(b"x" * size)
            except OSError:
                continue


def test_an_end_on_a_full_disk(small_disk: Path) -> None:
    host = Host(small_disk)
    host.env["SJTEST"] = str(host.base)
    started = host.running(b"sleep 0.3; echo more; exit 5")
    killed = host.running(b"sleep 100")
    fill(small_disk)
    assert host.end(started.job_id).exit_status == 5
    # The end counts from its line in `run` on; `exit` is its second name, made next.
    second = host.jobs / started.job_id / "exit"
    wait(lambda: second.exists() and second.stat().st_size > 0)
    host.kill(killed.job_id)
    assert host.end(killed.job_id).cause == "cancelled"
    order = an_order(b"true")
    refused = of(protocol.Refused, host.run(Request(starts=(order,))))
    assert [event.code for event in refused] == ["ENOSPC"]
    assert of(
        protocol.Reaped, host.run(Request(reaps=(reap_of(killed.job_id, b"up\n"),)))
    )
    (small_disk / "filler").unlink()
    assert host.end(host.start(b"true")).exit_status == 0


def test_an_end_without_a_free_inode(small_disk: Path) -> None:
    options = "remount,nr_inodes=60"
    subprocess.run(["mount", "-o", options, small_disk], check=True)
    host = Host(small_disk)
    host.env["SJTEST"] = str(host.base)
    started = host.running(b"sleep 0.3; exit 5")
    killed = host.running(b"sleep 100", kill_grace=0.1)
    for number in range(60):
        try:
            (small_disk / f"f{number}").touch()
        except OSError:
            break
    assert host.end(started.job_id).exit_status == 5
    assert of(protocol.KillSent, host.kill(killed.job_id))
    assert host.end(killed.job_id).cause == "cancelled"
    refused = of(protocol.Refused, host.run(Request(starts=(an_order(b"true"),))))
    assert [event.code for event in refused] == ["ENOSPC"]


def test_no_proc(host: Host) -> None:
    """As on a host without /proc: ps tells who is there, marks cannot be seen."""
    if not shutil.which("ps"):
        pytest.skip("no ps here")
    changes = (
        (b"[ -r /proc/self/stat ] && sj_proc=1", b":"),
        (b"/proc/uptime", b"/nowhere/uptime"),
        (b"/proc/sys", b"/nowhere"),
        (b"&& [ -r /proc/self/environ ] && sj_grepz=1", b""),
    )

    def edit(program: bytes) -> bytes:
        for old, new in changes:
            assert old in program
            program = program.replace(old, new)
        return program

    host.edit = edit
    assert host.end(host.start(b"exit 3")).exit_status == 3
    on = host.running(b"sleep 100 & sleep 101")
    assert host.check(on.job_id, on.pid, on.start) == []
    host.kill(on.job_id)
    assert host.end(on.job_id).cause == "cancelled"
    lost = host.running(b"sleep 100")
    os.kill(lost.pid, signal.SIGKILL)
    os.killpg(lost.pgid, signal.SIGKILL)
    about = (lost.job_id, lost.pid, lost.start)
    wait(lambda: of(protocol.Lost, host.check(*about)))


def test_a_base_on_a_full_disk(small_disk: Path) -> None:
    fill(small_disk)
    host = Host(small_disk)
    said = host.run(Request(starts=(an_order(b"true"),)))
    assert of(protocol.Failed, said) or of(protocol.Refused, said)[0].code == "ENOSPC"


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


@pytest.mark.parametrize("lack", ["blocks", "inodes"])
def test_what_never_started_can_be_cancelled_on_a_full_disk(
    small_disk: Path, lack: str
) -> None:
    """There is no room for a claim, by which else the end would be published."""
    if lack == "inodes":
        options = "remount,nr_inodes=60"
        subprocess.run(["mount", "-o", options, small_disk], check=True)
    host = Host(small_disk)
    host.env["SJTEST"] = str(host.base)
    host.edit = lambda program: program.replace(b"sj_runner='", b"sj_runner='exit 0\n")
    order = an_order(b"true", key="k")
    assert of(protocol.Prepared, host.run(Request(starts=(order,))))
    host.edit = lambda program: program
    for path in host.base.glob("runner-*"):
        path.unlink()
    assert host.end(host.start(b"true")).exit_status == 0
    if lack == "inodes":
        with pytest.raises(OSError):
            for number in range(60):
                (small_disk / f"f{number}").touch()
    else:
        fill(small_disk)
    assert of(protocol.KillMissing, host.kill(order.job_id))
    assert not (host.jobs / order.job_id).exists()
    (refused,) = of(protocol.Refused, host.run(Request(starts=(order,))))
    assert refused.code == "EGONE"
    for path in small_disk.glob("f*"):
        path.unlink()
    (refused,) = of(protocol.Refused, host.run(Request(starts=(order,))))
    assert refused.code == "EGONE"
    assert host.end(host.start(b"exit 4", key="k")).exit_status == 4


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pid=x\nstart=\npgid=-1\nstarted_at=soon\n",
        f"started_at={'9' * 400}\npid={'9' * 30}\n",
        "started_at=1\nstatus=bad\nsignal=--\nfinished_at=.\nlog_bytes=1e9\nend=\n",
    ],
)
def test_a_damaged_record_spoils_no_round(host: Host, text: str) -> None:
    """It is told as far as it goes, to who knows the job and to who does not."""
    started = host.running(b"sleep 100")
    (host.jobs / started.job_id / "run").write_text(text)
    for pid, start in ((started.pid, started.start), (None, "")):
        about = (Check(started.job_id, pid, start),)
        said = host.run(Request(checks=about, start_grace=0.0))
        whole = bool(of(protocol.Ended, said))
        assert whole == ("end=" in text)
        assert whole or of(protocol.Unsupervised, said)
    assert of(protocol.Listed, host.run(Request(listing=True)))


def test_a_record_without_a_second_name_is_reaped(host: Host) -> None:
    """As where links are lacking: the end in ``run`` counts by itself."""
    job_id = host.start(b"exit 5")
    host.end(job_id)
    (host.jobs / job_id / "exit").unlink()
    assert of(protocol.Reaped, host.run(Request(reaps=(Reap(job_id, 0),))))
