"""Jobs as a person sees them: status and list, at a terminal and in a pipe."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sshjobs import states
from sshjobs.display.look import Look, find_look
from sshjobs.display.table import Cell, Column, yield_table_lines
from sshjobs.display.text import cut_to_width, format_age, measure_width
from sshjobs.model import Job
from sshjobs.store import Store
from sshjobs.verbs.context import Context
from tests.cli import Cli
from tests.terminal import Terminal

DAY = 86400.0
LONG = "sweep/" + "a-long-name-" * 8 + "7"


class Screen(io.StringIO):
    """A stream that says it is a terminal, or that it is none."""

    def __init__(self, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal

    def fileno(self) -> int:
        return -1


@pytest.mark.parametrize(
    ("is_terminal", "when", "environ", "has_colour"),
    [
        (True, "auto", {"TERM": "xterm"}, True),
        (True, "auto", {"TERM": "dumb"}, False),
        (True, "auto", {"TERM": "xterm", "NO_COLOR": "1"}, False),
        (True, "auto", {"TERM": "xterm", "NO_COLOR": ""}, True),
        (True, "auto", {}, False),
        (True, "auto", {"TERM": ""}, False),
        (True, "always", {"NO_COLOR": "1"}, True),
        (True, "always", {"TERM": "dumb"}, True),
        (True, "never", {"TERM": "xterm"}, False),
        (False, "auto", {"TERM": "xterm"}, False),
        (False, "always", {}, True),
    ],
)
def test_colour_is_for_terminals_that_may_have_it(
    is_terminal: bool, when: str, environ: dict[str, str], has_colour: bool
) -> None:
    look = find_look(Screen(is_terminal), when, environ)
    assert look.has_colour == has_colour
    assert look.is_terminal == is_terminal
    assert find_look(Screen(True), when, environ | {"COLUMNS": "123"}).width == 123


def test_nothing_is_no_success_in_silence(cli: Cli) -> None:
    empty = cli.ok("list")
    assert (empty.out, "no jobs yet" in empty.err) == ("", True)
    assert cli.ok("list", "--json").err == ""
    long = cli("submit", cli.host, "--name", "x" * 1025, "--", "true")
    assert long.status == 64 and "1,024 characters at most" in long.err


def test_texts_are_measured_as_a_terminal_shows_them() -> None:
    for text, width in (("abc", 3), ("日本", 4), ("e\u0301", 1), ("🚀x", 3), ("", 0)):
        assert measure_width(text) == width
    assert cut_to_width("日本語です", 6) == "日本…"
    assert cut_to_width("日本語", 6) == "日本語"
    assert cut_to_width("abcdef", 4, "~") == "abc~"
    for columns in range(1, 12):
        assert measure_width(cut_to_width("a日b本c語e\u0301d🚀", columns)) <= columns


def test_ages_are_short() -> None:
    spans = (0.4, 59, 60, 3599, 3600, 2 * DAY - 1, 2 * DAY, 400 * DAY)
    assert " ".join(map(format_age, spans)) == "0s 59s 1m 59m 1h 47h 2d 400d"


@pytest.mark.parametrize("width", [0, 20, 40, 80, 140])
def test_no_line_is_wider_than_a_terminal(width: int) -> None:
    columns = (Column("A"), Column("B", 4), Column("C", 6, True))
    texts = [("x", "日本語" * 10, "one"), ("y" * 6, "e\u0301" * 30, "two words " * 9)]
    rows = [[Cell(text) for text in row] for row in texts]
    lines = list(yield_table_lines(columns, rows, Look(width=width)))
    assert len(lines) == 3
    if width:
        assert max(map(measure_width, lines)) <= width
    else:
        assert texts[1][2].strip() in lines[2]
    plain = list(yield_table_lines(columns, rows, Look(width=width, has_colour=True)))
    assert [re.sub("\033\\[[0-9]*m", "", line).rstrip() for line in plain] == lines


def fill_record(home: Path) -> None:
    """Write a record whose picture is the same on each day."""
    store = Store(str(home))
    now = time.time()
    gone: dict[str, Any] = {"reaped_at": now, "exit_status": 0}
    lost: dict[str, Any] = {"reason": "rebooted", "command": "./x\ny"}
    jobs: list[tuple[str, str, float | None, dict[str, Any]]] = [
        (states.COMPLETED, "fit", 3700.0, {"exit_status": 0}),
        (states.FAILED, LONG, 4.25, {"exit_status": 3}),
        (states.FAILED, "ünï 日本語", 65.0, {"signal": 9}),
        (states.LOST, "", 0.0, lost),
        (states.RUNNING, "train", None, {}),
        (states.COMPLETED, "gone", 0.0, gone),
    ]
    for place, (state, name, span, fields) in enumerate(jobs):
        began = now - 3 * DAY - 1830 + place
        fields |= {"submitted_at": began, "started_at": began, "name": name}
        fields["finished_at"] = None if span is None else began + span
        job = Job("abcdef"[place] * 16, "gpu1.example.org", "s1", state, **fields)
        store.jobs.add_jobs([job])
    store.sites.ensure_site("s1", "gpu1.example.org")
    store.sites.update_site("s1", round_started_at=now - 2.5 * DAY, round_ended_at=now)
    store.close()


AT_80 = """\
ID        STATE                 HOST          AGE    TIME  END     NAME
aaaaaaaa  COMPLETED             gpu1.exampl…   3d   1h01m  exit 0  fit
bbbbbbbb  FAILED                gpu1.exampl…   3d    4.2s  exit 3  sweep/a-long…
cccccccc  FAILED                gpu1.exampl…   3d   1m05s  sig 9   ünï 日本語
dddddddd  LOST                  gpu1.exampl…   3d    0.0s          ./x  [reboot…
eeeeeeee  RUNNING, seen 2d ago  gpu1.exampl…   3d  12h30m          train
1 running"""

AT_140 = """\
ID                STATE                 HOST              AGE    TIME  END     NAME
aaaaaaaaaaaaaaaa  COMPLETED             gpu1.example.org   3d   1h01m  exit 0  fit
bbbbbbbbbbbbbbbb  FAILED                gpu1.example.org   3d    4.2s  exit 3  LONG
cccccccccccccccc  FAILED                gpu1.example.org   3d   1m05s  sig 9   UNI
dddddddddddddddd  LOST                  gpu1.example.org   3d    0.0s          ./x  \
[rebooted]
eeeeeeeeeeeeeeee  RUNNING, seen 2d ago  gpu1.example.org   3d  12h30m          train
1 running"""
AT_140 = AT_140.replace("LONG", LONG[:60] + "…").replace("UNI", "ünï 日本語")


def test_a_list_in_a_terminal_of_80_and_140_columns(place: Path) -> None:
    fill_record(place / "home")
    env = {"SSHJOBS_HOME": str(place / "home")}
    shots = (
        (80, "sshjobs list", AT_80),
        (140, "sshjobs list", AT_140),
    )
    for columns, command, shown in shots:
        with Terminal(place / f"t{columns}", columns, env) as terminal:
            terminal.type(f"clear; {command}; echo DO''NE")
            screen = terminal.wait_for("DONE")
        rows = [row for row in screen.splitlines() if not row.startswith(("$", "DONE"))]
        assert "\n".join(rows[: len(shown.splitlines())]) == shown
        assert max(map(measure_width, rows)) <= columns


def test_a_list_in_a_pipe_has_every_job_and_stays_as_it_was(
    cli: Cli, place: Path
) -> None:
    fill_record(cli.home)
    lines = cli.ok("list").lines
    assert [line[0] for line in lines] == list("abcdef")
    assert lines[4].split() == (
        "eeeeeeeeeeeeeeee RUNNING gpu1.example.org 12h30m train [seen 2d ago]".split()
    )
    assert LONG in lines[1] and "\033" not in cli.ok("list").out
    assert "\033[31mFAILED" in cli.ok("list", "--color", "always", "--limit", "9").out
    rows = cli.ok("list", "--json").objects
    assert len(rows) == 6
    assert rows[1]["command"] == "" and rows[3]["command"] == "./x\ny"
    assert rows[1]["finished_at"] > 1e9 and rows[1]["finished_iso"].startswith("20")
    assert rows[4]["finished_iso"] is None and rows[4]["seen_at"] < time.time() - DAY
    few = cli.ok("list", "--limit", "2", "--sort", "time").lines
    assert [line[0] for line in few] == ["I", "a", "e", "a", "1"]
    assert few[3] == "and 4 older: --all"


def test_a_status_shows_active_jobs_and_what_ended_lately(cli: Cli) -> None:
    fill_record(cli.home)
    Store(str(cli.home)).jobs.update_job("e" * 16, state=states.LOST)
    assert "no job is active, and none has ended today" in cli.ok("status").out
    running = cli.submit("--name", "train", "--", "sleep 600")
    cli("run", cli.host, "--name", "odd", "--", "exit 3")
    cli.ok("run", cli.host, "--cleanup", "always", "--name", "tidy", "--", "true")
    shown = cli.ok().lines
    assert len(shown) == len(cli.ok("status").lines)
    assert shown[0].split() == "ID STATE HOST AGE TIME END NAME".split()
    assert [line.split()[0] for line in shown[1:2]] == [running]
    assert shown[2].split()[-3:] == ["exit", "3", "odd"]
    assert len(shown) == 4  # the tidy one was reaped, the others ended long ago
    assert shown[3].startswith("1 running · ") and "1 failed today" in shown[3]
    assert len(cli.ok("status", "--all").lines) == 3 + 1 + 6 + 1
    cli.ok("kill", "train")


def test_a_silent_host_hinders_no_other(new_box: Callable[..., Cli]) -> None:
    """One is down, one never answers; the third is asked, and its end is known."""
    cli = new_box()
    assert cli.sshd is not None
    cli.sshd.write_client_config(
        before="Host down\n HostName 127.0.0.1\n Port 1\n"
        "Host silent\n ProxyCommand sleep 600\n"
    )
    job = cli.submit("--name", "brief", "--", "true")
    store = Store(str(cli.home))
    for number, host in enumerate(("down", "silent")):
        with Context(cli.env, {}).coordinator(host) as coordinator:
            site_id = coordinator.site_id
        began = time.time() - 3000
        store.jobs.add_jobs(
            [
                Job(
                    "ab"[number] * 16,
                    host,
                    site_id,
                    states.RUNNING,
                    name=host,
                    submitted_at=began,
                    started_at=began,
                )
            ]
        )
    ended = cli("status", "--wait-host", "2")
    assert ended.status in (69, 75), ended
    lines = {line.split()[-1]: line for line in ended.lines}
    assert lines["brief"].split()[:2] == [job, "COMPLETED"]
    assert "RUNNING, not asked yet" in lines["down"]
    assert "RUNNING, not asked yet" in lines["silent"]
    now = time.strftime("%H:%M")
    last = ended.lines[-1]
    assert "down unreachable since" in last and "silent unreachable since" in last
    assert now[:2] in last
    assert "down: " in ended.err and "silent: " in ended.err
    only = cli("status", cli.host)
    assert only.status == 0 and len(only.lines) == 3
