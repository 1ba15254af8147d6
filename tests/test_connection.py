"""One connection a host: shared, replaced when it dies, drained; a real sshd counts."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Callable

import pytest

from sshjobs import errors, processes
from sshjobs.transports.openssh import client, command_lines, master
from tests.masters import pid_of, stopped, sunk, through_a_script, until
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller

NewSshd = Callable[..., Sshd]
NewCaller = Callable[..., TransportCaller]


# -- one connection


def test_racing_processes_make_one_connection(
    new_sshd: NewSshd, new_caller: NewCaller
) -> None:
    sshd = new_sshd(MaxSessions=100)
    caller = new_caller(sshd)
    crowd = [caller.process(f"echo {number}") for number in range(24)]
    for number, one in enumerate(crowd):
        out, err = one.communicate(timeout=60)
        assert (one.returncode, out) == (0, f"{number}\n"), err
    assert (sshd.connections, sshd.logins, sshd.drops) == (1, 1, 0)


def test_two_names_of_one_host_share_it_and_two_configurations_do_not(
    sshd: Sshd, new_caller: NewCaller
) -> None:
    with open(sshd.config, "a", encoding="utf-8") as config:
        lines = sshd.config.read_text().replace("Host box", "Host other")
        config.write(lines)
        config.write(lines.replace("Host other", "Host third") + "    HostKeyAlias h\n")
    caller, other, third = (new_caller(sshd) for _ in range(3))
    other.host, third.host = "other", "third"
    assert caller.identity.key == other.identity.key
    assert caller.identity.key != third.identity.key
    assert (
        caller.identity.key != caller.again(ssh_options="Compression=yes").identity.key
    )
    caller.run("true")
    other.run("true")
    assert sshd.connections == 1


def test_state_and_ledger(sshd: Sshd, caller: TransportCaller) -> None:
    assert caller.state() == (False, None, None, str(caller.socket))
    caller.run("true")
    caller.run("true")
    state = caller.state()
    assert state.alive and state.pid in caller.ssh_pids()
    assert state.since is not None and state.since <= time.time()
    assert caller.counts == {"handshakes": 1, "sessions": 2}
    assert caller.disconnect()
    assert not caller.disconnect()
    assert not caller.state().alive
    assert sshd.connections == 1


def test_admit_is_asked_once_before_a_handshake_and_can_forbid_it(
    sshd: Sshd, caller: TransportCaller
) -> None:
    def forbid() -> None:
        raise errors.Throttled("box", "in cooldown")

    caller.before_handshake = forbid
    with pytest.raises(errors.Throttled):
        caller.run("true")
    assert (sshd.connections, caller.counts["handshakes"]) == (0, 0)


# -- masters and connections that hang or die


@pytest.mark.parametrize("way", ["native", "ssh"])
def test_stopped_master_is_ended_and_replaced(
    sshd: Sshd, new_caller: NewCaller, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setattr(master, "PATIENCE", 0.3)
    caller = new_caller(sshd, mux=way)
    caller.run("true")
    old = pid_of(caller)
    with stopped(old):
        assert caller.run("echo x") == (0, b"x\n")
        assert pid_of(caller) != old
        assert processes.read_start_time(old) is None
    assert sshd.connections == 2


def test_stopped_master_is_no_bound_to_disconnect(
    sshd: Sshd, caller: TransportCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(master, "PATIENCE", 0.3)
    caller.run("true")
    with stopped(pid_of(caller)):
        assert not caller.state().alive
        assert caller.disconnect(drain=True)
    assert caller.ssh_pids() == []


@pytest.mark.parametrize("way", ["native", "ssh"])
def test_master_killed_in_the_middle_of_a_session(
    sshd: Sshd, new_caller: NewCaller, way: str
) -> None:
    caller = new_caller(sshd, mux=way)
    transport = caller.connect()
    pid = pid_of(caller)

    def sink(piece: bytes) -> None:
        if piece:
            os.kill(pid, signal.SIGKILL)

    with pytest.raises(errors.ConnectionLost) as caught:
        transport.run("echo x; sleep 3", stdin=b"", timeout=20, sink=sink)
    assert "may go on" in str(caught.value)
    assert caller.run("echo y") == (0, b"y\n")


@pytest.mark.parametrize("way", ["native", "ssh"])
def test_server_s_process_killed_in_the_middle_of_a_session(
    sshd: Sshd, new_caller: NewCaller, way: str
) -> None:
    caller = new_caller(sshd, mux=way)
    transport = caller.connect()

    def sink(piece: bytes) -> None:
        if piece:
            for pid in sshd.session_pids():
                os.kill(pid, signal.SIGKILL)

    with pytest.raises(errors.ConnectionLost):
        transport.run("echo x; sleep 3", stdin=b"", timeout=20, sink=sink)
    assert caller.run("echo y") == (0, b"y\n")


@pytest.mark.parametrize("is_new", [False, True])
@pytest.mark.parametrize("way", ["native", "ssh"])
def test_master_that_ended_before_the_session_ran_nothing(
    sshd: Sshd, new_caller: NewCaller, way: str, is_new: bool
) -> None:
    """One that had just been made is no reason to make another at once."""
    caller = new_caller(sshd, mux=way)
    transport = caller.connect()
    if not is_new:
        transport.close()
        transport = caller.connect()
    mark = caller.folder.parent / "mark"
    processes.end_process(
        pid_of(caller), processes.read_start_time(pid_of(caller)) or ""
    )
    expected = errors.HostUnreachable if is_new else errors.SessionRefused
    with pytest.raises(expected) as caught:
        transport.run(f"touch {mark}", stdin=b"", timeout=9, sink=sunk)
    assert "nothing ran" in str(caught.value)
    assert sshd.connections == 1, "a mux client dialled by itself"
    assert not mark.exists()


@pytest.mark.parametrize("way", ["native", "ssh"])
def test_black_hole_ends_in_time_and_the_next_recovers(
    sshd: Sshd, new_caller: NewCaller, way: str
) -> None:
    relay = sshd.folder / "relay"
    through_a_script(sshd, f"echo $$ >{relay}")
    caller = new_caller(sshd, mux=way)
    transport = caller.connect()
    hole = int(relay.read_text())
    with stopped(hole), pytest.raises(errors.CommandTimeout) as caught:
        transport.run("true", stdin=b"", timeout=1.0, sink=sunk)
    assert "no session was opened" in str(caught.value)
    until(lambda: not caller.state().alive)
    assert caller.run("echo x") == (0, b"x\n")


def test_connection_stays_up_while_its_finder_is_at_work(
    sshd: Sshd, new_caller: NewCaller
) -> None:
    """The idle time of ControlPersist does not run out between finding and using."""
    caller = new_caller(sshd, persist=1)
    caller.connect().close()
    transport = caller.connect()
    end = time.monotonic() + 4.0
    while time.monotonic() < end:
        time.sleep(0.1)
    assert transport.run("true", stdin=b"", timeout=9, sink=sunk).exit_status == 0
    assert sshd.connections == 1
    transport.close()
    until(lambda: not caller.state().alive)


# -- ending


def test_drain_lets_a_session_come_to_its_end(
    sshd: Sshd, caller: TransportCaller
) -> None:
    go = caller.folder.parent / "go"
    first = caller.process(f"until test -e {go}; do sleep 0.05; done; echo x")
    until(lambda: sshd.sessions)

    ticks = []

    def on_wait() -> None:
        ticks.append(1)
        if not caller.socket.exists():  # it listens no more: it is draining
            go.touch()

    caller.on_wait = on_wait
    assert caller.disconnect(drain=True)
    assert first.communicate(timeout=30)[0] == "x\n"
    assert caller.ssh_pids() == []


def test_drain_is_bounded(sshd: Sshd, new_caller: NewCaller) -> None:
    caller = new_caller(sshd, command_timeout=1)
    first = caller.process("sleep 8")
    until(lambda: sshd.sessions)
    assert caller.disconnect(drain=True)
    assert caller.ssh_pids() == []
    first.communicate(timeout=30)
    assert first.returncode == errors.ConnectionLost.exit_status


def test_drain_ends_a_master_that_nobody_wrote_down(
    sshd: Sshd, new_caller: NewCaller
) -> None:
    """Its starter was killed right after the login; draining, it hides its log."""
    caller = new_caller(sshd, command_timeout=1)
    first = caller.process("sleep 8")
    until(lambda: sshd.sessions)
    master = pid_of(caller)
    (caller.folder / f"master.{caller.identity.key}").unlink()
    assert caller.disconnect(drain=True)
    assert processes.read_start_time(master) is None
    first.communicate(timeout=30)
    assert first.returncode == errors.ConnectionLost.exit_status


def test_socket_of_a_master_that_was_killed_before_it_had_its_name(
    sshd: Sshd, caller: TransportCaller
) -> None:
    assert caller.run("echo x") == (0, b"x\n")
    unborn = f"{caller.socket}.ABCDEFGHIJKLMNOP"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(unborn)
    caller.disconnect()
    assert not os.path.exists(unborn)


def test_client_on_a_socket_can_never_dial(caller: TransportCaller) -> None:
    argv = client.build_client_argv(caller.identity, "/r/s", "-O", "check")
    for words in (["-F", "/dev/null"], ["-o", "ProxyCommand=false"]):
        at = argv.index(words[1])
        assert argv[at - 1 : at + 1] == words
    assert "ControlMaster=no" in argv


def test_argv_of_a_master_holds_every_rule(sshd: Sshd, caller: TransportCaller) -> None:
    argv = command_lines.build_master_argv(
        caller.identity, caller.settings, "/r/s", "/r/l"
    )
    for word in (
        "BatchMode=yes",
        "ControlMaster=yes",
        "ControlPersist=600",
        "ConnectTimeout=10",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=3",
        "LogLevel=VERBOSE",
        "ClearAllForwardings=yes",
        "PermitLocalCommand=no",
        "RemoteCommand=none",
    ):
        assert word in argv
    assert argv[-2:] == ["--", "box"]
