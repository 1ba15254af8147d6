"""Make mutants of modules, and show those that no test of theirs noticed.

``inv mutate MODULE`` is ``python -m tests.mutation MODULE``. It ends with 1 if fewer
than nine in ten were noticed, or more than one in twenty stands in the list of those
that change nothing. ``--file`` and ``--tests`` try a module that is not in the table.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tests.mutation.equivalent import EQUIVALENT
from tests.mutation.modules import (
    LEAST_KILLED,
    MOST_EQUIVALENT,
    OWN_TESTS,
    find_modules,
)
from tests.mutation.operators import Mutant
from tests.mutation.runner import (
    BROKEN,
    KILLED,
    SURVIVED,
    TIMEOUT,
    MutantRunner,
    Outcome,
    Subject,
)

#: Where tests write: a store is synced at each commit, which costs nothing in memory.
#: The path is short, since sockets stand below it (sun_path, unix(7)).
_MEMORY = "/dev/shm"


class Result(NamedTuple):
    """What became of the mutants of a module."""

    name: str
    outcomes: list[Outcome]
    survivors: list[Mutant]
    equivalents: int
    stale: list[str]  #: entries of the list that are not true
    seconds: float

    def count(self, verdict: str) -> int:
        """Return how many mutants ended so."""
        return sum(outcome.verdict == verdict for outcome in self.outcomes)

    @property
    def share(self) -> float:
        """The percentage that was noticed of those that change anything."""
        noticed = self.count(KILLED) + self.count(TIMEOUT)
        changing = noticed + len(self.survivors)
        return 100 * noticed / changing if changing else 100.0

    def describe(self) -> str:
        """Return the module's line of the report."""
        counts = (
            f"{len(self.outcomes):7}  {self.count(KILLED):6}  {self.count(TIMEOUT):8}"
            f"  {self.equivalents:10}  {len(self.survivors):8}"
        )
        return f"{self.name:28} {counts}  {self.share:5.1f} %"

    def iterate_faults(self) -> Iterator[str]:
        """Yield why the result is not good."""
        if self.share < LEAST_KILLED:
            yield f"{self.name}: fewer than {LEAST_KILLED} % were noticed"
        if self.equivalents * 100 > MOST_EQUIVALENT * len(self.outcomes):
            yield f"{self.name}: more than {MOST_EQUIVALENT} % are listed as equivalent"
        yield from self.stale


HEAD = f"{'module':28} mutants  killed  timeouts  equivalent  survived  killed"


def judge_outcomes(name: str, outcomes: list[Outcome], seconds: float) -> Result:
    """Set those apart that are listed as changing nothing."""
    listed = {entry[1:4]: entry for entry in EQUIVALENT if entry.module == name}
    seen: set[tuple[str, str, str]] = set()
    survivors: list[Mutant] = []
    equivalents = 0
    for outcome in outcomes:
        if outcome.verdict != SURVIVED:
            continue
        if outcome.mutant.identity in listed:
            equivalents += 1
            seen.add(outcome.mutant.identity)
        else:
            survivors.append(outcome.mutant)
    stale = [
        f"equivalent.py: {name} {scope}: no mutant that survives: {before} -> {after}"
        for scope, before, after in listed.keys() - seen
    ]
    stale += [
        f"no program: {one.mutant.before} -> {one.mutant.after}: {one.test}"
        for one in outcomes
        if one.verdict == BROKEN
    ]
    return Result(name, outcomes, survivors, equivalents, stale, seconds)


def show_mutant(path: Path, mutant: Mutant) -> str:
    """Return a mutant as a diff, with its place."""
    where = f" {mutant.scope}" if mutant.scope else ""
    lines = [f"{path}:{mutant.line}{where}"]
    lines += [f"-   {line}" for line in mutant.before.splitlines()]
    lines += [f"+   {line}" for line in mutant.after.splitlines()]
    return "\n".join(lines)


def run_subject(subject: Subject, name: str, jobs: int, verbose: bool) -> Result:
    """Run the tests of a module on its mutants, and print those that survive."""
    began = time.monotonic()
    outcomes: list[Outcome] = []
    memory = _MEMORY if os.access(_MEMORY, os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="mu", dir=memory) as folder:
        runner = MutantRunner(subject, jobs, folder)
        for outcome in runner.iterate_outcomes():
            outcomes.append(outcome)
            if verbose:
                test = outcome.test.partition("::")[2] or outcome.test
                mutant = outcome.mutant
                print(f"{outcome.verdict:9} {mutant.line} {mutant.after}  by {test}")
            elif sys.stderr.isatty():
                done = f"{len(outcomes)} of {len(runner.mutants)}"
                print(f"\r{name}: {done} ", end="", file=sys.stderr, flush=True)
    if sys.stderr.isatty() and not verbose:
        print("\r\033[K", end="", file=sys.stderr)
    result = judge_outcomes(name, outcomes, time.monotonic() - began)
    for mutant in sorted(result.survivors, key=lambda one: one.line):
        print(show_mutant(subject.path.relative_to(Path.cwd()), mutant))
    return result


def name_subject(name: str) -> Subject:
    """Return a module of the table and its tests."""
    path = Path.cwd() / "sshjobs" / Path(*name.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    tests = tuple(f"tests/{test}" for test in OWN_TESTS[name])
    return Subject(f"sshjobs.{name}", path, tests)


def read_words(words: Sequence[str] | None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser("python -m tests.mutation", description=__doc__)
    parser.add_argument("modules", nargs="*", help="none: all of the table")
    parser.add_argument("--jobs", type=int, default=0, help="how many side by side")
    parser.add_argument("--file", help="a module's file below this directory")
    parser.add_argument("--tests", nargs="*", default=[], help="the tests for --file")
    parser.add_argument("--verbose", action="store_true", help="tell of each mutant")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Run what the command line says; return the exit status."""
    asked = read_words(words)
    jobs = asked.jobs or len(os.sched_getaffinity(0))
    if asked.file:
        path = Path(asked.file).resolve()
        name = ".".join(path.relative_to(Path.cwd()).with_suffix("").parts)
        subjects = {name: Subject(name, path, tuple(asked.tests))}
    else:
        try:
            names = find_modules(asked.modules)
        except LookupError as error:
            print(error.args[0], file=sys.stderr)
            return 64
        subjects = {name: name_subject(name) for name in names}
    results = []
    for name, subject in subjects.items():
        try:
            results.append(run_subject(subject, name, jobs, asked.verbose))
        except RuntimeError as error:  # its tests fail on the module as it is
            print(error, file=sys.stderr)
            return 1
        print(f"{results[-1].describe()}  in {results[-1].seconds:.0f} s", flush=True)
    print("\n".join(["", HEAD, *(result.describe() for result in results)]))
    faults = [fault for result in results for fault in result.iterate_faults()]
    for fault in faults:
        print(fault)
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
