"""The logs of several jobs at once: headings, prefixes, followed side by side."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sshjobs import states
from sshjobs.cli.many_logs import build_labels, build_prefixes, clean_lines
from sshjobs.display.look import Look
from sshjobs.display.text import measure_width
from sshjobs.model import Job, new_job_id
from sshjobs.verbs.context import Context
from sshjobs.verbs.many_logs import LONGEST_LINE, LogLines
from tests.cli import Cli, eventually, finish
from tests.fleet import Fleet


def make_job(name: str = "", host: str = "box", **fields: object) -> Job:
    """Return a job that runs."""
    values = {"site_id": "s1", "state": states.RUNNING, "host": host, **fields}
    return Job(id=new_job_id(), name=name, **values)  # type: ignore[arg-type]


class Sink:
    """Takes lines and keeps how they came.

    Args:
        folder: Where the store is.
        log: The bytes of the job's log on this machine.
    """

    def __init__(self, folder: Path, log: bytes) -> None:
        store = Context({"SSHJOBS_HOME": str(folder / "home")}, {}).store
        self.job = make_job()
        self.path = Path(store.files.locate_log(self.job.id))
        self.path.parent.mkdir(exist_ok=True)
        self.path.write_bytes(log)
        self.path.chmod(0o600)
        self.pieces: list[bytes] = []
        self.lines = LogLines(store, self.job, self.take)

    def take(self, _job: Job, lines: bytes) -> None:
        """Take whole lines."""
        self.pieces.append(lines)

    def copy(self, upto: int, *, is_end: bool = False) -> None:
        """Have the lines of so many bytes handed over."""
        self.lines.copy(self.job._replace(log_local_bytes=upto), is_end=is_end)


def test_only_whole_lines_come_and_the_last_half_at_the_end(tmp_path: Path) -> None:
    sink = Sink(tmp_path, b"one\ntwo\nthr")
    sink.copy(2)
    assert sink.pieces == []
    sink.copy(7)
    assert sink.pieces == [b"one\n"]
    sink.copy(11)
    assert sink.pieces == [b"one\n", b"two\n"]
    sink.copy(11)
    assert sink.pieces == [b"one\n", b"two\n"]
    sink.copy(11, is_end=True)
    assert sink.pieces == [b"one\n", b"two\n", b"thr"]


def test_a_line_without_an_end_comes_in_pieces(tmp_path: Path) -> None:
    size = 100 * LONGEST_LINE + 5
    sink = Sink(tmp_path, b"x" * size + b"\nend\n")
    sink.copy(size)
    assert [len(piece) for piece in sink.pieces] == [LONGEST_LINE] * 100
    sink.copy(size + 5)
    assert sink.pieces[100] == b"xxxxx\nend\n"


def test_labels_tell_jobs_apart() -> None:
    jobs = [
        make_job("train"),
        make_job("train", host="far"),
        make_job("part"),
        make_job("part"),
        make_job("", key="exp7/a"),
        make_job(""),
        make_job("x" * 100),
        make_job("x" * 99 + "y"),
        make_job("\x1b[31mred\n"),
    ]
    labels = build_labels(jobs)
    given = [labels[job.id] for job in jobs]
    assert given[:2] == ["train box", "train far"]
    assert given[2] == f"part {jobs[2].id[:8]}" and given[4] == "exp7/a"
    assert given[5] == jobs[5].id[:8]
    assert given[8] == "\\x1b[31mred\\n"
    assert len(set(given)) == len(jobs)
    assert max(map(measure_width, given)) <= 24


def test_prefixes_are_of_one_width() -> None:
    labels = {"a": "train-3", "b": "日本", "c": "x"}
    plain = build_prefixes(labels, Look())
    assert plain["a"].decode() == "train-3 │ "
    assert {measure_width(prefix.decode()) for prefix in plain.values()} == {10}
    coloured = build_prefixes(labels, Look(has_colour=True))
    assert coloured["a"].decode() == "\033[36mtrain-3 │\033[0m "
    assert b"|" in build_prefixes(labels, Look(has_unicode=False))["a"]


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (b"plain", b"plain"),
        (b"10%\r50%\r100%\r", b"100%"),
        (b"dos\r", b"dos"),
        (b"\x1b[2J\x1b]0;title\x07", b"\\x1b[2J\\x1b]0;title\\x07"),
        (b"\x1b[31mred\x1b[0m", b"\x1b[31mred\x1b[0m\x1b[0m"),
        (b"a\tb", b"a       b"),
        (b"\xff\x00", b"\\xff\\x00"),
        ("\u202eevil".encode(), b"\\u202eevil"),
    ],
)
def test_a_line_cannot_drive_a_terminal(line: bytes, shown: bytes) -> None:
    assert clean_lines(line, Look(has_colour=True, width=80)) == shown
    plain = clean_lines(line, Look(width=80))
    assert plain.decode().isprintable()


def test_headings_tell_why(cli: Cli) -> None:
    one = cli.submit("--name", "good", "--", "echo fine")
    two = cli.submit("--name", "bad", "--", "seq 9; printf oops; exit 3")
    three = cli.submit("--", "echo gone; kill -9 $$")
    cli("wait")
    before = cli.hosts()["rounds"]
    logs = cli.ok("logs", "--since", "1h", "--tail", "2")
    assert cli.hosts()["rounds"] <= before + 1
    assert logs.out == (
        f"==> {one} good COMPLETED exit 0 <==\nfine\n\n"
        f"==> {two} bad FAILED exit 3 <==\n9\noops\n"
        f"==> {three} FAILED sig 9 <==\ngone\n"
    )
    told = cli.ok("logs", "good", "bad", "--prefix", "--tail", "1")
    assert told.out == "good │ fine\nbad  │ oops\n"
    assert cli.ok("logs", "bad", "--prefix", "--tail", "1").out == "bad │ oops\n"
    assert cli.ok("logs", "bad", "--tail", "1").raw == b"oops"


def test_jobs_are_followed_side_by_side_in_one_round_a_host(cli: Cli) -> None:
    go = cli.base.parent / "go"
    wait = f"until test -e {go}; do sleep 0.1; done"
    for number in range(6):
        line = f"printf 'half {number}'; {wait}; echo; echo done; exit {number // 5}"
        cli.submit("--name", f"job-{number}", "--", line)
    follow = cli.start("logs", "job-*", "--follow")
    eventually(lambda: cli.hosts()["sessions"] >= 8, "it follows and watches")
    go.touch()
    before = cli.hosts()
    (ended,) = finish([follow])
    after = cli.hosts()
    assert ended.status == 0, ended
    for number in range(6):
        own = [line for line in ended.lines if line.startswith(f"job-{number} ")]
        assert own == [f"job-{number} │ half {number}", f"job-{number} │ done"]
    assert len(ended.lines) == 12
    assert ended.err.count("FAILED") == 1 and "job-5" in ended.err
    # Not one session a job: a round that hears of the ends, and maybe one for the rest.
    assert after["sessions"] - before["sessions"] < 6


def test_a_tail_of_each_comes_first_and_then_what_follows(cli: Cli) -> None:
    go = cli.base.parent / "go"
    wait = f"until test -e {go}; do sleep 0.1; done"
    for name in ("a", "b"):
        cli.submit("--name", name, "--", f"seq 5; {wait}; echo {name} ends")
    old = cli.submit("--name", "c", "--", "seq 3")
    cli.ok("wait", old)
    follow = cli.start("logs", "a", "b", "c", "-f", "-n", "1")
    assert follow.stdout is not None
    first = sorted(follow.stdout.readline().decode() for _ in range(3))
    assert first == ["a │ 5\n", "b │ 5\n", "c │ 3\n"]
    go.touch()
    (ended,) = finish([follow])
    assert (ended.status, sorted(ended.lines)) == (0, ["a │ a ends", "b │ b ends"])


def test_a_host_that_is_down_holds_up_no_log_of_another(fleet: Fleet) -> None:
    fleet.add("n0")
    fleet.add("ndown", relayed=True)
    fleet.write()
    fleet.submit("echo here; exit 1")
    fleet.cli("wait")
    more = fleet.submit("echo there")
    down = fleet.relays["ndown"]
    down.hole = True
    down.drop()
    flags = ("--since", "1h", "--wait-host", "5")
    logs = fleet.cli.start("logs", *flags)
    assert logs.stdout is not None
    text = "".join(logs.stdout.readline().decode() for _ in range(5))
    assert text.count("==>") == 2 and more["n0"] in text
    assert logs.poll() is None
    follow = fleet.cli.start("logs", *flags, "--follow")
    assert follow.stdout is not None
    assert {follow.stdout.readline().split()[-1] for _ in range(2)} <= {
        b"here",
        b"there",
    }
    for ended in finish([logs, follow]):
        assert ended.status == 69 and "ndown" in ended.err, ended
    down.heal()


def test_a_log_that_the_host_lost_ends_no_other(cli: Cli) -> None:
    one = cli.submit("--name", "one", "--", "echo one")
    cli.submit("--name", "two", "--", "sleep 1; echo two")
    cli.ok("wait", one)
    (cli.directory(one) / "log").unlink()
    cli.env["SSHJOBS_START_GRACE"] = "1"
    ended = cli("logs", "one", "two", "--follow")
    assert "two │ two" in ended.lines
    assert ended.status and one in ended.err, ended


def read_peak_memory(pid: int) -> int:
    """Return the peak of a process in KiB, 0 once it has ended.

    Not its ru_maxrss, which begins with that of the parent.
    """
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def test_a_flood_without_a_newline_takes_no_memory(cli: Cli) -> None:
    big = cli.submit("--name", "big", "--", "head -c 100000000 /dev/zero | tr '\\0' x")
    cli.submit("--name", "small", "--", "echo small")
    out = cli.home.parent / "out"
    with out.open("wb") as file:
        words = ("logs", "big", "small", "--follow")
        follow = cli.start(*words, stdout=file, stderr=subprocess.DEVNULL)
        most = 0
        while follow.poll() is None:
            most = max(most, read_peak_memory(follow.pid))
            time.sleep(0.05)
    assert follow.returncode == 0
    assert 0 < most < 120_000
    with out.open("rb") as file:
        count = sum(line.count(b"x") for line in file if line.startswith(b"big "))
    assert count == 100_000_000
    cli.ok("reap", big)


def test_ctrl_c_leaves_the_jobs_and_says_how_to_come_back(cli: Cli) -> None:
    for name in ("a", "b"):
        cli.submit("--name", name, "--", "echo begun; sleep 1000")
    follow = cli.start("logs", "a", "b", "--follow")
    assert follow.stdout is not None
    assert follow.stdout.readline() and follow.stdout.readline()
    follow.send_signal(signal.SIGINT)
    (ended,) = finish([follow])
    assert ended.status == 130
    assert "sshjobs logs a b --follow" in ended.err, ended
    assert cli.state("a") == "RUNNING"
