"""Read which module of sshjobs imports which, from the text of the modules.

The counts of the house and the figure of the architecture read the same graph.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "sshjobs"


def read_imports(root: Path = ROOT) -> dict[str, set[str]]:
    """Return, for each module of the package, the modules of it that it imports.

    Imports inside functions count, since they order the rooms too. Those for the type
    checker alone (``if TYPE_CHECKING``) do not: at run time there are none.
    """
    paths = {name_module(path, root): path for path in (root / PACKAGE).rglob("*.py")}
    return {
        name: set(find_targets(name, path, set(paths))) - {name}
        for name, path in sorted(paths.items())
    }


def name_module(path: Path, root: Path) -> str:
    """Return the dotted name of a module."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def find_targets(name: str, path: Path, known: set[str]) -> Iterator[str]:
    """Yield the modules that one module imports."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in walk_runtime(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name in known)
        elif isinstance(node, ast.ImportFrom):
            up = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*(up if node.level else []), *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                if inner in known:
                    yield inner
                elif base in known:
                    yield base


def walk_runtime(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module, without those below ``if TYPE_CHECKING``."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from walk_runtime(node)


def find_circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return each set of modules that reach one another, sorted."""
    reached = {name: reach_from(name, graph) for name in graph}
    circles = {
        tuple(sorted(other for other in reached[name] if name in reached[other]))
        for name in graph
    }
    return [list(circle) for circle in sorted(circles) if len(circle) > 1]


def reach_from(name: str, graph: dict[str, set[str]]) -> set[str]:
    """Return all modules that a module imports, directly or through others."""
    seen: set[str] = set()
    ahead = [name]
    while ahead:
        targets = graph[ahead.pop()] - seen
        seen |= targets
        ahead += targets
    return seen
