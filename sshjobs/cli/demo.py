"""The demonstration: a throwaway sshd, a crowd of processes, and what it cost.

It knows sshjobs only as a user does, as commands. All that it makes lies in one
temporary directory: the sshd's keys and log, the record (``SSHJOBS_HOME``) and
the host's side (``SSHJOBS_REMOTE_BASE_DIR``); nothing of the user's is read.
"""

from __future__ import annotations

import json
import os
import pwd
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any, NamedTuple

#: How many processes submit at once: as many as a stock sshd (MaxStartups 10:30:100)
#: would answer with dropped connections.
CROWD = 30

#: What each of them has a host do: steps of some tenths of a second.
_LINE = "for step in 1 2 3 4 5; do echo part {0}, step $step; sleep 0.{1}; done"

#: Which of them is followed: one whose steps are the longest.
_SLOWEST = 4

#: What sees to the end of a demonstration that was killed: its standard input ends
#: then, and its directory is still there. The commands that it had started get some
#: seconds.
_GUARD = """
cat >/dev/null
[ -d "$0" ] || exit 0
sleep 5
for socket in "$0"/record/run/s.*; do
    ssh -F "$0/ssh_config" -S "$socket" -O exit demo
done
kill "$(cat "$0/sshd.pid")"
rm -rf -- "$0" || { sleep 1; rm -rf -- "$0"; }
"""

#: A command of ours that takes longer than this has failed, whatever it waits for.
_PATIENCE = 90.0

_SSHD_CONFIG = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {top}/host_key
PidFile {top}/sshd.pid
AuthorizedKeysFile {top}/user_key.pub
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
LogLevel DEBUG1
"""

_SSH_CONFIG = """\
Host demo
    HostName 127.0.0.1
    Port {port}
    User {user}
    IdentityFile {top}/user_key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {top}/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
"""

#: What is counted in sshd's log, and the text that each line of it begins with.
_COUNTED = {
    "connections": "Connection from ",
    "drops": "drop connection ",
    "sessions": "Starting session: ",
}


class Failed(Exception):
    """The demonstration could not show what it wanted to; the text says what."""


class Sshd(NamedTuple):
    """A running sshd of ours, and where its log stood before sshjobs came."""

    version: str
    port: int
    log: str
    offset: int

    def counts(self) -> dict[str, int]:
        """Return what sshd itself has counted since then."""
        with open(self.log, encoding="utf-8", errors="replace") as file:
            file.seek(self.offset)
            lines = file.read().splitlines()
        return {
            name: sum(line.startswith(text) for line in lines)
            for name, text in _COUNTED.items()
        }


class Stage:
    """Where the demonstration plays: a directory, a host, and a way to speak."""

    def __init__(self, top: str, quiet: bool) -> None:
        self.top = top
        self.quiet = quiet
        self.host = "local"
        self.processes = 0
        self.bold = sys.stdout.isatty() and not os.environ.get("NO_COLOR")
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("SSHJOBS_")}
        self.env["SSHJOBS_HOME"] = f"{top}/record"
        self.env["SSHJOBS_REMOTE_BASE_DIR"] = f"{top}/host"
        self.env["SSHJOBS_SSH_CONFIG"] = f"{top}/ssh_config"
        self.env["SSHJOBS_CONFIG"] = os.devnull
        self.env["PYTHONPATH"] = _import_path(self.env.get("PYTHONPATH", ""))

    def say(self, text: str) -> None:
        """Tell the audience something."""
        if not self.quiet:
            print(f"\n\x1b[1m{text}\x1b[0m" if self.bold else f"\n{text}", flush=True)

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """Start ``sshjobs WORDS`` and return at once."""
        self.processes += 1
        return subprocess.Popen(
            [sys.executable, "-m", "sshjobs", *words],
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def run(self, *words: str, show: int = 10**9, good: tuple[int, ...] = (0,)) -> str:
        """Run ``sshjobs WORDS`` as a user would, show it, and return its output.

        Args:
            show: How many lines of its output to show, as they come; 0 hides it all.
            good: The exit statuses that it may have.

        Raises:
            Failed: it ended with another one.
        """
        show = 0 if self.quiet else show
        if show:
            print(f"$ sshjobs {shlex.join(words)}", flush=True)
        process = self.start(*words)
        with _bounded(process):
            text = _listen(process, show)
        if process.returncode not in good:
            raise Failed(f"sshjobs {words[0]}: {_ending(process)}")
        return text

    def objects(
        self, *words: str, good: tuple[int, ...] = (0,)
    ) -> list[dict[str, Any]]:
        """Run ``sshjobs WORDS --json``, unseen, and return what it printed."""
        text = self.run(*words, "--json", show=0, good=good)
        return [json.loads(line) for line in text.splitlines()]


def _import_path(before: str) -> str:
    """Make ``python -m sshjobs`` find this very package, wherever it is run."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    return os.pathsep.join(filter(None, (here, before)))


