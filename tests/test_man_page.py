"""The man page: made from the manual, rendered by man without a warning."""

from __future__ import annotations

import configparser
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from sshjobs.cli import manual, manual_facts

TOP = Path(__file__).parent.parent
PAGE = "docs/man/sshjobs.1"


def render(columns: int) -> str:
    """Return the page as man shows it; no tool on the way may warn."""
    if not shutil.which("man"):
        if os.environ.get("CI") == "true":
            pytest.fail("CI must have man: apt-get install man-db groff-base")
        pytest.skip("no man here: apt-get install man-db groff-base")
    env = {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8", "MANWIDTH": str(columns)}
    words = ["man", "--warnings", "-l", str(TOP / PAGE)]
    done = subprocess.run(words, env=env, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_man_shows_each_verb_flag_and_example_without_a_warning() -> None:
    text = render(300)
    for verb in manual.read_verbs():
        assert f"   sshjobs {verb.name} " in text
        assert verb.brief in text
        assert all(example in text for example in verb.examples)
        for arg in verb.args:
            assert arg.is_positional or arg.name in text
    for _, meaning in (*manual_facts.EXIT_STATUSES, *manual_facts.ENVIRONMENT):
        assert meaning in text
    for columns in (60, 80, 140):
        lines = render(columns).splitlines()
        commands = [line for verb in manual.read_verbs() for line in verb.examples]
        longest = max(len(line) + 20 for line in commands)
        assert all(len(line) <= max(columns, longest) for line in lines)


def test_the_page_is_installed_where_man_looks() -> None:
    setup = configparser.ConfigParser()
    setup.read(TOP / "setup.cfg")
    installed = setup["options.data_files"]["share/man/man1"].split()
    assert installed == [PAGE]
    assert f"graft {PAGE.partition('/')[0]}" in (TOP / "MANIFEST.in").read_text()
