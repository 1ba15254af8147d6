"""Runs schedules: ``python -m tests.faults --schedules N [--seed S]``."""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Callable

from tests.faults.rules import Verdict
from tests.faults.schedule import Doing, draw
from tests.faults.world import World


def run(
    seed: int,
    say: Callable[[str], None],
    *,
    keep: bool = False,
    transport: str = "auto",
) -> list[str]:
    """Run the schedule of a seed; return the breaches of the rules."""
    plan = draw(seed)
    world = World(plan.options, plan.small, transport)
    broken: list[str] = []
    try:
        say(f"{world.folder} {plan.options} small={plan.small} mux={plan.mux}")
        doing = Doing(plan, world)
        doing.do(say)
        broken = Verdict(doing).look()
    finally:
        world.close(keep=keep and bool(broken))
    return broken


def main() -> int:
    """Run the schedules that the command line asks for; return 1 after a breach."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--schedules", type=int, default=20)
    parser.add_argument("--seed", type=int, help="the first seed; the next are + 1")
    parser.add_argument("--verbose", action="store_true", help="say every step")
    parser.add_argument("--keep", action="store_true", help="keep what broke a rule")
    parser.add_argument("--transport", default="auto", help="the setting")
    values = parser.parse_args()
    first = random.randrange(10**6) if values.seed is None else values.seed
    failed = []
    for seed in range(first, first + values.schedules):
        started = time.monotonic()
        steps: list[str] = []
        say = print if values.verbose else steps.append
        broken = run(seed, say, keep=values.keep, transport=values.transport)
        spent = time.monotonic() - started
        print(f"seed {seed}: {len(broken)} breaches, {spent:.1f} s", flush=True)
        if broken:
            failed.append(seed)
            print("\n".join(["  " + step for step in steps]))
            print("\n".join(["  BROKEN " + line for line in broken]), flush=True)
    print(f"{values.schedules} schedules, {len(failed)} with breaches: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
