"""The row of a connection, as other processes see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sshjobs.rounds import Coordinator
from sshjobs.settings import Settings
from sshjobs.store import Store
from sshjobs.transports import Identity


def test_a_new_site_is_whole_from_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``reap --orphans`` beside a first contact had no base directory."""
    store = Store(str(tmp_path / "home"))
    monkeypatch.setattr(store.sites, "update_site", None)
    identity = Identity("c" * 16, "h", "h", "h", "u", 22)
    Coordinator(store, identity, Settings(remote_base_dir="/b"), str(tmp_path))
    (row,) = store.sites.list_sites()
    assert (row.base, row.identity) == ("/b", identity.to_bytes())
