"""Measure the house: names, sizes, comments, words, circles (``inv check`` prints it).

Each count has an aim (docs/decisions/0014-the-house-is-counted.md). A count that misses
its aim makes ``python -m tests.house`` end with 1, unless it is still :data:`OPEN`.
Files are parsed and never imported, so that the counts are the same on any machine.
``--verbose`` lists the offenders of each count that misses its aim; ``--root DIR``
measures another checkout, so that a count can be compared with an older one.
"""

from __future__ import annotations

import argparse
import ast
import configparser
import io
import re
import statistics
import sys
import tokenize
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, TypeGuard, Union

from tests import import_graph

Function = Union[ast.FunctionDef, ast.AsyncFunctionDef]

#: Names that an interface gives to each module behind it: they are alike on purpose.
#: The verbs of the command line are added: a verb has one name on each floor.
INTERFACES = frozenset({"main", "resolve", "connect", "disconnect", "close", "run"})

#: Methods of every record, public ones as of ``typing.NamedTuple``.
RECORD_METHODS = frozenset({"_asdict", "_make", "_replace"})

#: Where a protocol is spoken or processes race, as parts of a module's path.
RACES = (
    "locks",
    "processes",
    "owned",
    "protocol/",
    "rounds/",
    "store/",
    "transports/gate",
    "transports/pump",
    "transports/process",
    "transports/openssh/",
)

#: Names of the first house: none is left but in history. So the names of its modules,
#: which no module has, and no module of tests.
OLD_NAMES = frozenset(
    "Party pursue Place Ledger Patience Intake Fetch Door Into Live Chosen Answer "
    "Pending Tap Order Box Reach HostRow stirred_at log_home".split()
)
OLD_MODULES = frozenset(
    "facts patience intake ending causes dial telling submitting examining finding "
    "bare place".split()
)

#: Counts that have not reached their aim yet; they are printed, and fail nothing. Take
#: a name out once its aim is reached: the house does not get worse again.
OPEN: frozenset[str] = frozenset()

CLASS_LINES = 300
MODULE_LINES = 450
SHELL_LINES = 300
FUNCTION_LINES = 50
TEST_LINES = 600


class House(NamedTuple):
    """A checkout, read once."""

    root: Path
    sources: dict[str, str]  #: text of each Python module, by path below sshjobs/
    trees: dict[str, ast.Module]
    programs: dict[str, str]  #: text of each part of the hosts' program

    def iterate_functions(self) -> Iterator[tuple[str, Function]]:
        """Yield every function and method but the special ones, with its module."""
        for path, tree in self.trees.items():
            for node in ast.walk(tree):
                if is_function(node) and not node.name.startswith("__"):
                    yield path, node


class Count(NamedTuple):
    """One line of the report."""

    name: str
    value: float
    aim: str
    reached: bool
    offenders: list[str]


def read_house(root: Path) -> House:
    """Read and parse the package of a checkout."""
    package = root / "sshjobs"

    def read(pattern: str) -> dict[str, str]:
        paths = sorted(package.rglob(pattern))
        return {str(p.relative_to(package)): p.read_text("utf-8") for p in paths}

    sources = read("*.py")
    trees = {path: ast.parse(text) for path, text in sources.items()}
    return House(root, sources, trees, read("*.sh") | read("*.awk"))


def is_function(node: ast.AST) -> TypeGuard[Function]:
    """Tell whether a node defines a function or a method."""
    return isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))


def count_words(name: str) -> int:
    """Return how many words a name has."""
    return len([word for word in name.split("_") if word])


def count_lines(node: Function | ast.ClassDef) -> int:
    """Return how many lines a definition takes, its docstring with it."""
    return (node.end_lineno or node.lineno) - node.lineno + 1


def at_most(name: str, value: float, aim: float, offenders: list[str]) -> Count:
    """Return a count that must not exceed its aim."""
    return Count(name, value, f"<= {aim:g}", value <= aim, offenders)


def at_least(name: str, value: float, aim: float, offenders: list[str]) -> Count:
    """Return a count that must not stay below its aim."""
    return Count(name, value, f">= {aim:g}", value >= aim, offenders)


def measure_words_in_names(house: House) -> list[Count]:
    """Count the words in the names of functions."""
    words: dict[str, list[int]] = defaultdict(list)
    short: list[str] = []
    for path, node in house.iterate_functions():
        words[path].append(count_words(node.name))
        if words[path][-1] == 1:
            short.append(f"{path}:{node.lineno} {node.name}")
    means = {path: statistics.mean(counts) for path, counts in words.items()}
    poor = [f"{mean:.2f} {path}" for path, mean in means.items() if mean < 1.8]
    share = 100 * len(short) / sum(map(len, words.values()))
    median = statistics.median(means.values())
    return [
        at_least("words in a function's name", median, 1.8, sorted(poor)),
        at_most("one-word names of functions, %", share, 45, short),
    ]


