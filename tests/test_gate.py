"""The gate: one handshake at a time, holders that die, stop or wake up; jump slots."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from sshjobs import locks, processes, transports
from sshjobs.transports import gate, process
from tests.masters import pid_of, stopped, through_a_script, until
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller


def hold_up(sshd: Sshd) -> Path:
    """Have handshakes wait until the file that is returned is there."""
    go = sshd.folder / "go"
    wait = f"until test -e {go}; do sleep 0.05; done"
    through_a_script(sshd, f"touch {go}.begun; {wait}")
    return go


def test_killed_holder_of_the_gate_leaves_nothing(
    sshd: Sshd, caller: TransportCaller
) -> None:
    go = hold_up(sshd)
    first = caller.process("echo first")
    until(Path(f"{go}.begun").exists)
    first.kill()
    first.communicate()
    go.touch()
    assert caller.run("echo x") == (0, b"x\n")
    assert sshd.logins == 1
    assert len(caller.ssh_pids()) == 1


def test_stopped_holder_of_the_gate_is_overtaken(
    sshd: Sshd, caller: TransportCaller
) -> None:
    go = hold_up(sshd)
    first = caller.process("echo first")
    until(Path(f"{go}.begun").exists)
    with stopped(first.pid):
        lock = caller.folder / f"gate.{caller.identity.key}.0"
        os.utime(lock, (0, time.time() - locks.STALE - 1))
        go.touch()
        assert caller.run("echo x") == (0, b"x\n")
        assert len(caller.ssh_pids()) == 1
    out, err = first.communicate(timeout=30)
    assert (first.returncode, out) == (0, "first\n"), err
    assert sshd.logins == 1
    assert len(caller.ssh_pids()) == 1


def test_holder_that_wakes_up_too_late_leaves_no_orphan(
    sshd: Sshd, caller: TransportCaller
) -> None:
    """It was stopped just before it started ssh; by then there is another master."""
    found: list[int] = []
    log = caller.folder / f"log.{caller.identity.key}.0"

    def sleep_and_be_overtaken() -> None:
        if log.exists() and not found:
            lock = caller.folder / f"gate.{caller.identity.key}.0"
            os.utime(lock, (0, time.time() - locks.STALE - 1))
            found.append(0)
            with caller.process() as other:
                assert other.wait(30) == 0
            found[:] = [pid_of(caller)]

    caller.on_wait = sleep_and_be_overtaken
    assert caller.run("echo x") == (0, b"x\n")
    assert caller.ssh_pids() == found
    assert sshd.connections == 2


def test_holder_that_wakes_up_before_it_starts_ssh_starts_none(
    sshd: Sshd, caller: TransportCaller
) -> None:
    def sleep_and_be_overtaken() -> None:
        if not sshd.connections:
            lock = caller.folder / f"gate.{caller.identity.key}.0"
            os.utime(lock, (0, time.time() - locks.STALE - 1))
            with caller.process() as other:
                assert other.wait(30) == 0

    caller.before_handshake = sleep_and_be_overtaken
    assert caller.run("echo x") == (0, b"x\n")
    assert sshd.connections == 1


def test_process_that_forks_while_all_are_listed_is_found(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As ssh does at the login: the child has the arguments, the parent is gone."""
    log = str(place / "log.k.0")
    os.mkfifo(place / "never")  # a child that slept would fork, and be two for a moment
    line = f"read -r go; (read -r word <'{place}/never') & exit"
    parent = subprocess.Popen(
        ["sh", "-c", line, "sh", "-E", log], stdin=subprocess.PIPE
    )
    listing = os.listdir

    def list_and_fork(path: str) -> list[str]:
        names = listing(path)
        if parent.poll() is None:
            parent.communicate(b"go\n")
        return names

    until(lambda: process.find_carriers(log))
    monkeypatch.setattr(os, "listdir", list_and_fork)
    found = process.find_carriers(log)
    for pid, start in found:
        processes.end_process(pid, start)
    assert [pid != parent.pid for pid, _ in found] == [True]


def test_only_ssh_s_own_log_option_marks_a_process(place: Path) -> None:
    log = place / "log.k.0"
    log.touch()
    with subprocess.Popen(["tail", "-f", log]) as reader:
        until(lambda: processes.read_start_time(reader.pid))
        assert process.find_carriers(str(log)) == []
        reader.kill()


def test_holder_that_is_only_slow_keeps_the_gate(
    sshd: Sshd, caller: TransportCaller
) -> None:
    go = hold_up(sshd)
    crowd = [caller.process("echo x") for _ in range(4)]
    until(Path(f"{go}.begun").exists)
    time.sleep(1.0)
    go.touch()
    assert [one.communicate(timeout=30)[0] for one in crowd] == ["x\n"] * 4
    assert sshd.connections == 1


