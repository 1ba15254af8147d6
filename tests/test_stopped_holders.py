"""A process that is stopped with a lock of ours in hand holds nobody up for ever."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sshjobs import locks
from sshjobs.errors import StoreError
from sshjobs.holders import describe_holders
from sshjobs.store import Store, database

_FLOCK = """
import fcntl, os, signal, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(fd, fcntl.LOCK_EX)
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""

_WRITE = """
import os, signal, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


@contextmanager
def stopped(program: str, path: Path) -> Iterator[int]:
    """Have a process that takes a lock and is stopped; yield its number."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"held\n"
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
        yield process.pid
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "BOUND", 0.3)
    monkeypatch.setattr(database, "BUSY", 0.3)


def test_a_lock_has_a_bound_by_default() -> None:
    assert 5 <= locks.BOUND <= 60
    assert database.BUSY <= 60


def test_specs_and_schema_are_not_waited_for_for_ever(
    tmp_path: Path, soon: None
) -> None:
    home = tmp_path / "home"
    (home / "locks").mkdir(0o700, parents=True)
    home.chmod(0o700)
    path = home / "locks" / "schema"
    with stopped(_FLOCK, path) as pid:
        with pytest.raises(StoreError) as caught:
            Store(str(home))
        _names(str(caught.value), path, pid)
    store = Store(str(home))
    path = home / "locks" / "specs"
    try:
        with stopped(_FLOCK, path) as pid:
            with pytest.raises(StoreError) as caught, store.files.hold_off_sweep():
                raise AssertionError("it was taken")
            _names(str(caught.value), path, pid)
        with store.files.hold_off_sweep():
            assert store.sweep_specs() == 0
    finally:
        store.close()


def _names(text: str, path: Path, pid: int) -> None:
    assert str(path) in text
    assert f"process {pid} (" in text and "stopped" in text
    assert f"kill -CONT {pid}" in text and "nothing was done" in text


def test_a_stopped_writer_is_named(tmp_path: Path, soon: None) -> None:
    store = Store(str(tmp_path / "home"))
    try:
        with stopped(_WRITE, Path(store.path)) as pid:
            with pytest.raises(StoreError) as caught, store.begin_write():
                raise AssertionError("it began")
            _names(str(caught.value), Path(store.path), pid)
    finally:
        store.close()


def test_who_waits_for_a_lock_is_not_named(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with open(path, "w") as mine:
        fcntl.flock(mine, fcntl.LOCK_EX)
        waiter = subprocess.Popen([sys.executable, "-c", _FLOCK, str(path)])
        try:
            text = describe_holders(str(path))
        finally:
            waiter.send_signal(signal.SIGKILL)
            waiter.wait()
    assert str(waiter.pid) not in text
    assert f"lsof {path}" in text


def test_a_lock_that_is_given_back_is_taken(tmp_path: Path) -> None:
    """Who waits gets it as soon as the holder goes on."""
    store = Store(str(tmp_path / "home"))
    try:
        with stopped(_FLOCK, tmp_path / "home" / "locks" / "specs") as pid:
            os.kill(pid, signal.SIGCONT)
            with store.files.hold_off_sweep():
                assert os.listdir(tmp_path / "home" / "specs") == []
    finally:
        store.close()


def test_every_lock_of_ours_is_taken_with_a_bound() -> None:
    """No flock(2) in the package waits in the kernel."""
    top = Path(locks.__file__).parent
    for path in top.rglob("*.py"):
        for line in path.read_text().splitlines():
            if "fcntl.flock(" in line:
                assert "LOCK_NB" in line, f"{path}: {line}"


#: Is stopped at the index of the write-ahead log, as one that reads that log anew.
_RECOVER = """
import fcntl, os, signal, sys
file = open(sys.argv[1], "r+b")
fcntl.lockf(file, fcntl.LOCK_EX, 1, 120)
file.write(bytes(136))
file.flush()
print("held", flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def test_who_is_stopped_at_the_index_of_the_log_is_named(tmp_path: Path) -> None:
    """SQLite has words of its own for that, and a bound of 10 s."""
    home = tmp_path / "home"
    store = Store(str(home))
    other = Store(str(home))
    try:
        with stopped(_RECOVER, home / "store.db-shm") as pid:
            with pytest.raises(StoreError, match=rf"stands still: .*\b{pid}\b"):
                other.sites.list_sites()
    finally:
        other.close()
        store.close()
