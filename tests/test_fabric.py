"""Connections that Fabric makes: which, whether, and what becomes of them."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from sshjobs import errors, transports
from sshjobs.settings import Settings
from sshjobs.transports.fabric import config as fabric_config
from sshjobs.transports.identity import ssh_config
from tests.faults.relay import Relay
from tests.masters import owners, until
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller

NewSshd = Callable[..., Sshd]
NewCaller = Callable[..., TransportCaller]


@pytest.fixture
def caller(sshd: Sshd, new_caller: NewCaller) -> TransportCaller:
    """A caller of a stock server, by Fabric."""
    return new_caller(sshd, transport="fabric")


# -- the same connection as ssh means

CONFIGS = """
Host plain
Host named
    HostName %h.Example.com
    User bob
    Port 2022
Host keys
    IdentityFile ~/.ssh/%r_key
    IdentityFile "/tmp/x y/id"
    IdentitiesOnly yes
    IdentityAgent none
Host known
    HostKeyAlias Alias
    UserKnownHostsFile ~/kh /tmp/kh2
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking no
Host proxied
    ProxyCommand nc %h %p
    ProxyJump later
Host jump
    ProxyJump u@hop:33,second
    ProxyCommand nc later
Host direct
    ProxyCommand none
    ProxyJump hop
Host =equals
Host wild-* !wild-not
    User = wild
Match host matched
    User alice
Match host matched user alice
    Port 7
Match originalhost once
    HostName other
