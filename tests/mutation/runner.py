"""Runs a module's own tests on each of its mutants, each in a process of its own.

Theory of operation: no file is ever changed, whatever is killed. A first child runs
all tests on the module as it is and notes which of them enter which line; a mutant
needs only those that enter its function, and those that noticed the last mutants are
run first, up to the first that fails. Hypothesis tries the same examples in each.

A mutant inside a function that no import has entered is *warm*: one process collects
the tests once, and forks a child for each such mutant, in which the function gets the
code of the changed tree. Any other mutant is *cold*: this process imports what the
tests import from elsewhere, and nothing of the package; in a child of it the changed
tree is compiled in place of the module's file when a test imports it.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

import hypothesis
import pytest
from hypothesis import Phase

from tests.mutation.children import End, Pool, Tell, Work, fork_child
from tests.mutation.operators import Mutant, make_mutants

#: A mutant may take so many times the processor time of the module itself, and so many
#: seconds.
_TIMES_LONGER = 3
_SECONDS_MORE = 2

KILLED, SURVIVED, TIMEOUT, BROKEN = "killed", "survived", "timeout", "broken"

#: The status of a child that found a mutant to be cold.
_COLD = 71

#: Lines that were entered before the first test.
_AT_IMPORT = ""


class Subject(NamedTuple):
    """A module and its own tests."""

    name: str  #: as it is imported
    path: Path
    tests: tuple[str, ...]  #: paths


class Baseline(NamedTuple):
    """What the tests do with the module as it is."""

    seconds: float  #: of processor time
    lines: dict[str, list[int]]  #: the lines of the module that each test enters
    spans: dict[str, float]  #: the seconds that each test takes
    modules: list[str]  #: what was imported


class Outcome(NamedTuple):
    """What became of one mutant."""

    mutant: Mutant
    verdict: str
    test: str  #: that noticed it


class _Loader(importlib.machinery.SourceFileLoader):
    """Compiles a tree that is at hand instead of the module's file."""

    def __init__(self, name: str, path: str, tree: ast.Module) -> None:
        super().__init__(name, path)
        self._tree = tree

    def get_code(self, fullname: str) -> CodeType:
        code: CodeType = compile(self._tree, self.path, "exec", dont_inherit=True)
        return code


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the one module that is changed."""

    def __init__(self, subject: Subject, tree: ast.Module) -> None:
        self._subject = subject
        self._tree = tree

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,
        target: ModuleType | None = None,
    ) -> importlib.machinery.ModuleSpec | None:
        """Return the module's spec, with our loader."""
        if fullname != self._subject.name:
            return None
        where = str(self._subject.path)
        is_package = where.endswith("__init__.py")
        return importlib.util.spec_from_file_location(
            fullname,
            where,
            loader=_Loader(fullname, where, self._tree),
            submodule_search_locations=[os.path.dirname(where)] if is_package else None,
        )


def sort_items(items: list[pytest.Item], wanted: Sequence[str]) -> list[pytest.Item]:
    """Return the tests of these names, in the order of the names."""
    ranks = {name: rank for rank, name in enumerate(wanted)}
    found = [item for item in items if item.nodeid in ranks]
    return sorted(found, key=lambda item: ranks[item.nodeid])


class _ColdRun:
    """A plugin of pytest: runs some tests only, in an order, and tells which fails."""

    def __init__(self, wanted: Sequence[str], tell: Tell) -> None:
        self._wanted = wanted
        self._tell = tell

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take the tests that are wanted, in their order."""
        items[:] = sort_items(items, self._wanted)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell which test failed."""
        if report.failed:
            self._tell(test=report.nodeid)


