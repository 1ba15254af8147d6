"""One schedule, from its seed to what it has broken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

from tests.faults.rules import Verdict
from tests.faults.schedule import Doing, draw
from tests.faults.world import World


class Wanted(NamedTuple):
    """How schedules are to be run."""

    keep: bool = False
    transport: str = "auto"
    stream: bool = False
    launcher: str = "process"


class Done(NamedTuple):
    """What came of one schedule."""

    seed: int
    broken: list[str]
    steps: list[str]
    spent: float


def run(
    seed: int,
    say: Callable[[str], None],
    *,
    keep: bool = False,
    transport: str = "auto",
    launcher: str = "process",
) -> list[str]:
    """Run the schedule of a seed; return the breaches of the rules."""
    plan = draw(seed, launcher)
    world = World(plan.options, plan.small, transport, launcher)
    broken: list[str] = []
    try:
        say(f"{world.folder} {plan.options} small={plan.small} mux={plan.mux}")
        say(f"limit={plan.limit}")
        doing = Doing(plan, world)
        doing.do(say)
        broken = Verdict(doing).look()
    finally:
        world.close(keep=keep and bool(broken))
    return broken


def perform(seed: int, wanted: Wanted) -> Done:
    """Run one schedule in a process that runs others before and after it."""
    started = time.monotonic()
    steps: list[str] = []
    say = _print if wanted.stream else steps.append
    how = wanted.transport, wanted.launcher
    broken = run(seed, say, keep=wanted.keep, transport=how[0], launcher=how[1])
    return Done(seed, broken, steps, time.monotonic() - started)


def _print(text: str) -> None:
    print(text, flush=True)