Host in* !inside
    Include included/*.conf
Host *
    PreferredAuthentications publickey
    PasswordAuthentication no
    ServerAliveInterval 7
    SendEnv LANG LC_*
"""
INCLUDED = "User early\nHost inner plain\n    Port 99\n"
NAMES = (
    "plain named NAMED keys known proxied jump direct wild-a wild-not matched once "
    "inner inside bob@plain 10.0.0.1 ::1 plain.example.com"
).split()


@pytest.mark.parametrize("host", NAMES)
def test_key_is_that_of_ssh(host: str, place: Path, need_sshd: None) -> None:
    (place / "inner.conf").write_text(INCLUDED)
    config = place / "config"
    config.write_text(CONFIGS.replace("included/*", f"{place}/*"))
    settings = Settings(ssh_config=str(config))
    theirs = ssh_config.ask_ssh_for_identity(host, settings)
    ours = fabric_config.read_identity(host, settings)
    same = "key host target hostname user port jump first_hop config".split()
    for name in (*same, "cacheable", "agents", "env", "times"):
        assert getattr(ours, name) == getattr(theirs, name), name
    assert {path for path, _, _ in ours.files} >= {str(config), str(place)}


def test_refusal_counts_for_both(sshd: Sshd) -> None:
    """What is remembered of a login by ssh holds for one by Fabric."""
    settings = Settings(ssh_config=str(sshd.config))
    both = [
        ssh_config.ask_ssh_for_identity("box", settings),
        fabric_config.read_identity("box", settings),
    ]
    assert len({transports.digest_credentials(identity) for identity in both}) == 1


@pytest.mark.parametrize("host", ["plain", "bob@plain"])
def test_key_is_that_of_ssh_with_the_files_of_this_machine(
    host: str, need_sshd: None
) -> None:
    settings = Settings(ssh_options="Port=2022 User=u")
    theirs = ssh_config.ask_ssh_for_identity(host, settings)
    ours = fabric_config.read_identity(host, settings)
    assert ours.key == theirs.key
    assert {f[0] for f in ours.files} >= {"/etc/ssh/ssh_config"}


@pytest.mark.parametrize("text", ["Port many\n", "Port 0\n", "Word\n"])
def test_configuration_that_is_none_is_refused(text: str, place: Path) -> None:
    (place / "config").write_text(text)
    with pytest.raises(errors.SpecError, match="ssh_config"):
        fabric_config.read_identity("h", Settings(ssh_config=str(place / "config")))


def test_missing_configuration_file_is_named(place: Path) -> None:
    with pytest.raises(errors.SpecError, match="/no/such/file"):
        fabric_config.read_identity("h", Settings(ssh_config="/no/such/file"))


def test_identity_found_without_an_ssh_is_not_kept_where_there_is_one(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = os.environ["PATH"]
    monkeypatch.setenv("PATH", "/nowhere")
    identity = transports.resolve_host("box", Settings(ssh_config=str(sshd.config)))
    assert identity.is_fresh() and not identity.ssh
    monkeypatch.setenv("PATH", path)
    assert not identity.is_fresh()


# -- who makes it


def test_without_ssh_on_path_it_is_fabric(
    sshd: Sshd, new_caller: NewCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    caller = new_caller(sshd)
    assert caller.connect().name == "fabric"


def test_master_that_is_there_is_used_without_ssh(
    sshd: Sshd, new_caller: NewCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    caller = new_caller(sshd)
    caller.run("true")
    monkeypatch.setenv("PATH", "/nowhere")
    assert caller.run("echo x") == (0, b"x\n")
    assert sshd.connections == 1


def test_master_makes_way_for_who_must_not_use_it(
    sshd: Sshd, new_caller: NewCaller, caller: TransportCaller
) -> None:
    other = new_caller(sshd)
    other.run("true")
    assert caller.connect().name == "fabric"
    assert (other.ssh_pids(), caller.state().alive) == ([], False)


def test_master_waits_for_the_end_of_it(
    sshd: Sshd, new_caller: NewCaller, caller: TransportCaller
) -> None:
    """One gate for both: ssh connects once Fabric has hung up."""

    class Enough(Exception):
        pass

    transport = caller.connect()
    other = new_caller(sshd)
    ticks = iter(range(20))

    def on_wait() -> None:
        if next(ticks, None) is None:
            raise Enough

    other.on_wait = on_wait
    with pytest.raises(Enough):
        other.connect()
    transport.close()
    other.on_wait = lambda: None
    assert other.connect().name == "openssh"
    assert sshd.logins == 2


def test_nobody_is_asked_anything(caller: TransportCaller) -> None:
    with pytest.raises(errors.SpecError, match="no password is asked for"):
        caller.connect(interactive=True)


def test_racing_processes_are_never_two_at_a_time(
    sshd: Sshd, caller: TransportCaller
) -> None:
    relay = Relay(sshd.port)
    key = (sshd.folder / "host.pub").read_text()
    sshd.known_hosts.write_text(f"[127.0.0.1]:{relay.port} {key}")
    other = caller.again(ssh_options=f"Port={relay.port}")
    crowd = [other.process(f"echo {number}") for number in range(8)]
    for number, one in enumerate(crowd):
        out, err = one.communicate(timeout=60)
        assert (one.returncode, out) == (0, f"{number}\n"), err
    assert (relay.accepted, relay.most) == (8, 1)
    relay.close()


def test_ledger_and_what_is_left(sshd: Sshd, caller: TransportCaller) -> None:
    caller.run("true")
    caller.run("true")
    assert caller.counts == {"handshakes": 2, "sessions": 2}
    assert owners(caller) == []
    left = {name.partition(".")[0] for name in os.listdir(caller.folder)}
    assert left == {"gate"}
    assert not caller.state().alive
    assert not caller.disconnect()


def test_disconnect_leaves_it_to_its_leader(caller: TransportCaller) -> None:
    transport = caller.connect()
    assert not caller.disconnect()
    end = transport.run("true", stdin=b"", timeout=9, sink=lambda piece: None)
    assert end.exit_status == 0


def test_admit_can_forbid_it(sshd: Sshd, caller: TransportCaller) -> None:
    def forbid() -> None:
        raise errors.Throttled("box", "in cooldown")

    caller.before_handshake = forbid
    with pytest.raises(errors.Throttled):
        caller.run("true")
    assert (sshd.connections, caller.counts["handshakes"]) == (0, 0)


# -- its end


def in_session(
    caller: TransportCaller, deed: Callable[[], None]
) -> errors.TransportError:
    """Do something in the middle of a session; return the error that came of it."""
    done: list[bool] = []

    def sink(piece: bytes) -> None:
        if piece and not done:
            done.append(True)
            deed()

    transport = caller.connect()
    with pytest.raises(errors.TransportError) as caught:
        transport.run("echo x; exec sleep 9", stdin=b"", timeout=30, sink=sink)
    transport.close()
    return caught.value


def test_owner_killed_in_a_session(caller: TransportCaller) -> None:
    error = in_session(caller, lambda: os.kill(owners(caller)[0], signal.SIGKILL))
    assert isinstance(error, errors.ConnectionLost)
    assert caller.run("echo y") == (0, b"y\n")


def test_server_s_process_killed_in_a_session(
    sshd: Sshd, caller: TransportCaller
) -> None:
    def strike() -> None:
        for pid in sshd.session_pids():
            os.kill(pid, signal.SIGKILL)

    assert isinstance(in_session(caller, strike), errors.ConnectionLost)
    assert caller.run("echo y") == (0, b"y\n")


@pytest.mark.parametrize("ours", [True, False])
def test_connection_that_ended_before_a_session_ran_nothing(
    sshd: Sshd, caller: TransportCaller, ours: bool
) -> None:
    transport = caller.connect()
    pids = owners(caller) if ours else sshd.session_pids()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    with pytest.raises(errors.TransportError) as caught:
        transport.run("true", stdin=b"", timeout=9, sink=lambda piece: None)
    assert isinstance(caught.value, (errors.SessionRefused, errors.ConnectionLost))
    assert sshd.sessions == 0


def test_connection_that_is_cut_during_the_login_refuses_no_key(
    sshd: Sshd, caller: TransportCaller
) -> None:
    """It is no reason not to try that key again."""
    relay = Relay(sshd.port)
    relay.delay = 0.3
    key = (sshd.folder / "host.pub").read_text()
    sshd.known_hosts.write_text(f"[127.0.0.1]:{relay.port} {key}")
    other = caller.again(ssh_options=f"Port={relay.port}")
    one = other.process("true")
    sshd.wait_for("KEX done")
    relay.drop()
    out, err = one.communicate(timeout=60)
    # It looks like an account that is refused without a word, so it is tried once more.
    assert one.returncode == 0, (out, err)
    assert (relay.accepted, sshd.logins) == (2, 1)
    relay.close()


def test_black_hole_ends_the_connection(sshd: Sshd, caller: TransportCaller) -> None:
    """Four intervals without an answer, as with ssh's ServerAliveCountMax 3."""
    relay = Relay(sshd.port)
    key = (sshd.folder / "host.pub").read_text()
    sshd.known_hosts.write_text(f"[127.0.0.1]:{relay.port} {key}")
    other = caller.again(ssh_options=f"Port={relay.port}", keepalive_interval=1)
    error = in_session(other, relay.freeze)
    assert isinstance(error, errors.ConnectionLost)
    other.end_all()
    relay.close()


def test_session_that_never_falls_silent_keeps_the_gate(
    caller: TransportCaller,
) -> None:
    """Its holder must beat although something comes all the time."""
    beats: set[int] = set()
    transport = caller.connect()
    (gate,) = Path(caller.folder).glob("gate.*")
    transport.run(
        "i=0; while test $i -lt 120; do echo $i; i=$((i+1)); sleep 0.02; done",
        stdin=b"",
        timeout=9,
        sink=lambda piece: beats.add(gate.stat().st_mtime_ns),
    )
    assert len(beats) >= 3


def test_leader_that_is_killed_takes_its_connection_with_it(
    sshd: Sshd, caller: TransportCaller
) -> None:
    leader = caller.process("exec sleep 60")
    until(lambda: sshd.sessions)
    os.kill(leader.pid, signal.SIGKILL)
    leader.communicate()
    until(lambda: not owners(caller))
    assert caller.run("echo x") == (0, b"x\n")


def test_what_tick_raises_ends_the_handshake(
    sshd: Sshd, caller: TransportCaller
) -> None:
    class Enough(Exception):
        pass

    def on_wait() -> None:
        if owners(caller):
            raise Enough

    caller.on_wait = on_wait
    with pytest.raises(Enough):
        caller.connect()
    assert owners(caller) == []


# -- what the server says


def test_max_sessions_is_a_refusal(new_sshd: NewSshd, new_caller: NewCaller) -> None:
    sshd = new_sshd(MaxSessions=0)
    with pytest.raises(errors.SessionRefused, match="MaxSessions") as caught:
        new_caller(sshd, transport="fabric").run("true")
    assert "nothing ran" in str(caught.value)


def test_server_that_drops_logins_is_throttled(
    new_sshd: NewSshd, new_caller: NewCaller
) -> None:
    sshd = new_sshd(MaxStartups="1:100:1")
    caller = new_caller(sshd, transport="fabric")
    with socket.create_connection(("127.0.0.1", sshd.port)):
        sshd.wait_for("Connection from ")
        with pytest.raises(errors.Throttled, match="MaxStartups"):
            caller.run("true")
    assert caller.counts == {"handshakes": 1, "drops": 1}


def test_nobody_listens(sshd: Sshd, caller: TransportCaller) -> None:
    sshd.stop()
    with pytest.raises(errors.HostUnreachable, match="refused"):
        caller.run("true")


def test_name_that_means_nothing(caller: TransportCaller) -> None:
    other = caller.again(ssh_options="HostName=no-such-host.invalid")
    with pytest.raises(errors.HostUnreachable, match="resolve"):
        other.run("true")


@pytest.fixture
def silent() -> Iterator[socket.socket]:
    """A port at which somebody listens who says nothing."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        yield listener


def test_port_that_is_silent(silent: socket.socket, caller: TransportCaller) -> None:
    port = silent.getsockname()[1]
    other = caller.again(ssh_options=f"Port={port}", conn_timeout=1)
    with pytest.raises(errors.HostUnreachable, match="banner"):
        other.run("true")


def test_server_that_greets_and_goes_silent(
    silent: socket.socket, caller: TransportCaller
) -> None:
    def greet() -> None:
        connection, _ = silent.accept()
        with suppress(OSError), connection:  # who has gone need not be greeted
            connection.sendall(b"SSH-2.0-x\r\n")
            while connection.recv(65536):
                continue

    thread = threading.Thread(target=greet, daemon=True)
    thread.start()
    port = silent.getsockname()[1]
    other = caller.again(ssh_options=f"Port={port}", conn_timeout=1, banner_timeout=1)
    with pytest.raises(errors.HostUnreachable, match="timed out|no login within"):
        other.run("true")
    thread.join()
