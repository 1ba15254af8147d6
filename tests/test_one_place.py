"""What the house says once: a second place for it is found here.

Files are parsed and read, never imported.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

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
