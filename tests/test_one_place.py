"""What the house says once: a second place for it is found here.

Files are parsed and read, never imported.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sshjobs import errors, hints

PACKAGE = Path(__file__).parent.parent / "sshjobs"
SOURCES = {
    str(path.relative_to(PACKAGE)): path.read_text("utf-8")
    for pattern in ("*.py", "*.sh", "*.awk")
    for path in sorted(PACKAGE.rglob(pattern))
}

pytestmark = pytest.mark.quick


def iterate_nodes() -> Iterator[tuple[str, ast.AST]]:
    """Yield every node of every module, with the module."""
    for path, text in SOURCES.items():
        if path.endswith(".py"):
            for node in ast.walk(ast.parse(text)):
                yield path, node


def quotes_words(node: ast.AST) -> bool:
    """Tell whether a node quotes words by other means than :mod:`sshjobs.quoting`."""
    if isinstance(node, ast.ImportFrom):
        return node.module in ("shlex", "pipes", "shutil.quote")
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        return node.value.id == "shlex" and node.attr != "split"
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return False
    first = node.args[0] if node.args else None
    return (
        node.func.attr == "replace"
        and isinstance(first, ast.Constant)
        and first.value in ("'", b"'", "\\", b"\\", '"', b'"')
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
        and len(str(node.args[1].value).strip()) > 1
    )


def test_words_of_a_shell_and_of_ssh_config_are_quoted_in_one_module() -> None:
    places = {path for path, node in iterate_nodes() if quotes_words(node)}
    # A completion goes on with a word, perhaps within quotes, that a person has begun.
    assert places == {"quoting.py", "cli/shell_line.py"}


def find_texts(*words: str) -> set[str]:
    """Return the files with a text, comments and docstrings too, that has all words."""
    return {
        path for path, text in SOURCES.items() if all(word in text for word in words)
    }


def test_network_file_systems_are_listed_in_one_module() -> None:
    for kind in ("lustre", "gpfs", "sshfs", "beegfs"):
        assert find_texts(kind) == {"store/home.py"}


def test_sql_learns_in_one_module_which_jobs_are_active() -> None:
    """Keep the partial indices in use: SQLite wants the very words of their WHERE."""
    texts = [
        (path, str(node.value))
        for path, node in iterate_nodes()
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    for words in ("state IN (", "state NOT IN (", "'PENDING'"):
        places = {path for path, text in texts if words in text}
        # A completion offers jobs in any states that its verb names.
        assert places - {"store/glimpse.py"} <= {"store/schema.py"}
    active = {
        path
        for path, node in iterate_nodes()
        if isinstance(node, ast.Attribute)
        and node.attr == "ACTIVE"
        or isinstance(node, ast.Name)
        and node.id == "ACTIVE"
    }
    assert {path for path in active if "store/" in path} == {"store/schema.py"}


#: Errors that have their remedy as a third argument, and findings of the doctor.
HINTED = frozenset(
    "TransportError HostUnreachable Throttled SessionRefused AuthenticationError "
    "AccountRefused OutcomeUnknown ConnectionLost CommandTimeout HostError "
    "Finding Failed".split()
)

#: The form of a hint's code.
CODE = re.compile(r"(here|host|shell|login|session|round|doctor):[\w-][\w -]*")


def name_callee(node: ast.Call) -> str:
    """Return the name of what a call calls, its module left out."""
    return getattr(node.func, "id", getattr(node.func, "attr", ""))


def find_plain_texts(node: ast.AST) -> set[str]:
    """Return the words of an expression that are no code of a hint."""
    texts = {
        part.value
        for part in ast.walk(node)
        if isinstance(part, ast.Constant) and isinstance(part.value, str)
    }
    return {text for text in texts if text and not CODE.fullmatch(text)}


def test_hints_stand_in_one_table() -> None:
    placed = {
        (path, text)
        for path, node in iterate_nodes()
        if isinstance(node, ast.Call) and name_callee(node) in HINTED
        for hint in node.args[2:] + [k.value for k in node.keywords if k.arg == "hint"]
        if not isinstance(hint, ast.Call)
        for text in find_plain_texts(hint)
    }
    assert placed == set()
    for words in ("; {more}", "; {advice}", "SSHJOBS_HOME names another"):
        assert find_texts(words) <= {"hints.py"}


def test_each_code_has_its_hint_and_each_hint_its_place() -> None:
    asked = {
        node.value
        for path, node in iterate_nodes()
        if path != "hints.py"
        and isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and CODE.fullmatch(node.value)
    }
    assert asked <= hints.HINTS.keys()
    # By an errno, by the code of a frame, by the name of a fact.
    looked_up = ("here:E", "host:E", "doctor:")
    lonely = hints.HINTS.keys() - asked
    assert {code for code in lonely if not code.startswith(looked_up)} == set()


def test_what_a_hint_leaves_blank_is_filled_in() -> None:
    facts = {name: 1 for name in "host folder path name seconds most bound key".split()}
    for code in hints.HINTS:
        lines = errors.find_hint(code, **facts).split("\n")
        assert all(line.isprintable() for line in lines)
        # Only errors that are a text have a command on a line of its own.
        assert len(lines) == 1 or code.startswith("here:")
    assert errors.find_hint("host:EODD") == ""
    # A host gives any code, and no fact of ours goes with it.
    for code in hints.HINTS:
        assert "{" not in errors.find_hint(f"host:{code.partition(':')[2]}")
    assert errors.find_hint("session:again", "", "round:setting", name="x") == (
        "asking again is safe; the setting is x"
    )
