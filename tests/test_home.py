"""What lies where our own should lie, and is somebody else's, is never used."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sshjobs.errors import StoreError
from sshjobs.model import Spec, new_job_id, pack
from sshjobs.owned import make_private, open_owned
from sshjobs.rounds.reply_sink import open_log
from sshjobs.store import Store
from sshjobs.transports import Identity, check_rundir
from tests.cli import Cli, Ended

#: An ordinary user that nobody is.
_OTHER = 54321

_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


def _give(path: Path) -> None:
    os.chown(path, _OTHER, _OTHER, follow_symlinks=False)


def _open(path: Path) -> None:
    path.chmod(0o777 if path.is_dir() else 0o666)


def _link(path: Path) -> None:
    """Move a thing aside, and leave a link to it."""
    path.rename(path.with_name("aside"))
    path.symlink_to("aside")


def _replace(path: Path) -> None:
    """Put a FIFO in the place of a file, a file in that of a directory."""
    path.rename(path.with_name("aside"))
    if path.with_name("aside").is_dir():
        path.touch()
    else:
        os.mkfifo(path)


_HARM = [
    pytest.param(_give, "belongs to uid 54321, not to uid", marks=_root),
    (_open, "others can write there"),
    (_link, "a symbolic link"),
    (_replace, "not a (regular file|directory)"),
]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home of ours with a spec and a log in it."""
    store = Store(str(tmp_path / "home"))
    store.files.save_spec("a" * 16, Spec(b"true"))
    with store.files.hold_off_sweep():
        Path(store.files.locate_log("a" * 16)).write_bytes(b"x")
    store.close()
    return tmp_path / "home"


@pytest.mark.parametrize(("harm", "text"), _HARM)
@pytest.mark.parametrize("name", ["", "specs", "logs", "locks", "store.db"])
def test_a_store_is_ours_or_is_not_opened(
    home: Path, name: str, harm: Callable[[Path], None], text: str
) -> None:
    path = home / name
    harm(path)
    with pytest.raises(StoreError, match=text) as caught:
        Store(str(home))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(("harm", "text"), _HARM)
@pytest.mark.parametrize("name", ["store.db-wal", "store.db-shm", "store.db-journal"])
def test_what_sqlite_would_read_beside_it_is_ours(
    home: Path, name: str, harm: Callable[[Path], None], text: str
) -> None:
    path = home / name
    path.touch(0o600)
    harm(path)
    with pytest.raises(StoreError, match=text):
        Store(str(home))


@pytest.mark.parametrize(("harm", "text"), _HARM)
@pytest.mark.parametrize("name", ["specs/" + "a" * 16, "logs/" + "a" * 16])
def test_a_file_of_a_job_is_ours_or_is_not_read(
    home: Path, name: str, harm: Callable[[Path], None], text: str
) -> None:
    harm(home / name)
    store = Store(str(home))
    try:
        with pytest.raises(StoreError, match=text):
            if name.startswith("specs"):
                store.files.read_spec("a" * 16)
            else:
                os.close(open_log(store.files.locate_log("a" * 16)))
    finally:
        store.close()


@pytest.mark.parametrize(("harm", "text"), _HARM)
def test_a_lock_is_ours_or_is_not_taken(
    home: Path, harm: Callable[[Path], None], text: str
) -> None:
    harm(home / "locks" / "specs")
    store = Store(str(home))
    try:
        with pytest.raises(StoreError, match=text), store.files.hold_off_sweep():
            raise AssertionError("it was taken")
    finally:
        store.close()


@pytest.mark.parametrize(("harm", "text"), _HARM)
def test_a_directory_of_sockets_is_ours(
    place: Path, harm: Callable[[Path], None], text: str
) -> None:
    path = place / "run"
    path.mkdir(0o700)
    harm(path)
    with pytest.raises(StoreError, match=text) as caught:
        check_rundir(str(path))
    assert "remove" not in str(caught.value)


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_every_parent_that_we_make_is_private(tmp_path: Path, umask: int) -> None:
    old = os.umask(umask)
    try:
        make_private(str(tmp_path / "a" / "b" / "c"))
        Store(str(tmp_path / "d" / "e")).close()
    finally:
        os.umask(old)
    for name in ("a", "a/b", "a/b/c", "d", "d/e", "d/e/specs"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o700, name


def test_a_home_that_anybody_can_replace_is_refused(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o777)
    with pytest.raises(StoreError, match="anybody can replace it"):
        Store(str(shared / "home"))
    shared.chmod(0o1777)
    Store(str(shared / "home")).close()


def test_a_fifo_makes_nobody_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x")
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDWR | os.O_CREAT):
        with pytest.raises(StoreError, match="not a regular file"):
            open_owned(str(tmp_path / "x"), flags)