def read_verbs(house: House) -> set[str]:
    """Return the verbs of the command line, each with one name on every floor."""
    pages = (text for path, text in house.sources.items() if "cli/manual" in path)
    return set(re.findall(r'Verb\(\s*"(\w+)"', "\n".join(pages)))


def measure_repeated_names(house: House) -> list[Count]:
    """Count the functions of modules whose name stands in two modules or more."""
    homes: dict[str, list[str]] = defaultdict(list)
    for path, tree in house.trees.items():
        for node in tree.body:
            if is_function(node) and not node.name.startswith("__"):
                homes[node.name].append(path)
    shared = INTERFACES | read_verbs(house)
    repeated = [
        f"{name}: {', '.join(paths)}"
        for name, paths in sorted(homes.items())
        if len(set(paths)) > 1 and name not in shared
    ]
    return [at_most("names in two modules or more", len(repeated), 15, repeated)]


def measure_small_helpers(house: House) -> list[Count]:
    """Count private functions of eight lines or fewer that one place calls."""
    found: list[str] = []
    for path, tree in house.trees.items():
        uses: Counter[str] = Counter()
        for node in ast.walk(tree):
            if isinstance(node, ast.Name):
                uses[node.id] += 1
            elif isinstance(node, ast.Attribute):
                uses[node.attr] += 1
        for node in ast.walk(tree):
            if not is_function(node) or node.name.startswith("__"):
                continue
            private = node.name.startswith("_") and node.name not in RECORD_METHODS
            private = private and uses[node.name] == 1
            if private and count_lines(node) <= 8:
                found.append(f"{path}:{node.lineno} {node.name}")
    return [at_most("private helpers with one caller", len(found), 60, found)]


def measure_sizes(house: House) -> list[Count]:
    """Count what is larger than its budget of lines."""
    classes = [
        (path, node.name, count_lines(node))
        for path, tree in house.trees.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]
    functions = [(p, n.name, count_lines(n)) for p, n in house.iterate_functions()]
    modules = count_file_lines(house.sources)
    programs = count_file_lines(house.programs)
    tests = sorted((house.root / "tests").rglob("test_*.py"))
    tested = count_file_lines({path.name: path.read_text("utf-8") for path in tests})
    return [
        limit_sizes("largest class", classes, CLASS_LINES),
        limit_sizes("largest module", modules, MODULE_LINES),
        limit_sizes("largest function", functions, FUNCTION_LINES),
        limit_sizes("largest part of the hosts' program", programs, SHELL_LINES),
        limit_sizes("largest module of tests", tested, TEST_LINES),
    ]


def count_file_lines(texts: dict[str, str]) -> list[tuple[str, str, int]]:
    """Return each file with its number of lines."""
    return [(path, "", text.count("\n")) for path, text in texts.items()]


def limit_sizes(name: str, sizes: list[tuple[str, str, int]], aim: int) -> Count:
    """Return the largest size as a count, with all that are above the aim."""
    above = [(lines, f"{path} {of}") for path, of, lines in sizes if lines > aim]
    offenders = [f"{lines} {of}".rstrip() for lines, of in sorted(above, reverse=True)]
    return at_most(name, max(lines for _, _, lines in sizes), aim, offenders)


def read_comments(text: str) -> list[str]:
    """Return the comments of a Python module."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    return [token.string for token in tokens if token.type == tokenize.COMMENT]


def measure_comments(house: House) -> list[Count]:
    """Count comments a hundred lines where a protocol is spoken or processes race."""
    modules = {
        path: (len(read_comments(text)), text.count("\n"))
        for path, text in house.sources.items()
        if any(part in path for part in RACES)
    }
    parts = {
        path: (len(re.findall(r"^\s*#(?!!)", text, re.MULTILINE)), text.count("\n"))
        for path, text in house.programs.items()
    }
    return [
        rate_comments("comments per 100 lines, races", modules),
        rate_comments("comments per 100 lines, remote/", parts),
    ]


def rate_comments(name: str, files: dict[str, tuple[int, int]]) -> Count:
    """Return the rate of comments over files, each with its comments and its lines."""
    sparse = sorted(
        f"{100 * comments / lines:4.1f} {path}"
        for path, (comments, lines) in files.items()
        if lines >= 50 and 100 * comments < 6 * lines
    )
    lines = sum(lines for _, lines in files.values())
    rate = 100 * sum(comments for comments, _ in files.values()) / max(lines, 1)
    return at_least(name, rate, 6, sparse)


def read_docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield each docstring of a module with the line that it begins on."""
    kinds = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, kinds) and ast.get_docstring(node, clean=False):
            yield node.body[0].lineno, ast.get_docstring(node, clean=False) or ""


def list_pages(root: Path) -> list[Path]:
    """Return the pages of a checkout but for those of its history."""
    pages = sorted([*root.glob("*.md"), *root.glob("docs/**/*.md")])
    return [p for p in pages if "decisions" not in p.parts and p.name != "CHANGELOG.md"]


