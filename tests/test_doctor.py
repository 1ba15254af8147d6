"""The doctor: what it sees on a real host, and what it makes of what it is told."""

from __future__ import annotations

import pytest

from sshjobs.verbs.doctor import BAD, GOOD, WARN, _judge_host
from tests.cli import Cli

HEALTHY = {
    "shell": ["/bin/bash"],
    "system": ["Linux x86_64"],
    "clock": ["1000"],
    "setsid": ["yes"],
    "signals": ["yes"],
    "proc": ["yes"],
    "space": ["9999999"],
    "inodes": ["9999999"],
    "end": ["yes"],
}


def levels(**changes: list[str]) -> set[str]:
    return {finding.level for finding in _judge_host(HEALTHY | changes, 1000.0)}


def test_a_healthy_host() -> None:
    assert levels() == {GOOD}


def test_what_stands_in_the_way() -> None:
    assert BAD in levels(missing=["awk"])
    assert BAD in levels(space=["10"])
    assert BAD in levels(inodes=["10"])
    assert BAD in levels(killuser=["yes"])
    assert BAD in levels(killuser=["yes"], linger=["yes"])
    services = ["systemd 252, as services of the user"]
    assert levels(killuser=["yes"], launcher=services) == {GOOD}
    assert levels(inodes=["0"]) == {GOOD}  # btrfs counts none
    assert WARN in levels(setsid=["no"])
    assert WARN in levels(proc=["no"])
    assert WARN in levels(boot=["no"])
    assert WARN in levels(bytes=["no"])
    assert levels(fstype=["nfs"]) == {GOOD}
    assert WARN in levels(clock=["2000"])
    assert {f.level for f in _judge_host({}, 0.0)} == {BAD}


def test_a_real_host(cli: Cli) -> None:
    ended = cli.ok("doctor", cli.host)
    assert "login shell" in ended.out and "MiB are free" in ended.out
    assert all(line[:4].strip() in (GOOD, WARN) for line in ended.lines)
    assert cli.sshd is not None and cli.sshd.connections == 1


def test_this_machine(cli: Cli) -> None:
    cli.env["SSHJOBS_REMOTE_BASE_DIR"] = str(cli.home.parent / "local")
    rows = cli.ok("doctor", "local", "--json").objects
    assert {row["level"] for row in rows} <= {GOOD, WARN}


def test_a_host_whose_base_is_not_ours(cli: Cli) -> None:
    cli.env["SSHJOBS_REMOTE_BASE_DIR"] = "/proc/none"
    ended = cli("doctor", cli.host)
    assert ended.status == 1
    assert "bad" in ended.out


def test_a_host_that_is_not_there(cli: Cli) -> None:
    assert cli.sshd is not None
    cli.sshd.stop()
    assert cli("doctor", cli.host, "--wait-host", "0").status == 69


@pytest.mark.parametrize("said", ["²", "9" * 5000, "-1", "1e9", "", "\x1b[31m"])
def test_what_a_host_says_of_itself_may_be_anything(said: str) -> None:
    names = ("clock", "space", "inodes", "shell", "system", "fstype")
    facts = {name: [said] for name in names} | {"end": ["yes"]}
    for finding in _judge_host(facts, 1e9):
        assert "MiB" not in finding.what and "clock" not in finding.what


@pytest.mark.parametrize("words", [("hosts",), ("doctor", "local")])
def test_colour_is_as_it_was_wanted(cli: Cli, words: tuple[str, ...]) -> None:
    cli.env["SSHJOBS_REMOTE_BASE_DIR"] = str(cli.home.parent / "local")
    cli.ok("submit", "local", "--", "true")
    cli.env |= {"NO_COLOR": "1", "TERM": "dumb"}
    assert "\033[" in cli.ok(*words, "--color", "always").out
    assert "\033" not in cli.ok(*words).out
    assert cli(*words, "--color", "sometimes").status == 64
