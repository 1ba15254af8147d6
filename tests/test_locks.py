"""The leader's lock and the bell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sshjobs import locks
from sshjobs.locks import Bell, LeaderLock

pytestmark = pytest.mark.quick


class Generation:
    """What the store keeps."""

    def __init__(self) -> None:
        self.number = 0

    def current(self) -> int:
        return self.number

    def advance(self, seen: int) -> bool:
        if seen != self.number:
            return False
        self.number += 1
        return True


@pytest.fixture
def generation() -> Generation:
    return Generation()


def lead(folder: Path, generation: Generation) -> LeaderLock:
    return LeaderLock(str(folder), "c", generation.current, generation.advance)


def test_one_leads(tmp_path: Path, generation: Generation) -> None:
    one, two = lead(tmp_path, generation), lead(tmp_path, generation)
    assert one.try_to_lead() and one.is_held
    assert not two.try_to_lead()
    one.release()
    assert two.try_to_lead()
    two.release()


def test_a_leader_without_a_beat_is_overtaken(
    tmp_path: Path, generation: Generation
) -> None:
    one, two, three = (lead(tmp_path, generation) for _ in range(3))
    assert one.try_to_lead()
    os.utime(tmp_path / "round.c.0", (0, 0))
    assert two.try_to_lead()
    assert (two.generation, generation.number) == (1, 1)
    assert not three.try_to_lead()
    assert not (tmp_path / "round.c.0").exists()
    two.release()  # the signals that it blocked last are let in first
    one.release()


def test_a_beat_from_the_future_is_none(tmp_path: Path, generation: Generation) -> None:
    one, two = lead(tmp_path, generation), lead(tmp_path, generation)
    assert one.try_to_lead()
    os.utime(tmp_path / "round.c.0", (4e9, 4e9))
    assert two.try_to_lead()
    two.release()
    one.release()


def test_who_looked_too_early_does_not_lead(
    tmp_path: Path, generation: Generation
) -> None:
    late = LeaderLock(str(tmp_path), "c", lambda: next(answers), generation.advance)
    answers = iter([0, 1, 1])
    assert not late.try_to_lead()


def test_a_leader_cannot_be_stopped_from_the_terminal(
    tmp_path: Path, generation: Generation
) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    one = lead(tmp_path, generation)
    assert one.try_to_lead()
    assert signal.SIGTSTP in signal.pthread_sigmask(signal.SIG_BLOCK, [])
    one.release()
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


FORKS = """
import os, sys, time
from sshjobs.locks import LeaderLock
one = LeaderLock(sys.argv[1], "c", lambda: 0, lambda seen: False)
assert one.try_to_lead()
if os.fork() == 0:
    print("child", flush=True)
    time.sleep(600)
"""


def test_a_lock_does_not_span_a_fork(tmp_path: Path, generation: Generation) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", FORKS, str(tmp_path)],
        stdout=subprocess.PIPE,
        start_new_session=True,
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"child\n"
    parent.wait()
    one = lead(tmp_path, generation)
    assert one.try_to_lead()
    one.release()
    os.killpg(parent.pid, signal.SIGKILL)
    parent.stdout.close()


def test_a_bell_wakes_who_waits(tmp_path: Path) -> None:
    with Bell(str(tmp_path), "c") as one, Bell(str(tmp_path), "c") as two:
        one.be_reachable()
        assert not one.wait_for_ring(0)
        two.ring_others()
        two.ring_others()
        assert one.wait_for_ring(60)
        assert not one.wait_for_ring(0)


def test_a_bell_is_deaf_to_itself_and_leaves_nothing(tmp_path: Path) -> None:
    with Bell(str(tmp_path), "c") as one:
        one.be_reachable()
        one.ring_others()
        assert not one.wait_for_ring(0)
    assert os.listdir(tmp_path) == []


def test_the_bells_of_the_dead_are_taken_down(tmp_path: Path) -> None:
    script = (
        "import os, sys; from sshjobs.locks import Bell\n"
        "bell = Bell(sys.argv[1], 'c'); bell.be_reachable(); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=True)
    assert len(os.listdir(tmp_path / "w-c")) == 1
    Bell(str(tmp_path), "c").ring_others()
    assert os.listdir(tmp_path / "w-c") == []
    Bell(str(tmp_path), "c").remove_dead()
    assert os.listdir(tmp_path) == []


def test_beats_are_rare(tmp_path: Path, generation: Generation) -> None:
    one = lead(tmp_path, generation)
    assert one.try_to_lead()
    os.utime(tmp_path / "round.c.0", (0, 0))
    one.show_beat()
    assert os.stat(tmp_path / "round.c.0").st_mtime == 0
    one._beat_at -= locks._BEAT
    one.show_beat()
    assert os.stat(tmp_path / "round.c.0").st_mtime > 0
    one.release()


def test_bells_come_and_go_at_once(tmp_path: Path) -> None:
    """The last one takes the directory away while others want to hang in it."""

    def come_and_go() -> None:
        for _ in range(100):
            with Bell(str(tmp_path), "c") as bell:
                bell.be_reachable()

    with ThreadPoolExecutor(6) as pool:
        for one in [pool.submit(come_and_go) for _ in range(6)]:
            one.result()
    assert os.listdir(tmp_path) == []


def test_a_lead_that_is_cleared_leaves_nothing(
    tmp_path: Path, generation: Generation
) -> None:
    one, two = lead(tmp_path, generation), lead(tmp_path, generation)
    assert one.try_to_lead()
    two.remove_file()
    assert len(os.listdir(tmp_path)) == 1
    one.release()
    two.remove_file()
    assert os.listdir(tmp_path) == []
