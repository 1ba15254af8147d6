"""Waits that live: ends as they come, what is waited for, and what Ctrl-C leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pytest

from sshjobs.display.text import cut_to_width
from tests.cli import Cli, Ended, eventually, finish
from tests.fleet import Fleet
from tests.terminal import open_terminal


def read_until(stream: IO[bytes] | None, text: str) -> str:
    """Read a stream, line by line, up to a line that has a text."""
    assert stream is not None
    lines = []
    for line in stream:
        lines.append(line.decode())
        if text in lines[-1]:
            return "".join(lines)
    raise AssertionError(f"no {text!r} in {lines}")


def interrupt(process: subprocess.Popen[bytes]) -> Ended:
    os.kill(process.pid, signal.SIGINT)
    return finish([process])[0]


@contextmanager
def silent_port(cli: Cli, place: Path) -> Iterator[Path]:
    """Yield an ssh_config whose hosts take a connection and say nothing."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(8)
        path = place / "silent_config"
        where = f"HostName 127.0.0.1\n    Port {server.getsockname()[1]}\n"
        path.write_text(f"Host mute mute2\n    {where}")
        yield path


def test_wait_shows_each_end_as_it_comes(cli: Cli, place: Path) -> None:
    """Each end is printed when it is learnt, not when the last job has ended."""
    gate = place / "host" / "go"
    first = cli.submit("--name", "first", "--", "echo early; exit 4")
    last = cli.submit(
        "--name", "last", "--", f"until [ -e {gate} ]; do sleep 0.1; done"
    )
    wait = cli.start("wait", last, first)
    assert wait.stdout is not None
    assert wait.stdout.readline().decode().split()[:2] == [first, "FAILED"]
    gate.touch()
    (ended,) = finish([wait])
    assert ended.status == 1 and [*ended.lines][0].split()[:2] == [last, "COMPLETED"]
    assert "2 of 2 jobs have ended, 1 badly" in ended.err
    assert f"{first} first: FAILED: early" in ended.err
    assert [line.split()[0] for line in cli("wait", first, last).lines] == [first, last]


def test_a_wait_in_json_says_only_that(cli: Cli) -> None:
    jobs = [cli.submit("--", f"exit {n}") for n in (0, 1)]
    ended = cli("wait", *jobs, "--json")
    assert {one["id"] for one in ended.objects} == set(jobs)
    assert "badly" not in ended.err


def test_a_batch_says_how_many_were_there_already(cli: Cli, place: Path) -> None:
    lines = [json.dumps({"command": "true", "key": f"k{n}"}) for n in range(5)]
    (place / "some").write_text("\n".join(lines[:2]))
    (place / "all").write_text("\n".join(lines))
    assert (
        "sshjobs: 2 started\n" in cli.ok("submit", "box", "--from", place / "some").err
    )
    cli("wait")
    again = cli.ok("submit", "box", "--from", place / "all")
    assert "sshjobs: 3 started, 2 were there already\n" in again.err
    twin = cli.twin(place / "twin")  # its record has none of them: the host says so
    elsewhere = twin.ok("submit", "box", "--from", place / "all")
    twin.close()
    assert "sshjobs: 0 started, 5 were there already\n" in elsewhere.err
    assert elsewhere.lines == again.lines


@pytest.mark.parametrize(
    ("words", "left"),
    [
        (("submit", "mute", "--", "true"), "nothing was sent"),
        (("run", "mute", "--", "true"), "nothing was sent"),
        (("connect", "mute"), "no connection is made"),
        (("doctor", "mute"), "nothing is changed"),
        (("put", "mute", "/etc/hostname", "to"), "nothing is changed"),
        (("get", "mute", "/etc/hostname", "/tmp"), "nothing is changed"),
        (("ssh", "mute", "true"), "nothing is changed"),
        (("poll", "--host", "mute", "--adopt"), "nothing is changed"),
        (("run", "mute", "--detach-on-signal", "--", "true"), "nothing was sent"),
    ],
    ids=lambda words: words[0] if isinstance(words, tuple) else "",
)
def test_a_verb_says_what_it_waits_for_and_what_an_interrupt_leaves(
    cli: Cli, place: Path, words: tuple[str, ...], left: str
) -> None:
    """A silent port is told within seconds, and Ctrl-C says that nothing was sent."""
    with silent_port(cli, place) as config:
        env = {"SSHJOBS_SSH_CONFIG": str(config)}
        process = cli.start(*words, env=env)
        said = read_until(process.stderr, "Ctrl-C")
        assert re.search(rf"^sshjobs: mute: connecting, .*Ctrl-C: {left}$", said, re.M)
        ended = interrupt(process)
    assert ended.status == 130
    assert "interrupted: " in ended.err and "Traceback" not in ended.err
    assert len(re.findall("Ctrl-C", ended.err)) <= 1  # a line a change, no more
    assert cli.ok("list").out == ""


