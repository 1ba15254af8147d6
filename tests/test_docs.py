"""The pages: their links lead somewhere, their commands are commands."""

from __future__ import annotations

import ast
import html
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from sshjobs.cli import manual, parser
from sshjobs.cli.arguments import Verb
from tests.cli import VERBS

TOP = Path(__file__).parent.parent
PAGES = sorted([*TOP.glob("*.md"), *TOP.glob("docs/**/*.md")])
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_BLOCK = re.compile(r"^```(?:sh|console|cron)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"sshjobs (?P<verb>[a-z]+)(?P<rest>[ )].*|)$")


def commands(page: Path) -> Iterator[str]:
    """Yield what a page's examples say to sshjobs, one command each."""
    for block in _BLOCK.findall(page.read_text("utf-8")):
        for line in block.replace("\\\n", "").splitlines():
            found = _COMMAND.search(line)
            if found:
                yield found[0]


def words(command: str) -> list[str]:
    """Split a command as a shell would, up to where another command begins."""
    split = shlex.shlex(command, posix=True, punctuation_chars=True)
    split.whitespace_split = True
    result: list[str] = []
    for word in split:
        if word.startswith("#") or set(word) <= set("|&;<>()"):
            break
        result.append(word)
    return result


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_links_lead_somewhere(page: Path) -> None:
    links = _LINK.findall(page.read_text("utf-8"))
    missing = [
        link
        for link in links
        if "://" not in link and not (page.parent / link).exists()
    ]
    assert not missing


def test_the_examples_are_found() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) > 50


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_the_commands_of_a_page_are_commands(page: Path) -> None:
    for command in commands(page):
        verb, *rest = words(command)[1:]
        parser.read_arguments(VERBS[verb], rest)


@pytest.mark.parametrize("verb", manual.read_verbs(), ids=lambda verb: verb.name)
def test_the_examples_of_the_manual_are_commands(verb: Verb) -> None:
    assert verb.examples
    for example in verb.examples:
        found = _COMMAND.search(example)
        assert found and found["verb"] == verb.name
        parser.read_arguments(verb, words(found[0])[2:])


def test_each_claim_about_security_names_tests_that_exist() -> None:
    text = (TOP / "docs/explanation/security.md").read_text("utf-8")
    named = re.findall(r"test_\w+", " ".join(re.findall(r"\[(test_[^\]]*)\]", text)))
    assert len(set(named)) > 15
    assert set(named) <= {path.stem for path in (TOP / "tests").rglob("test_*.py")}


#: Of GNU's coreutils, and so not to be named one by one.
_COREUTILS = (
    "cat cksum date dd head id ln ls mkdir mv rm sha256sum sleep tail tr wc".split()
)


def test_readme_names_what_a_host_must_have() -> None:
    program = (TOP / "sshjobs/remote/directory.sh").read_text("utf-8")
    needed = re.search(r"for sj_i in ([a-z0-9 ]*\bawk\b[a-z0-9 ]*); do", program)
    assert needed
    others = [tool for tool in needed[1].split() if tool not in _COREUTILS]
    said = (TOP / "README.md").read_text("utf-8")
    assert others and [tool for tool in others if f"`{tool}`" not in said] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(TOP)))
def test_what_is_installed_is_a_checkout(page: Path) -> None:
    """It is in no index: a name there may be anybody's."""
    installed = re.findall(r"pip install ([^&\n]*)", page.read_text("utf-8"))
    assert not [words for words in installed if "sshjobs" in words]


def test_ci_runs_what_the_readme_says() -> None:
    lines = (TOP / "README.md").read_text("utf-8").splitlines()
    at = lines.index("<!-- tests -->")
    assert lines[at + 1] == "```sh"
    assert lines[at + 2].startswith("python3 -m venv ")
    assert lines[at + 2].endswith("inv check test")


def test_the_terminal_of_the_readme_shows_commands_and_loads_nothing() -> None:
    picture = (TOP / "docs/terminal.svg").read_text("utf-8")
    ElementTree.fromstring(picture)
    assert re.findall(r"(?:href|src|url)\W*\w+://", picture) == []
    spans = [html.unescape(text) for text in re.findall(r">([^<]+)</text>", picture)]
    typed = [text for text in spans if text.startswith("sshjobs\xa0")]
    assert len(typed) >= 3
    for line in typed:
        verb, *rest = shlex.split(line.replace("\xa0", " "))[1:]
        parser.read_arguments(VERBS[verb], rest)


#: Blocks that a test reads in another way than by read_blocks, and the test's file.
_READ_OTHERWISE = {
    ("docs/how-to/cron.md", "cron"): "tests/test_cron.py",
    ("docs/how-to/cron.md", "json"): "tests/test_cron.py",
    ("docs/how-to/cron.md", "sh"): "tests/test_cron.py",
    ("docs/how-to/cron.md", "text"): "tests/test_cron.py",
    ("docs/how-to/migrate-from-airflow-ssh.md", "diff"): (
        "tests/airflow/test_connections.py"
    ),
    ("docs/how-to/migrate-from-airflow-ssh.md", "python"): (
        "tests/airflow/test_connections.py"
    ),
}


def find_blocks_read() -> set[tuple[str, str]]:
    """Return page and kind of each call of read_blocks in the tests."""
    found = set()
    for path in (TOP / "tests").glob("**/test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "read_blocks":
                words = [
                    arg.value for arg in node.args if isinstance(arg, ast.Constant)
                ]
                if words:
                    page, kind = [*map(str, words), "sh"][:2]
                    found.add((page, kind))
    return found


def test_each_block_of_the_first_days_pages_is_run_by_a_test() -> None:
    pages = ["README.md", "docs/tutorial.md", "docs/faq.md"]
    pages += [f"docs/how-to/{path.name}" for path in TOP.glob("docs/how-to/*.md")]
    printed = {
        (page, kind)
        for page in pages
        for kind in re.findall(
            r"^```(\w+)\n", (TOP / page).read_text("utf-8"), re.MULTILINE
        )
    }
    for (page, _), test in _READ_OTHERWISE.items():
        name = Path(page).name
        assert name in (TOP / test).read_text("utf-8"), f"{test} does not read {name}"
    assert sorted(printed - find_blocks_read() - _READ_OTHERWISE.keys()) == []


@pytest.mark.parametrize("index", ["README.md", "docs/README.md"])
def test_each_how_to_stands_in_the_lists_of_pages(index: str) -> None:
    text = (TOP / index).read_text("utf-8")
    pages = sorted(path.name for path in TOP.glob("docs/how-to/*.md"))
    assert [name for name in pages if f"how-to/{name})" not in text] == []
