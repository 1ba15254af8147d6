"""The control socket's path and directory: leftovers, strangers, links, lengths."""

from __future__ import annotations

import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from sshjobs import errors, transports
from sshjobs.transports.identity.identity import local_identity
from sshjobs.transports.openssh import mux
from tests.masters import pid_of, stopped, sunk, through_a_script
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller

NewCaller = Callable[..., TransportCaller]


# -- leftovers and strangers at the socket's path


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
            with suppress(OSError), connection:
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
            with suppress(OSError), connection:
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
