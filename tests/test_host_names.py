"""A HOST is a word for ssh and never a line for a shell, whatever reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from sshjobs import transports
from sshjobs.errors import SpecError
from sshjobs.host_names import Address, check_host
from sshjobs.settings import Settings
from tests.cli import Cli

#: What OpenSSH 9.6 refuses in a name of a host: valid_hostname() of ssh.c. The comma
#: is refused since 10.3.
_MARKS = "'`\"$\\;&<>|(){},"

#: And in a name of a user: valid_ruser() of ssh.c.
_USER_MARKS = "'`\";&<>|(){}"

_BAD = [
    "",
    "-oProxyCommand=x",
    "u@-h",
    "-u@h",
    "@h",
    "u@",
    "x$(id)",
    "x\x7f",
    "x\u00a0y",
    "x\u2028y",
    "x\ud800",
    "x\0",
    "u -oX@h",
    "u\\@h",
    "u$HOME@h",
    *(f"a{mark}b" for mark in _MARKS),
    *(f"{mark}" for mark in _MARKS),
    *(f"u{mark}v@h" for mark in _USER_MARKS),
    *(f"a{chr(code)}b" for code in [*range(33), 127]),
    *(f"u{chr(code)}v@h" for code in [*range(33), 127]),
    "ssh:x$(id)",
    "ssh:-x",
    "ssh:",
    "ssh://",
    "ssh://x$(id)",
    "ssh://%24%28id%29",
    "ssh://u%60id%60@h",
    "ssh://h%00",
    "ssh://-h",
    "ssh://h:",
    "ssh://h:0",
    "ssh://h:65536",
    "ssh://h:2x",
    "ssh://h/path",
    "ssh://[::1",
]


@pytest.mark.parametrize("host", _BAD)
def test_what_no_ssh_should_be_given_is_refused(host: str) -> None:
    with pytest.raises(SpecError, match="not a host name"):
        check_host(host)


@pytest.mark.parametrize(
    ("host", "user", "name", "port"),
    [
        ("h", "", "h", 0),
        ("u@h", "u", "h", 0),
        ("a@b@h", "a@b", "h", 0),
        ("DOMAIN\\u@h", "DOMAIN\\u", "h", 0),
        ("machine$@h", "machine$", "h", 0),
        ("fe80::1%eth0", "", "fe80::1%eth0", 0),
        ("ssh:local", "", "local", 0),
        ("ssh://h", "", "h", 0),
        ("ssh://u@h:2222", "u", "h", 2222),
        ("ssh://u@h:2222/", "u", "h", 2222),
        ("ssh://u%40v@[::1]:22", "u@v", "::1", 22),
    ],
)
def test_a_host_name_has_parts(host: str, user: str, name: str, port: int) -> None:
    assert check_host(host) == Address(user, name, port)


@pytest.mark.parametrize("transport", ["openssh", "fabric"])
@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("x$(touch {canary})", ""),
        ("u;touch\t{canary}@h", ""),
        ("h", "ProxyJump=a,x$(touch${{IFS}}{canary})"),
        ("h", "'User=a$(touch {canary})'"),
        ("h", "'HostName=a;touch {canary}'"),
    ],
)
def test_no_shell_sees_what_is_no_name(
    place: Path, transport: str, host: str, options: str
) -> None:
    canary = place / "canary"
    config = place / "config"
    config.write_text(
        'Match exec "test -n %h-%n-%r"\n ProxyCommand sh -c "echo %h %r %n"\n'
    )
    settings = Settings(
        ssh_config=str(config),
        ssh_options=options.format(canary=canary),
        transport=transport,
    )
    with pytest.raises(SpecError):
        transports.resolve_host(host.format(canary=canary), settings)
    assert not canary.exists()


@pytest.mark.parametrize("transport", ["openssh", "fabric"])
def test_a_port_behind_a_colon_is_told_of_uris(place: Path, transport: str) -> None:
    config = place / "config"
    config.write_text("Host odd:22\n HostName 127.0.0.1\n")
    settings = Settings(ssh_config=str(config), transport=transport)
    with pytest.raises(SpecError, match="ssh://u@h:2222"):
        transports.resolve_host("u@h:2222", settings)
    assert transports.resolve_host("::1", settings).hostname == "::1"
    assert transports.resolve_host("odd:22", settings).hostname == "127.0.0.1"


@pytest.mark.parametrize("transport", ["openssh", "fabric"])
def test_a_uri_is_the_host_that_it_names(place: Path, transport: str) -> None:
    config = place / "config"
    config.write_text("Host h\n HostName 127.0.0.1\n")
    settings = Settings(ssh_config=str(config), transport=transport)
    found = transports.resolve_host("ssh://u@h:2222", settings)
    assert (found.user, found.hostname, found.port) == ("u", "127.0.0.1", 2222)
    assert found.host == "ssh://u@h:2222"
    more = Settings(
        ssh_config=str(config), transport=transport, ssh_options="Port=2222"
    )
    assert transports.resolve_host("u@h", more).key == found.key


def test_a_job_runs_at_a_uri(cli: Cli) -> None:
    assert cli.sshd is not None
    cli.sshd.config.write_text(
        cli.sshd.config.read_text().replace(f"Port {cli.sshd.port}", "Port 1")
    )
    host = f"ssh://{cli.sshd.user}@{cli.host}:{cli.sshd.port}"
    cli.host = host
    ended = cli("run", host, "--", "echo hello")
    assert (ended.status, ended.out) == (0, "hello\n"), ended