class _WarmRun:
    """A plugin of pytest: forks a child for each mutant once tests are collected."""

    def __init__(self, runner: MutantRunner, numbers: list[int], tell: Tell) -> None:
        self._runner = runner
        self._numbers = numbers
        self._tell = tell

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the tests on the mutants, and tell of each how it ended."""
        gc.collect()
        gc.freeze()
        items = list(session.items)

        def iterate_works() -> Iterator[tuple[int, Work]]:
            for number in self._numbers:
                yield number, self._make_work(session, items, number)

        for end in self._runner.make_pool().iterate_ends(iterate_works()):
            self._runner.note_killer(end)
            self._tell(end=end)
        return True

    def _make_work(
        self, session: pytest.Session, items: list[pytest.Item], number: int
    ) -> Work:
        wanted = self._runner.choose_tests(number)

        def work(tell: Tell) -> int:
            if not self._runner.warm_up(number, tell):
                return _COLD
            chosen: list[pytest.Item | None] = [*sort_items(items, wanted), None]
            for item, following in zip(chosen, chosen[1:]):
                assert item is not None
                item.ihook.pytest_runtest_protocol(item=item, nextitem=following)
                if session.testsfailed:
                    tell(test=item.nodeid)
                    return 1
            return 0

        return work


class _Tracer:
    """A plugin of pytest: notes the lines of one file that each test enters."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._now: set[int] = set()
        self.lines: dict[str, list[int]] = {}
        self.spans: dict[str, float] = {}
        sys.settrace(self._trace)
        threading.settrace(self._trace)

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note the lines of one test, its fixtures with it."""
        self.lines.setdefault(_AT_IMPORT, sorted(self._now))
        self._now.clear()
        began = time.monotonic()
        sys.settrace(self._trace)
        yield
        self.lines[item.nodeid] = sorted(self._now)
        self.spans[item.nodeid] = time.monotonic() - began

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename != self._path:
            return None
        self._now.add(frame.f_lineno)
        return self._trace


def run_tests(
    subject: Subject, tree: ast.Module, plugin: object, words: Sequence[str] = ()
) -> int:
    """Run the tests of a subject in this process, which has not imported it."""
    phases = (Phase.explicit, Phase.generate)  # a smaller example is of no use here
    hypothesis.settings.register_profile(
        "mutation", derandomize=True, database=None, deadline=None, phases=phases
    )
    hypothesis.settings.load_profile("mutation")
    sys.meta_path.insert(0, _Finder(subject, tree))
    words = ["-x", "-q", "-p", "no:cacheprovider", "-m", "not slow", *words]
    words += ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*words, *subject.tests], plugins=[plugin]))


def measure_baseline(subject: Subject, tree: ast.Module, folder: str) -> Baseline:
    """Run the tests on the module as it is.

    Raises:
        RuntimeError: a test fails.
    """
    log = Path(folder, "baseline.log")

    def work(tell: Tell) -> int:
        use_folder(folder)
        tracer = _Tracer(subject.path)
        status = run_tests(subject, tree, tracer)
        sys.settrace(None)
        tell(lines=tracer.lines, spans=tracer.spans, modules=sorted(sys.modules))
        return status

    pid, pipe = fork_child(work, log)
    with open(pipe, "rb") as file:
        said = file.read()
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise RuntimeError(f"{subject.name}: its tests fail\n{log.read_text('utf-8')}")
    facts = json.loads(said)
    seconds = usage.ru_utime + usage.ru_stime
    return Baseline(seconds, facts["lines"], facts["spans"], facts["modules"])


def use_folder(folder: str) -> None:
    """Let what pytest writes in this process be in a folder of its own."""
    os.environ["PYTEST_DEBUG_TEMPROOT"] = tempfile.mkdtemp(dir=folder)


def import_foreign_modules(names: Sequence[str], subject: Subject) -> None:
    """Import what children would: all that is no part of the package or its tests."""
    ours = {subject.name.partition(".")[0], "tests", "conftest", "__main__"}
    ours |= {Path(path).stem for path in subject.tests}
    for name in names:
        if name.partition(".")[0] not in ours and name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def iterate_codes(code: CodeType) -> Iterator[CodeType]:
    """Yield a code object and all that it holds."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from iterate_codes(constant)


def change_function(code: CodeType, path: str, span: tuple[int, int]) -> bool:
    """Give the live functions with lines in a span the code of a changed module.

    Returns:
        Whether there were any, and each took its new code.
    """
    changed = {(one.co_name, one.co_firstlineno): one for one in iterate_codes(code)}
    found = False
    for thing in gc.get_objects():
        if type(thing) is not FunctionType or thing.__code__.co_filename != path:
            continue
        key = (thing.__code__.co_name, thing.__code__.co_firstlineno)
        lines = [line for _, _, line in thing.__code__.co_lines() if line is not None]
        if key not in changed or not span[0] <= max(lines) <= span[1]:
            continue
        if changed[key].co_freevars != thing.__code__.co_freevars:
            return False
        thing.__code__ = changed[key]
        found = True
    return found