@contextmanager
def _bounded(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """End a command that takes longer than it may, whatever happens in between."""
    timer = threading.Timer(_PATIENCE, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()


def _listen(process: subprocess.Popen[bytes], show: int) -> str:
    """Return what a command prints, showing so many lines of it as they come."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line.decode("utf-8", "replace"))
        if len(lines) <= show:
            print(lines[-1], end="", flush=True)
    if 0 < show < len(lines):
        print(f"... and {len(lines) - show} more", flush=True)
    process.wait()
    return "".join(lines)


def _ending(process: subprocess.Popen[bytes]) -> str:
    assert process.stderr
    said = process.stderr.read().decode("utf-8", "replace").strip()
    return f"status {process.returncode}: {said}"


def main(values: Mapping[str, Any]) -> int:
    """Play the demonstration; return its exit status.

    After return, and after any error or signal, nothing is left of it: no process, no
    file, no connection. After a SIGKILL that takes some seconds; see :data:`_GUARD`.

    Args:
        values: With a true ``json``, one JSON object with the outcome is printed, and
            nothing else.
    """
    quiet, began = bool(values.get("json")), time.monotonic()
    try:
        with _ended_by_signals(), ExitStack() as stack:
            outcome = _play(_stage(stack, quiet), stack)
    except Failed as error:
        print(f"sshjobs: demo: {error}", file=sys.stderr)
        return 1
    outcome["seconds"] = round(time.monotonic() - began, 1)
    if quiet:
        print(json.dumps(outcome))
    else:
        print(f"\nAll of it took {outcome['seconds']} s, and all of it is gone again.")
    return 0


@contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the demonstration in order, as Ctrl-C does."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {n: signal.signal(n, end) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stage(stack: ExitStack, quiet: bool) -> Stage:
    # /tmp, whatever TMPDIR says: a control socket's path ends at 90 bytes.
    top = tempfile.mkdtemp(prefix="sshjobs-demo-", dir="/tmp")
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, top],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    stack.callback(guard.communicate)
    stack.callback(shutil.rmtree, top, ignore_errors=True)
    return Stage(top, quiet)


# -- the throwaway sshd --------------------------------------------------------------


def _sshd(stage: Stage, stack: ExitStack) -> Sshd | None:
    """Start an sshd that this user can log in to; None where that cannot be."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/usr/local/sbin:/sbin"
    programs = [shutil.which(name, path=path) for name in ("sshd", "ssh", "ssh-keygen")]
    sshd, ssh, keygen = programs
    user = _user()
    if not (sshd and ssh and keygen and user):
        return None
    for name in ("host_key", "user_key"):
        key = f"{stage.top}/{name}"
        words = [keygen, "-q", "-t", "ed25519", "-N", "", "-C", "demo", "-f", key]
        subprocess.run(words, check=True, stdin=subprocess.DEVNULL)
    port = _configure(stage, user)
    log = f"{stage.top}/sshd.log"
    process = _start_sshd(stage, stack, sshd, log)
    if not _listening(process, log) or not _login(stage, ssh):
        return None
    version = subprocess.run([ssh, "-V"], stderr=subprocess.PIPE, check=False).stderr
    name = version.decode().partition(",")[0]
    return Sshd(name, port, log, os.path.getsize(log))


def _user() -> str:
    """Return the name that ssh knows us by; "" if it will not run for such a user."""
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's made-up uid
        return ""


def _configure(stage: Stage, user: str) -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    values = {"top": stage.top, "port": port, "user": user}
    _write(f"{stage.top}/sshd_config", _SSHD_CONFIG.format(**values))
    _write(f"{stage.top}/ssh_config", _SSH_CONFIG.format(**values))
    with open(f"{stage.top}/host_key.pub", encoding="ascii") as file:
        _write(f"{stage.top}/known_hosts", f"[127.0.0.1]:{port} {file.read()}")
    return port


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)


def _start_sshd(
    stage: Stage, stack: ExitStack, sshd: str, log: str
) -> subprocess.Popen[bytes]:
    if os.geteuid() == 0 and not os.path.isdir("/run/sshd"):
        # Where sshd has never run as a service, its privilege separation lacks this.
        # It stays: by the time we end, another sshd may rest on it.
        os.makedirs("/run/sshd", 0o755, exist_ok=True)
    process = subprocess.Popen(
        [sshd, "-D", "-E", log, "-f", f"{stage.top}/sshd_config"],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    stack.callback(process.wait, 10)
    stack.callback(process.terminate)
    return process


def _listening(process: subprocess.Popen[bytes], log: str) -> bool:
    """Wait until sshd says that it listens; its port is not poked."""
    end = time.monotonic() + 10
    while time.monotonic() < end and process.poll() is None:
        if os.path.exists(log):
            with open(log, encoding="utf-8", errors="replace") as file:
                if "Server listening on" in file.read():
                    return True
        time.sleep(0.02)
    return False


def _login(stage: Stage, ssh: str) -> bool:
    """Tell whether plain ssh gets in; a machine can have reasons to refuse."""
    words = [
        ssh,
        "-F",
        f"{stage.top}/ssh_config",
        "-o",
        "BatchMode=yes",
        "demo",
        "true",
    ]
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, timeout=20, check=False
    )
    return done.returncode == 0


# -- the play --------------------------------------------------------------------------


def _play(stage: Stage, stack: ExitStack) -> dict[str, Any]:
    sshd = _sshd(stage, stack)
    if sshd:
        stage.host = "demo"
        stage.say(
            f"A stock sshd ({sshd.version}) of our own listens on 127.0.0.1:"
            f"{sshd.port}; the host is called demo."
        )
    else:
        stage.say("No sshd can be used here, so the host is local: this machine.")
    stack.callback(_leave, stage)
    parts = _crowd(stage)
    _follow(stage, parts[_SLOWEST])
    ids = _others(stage)
    _ends(stage, parts, ids)
    outcome = _ledger(stage, sshd, parts, ids)
    _reap(stage)
    return outcome


def _leave(stage: Stage) -> None:
    """End what may still run; each step on its own, since any may be needless."""
    for words in (("kill", *_active(stage)), ("disconnect", stage.host)):
        if len(words) > 1:
            process = stage.start(*words)
            process.communicate(timeout=_PATIENCE)


def _active(stage: Stage) -> list[str]:
    listed = stage.objects("list")
    return [job["id"] for job in listed if job["state"] in ("PENDING", "RUNNING")]


def _crowd(stage: Stage) -> list[str]:
    """Have many processes submit a job each at the same time; return the ids."""
    stage.say(f"{CROWD} processes submit a job each, all at once:")
    if not stage.quiet:
        shown = _LINE.format("N", "x")
        print(f"$ sshjobs submit {stage.host} -- '{shown}' &    # {CROWD} times")
    began = time.monotonic()
    crowd = [
        stage.start(
            *("submit", stage.host, "--name", f"part-{number}"),
            *("--", _LINE.format(number, 4 + number % 6)),
        )
        for number in range(1, CROWD + 1)
    ]
    ends = [process.communicate(timeout=_PATIENCE) for process in crowd]
    bad = [err for process, (_, err) in zip(crowd, ends) if process.returncode]
    if bad:
        raise Failed(f"{len(bad)} of {CROWD} submits failed: {bad[0].decode()}")
    if not stage.quiet:
        took = time.monotonic() - began
        print(f"{CROWD} of {CROWD} have their id, after {took:.1f} s.")
    return [out.decode().split()[0] for out, _ in ends]


def _others(stage: Stage) -> dict[str, str]:
    """Submit jobs that do not end well; return their ids by what becomes of them."""
    stage.say("Three that will not end well, and one that is asked for twice:")
    submit = ("submit", stage.host, "--name")
    jobs = {
        "FAILED": stage.run(*submit, "fails", "--", "echo no such luck; exit 3"),
        "TIMEOUT": stage.run(*submit, "too-slow", "--timeout", "2", "--", "sleep 600"),
        "CANCELLED": stage.run(*submit, "unwanted", "--", "sleep 600 & sleep 600"),
    }
    first = stage.run("submit", stage.host, "--key", "nightly", "--", "echo once")
    again = stage.run("submit", stage.host, "--key", "nightly", "--", "echo once")
    if first != again:
        raise Failed(f"one key, two jobs: {first} {again}")
    jobs["COMPLETED"] = first
    return {state: text.split()[0] for state, text in jobs.items()}


def _follow(stage: Stage, job: str) -> None:
    stage.say("The log of one of them, as it is written:")
    text = stage.run("logs", job, "--follow")
    want = "".join(f"part {_SLOWEST + 1}, step {step}\n" for step in range(1, 6))
    if not text.endswith(want):  # before it, a login shell's own noise may stand
        raise Failed(f"the log is not whole: {text!r}")


def _ends(stage: Stage, parts: list[str], ids: dict[str, str]) -> None:
    stage.say("One is killed, with the two processes that it has; then all have ended:")
    stage.run("kill", ids["CANCELLED"], good=(0, 1))
    stage.run("wait", show=0, good=(0, 1))
    stage.run("list", "--state", "COMPLETED", show=4)
    for state in ("FAILED", "TIMEOUT", "CANCELLED"):
        stage.run("list", "--state", state)
    states = {job["id"]: job["state"] for job in stage.objects("list")}
    wrong = [job for job in parts if states.get(job) != "COMPLETED"]
    wrong += [job for state, job in ids.items() if states.get(job) != state]
    if wrong:
        told = ", ".join(f"{job} is {states.get(job)}" for job in wrong)
        raise Failed(f"not as it should be: {told}")


def _ledger(
    stage: Stage, sshd: Sshd | None, parts: list[str], ids: dict[str, str]
) -> dict[str, Any]:
    stage.say("What it cost, by our own ledger:")
    stage.run("hosts")
    outcome: dict[str, Any] = {
        "host": stage.host,
        "jobs": len(parts) + len(ids),
        "states": dict(Counter(job["state"] for job in stage.objects("list"))),
        "processes": stage.processes,
    }
    if sshd:
        counts = sshd.counts()
        stage.say(
            f"And by sshd's log: {stage.processes} processes of sshjobs made "
            f"{counts['connections']} connection, {counts['drops']} were dropped, "
            f"{counts['sessions']} sessions ran on it."
        )
        outcome |= counts
        if counts["connections"] != 1 or counts["drops"]:
            raise Failed(f"not one connection: {counts}")
    return outcome


def _reap(stage: Stage) -> None:
    stage.say("The records and logs are here; on the host, all of it goes:")
    stage.run("reap", show=4)
    left = os.listdir(f"{stage.top}/host/jobs")
    if left:
        raise Failed(f"left on the host: {', '.join(left)}")
