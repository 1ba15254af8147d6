"""Logins that fail: limits of the server, refusals, silence, odd configurations."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from sshjobs import errors
from tests.masters import behind, pid_of, until
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller

NewSshd = Callable[..., Sshd]
NewCaller = Callable[..., TransportCaller]


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


# -- refusals that a person must mend, and hosts that are down


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
    with suppress(OSError), connection:  # who has gone need not be greeted
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
