"""What one does with a checkout: every verb of sshjobs, and check, test, docs.

``inv check test`` is exactly what CI runs.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from sshjobs import tasks as verbs

_BIN = Path(sys.executable).parent
_MADE = "docs/conf.py docs/generate.py docs/draw_architecture.py docs/draw_terminal.py"
_PYTHON = f"sshjobs tests tasks.py setup.py {_MADE}"
_PAGES = "README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md docs"
_PARTS = " ".join(map(str, sorted(Path("sshjobs/remote").glob("**/*.sh"))))
_SHELL = f"{_PARTS} sshjobs/cli/shells/sshjobs.bash .ci/run"

#: Any warning is an error, a link that leads nowhere among them.
_SITE = "sphinx-build -W --keep-going -q -d build/pages -c docs . build/site"

#: The versions that inv test --airflow all runs on: the oldest with all of deferral,
#: others whose triggers run in another way, the newest.
AIRFLOWS = ("2.10", "2.11", "3.0", "3.2", "3.3")

_CHECKS = (
    f"black --check --quiet {_PYTHON}",
    f"isort --check --quiet {_PYTHON}",
    f"flake8 {_PYTHON}",
    "mypy",
    "lint-imports",
    f"codespell {_PYTHON} {_PAGES} setup.cfg .ci/run",
    "python docs/generate.py --check",
    "python docs/draw_architecture.py --check",
    _SITE,
    "python -m tests.house",
    f"shellcheck {_SHELL}",
)


def _run(context: Context, line: str) -> bool:
    """Run one tool of this interpreter's environment; tell whether it was content."""
    print(f"$ {line}", flush=True)
    path = f"{_BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    result = context.run(line, env={"PATH": path}, warn=True, pty=False)
    return result is not None and result.ok


def _missing(line: str) -> bool:
    """Tell whether the tool is absent on a laptop; CI must have every one."""
    tool = line.split()[0]
    if tool != "shellcheck" or shutil.which(tool) or os.environ.get("CI"):
        return False
    print(f"skipped, not installed: {tool}")
    return True


@task
def check(context: Context) -> None:
    """Run every tool that reads the code: style, types, floors, spelling, docs."""
    failed = [line for line in _CHECKS if not (_missing(line) or _run(context, line))]
    if failed:
        raise Exit("failed:\n  " + "\n  ".join(failed), code=1)


@task(
    help={
        "all": "also the tests that are marked slow",
        "only": "an expression for pytest -k",
        "coverage": "say which lines and branches were not reached",
        "pythons": "on each Python of this machine from 3.10 to 3.14 instead",
        "airflow": "those of Airflow instead: its versions (2.11,3.2), or all",
    },
    auto_shortflags=False,
)
def test(
    context: Context,
    all: bool = False,
    only: str = "",
    coverage: bool = False,
    pythons: bool = False,
    airflow: str = "",
) -> None:
    """Run the tests, against a real sshd on the loopback address.

    In CI their quick part runs on the oldest and the newest Python of the machine too.
    """
    if airflow:
        _test_airflow(context, AIRFLOWS if airflow == "all" else airflow.split(","))
        return
    if pythons:
        if not _run(context, f"python -m tests.pythons{_selected(only)}"):
            raise Exit(code=1)
        return
    line = _build_pytest_line(all, only, coverage)
    good = _run(context, line)
    if good and os.environ.get("CI") and not only:
        good = _run(context, "python -m tests.pythons --quick")
    if not good:
        raise Exit(code=1)


def _test_airflow(context: Context, versions: Sequence[str]) -> None:
    """Run the tests of Airflow, each version in an environment of its own."""
    line = "SSHJOBS_TEST_AIRFLOW_VERSION={} python -m pytest -s tests/test_airflow.py"
    if not all([_run(context, line.format(version)) for version in versions]):
        raise Exit(code=1)


def _build_pytest_line(all: bool, only: str, coverage: bool) -> str:
    line = (
        f"python -m pytest -n {_count_workers()} --dist loadfile --no-loadscope-reorder"
    )
    if not all:
        line += ' -m "not slow"'
    if only:
        line += f' -k "{only}"'
    if coverage:
        line += " --cov --cov-report=term-missing"
    return line


def _count_workers() -> int:
    """Return how many tests run side by side: they mostly wait for hosts."""
    return 2 * len(os.sched_getaffinity(0)) if sys.platform == "linux" else 2


def _selected(only: str) -> str:
    return f' -- -k "{only}"' if only else ""


