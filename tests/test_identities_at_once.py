"""Processes that begin together: one asks what a name means, the others wait for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sshjobs import transports
from sshjobs.errors import SpecError, SshJobsError
from sshjobs.settings import Settings
from sshjobs.transports import Identity
from sshjobs.verbs import identities
from sshjobs.verbs.context import Context

pytestmark = pytest.mark.quick

FOUND = Identity("k" * 16, "h", "", "h", "u", 22, cacheable=True)


class Asked:
    """Stands in for ``ssh -G``: takes its time, and counts."""

    def __init__(self, answer: Callable[[], Identity], seconds: float = 0.3) -> None:
        self.count = 0
        self.answer = answer
        self.seconds = seconds

    def __call__(self, host: str, settings: Settings) -> Identity:
        self.count += 1
        time.sleep(self.seconds)
        return self.answer()


@pytest.fixture
def home(tmp_path: Path) -> Path:
    Context(environ={"SSHJOBS_HOME": str(tmp_path / "home")}).store.close()
    return tmp_path / "home"


@pytest.fixture
def all_ask(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Asked], list[object]]]:
    """Have six ask at once, each with a store of its own; return what each has got."""
    monkeypatch.setattr(Identity, "is_fresh", lambda identity: identity.cacheable)
    ready = threading.Barrier(6)
    got: list[object] = []

    def ask() -> None:
        context = Context(environ={"SSHJOBS_HOME": str(home)})
        settings = context.settings("h")
        context.store  # noqa: B018  it is opened before
        ready.wait()
        try:
            got.append(context.identity("h", settings))
        except SshJobsError as error:
            got.append(error)
        context.close()

    def all_ask(asked: Asked) -> list[object]:
        monkeypatch.setattr(transports, "resolve_host", asked)
        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return got

    yield all_ask
    assert not list((home / "locks").glob("identity*"))


Ask = Callable[[Asked], "list[object]"]


def test_one_asks_for_all(all_ask: Ask) -> None:
    asked = Asked(lambda: FOUND)
    assert all_ask(asked) == [FOUND] * 6
    assert asked.count == 1


def test_an_answer_that_is_not_kept_is_asked_for_by_each(all_ask: Ask) -> None:
    live = FOUND._replace(cacheable=False)
    asked = Asked(lambda: live)
    assert all_ask(asked) == [live] * 6
    assert asked.count == 6


def test_an_error_is_everybody_s_own(all_ask: Ask) -> None:
    def refuse() -> Identity:
        raise SpecError("no such name")

    asked = Asked(refuse)
    assert [str(error) for error in all_ask(asked)] == ["no such name"] * 6
    assert asked.count == 6


def test_who_was_stopped_while_it_asks_is_not_waited_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "_PATIENCE", 0.2)
    asked = Asked(lambda: FOUND, 0.0)
    monkeypatch.setattr(transports, "resolve_host", asked)
    context = Context(environ={"SSHJOBS_HOME": str(home)})
    settings = context.settings("h")
    name = "\n".join(("h", settings.ssh_config, settings.ssh_options, "auto"))
    with context.store.sites.make_identity_lock(name) as lock:
        assert lock.try_to_hold()
        assert context.identity("h", settings) == FOUND
        assert lock.names_its_file()
    context.close()


def test_who_was_killed_while_it_asks_is_not_waited_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identities, "_PULSE", 0.1)
    asked = Asked(lambda: FOUND, 0.0)
    monkeypatch.setattr(transports, "resolve_host", asked)
    context = Context(environ={"SSHJOBS_HOME": str(home)})
    settings = context.settings("h")
    name = "\n".join(("h", settings.ssh_config, settings.ssh_options, "auto"))
    lock = context.store.sites.make_identity_lock(name)
    assert lock.try_to_hold()
    killed = threading.Timer(0.3, lock.release)  # the kernel does so, the file stays
    killed.start()
    assert context.identity("h", settings) == FOUND
    killed.join()
    assert not Path(lock.path).exists()
    context.close()


def test_where_no_lock_can_be_made_each_asks(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = Asked(lambda: FOUND, 0.0)
    monkeypatch.setattr(transports, "resolve_host", asked)
    context = Context(environ={"SSHJOBS_HOME": str(home)})
    settings = context.settings("h")
    name = "\n".join(("h", settings.ssh_config, settings.ssh_options, "auto"))
    there = Path(context.store.sites.make_identity_lock(name).path)
    there.mkdir()
    assert context.identity("h", settings) == FOUND
    assert there.is_dir()
    context.close()
