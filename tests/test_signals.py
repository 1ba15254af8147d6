"""What a parent has done to signals, and what they mean in our processes."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Thread
from types import FrameType

import pytest

from sshjobs import errors
from sshjobs.store import Store, database
from tests.cli import Cli, eventually, finish
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller

_BLOCKED = {signal.SIGTERM, signal.SIGINT, signal.SIGCHLD, signal.SIGALRM}


def _ignore(*numbers: int) -> Callable[[], None]:
    """Return what a parent does that ignores signals; its children inherit it."""

    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return ignore


def _block() -> None:
    """Block signals; children inherit it."""
    signal.pthread_sigmask(signal.SIG_BLOCK, _BLOCKED)


@contextmanager
def _without_children() -> Iterator[None]:
    """Ignore SIGCHLD in this very process: no child of it leaves a status."""
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _refuse_key(sshd: Sshd) -> None:
    (sshd.folder / "authorized_keys").write_text("")


@pytest.mark.parametrize("how", [_ignore(signal.SIGCHLD), _block], ids=["chld", "mask"])
def test_a_refused_key_is_offered_once(cli: Cli, how: Callable[[], None]) -> None:
    assert cli.sshd is not None
    _refuse_key(cli.sshd)
    (ended,) = finish([cli.start("run", "box", "--", "true", preexec_fn=how)])
    assert ended.status == 77, ended
    assert "Permission denied" in ended.err
    assert cli.sshd.connections == 1


@pytest.mark.parametrize(
    "how", [_ignore(signal.SIGCHLD, signal.SIGTERM), _block], ids=["ignored", "mask"]
)
def test_a_run_is_cancelled_whatever_it_inherits(
    cli: Cli, how: Callable[[], None]
) -> None:
    run = cli.start("run", "box", "--", "echo up; exec sleep 60", preexec_fn=how)
    assert run.stdout is not None and run.stdout.readline() == b"up\n"
    os.kill(run.pid, signal.SIGTERM)
    (ended,) = finish([run])
    assert ended.status == 143, ended


def test_who_waits_can_be_ended_whatever_it_inherits(cli: Cli) -> None:
    job = cli.submit("--", "sleep 60")
    for how in (_ignore(signal.SIGTERM), _block):
        wait = cli.start("wait", job, preexec_fn=how)
        eventually(lambda: cli.hosts()["watched_at"], "the watch")
        os.kill(wait.pid, signal.SIGTERM)
        assert finish([wait])[0].status == -signal.SIGTERM
    cli.ok("kill", job)


def test_nohup_keeps_its_meaning(cli: Cli) -> None:
    run = cli.start(
        "run", "box", "--", "echo up; sleep 1", preexec_fn=_ignore(signal.SIGHUP)
    )
    assert run.stdout is not None and run.stdout.readline() == b"up\n"
    os.kill(run.pid, signal.SIGHUP)
    assert finish([run])[0].status == 0


def test_a_job_on_this_machine_inherits_none_of_it(place: Path) -> None:
    cli = Cli(None, place / "home", place / "base")
    how = _ignore(signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
    show = "grep -E '^Sig(Blk|Ign)' /proc/self/status"
    plain, odd, mask = (
        finish([cli.start("run", "local", "--", show, preexec_fn=pre)])[0]
        for pre in (None, how, _block)
    )
    assert plain.status == 0 and plain.out == odd.out == mask.out, (plain, odd, mask)


def test_without_a_status_the_socket_and_the_words_decide(
    sshd: Sshd, caller: TransportCaller
) -> None:
    with _without_children():
        assert caller.run("exit 3") == (3, b"")
    caller.end_all()
    _refuse_key(sshd)
    with _without_children(), pytest.raises(errors.AuthenticationError):
        caller.connect()
    assert sshd.connections == 2
    assert subprocess.run(["true"], check=False).returncode == 0


def test_an_interrupt_while_sqlite_waits_leaves_no_transaction(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "home"))
    other = sqlite3.connect(store.path, isolation_level=None, check_same_thread=False)
    before = signal.signal(signal.SIGUSR1, signal.default_int_handler)

    def interrupt_and_let_go() -> None:
        time.sleep(0.2)
        signal.raise_signal(signal.SIGUSR1)
        other.execute("ROLLBACK")

    with closing(other):
        other.execute("BEGIN IMMEDIATE")
        Thread(target=interrupt_and_let_go).start()
        try:
            with pytest.raises(KeyboardInterrupt), store.begin_write():
                raise AssertionError("the interrupt is lost")
        finally:
            signal.signal(signal.SIGUSR1, before)
    assert store.intents.add_intents("c", "start", ["x"])


def test_an_interrupt_leaves_no_turn_behind(tmp_path: Path) -> None:
    """At the latest point: the call that took the turn has just returned."""
    store = Store(str(tmp_path / "home"))
    enter = database._Turn.__enter__.__code__

    def interrupt(frame: FrameType, event: str, arg: object) -> None:
        is_taken = getattr(arg, "__name__", "") == "extend"
        if event == "c_return" and is_taken and frame.f_code is enter:
            sys.setprofile(None)
            raise KeyboardInterrupt

    sys.setprofile(interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            store.intents.add_intents("c", "start", ["x"])
    finally:
        sys.setprofile(None)
    assert not database._turns[store.path].locked()
