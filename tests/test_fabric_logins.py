"""Logins by Fabric: keys, the agent, host keys, jump hosts, a ProxyCommand."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sshjobs import errors
from tests.masters import add_key, behind, owners, until
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller

NewSshd = Callable[..., Sshd]
NewCaller = Callable[..., TransportCaller]


@pytest.fixture
def caller(sshd: Sshd, new_caller: NewCaller) -> TransportCaller:
    """A caller of a stock server, by Fabric."""
    return new_caller(sshd, transport="fabric")


# -- keys


def test_refused_key(sshd: Sshd, caller: TransportCaller) -> None:
    (sshd.folder / "authorized_keys").write_text("")
    with pytest.raises(errors.AuthenticationError, match="Permission denied"):
        caller.run("true")
    assert (sshd.connections, owners(caller)) == (1, [])


def test_key_that_others_can_read_is_named(sshd: Sshd, caller: TransportCaller) -> None:
    sshd.key.chmod(0o644)
    with pytest.raises(errors.AuthenticationError, match="bad permissions"):
        caller.run("true")


def test_key_with_a_passphrase_asks_nobody(sshd: Sshd, caller: TransportCaller) -> None:
    argv = ["ssh-keygen", "-q", "-p", "-N", "secret", "-f", str(sshd.key)]
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)
    with pytest.raises(errors.AuthenticationError, match="Load key"):
        caller.run("true")


@pytest.fixture
def agent(place: Path) -> Iterator[Path]:
    """An agent without keys."""
    path = place / "agent"
    process = subprocess.Popen(
        ["ssh-agent", "-D", "-a", str(path)], stdout=subprocess.DEVNULL
    )
    until(path.exists)
    yield path
    process.terminate()
    process.wait()


@pytest.mark.parametrize("only", ["yes", "no"])
def test_key_of_the_agent(
    sshd: Sshd, caller: TransportCaller, agent: Path, only: str
) -> None:
    """The private half is with the agent; with IdentitiesOnly its name must be said."""
    add_key(agent, sshd.key)
    sshd.key.unlink()
    named = sshd.key if only == "yes" else sshd.folder / "none"
    sshd.write_client_config(f"IdentityAgent {agent}")
    text = sshd.config.read_text().replace(
        "IdentitiesOnly yes", f"IdentitiesOnly {only}"
    )
    text = text.replace(f"IdentityFile {sshd.key}", f"IdentityFile {named}")
    sshd.config.write_text(text)
    assert caller.run("echo x") == (0, b"x\n")


# -- host keys


def known(sshd: Sshd, name: str) -> str:
    return f"{name} {(sshd.folder / 'host.pub').read_text()}"


def hashed(name: str) -> str:
    salt = os.urandom(20)
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return "|1|" + "|".join(base64.b64encode(one).decode() for one in (salt, digest))


@pytest.mark.parametrize(
    "name", ["[127.0.0.1]:{0}", "127.0.0.1", "x,[127.*]:{0}", "hash", "alias"]
)
def test_host_key_that_is_known(sshd: Sshd, caller: TransportCaller, name: str) -> None:
    name = name.format(sshd.port)
    if name == "hash":
        name = hashed(f"[127.0.0.1]:{sshd.port}")
    if name == "alias":
        sshd.write_client_config("HostKeyAlias Alias")
    sshd.known_hosts.write_text(known(sshd, name))
    assert caller.run("echo x") == (0, b"x\n")


@pytest.mark.parametrize("way", ["fabric", "openssh"])
@pytest.mark.parametrize("strict", ["yes", "ask", "accept-new"])
def test_changed_host_key_is_refused_in_the_same_words(
    sshd: Sshd, new_caller: NewCaller, way: str, strict: str
) -> None:
    sshd.stop()
    sshd.new_host_key()
    sshd.start()
    caller = new_caller(
        sshd, transport=way, ssh_options=f"StrictHostKeyChecking={strict}"
    )
    with pytest.raises(errors.AuthenticationError) as caught:
        caller.run("true")
    assert "the host key is not the one that known_hosts has" in str(caught.value)
    assert sshd.logins == 0


@pytest.mark.parametrize("way", ["fabric", "openssh"])
@pytest.mark.parametrize("strict", ["yes", "ask"])
def test_unknown_host_key_is_refused(
    sshd: Sshd, new_caller: NewCaller, way: str, strict: str
) -> None:
    sshd.known_hosts.write_text("")
    caller = new_caller(
        sshd, transport=way, ssh_options=f"StrictHostKeyChecking={strict}"
    )
    with pytest.raises(errors.AuthenticationError, match="(?i)host key"):
        caller.run("true")
    assert sshd.logins == 0


@pytest.mark.parametrize("strict", ["accept-new", "no"])
@pytest.mark.parametrize("hash_it", ["yes", "no"])
def test_new_host_key_is_learnt_so_that_ssh_knows_it(
    sshd: Sshd,
    new_caller: NewCaller,
    caller: TransportCaller,
    strict: str,
    hash_it: str,
) -> None:
    sshd.known_hosts.write_text("")
    options = f"StrictHostKeyChecking={strict} HashKnownHosts={hash_it}"
    assert caller.again(ssh_options=options).run("echo x") == (0, b"x\n")
    text = sshd.known_hosts.read_text()
    assert text.startswith("|1|") == (hash_it == "yes")
    assert new_caller(sshd).run("echo y") == (0, b"y\n")


def test_revoked_host_key(sshd: Sshd, caller: TransportCaller) -> None:
    name = f"[127.0.0.1]:{sshd.port}"
    line = known(sshd, name)
    sshd.known_hosts.write_text(f"{line}@revoked {line}")
    with pytest.raises(errors.AuthenticationError, match="REVOKED"):
        caller.run("true")


def test_host_is_asked_for_the_kind_of_key_that_is_known(
    new_sshd: NewSshd, new_caller: NewCaller, place: Path
) -> None:
    """It has an ECDSA key too, which paramiko and ssh like less by themselves."""
    path = place / "ecdsa"
    argv = ["ssh-keygen", "-q", "-t", "ecdsa", "-N", "", "-f", str(path)]
    subprocess.run(argv, check=True)
    sshd = new_sshd(HostKey=f"{path}\nHostKey {place}/sshd0/host")
    name = f"[127.0.0.1]:{sshd.port}"
    sshd.known_hosts.write_text(f"{name} {path.with_suffix('.pub').read_text()}")
    assert new_caller(sshd, transport="fabric").run("echo x") == (0, b"x\n")


# -- ways in


def test_session_through_a_jump_host(new_sshd: NewSshd, new_caller: NewCaller) -> None:
    jump, target = new_sshd(), new_sshd()
    behind(jump, target)
    caller = new_caller(target, transport="fabric")
    assert caller.run("echo x") == (0, b"x\n")
    assert (jump.connections, target.connections) == (1, 1)
    assert owners(caller) == []


def test_refusal_by_the_jump_host_is_said(
    new_sshd: NewSshd, new_caller: NewCaller
) -> None:
    jump, target = new_sshd(AllowTcpForwarding="no"), new_sshd()
    behind(jump, target)
    with pytest.raises(errors.HostUnreachable, match="AllowTcpForwarding"):
        new_caller(target, transport="fabric").run("true")
    assert target.connections == 0


def test_unknown_key_of_the_jump_host_is_refused(
    new_sshd: NewSshd, new_caller: NewCaller
) -> None:
    jump, target = new_sshd(), new_sshd()
    behind(jump, target)
    jump.known_hosts.write_text("")
    with pytest.raises(errors.AuthenticationError):
        new_caller(target, transport="fabric").run("true")
    assert (jump.logins, target.connections) == (0, 0)


RELAY = """import os, select, socket, sys
far = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
while True:
    for end in select.select([0, far], [], [])[0]:
        data = os.read(0, 65536) if end == 0 else far.recv(65536)
        if not data:
            sys.exit()
        far.sendall(data) if end == 0 else os.write(1, data)
"""


def test_proxy_command_runs_in_a_shell(
    sshd: Sshd, caller: TransportCaller, place: Path
) -> None:
    (place / "relay.py").write_text(RELAY)
    line = f'X="{place}/relay.py"; exec {sys.executable} "$X" %p'
    sshd.write_client_config(f"ProxyCommand sh -c '{line}'")
    assert caller.run("echo x") == (0, b"x\n")
    until(lambda: not _running(str(place / "relay.py")))


def _running(word: str) -> bool:
    return subprocess.run(["pgrep", "-f", word], capture_output=True).returncode == 0


def test_proxy_command_that_fails_is_said(sshd: Sshd, caller: TransportCaller) -> None:
    sshd.write_client_config("ProxyCommand sh -c 'exit 3'")
    with pytest.raises(errors.HostUnreachable, match="proxy"):
        caller.run("true")
