"""Runs a module's own tests on each of its mutants, each in a process of its own.

Theory of operation: this process imports pytest and what the tests import from
elsewhere, but nothing of the package. For each mutant it forks a child; there the
changed tree is compiled in place of the module's file when a test imports it, so that
no file is ever changed, whatever is killed. A first child runs all tests on the module
as it is and notes which of them enter which line; a mutant needs only those that enter
its function, and those that noticed the last mutants are run first. A child ends with
the first test that fails. Hypothesis tries the same examples in each.
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
import resource
import selectors
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any, NamedTuple

import hypothesis
import pytest

from tests.mutation.operators import Mutant, make_mutants

#: A mutant may take so many times the processor time of the module itself, and so many
#: seconds. It may wait, without taking any, for so many times that.
_TIMES_LONGER = 3
_SECONDS_MORE = 2
_TIMES_WAITING = 20

#: It may take so much memory, in bytes.
_MEMORY_BYTES = 3 * 1024**3

KILLED, SURVIVED, TIMEOUT, BROKEN = "killed", "survived", "timeout", "broken"


class Subject(NamedTuple):
    """A module and its own tests."""

    name: str  #: as it is imported
    path: Path
    tests: tuple[str, ...]  #: paths


class Baseline(NamedTuple):
    """What the tests do with the module as it is."""

    seconds: float  #: of processor time
    lines: dict[str, list[int]]  #: the lines of the module that each test enters
    modules: list[str]  #: what was imported


class Outcome(NamedTuple):
    """What became of one mutant."""

    mutant: Mutant
    verdict: str
    test: str  #: that noticed it


class _Child(NamedTuple):
    """A process that runs the tests on one mutant."""

    pid: int
    mutant: Mutant
    ends_at: float
    said: list[bytes]


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


class _Order:
    """A plugin of pytest: runs some tests only, in an order, and tells which fails."""

    def __init__(self, wanted: Sequence[str] | None, tell: Callable[..., None]) -> None:
        self._wanted = wanted
        self._tell = tell

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Take the tests that are wanted, in their order."""
        if self._wanted is not None:
            ranks = {name: rank for rank, name in enumerate(self._wanted)}
            items[:] = [item for item in items if item.nodeid in ranks]
            items.sort(key=lambda item: ranks[item.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Tell which test failed."""
        if report.failed:
            self._tell(test=report.nodeid)


class _Tracer:
    """A plugin of pytest: notes the lines of one file that each test enters."""

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._now: set[int] = set()
        self.lines: dict[str, list[int]] = {}

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        """Note the lines of one test, its fixtures with it."""
        self._now.clear()
        sys.settrace(self._trace)
        threading.settrace(self._trace)
        yield
        sys.settrace(None)
        threading.settrace(None)
        self.lines[item.nodeid] = sorted(self._now)

    def _trace(self, frame: FrameType, event: str, arg: object) -> Any:
        if frame.f_code.co_filename != self._path:
            return None
        self._now.add(frame.f_lineno)
        return self._trace


def run_tests(
    subject: Subject, tree: ast.Module, plugins: list[object], folder: str
) -> int:
    """Run the tests of a subject in this process, which has not imported it."""
    hypothesis.settings.register_profile(
        "mutation", derandomize=True, database=None, deadline=None
    )
    hypothesis.settings.load_profile("mutation")
    sys.meta_path.insert(0, _Finder(subject, tree))
    words = ["-x", "-q", "-p", "no:cacheprovider", "--basetemp", f"{folder}/tests"]
    words += ["-m", "not slow", "-W", "ignore::pytest.PytestAssertRewriteWarning"]
    return int(pytest.main([*words, *subject.tests], plugins=plugins))


def _fork(
    work: Callable[[Callable[..., None]], int], log: Path | None = None
) -> tuple[int, int]:
    """Start a child that does some work; return its id and the pipe it tells on."""
    receiving, sending = os.pipe()
    sys.stdout.flush()
    pid = os.fork()
    if pid:
        os.close(sending)
        return pid, receiving
    status = 70
    try:  # in the child, which never returns
        os.setsid()
        os.close(receiving)
        target = os.open(
            log or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600
        )
        silent = os.open(os.devnull, os.O_RDONLY)
        for number, source in ((0, silent), (1, target), (2, target)):
            os.dup2(source, number)

        def tell(**facts: object) -> None:
            os.write(sending, json.dumps(facts).encode() + b"\n")

        status = work(tell)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def measure_baseline(subject: Subject, folder: str) -> Baseline:
    """Run the tests on the module as it is.

    Raises:
        RuntimeError: a test fails, or none enters the module.
    """
    log = Path(folder, "baseline.log")

    def work(tell: Callable[..., None]) -> int:
        tracer = _Tracer(subject.path)
        tree = ast.parse(subject.path.read_text("utf-8"))
        status = run_tests(subject, tree, [tracer], folder)
        tell(lines=tracer.lines, modules=sorted(sys.modules))
        return status

    pid, pipe = _fork(work, log)
    with open(pipe, "rb") as file:
        said = file.read()
    _, status, usage = os.wait4(pid, 0)
    if status != 0:
        raise RuntimeError(f"{subject.name}: its tests fail\n{log.read_text('utf-8')}")
    facts = json.loads(said)
    seconds = usage.ru_utime + usage.ru_stime
    return Baseline(seconds, facts["lines"], facts["modules"])


def import_foreign_modules(names: Sequence[str], subject: Subject) -> None:
    """Import what children would: all that is no part of the package or its tests."""
    ours = {subject.name.partition(".")[0], "tests", "conftest", "__main__"}
    ours |= {Path(path).stem for path in subject.tests}
    for name in names:
        if name.partition(".")[0] not in ours and name not in sys.modules:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


class MutantRunner:
    """Runs the tests on one mutant after the other, some side by side."""

    def __init__(self, subject: Subject, jobs: int, folder: str) -> None:
        self._subject = subject
        self._jobs = jobs
        self._folder = folder
        self._tree = ast.parse(subject.path.read_text("utf-8"))
        self._baseline = measure_baseline(subject, folder)
        self._limit = _TIMES_LONGER * self._baseline.seconds + _SECONDS_MORE
        self._killers: list[str] = []  # the last one last
        self._children: dict[int, _Child] = {}  # by the pipe that it tells on
        self._selector = selectors.DefaultSelector()
        self.mutants = make_mutants(self._tree)
        import_foreign_modules(self._baseline.modules, subject)
        gc.collect()
        gc.freeze()  # no child looks at what this process has

    def iterate_outcomes(self) -> Iterator[Outcome]:
        """Yield what becomes of each mutant, as it is known."""
        waiting = self.mutants[::-1]
        try:
            while waiting or self._children:
                while waiting and len(self._children) < self._jobs:
                    mutant = waiting.pop()
                    tests = self._choose_tests(mutant)
                    if tests:
                        self._start(mutant, tests)
                    else:
                        yield Outcome(mutant, SURVIVED, "")
                yield from self._wait()
        finally:
            for child in self._children.values():
                os.killpg(child.pid, signal.SIGKILL)
                os.waitpid(child.pid, 0)
            self._selector.close()

    def _choose_tests(self, mutant: Mutant) -> list[str]:
        """Return the tests that enter a mutant's function, the last killers first."""
        lines = self._baseline.lines
        first, last = mutant.span or (0, 0)
        names = [
            name
            for name, entered in lines.items()
            if mutant.span is None or any(first <= line <= last for line in entered)
        ]
        ranks = {name: -rank for rank, name in enumerate(self._killers)}
        return sorted(names, key=lambda name: ranks.get(name, 1))

    def _start(self, mutant: Mutant, tests: list[str]) -> None:
        folder = tempfile.mkdtemp(dir=self._folder)

        def work(tell: Callable[..., None]) -> int:
            limit = int(self._limit) + 1
            resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
            mutant.edit.swap()
            tree = ast.fix_missing_locations(self._tree)
            try:
                compile(tree, "mutant", "exec", dont_inherit=True)
            except (SyntaxError, ValueError, TypeError) as error:
                tell(broken=str(error))
                return 70
            order = _Order(tests, tell)
            return run_tests(self._subject, tree, [order], folder)

        pid, pipe = _fork(work)
        ends_at = time.monotonic() + _TIMES_WAITING * self._limit
        self._children[pipe] = _Child(pid, mutant, ends_at, [])
        self._selector.register(pipe, selectors.EVENT_READ)

    def _wait(self) -> Iterator[Outcome]:
        """Yield the outcomes of children that have ended, or have to."""
        for key, _ in self._selector.select(1):
            data = os.read(key.fd, 65536)
            if data:
                self._children[key.fd].said.append(data)
            else:
                yield self._end(key.fd)
        for pipe, child in list(self._children.items()):
            if time.monotonic() > child.ends_at:
                yield self._end(pipe, is_late=True)

    def _end(self, pipe: int, is_late: bool = False) -> Outcome:
        child = self._children.pop(pipe)
        self._selector.unregister(pipe)
        os.close(pipe)
        if is_late:
            os.killpg(child.pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(child.pid, 0)[1])
        with contextlib.suppress(ProcessLookupError):  # what the tests left behind
            os.killpg(child.pid, signal.SIGKILL)
        facts: dict[str, str] = {}
        for line in b"".join(child.said).splitlines():
            facts.update(json.loads(line))
        if "broken" in facts:
            return Outcome(child.mutant, BROKEN, facts["broken"])
        if is_late or status in (-signal.SIGXCPU, -signal.SIGKILL):
            return Outcome(child.mutant, TIMEOUT, "")
        if status == 0:
            return Outcome(child.mutant, SURVIVED, "")
        test = facts.get("test", "")
        if test:
            self._killers = [name for name in self._killers if name != test] + [test]
        return Outcome(child.mutant, KILLED, test or "at the import")
