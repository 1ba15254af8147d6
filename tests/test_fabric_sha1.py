"""Fabric's connections take and give no signature by SHA-1, whatever paramiko does.

paramiko up to 4.0 does both; OpenSSH has not since 8.8. So on the packages of today
these pass with and without our part of it: ``inv test --pythons`` runs them on the
lowest paramiko that setup.cfg admits.
"""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from sshjobs import errors
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller

pytestmark = pytest.mark.quick


@pytest.fixture
def rsa(place: Path) -> Path:
    path = place / "rsa"
    argv = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""]
    subprocess.run([*argv, "-f", str(path)], check=True)
    return path


@pytest.fixture
def new_rsa_sshd(
    new_sshd: Callable[..., Sshd], rsa: Path
) -> Callable[[str, str], Sshd]:
    """Makes a server with an RSA key that signs by one algorithm, and an RSA login."""

    def make(host: str, login: str) -> Sshd:
        sshd = new_sshd(
            HostKey=rsa,
            HostKeyAlgorithms=host,
            PubkeyAcceptedAlgorithms=login,
            RequiredRSASize=1024,
        )
        public = rsa.with_suffix(".pub").read_text()
        (sshd.folder / "authorized_keys").write_text(public)
        sshd.known_hosts.write_text(f"[127.0.0.1]:{sshd.port} {public}")
        sshd.key.write_text(rsa.read_text())
        return sshd

    return make


@pytest.mark.parametrize(
    ("host", "login", "said"),
    [
        ("rsa-sha2-512", "rsa-sha2-512", ""),
        ("ssh-rsa", "rsa-sha2-512", "Unable to negotiate"),
        ("rsa-sha2-256", "ssh-rsa", "Permission denied"),
    ],
)
def test_no_signature_by_sha1(
    new_rsa_sshd: Callable[[str, str], Sshd],
    new_caller: Callable[..., TransportCaller],
    host: str,
    login: str,
    said: str,
) -> None:
    sshd = new_rsa_sshd(host, login)
    caller = new_caller(sshd, transport="fabric")
    if not said:
        assert caller.run("echo x") == (0, b"x\n")
        return
    with pytest.raises(errors.AuthenticationError, match=said):
        caller.run("echo x")
    assert sshd.logins == 0


class Liar(paramiko.RSAKey):
    """A host key that agrees to SHA-2 and signs by SHA-1."""

    def sign_ssh_data(self, data: bytes, algorithm: str | None = None) -> Any:
        key: Any = self.key
        blob = key.sign(data, padding.PKCS1v15(), hashes.SHA1())
        message = paramiko.Message()
        message.add_string("ssh-rsa")
        message.add_string(blob)
        return message


@pytest.fixture
def liar(rsa: Path) -> Iterator[socket.socket]:
    """A server that serves one connection with such a key."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        served: list[paramiko.Transport] = []

        def serve() -> None:
            client, _ = listener.accept()
            transport = paramiko.Transport(client)
            served.append(transport)
            transport.add_server_key(Liar.from_private_key_file(str(rsa)))
            try:
                transport.start_server(server=paramiko.ServerInterface())
            except (paramiko.SSHException, EOFError, OSError):
                return  # the client has gone, as it should

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener
        thread.join(20)
        for transport in served:
            transport.close()
            transport.join(20)


def test_host_that_signs_by_another_algorithm_than_agreed(
    liar: socket.socket,
    rsa: Path,
    new_caller: Callable[..., TransportCaller],
    place: Path,
) -> None:
    port = liar.getsockname()[1]
    public = rsa.with_suffix(".pub").read_text()
    (place / "known").write_text(f"[127.0.0.1]:{port} {public}")
    config = place / "config"
    config.write_text(f"""Host box
    HostName 127.0.0.1
    Port {port}
    IdentityFile {rsa}
    IdentitiesOnly yes
    UserKnownHostsFile {place}/known
    StrictHostKeyChecking yes
""")
    caller = new_caller(None, transport="fabric", ssh_config=str(config))
    caller.host = "box"
    with pytest.raises(errors.AuthenticationError, match="signed by ssh-rsa"):
        caller.run("echo x")
