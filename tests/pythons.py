"""The tests on the other Pythons of this machine, each in an environment of its own.

``inv test --pythons`` runs all tests on every one from 3.10 to 3.14; where CI is set,
``inv test`` ends with the quick part on the oldest and the newest.
``python -m tests.pythons`` says which there are.
"""

from __future__ import annotations

import argparse
import configparser
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parent.parent

#: The versions that sshjobs is meant for.
MINORS = range(10, 15)

#: Where people's tools put interpreters: the variable that moves the folder, the folder
#: in a home, and the way from there.
_TOOLS = (
    ("PYENV_ROOT", ".pyenv", "versions/*/bin"),
    ("UV_PYTHON_INSTALL_DIR", ".local/share/uv/python", "*/bin"),
    ("ASDF_DATA_DIR", ".asdf", "installs/python/*/bin"),
    ("MISE_DATA_DIR", ".local/share/mise", "installs/python/*/bin"),
)

_USUAL = ("/usr/bin", "/usr/local/bin", "/opt/homebrew/bin")

#: What an interpreter must have; a stripped one is none for the tests.
_ASK = (
    "import json, sqlite3, ssl, sys, venv, ensurepip;"
    "print(json.dumps(sys.version_info[:3]))"
)


class Python(NamedTuple):
    """An interpreter of this machine."""

    version: tuple[int, int, int]
    path: str

    @property
    def name(self) -> str:
        """Its version, as people say it."""
        return f"{self.version[0]}.{self.version[1]}"


def _folders(environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield the folders in which interpreters may be, those of PATH first."""
    for folder in (*environ.get("PATH", os.defpath).split(os.pathsep), *_USUAL):
        yield Path(folder or ".")
    home = Path(environ.get("HOME", "") or os.path.expanduser("~"))
    for variable, below, pattern in _TOOLS:
        root = Path(environ.get(variable, "") or home / below)
        yield from sorted(root.glob(pattern))


def _ask(path: str) -> Python | None:
    """Return what an interpreter says of itself, None if it is of no use."""
    try:
        done = subprocess.run(
            [path, "-I", "-c", _ASK], capture_output=True, timeout=30, check=True
        )
        return Python(tuple(json.loads(done.stdout)), path)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None  # a shim of a tool that has none of that version, or half of one


def found(environ: Mapping[str, str] = os.environ) -> list[Python]:
    """Return one interpreter of each version, oldest first, the newest patch of it."""
    best: dict[str, Python] = {}
    seen: set[str] = set()
    for folder in _folders(environ):
        for minor in MINORS:
            path = str(folder / f"python3.{minor}")
            real = os.path.realpath(path)
            if real in seen or not os.access(path, os.X_OK):
                continue
            seen.add(real)
            python = _ask(path)
            if python and python.version[1] in MINORS:
                best[python.name] = max(python, best.get(python.name, python))
    return sorted(best.values())


def chosen(pythons: Sequence[Python], *, quick: bool) -> list[Python]:
    """Return whom to run: all, or for the quick part the oldest and the newest.

    The interpreter that runs this has run all tests already, and is left out of the
    quick part.
    """
    if not quick:
        return list(pythons)
    ends = {python.name: python for python in (*pythons[:1], *pythons[-1:])}
    ends.pop(f"{sys.version_info[0]}.{sys.version_info[1]}", None)
    return list(ends.values())


def lowest() -> list[str]:
    """Return the lowest version that setup.cfg admits of each package, for pip."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    lines = config["options"]["install_requires"].splitlines()
    pattern = re.compile(r"([\w-]+)>=([\d.]+)(;.*)?")
    parts = (pattern.fullmatch(line.strip()) for line in lines if line.strip())
    return [f"{p[1]}=={p[2]}{p[3] or ''}" for p in parts if p]


def _environment(python: Python, constraints: Iterable[str]) -> Path:
    """Make the environment of an interpreter in build/, or bring it up to date."""
    folder = ROOT / "build" / "pythons" / python.name
    if not (folder / "bin" / "pip").exists():
        subprocess.run([python.path, "-m", "venv", "--clear", folder], check=True)
    words = ["install", "--quiet", "--use-pep517", "--editable", f"{ROOT}[test]"]
    subprocess.run([folder / "bin" / "pip", *words, *constraints], check=True)
    return folder / "bin" / "python"


def _run(python: Python, words: Sequence[str], *, oldest: bool) -> bool:
    """Run pytest on one interpreter; the oldest has the oldest packages as well."""
    print(f"$ Python {'.'.join(map(str, python.version))} at {python.path}", flush=True)
    try:
        program = _environment(python, lowest() if oldest else ())
    except subprocess.CalledProcessError as error:
        print(f"no environment for {python.path}: {error}", flush=True)
        return False
    # What an outer interpreter was given is not for this one.
    env = {
        k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "VIRTUAL_ENV")
    }
    return subprocess.run([program, "-m", "pytest", *words], env=env).returncode == 0


def main() -> int:
    """Run the tests; return 1 if they failed on one of the interpreters."""
    parser = argparse.ArgumentParser(prog="python -m tests.pythons")
    parser.add_argument("--quick", action="store_true", help="oldest and newest only")
    parser.add_argument("--list", action="store_true", help="say which there are")
    parser.add_argument("words", nargs="*", help="for pytest")
    values = parser.parse_args()
    pythons = found()
    if values.list:
        print("\n".join(f"{python.name} {python.path}" for python in pythons))
        return 0
    marks = "quick and not slow" if values.quick else "not slow"
    workers = str(2 * (os.cpu_count() or 1))  # as inv test has it
    words = ["-q", "-n", workers, "--dist", "loadfile", "-m", marks, *values.words]
    wanted = chosen(pythons, quick=values.quick)
    bad = [p.name for p in wanted if not _run(p, words, oldest=p == pythons[0])]
    print(f"Pythons: {', '.join(p.name for p in wanted) or 'no other'}; failed: {bad}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
