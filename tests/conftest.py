"""Fixtures that talk to a real sshd."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sshjobs.store.database import Database
from tests.cli import Cli, end_jobs
from tests.fleet import Fleet
from tests.remote.host import any_host, host, paths, small_disk  # noqa: F401
from tests.sshd import Sshd, sshd_path
from tests.transport_caller import TransportCaller

#: Modules with tests that take long: begun first, so that none of them is the last to
#: run, alone. Within a module, and among the others, the order stays.
LONG = ("test_demo", "test_crashes", "test_fuzz", "test_lying_server", "test_steps")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the modules that take long; xdist gives out whole modules in order."""
    ranks = {name: rank for rank, name in enumerate(LONG)}
    items.sort(key=lambda item: ranks.get(item.path.stem, len(LONG)))


@pytest.fixture(autouse=True, scope="session")
def empty_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let nothing that a test starts read the files of the account's own home."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("SSHJOBS_SHELL_STARTUP", "none")
        yield


@pytest.fixture(autouse=True, scope="session")
def spared_group() -> Iterator[None]:
    """Let no test signal the group of all tests, which is what group 0 means."""
    signal_group = os.killpg

    def signal_other_group(group: int, number: int) -> None:
        assert group > 1 and group != os.getpgrp(), f"killpg {group}"
        signal_group(group, number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "killpg", signal_other_group)
        yield


@pytest.fixture(autouse=True)
def closed_databases(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Close what a test leaves open of its stores: from 3.13 on Python warns of it."""
    opened: list[Any] = []
    opening = Database._open_current

    def open_and_note(store: Database) -> Any:
        opened.append(opening(store))
        return opened[-1]

    monkeypatch.setattr(Database, "_open_current", open_and_note)
    yield
    for database in opened:
        database.close()


def _login() -> str:
    """Return who logs in: an ordinary user where we may be root, else ourselves."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    named = os.environ.get("SSHJOBS_TEST_USER", "tester")
    return named if any(user.pw_name == named for user in pwd.getpwall()) else "root"


@pytest.fixture(scope="session")
def need_sshd() -> None:
    """Skip where there is no sshd; in CI its absence is a failure."""
    if not sshd_path():
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have sshd: apt-get install openssh-server")
        pytest.skip("no sshd here: apt-get install openssh-server")


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory with a short path that another user may look into.

    pytest's own are 0700 and so deep that no control socket fits (90 bytes).
    """
    folder = Path(tempfile.mkdtemp(prefix="sj", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    for _ in range(5):  # a job that has just been told to end may still write
        with suppress(OSError):
            shutil.rmtree(folder)
            return
        time.sleep(0.2)
    shutil.rmtree(folder)


@pytest.fixture
def new_sshd(need_sshd: None, place: Path) -> Iterator[Callable[..., Sshd]]:
    """Makes servers, each with sshd_config options of its own; ends them all."""
    made: list[Sshd] = []

    def make(**options: Any) -> Sshd:
        folder = place / f"sshd{len(made)}"
        folder.mkdir(mode=0o755)
        made.append(Sshd(folder, _login(), **options))
        return made[-1].start()

    yield make
    for one in made:
        one.close()


@pytest.fixture
def sshd(new_sshd: Callable[..., Sshd]) -> Sshd:
    """A stock server that counts."""
    return new_sshd()


@pytest.fixture
def cli(sshd: Sshd, place: Path) -> Iterator[Cli]:
    """The stock server, a home of ours, and the command line between them."""
    base = place / "base"
    login = pwd.getpwnam(sshd.user)
    outer = place / "host"
    outer.mkdir()
    os.chown(outer, login.pw_uid, login.pw_gid)
    base = outer / "base"
    made = Cli(sshd, place / "home", base)
    yield made
    made.close()
    end_jobs(base)


@pytest.fixture
def new_box(new_sshd: Callable[..., Sshd], place: Path) -> Iterator[Callable[..., Cli]]:
    """Makes a server with options of its own, a home, and the command line."""
    made: list[Cli] = []

    def make(**options: Any) -> Cli:
        sshd = new_sshd(**options)
        outer = place / f"host{len(made)}"
        outer.mkdir()
        login = pwd.getpwnam(sshd.user)
        os.chown(outer, login.pw_uid, login.pw_gid)
        made.append(Cli(sshd, place / f"home{len(made)}", outer / "base"))
        return made[-1]

    yield make
    for one in made:
        one.close()
        end_jobs(one.base)


@pytest.fixture
def new_caller(place: Path) -> Iterator[Callable[..., TransportCaller]]:
    """Makes callers that share one directory; no ssh process of theirs may remain."""
    made: list[TransportCaller] = []

    def make(sshd: Sshd | None, **values: Any) -> TransportCaller:
        made.append(TransportCaller(place / "run", sshd, **values))
        return made[-1]

    yield make
    for one in made:
        one.end_all()
    for one in made:
        assert one.ssh_pids() == []


@pytest.fixture
def caller(sshd: Sshd, new_caller: Callable[..., TransportCaller]) -> TransportCaller:
    """A caller of a stock server."""
    return new_caller(sshd)


@pytest.fixture
def fleet(new_sshd: Callable[..., Sshd], place: Path) -> Iterator[Fleet]:
    """Many names of one server; none is made yet."""
    sshd = new_sshd(ListenAddress="0.0.0.0", MaxStartups="200")
    made = Fleet(sshd, place)
    yield made
    made.close()
