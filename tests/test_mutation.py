"""The tool of ``inv mutate``: which mutants it makes, and what it tells of them."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutation.modules import OWN_TESTS, find_modules
from tests.mutation.operators import make_mutants

ROOT = Path(__file__).parent.parent

SAMPLE = '''
"""A text."""
LIMIT = 3


def choose(value, most=LIMIT):
    if value > most:
        raise ValueError(f"{value[:9]} is more than {most}")
    return value


def wait():
    while True:
        break
'''
SAMPLE_TESTS = """
import pytest, sample

def test_small_values_are_chosen():
    assert sample.choose(2) == 2 and sample.choose(3) == 3

def test_it_ends():
    sample.wait()
"""


VERDICTS = ("killed", "survived", "timeout")


def list_changes(text: str) -> list[tuple[str, str]]:
    """Return the mutants of a text as they are shown."""
    return [(one.before, one.after) for one in make_mutants(ast.parse(text))]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("code", "changed"),
    [
        ("a == b", ["a != b"]),
        ("a < b", ["a >= b", "a <= b"]),
        ("n >= 0", ["n < 0", "n > 0", "n >= -1"]),
        ("a is None", ["a is not None"]),
        ("a in b", ["a not in b"]),
        ("a and b", ["a or b"]),
        ("not a", ["a"]),
        ("a if b else c", ["a if not b else c"]),
        ("a + b", ["a - b"]),
        ("a % 2", ["a * 2", "a % 3", "a % 1"]),
        ("-a", ["a"]),
        ("True", ["False"]),
        ("[x for x in y if x]", ["[x for x in y if not x]"]),
        ("a[:b]", ["a[:b + 1]", "a[:b - 1]"]),
        ("a[1:]", ["a[2:]", "a[0:]"]),
        ("a[-1:]", ["a[1:]", "a[-2:]", "a[-0:]"]),
        ("'%s' % a + 'text'", []),
        ("f'{a and b}'", ["f'{a or b}'"]),
    ],
)
def test_each_kind_of_expression_has_its_mutants(code: str, changed: list[str]) -> None:
    assert list_changes(code) == [(code, one) for one in changed]


@pytest.mark.quick
@pytest.mark.parametrize(
    ("body", "changed"),
    [
        ("a = b", ["pass"]),
        ("a += b", ["pass", "a -= b"]),
        ("call()", ["pass"]),
        ("del a", ["pass"]),
        ("return a", ["return None"]),
        ("return", []),
        ("return False", ["return True"]),
        ("raise ValueError(f'{a[1:]}')", ["pass"]),
        ("assert a > 1", []),
        ("logging.info('a', 1)", []),
        ("a: int", []),
        ("'a text'", []),
    ],
)
def test_each_kind_of_statement_has_its_mutants(body: str, changed: list[str]) -> None:
    made = list_changes(f"def f():\n    {body}")
    assert made == [(body, one) for one in changed]


@pytest.mark.quick
def test_loops_conditions_and_defaults_are_changed() -> None:
    made = list_changes("def f(a, b=1, *, c=x):\n    while a:\n        break")
    assert [after for _, after in made] == [
        "def f(a, b, *, c=x):",
        "def f(a, b=1, *, c):",
        "def f(a, b=2, *, c=x):",
        "def f(a, b=0, *, c=x):",
        "while not a:",
        "continue",
    ]


@pytest.mark.quick
def test_what_an_inner_function_binds_anew_is_not_taken_away() -> None:
    """Without it ``nonlocal`` is no program; within, it may go."""
    text = "def f(a):\n b = a\n def g():\n  nonlocal b\n  b = a\n return g"
    assert list_changes(text) == [("b = a", "pass"), ("return g", "return None")]


@pytest.mark.quick
def test_the_half_of_the_type_checker_is_left_alone() -> None:
    text = "if TYPE_CHECKING:\n    a = 1\nelse:\n    a: List[1] = 2"
    assert [after for _, after in list_changes(text)] == [
        "a: List[1] = 3",
        "a: List[1] = 1",
    ]


@pytest.mark.quick
def test_a_mutant_says_where_it_is_and_can_be_taken_back() -> None:
    tree = ast.parse("class A:\n    def f(self):\n        return 1 < 2")
    whole = ast.unparse(tree)
    mutants = make_mutants(tree)
    assert {(one.line, one.scope, one.span) for one in mutants} == {(3, "A.f", (3, 3))}
    back = mutants[0].edit.swap()
    assert ast.unparse(tree) != whole
    back.swap()
    assert ast.unparse(tree) == whole


def test_the_tool_tells_killed_from_surviving_mutants(tmp_path: Path) -> None:
    sample = tmp_path / "sample.py"
    sample.write_text(SAMPLE)
    (tmp_path / "test_sample.py").write_text(SAMPLE_TESTS)
    words = ["--file", "sample.py", "--tests", "test_sample.py", "--verbose"]
    ran = subprocess.run(
        [sys.executable, "-m", "tests.mutation", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 1, ran.stdout + ran.stderr
    told = [
        line.partition("  by ")[0].split(maxsplit=2) for line in ran.stdout.splitlines()
    ]
    assert {(one[0], one[2]) for one in told if one and one[0] in VERDICTS} == {
        ("survived", "LIMIT = 4"),
        ("killed", "LIMIT = 2"),
        ("killed", "def choose(value, most):"),
        ("killed", "if value <= most:"),
        ("killed", "if value >= most:"),
        ("survived", "pass"),
        ("killed", "return None"),
        ("survived", "while False:"),
        ("timeout", "continue"),
    }
    assert "sample.py:8 choose\n-   raise ValueError" in ran.stdout
    assert "fewer than 90 % were noticed" in ran.stdout
    assert sample.read_text() == SAMPLE


@pytest.mark.quick
def test_each_module_of_the_table_and_its_tests_are_there() -> None:
    for name, tests in OWN_TESTS.items():
        assert (ROOT / "sshjobs" / f"{name.replace('.', '/')}.py").is_file()
        assert tests and all((ROOT / "tests" / test).is_file() for test in tests)


@pytest.mark.quick
def test_a_module_is_found_by_its_name_its_path_or_its_room() -> None:
    assert find_modules(["reply"]) == ["protocol.reply"]
    assert find_modules(["sshjobs/protocol/reply.py"]) == ["protocol.reply"]
    assert "protocol.frames" in find_modules(["protocol"])
    assert find_modules([]) == list(OWN_TESTS)
    with pytest.raises(LookupError):
        find_modules(["prot"])
