"""The connection's life under attack, against a real sshd that counts."""

from __future__ import annotations

import os
import pty
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from sshjobs import errors, locks, processes, transports
from sshjobs.model import pack
from sshjobs.transports import gate, process
from sshjobs.transports.identity.identity import local_identity
from sshjobs.transports.openssh import client, command_lines, master, mux
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller

NewSshd = Callable[..., Sshd]
NewCaller = Callable[..., TransportCaller]


def until(true: Callable[[], object], seconds: float = 15.0) -> None:
    """Wait for something that must come."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def sunk(_piece: bytes) -> None:
    """Take what a command says and forget it."""


def pid_of(caller: TransportCaller) -> int:
    """Return the pid of the live master."""
    state = caller.state()
    assert state.alive and state.pid
    return state.pid


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process for a while."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        try:
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


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


# -- what lies at the socket's path


def test_dead_master_s_socket_is_replaced(sshd: Sshd, caller: TransportCaller) -> None:
    caller.run("true")
    os.kill(pid_of(caller), signal.SIGKILL)
    assert caller.socket.exists()
    assert caller.run("echo x") == (0, b"x\n")
    assert sshd.connections == 2
    assert len(caller.ssh_pids()) == 1


def test_regular_file_at_the_socket_s_path(sshd: Sshd, caller: TransportCaller) -> None:
    transports.check_rundir(str(caller.folder))
    caller.socket.write_text("in the way")
    assert caller.run("echo x") == (0, b"x\n")
    assert (sshd.connections, len(caller.ssh_pids())) == (1, 1)


class Impatient(BrokenPipeError):
    """What a caller's own on_wait may raise; OSErrors of ours must not swallow it."""


def test_what_tick_raises_while_a_master_hangs_goes_through(
    sshd: Sshd, caller: TransportCaller
) -> None:
    caller.run("true")

    def on_wait() -> None:
        raise Impatient

    with stopped(pid_of(caller)):
        caller.on_wait = on_wait
        with pytest.raises(Impatient):
            caller.run("true")
        caller.on_wait = lambda: None


def test_directory_at_the_socket_s_path_is_named(
    sshd: Sshd, caller: TransportCaller
) -> None:
    transports.check_rundir(str(caller.folder))
    caller.socket.mkdir()
    with pytest.raises(errors.StoreError, match=str(caller.socket)):
        caller.run("true")
    assert sshd.connections == 0
    caller.socket.rmdir()


def test_socket_that_closes_at_once_is_no_master(
    sshd: Sshd, caller: TransportCaller
) -> None:
    transports.check_rundir(str(caller.folder))
    with socket.socket(socket.AF_UNIX) as fake:
        fake.bind(str(caller.socket))
        fake.listen(5)
        threading.Thread(target=_close_all, args=(fake,), daemon=True).start()
        assert caller.run("echo x") == (0, b"x\n")
        fake.shutdown(socket.SHUT_RDWR)
    assert sshd.connections == 1


def _close_all(listener: socket.socket) -> None:
    while True:
        try:
            listener.accept()[0].close()
        except OSError:
            return


@contextmanager
def other_protocol(caller: TransportCaller) -> Iterator[None]:
    """Put something at the socket that speaks version 5 of the protocol."""

    def answer() -> None:
        while True:
            try:
                connection, _ = fake.accept()
            except OSError:
                return
            with connection:
                connection.sendall(mux.pack_packet(mux.MSG_HELLO, 5))
                connection.recv(100)

    transports.check_rundir(str(caller.folder))
    with socket.socket(socket.AF_UNIX) as fake:
        fake.bind(str(caller.socket))
        fake.listen(5)
        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield
        fake.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_other_protocol_is_left_to_ssh(sshd: Sshd, caller: TransportCaller) -> None:
    with other_protocol(caller):
        assert caller.run("echo x") == (0, b"x\n")
    assert sshd.connections == 1


