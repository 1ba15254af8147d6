"""The demonstration: a throwaway sshd, a crowd of processes, and the cost.

It knows sshjobs only as a user does, as commands. All that it makes lies in one
temporary directory: the sshd's keys and log, the record (``SSHJOBS_HOME``) and
the host's side (``SSHJOBS_REMOTE_BASE_DIR``); nothing of the user's is read.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Any

from .demo_sshd import Sshd, start_demo_sshd
from .demo_stage import COMMAND_BOUND, DemoFailed, Stage

#: How many processes submit at once: as many as a stock sshd (MaxStartups 10:30:100)
#: would answer with dropped connections.
CROWD = 30

#: What each of them has a host do: steps of some tenths of a second.
_LINE = "for step in 1 2 3 4 5; do echo part {0}, step $step; sleep 0.{1}; done"

#: Which of them is followed: one whose steps are the longest.
_SLOWEST = 4

#: Where a reader goes from here: to a host of their own.
_NEXT_STEPS = """
Next, with a host of yours in the place of HOST, as you would type it after ssh:
  sshjobs doctor HOST             # what is in the way there, if anything
  sshjobs run HOST -- uname -a    # a first job
  sshjobs                         # jobs that run, and that ended lately
docs/tutorial.md goes on from there; sshjobs --help names all verbs."""

#: What sees to the end of a demonstration that was killed: its standard input ends
#: then, and its directory is still there. The commands that it had started get some
#: seconds; then its jobs are killed, while there is a record of them. A round that goes
#: on makes directories anew, so that the place must have been empty for some looks.
_GUARD = """
cat >/dev/null
[ -d "$0" ] || exit 0
sleep 5
"$1" -m sshjobs kill --yes --allow-empty --state PENDING --state RUNNING --wait-host 20
looks=0 empty=0
while [ $empty -lt 5 ] && [ $looks -lt 120 ]; do
    looks=$((looks + 1)) empty=$((empty + 1))
    if [ -d "$0" ]; then
        empty=0
        for socket in "$0"/record/run/s.*; do
            ssh -F "$0/ssh_config" -S "$socket" -O exit demo
        done
        [ -f "$0/sshd.pid" ] && kill "$(cat "$0/sshd.pid")"
        rm -rf -- "$0"
    fi
    sleep 1
done
"""


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
        with _end_on_signals(), ExitStack() as stack:
            outcome = _play_all_scenes(_set_stage(stack, quiet), stack)
    except DemoFailed as error:
        print(f"sshjobs: demo: {error}", file=sys.stderr)
        return 1
    outcome["seconds"] = round(time.monotonic() - began, 1)
    if quiet:
        print(json.dumps(outcome))
    else:
        print(f"\nAll of it took {outcome['seconds']} s, and all of it is gone again.")
        print(_NEXT_STEPS)
    return 0


@contextmanager
def _end_on_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the demonstration in order, as Ctrl-C does."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = {n: signal.signal(n, end) for n in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _set_stage(stack: ExitStack, quiet: bool) -> Stage:
    # /tmp, whatever TMPDIR says: a control socket's path ends at 90 bytes.
    top = tempfile.mkdtemp(prefix="sshjobs-demo-", dir="/tmp")
    stage = Stage(top, quiet)
    guard = subprocess.Popen(
        ["/bin/sh", "-c", _GUARD, top, sys.executable],
        env=stage.env,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    stack.callback(guard.communicate)
    stack.callback(shutil.rmtree, top, ignore_errors=True)
    return stage


def _play_all_scenes(stage: Stage, stack: ExitStack) -> dict[str, Any]:
    sshd = start_demo_sshd(stage, stack)
    if sshd:
        stage.host = "demo"
        stage.say(
            f"A stock sshd ({sshd.version}) of our own listens on 127.0.0.1:"
            f"{sshd.port}; the host is called demo."
        )
    else:
        stage.say("No sshd can be used here, so the host is local: this machine.")
    stack.callback(_end_what_runs, stage)
    parts = _submit_crowd(stage)
    stage.say("The log of one of them, as it is written:")
    text = stage.run("logs", parts[_SLOWEST], "--follow")
    want = "".join(f"part {_SLOWEST + 1}, step {step}\n" for step in range(1, 6))
    if not text.endswith(want):  # before it, a login shell's own noise may stand
        raise DemoFailed(f"the log is not whole: {text!r}")
    ids = _submit_bad_ends(stage)
    _show_ends(stage, parts, ids)
    outcome = _show_ledger(stage, sshd, parts, ids)
    stage.say("The records and logs are here; on the host, all of it goes:")
    stage.run("reap", show=4)
    left = os.listdir(f"{stage.top}/host/jobs")
    if left:
        raise DemoFailed(f"left on the host: {', '.join(left)}")
    return outcome


def _end_what_runs(stage: Stage) -> None:
    """End all that may still run; each step on its own, since any may be needless."""
    listed = stage.objects("list")
    active = [job["id"] for job in listed if job["state"] in ("PENDING", "RUNNING")]
    for words in (("kill", *active), ("disconnect", stage.host)):
        if len(words) > 1:
            process = stage.start(*words)
            process.communicate(timeout=COMMAND_BOUND)


def _submit_crowd(stage: Stage) -> list[str]:
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
    ends = [process.communicate(timeout=COMMAND_BOUND) for process in crowd]
    bad = [err for process, (_, err) in zip(crowd, ends) if process.returncode]
    if bad:
        raise DemoFailed(f"{len(bad)} of {CROWD} submits failed: {bad[0].decode()}")
    if not stage.quiet:
        took = time.monotonic() - began
        print(f"{CROWD} of {CROWD} have their id, after {took:.1f} s.")
    return [out.decode().split()[0] for out, _ in ends]


def _submit_bad_ends(stage: Stage) -> dict[str, str]:
    """Submit jobs that do not end well; return their ids by their ends."""
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
        raise DemoFailed(f"one key, two jobs: {first} {again}")
    jobs["COMPLETED"] = first
    return {state: text.split()[0] for state, text in jobs.items()}


def _show_ends(stage: Stage, parts: list[str], ids: dict[str, str]) -> None:
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
        raise DemoFailed(f"not as it should be: {told}")


def _show_ledger(
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
            raise DemoFailed(f"not one connection: {counts}")
    return outcome
