"""The command line: what it reads, what it prints when it cannot."""

from __future__ import annotations

import socket
import subprocess

import pytest

from sshjobs.cli import main, manual, parser
from sshjobs.cli.manual import BY_NAME
from tests.cli import Cli

pytestmark = pytest.mark.quick


def read(text: str) -> dict[str, object]:
    verb, *words = text.split(" ")
    return parser.read_arguments(BY_NAME[verb], words)


def test_flags_and_words_come_in_any_order() -> None:
    for text in (
        "submit --name n h --env A=1 --env B=2 -- echo hi",
        "submit h --env A=1 --name n --env B=2 -- echo hi",
        "submit h echo hi --name n --env A=1 --env B=2",
    ):
        values = read(text)
        assert values["host"] == "h"
        assert values["command"] == ["echo", "hi"]
        assert values["name"] == "n"
        assert values["env"] == ["A=1", "B=2"]


def test_what_follows_the_dashes_is_no_flag() -> None:
    values = read("run h -- prog --name x -- -v")
    assert values["command"] == ["prog", "--name", "x", "--", "-v"]
    assert values["name"] is None


def test_a_value_stands_behind_its_flag_or_behind_an_equals_sign() -> None:
    assert read("submit h --name=a=b -- x")["name"] == "a=b"
    assert read("submit h --name= -- x")["name"] == ""
    assert read("submit h --stdin - -- x")["stdin"] == "-"


def test_every_argument_has_a_value() -> None:
    for verb in manual.VERBS:
        words = ["x" for arg in verb.args if arg.is_positional and not arg.takes_many]
        words += ["x" for arg in verb.args if arg.required]
        values = parser.read_arguments(verb, words)
        assert set(values) == {arg.dest for arg in verb.args}


@pytest.mark.parametrize(
    "text",
    [
        "submit",
        "submit h --nope",
        "submit h --name",
        "submit h --name --once -- x",
        "submit h --name -- x",
        "submit h --once=yes -- x",
        "submit h --nam n -- x",
        "submit h --timeout soon -- x",
        "submit h --cleanup maybe -- x",
        "hosts x",
        "logs j --offset -1",
        "list --state DONE",
    ],
)
def test_a_mistake_ends_with_64(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read(text)
    assert ended.value.code == 64
    verb = text.split()[0]
    assert f"see: sshjobs {verb} --help" in capsys.readouterr().err


def test_help_reads_like_a_manual(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["--help"])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert all(verb.brief in out for verb in manual.VERBS)
    for verb in manual.VERBS:
        with pytest.raises(SystemExit):
            main.main([verb.name, "--help"])
        out = capsys.readouterr().out
        assert all(arg.name in out for arg in verb.args if not arg.is_positional)
        assert max(map(len, out.splitlines())) <= 90


def test_an_unknown_verb_ends_with_64(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["frobnicate"])
    assert ended.value.code == 64


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["submit", "-x", "--", "true"], "unrecognized"),
        (["submit", "h", "ls", "-l"], "put -- before COMMAND"),
        (["submit", "a b", "--", "true"], "not a host name"),
        (["submit", "box", "--", ""], "empty"),
        (["submit", "box", "--env", "A", "--", "true"], "--env-from"),
        (["submit", "box", "--env", "1=2", "--", "true"], "1"),
        (["submit", "box", "--env-from", "NO_SUCH", "--", "true"], "NO_SUCH"),
        (["submit", "box", "--once", "--", "true"], "--key"),
        (["submit", "box", "--from", "/no/such"], "/no/such"),
        (["submit", "box", "--stdin", "/no/such", "--", "true"], "/no/such"),
        (["show", "zzzz"], "no such job"),
        (["show", "key:zzzz"], "no job of that key"),
        (["logs", "zzzz"], "no such job"),
        (["logs", "key:"], "the key is empty"),
        (["kill", "key:"], "the key is empty"),
        (["kill"], "of which jobs"),
        (["show"], "of which jobs"),
        (["logs", "--tail", "3"], "of which jobs"),
        (["kill", ""], "a JOB is empty"),
        (["kill", "sweep-*"], "no such job"),
        (["kill", "--name", "sweep-*"], "matches --name sweep-*"),
        (["wait", "--state", "FAILED"], "matches --state FAILED"),
        (["list", "--key", "exp7/*", "--since", "1h"], "--key exp7/* --since 1h"),
        (["list", "--since", "soon"], "not an instant"),
        (["list", "--since", "2999-01-01"], "not an instant of the past"),
        (["reap", "--orphans", "--name", "x"], "--orphans"),
        (["poll", "--key", ""], "the key is empty"),
        (["poll", "--adopt"], "--host"),
    ],
)
def test_a_wrong_call_does_nothing(cli: Cli, words: list[str], part: str) -> None:
    ended = cli(*words)
    assert ended.status == 64, ended
    assert part in ended.err
    assert len(ended.err.splitlines()) <= 2
    assert cli.ok("list").out == ""
    assert cli.sshd is not None and cli.sshd.connections == 0


def test_nothing_printed_drives_a_terminal(cli: Cli) -> None:
    job = cli.submit("--name", "a\x1b[31mb\nc", "--", "true")
    for words in (("poll", job), ("show", job), ("list",)):
        assert "\x1b" not in cli.ok(*words).out
    assert cli.job(job)["name"] == "a\x1b[31mb\nc"


@pytest.mark.parametrize("verb", ["submit", "run"])
def test_an_id_is_one_write_without_buffers_too(cli: Cli, verb: str) -> None:
    """Containers set PYTHONUNBUFFERED; a crowd with one pipe must not mix lines."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    streams = {"stdout" if verb == "submit" else "stderr": theirs}
    other = {"stderr" if verb == "submit" else "stdout": subprocess.DEVNULL}
    process = cli.start(
        verb, cli.host, "--", "true", env={"PYTHONUNBUFFERED": "1"}, **streams, **other
    )
    theirs.close()
    assert process.wait(60) == 0
    with ours:
        text = ours.recv(4096)
    assert len(text) == 17 and text.endswith(b"\n")