def test_what_tick_raises_ends_the_handshake(
    sshd: Sshd, caller: TransportCaller
) -> None:
    go = hold_up(sshd)

    def on_wait() -> None:
        if Path(f"{go}.begun").exists():
            raise KeyboardInterrupt

    caller.on_wait = on_wait
    with pytest.raises(KeyboardInterrupt):
        caller.run("true")
    caller.on_wait = lambda: None
    until(lambda: caller.ssh_pids() == [], 5)
    go.touch()
    assert caller.run("echo x") == (0, b"x\n")


def test_ssh_has_no_part_in_our_ctrl_c(sshd: Sshd, caller: TransportCaller) -> None:
    go = hold_up(sshd)
    first = caller.process("echo x")
    until(Path(f"{go}.begun").exists)
    for pid in caller.ssh_pids():
        assert os.getsid(pid) != os.getsid(first.pid)
    go.touch()
    assert first.communicate(timeout=30)[0] == "x\n"


def test_gate_is_not_inherited_by_a_fork(place: Path) -> None:
    one, other = gate.Gate(str(place), "k"), gate.Gate(str(place), "k")
    assert one.try_to_hold() and not other.try_to_hold()
    here, there = socket.socketpair()
    child = os.fork()
    if child == 0:
        here.close()
        there.send(b"!")
        there.recv(1)  # lives on until the parent has looked
        os._exit(0)
    there.close()
    here.recv(1)
    one.release()
    assert other.try_to_hold()
    other.release()
    here.close()
    os.waitpid(child, 0)


def test_gate_of_a_stopped_holder_goes_to_exactly_one(place: Path) -> None:
    old = gate.Gate(str(place), "k")
    assert old.try_to_hold()
    os.utime(place / "gate.k.0", (0, 0))
    crowd = [gate.Gate(str(place), "k") for _ in range(20)]
    taken = [one for one in crowd if one.try_to_hold()]
    assert len(taken) == 1
    assert taken[0].is_ours() and not old.is_ours()
    with pytest.raises(gate.GateLost):
        old.show_beat()
    taken[0].release()
    old.release()
    assert crowd[0].try_to_hold()
    crowd[0].release()
    assert sorted(os.listdir(place)) == ["gate.k.1"]


def test_usurper_steps_back_if_the_old_holder_woke_up(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, late = gate.Gate(str(place), "k"), gate.Gate(str(place), "k")
    assert old.try_to_hold()
    os.utime(place / "gate.k.0", (0, 0))
    stale = late._has_stale_beat

    def look_and_wake(number: int) -> bool:
        found = stale(number)
        old.stamp_ssh(0, "")
        return found

    monkeypatch.setattr(late, "_has_stale_beat", look_and_wake)
    assert not late.try_to_hold()
    assert old.is_ours()
    old.release()


def test_gate_that_is_cleared_away_lets_in_one_at_a_time(place: Path) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def pass_through() -> None:
        nonlocal inside, most
        for turn in range(60):
            one = gate.Gate(str(place), "k")
            while not one.try_to_hold():
                time.sleep(0.001)
            with lock:
                inside += 1
                most = max(most, inside)
            assert one.is_ours()
            with lock:
                inside -= 1
            if turn % 2:
                one.remove_files()
            one.release()

    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(pass_through) for _ in range(6)]:
            done.result()
    assert most == 1
    last = gate.Gate(str(place), "k")
    assert last.try_to_hold()
    last.remove_files()
    last.release()
    assert [n for n in os.listdir(place) if n.startswith("gate.")] == []


def test_few_handshakes_at_a_time_through_one_jump_host(place: Path) -> None:
    inside, most, lock = 0, 0, threading.Lock()

    def pass_through() -> None:
        nonlocal inside, most
        with gate.hold_jump_slot(transports.CallerHooks(str(place)), "bastion"):
            with lock:
                inside += 1
                most = max(most, inside)
            time.sleep(0.05)
            with lock:
                inside -= 1

    crowd = [threading.Thread(target=pass_through) for _ in range(12)]
    for one in crowd:
        one.start()
    for one in crowd:
        one.join()
    assert most == gate.JUMP_SLOTS


def test_stopped_holders_of_all_places_do_not_bar_the_way(place: Path) -> None:
    hooks = transports.CallerHooks(str(place))
    with ExitStack() as stack:
        for _ in range(gate.JUMP_SLOTS):
            stack.enter_context(gate.hold_jump_slot(hooks, "bastion"))
        for name in os.listdir(place):
            os.utime(place / name, (0, 0))
        with gate.hold_jump_slot(hooks, "bastion") as inside:
            inside.on_wait()
