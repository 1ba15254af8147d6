"""run and submit on several hosts: labels, one summary, one status, one interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sshjobs.cli.host_lists import read_hosts
from sshjobs.cli.manual import find_verb
from sshjobs.cli.many_hosts import HostLines
from sshjobs.cli.parser import read_arguments
from sshjobs.errors import SpecError
from sshjobs.tasks import read_values
from sshjobs.verbs.many_logs import LONGEST_LINE
from tests.cli import eventually, finish
from tests.fleet import Fleet
from tests.terminal import open_terminal


@pytest.fixture
def three(fleet: Fleet) -> Iterator[Fleet]:
    """Three hosts that answer, and one that refuses."""
    for name in ("n1", "n2", "n3"):
        fleet.add(name)
    fleet.add("ndown", relayed=True)
    fleet.write()
    fleet.relays["ndown"].close()
    yield fleet


def named(host: str, *files: Path, **values: Any) -> list[str]:
    """Return the hosts of a call."""
    words = {"host": host, "hosts": list(map(str, files)), "command": ["true"]}
    return read_hosts(words | values)


def test_hosts_are_named_with_commas_and_in_files(tmp_path: Path) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(
        b"\xef\xbb\xbfn1\r\n# all of them\n\n  n2  # the second\nu@n1\nn1\n"
    )
    assert named("n3,n1") == ["n3", "n1"]
    assert named("", path) == ["n1", "n2", "u@n1"]
    assert named("n2,n4", path, path) == ["n2", "n4", "n1", "u@n1"]


def test_ten_thousand_hosts_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "hosts"
    path.write_text("".join(f"node{number}\n" for number in range(10_000)) * 2)
    assert len(named("", path)) == 10_000
    monkeypatch.setattr("sshjobs.cli.host_lists._MOST", 9_999)
    with pytest.raises(SpecError, match="more than 9,999"):
        named("", path)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"n1\nn\0x\n", r"line 2: not a host name: 'n\\x00x'"),
        (b"n1\n-oProxyCommand=x\n", "line 2: not a host name"),
        (b"\xff\xfe\n", "line 1: not a host name"),
        (b"n1 n2\n", "line 1: not a host name"),
        (b"a" * 10_000, "line 1: too long"),
        (b"# none\n", "no host is named"),
        (b"", "no host is named"),
    ],
)
def test_a_file_that_is_none_of_hosts_is_refused(
    tmp_path: Path, text: bytes, why: str
) -> None:
    path = tmp_path / "hosts"
    path.write_bytes(text)
    with pytest.raises(SpecError, match=why):
        named("", path)


def test_words_that_are_no_hosts_are_refused(tmp_path: Path) -> None:
    for host in ("n1,", ",", "n1,,n2", "n1, n2"):
        with pytest.raises(SpecError, match="not a host name"):
            named(host)
    with pytest.raises(SpecError, match="No such file"):
        named("", tmp_path / "none")
    with pytest.raises(SpecError, match="cannot be both"):
        named("", Path("-"), command=[])
    with pytest.raises(SpecError, match="cannot be both"):
        named("", Path("-"), stdin="-")


def test_a_file_stands_in_the_place_of_host(capsys: pytest.CaptureFixture[str]) -> None:
    verb = find_verb("run")
    assert verb is not None
    values = read_arguments(verb, ["--hosts", "f", "--", "uptime", "-p"])
    assert (values["host"], values["command"]) == ("", ["uptime", "-p"])
    values = read_arguments(verb, ["n1", "--hosts=f", "--hosts", "g", "--", "uptime"])
    assert (values["host"], values["hosts"]) == ("n1", ["f", "g"])
    assert read_arguments(verb, ["--hosts", "f"])["host"] == ""
    with pytest.raises(SystemExit):
        read_arguments(verb, ["--hosts", "f", "uptime"])
    assert "put -- before COMMAND" in capsys.readouterr().err
    given = {"hosts": ["f"], "command": ["uptime"]}
    assert read_values(verb, given)["host"] == ""
    with pytest.raises(SpecError, match="--host is missing"):
        read_values(verb, {"command": ["uptime"]})


def test_lines_of_a_host_come_whole_and_long_ones_in_pieces() -> None:
    shown: list[bytes] = []

    class Printer:
        def write_lines(self, prefix: bytes, lines: bytes, file: int) -> None:
            assert file == 1
            shown.append(prefix + lines)

    lines = HostLines(b"h ", Printer())  # type: ignore[arg-type]
    for piece in (b"a\nb", b"", b"c\nd\ne"):
        assert lines.take(memoryview(piece)) == len(piece)
    assert shown == [b"h a\n", b"h bc\nd\n"]
    lines.end()
    lines.end()
    assert shown[2:] == [b"h e"]
    assert lines.take(memoryview(b"x" * 200_000)) == LONGEST_LINE
    assert len(shown[-1]) == LONGEST_LINE + 2


def test_a_run_on_several_hosts(three: Fleet) -> None:
    line = "echo out; echo err >&2; printf half; "
    line += "case $SSHJOBS_JOB_ID in [a-m]*) exit 3; esac"
    ended = three.cli("run", "n1,n2,n1,n3,ndown", "--wait-host", "2", "--", line)
    assert sorted(ended.lines) == sorted(
        f"{name:5} │ {word}"
        for name in ("n1", "n2", "n3")
        for word in ("out", "err", "half")
    )
    for name in ("n1", "n2", "n3"):
        own = [text.split()[-1] for text in ended.lines if text.startswith(name)]
        assert own == ["out", "err", "half"]
    words = ended.said
    ids = [words.split()[0] for words in words if words.endswith(("n1", "n2", "n3"))]
    assert len(ids) == 3
    bad = sum("a" <= job_id[0] <= "m" for job_id in ids)
    summary = words[-1]
    assert summary.startswith("sshjobs: 4 hosts: ")
    assert (f"{3 - bad} succeeded" in summary) is (bad < 3)
    assert (f"{bad} failed (n" in summary) is (bad > 0)
    assert summary.endswith("1 unreachable (ndown)")
    assert ended.status == 69
    assert three.sshd.connections == 3


def test_the_status_is_the_largest(three: Fleet) -> None:
    line = "test $(cat $0 | wc -c) -gt 0; exit 7"
    assert three.cli("run", "n1,n2", "--", line).status == 7
    assert three.cli("run", "n1,n2", "--", "true").status == 0
    ended = three.cli("run", "n1,n2", "--json", "--", "kill -9 $$")
    assert ended.status == 137 and ended.out == ""
    rows = [line for line in ended.said if line.startswith("{")]
    assert len(rows) == 2 and all('"signal": 9' in row for row in rows)


def test_at_a_terminal_a_line_tells_how_far_it_is(three: Fleet, place: Path) -> None:
    with open_terminal(three.cli, place / "t", 80) as terminal:
        terminal.type("sshjobs run n1,n2 -- 'test $SSHJOBS_ATTEMPT; sleep 300'")
        screen = terminal.wait_for("0/2 hosts done · 2 running; Ctrl-C: the jobs are")
        assert "nothing was sent" not in screen
        terminal.press("C-c")
        terminal.wait_for("2 hosts: 2 cancelled")
        # One that is down is counted while the other runs.
        terminal.type("clear; sshjobs run n1,ndown --wait-host 1 -- sleep 300")
        terminal.wait_for("1/2 hosts done · 1 failed · 1 running")
        terminal.press("C-c")
        terminal.wait_for("1 cancelled (n1) · 1 unreachable (ndown)")


def test_a_silent_host_holds_up_no_output(three: Fleet) -> None:
    three.add("nhole", relayed=True)
    three.write()
    three.relays["nhole"].hole = True
    run = three.cli.start("run", "nhole,n1,n2", "--wait-host", "8", "--", "echo here")
    assert run.stdout is not None
    first = {run.stdout.readline().split()[0] for _ in range(2)}
    assert first == {b"n1", b"n2"} and run.poll() is None
    (ended,) = finish([run])
    assert ended.status == 69
    assert "3 hosts: 2 succeeded · 1 unreachable (nhole)" in ended.err


def test_a_submit_to_several_hosts(three: Fleet, tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("n1\nn2 # two\nn1\n")
    words = ("submit", "--hosts", hosts, "--name", "up", "--", "sleep 1")
    ended = three.cli.ok(*words)
    ids, names = zip(*(line.split() for line in ended.lines))
    assert sorted(names) == ["n1", "n2"] and len(set(ids)) == 2
    assert ended.said == ["sshjobs: 2 hosts: 2 started"]
    assert len(three.cli.ok("wait", "up").lines) == 2
    more = three.cli("submit", "n3,ndown", "--json", "--wait-host", "1", "--", "true")
    assert more.status == 69
    found = {row["host"]: row for row in more.objects}
    assert sorted(found) == ["n3", "ndown"] and found["n3"]["id"]
    assert found["ndown"]["id"] is None
    assert "Connection refused" in found["ndown"]["error"]
    assert three.cli.ok("submit", "n1,n2", "-q", "--", "true").out == ""
    for flag in (("--from", hosts), ("--from", "-")):
        refused = three.cli("submit", "n1,n2", *flag)
        assert refused.status == 64 and "--from goes with one HOST" in refused.err


def test_a_key_is_one_on_each_host(three: Fleet) -> None:
    """Each host has a base directory of its own, as hosts have."""
    places = {name: three.cli.base.parent / f"base-{name}" for name in ("n1", "n2")}
    config = three.cli.home.parent / "config.toml"
    tables = (f'[host."{n}"]\nremote_base_dir = "{p}"\n' for n, p in places.items())
    config.write_text("".join(tables))
    three.cli.env["SSHJOBS_CONFIG"] = str(config)
    del three.cli.env["SSHJOBS_REMOTE_BASE_DIR"]
    words = ("submit", "n1,n2", "--key", "night", "--")
    first = three.cli.ok(*words, "true")
    assert len({line.split()[0] for line in first.lines}) == 2
    three.cli.ok("wait")
    again = three.cli.ok(*words, "true")
    assert sorted(again.lines) == sorted(first.lines)
    assert again.said == ["sshjobs: 2 hosts: 2 there already"]
    other = three.cli.ok(*words, "false")
    assert other.err.count("holds it, with another command") == 2
    assert three.cli.ok("run", "n1,n2", "--key", "night", "--", "true").out == ""


def test_standard_input_is_the_command_or_the_hosts(three: Fleet) -> None:
    ended = three.cli.ok("run", "n1,n2", stdin=b"echo read")
    assert sorted(ended.lines) == ["n1 │ read", "n2 │ read"]
    ended = three.cli.ok("run", "--hosts", "-", "--", "echo hosts", stdin=b"n1\nn2\n")
    assert sorted(ended.lines) == ["n1 │ hosts", "n2 │ hosts"]
    ended = three.cli.ok("run", "n1,n2", "--stdin", "-", "--", "cat", stdin=b"data\n")
    assert sorted(ended.lines) == ["n1 │ data", "n2 │ data"]


def test_ctrl_c_cancels_on_each_host_and_the_logs_go_on(three: Fleet) -> None:
    line = "trap 'echo bye; exit 1' TERM; echo on; while :; do sleep 0.1; done"
    run = three.cli.start("run", "n1,n2,n3", "--", line)
    assert run.stdout is not None
    for _ in range(3):
        assert run.stdout.readline().endswith("│ on\n".encode())
    run.send_signal(signal.SIGINT)
    (ended,) = finish([run])
    assert ended.status == 143, ended
    last = [line for line in ended.lines if line.endswith("bye")]  # not of the shell
    assert sorted(last) == ["n1 │ bye", "n2 │ bye", "n3 │ bye"]
    assert ended.err.count("being cancelled") == 1
    assert ended.said[-1] == "sshjobs: 3 hosts: 3 cancelled (n1, n2, n3)"


def test_a_second_ctrl_c_leaves_the_ends_to_the_hosts(three: Fleet) -> None:
    line = "trap '' TERM; echo on; while :; do sleep 0.1; done"
    run = three.cli.start("run", "n1,n2", "--", line)
    assert run.stdout is not None and run.stderr is not None
    assert run.stdout.readline() and run.stdout.readline()
    run.send_signal(signal.SIGTERM)
    while b"being cancelled" not in run.stderr.readline():
        continue
    eventually(lambda: len(list(three.cli.base.glob("jobs/*/cancel*"))) == 2)
    run.send_signal(signal.SIGINT)
    (ended,) = finish([run])
    assert ended.status == 130, ended
    assert "told to end, and the host sees to that: n1 (" in ended.err
    rows = three.cli.ok("list", "--json").objects
    ids = sorted(row["id"] for row in rows)
    assert sorted(ended.err.split("sshjobs poll ")[1].split()[:2]) == ids
    wait = three.cli("wait", *ids, "--json")
    assert [row["state"] for row in wait.objects] == ["CANCELLED"] * 2


def test_detached_jobs_go_on_and_are_named(three: Fleet) -> None:
    three.add("nhole", relayed=True)
    three.write()
    three.relays["nhole"].hole = True
    words = ("run", "n1,n2,nhole", "--detach-on-signal", "--", "echo on; sleep 100")
    run = three.cli.start(*words)
    assert run.stdout is not None
    assert run.stdout.readline() and run.stdout.readline()
    run.send_signal(signal.SIGINT)
    (ended,) = finish([run])
    assert ended.status == 130, ended
    lines = [line.strip() for line in ended.said]
    assert "nothing was sent to: nhole" in lines
    goes_on = next(line for line in lines if line.startswith("goes on: "))
    assert "n1 (" in goes_on and "n2 (" in goes_on
    rows = three.cli.ok("list", "--json").objects
    assert sorted(row["host"] for row in rows) == ["n1", "n2"]
    assert {row["state"] for row in three.cli("poll", "--json").objects} == {"RUNNING"}


def test_an_interrupted_submit_tells_where_jobs_run(three: Fleet) -> None:
    three.add("nhole", relayed=True)
    three.write()
    three.relays["nhole"].hole = True
    submit = three.cli.start("submit", "nhole,n1", "--", "sleep 100")
    assert submit.stdout is not None
    job_id, host = submit.stdout.readline().decode().split()
    assert host == "n1"
    submit.send_signal(signal.SIGINT)
    (ended,) = finish([submit])
    assert ended.status == 130, ended
    assert f"goes on: n1 ({job_id})" in ended.err
    assert "nothing was sent to: nhole" in ended.err
    assert [row["id"] for row in three.cli.ok("list", "--json").objects] == [job_id]


def test_a_reader_that_goes_away_leaves_the_jobs(three: Fleet) -> None:
    line = "echo on; sleep 1; echo more; sleep 100"
    run = three.cli.start("run", "n1,n2", "--", line, stderr=subprocess.DEVNULL)
    assert run.stdout is not None
    assert run.stdout.readline()
    run.stdout.close()
    assert os.waitstatus_to_exitcode(os.waitpid(run.pid, 0)[1]) == 141
    run.returncode = 141
    rows = three.cli("poll", "--json").objects
    assert [row["state"] for row in rows] == ["RUNNING"] * 2
