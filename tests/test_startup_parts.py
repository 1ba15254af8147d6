"""The parts of ``sshjobs.startup`` that do what a module of Python does, for less."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sshjobs.startup import contexts, stdlib

pytestmark = pytest.mark.quick


def deal_with_it() -> Iterator[str]:
    try:
        yield "value"
    except KeyError:
        return


def let_pass() -> Iterator[str]:
    yield "value"


def raise_another() -> Iterator[str]:
    try:
        yield "value"
    except Exception as error:
        raise OSError("another") from error


def raise_at_the_end() -> Iterator[str]:
    yield "value"
    raise OSError("at the end")


def raise_at_once() -> Iterator[str]:
    yield str(1 // 0)


def yield_nothing() -> Iterator[str]:
    yield from ()


def yield_twice() -> Iterator[str]:
    yield "value"
    yield "twice"


def go_on() -> Iterator[str]:
    try:
        yield "value"
    except Exception:
        yield "twice"


GENERATORS = (
    deal_with_it,
    let_pass,
    raise_another,
    raise_at_the_end,
    raise_at_once,
    yield_nothing,
    yield_twice,
    go_on,
)
ERRORS = (None, KeyError("x"), RuntimeError("x"), StopIteration("x"), GeneratorExit())


def observe(make: Any, function: Callable[[], Iterator[str]], error: Any) -> list[Any]:
    """Run a body in a context; return what it saw and what came out."""
    seen: list[Any] = []
    try:
        with make(function)() as value:
            seen.append(value)
            if error is not None:
                raise error
    except BaseException as raised:
        same = raised is error
        seen += [type(raised), same, same or type(raised.__cause__)]
    return seen


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("function", GENERATORS, ids=lambda function: function.__name__)
def test_a_context_is_that_of_contextlib(
    function: Callable[[], Iterator[str]], error: BaseException | None
) -> None:
    assert contexts.contextmanager is not contextlib.contextmanager
    ours = observe(contexts.contextmanager, function, error)
    assert ours == observe(contextlib.contextmanager, function, error)


def test_an_error_keeps_its_trace_through_a_context() -> None:
    manage = contexts.contextmanager(let_pass)
    with pytest.raises(ZeroDivisionError) as caught, manage():
        1 / 0
    assert [entry.name for entry in caught.traceback] == [
        "test_an_error_keeps_its_trace_through_a_context"
    ]


def test_the_other_contexts_are_those_of_contextlib() -> None:
    closed: list[bool] = []

    class Thing:
        def close(self) -> None:
            closed.append(True)

    with contexts.closing(Thing()) as thing, contexts.nullcontext(thing) as same:
        assert same is thing and not closed
    assert closed
    with contexts.suppress(KeyError, ValueError):
        raise ValueError
    with pytest.raises(OSError), contexts.suppress(KeyError):
        raise OSError


def run_python(code: str, top: Path, **env: str) -> list[str]:
    """Run code in a bare interpreter that has ``top`` first on its path."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "COV"))}
    kept |= {"PYTHONPATH": str(top), **env}
    argv = [sys.executable, "-S", "-c", code]
    return subprocess.check_output(argv, env=kept, text=True, cwd="/").splitlines()


PACKAGE = Path(stdlib.__file__).parent.parent


def test_sqlite_comes_without_functools_and_caches_its_statements() -> None:
    code = (
        "import sys\n"
        "from sshjobs.startup.stdlib import sqlite3\n"
        "print('functools' in sys.modules)\n"
        "db = sqlite3.connect(':memory:', cached_statements=2)\n"
        "print(sum(db.execute('select ?', [n % 5]).fetchone()[0] for n in range(20)))\n"
        "import functools\n"
        "print(functools.lru_cache.__module__, functools.partial(int, '7')())\n"
    )
    assert run_python(code, PACKAGE.parent) == ["False", "40", "functools 7"]


def test_an_extension_that_wants_more_of_functools_gets_it(tmp_path: Path) -> None:
    (tmp_path / "wanting.py").write_text("from functools import partial\n")
    code = (
        "from sshjobs.startup.stdlib import import_without_functools\n"
        "print(import_without_functools('wanting').partial(int, '7')())\n"
    )
    path = os.pathsep.join([str(tmp_path), str(PACKAGE.parent)])
    assert run_python(code, Path(path)) == ["7"]