@task(
    help={
        "schedules": "how many",
        "seed": "the first one's seed, to see it again; the next are + 1",
        "jobs": "how many side by side; 0 is one for each processor",
        "transport": "the setting: auto or fabric",
        "launcher": "process, or slurm, whose controller is killed and stopped too",
        "verbose": "say every step",
    },
    auto_shortflags=False,
)
def faults(
    context: Context,
    schedules: int = 20,
    seed: int = -1,
    jobs: int = 0,
    transport: str = "auto",
    launcher: str = "process",
    verbose: bool = False,
) -> None:
    """Kill, stop and cut everything at random, and look for a broken promise."""
    line = f"python -m tests.faults --schedules {schedules}"
    line += f" --seed {seed}" if seed >= 0 else ""
    line += f" --jobs {jobs}" if jobs else ""
    line += f" --transport {transport} --launcher {launcher}"
    line += " --verbose" if verbose else ""
    if not _run(context, line):
        raise Exit(code=1)


@task(
    help={
        "seconds": "for how long, all targets together",
        "seed": "to see the same cases again",
        "target": "one of them: reply mux from records store config prose",
    },
    auto_shortflags=False,
)
def fuzz(context: Context, seconds: int = 60, seed: int = -1, target: str = "") -> None:
    """Give hostile input to all that takes input from others; print what breaks."""
    line = f"python -m tests.fuzz --seconds {seconds}"
    line += f" --seed {seed}" if seed >= 0 else ""
    line += f" --target {target}" if target else ""
    if not _run(context, line):
        raise Exit(code=1)


@task(
    help={
        "check": "change nothing; fail if a page is not up to date",
        "html": "also make the site of all pages, in build/site",
        "picture": "first draw README's terminal anew, from a real run in tmux",
    },
    auto_shortflags=False,
)
def docs(
    context: Context, check: bool = False, html: bool = False, picture: bool = False
) -> None:
    """Write the reference pages that are made from the code."""
    how = " --check" if check else ""
    good = not picture or _run(context, "python docs/draw_terminal.py")
    good = _run(context, f"python docs/generate.py{how}") and good
    good = _run(context, f"python docs/draw_architecture.py{how}") and good
    if good and html:
        good = _run(context, _SITE)
    if not good:
        raise Exit(code=1)


@task(
    help={
        "only": "one workload: see python -m tests.bench --help",
        "quick": "small numbers, one repetition: to see that all of it works",
        "times": "what medians are of",
        "compare": "a revision: only what a start costs in it and in this tree",
        "airflow_python": "an interpreter with apache-airflow-providers-ssh 7.0.1",
        "peers_python": "an interpreter with fabric, parallel-ssh and asyncssh",
        "omnirun_python": "an interpreter, 3.12 or newer, with omnirun",
    },
    auto_shortflags=False,
)
def bench(
    context: Context,
    only: str = "",
    quick: bool = False,
    times: int = 5,
    compare: str = "",
    airflow_python: str = "",
    peers_python: str = "",
    omnirun_python: str = "",
) -> None:
    """Measure sshjobs and its peers on one sshd; write docs/benchmarks.md."""
    line = f"python -m tests.bench --times {times}"
    line += f" --only {only}" if only else ""
    line += "" if only or quick or compare else " --out docs/benchmarks.md"
    line += f" --compare {compare}" if compare else ""
    line += " --quick" if quick else ""
    line += f" --airflow-python {airflow_python}" if airflow_python else ""
    line += f" --peers-python {peers_python}" if peers_python else ""
    line += f" --omnirun-python {omnirun_python}" if omnirun_python else ""
    if not _run(context, line):
        raise Exit(code=1)


@task(
    help={
        "small": "small numbers, and the page stays as it is",
        "only": "simulation, or clients",
        "hosts": "simulated hosts (1000)",
        "jobs": "jobs of each (1000)",
        "clients": "client machines (100)",
    },
    auto_shortflags=False,
)
def scale(
    context: Context,
    small: bool = False,
    only: str = "",
    hosts: int = 0,
    jobs: int = 0,
    clients: int = 0,
) -> None:
    """Measure many hosts, jobs and clients; write docs/explanation/scale.md."""
    line = "python -m tests.scale"
    line += " --small" if small else " --out docs/explanation/scale.md"
    line += f" --only {only}" if only else ""
    for name, number in (("hosts", hosts), ("jobs", jobs), ("clients", clients)):
        line += f" --{name} {number}" if number else ""
    if not _run(context, line):
        raise Exit(code=1)


@task(
    help={
        "module": "protocol.reply, or protocol for the whole room; none: all there are",
        "jobs": "how many side by side; 0 is one for each processor",
        "verbose": "say what became of each mutant, and which test noticed it",
    },
    auto_shortflags=False,
)
def mutate(
    context: Context, module: str = "", jobs: int = 0, verbose: bool = False
) -> None:
    """Spoil a module in each small way; show what its own tests do not notice."""
    line = f"python -m tests.mutation {module}"
    line += f" --jobs {jobs}" if jobs else ""
    line += " --verbose" if verbose else ""
    if not _run(context, line):
        raise Exit(code=1)


ns = Collection(check, test, faults, fuzz, docs, bench, scale, mutate)
for verb in verbs.TASKS:
    ns.add_task(verb)
