"""Whoever looks at the line of a host is slow, or dies, at any line of its program."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sshjobs import protocol
from sshjobs.protocol import Request
from tests.remote.host import Host, end_all, wait
from tests.remote.test_limits import count_most, note_jobs, queue_of, read_notes, submit

#: Each works once, so that who comes after is as quick as ever, and can do its work.
#: What is inserted leaves the status as it was: a line may be the last of a function.
ONCE = b'sj_kept=$?; mkdir "$HOME/met" 2>/dev/null && %s; (exit $sj_kept)'
DIE, WAIT = ONCE % b"kill -9 $$", ONCE % b"sleep 0.5 </dev/null"


def places(act: bytes) -> list[tuple[bytes, bytes, bytes]]:
    """Return each line, and what to replace by what to have something happen there."""
    program = protocol.build(Request(launchers=("limit",)), "0" * 16)
    found = []
    for first, last in (
        (b"sj_find_highest() {", b"sj_make_turn() {"),
        (b"sj_load_told() {", b"sj_load_told &&"),
    ):
        start = program.index(first)
        lines = program[start : program.index(last, start)].splitlines(keepends=True)
        for at in range(1, len(lines)):
            if lines[at - 1].endswith((b"\\\n", b"|\n")):  # within a command
                continue
            there = b"".join(lines[:at]), b"".join(lines[at:])
            changed = (act + b"\n").join(there)
            shell = changed.replace(rb"'\''", b"'")  # the program stands in quotes
            if not subprocess.run(
                ["sh", "-n"], input=shell, capture_output=True
            ).returncode:
                found.append((lines[at], b"".join(there), changed))
    return found


def run_case(home: Path, place: tuple[bytes, bytes, bytes]) -> tuple[object, ...]:
    """Have jobs run, two at a time, while something happens at a line."""
    line, before, after = place
    home.mkdir()
    host = Host(home)
    host.env["SJTEST"] = str(host.base)
    host.edit = lambda program: program.replace(before, after)
    try:
        submit(host, *note_jobs(host, 0.1, 5), limits="-=2")
        host.edit = lambda program: program

        def are_over() -> bool:
            host.run()
            return len(read_notes(host)) == 10

        wait(are_over)
        assert count_most(read_notes(host)) <= 2
        wait(lambda: host.run() and not queue_of(host).exists())
        assert sorted(read_notes(host)) == sorted(set(read_notes(host))), "ran twice"
    except (AssertionError, subprocess.TimeoutExpired) as error:
        return line, repr(error), read_notes(host), sorted(queue_of(host).glob("*/*"))
    finally:
        end_all(host)
    return ()


def check_places(folder: Path, act: bytes, step: int) -> None:
    """Have something happen at every so many lines, each in a home of its own."""
    found = places(act)
    assert len(found) > 100
    some = found[::step]
    homes = [folder / str(at) for at in range(len(some))]
    with ThreadPoolExecutor(4) as pool:
        errors = list(pool.map(run_case, homes, some))
    assert [error for error in errors if error] == []


@pytest.mark.parametrize("act", [DIE, WAIT], ids=["dies", "is slow"])
def test_at_some_lines(act: bytes, tmp_path: Path) -> None:
    check_places(tmp_path, act, 40)


@pytest.mark.slow
@pytest.mark.timeout(3000)
@pytest.mark.parametrize("act", [DIE, WAIT], ids=["dies", "is slow"])
def test_at_each_line(act: bytes, tmp_path: Path) -> None:
    check_places(tmp_path, act, 1)
