"""The one lock on a file that all others are made of."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from sshjobs import locks
from sshjobs.errors import StoreError
from sshjobs.locks import FileLock

pytestmark = pytest.mark.quick


def holds(lock: FileLock) -> bool:
    return lock.is_held


def test_one_holds_it_and_the_next_after_it(tmp_path: Path) -> None:
    one, two = (FileLock(str(tmp_path / "lock")) for _ in range(2))
    assert one.try_to_hold() and holds(one) and one.names_its_file()
    assert not two.try_to_hold() and not holds(two)
    one.release()
    one.release()
    assert not holds(one) and two.try_to_hold()
    two.release()


def test_a_shared_one_keeps_out_only_who_wants_it_alone(tmp_path: Path) -> None:
    one, two, alone = (FileLock(str(tmp_path / "lock")) for _ in range(3))
    assert one.try_to_hold(shared=True) and two.try_to_hold(shared=True)
    one.release()
    assert not alone.try_to_hold()
    two.release()
    assert alone.try_to_hold()
    alone.release()


def test_a_file_that_is_not_there_is_made_or_not(tmp_path: Path) -> None:
    lock = FileLock(str(tmp_path / "lock"))
    assert not lock.try_to_hold(create=False)
    assert os.listdir(tmp_path) == []
    with lock:
        assert lock.try_to_hold()
        assert os.stat(lock.path).st_mode & 0o777 == 0o600
    assert not holds(lock)
    with pytest.raises(StoreError, match="No such file"):
        FileLock(str(tmp_path / "none" / "lock")).try_to_hold()


def test_a_file_that_was_replaced_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "lock"
    lock = FileLock(str(path))
    before = set(locks._held)  # of threads that other tests have left

    def replaced(fd: int, how: int) -> None:
        path.unlink()
        path.touch()

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", replaced)
        assert not lock.try_to_hold()
    assert not holds(lock) and locks._held <= before
    assert lock.try_to_hold()
    path.unlink()
    assert holds(lock) and not lock.names_its_file()
    path.touch()
    lock.remove_file()
    assert path.exists() and not holds(lock)


def test_who_removes_the_file_lets_go(tmp_path: Path) -> None:
    lock = FileLock(str(tmp_path / "lock"))
    assert lock.try_to_hold()
    lock.remove_file()
    assert os.listdir(tmp_path) == [] and not holds(lock)
    lock.remove_file()


def test_taking_it_is_a_beat_and_an_old_one_is_stale(tmp_path: Path) -> None:
    lock = FileLock(str(tmp_path / "lock"))
    assert not lock.has_stale_beat()
    for instant in (0, 4e9):
        (tmp_path / "lock").touch(0o600)
        os.utime(lock.path, (instant, instant))
        assert lock.has_stale_beat()
        assert lock.try_to_hold() and not lock.has_stale_beat()
        os.utime(lock.path, (instant, instant))
        lock.show_beat()
        assert not lock.has_stale_beat()
        os.utime(lock.path, (instant, instant))
        lock.write_stamp(b"7  ")
        assert not lock.has_stale_beat()
        assert (tmp_path / "lock").read_bytes() == b"7  "
        lock.release()


def test_waiting_for_it_has_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = (FileLock(str(tmp_path / "lock")) for _ in range(2))
    one.hold(shared=True)
    two.hold(shared=True)
    two.release()
    monkeypatch.setattr(locks, "BOUND", 0.05)
    with pytest.raises(StoreError, match="has held the lock for 0.05 s: .*lsof"):
        two.hold()
    one.release()
    two.hold()
    two.release()
