"""Locks and bells at their ends: never led, taken away meanwhile, unreadable."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import pytest

from sshjobs import holders, locks
from sshjobs.errors import StoreError
from sshjobs.holders import describe_holders
from sshjobs.locks import Bell, LeaderLock
from sshjobs.owned import make_private

pytestmark = pytest.mark.quick


def test_a_lock_that_nobody_has_led_has_no_generation(tmp_path: Path) -> None:
    lock = LeaderLock(str(tmp_path), "c", lambda: 0, lambda seen: False)
    lock.release()
    lock.show_beat()
    assert (lock.generation, lock.is_held) == (-1, False)


def test_a_lock_whose_file_was_removed_is_led_by_nobody(tmp_path: Path) -> None:
    lock = LeaderLock(str(tmp_path), "c", lambda: 0, lambda seen: False)
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    lock.remove_file()
    assert not lock.is_held and os.listdir(tmp_path) == []
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_of_the_locks_of_this_machine_those_that_hinder_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Linux tells them: proc_locks(5)."""
    path = tmp_path / "lock"
    path.touch()
    inode = path.stat().st_ino
    rows = (
        "1: FLOCK  ADVISORY  WRITE 71 fe:00:1 0 EOF",
        f"2: -> FLOCK  ADVISORY  WRITE 72 fe:00:{inode} 0 EOF",
        f"3: OFDLCK  ADVISORY  WRITE -1 fe:00:{inode} 0 EOF",
        f"4: FLOCK  ADVISORY  WRITE 74 fe:00:{inode} 0",
        f"5: FLOCK  ADVISORY  WRITE {os.getpid()} fe:00:{inode} 0 EOF",
        f"6: POSIX  ADVISORY  READ 76 fe:00:{inode} 0 EOF",
        f"7: FLOCK  ADVISORY  READ 77 fe:00:{inode} 0 EOF",
        f"8: POSIX  ADVISORY  WRITE 78 fe:00:{inode} 0 EOF",
        f"9: FLOCK  ADVISORY  WRITE 1 fe:00:{inode} 0 EOF",
    )
    texts = {
        "/proc/locks": "\n".join(rows),
        "/proc/77/cmdline": "a\0b\x1b\0",
        "/proc/77/stat": "77 (a) b) T 1",
        "/proc/78/stat": "78 (a) S 1",
    }
    monkeypatch.setattr(holders, "_read_text", lambda name: texts.get(name, ""))
    assert describe_holders(str(path)) == (
        "process 77 (a b\\x1b, stopped), process 78 (of another user), process 1 (of "
        "another user); nothing was done: if it is stopped, kill -CONT 77 78 1 lets it "
        "go on, and kill -KILL 77 78 1 ends it"
    )


def test_where_no_process_can_be_read_nobody_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(holders, "open", refuse, raising=False)
    told = describe_holders("/none/lock")
    assert told == "another process (lsof /none/lock names it); nothing was done"


def test_a_bell_hangs_though_its_directory_was_just_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = make_private, [0]

    def make_and_lose(path: str) -> bool:
        is_new = make(path)
        made[0] += 1
        if made[0] < 3:
            os.rmdir(path)
        return is_new

    monkeypatch.setattr(locks, "make_private", make_and_lose)
    with Bell(str(tmp_path), "c") as bell:
        assert bell.be_reachable()
        assert len(os.listdir(tmp_path / "w-c")) == 1
    assert made[0] == 3


def test_the_bells_of_the_dead_are_taken_down(tmp_path: Path) -> None:
    (tmp_path / "w-c").mkdir()
    for name in ("one", "two"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as dead:
            dead.bind(str(tmp_path / "w-c" / name))
    Bell(str(tmp_path), "c").remove_dead()
    assert os.listdir(tmp_path) == []


def test_a_directory_of_bells_that_cannot_be_removed_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(1, "Operation not permitted", path)

    monkeypatch.setattr(os, "rmdir", refuse)
    with pytest.raises(StoreError, match="not permitted"):
        Bell(str(tmp_path), "c").remove_dead()
