"""What a person sees: each picture at 80 and at 140 columns, from a real terminal.

The pictures are in ``data/captures/``; ids, numbers and runs of blanks have one form.
``SSHJOBS_TEST_CAPTURES=write`` writes them anew: look at each before it is committed.
"""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

import pytest

from sshjobs.display.text import measure_width
from tests.cli import Cli
from tests.terminal import Terminal, open_terminal

CAPTURES = Path(__file__).parent / "data" / "captures"
_MARKS = itertools.count()
NAME = "a-sweep-with-a-long-name/of-many-words/and-日本語/of-which-no-line-is-wrapped"


def make_stable(screen: str, cli: Cli) -> str:
    """Return a screen without all that differs from day to day."""
    text = screen.replace(str(cli.home.parent), "PLACE")
    text = re.sub(
        r"\b[a-z2-7]{16}\b|^(> |  )?[a-z2-7]{8}(?=  )", r"\1ID", text, flags=re.M
    )
    # How much of it fits depends on the widths of other columns.
    text = re.sub(r"a-sweep[^\s:]*", lambda m: "LONG" + "…" * (m[0][-1] == "…"), text)
    text = re.sub(r"\(\d+\)", "(PID)", text)
    text = re.sub(r"\d+-\d+-\d+ \d+:\d+:\d+", "DATE", text)
    text = re.sub(r"\b\d+(\.\d+)? (kB|B|MB)", "SIZE", text)
    text = re.sub(r"\b\d+(\.\d+)?s\b", "SPAN", text)
    return re.sub(r" {2,}", "  ", text).rstrip()


def compare(name: str, screen: str, columns: int, cli: Cli) -> None:
    """Compare a screen with its picture."""
    assert max(map(measure_width, screen.splitlines())) <= columns
    path, text = CAPTURES / f"{name}-{columns}.txt", make_stable(screen, cli) + "\n"
    if os.environ.get("SSHJOBS_TEST_CAPTURES") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    assert path.read_text("utf-8") == text, name


def see(terminal: Terminal, command: str) -> str:
    """Run a command on a clear screen; return what it shows."""
    mark = f"DONE{next(_MARKS)}."  # that of the command before may still be there
    terminal.type(f"clear; {command}; echo {mark[:2]}''{mark[2:]}")
    screen = terminal.wait_for(mark)
    return screen[: screen.index(mark)].rstrip("\n")


@pytest.mark.parametrize("columns", [80, 140])
def test_each_picture_is_as_it_was_looked_at(
    cli: Cli, place: Path, columns: int
) -> None:
    fit = cli.submit("--name", "fit", "--", "echo all is well")
    bad = cli.submit("--name", NAME, "--", "echo first; echo no such file; exit 3")
    assert cli("wait", fit, bad).status == 1
    line = "echo epoch one; echo epoch two; exec sleep 300"
    train = cli.submit("--name", "train", "--", line)
    jobs = place / "jobs.txt"
    jobs.write_text("true\n" * 200)
    with open_terminal(cli, place / "t", columns, 30) as terminal:
        screen = see(terminal, "sshjobs")
        compare("status", screen, columns, cli)
        compare("list", see(terminal, "sshjobs list"), columns, cli)
        compare("wait", see(terminal, f"sshjobs wait {fit} {bad}"), columns, cli)
        head = see(terminal, "sshjobs hosts").splitlines()
        shown = [re.sub(r"\b\d+\b(?! [kM]?B)", "0", row) for row in head]
        assert max(map(measure_width, head)) <= columns
        compare("hosts", "\n".join(shown), columns, cli)
        terminal.type("clear; sshjobs top")
        terminal.wait_for("epoch two")
        compare_top(terminal, columns, cli)
        terminal.press("q")
        terminal.wait_for("$")
        terminal.type(f"clear; sshjobs logs train {fit} {bad} -f")
        for text in ("epoch two", "all is well", "no such file"):
            screen = terminal.wait_for(text)
        rows = sorted(row for row in screen.splitlines() if "│" in row)
        compare("logs", "\n".join(rows), columns, cli)
        terminal.press("C-c")
        terminal.wait_for("$")
        screen = see(terminal, f"sshjobs submit {cli.host} --from {jobs} --name many")
        compare("submit", "\n".join(screen.splitlines()[-4:]), columns, cli)
    plain = cli.ok("status").out + cli.ok("hosts").out + cli.ok("list").out
    assert "\033" not in plain and "…" not in plain and NAME in plain
    cli("kill", train)


def compare_top(terminal: Terminal, columns: int, cli: Cli) -> None:
    """Compare the picture of ``top``, whose counts of rounds go on."""
    screen = terminal.screen
    host = re.compile(rf"^{cli.host} .*$", re.M)
    compare("top", host.sub(f"{cli.host}  …", screen), columns, cli)
