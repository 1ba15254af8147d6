"""Runs targets in turn, and makes small what breaks a rule."""

from __future__ import annotations

import random
import resource
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from sshjobs.errors import SshJobsError

#: More than a case may need beyond what the suite has when it starts.
MEMORY = 256 << 20

#: Trials and seconds that the search for a smaller case may take.
_TRIALS = 400
_SECONDS = 10.0

Case = list[bytes]


class Broken(AssertionError):
    """A rule was broken; the text says which."""


class Target(Protocol):
    """Something that takes input from others.

    Attributes:
        name: For ``--target``.
        share: How much of the time it gets, beside the others.
    """

    name: str
    share: float

    def make(self, rng: random.Random) -> Case:
        """Return a case, in pieces: what can be left out to make it smaller."""

    def try_one(self, case: Case) -> None:
        """Give it the case.

        Raises:
            Broken: a rule was broken.
            SshJobsError: it said no, as it may.
        """


class Breach(NamedTuple):
    """A case that broke a rule."""

    target: str
    seed: int
    number: int
    rule: str
    case: Case

    def __str__(self) -> str:
        lines = [f"BROKEN {self.target}: {self.rule}", "smallest case found:"]
        lines += [f"    {piece[:2000]!r}" for piece in self.case]
        repeat = f"--seed {self.seed} --target {self.target} --case {self.number}"
        return "\n".join([*lines, f"again: python -m tests.fuzz {repeat}"])


def random_of(target: Target, seed: int, number: int) -> random.Random:
    """Return what decides a case: the same for the same three, whatever ran before."""
    return random.Random(f"{seed}:{target.name}:{number}")


def rule_of(target: Target, case: Case) -> str:
    """Try a case and return which rule it broke, "" if none."""
    try:
        target.try_one(case)
    except SshJobsError:
        return ""
    except Broken as error:
        return str(error)
    except MemoryError:
        return "it took more memory than a case may"
    except Exception as error:  # the rule is that there is no other
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.name}"
        return f"a traceback: {type(error).__name__} in {place}: {error}"[:600]
    return ""


def smaller(case: Case, breaks: Callable[[Case], bool], trials: int = _TRIALS) -> Case:
    """Return a case that still breaks a rule, with as few and short pieces as found."""
    left = [trials]
    end = time.monotonic() + _SECONDS

    def still(candidate: Case) -> bool:
        left[0] -= 1
        return left[0] >= 0 and time.monotonic() < end and breaks(candidate)

    case = _fewer(case, still)
    for index in range(len(case)):
        piece = [case[index][at : at + 1] for at in range(len(case[index]))]
        if len(piece) <= 4096:

            def with_piece(few: Sequence[bytes], place: int = index) -> Case:
                return [*case[:place], b"".join(few), *case[place + 1 :]]

            shorter = _fewer(piece, lambda few: still(with_piece(few)))
            case = with_piece(shorter)
    return case


def _fewer(parts: Case, still: Callable[[Case], bool]) -> Case:
    """Leave out halves, quarters and so on while that still breaks a rule (ddmin)."""
    size = max(1, len(parts) // 2)
    while parts:
        at, found = 0, False
        while at < len(parts):
            fewer = parts[:at] + parts[at + size :]
            if still(fewer):
                parts, found = fewer, True
            else:
                at += size
        if size == 1 and not found:
            break
        size = max(1, size // 2)
    return parts


class Outcome(NamedTuple):
    """What came of a run: how many cases of each target, and the breaches."""

    tried: dict[str, int]
    breaches: list[Breach]


def bound_memory() -> None:
    """Let a case that takes too much memory fail with a MemoryError."""
    with open("/proc/self/statm", "rb") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))


def run(
    targets: Sequence[Target],
    seed: int,
    seconds: float,
    *,
    first: int = 0,
    most: int = 5,
    say: Callable[[str], None] = print,
) -> Outcome:
    """Let targets take turns until the time is over or enough rules are broken."""
    end = time.monotonic() + seconds
    spent = {target.name: 0.0 for target in targets}
    tried = {target.name: 0 for target in targets}
    breaches: list[Breach] = []
    rules: set[str] = set()
    while time.monotonic() < end and len(breaches) < most:
        target = min(targets, key=lambda one: spent[one.name] / one.share)
        began = time.monotonic()
        number = first + tried[target.name]
        breach = once(target, seed, number, rules)
        tried[target.name] += 1
        spent[target.name] += time.monotonic() - began
        if breach is not None:
            breaches.append(breach)
            say(str(breach))
    return Outcome(tried, breaches)


def once(
    target: Target, seed: int, number: int, known: set[str] | None = None
) -> Breach | None:
    """Try one case of a target; make it small if it breaks a rule not yet ``known``."""
    case = target.make(random_of(target, seed, number))
    rule = rule_of(target, case)
    known = set() if known is None else known
    kind = rule.partition(":")[0] + rule.partition(" in ")[2].partition(":")[0]
    if not rule or (target.name + kind) in known:
        return None
    known.add(target.name + kind)
    again = smaller(case, lambda candidate: _same(rule_of(target, candidate), rule))
    return Breach(target.name, seed, number, rule, again)


def _same(rule: str, wanted: str) -> bool:
    return rule.partition(":")[0] == wanted.partition(":")[0]
