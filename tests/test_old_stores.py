"""A store that an older sshjobs wrote, and processes that work while it is migrated."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from sshjobs.errors import StoreError
from sshjobs.store import Store, schema

pytestmark = pytest.mark.quick


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(str(tmp_path / "home"))


def test_a_host_of_which_nothing_is_known_or_wanted_is_forgotten(store: Store) -> None:
    row = store.know_host("c", "h")
    store.know_host("d", "wanted")
    store.add_intents("d", "start", ["x"])
    assert not store.forget_host("c", row.since - 1.0)
    assert store.forget_host("c", row.since)
    assert not store.forget_host("d", row.since + 60.0)
    assert [row.host for row in store.hosts()] == ["wanted"]


def test_who_is_at_work_hears_of_a_step_that_renames(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.know_host("c", "h")
    numbers = store.add_intents("c", "start", ["x"])
    version = schema.VERSION
    with monkeypatch.context() as patch:
        rename = "ALTER TABLE intents RENAME COLUMN sent TO sent_at"
        patch.setitem(schema.MIGRATIONS, version, (version + 1, rename))
        patch.setattr(schema, "VERSION", version + 1)
        Store(store.home).close()
    with pytest.raises(StoreError, match=f"newer sshjobs .* version {version + 1}"):
        store.mark_sent(numbers)
    with closing(store):
        rows = store._fetch_rows("SELECT job_id, sent_at FROM intents")
    assert rows == [("x", 0)]
