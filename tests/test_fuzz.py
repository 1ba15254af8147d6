"""The fuzz suite: that it finds, that it repeats itself, and that it finds nothing."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from sshjobs.errors import SpecError
from tests.fuzz import engine
from tests.fuzz.engine import Broken, Case
from tests.fuzz.ground import Ground

TOP = Path(__file__).parent.parent

#: Seconds for all targets together; where a person waits, a part of that.
_SECONDS = "24" if os.environ.get("CI") else "12"

#: One seed, so that the same tree passes twice; ``inv fuzz`` takes new ones.
_SEED = os.environ.get("SSHJOBS_TEST_FUZZ_SEED", "2026")


class Planted:
    """A target with a fault: it cannot bear an ``x`` that comes after a ``y``."""

    name = "planted"
    share = 1.0

    def make(self, rng: random.Random) -> Case:
        return [bytes(rng.choices(b"abcxy", k=9)) for _ in range(6)]

    def try_one(self, case: Case) -> None:
        text = b"".join(case)
        if text.startswith(b"a"):
            raise SpecError("no")
        if b"yx" in text:
            raise Broken("an x after a y")


def test_a_fault_is_found_made_small_and_found_again() -> None:
    said: list[str] = []
    outcome = engine.run([Planted()], 7, 5.0, most=1, say=said.append)
    (breach,) = outcome.breaches
    assert b"".join(breach.case) == b"yx"
    assert "--seed 7 --target planted --case" in said[0]
    again = engine.once(Planted(), 7, breach.number)
    assert again == breach


def test_any_other_exception_breaks_a_rule() -> None:
    class Wild(Planted):
        def try_one(self, case: Case) -> None:
            raise KeyError("x")

    assert "KeyError" in engine.rule_of(Wild(), [b""])
    assert engine.rule_of(Planted(), [b"ayx"]) == ""


@pytest.mark.parametrize("deed", ["write", "make", "unlink", "beside"])
def test_a_canary_that_was_touched_is_seen(deed: str) -> None:
    ground = Ground()
    try:
        ground.look()
        (ground.work / "here").touch()
        ground.check()
        kept = ground.folder / "canary" / "kept"
        if deed == "write":
            kept.write_text("else")
        elif deed == "make":
            kept.with_name("new").touch()
        elif deed == "unlink":
            kept.unlink()
        else:
            (ground.folder / "x").touch()
        with pytest.raises(Broken, match="canary"):
            ground.check()
    finally:
        ground.close()


def test_nothing_is_found() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.fuzz", "--seconds", _SECONDS, "--seed", _SEED],
        cwd=TOP,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 breaches" in done.stdout