class MutantRunner:
    """Runs the tests on one mutant after the other, some side by side."""

    def __init__(self, subject: Subject, jobs: int, folder: str) -> None:
        self._subject = subject
        self._jobs = jobs
        self._folder = folder
        self._tree = ast.parse(subject.path.read_text("utf-8"))
        self._baseline = measure_baseline(subject, self._tree, folder)
        self._limit = _TIMES_LONGER * self._baseline.seconds + _SECONDS_MORE
        self._killers: list[str] = []  # the last one last
        self.mutants = make_mutants(self._tree)
        import_foreign_modules(self._baseline.modules, subject)
        gc.collect()
        gc.freeze()  # no child looks at what this process has

    def iterate_outcomes(self) -> Iterator[Outcome]:
        """Yield what becomes of each mutant, as it is known."""
        warm: list[int] = []
        cold: list[int] = []
        for number, mutant in enumerate(self.mutants):
            if not self.choose_tests(number):
                yield Outcome(mutant, SURVIVED, "")
            else:
                (warm if self._is_warm(mutant) else cold).append(number)
        for end in self._run_warm(warm) if warm else ():
            if end.status == _COLD:
                cold.append(end.number)
            else:
                yield self._judge_end(end)
        works = ((number, self._make_cold_work(number)) for number in cold)
        for end in self.make_pool().iterate_ends(works):
            self.note_killer(end)
            yield self._judge_end(end)

    def make_pool(self) -> Pool:
        """Return a pool with the limits of this module."""
        return Pool(self._jobs, self._limit)

    def choose_tests(self, number: int) -> list[str]:
        """Return the tests that may notice a mutant: the last killers, then by time."""
        mutant = self.mutants[number]
        spans = self._baseline.spans
        if self._is_warm(mutant):
            names = [name for name in spans if self._is_entered(mutant, name)]
        else:
            names = list(spans)
        ranks = {name: -rank for rank, name in enumerate(self._killers, 1)}
        return sorted(names, key=lambda name: (ranks.get(name, 0), spans[name]))

    def _is_warm(self, mutant: Mutant) -> bool:
        return mutant.span is not None and not self._is_entered(mutant, _AT_IMPORT)

    def note_killer(self, end: End) -> None:
        """Remember the test that noticed a mutant: it may well notice the next."""
        test = end.facts.get("test")
        if test:
            self._killers = [name for name in self._killers if name != test] + [test]

    def warm_up(self, number: int, tell: Tell) -> bool:
        """Change this process, which has imported the module, into a mutant."""
        use_folder(self._folder)
        code = self._compile_mutant(number, tell)
        span = self.mutants[number].span
        assert span is not None
        return code is not None and change_function(code, str(self._subject.path), span)

    def _is_entered(self, mutant: Mutant, test: str) -> bool:
        first, last = mutant.span or (0, 0)
        return any(first <= line <= last for line in self._baseline.lines[test])

    def _compile_mutant(self, number: int, tell: Tell) -> CodeType | None:
        """Change the tree and compile it; only in a child: it is not changed back."""
        self.mutants[number].edit.swap()
        tree = ast.fix_missing_locations(self._tree)
        path = str(self._subject.path)
        try:
            code: CodeType = compile(tree, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError, TypeError) as error:
            tell(broken=str(error))
            return None
        return code

    def _run_warm(self, numbers: list[int]) -> Iterator[End]:
        log = Path(self._folder, "warm.log")

        def work(tell: Tell) -> int:
            use_folder(self._folder)
            plugin = _WarmRun(self, numbers, tell)
            return run_tests(self._subject, self._tree, plugin, ["--capture=no"])

        pid, pipe = fork_child(work, log)
        try:
            with open(pipe, "rb") as file:
                for line in file:
                    yield End(*json.loads(line)["end"])
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            status = os.waitpid(pid, 0)[1]
        if status != 0:
            raise RuntimeError(f"{self._subject.name}: {log.read_text('utf-8')}")

    def _make_cold_work(self, number: int) -> Work:
        wanted = self.choose_tests(number)

        def work(tell: Tell) -> int:
            use_folder(self._folder)
            if self._compile_mutant(number, tell) is None:
                return _COLD
            return run_tests(self._subject, self._tree, _ColdRun(wanted, tell))

        return work

    def _judge_end(self, end: End) -> Outcome:
        mutant = self.mutants[end.number]
        if "broken" in end.facts:
            return Outcome(mutant, BROKEN, end.facts["broken"])
        if end.is_late or end.status in (-signal.SIGXCPU, -signal.SIGKILL):
            return Outcome(mutant, TIMEOUT, "")
        if end.status == 0:
            return Outcome(mutant, SURVIVED, "")
        return Outcome(mutant, KILLED, end.facts.get("test", "at the import"))
