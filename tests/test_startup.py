"""What a start imports, and what the tricks of ``sshjobs.startup`` keep out of it."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshjobs import startup

pytestmark = pytest.mark.quick

#: So many modules a verb may add to those of a bare interpreter. A new one on this way
#: costs each of our processes some 0.2 ms: it had better be worth that.
BUDGETS = {("list",): 49, ("poll",): 95, ("submit", "local", "--", "true"): 86}

#: So many times the instructions of ``python -c pass`` the same verbs may take, with
#: code that is cached. A change of some percent shows here on the busiest machine.
#: (CPython 3.11; others are given a third more.)
INSTRUCTIONS = {"list": 2.5, "poll": 3.6, "submit": 3.7}

RUN = """
import io, os, sys
bare = set(sys.modules)
words, extra = sys.argv[1].split("\\n"), sys.argv[2].split()
from sshjobs.startup.finder import install_finder
install_finder()
from sshjobs.cli.main import main
out, sys.stdout = sys.stdout, io.StringIO()
try:
    assert main(words) == 0
finally:
    sys.stdout = out
after = set(sys.modules)
print(len(after - bare), *sorted(set(extra) & (after - bare)), sep=",")
for name in extra:
    try:
        __import__(name)
    except ImportError:  # tomllib, on Python 3.10
        __import__("tomli")
print(len(set(sys.modules) - after))
"""


def read_table() -> list[tuple[list[str], int]]:
    """Return the modules of each row of the table, and how many they bring."""
    assert startup.__doc__
    rows = [line.split("|")[1:-1] for line in startup.__doc__.splitlines()]
    counted = [row for row in rows if len(row) == 4 and row[2].strip().isdigit()]
    return [(row[1].split(), int(row[2])) for row in counted if int(row[2])]


@contextlib.contextmanager
def deaf_to_alarms() -> Iterator[None]:
    """Have processes started that do not tell what they wait for.

    On a slow machine they would, which takes a module more. An ignored signal stays
    ignored over execve(2), and where SIGALRM is taken nothing is told.
    """
    before = signal.signal(signal.SIGALRM, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGALRM, before)


def measure(words: tuple[str, ...], extra: list[str], home: Path) -> tuple[str, int]:
    """Run a verb in a cold process; return the modules it has, and would have more."""
    env = {k: v for k, v in os.environ.items() if not k.startswith(("SSHJOBS_", "COV"))}
    env |= {"SSHJOBS_HOME": str(home / "home"), "HOME": str(home)}
    env |= {"SSHJOBS_REMOTE_BASE_DIR": str(home / "base")}
    env |= {"SSHJOBS_SHELL_STARTUP": "none"}  # the account's own may take a minute
    argv = [sys.executable, "-S", "-c", RUN, "\n".join(words), " ".join(extra)]
    top = os.path.dirname(os.path.dirname(os.path.dirname(startup.__file__)))
    libraries = [path for path in sys.path if path.endswith("-packages")]  # tomli
    env["PYTHONPATH"] = os.pathsep.join([top, *libraries])
    with deaf_to_alarms():
        out = subprocess.check_output(argv, env=env, text=True).splitlines()
    return out[0], int(out[1])


@pytest.mark.parametrize("words", BUDGETS, ids=lambda words: words[0])
def test_a_start_imports_no_more_than_its_budget(
    words: tuple[str, ...], place: Path
) -> None:
    measure(("list",), [], place)  # makes the home, which is not what a start does
    count, *_ = measure(words, [], place)[0].split(",")
    assert int(count) <= BUDGETS[words], count


@pytest.mark.parametrize("row", read_table(), ids=lambda row: row[0][0])
def test_each_trick_keeps_modules_out(row: tuple[list[str], int], place: Path) -> None:
    names, stated = row
    measure(("list",), [], place)
    there, more = measure(("list",), names, place)
    assert there.split(",")[1:] == [], "a verb has it, and the trick buys nothing"
    assert more >= 1
    if sys.version_info[:2] == (3, 11):
        assert stated / 2 <= more <= stated * 2, f"the table says {stated}"


def count_instructions(env: dict[str, str], *words: str) -> int:
    """Return how many instructions a Python process takes; its children apart."""
    tool = ("valgrind", "--tool=cachegrind", "--cache-sim=no")
    argv = [*tool, "--cachegrind-out-file=/dev/null", sys.executable, "-S", *words]
    with deaf_to_alarms():
        done = subprocess.run(argv, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (count,) = re.findall(r"I\s+refs:\s+([\d,]+)", done.stderr)
    return int(count.replace(",", ""))


@pytest.mark.skipif(not shutil.which("valgrind"), reason="counts what a start costs")
def test_a_start_takes_no_more_instructions_than_its_budget(place: Path) -> None:
    top = Path(startup.__file__).parent.parent
    env = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0", "HOME": str(place)}
    env |= {"PYTHONPATH": str(top.parent), "SSHJOBS_HOME": str(place / "home")}
    env |= {"SSHJOBS_REMOTE_BASE_DIR": str(place / "base")}
    script = str(top / "script" / "sshjobs")
    for words in BUDGETS:  # caches code, makes the home
        subprocess.run([sys.executable, "-S", script, *words], env=env, check=True)
    bare = count_instructions(env, "-c", "pass")
    spare = 1.0 if sys.version_info[:2] == (3, 11) else 4 / 3
    found: dict[str, float] = {}
    for words in BUDGETS:
        most = INSTRUCTIONS[words[0]] * spare
        for _ in range(3):  # a busy host's answer comes in more pieces
            ratio = round(count_instructions(env, script, *words) / bare, 2)
            found[words[0]] = min(ratio, found.get(words[0], ratio))
            if ratio <= most:
                break
    over = {name for name in found if found[name] > INSTRUCTIONS[name] * spare}
    assert not over, found