def test_other_protocol_is_an_error_if_ssh_may_not_help(
    sshd: Sshd, new_caller: NewCaller
) -> None:
    caller = new_caller(sshd, mux="native")
    with other_protocol(caller):
        with pytest.raises(errors.HostUnreachable, match="mux=auto"):
            caller.run("true")
    assert sshd.connections == 0
    caller.socket.unlink()


@pytest.mark.parametrize("spare", range(1, 8))
def test_no_descriptors_left_is_said_and_leaks_none(
    caller: TransportCaller, spare: int
) -> None:
    caller.run("true")
    transport = caller.connect()
    fds = set(os.listdir("/dev/fd"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.dup(0) for _ in range(20)]  # fills the gaps below
    for fd in taken[20 - spare :]:
        os.close(fd)
    top = max(taken[: 20 - spare]) + spare + 1
    resource.setrlimit(resource.RLIMIT_NOFILE, (top, limits[1]))
    try:
        with pytest.raises(errors.StoreError, match="Too many open files"):
            transport.run("true", stdin=b"x", timeout=9, sink=sunk)
    except pytest.fail.Exception:
        assert spare > 5, "that many descriptors are not enough for three pipes"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in taken[: 20 - spare]:
            os.close(fd)
    transport.close()
    assert len(os.listdir("/dev/fd")) <= len(fds)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can play somebody else")
def test_somebody_else_s_socket_is_told_nothing(
    sshd: Sshd, caller: TransportCaller
) -> None:
    """ssh itself would greet it and hand it every session."""
    transports.check_rundir(str(caller.folder))
    heard = []

    def listen(fake: socket.socket) -> None:
        while True:
            try:
                connection, _ = fake.accept()
            except OSError:
                return
            with connection:
                heard.append(connection.recv(100))

    with socket.socket(socket.AF_UNIX) as fake:
        fake.bind(str(caller.socket))
        os.seteuid(65534)  # SO_PEERCRED tells who called listen(2)
        fake.listen(5)
        os.seteuid(0)
        threading.Thread(target=listen, args=(fake,), daemon=True).start()
        assert caller.run("echo x") == (0, b"x\n")
        fake.shutdown(socket.SHUT_RDWR)
    assert set(heard) == {b""}


def test_orphan_beside_a_file_that_came_in_between_is_ended(
    sshd: Sshd, caller: TransportCaller
) -> None:
    """OpenSSH says status 0 and "already exists", and would stay for ever."""
    between = sshd.folder / "between"
    through_a_script(sshd, f". {between}")
    between.write_text(f"touch {caller.socket}\n")
    with pytest.raises(errors.HostUnreachable) as caught:
        caller.run("true")
    assert "already exists" in str(caught.value)
    assert caller.ssh_pids() == []
    between.write_text("")
    assert caller.run("echo x") == (0, b"x\n")


def through_a_script(sshd: Sshd, first: str) -> None:
    """Have the connection go through a program that runs some shell before."""
    relay = sshd.folder / "relay.py"
    relay.write_text(f"""import os, socket, threading
s = socket.create_connection(("127.0.0.1", {sshd.port}))
def up():
    while data := os.read(0, 65536):
        s.sendall(data)
    os._exit(0)
threading.Thread(target=up, daemon=True).start()
while data := s.recv(65536):
    os.write(1, data)
""")
    script = sshd.folder / "proxy.sh"
    script.write_text(f"{first}\nexec {sys.executable} {relay}\n")
    sshd.write_client_config(f"ProxyCommand sh {script}")


# -- the directory


def test_directory_is_made_for_us_alone(place: Path) -> None:
    old = os.umask(0)
    try:
        transports.check_rundir(str(place / "a" / "run"))
    finally:
        os.umask(old)
    assert (place / "a" / "run").stat().st_mode & 0o777 == 0o700


def test_directory_open_to_others_is_refused(place: Path) -> None:
    (place / "run").mkdir(mode=0o755)
    with pytest.raises(errors.StoreError, match="open to others"):
        transports.check_rundir(str(place / "run"))


def test_symbolic_link_is_refused(place: Path) -> None:
    (place / "real").mkdir(mode=0o700)
    (place / "run").symlink_to(place / "real")
    with pytest.raises(
        errors.StoreError, match="a symbolic link to .*none is followed"
    ):
        transports.check_rundir(str(place / "run"))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_else_s_directory_is_refused(
    place: Path, caller: TransportCaller
) -> None:
    caller.folder.mkdir(mode=0o700)
    os.chown(caller.folder, 65534, 65534)
    with pytest.raises(errors.StoreError, match="65534"):
        caller.run("true")
    os.chown(caller.folder, 0, 0)


def test_directory_is_near_the_store_where_a_socket_fits() -> None:
    assert transports.choose_rundir("/home/u/.local/state/sshjobs/m") == (
        "/home/u/.local/state/sshjobs/m/run"
    )
    far = transports.choose_rundir("/" + "x" * 80)
    assert far.startswith(f"/tmp/sshjobs-{os.geteuid()}/")
    assert far != transports.choose_rundir("/" + "y" * 80)
    identity = local_identity()
    for length in range(1, 120):
        path = identity.socket_path(transports.choose_rundir("/" + "x" * length))
        assert len(path) <= 90


def test_connection_from_a_store_with_a_long_path(
    sshd: Sshd, place: Path, new_caller: NewCaller
) -> None:
    caller = new_caller(sshd)
    caller.folder = Path(transports.choose_rundir(str(place / ("x" * 90))))
    assert caller.run("echo x") == (0, b"x\n")
    assert str(caller.socket).startswith("/tmp/sshjobs-")
    caller.disconnect()
    for name in os.listdir(caller.folder):
        (caller.folder / name).unlink()
    caller.folder.rmdir()


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


@pytest.mark.parametrize("way", ["native", "ssh"])
def test_master_that_ended_before_the_session_ran_nothing(
    sshd: Sshd, new_caller: NewCaller, way: str
) -> None:
    caller = new_caller(sshd, mux=way)
    transport = caller.connect()
    mark = caller.folder.parent / "mark"
    processes.end_process(
        pid_of(caller), processes.read_start_time(pid_of(caller)) or ""
    )
    with pytest.raises(errors.SessionRefused) as caught:
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


# -- the gate


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
    line = "read -r go; (while :; do sleep 0.1; done) & exit"
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


# -- the server's limits


@pytest.mark.parametrize("way", ["native", "ssh"])
def test_max_sessions_is_a_refusal_and_never_a_second_connection(
    new_sshd: NewSshd, new_caller: NewCaller, way: str
) -> None:
    sshd = new_sshd(MaxSessions=1)
    caller = new_caller(sshd, mux=way)
    go = caller.folder.parent / "go"
    first = caller.process(f"until test -e {go}; do sleep 0.05; done; echo x")
    until(lambda: sshd.sessions)
    with pytest.raises(errors.SessionRefused) as caught:
        caller.run("true")
    assert "MaxSessions" in str(caught.value) and "nothing ran" in str(caught.value)
    go.touch()
    assert first.communicate(timeout=30)[0] == "x\n"
    assert caller.run("echo y") == (0, b"y\n")
    assert caller.counts == {"handshakes": 0, "refusals": 1, "sessions": 1} or (
        caller.counts == {"refusals": 1, "sessions": 1}
    )
    assert sshd.connections == 1


def test_server_that_drops_logins_is_throttled(
    new_sshd: NewSshd, new_caller: NewCaller
) -> None:
    sshd = new_sshd(MaxStartups="1:100:1")
    caller = new_caller(sshd)
    with socket.create_connection(("127.0.0.1", sshd.port)):
        sshd.wait_for("Connection from ")
        with pytest.raises(errors.Throttled) as caught:
            caller.run("true")
    assert "MaxStartups" in str(caught.value)
    assert caller.counts == {"handshakes": 1, "drops": 1}
    assert sshd.drops == 1


# -- what only a person can mend, and what is down


def test_refused_key(sshd: Sshd, caller: TransportCaller) -> None:
    (sshd.folder / "authorized_keys").write_text("")
    with pytest.raises(errors.AuthenticationError, match="Permission denied"):
        caller.run("true")
    assert (sshd.connections, caller.ssh_pids()) == (1, [])


def test_changed_host_key(sshd: Sshd, caller: TransportCaller) -> None:
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    with pytest.raises(errors.AuthenticationError, match="host key"):
        caller.run("true")


def test_nobody_listens(sshd: Sshd, caller: TransportCaller) -> None:
    sshd.stop()
    with pytest.raises(errors.HostUnreachable, match="refused"):
        caller.run("true")


def test_port_that_is_silent(sshd: Sshd, new_caller: NewCaller) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        port = silent.getsockname()[1]
        caller = new_caller(sshd, ssh_options=f"Port={port}", conn_timeout=1)
        with pytest.raises(errors.HostUnreachable, match="banner"):
            caller.run("true")


def test_server_that_greets_and_goes_silent(sshd: Sshd, new_caller: NewCaller) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(5)
        port = silent.getsockname()[1]
        options = {"ssh_options": f"Port={port}", "conn_timeout": 1}
        caller = new_caller(sshd, banner_timeout=1, **options)
        thread = threading.Thread(target=_greet, args=(silent,), daemon=True)
        thread.start()
        with pytest.raises(errors.HostUnreachable) as caught:
            caller.run("true")
        thread.join()
    assert "no login within 2 s" in str(caught.value)
    assert "banner_timeout" in caught.value.hint


def _greet(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b"SSH-2.0-x\r\n")
        while connection.recv(65536):
            continue


@pytest.mark.parametrize("line, words", [("Bogus yes", "bogus"), ("Port many", "Port")])
def test_bad_configuration_is_said_in_ssh_s_words(
    sshd: Sshd, caller: TransportCaller, line: str, words: str
) -> None:
    sshd.write_client_config(line)
    with pytest.raises(errors.SpecError, match=f"(?i){words}"):
        caller.run("true")


def test_missing_configuration_file(new_caller: NewCaller, sshd: Sshd) -> None:
    caller = new_caller(sshd).again(ssh_config="/no/such/file")
    with pytest.raises(errors.SpecError, match="/no/such/file"):
        caller.run("true")


def test_ssh_that_must_be_used_and_is_not_here(
    monkeypatch: pytest.MonkeyPatch, sshd: Sshd, new_caller: NewCaller
) -> None:
    caller = new_caller(sshd, transport="openssh")
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(errors.HostUnreachable, match="no ssh client"):
        caller.run("true")
    monkeypatch.setenv("PATH", path)


# -- configurations that break sessions

HOSTILE = """
ControlMaster auto
ControlPath {folder}/theirs
ControlPersist yes
RemoteCommand echo hijacked
RequestTTY force
StdinNull yes
SessionType none
ForkAfterAuthentication yes
PermitLocalCommand yes
LocalCommand touch {folder}/local-command
LocalForward {port} 127.0.0.1:1
RemoteForward {port} 127.0.0.1:1
ExitOnForwardFailure yes
SendEnv LANG LC_*
SetEnv FOO=bar
LogLevel QUIET
ServerAliveInterval 0
ConnectionAttempts 7
ForwardX11 yes
ForwardAgent yes
BatchMode no
EscapeChar none
VisualHostKey yes
"""


def test_a_configuration_that_forks_is_read(sshd: Sshd, new_caller: NewCaller) -> None:
    sshd.write_client_config("ForkAfterAuthentication yes")
    assert new_caller(sshd).run("echo hi") == (0, b"hi\n")


@pytest.mark.parametrize("way", ["native", "ssh"])
def test_hostile_configuration_breaks_no_session(
    sshd: Sshd, new_caller: NewCaller, way: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        port = taken.getsockname()[1]
        text = HOSTILE.format(folder=sshd.folder, port=port)
        sshd.write_client_config(*text.strip().splitlines())
        caller = new_caller(sshd, mux=way)
        assert caller.run("cat; exit 3", b"in") == (3, b"in")
        status, out = caller.run("tty; env; exit 4")
        assert status == 4
        assert b"not a tty" in out and b"FOO" not in out
    for name in ("theirs", "local-command"):
        assert not (sshd.folder / name).exists()
    assert (sshd.connections, len(caller.ssh_pids())) == (1, 1)


def test_percent_and_space_in_the_path(
    sshd: Sshd, place: Path, new_caller: NewCaller
) -> None:
    caller = new_caller(sshd)
    caller.folder = place / "a %h b"
    assert caller.run("echo x") == (0, b"x\n")
    assert caller.again(mux="ssh").run("echo y") == (0, b"y\n")
    assert caller.disconnect(drain=True)


# -- jump hosts


def behind(jump: Sshd, target: Sshd, *lines: str) -> None:
    """Write a configuration in which ``box`` is reached through ``hold_jump_slot``."""
    hold_jump_slot = (
        jump.write_client_config(*lines).read_text().replace("Host box", "Host hop")
    )
    target.write_client_config("ProxyJump hop", before=hold_jump_slot)


def test_session_through_a_jump_host(new_sshd: NewSshd, new_caller: NewCaller) -> None:
    jump, target = new_sshd(), new_sshd()
    behind(jump, target)
    caller = new_caller(target)
    assert caller.identity.first_hop
    assert caller.run("echo x") == (0, b"x\n")
    assert caller.again(mux="ssh").run("echo y") == (0, b"y\n")
    leave = {name.partition(".")[0] for name in os.listdir(caller.folder)}
    assert leave == {"gate", "log", "master", "s"}
    assert (jump.connections, target.connections) == (1, 1)


def test_ended_master_takes_its_way_through_the_jump_host_with_it(
    new_sshd: NewSshd, new_caller: NewCaller
) -> None:
    jump, target = new_sshd(), new_sshd()
    behind(jump, target)
    caller = new_caller(target)
    caller.run("true")
    os.kill(pid_of(caller), signal.SIGKILL)
    until(lambda: caller.ssh_pids() == [])


def test_refusal_by_the_jump_host_is_said(
    new_sshd: NewSshd, new_caller: NewCaller
) -> None:
    jump, target = new_sshd(), new_sshd()
    behind(jump, target)
    (jump.folder / "authorized_keys").write_text("")
    with pytest.raises(errors.AuthenticationError, match="Permission denied"):
        new_caller(target).run("true")
    jump.stop()
    with pytest.raises(errors.HostUnreachable, match=f"port {jump.port}: Connection"):
        new_caller(target).run("true")


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


# -- identities


def test_identity_survives_its_text(caller: TransportCaller) -> None:
    assert transports.Identity.from_bytes(caller.identity.to_bytes()) == caller.identity
    assert not transports.Identity.from_bytes(
        pack(("of", "another", "version"))
    ).is_fresh()


def test_identity_is_fresh_until_a_file_changes(
    sshd: Sshd, caller: TransportCaller
) -> None:
    more = sshd.folder / "more"
    more.mkdir()
    sshd.write_client_config(before=f"Include {more}/*.conf")
    identity = caller.identity
    assert identity.cacheable and identity.is_fresh()
    (more / "new.conf").write_text("Compression yes\n")
    assert not identity.is_fresh()
    identity = caller.identity
    assert identity.is_fresh()
    (more / "new.conf").write_text("Compression no # longer\n")
    assert not identity.is_fresh()
    identity = caller.identity
    sshd.write_client_config(before="Port 1")
    assert not identity.is_fresh()
    assert caller.identity.key != identity.key


@pytest.mark.parametrize(
    "before",
    ["Match exec true", "Match host x exec true", "match localnetwork ::1/128"],
)
def test_identity_that_depends_on_more_than_files_is_not_kept(
    sshd: Sshd, caller: TransportCaller, before: str
) -> None:
    sshd.write_client_config(before=f"{before}\n    Compression yes\n")
    try:
        identity = caller.identity
    except errors.SpecError:
        pytest.skip("an ssh that does not know this yet")
    assert not identity.cacheable and not identity.is_fresh()


def test_environment_in_the_configuration_is_part_of_the_identity(
    sshd: Sshd, caller: TransportCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    sshd.write_client_config("CertificateFile ${SJ_CERT}")
    monkeypatch.setenv("SJ_CERT", "/one")
    one = caller.identity
    monkeypatch.setenv("SJ_CERT", "/two")
    assert caller.identity.key != one.key
    assert not one.cacheable


@pytest.mark.parametrize("host", ["-oProxyCommand=x", "a b", "", "a\nb"])
def test_word_that_is_no_host_is_refused(host: str, caller: TransportCaller) -> None:
    with pytest.raises(errors.SpecError):
        transports.resolve_host(host, caller.settings)


def test_local_is_this_machine_and_an_alias_may_still_be_called_so(
    sshd: Sshd, caller: TransportCaller
) -> None:
    assert transports.resolve_host("local", caller.settings).is_local
    text = sshd.config.read_text().replace("Host box", "Host local")
    sshd.config.write_text(text)
    identity = transports.resolve_host("ssh:local", caller.settings)
    assert (identity.target, identity.port, identity.is_local) == (
        "local",
        sshd.port,
        False,
    )


def test_credentials_change_with_the_keys_and_the_agent(
    sshd: Sshd, caller: TransportCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    before = transports.digest_credentials(caller.identity)
    assert before == transports.digest_credentials(caller.identity)
    sshd.key.write_text(sshd.key.read_text() + "\n")
    changed = transports.digest_credentials(caller.identity)
    assert changed != before
    with agent(sshd.folder / "agent", sshd.key) as path:
        monkeypatch.setenv("SSH_AUTH_SOCK", str(path))
        assert transports.digest_credentials(caller.identity) != changed


@contextmanager
def agent(path: Path, key: Path) -> Iterator[Path]:
    """Run an ssh-agent that holds one key."""
    one = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        until(path.exists)
        env: dict[str, Any] = os.environ | {"SSH_AUTH_SOCK": str(path)}
        subprocess.run(["ssh-add", "-q", key], env=env, check=True)
        yield path
    finally:
        one.terminate()
        one.wait()


# -- a person at a terminal


def at_a_terminal(
    caller: TransportCaller, question: bytes, answer: bytes
) -> tuple[int, bytes]:
    """Connect in a process with a terminal of its own and answer what is asked."""
    code = (
        "import sys; from pathlib import Path; "
        "from tests.transport_caller import TransportCaller; "
        "caller = TransportCaller(Path(sys.argv[1]), None, ssh_config=sys.argv[2]); "
        "caller.host = 'box'; caller.connect(interactive=True).close()"
    )
    words = [str(caller.folder), caller.values["ssh_config"]]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(Path(__file__).parent.parent)
        os.execv(sys.executable, [sys.executable, "-c", code, *words])
    seen = b""
    try:
        while piece := _read_terminal(terminal):
            if question in seen + piece and question not in seen:
                os.write(terminal, answer)
            seen += piece
    finally:
        os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen


def _read_terminal(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # EIO: the last process with this terminal has ended
        return b""


def test_person_answers_and_everyone_rides_on_it(
    sshd: Sshd, caller: TransportCaller
) -> None:
    sshd.known_hosts.write_text("")
    sshd.write_client_config(before="StrictHostKeyChecking ask")
    with pytest.raises(errors.AuthenticationError):
        caller.run("true")
    status, seen = at_a_terminal(caller, b"(yes/no", b"yes\n")
    assert status == 0, seen
    assert caller.run("echo x") == (0, b"x\n")
    assert sshd.logins == 1
    assert caller.state().alive


def test_person_says_no(sshd: Sshd, caller: TransportCaller) -> None:
    sshd.known_hosts.write_text("")
    sshd.write_client_config(before="StrictHostKeyChecking ask")
    status, seen = at_a_terminal(caller, b"(yes/no", b"no\n")
    assert status == 1
    assert b"Host key verification failed" in seen
    assert (sshd.logins, caller.ssh_pids()) == (0, [])