def _as(uid: int, cli: Cli, *words: str) -> Ended:
    """Run a command as another user, with a home that is ours."""
    process = cli.start(*words, user=uid, group=uid, extra_groups=[], cwd="/")
    out, err = process.communicate(timeout=60)
    return Ended(process.returncode, out, err)


@_root
def test_a_made_up_uid_needs_a_home(cli: Cli, place: Path) -> None:
    """A container's uid that has no entry in the password file."""
    place.chmod(0o1777)
    del cli.env["SSHJOBS_HOME"]
    ended = _as(_OTHER, cli, "list")
    assert (ended.status, ended.err.count("\n")) == (64, 1), ended
    assert "uid 54321 has no entry in the password file" in ended.err
    assert "SSHJOBS_HOME" in ended.err
    cli.env["SSHJOBS_HOME"] = str(place / "theirs")
    assert _as(_OTHER, cli, "list").status == 0
    cli.env["SSHJOBS_REMOTE_BASE_DIR"] = str(place / "base")
    ended = _as(_OTHER, cli, "run", "--shell", "sh", "local", "--", "echo hi")
    assert (ended.status, ended.out) == (0, "hi\n"), ended
    ended = _as(_OTHER, cli, "run", cli.host, "--", "echo hi")
    assert ended.status in (64, 69), ended
    assert "54321" in ended.err


@_root
def test_nobody_works_in_the_home_of_another(cli: Cli) -> None:
    """By sudo with SSHJOBS_HOME kept, or one that was made beforehand in /tmp."""
    cli.ok("list")
    ended = _as(_OTHER, cli, "list")
    assert ended.status == 70
    assert f"{cli.home}: belongs to uid 0 (root), not to uid 54321" in ended.err
    os.chown(cli.home, _OTHER, _OTHER)
    ended = cli("submit", cli.host, "--", "true")
    assert ended.status == 70
    assert f"{cli.home}: belongs to uid 54321, not to uid 0 (root)" in ended.err
    assert cli.sshd is not None and cli.sshd.connections == 0


def test_no_program_of_a_record_is_run(cli: Cli, place: Path) -> None:
    """The ssh of now is the one that PATH has, whatever the record says."""
    job = cli.submit("--", "sleep 1")
    cli.ok("disconnect", cli.host)
    planted = place / "planted"
    planted.write_text(f'#!/bin/sh\ntouch {place}/ran\nexec ssh "$@"\n')
    planted.chmod(0o755)
    store = Store(str(cli.home))
    try:
        for row in store.sites.list_sites():
            values = list(Identity.from_bytes(row.identity))
            values[Identity._fields.index("ssh")] = str(planted)
            store.sites.update_site(row.site_id, identity=pack(tuple(values)))
        store._database.execute_sql(
            "UPDATE identities SET data = ?", [pack(tuple(values))]
        )
    finally:
        store.close()
    assert cli("wait", job).status == 0
    assert cli("run", cli.host, "--", "true").status == 0
    assert not (place / "ran").exists()


@pytest.mark.parametrize(
    ("mode", "owner", "text"),
    [
        (0o602, -1, "others can write to it"),
        (0o620, -1, "others can write to it"),
        pytest.param(0o600, _OTHER, "belongs to uid 54321", marks=_root),
    ],
)
def test_a_config_that_others_could_write_is_refused(
    cli: Cli, place: Path, mode: int, owner: int, text: str
) -> None:
    config = place / "config.toml"
    config.write_text("persist = 5\n")
    cli.env["SSHJOBS_CONFIG"] = str(config)
    cli.ok("list")
    link = place / "link.toml"
    link.symlink_to(config)
    cli.env["SSHJOBS_CONFIG"] = str(link)
    cli.ok("list")
    config.chmod(mode)
    os.chown(config, owner, -1)
    ended = cli("list")
    assert ended.status == 70
    assert text in ended.err


def test_a_start_looks_at_few_things(home: Path) -> None:
    """What is looked at is constant, however many jobs there are."""
    script = (
        "import os, sys; from sshjobs.store import Store; calls = []; real = os.lstat\n"
        "os.lstat = lambda *a, **k: calls.append(a) or real(*a, **k)\n"
        f"Store({str(home)!r}).close(); print(len(calls))"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True)
    first = int(told.stdout)
    for _ in range(50):
        (home / "specs" / new_job_id()).touch(0o600)
    told = subprocess.run([sys.executable, "-c", script], capture_output=True)
    assert int(told.stdout) == first
