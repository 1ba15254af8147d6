"""The command line: what it reads, what it prints when it cannot."""

from __future__ import annotations

import socket
import subprocess

import pytest

from sshjobs.cli import main, manual, parser
from tests.cli import VERBS, Cli

pytestmark = pytest.mark.quick


def read(text: str) -> dict[str, object]:
    verb, *words = text.split(" ")
    return parser.read_arguments(VERBS[verb], words)


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
    for verb in manual.read_verbs():
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
        "submit h --once --once --key k -- x",
        "logs j -n 3 -n 4",
        "logs j -fn",
        "logs j -fz",
        "wait -f",
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
    assert all(verb.brief in out for verb in manual.read_verbs())
    for verb in manual.read_verbs():
        with pytest.raises(SystemExit):
            main.main([verb.name, "--help"])
        out = capsys.readouterr().out
        assert all(arg.name in out for arg in verb.args if not arg.is_positional)
        assert max(map(len, out.splitlines())) <= 90


def test_an_unknown_verb_ends_with_64(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main.main(["frobnicate"])
    assert ended.value.code == 64


def test_flags_of_one_letter() -> None:
    values = read("logs -fn20 j -jv")
    assert (values["follow"], values["tail"], values["job"]) == (True, 20, ["j"])
    assert values["json"] and values["verbose"]
    assert read("list -qn 3 -a")["limit"] == 3
    assert read("run -v h -- prog -v -n 3")["command"] == ["prog", "-v", "-n", "3"]
    assert read("submit h -vv -- x")["verbose"] is True


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["lst"], "did you mean list?"),
        (["statsu"], "did you mean status?"),
        (["kil"], "did you mean kill?"),
        (["\x1b[31m"], "no such verb: \\x1b[31m\n"),
        (["list", "--stat", "FAILED"], "did you mean --state?"),
        (["logs", "--folow"], "did you mean --follow?"),
    ],
)
def test_a_slip_is_answered_with_the_word_that_is_meant(
    words: list[str], said: str, cli: Cli
) -> None:
    ended = cli(*words)
    assert (ended.status, ended.out) == (64, "")
    assert said in ended.err


def test_words_of_other_tools(cli: Cli) -> None:
    version = cli.ok("version").out
    assert version == cli.ok("-V").out == cli.ok("--version").out
    assert cli.ok("help").out == cli.ok("-h").out
    assert cli.ok("help", "cancel").out == cli.ok("kill", "--help").out
    job = cli.submit("--name", "train", "--", "sleep 600")
    assert cli.ok("ls", "-q").out == cli.ok("ps", "-q").out == f"{job}\n"
    assert job in cli.ok("stat", "train").out
    assert cli.ok("stat").lines[-1].startswith("1 running")
    assert "usage: sshjobs reap" in cli.ok("rm").out
    assert cli.ok("cancel", "train", "-q").out == ""
    assert [line.split()[0] for line in cli.ok("rm", "train").lines] == [job]


def test_each_step_is_told_to_whom_asks(cli: Cli) -> None:
    told = cli.ok("submit", cli.host, "-v", "--", "true")
    for part in (str(cli.home), "starts ", "ControlMaster=yes", "round of", "1 starts"):
        assert part in told.err, part
    assert len(told.lines) == 1
    cli.submit("--", "sleep 600")
    assert "a reply of" in cli("poll", env={"SSHJOBS_DEBUG": "1"}).err
    assert "round" not in cli("poll", env={"SSHJOBS_DEBUG": "0"}).err


def test_a_record_is_shown_in_words(cli: Cli) -> None:
    job = cli.submit("--name", "train", "--cwd", "/tmp", "--", "echo oops; exit 3")
    cli("wait", "train")
    cli.ok("logs", "train")
    shown = dict(line.split("  ", 1) for line in cli.ok("show", "train").lines)
    facts = {name: text.strip() for name, text in shown.items()}
    assert facts["state"].split() == ["FAILED", "exit", "3"]
    assert facts["directory"] == "/tmp" and facts["command"] == "echo oops; exit 3"
    assert facts["log here"] == f"{cli.home}/logs/{job}  5 B"
    assert facts["on the host"] == str(cli.directory(job))
    assert cli.job(job)["site_id"] and "site_id" not in shown
    assert "Python 3." in cli.ok("doctor", cli.host).lines[0]


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
