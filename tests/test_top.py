"""``sshjobs top`` at a real terminal with a real host; and its picture, by line."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from sshjobs import states
from sshjobs.cli.screen import _ENTER, _LEAVE, Screen
from sshjobs.display.look import Look
from sshjobs.display.text import measure_width
from sshjobs.display.top_screen import TopView, build_top_lines
from sshjobs.model import Job
from sshjobs.store import Store
from sshjobs.verbs.hosts import HostState
from sshjobs.verbs.live import read_log_end
from sshjobs.verbs.overview import Overview
from tests.cli import Cli, eventually
from tests.terminal import Terminal, open_terminal

#: Prints the modes of a terminal that a program may have changed.
MODES = "stty -a | tr ';' '\\n' | grep -o -w -e '-*icanon' -e '-*echo' | tr '\\n' ' '"


def wait_until_restored(terminal: Terminal, mark: str) -> None:
    """Wait until the shell is there again, with the modes that it had."""
    # What is typed before is for top, which drops it as it gives the terminal back.
    eventually(lambda: terminal.screen.splitlines()[-1:] == ["$"], "a prompt")
    terminal.type(f"{MODES}; echo {mark[:1]}''{mark[1:]} $?")
    screen = terminal.wait_for(f"{mark} ")
    assert "icanon echo" in screen and "-icanon" not in screen
    assert "q quit" not in screen


def find_children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(word) for word in path.read_text().split()]


def test_top_shows_a_job_and_its_log_and_ends_it_by_a_key(
    cli: Cli, place: Path
) -> None:
    line = "echo first line; echo second line; exec sleep 300"
    job_id = cli.submit("--name", "train", "--", line)
    other = cli.submit("--name", "fit", "--", "echo why it failed; exit 3")
    cli("wait", other)
    with open_terminal(cli, place / "t", 100) as terminal:
        terminal.type("sshjobs top")
        screen = terminal.wait_for("second line")
        assert "1 running" in screen and "first line" in screen
        assert any(row.startswith(f"> {job_id[:8]}") for row in screen.splitlines())
        assert "open (" in screen  # the connection of the host
        terminal.press("?")
        terminal.wait_for("choose a job")
        terminal.press("?")
        terminal.press("Down")  # the log of a job that has ended comes, too
        terminal.wait_for("why it failed")
        terminal.press("x")
        terminal.wait_for("fit has ended: FAILED")
        terminal.write("/tra")
        terminal.wait_for("1 shown")
        terminal.press("Enter")
        terminal.press("Enter")  # follows it
        terminal.wait_for(f"sshjobs logs --follow --tail 60 {job_id}")
        terminal.wait_for("second line")
        terminal.press("C-c")
        terminal.wait_for("/tra")
        terminal.press("x")
        terminal.wait_for("End train on")
        terminal.press("n")
        assert cli.job(job_id)["state"] == "RUNNING"
        terminal.press("x")
        terminal.wait_for("End train on")
        terminal.press("y")
        terminal.wait_for("CANCELLED")
        terminal.press("Escape")
        terminal.wait_for("2 shown")
        terminal.press("q")
        wait_until_restored(terminal, "DONE")
    assert cli.job(job_id)["state"] == "CANCELLED"
    assert cli.sshd is not None and cli.sshd.logins == 1


def test_the_terminal_is_restored_on_each_way_out(place: Path) -> None:
    env = {"SSHJOBS_HOME": str(place / "home")}
    with Terminal(place / "t", 80, env) as terminal:
        for end, mark in (("q", "QUIT"), ("C-c", "INTR")):
            terminal.type("clear; sshjobs top")
            terminal.wait_for("q quit")
            terminal.press(end)
            wait_until_restored(terminal, mark)
        terminal.type("clear; sshjobs top")
        terminal.wait_for("q quit")
        terminal.press("C-z")
        terminal.wait_for("Stopped")
        wait_until_restored(terminal, "STOP")
        terminal.type("fg")
        terminal.wait_for("q quit")
        terminal.press("q")
        wait_until_restored(terminal, "FG")
        # A child of this shell is its job; it notes its own pid, and is told to end.
        terminal.type("clear; (echo $BASHPID >pid; sshjobs top)")
        terminal.wait_for("q quit")
        (child,) = find_children(int((place / "t" / "pid").read_text()))
        os.kill(child, signal.SIGTERM)
        wait_until_restored(terminal, "TERM")


def test_a_terminal_that_is_gone_ends_top_as_its_signal_says(place: Path) -> None:
    cli = Cli(None, place / "home", place / "base")
    ours, theirs = pty.openpty()
    words = [sys.executable, "-m", "sshjobs", "top"]
    env = cli.env | {"TERM": "xterm"}
    process = subprocess.Popen(
        words, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=env
    )
    os.close(theirs)
    seen = b""
    while b"q quit" not in seen:
        seen += os.read(ours, 4096)
    os.close(ours)
    assert process.communicate()[1] == b""
    assert process.returncode == 128 + signal.SIGHUP


#: Is told to end in the middle of taking the terminal.
_ENDED_EARLY = """
import os, signal
from sshjobs.cli import screen
write = screen._write
def write_and_end(text):
    write(text)
    if text == screen._ENTER:
        os.kill(os.getpid(), signal.SIGTERM)
