"""Runs schedules: ``python -m tests.faults --schedules N [--seed S] [--jobs J]``."""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import sys
import traceback
from concurrent.futures import Future, ProcessPoolExecutor, as_completed

from tests.faults.running import Done, Wanted, perform


def _outcome(seed: int, future: Future[Done]) -> Done:
    """Return what came of a schedule; that it could not be run to its end counts."""
    error = future.exception()
    if error is None:
        return future.result()
    lines = "".join(traceback.format_exception(error)).splitlines()
    return Done(seed, ["the suite itself failed", *lines], [], 0.0)


def _report(done: Done, *, verbose: bool) -> None:
    """Print what came of one schedule, all of it together."""
    lines = [f"seed {done.seed}: {len(done.broken)} breaches, {done.spent:.1f} s"]
    if done.broken or verbose:
        lines += [f"  {step}" for step in done.steps]
    lines += [f"  BROKEN {line}" for line in done.broken]
    print("\n".join(lines), flush=True)


def main() -> int:
    """Run the schedules that the command line asks for; return 1 after a breach."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    parser.add_argument("--schedules", type=int, default=20)
    parser.add_argument("--seed", type=int, help="the first seed; the next are + 1")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="side by side")
    parser.add_argument("--verbose", action="store_true", help="say every step")
    parser.add_argument("--keep", action="store_true", help="keep what broke a rule")
    parser.add_argument("--transport", default="auto", help="the setting")
    parser.add_argument("--launcher", default="process", help="process or slurm")
    values = parser.parse_args()
    first = random.randrange(10**6) if values.seed is None else values.seed
    alone = values.jobs == 1 or values.schedules == 1
    stream = values.verbose and alone
    wanted = Wanted(values.keep, values.transport, stream, values.launcher)
    failed = []
    # Forked, the children of one schedule would be those of another.
    spawn = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(values.jobs, mp_context=spawn)
    try:
        seeds = range(first, first + values.schedules)
        futures = {pool.submit(perform, seed, wanted): seed for seed in seeds}
        for future in as_completed(futures):
            done = _outcome(futures[future], future)
            _report(done, verbose=values.verbose)
            if done.broken:
                failed.append(done.seed)
    finally:  # after a Ctrl-C, what runs comes to its end, and nothing else begins
        pool.shutdown(cancel_futures=True)
    print(
        f"{values.schedules} schedules, {len(failed)} with breaches: {sorted(failed)}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
