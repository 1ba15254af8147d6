"""Threads of one process write in turn, and wait for as long as others write."""

from __future__ import annotations

from pathlib import Path

import pytest

from sshjobs.store import Store, database


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "home"))


class SlowTurn:
    """A turn that is free after some waits, in each of which another thread had it."""

    def __init__(self, path: str, others: int) -> None:
        self.waits = 0
        self._path, self._others = path, others

    def acquire(self, _blocking: bool, _seconds: float) -> bool:
        self.waits += 1
        had = database._turns_had
        if self.waits <= self._others:
            had[self._path] = had.get(self._path, 0) + 1
        return self.waits == self._others + 1

    def release(self) -> None:
        self.waits = -1


@pytest.mark.parametrize("others", [0, 3])
def test_a_thread_waits_for_its_turn_while_others_have_theirs(
    store: Store, monkeypatch: pytest.MonkeyPatch, others: int
) -> None:
    turn = SlowTurn(store.path, others)
    monkeypatch.setitem(database._turns, store.path, turn)
    with store.begin_write():
        assert turn.waits == others + 1
    assert turn.waits == -1


def test_a_thread_without_a_turn_asks_sqlite_once_nobody_has_one(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn = SlowTurn(store.path, 0)
    turn.waits = 1  # it is never free
    monkeypatch.setitem(database._turns, store.path, turn)
    with store.begin_write():
        assert turn.waits == 2
