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


def read_rooms(modules: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return which room imports which; the package's own ``__init__`` is no room."""
    rooms: dict[str, set[str]] = {}
    for module, targets in modules.items():
        if module != PACKAGE:
            rooms.setdefault(name_room(module), set()).update(
                name_room(target) for target in targets if target != PACKAGE
            )
    return {room: targets - {room} for room, targets in rooms.items()}


def name_room(module: str) -> str:
    """Return the room of a module: the first name below the package's."""
    return module.split(".")[1]


def order_rows(rooms: dict[str, set[str]]) -> list[list[str]]:
    """Return the rooms in rows, each above all that it imports, entrances on top.

    Raises:
        ValueError: rooms import one another in a circle, so that none is above.
    """
    depths: dict[str, int] = {}
    while len(depths) < len(rooms):
        ready = [
            room
            for room, targets in rooms.items()
            if room not in depths and targets <= depths.keys()
        ]
        if not ready:
            raise ValueError(f"a circle of rooms: {sorted(rooms.keys() - depths)}")
        floor = max(depths.values(), default=-1) + 1
        depths.update(dict.fromkeys(ready, floor))
    imported = set().union(*rooms.values())
    top = max(depths.values())
    depths |= {room: top for room in rooms if room not in imported}
    return [
        sorted(room for room in rooms if depths[room] == floor)
        for floor in range(top, -1, -1)
    ]


def leave_out_implied(rooms: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the imports that no longer path of imports implies."""
    return {
        room: {
            target
            for target in targets
            if not any(
                target in reach_from(other, rooms) for other in targets - {target}
            )
        }
        for room, targets in rooms.items()
    }