screen._write = write_and_end
try:
    with screen.Screen(lambda: None, lambda: None):
        os._exit(1)
except screen.Ended:
    os._exit(signal.getsignal(signal.SIGTERM) != signal.SIG_DFL)
"""


def test_a_signal_while_the_terminal_is_taken_gives_it_back() -> None:
    ours, theirs = pty.openpty()
    before = termios.tcgetattr(theirs)
    words = [sys.executable, "-c", _ENDED_EARLY]
    done = subprocess.run(words, stdin=theirs, stdout=theirs)
    assert termios.tcgetattr(theirs) == before
    seen = ""
    while len(seen) < len(_ENTER + _LEAVE):  # what one read has may be a part
        seen += os.read(ours, 4096).decode()
    assert seen == _ENTER + _LEAVE
    assert done.returncode == 0
    os.close(ours)
    os.close(theirs)


@pytest.mark.quick
def test_all_is_drawn_anew_once_the_size_has_changed(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """It may be as before by the next picture; the terminal has lost some of it."""
    screen = Screen(lambda: None, lambda: None)
    screen.draw(["one", "two"])
    capfd.readouterr()
    screen.draw(["one", "2"])
    assert "one" not in capfd.readouterr().out
    screen._note(signal.SIGWINCH, None)
    screen.draw(["one", "2"])
    assert "one" in capfd.readouterr().out


def test_without_a_terminal_top_is_refused_in_a_line(place: Path) -> None:
    cli = Cli(None, place / "home", place / "base")
    ended = cli("top")
    assert (ended.status, ended.out) == (64, "")
    assert len(ended.err.splitlines()) == 1 and "sshjobs status" in ended.err


def build_view(jobs: list[Job], place: Path, **fields: Any) -> TopView:
    """Return a view of jobs on a host that does not answer."""
    store = Store(str(place / "home"))
    store.sites.ensure_site("s1", "gpu1.example.org")
    now = time.time()
    store.sites.update_site("s1", cooldown_until=now + 60, cooldown_set_at=now)
    sites = {row.site_id: row for row in store.sites.list_sites()}
    store.close()
    overview = Overview(jobs, 0, sites, {states.RUNNING: len(jobs)}, [], now)
    hosts = [HostState(row, None) for row in sites.values()]
    return TopView(overview, hosts, {}, jobs, **fields)


@pytest.mark.quick
@pytest.mark.parametrize("width", [30, 80, 140])
@pytest.mark.parametrize("height", [4, 12, 24, 60])
def test_a_picture_fits_and_has_no_control_characters(
    width: int, height: int, place: Path
) -> None:
    evil = "\x1b]0;x\x07日本語e\u0301🚀\t\n" * 9
    jobs = [
        Job(
            f"{place_:016d}".replace("0", "a").replace("1", "b"),
            "gpu1.example.org" * 3,
            "s1",
            states.RUNNING,
            name=evil,
            reason=evil,
            submitted_at=time.time(),
        )
        for place_ in range(2000)
    ]
    for selected, has_help in ((0, False), (1999, True), (1000, False)):
        look = Look(width=width, height=height, has_colour=False)
        view = build_view(
            jobs,
            place,
            selected=selected,
            log=[evil] * 99,
            has_help=has_help,
            prompt=evil,
        )
        lines = build_top_lines(view, look)
        assert len(lines) == height
        assert all(line.isprintable() for line in lines)
        assert sum(line.startswith("> ") for line in lines) == 1
        if width >= 80:
            assert max(map(measure_width, lines)) <= width
            assert height < 20 or "next try in" in "\n".join(lines)


@pytest.mark.quick
def test_keys_are_read_as_terminals_send_them() -> None:
    screen = Screen(lambda: None, lambda: None)
    data = "\x1b[A\x1bOBj\r\x1b[5~ü\x1b[99zx".encode()
    keys = screen._split_keys(data)
    assert keys[:5] == ["up", "down", "j", "enter", "page up"] and keys[5] == "ü"
    assert screen._split_keys("日".encode()[:2]) == []
    assert screen._split_keys("日".encode()[2:] + b"\x7f") == ["日", "backspace"]
    assert screen._split_keys(b"\x1b") == ["escape"]


@pytest.mark.quick
def test_the_end_of_a_log_is_whole_lines(place: Path) -> None:
    path = place / "log"
    path.write_bytes(b"x" * 40_000 + b"\none\n10%\r90%\r\n\xff\nlast")
    path.chmod(0o600)
    size = path.stat().st_size
    assert read_log_end(str(path), size, 9) == ["one", "90%", "\ufffd", "last"]
    assert read_log_end(str(path), size, 2) == ["\ufffd", "last"]
    assert read_log_end(str(path), size - 5, 1) == ["\ufffd"]
    assert read_log_end(str(place / "none"), 9, 9) == []