def test_status_tells_what_it_waits_for_while_a_job_runs(
    fleet: Fleet, place: Path
) -> None:
    """And a run whose connection is gone says that its job is there."""
    fleet.add("n0", relayed=True)
    fleet.write()
    runs = [
        fleet.cli.start("run", "n0", *flag, "--", "echo up; sleep 300")
        for flag in ((), ("--detach-on-signal",))
    ]
    for run in runs:
        assert run.stdout is not None and run.stdout.readline() == b"up\n"
    fleet.relays["n0"].hole = True
    fleet.relays["n0"].drop()
    status = fleet.cli.start("status", "--wait-host", "60")
    assert re.search(
        "n0: .*; Ctrl-C: nothing is changed", read_until(status.stderr, "Ctrl-C")
    )
    interrupt(status)
    for run, left in zip(runs, ("the job is cancelled", "the job goes on")):
        read_until(run.stderr, f"; Ctrl-C: {left}")
    for run in runs:
        run.kill()
    finish(runs)


def test_a_refused_connection_is_counted(cli: Cli) -> None:
    assert cli.sshd is not None
    cli.sshd.stop()
    process = cli.start("submit", "box", "--", "true")
    said = read_until(process.stderr, " of 5 in ")  # which one is a matter of chance
    assert re.search(r"box: Connection refused, try [2-5] of 5 in \d+ s; Ctrl-C", said)
    cli.sshd.start()
    assert finish([process])[0].status == 0


def test_an_interrupted_wait_says_how_to_come_back(cli: Cli) -> None:
    job = cli.submit("--", "sleep 60")
    process = cli.start("wait", job, "--timeout", "1h")
    read_until(process.stderr, "waiting for 1 job")
    ended = interrupt(process)
    assert ended.status == 130
    assert "the jobs go on. To wait for them again:\n" in ended.err
    assert f"\n  sshjobs wait {job} --timeout 3600\n" in ended.err
    assert cli.state(job) == "RUNNING"
    cli.ok("kill", job)


def test_an_interrupted_submit_names_what_was_sent(
    new_box: Callable[..., Cli], place: Path
) -> None:
    """The host has the request, and its answer is still out."""
    gate = place / "answer"
    box = new_box(ForceCommand=f"until [ -e {gate} ]; do sleep 0.1; done; exec sh")
    process = box.start("submit", "box", "--", "true")
    said = read_until(process.stderr, "no answer")
    assert "Ctrl-C: what was sent goes on" in said
    ended = interrupt(process)
    assert ended.status == 130
    found = re.search(
        r"1 job was sent, and goes on there.*\n  sshjobs poll (\w+)", ended.err
    )
    assert found is not None, ended
    gate.touch()
    eventually(lambda: box.state(found[1]) == "COMPLETED", "the job")


def test_the_log_of_a_cancelled_run_flows_on(cli: Cli) -> None:
    """The log of a cancelled run flows on while its job has its grace."""
    go = cli.home.parent / "go"
    trap = f"echo tidy; while [ ! -e {go} ]; do sleep 0.1; done; echo done; exit 3"
    line = f"trap '{trap}' TERM; echo up; sleep 60 & wait"
    run = cli.start("run", "box", "--", line)
    assert run.stdout is not None and run.stdout.readline() == b"up\n"
    os.kill(run.pid, signal.SIGINT)
    said = read_until(run.stderr, "Ctrl-C again")
    assert "is being cancelled: TERM, and KILL after 10 s" in said
    assert run.stdout.readline() == b"tidy\n"
    assert run.poll() is None
    go.touch()
    (ended,) = finish([run])
    assert ended.status == 143 and ended.raw == b"done\n"


