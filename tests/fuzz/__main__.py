"""``python -m tests.fuzz``: see the package's page; ``inv fuzz`` calls it."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import traceback

from tests.fuzz import engine, ground, record
from tests.fuzz.targets import TARGETS


def _options(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, help="to see the same again")
    parser.add_argument("--target", action="append", choices=sorted(TARGETS))
    parser.add_argument("--case", type=int, help="only this one")
    parser.add_argument("--record", action="store_true", help="make the replies anew")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """Fuzz for a while; return 1 after a breach."""
    options = _options(words)
    if options.record:
        record.write()
        return 0
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    user = ground.ordinary_user()
    place = ground.Ground(user)
    sys.stdout.flush()
    signal.signal(signal.SIGTERM, _told_to_end)
    # In a child: whoever gives root's rights up has to leave the clearing away to
    # somebody who has them still.
    pid = os.fork()
    if not pid:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        status = 70
        try:
            status = _fuzz(options, seed, place, user)
        except BaseException:  # os._exit would end it without a word
            traceback.print_exc()
            raise
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        pid = 0
    finally:
        if pid:
            os.kill(pid, signal.SIGTERM)
        place.close()
    return status


def _told_to_end(*_: object) -> None:
    """End as after an interrupt, so that nothing is left behind."""
    raise KeyboardInterrupt


def _fuzz(
    options: argparse.Namespace, seed: int, place: ground.Ground, user: str
) -> int:
    names = options.target or list(TARGETS)
    if user:
        ground.become(user)
    os.chdir(place.work)
    targets = [TARGETS[name](place) for name in names]
    for target in targets:  # so that nothing has to be imported later
        engine.rule_of(target, target.make(engine.random_of(target, 0, 0)))
    place.look()
    engine.bound_memory()
    if options.case is not None:
        breaches = [engine.once(target, seed, options.case) for target in targets]
        print("\n".join(map(str, filter(None, breaches))) or "no rule is broken")
        return int(any(breaches))
    outcome = engine.run(targets, seed, options.seconds)
    counts = ", ".join(f"{name} {count}" for name, count in outcome.tried.items())
    print(f"{counts} cases; {len(outcome.breaches)} breaches; seed {seed}", flush=True)
    return int(bool(outcome.breaches))


if __name__ == "__main__":
    sys.exit(main())
