"""What the user's ssh_config says holds, and has the environment that it names."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sshjobs import transports
from sshjobs.transports.identity import ssh_config
from sshjobs.transports.openssh import command_lines, handshake
from tests.cli import Cli
from tests.sshd import Sshd
from tests.transport_caller import TransportCaller

NewCaller = Callable[..., TransportCaller]

_RELAY = """
import os, select, socket, sys
if os.environ.get({name!r}) != "yes":
    sys.exit("no way")
line = socket.create_connection(("127.0.0.1", {port}))
ends = {{0: line.fileno(), line.fileno(): 1}}
while True:
    for fd in select.select(list(ends), [], [])[0]:
        piece = os.read(fd, 65536)
        if not piece:
            sys.exit()
        os.write(ends[fd], piece)
"""


def relay(sshd: Sshd, name: str) -> str:
    """Return a ProxyCommand that leads to a server if a variable says "yes"."""
    path = sshd.folder / "relay.py"
    path.write_text(_RELAY.format(name=name, port=sshd.port))
    return f"{sys.executable} {path}"


@pytest.mark.parametrize(
    "name", ["https_proxy", "HTTPS_PROXY", "all_proxy", "SOCKS_PROXY", "no_proxy"]
)
def test_a_proxy_command_has_what_proxies_read(
    sshd: Sshd, caller: TransportCaller, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sshd.write_client_config(f"ProxyCommand {relay(sshd, name)}")
    monkeypatch.setenv(name, "yes")
    assert caller.run("exit 3")[0] == 3


@pytest.mark.parametrize("where", ["top", "included", "option"])
@pytest.mark.parametrize(
    "line",
    [
        "IdentityFile ${SJ_DIR}/moved",
        "UserKnownHostsFile ${SJ_DIR}/known",
        "CertificateFile ${SJ_DIR}/none\n    IdentityFile ${SJ_DIR}/moved",
        'ProxyCommand {relay} "$SJ_WAY"',
        'Match host box,127.0.0.1 exec "test $SJ_WAY = yes"\n    Port {port}',
    ],
)
def test_what_the_configuration_names_is_there(
    sshd: Sshd,
    new_caller: NewCaller,
    line: str,
    where: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = sshd.folder / "moved"
    folder.mkdir()
    monkeypatch.setenv("SJ_DIR", str(folder))
    monkeypatch.setenv("SJ_WAY", "yes")
    line = line.replace("{relay}", relay(sshd, "SJ_WAY")).replace(
        "{port}", str(sshd.port)
    )
    text = sshd.write_client_config().read_text()
    if "IdentityFile" in line:
        sshd.key.rename(folder / "moved")
    elif "UserKnown" in line:
        sshd.known_hosts.rename(folder / "known")
        text = text.replace(f"    UserKnownHostsFile {sshd.known_hosts}\n", "")
    elif "Match" in line:
        text = text.replace(f"Port {sshd.port}", "Port 1", 1)
    more = ""
    if where == "option":
        if "Match" in line or "\n" in line:
            return  # there is no such option
        name, _, value = line.partition(" ")
        more = f"-o '{name}={value}'".removeprefix("-o ")
    elif where == "included":
        (folder / "conf").write_text(f"Host box\n    {line}\n")
        text = f"Include {folder}/conf\n{text}"
    else:
        text = f"Host box\n    {line}\n{text}"
    if "Match" in line:
        text = text.replace("    Port 1\n", "", 1) + "    Port 1\n"
    sshd.config.write_text(text)
    caller = new_caller(sshd, ssh_options=more)
    assert caller.run("exit 3")[0] == 3
    assert caller.identity.key == caller.identity.key


def test_what_nobody_names_stays_here(
    sshd: Sshd, caller: TransportCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    sshd.write_client_config("IdentityFile ${SJ_NAMED}", before="# $SJ_COMMENT")
    for name in ("SJ_NAMED", "SJ_COMMENT", "SJ_SECRET"):
        monkeypatch.setenv(name, f"the {name}")
    caller.run("true")
    pid = caller.state().pid
    environ = Path(f"/proc/{pid}/environ").read_text()
    assert "the SJ_NAMED" in environ
    assert "SJ_COMMENT" not in environ and "SJ_SECRET" not in environ


def values_of(argv: list[str], name: str) -> list[str]:
    """Return the values that a command line gives to an option, the first counts."""
    return [word.split("=", 1)[1] for word in argv if word.startswith(f"{name}=")]


def test_times_of_the_configuration_beat_our_defaults(
    sshd: Sshd, new_caller: NewCaller
) -> None:
    caller = new_caller(sshd)
    sshd.write_client_config(
        "ConnectTimeout 90",
        "ServerAliveInterval 61",
        "ServerAliveCountMax 7",
        before="Host hop\n    ConnectTimeout 40\n",
    )
    identity, settings = caller.identity, caller.settings
    argv = command_lines.build_master_argv(identity, settings, "/r/s", "/r/l")
    assert values_of(argv, "ConnectTimeout") == ["90"]
    assert values_of(argv, "ServerAliveInterval") == ["61"]
    assert values_of(argv, "ServerAliveCountMax") == ["7"]
    usual = settings.conn_timeout + settings.banner_timeout
    assert handshake.bound_login_seconds(identity, settings) == usual + 80

    said = new_caller(sshd, conn_timeout=5, keepalive_interval=9)
    argv = command_lines.build_master_argv(said.identity, said.settings, "/r/s", "/r/l")
    assert values_of(argv, "ConnectTimeout") == ["5"]
    assert values_of(argv, "ServerAliveInterval") == ["9"]
    assert values_of(argv, "ServerAliveCountMax") == ["3"]


def test_a_jump_host_has_its_own_connect_timeout(
    sshd: Sshd, new_caller: NewCaller
) -> None:
    caller = new_caller(sshd)
    sshd.write_client_config(
        "ProxyJump other,hop", before="Host hop\n    ConnectTimeout 40\n"
    )
    command = command_lines.build_jump_command(
        caller.identity, caller.settings, "/r/l", False
    )
    assert "'ConnectTimeout=40'" in command
    explicit = new_caller(sshd, conn_timeout=5)
    command = command_lines.build_jump_command(
        explicit.identity, explicit.settings, "/r/l", False
    )
    assert "'ConnectTimeout=5'" in command


def test_a_proxy_that_fails_names_master_env(cli: Cli) -> None:
    assert cli.sshd is not None
    cli.sshd.write_client_config("ProxyCommand false")
    ended = cli("submit", "box", "--wait-host", "0", "--", "true")
    assert ended.status == 69 and "master_env" in ended.err, ended


def test_a_variable_that_is_not_set_is_named(cli: Cli) -> None:
    assert cli.sshd is not None
    cli.sshd.write_client_config(before="Host box\n    IdentityFile ${SJ_UNSET}/id\n")
    ended = cli("submit", "box", "--", "true")
    assert ended.status == 64 and "SJ_UNSET" in ended.err, ended
    assert "environment" in ended.err


def test_an_identity_of_an_older_version_is_asked_for_again(
    caller: TransportCaller,
) -> None:
    from sshjobs.model import pack

    old = transports.Identity.from_bytes(pack(tuple(caller.identity)[:17]))
    assert (old.key, old.host) == (caller.identity.key, "box") and not old.is_fresh()


_USUAL = (
    "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,"
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com"
)
_FASTER = (
    "aes128-gcm@openssh.com,aes256-gcm@openssh.com,chacha20-poly1305@openssh.com,"
    "aes128-ctr,aes192-ctr,aes256-ctr"
)


def find_ciphers(
    sshd: Sshd, new_caller: NewCaller, monkeypatch: pytest.MonkeyPatch, has_aes: bool
) -> list[str]:
    """Return the ciphers that a connection is told to use, if any."""
    monkeypatch.setattr(ssh_config, "_has_aes", lambda: has_aes)
    caller = new_caller(sshd)
    argv = command_lines.build_master_argv(
        caller.identity, caller.settings, "/r/s", "/r/l"
    )
    return values_of(argv, "Ciphers")


@pytest.mark.parametrize(
    ("line", "has_aes", "told"),
    [
        (f"Ciphers {_USUAL}", True, [_FASTER]),
        (f"Ciphers {_USUAL}", False, []),
        ("Ciphers chacha20-poly1305@openssh.com", True, []),
        (f"Ciphers {_FASTER}", True, []),
        ("Ciphers -aes256-ctr", True, []),
        ("Ciphers chacha20-poly1305@openssh.com,aes128-gcm@openssh.com", True, []),
    ],
)
def test_ciphers_that_somebody_chose_stay_as_they_are(
    sshd: Sshd,
    new_caller: NewCaller,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    has_aes: bool,
    told: list[str],
) -> None:
    sshd.write_client_config(line)
    assert find_ciphers(sshd, new_caller, monkeypatch, has_aes) == told


def test_a_connection_takes_the_first_cipher_that_the_host_has(
    sshd: Sshd, caller: TransportCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_config, "_has_aes", lambda: True)
    assert caller.run("echo hello") == (0, b"hello\n")
    assert b"cipher: aes128-gcm@openssh.com" in sshd.log.read_bytes()


def test_a_processor_is_asked_about_aes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.open
    for text, found in (
        ("processor: 0\nflags\t\t: fpu aes avx\n", True),
        ("processor: 0\nflags\t\t: fpu vaes avx\nbugs: aes\n", False),
        ("Features\t: fp asimd aes pmull\n", True),
        ("", False),
    ):
        path = tmp_path / "cpuinfo"
        path.write_text(text)
        monkeypatch.setattr(builtins, "open", lambda _, mode: real(path, mode))
        has_aes = ssh_config._has_aes()
        monkeypatch.setattr(builtins, "open", real)
        assert has_aes is found, text