def test_a_second_interrupt_says_what_it_leaves(cli: Cli) -> None:
    line = "trap 'echo no' TERM; echo up; while :; do sleep 0.1; done"
    run = cli.start("run", "box", "--", line)
    assert run.stdout is not None and run.stdout.readline() == b"up\n"
    os.kill(run.pid, signal.SIGINT)
    read_until(run.stdout, "no")  # bash says first that its sleep was terminated
    ended = interrupt(run)
    assert ended.status == 130
    found = re.search(
        r"job (\w+) was told to end, and its host sees to that", ended.err
    )
    assert found is not None, ended
    job = found[1]
    assert f"\n  sshjobs logs {job} --follow\n" in ended.err
    cli("wait", job)
    assert cli.state(job) == "CANCELLED"


@pytest.mark.parametrize("columns", [80, 140])
def test_a_wait_on_a_terminal_has_one_line_that_lives(
    cli: Cli, place: Path, columns: int
) -> None:
    gate = place / "host" / "go"
    waits = f"until [ -e {gate} ]; do sleep 0.1; done"
    jobs = [
        cli.submit("--name", f"job-{n}", "--", f"{waits}; exit {n}") for n in (0, 1)
    ]
    with open_terminal(cli, place / "term", columns) as terminal:
        terminal.type("sshjobs wait")
        shown = terminal.wait_for("0/2 done · 2 running")
        assert shown.splitlines()[1:] == ["0/2 done · 2 running"], shown
        gate.touch()
        shown = terminal.wait_for("jobs have ended")
        shown = terminal.wait_for("badly")
        eventually(lambda: terminal.screen.endswith("$"), "the prompt")
        lines = terminal.screen.splitlines()
        assert {lines[1].split()[0], lines[2].split()[0]} == set(jobs)
        assert re.fullmatch(
            r"sshjobs: 2 of 2 jobs have ended, 1 badly, after .*s", lines[3]
        )
        assert lines[4] == f"sshjobs: {jobs[1]} job-1: FAILED: its log is empty"
        assert max(map(len, lines)) <= columns
        assert "done ·" not in terminal.screen


def test_a_terminal_without_a_cursor_gets_a_line_a_change(
    cli: Cli, place: Path
) -> None:
    job = cli.submit("--", "sleep 60")
    with open_terminal(cli, place / "term", 80) as terminal:
        terminal.type(f"TERM=dumb sshjobs wait {job}")
        terminal.wait_for("sshjobs: waiting for 1 job")
        terminal.press("C-c")
        shown = terminal.wait_for("To wait for them again")
        assert shown.count("waiting for 1 job") == 1
    cli.ok("kill", job)


@pytest.mark.quick
def test_a_line_is_cut_by_the_columns_it_takes() -> None:
    assert cut_to_width("abc", 3) == "abc"
    assert cut_to_width("abcd", 3) == "ab…"
    assert cut_to_width("日本語", 6) == "日本語"
    assert cut_to_width("日本語", 5) == "日本…"
    assert cut_to_width("日本語", 4) == "日…"
    assert cut_to_width("e\u0301e\u0301e\u0301", 3) == "e\u0301e\u0301e\u0301"


#: Sends the timer's signal in the middle of an import of the verb's own.
_ALARM_IN_IMPORT = """
import os, signal, sys
seen = []
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "sshjobs.transports.identity.ssh_config":
            os.kill(os.getpid(), signal.SIGALRM)
            seen.append("sshjobs.cli.progress" in sys.modules)
sys.meta_path.insert(0, Finder())
from sshjobs.cli.main import main
main(["submit", "nobody.invalid", "--wait-host", "0", "--", "true"])
assert seen == [False], seen
"""


def test_a_signal_in_the_middle_of_an_import_imports_nothing(cli: Cli) -> None:
    """It would break that import: KeyError in importlib (CPython 3.11)."""
    done = subprocess.run(
        [sys.executable, "-c", _ALARM_IN_IMPORT], env=cli.env, stderr=-1, text=True
    )
    assert "AssertionError" not in done.stderr and done.returncode == 0, done.stderr