def measure_riddles(house: House) -> list[Count]:
    """Count "what …" and "who …" in docstrings and pages, per 1,000 words.

    Any such word counts: the rate then agrees with the one that a reader measured
    (17 in the docstrings of 4049e08; below 2 in Invoke 2.2, paramiko 5.1, pytest 9).
    """
    texts = [
        (f"sshjobs/{path}", line, text)
        for path, tree in house.trees.items()
        for line, text in read_docstrings(tree)
    ]
    for page in list_pages(house.root):
        name = str(page.relative_to(house.root))
        texts.append((name, 1, page.read_text("utf-8")))
    words = sum(len(re.findall(r"[A-Za-z][\w'-]*", text)) for _, _, text in texts)
    found = [
        f"{path}:{first + number} {line.strip()}"
        for path, first, text in texts
        for number, line in enumerate(text.split("\n"))
        for _ in re.findall(r"\b(?:what|who|whatever|whoever)\b", line, re.IGNORECASE)
    ]
    rate = 1000 * len(found) / words
    return [at_most('"what", "who" per 1,000 words', rate, 3, found)]


def measure_old_names(house: House) -> list[Count]:
    """Count names of the first house; SQL of a migration has its own.

    In code a name counts as a token, in a page as code; in history all may stand.
    """
    tests = sorted((house.root / "tests").rglob("*.py"))
    code = house.sources | {
        str(path.relative_to(house.root)): path.read_text("utf-8") for path in tests
    }
    found = [
        f"{path}:{token.start[0]} {token.string}"
        for path, text in code.items()
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.NAME and token.string in OLD_NAMES
    ]
    found += [
        path for path in code if Path(path).stem.removeprefix("test_") in OLD_MODULES
    ]
    named = re.compile(rf"`[^`\n]*\b(?:{'|'.join(sorted(OLD_NAMES))})\b")
    for path in list_pages(house.root):
        text = path.read_text("utf-8")
        name = path.relative_to(house.root)
        found += [f"{name} {match[0]}`" for match in named.finditer(text)]
    return [at_most("names of the first house", len(found), 0, found)]


def measure_circles(house: House) -> list[Count]:
    """Count circles among the modules, through imports inside functions too."""
    circles = import_graph.find_circles(import_graph.read_imports(house.root))
    listed = [" -> ".join(circle) for circle in circles]
    return [at_most("import circles", len(circles), 0, listed)]


def measure_layers(house: House) -> list[Count]:
    """Count the folders with three modules or more that no contract orders."""
    setup = configparser.ConfigParser()
    setup.read(house.root / "setup.cfg", encoding="utf-8")
    ordered = {
        container
        for section in setup.values()
        if section.get("type") == "layers"
        for container in section.get("containers", "").split()
    }
    folders = Counter(Path("sshjobs", path).parent for path in house.sources)
    bare = [
        str(folder)
        for folder, size in sorted(folders.items())
        if size > 3 and ".".join(folder.parts) not in ordered
    ]
    return [at_most("folders without layers", len(bare), 0, bare)]


def measure_named_files(house: House) -> list[Count]:
    """Count the files that the page of the architecture names and are missing."""
    page = house.root / "docs" / "explanation" / "architecture.md"
    text = page.read_text("utf-8") if page.exists() else ""
    named = sorted(set(re.findall(r"`([\w./]+(?:/|\.py|\.sh|\.awk))`", text)))
    places = (house.root, house.root / "sshjobs")
    gone = [name for name in named if not any((p / name).exists() for p in places)]
    return [at_most("files named and not there", len(gone), 0, gone)]


MEASURES: tuple[Callable[[House], list[Count]], ...] = (
    measure_words_in_names,
    measure_repeated_names,
    measure_small_helpers,
    measure_sizes,
    measure_comments,
    measure_riddles,
    measure_old_names,
    measure_circles,
    measure_layers,
    measure_named_files,
)


def main(arguments: list[str]) -> int:
    """Print each count beside its aim; return 1 if one misses it and is not open."""
    parser = argparse.ArgumentParser(prog="python -m tests.house")
    parser.add_argument("--verbose", action="store_true", help="list the offenders")
    parser.add_argument("--report", action="store_true", help="end with 0 all the same")
    parser.add_argument("--root", type=Path, default=import_graph.ROOT)
    options = parser.parse_args(arguments)
    house = read_house(options.root)
    counts = [count for measure in MEASURES for count in measure(house)]
    for count in counts:
        mark = "" if count.reached else "open" if count.name in OPEN else "missed"
        print(f"{count.name:36}{count.value:8.4g}  {count.aim:8}{mark}".rstrip())
        if options.verbose and not count.reached:
            print("".join(f"    {offender}\n" for offender in count.offenders), end="")
    missed = [c for c in counts if not c.reached and c.name not in OPEN]
    return 1 if missed and not options.report else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