#: Prints what an interpreter knows of each module that a verb has.
DESCRIBE = """
import sys
if sys.argv[1:] == ["own"]:
    from sshjobs.startup.finder import install_finder
    install_finder()
import sshjobs.startup.finder, sshjobs.startup.records
import sshjobs.cli.handlers, sshjobs.verbs.poll, sshjobs.transports.openssh.session
import sshjobs.rounds.exchange
for name, module in sorted(sys.modules.items()):
    if name.startswith("sshjobs"):
        spec = module.__spec__
        print(name, module.__file__, module.__cached__, module.__package__,
              getattr(module, "__path__", ""), spec.origin, spec.cached,
              spec.has_location, spec.parent, spec.submodule_search_locations)
"""


def describe_modules(top: Path, *words: str) -> list[str]:
    code = f"import sys; sys.argv[1:] = {list(words)!r}\n{DESCRIBE}"
    return run_python(code, top)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a directory with a copy of the package, of which nothing is cached."""
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "sshjobs", ignore=ignored)
    return tmp_path


def test_the_finder_finds_what_importlib_finds(copy: Path) -> None:
    described = describe_modules(copy, "own")  # nothing is cached yet
    assert len(described) > 50
    assert described == describe_modules(copy, "own") == describe_modules(copy)


VALUE = """
from sshjobs.startup.finder import PackageLoader, install_finder
install_finder()
from sshjobs import shown
print(shown.VALUE, type(shown.__loader__) is PackageLoader)
"""


def test_the_finder_sees_a_source_that_has_changed(copy: Path) -> None:
    source = copy / "sshjobs" / "shown.py"
    source.write_text("VALUE = 1\n")
    assert run_python(VALUE, copy) == run_python(VALUE, copy) == ["1 True"]
    before = source.stat()
    source.write_text("VALUE = 22\n")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert run_python(VALUE, copy) == ["22 True"], "its size tells"
    source.write_text("VALUE = 33\n")
    os.utime(source, ns=(before.st_atime_ns, before.st_mtime_ns + 10**10))
    assert run_python(VALUE, copy) == ["33 True"], "its time tells"
    for cached in (copy / "sshjobs" / "__pycache__").glob("shown.*"):
        cached.write_bytes(cached.read_bytes()[:20])
        source.write_text("VALUE = 444\n")
    assert run_python(VALUE, copy) == ["444 True"]


def test_the_finder_finds_a_module_that_has_become_a_package(copy: Path) -> None:
    source = copy / "sshjobs" / "shown.py"
    source.write_text("VALUE = 1\n")
    assert run_python(VALUE, copy) == ["1 True"]
    source.unlink()
    (copy / "sshjobs" / "shown").mkdir()
    (copy / "sshjobs" / "shown" / "__init__.py").write_text("VALUE = 2\n")
    assert run_python(VALUE, copy) == ["2 True"], "not the cached code of old"


def test_the_finder_finds_two_modules_of_python_where_importlib_does(
    copy: Path,
) -> None:
    code = (
        "import sys\n{}"
        "for name in '__future__', '_sqlite3':\n"
        "    module = __import__(name)\n"
        "    print(module.__name__, module.__file__, module.__spec__.origin)\n"
    )
    ours = "from sshjobs.startup.finder import install_finder\ninstall_finder()\n"
    assert run_python(code.format(ours), copy) == run_python(code.format(""), copy)


def test_the_finder_leaves_the_rest_to_importlib(copy: Path) -> None:
    code = (
        "from sshjobs.startup.finder import PackageFinder, install_finder\n"
        "install_finder()\n"
        "print([PackageFinder.find_spec(name) for name in "
        "('json', 'sshjobs', 'sshjobsx.model', 'sshjobs.nowhere')])\n"
        "try:\n    import sshjobs.nowhere\n"
        "except ModuleNotFoundError as error:\n    print(error.name)\n"
    )
    expected = ["[None, None, None, None]", "sshjobs.nowhere"]
    assert run_python(code, copy) == expected
    prefix = str(copy / "elsewhere")
    found = run_python(
        "import sys\n"
        "from sshjobs.startup.finder import PackageFinder, install_finder\n"
        "install_finder()\nprint(PackageFinder in sys.meta_path)\n",
        copy,
        PYTHONPYCACHEPREFIX=prefix,
    )
    assert found == ["False"]


def test_a_follower_reads_nothing_of_requests() -> None:
    code = """
import sys
import sshjobs.verbs.submit, sshjobs.verbs.poll, sshjobs.transports.openssh.session
print(*[name for name in sys.modules if name.startswith("sshjobs.protocol")])
print("sshjobs.rounds.round" in sys.modules, "sshjobs.rounds.exchange" in sys.modules)
"""
    assert run_python(code, PACKAGE.parent) == ["", "True False"]
