"""``-p -i -l -o -F -J``, as ssh takes them, on every verb that takes HOST."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sshjobs.cli import manual, parser
from tests.cli import VERBS, Cli

#: But for report, whose -o is its file: it is made from the record here.
_VERBS = [
    verb.name
    for verb in manual.read_verbs()
    if {"host", "--host"} & {arg.name for arg in verb.args} and verb.name != "report"
]


def read(*words: str) -> dict[str, object]:
    return parser.read_arguments(VERBS[words[0]], words[1:])


def test_every_verb_with_a_host_has_them() -> None:
    assert {"submit", "run", "connect", "disconnect", "doctor", "poll", "wait"} <= set(
        _VERBS
    )
    for name in _VERBS:
        flags = {arg.name for arg in VERBS[name].args}
        assert {"-p", "-i", "-l", "-o", "-F", "-J"} <= flags, name


def test_a_value_may_be_joined_to_its_letter() -> None:
    values = read("submit", "-p22", "-l", "u", "-oA=1", "-o", "B=2", "h", "--", "x")
    assert (values["p"], values["l"], values["o"]) == (22, "u", ["A=1", "B=2"])
    assert (values["host"], values["command"]) == ("h", ["x"])


def test_flags_of_the_command_are_its_own(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (("rm", "-i", "f"), ("ls", "-l"), ("cc", "-o", "f")):
        with pytest.raises(SystemExit) as ended:
            read("run", "h", *words)
        assert ended.value.code == 64
        assert "put -- before COMMAND" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["-p", "0"],
        ["-p", "65536"],
        ["-p", "x"],
        ["-i", ""],
        ["-l", "a;b"],
        ["-l", "-a"],
        ["-J", "a,x$(id)"],
        ["-J", "a:0"],
        ["-J", ""],
        ["-o", ""],
        ["-o", "NoSuchOption=1"],
        ["-o", "User=a`b`"],
        ["-F", "/no/such/file"],
    ],
)
def test_a_value_that_ssh_would_refuse_is_refused(cli: Cli, words: list[str]) -> None:
    ended = cli("submit", *words, cli.host, "--", "true")
    assert ended.status == 64, ended
    assert cli.sshd is not None and cli.sshd.connections == 0


@pytest.mark.parametrize("transport", ["openssh", "fabric"])
def test_they_lead_where_ssh_would_go(cli: Cli, place: Path, transport: str) -> None:
    """Only flags say where the host is; the job is found again without any."""
    assert cli.sshd is not None
    sshd = cli.sshd
    key = place / "a key"
    shutil.copy(sshd.key, key)
    key.chmod(0o600)
    empty = place / "empty"
    empty.write_text("")
    cli.env["SSHJOBS_TRANSPORT"] = transport
    cli.env["SSHJOBS_SSH_CONFIG"] = str(empty)
    flags = ["-p", str(sshd.port), "-l", sshd.user, "-i", str(key)]
    flags += ["-o", f"UserKnownHostsFile={sshd.known_hosts}"]
    flags += ["-o", "GlobalKnownHostsFile /dev/null"]
    ended = cli("submit", *flags, "127.0.0.1", "--", "echo $0; sleep 1")
    assert ended.status == 0, ended
    assert cli("wait", ended.id).status == 0
    assert cli("logs", ended.id).status == 0
    again = cli("run", "127.0.0.1", *flags, "--", "echo two")
    assert (again.status, again.out) == (0, "two\n")
    if transport == "openssh":
        assert sshd.logins == 1
    (row,) = cli("hosts", "--json").objects
    assert row["host"] == "127.0.0.1"
    assert cli("disconnect", "127.0.0.1", *flags).status == 0


def test_a_jump_and_a_configuration_may_be_named(cli: Cli) -> None:
    assert cli.sshd is not None
    sshd = cli.sshd
    sshd.write_client_config(
        before=f"Host hop\n HostName 127.0.0.1\n Port {sshd.port}"
        f"\n User {sshd.user}\n IdentityFile {sshd.key}\n"
        f" UserKnownHostsFile {sshd.known_hosts}\n"
    )
    del cli.env["SSHJOBS_SSH_CONFIG"]
    flags = ["-F", str(sshd.config), "-J", "hop"]
    ended = cli("run", *flags, cli.host, "--", "echo far")
    assert (ended.status, ended.out) == (0, "far\n"), ended
    assert sshd.logins == 2
    assert cli("disconnect", *flags, cli.host).status == 0


def test_jobs_of_one_name_and_two_ports_are_told_apart(cli: Cli) -> None:
    assert cli.sshd is not None
    port = ["-p", str(cli.sshd.port)]
    cli.sshd.config.write_text(
        cli.sshd.config.read_text().replace(f"Port {cli.sshd.port}", "Port 1")
    )
    job = cli.ok("submit", cli.host, *port, "--", "sleep 2").id
    assert [o["id"] for o in cli.ok("list", "--json").objects] == [job]
    assert cli.ok("list", "--host", cli.host, *port).lines
    assert cli.ok("wait", "--host", cli.host, *port).lines
    other = cli("list", "--host", cli.host, "-p", "2")
    assert (other.status, other.out) == (64, ""), other
    assert cli("poll", "-p", "2").status == 64
    assert cli("disconnect", cli.host, *port).status == 0


def test_a_second_name_of_a_connection_is_known(cli: Cli) -> None:
    """The row of a connection has the name that was used first."""
    assert cli.sshd is not None
    text = cli.sshd.config.read_text()
    cli.sshd.config.write_text(text.replace("Host box", "Host box other third"))
    cli.submit("true")
    job_id = cli.ok("submit", "other", "sleep 1000").id
    assert len(cli.ok("hosts", "--json").objects) == 1
    for words in (("poll",), ("list",), ("reap", "--dry-run")):
        cli.ok(*words, "--host", "other")
    (job,) = cli.ok("poll", "--host", "other", "--json").objects
    assert job["id"] == job_id
    cli.ok("kill", job_id)
    assert cli("wait", "--host", "other").status == 0
    assert cli("poll", "--host", "third").status == 64
