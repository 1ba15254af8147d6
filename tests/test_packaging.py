"""What leaves this checkout, and what runs beside its tests: sdist, Pythons, bench."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from tests import pythons
from tests.pythons import Python

TOP = Path(__file__).parent.parent

_BUILD = (
    "import sys; from setuptools import build_meta as b; b.build_sdist(sys.argv[1])"
)


def tracked() -> set[str]:
    """Return the files of this checkout that are in git, as paths."""
    words = ["git", "-c", f"safe.directory={TOP}", "ls-files"]
    listed = subprocess.run(words, cwd=TOP, capture_output=True, check=True).stdout
    return set(listed.decode().splitlines())


def test_a_source_distribution_has_tests_that_run(tmp_path: Path) -> None:
    # Of a copy: what it writes beside setup.cfg is not to be seen by other tests.
    copy = tmp_path / "checkout"
    names = tracked() if (TOP / ".git").exists() else set()
    if not names:  # this is one itself, unpacked: these tests do run
        return
    for name in names:
        if (TOP / name).exists():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            (copy / name).write_bytes((TOP / name).read_bytes())
    build = [sys.executable, "-W", "ignore", "-c", _BUILD, str(tmp_path)]
    subprocess.run(build, cwd=copy, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(tmp_path / "unpacked")
    (folder,) = (tmp_path / "unpacked").iterdir()
    missing = {name for name in names if not (folder / name).exists()}
    assert missing <= {".gitignore"}
    env = os.environ | {"PYTHONPATH": str(folder), "PYTHONSAFEPATH": ""}
    words = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_states.py"]
    collect = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--collect-only"]
    for line in (words, collect):
        done = subprocess.run(
            [sys.executable, *line], cwd=folder, env=env, capture_output=True
        )
        assert done.returncode == 0, done.stdout[-2000:]


def fake(path: Path, version: str, *, whole: bool = True) -> None:
    """Write a program that says that it is a Python of this version."""
    path.parent.mkdir(parents=True, exist_ok=True)
    said = f"echo '[{version.replace('.', ', ')}]'" if whole else "exit 1"
    path.write_text(f"#!/bin/sh\n{said}\n")
    path.chmod(0o755)


def test_pythons_are_found_where_tools_put_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pythons, "_USUAL", ())
    fake(tmp_path / "bin/python3.12", "3.12.1")
    fake(tmp_path / "bin/python3.9", "3.9.2")
    fake(tmp_path / ".pyenv/versions/3.12.9/bin/python3.12", "3.12.9")
    fake(tmp_path / ".pyenv/versions/3.10.3/bin/python3.10", "3.10.3")
    fake(tmp_path / ".pyenv/versions/3.13.0/bin/python3.13", "3.13.0", whole=False)
    fake(tmp_path / "uv/cpython-3.14.0/bin/python3.14", "3.14.0")
    environ = {
        "PATH": f"{tmp_path}/bin",
        "HOME": str(tmp_path),
        "UV_PYTHON_INSTALL_DIR": f"{tmp_path}/uv",
    }
    found = pythons.found(environ)
    assert [one.version for one in found] == [(3, 10, 3), (3, 12, 9), (3, 14, 0)]
    assert pythons.chosen(found, quick=False) == found
    assert pythons.chosen(found, quick=True) == [found[0], found[-1]]


def test_the_python_of_the_tests_is_not_run_twice() -> None:
    ours = Python(sys.version_info[:3], sys.executable)
    assert pythons.chosen([ours], quick=True) == []


def test_the_lowest_packages_are_those_of_setup_cfg() -> None:
    text = (TOP / "setup.cfg").read_text()
    block = text.partition("install_requires =")[2].partition("\n\n")[0]
    names = [line.partition("==")[0] for line in pythons.lowest()]
    assert names == [line.partition(">=")[0].strip() for line in block.split("\n")[1:]]


def test_bench_without_its_user_says_so() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root logs in as somebody else")
    before = set(Path("/tmp").glob("sb*"))
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "--quick", "--only", "burst"],
        cwd=TOP,
        env=os.environ | {"SSHJOBS_TEST_USER": "no-such-user"},
        capture_output=True,
        timeout=60,  # an sshd that it left would hold its standard output open
    )
    assert done.returncode == 1
    assert b"Traceback" not in done.stderr
    assert b"SSHJOBS_TEST_USER" in done.stderr
    assert set(Path("/tmp").glob("sb*")) <= before
