"""The parts that run on hosts: their size, their syntax, and what is sent of them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from sshjobs.protocol import program
from tests.programs import build_programs

REMOTE = Path(program.__file__).parent.parent / "remote"
SHELL_PARTS = sorted(REMOTE.glob("**/*.sh"))
AWK_PARTS = sorted(REMOTE.glob("**/*.awk"))
SHELLS = (["dash"], ["bash", "--posix"], ["ksh"], ["busybox", "ash"])
AWKS = (["gawk", "--posix"], ["mawk"], ["busybox", "awk"], ["original-awk"])

#: The bytes of a program that were sent on 28 November 2026, in version 0.1.
_BYTES = {
    "first contact": 12918,
    "submit 1": 67_900,
    "submit 3": 68_844,
    "submit 120": 124_038,
    "keyed": 69627,
    "poll 1": 33704,
    "poll 100": 36457,
    "kill": 70020,
    "reap": 19975,
    "logs": 15003,
    "list": 34688,
    "forget": 33685,
    "doctor": 15000,
    "all": 78_422,
    "watch": 13298,
    "fetch": 10689,
}


def name_of(part: Path) -> str:
    return str(part.relative_to(REMOTE))


def need(words: list[str]) -> None:
    if not shutil.which(words[0]):
        pytest.skip(f"no {words[0]} here")


@pytest.mark.parametrize("part", [*SHELL_PARTS, *AWK_PARTS], ids=name_of)
def test_a_part_is_short_and_says_what_it_is_for(part: Path) -> None:
    lines = part.read_text("utf-8").splitlines()
    assert len(lines) <= 300
    assert lines[0].startswith("# ") and any(
        line.startswith("# In: ") for line in lines
    )


@pytest.mark.parametrize("part", SHELL_PARTS, ids=name_of)
def test_shellcheck(part: Path) -> None:
    need(["shellcheck"])
    ran = subprocess.run(["shellcheck", part], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout) == (0, "")


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_each_part_is_read_by_each_shell(shell: list[str]) -> None:
    need(shell)
    for part in SHELL_PARTS:
        ran = subprocess.run([*shell, "-n", part], capture_output=True, text=True)
        # ksh93 warns of what its own language does faster, or has no more.
        said = [line for line in ran.stderr.splitlines() if ": warning: " not in line]
        assert (ran.returncode, said) == (0, []), part


@pytest.mark.parametrize("awk", AWKS, ids=" ".join)
@pytest.mark.parametrize("name", [n for n in program.QUOTED_PARTS if n.endswith("awk")])
def test_each_program_is_read_by_each_awk(name: str, awk: list[str]) -> None:
    """One that would be refused says so before it asks for its first line."""
    need(awk)
    parts = ["records.awk"] if name != "records.awk" else []
    parts += [one for one in program.QUOTED_PARTS[name] if one != "records.awk"]
    text = b"".join(map(program.read_part, parts)).decode() + "END { exit 3 }"
    ran = subprocess.run(
        [*awk, text], stdin=subprocess.DEVNULL, capture_output=True, text=True, cwd="/"
    )
    assert (ran.returncode, ran.stderr) in ((0, ""), (3, ""))


def test_no_program_of_awk_holds_a_quote() -> None:
    """It would be sent as four bytes, and as sixteen in a runner."""
    sent = {
        part: program.read_part(str(part.relative_to(REMOTE))) for part in AWK_PARTS
    }
    assert [part for part, text in sent.items() if b"'" in text] == []


def test_every_part_is_sent() -> None:
    sent = {name for names in program.PARTS.values() for name in names}
    sent |= {name for names in program.QUOTED_PARTS.values() for name in names}
    sent -= {"launch/judge.awk"}  # judge.awk, with the half of it that schedulers need
    assert sent == {str(part.relative_to(REMOTE)) for part in SHELL_PARTS + AWK_PARTS}


def test_no_program_is_larger_by_a_tenth() -> None:
    sizes = {name: len(text) for name, text in build_programs().items()}
    assert sizes.keys() == _BYTES.keys()
    grown = {n: size for n, size in sizes.items() if size > 1.1 * _BYTES[n]}
    assert grown == {}
