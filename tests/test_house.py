"""The counts of the house find what they are there to find, in a small house."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import house, import_graph

_LONG = "def stretch_it():\n" + "    print()\n" * 60

_FILES = {
    "sshjobs/__init__.py": "",
    "sshjobs/locks.py": """
from sshjobs import states

# A comment.
def go():
    "Tell what is, and who."

def _help_once():
    return 1

def help_twice():
    return _help_once()
""",
    "sshjobs/states.py": "def help_twice():\n    import sshjobs.locks\nParty = 1\n",
    "sshjobs/model.py": "class Big:\n" + "    a = 1\n" * 301 + _LONG,
    "sshjobs/quiet.py": (
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import sshjobs.quiet_too\n"
    ),
    "sshjobs/quiet_too.py": "import sshjobs.quiet\n",
    "sshjobs/remote/a.sh": "# one\n" + "true\n" * 400,
    "tests/test_much.py": "\n" * 601,
    "setup.cfg": "[importlinter]\n",
    "tests/test_causes.py": "",
    "README.md": "Nobody knows what. A `Door` is none.\n",
    "CHANGELOG.md": "`Door` is gone.\n",
}


@pytest.fixture
def counts(tmp_path: Path) -> dict[str, house.Count]:
    for name, text in _FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    small = house.read_house(tmp_path)
    return {c.name: c for measure in house.MEASURES for c in measure(small)}


@pytest.mark.parametrize(
    "name, value, offender",
    [
        ("one-word names of functions, %", 20, "locks.py:5 go"),
        ("names in two modules or more", 1, "help_twice: locks.py, states.py"),
        ("private helpers with one caller", 1, "locks.py:8 _help_once"),
        ("largest class", 302, "302 model.py Big"),
        ("largest function", 61, "61 model.py stretch_it"),
        ("largest part of the hosts' program", 401, "401 remote/a.sh"),
        ("largest module of tests", 601, "601 test_much.py"),
        ("names of the first house", 3, "states.py:3 Party"),
        ("names of the first house", 3, "tests/test_causes.py"),
        ("names of the first house", 3, "README.md `Door`"),
        ("import circles", 1, "sshjobs.locks -> sshjobs.states"),
        ("folders without layers", 1, "sshjobs"),
    ],
)
def test_an_offender_is_found(
    counts: dict[str, house.Count], name: str, value: float, offender: str
) -> None:
    assert counts[name].value == value
    assert offender in counts[name].offenders


def test_each_what_and_who_is_counted(counts: dict[str, house.Count]) -> None:
    found = counts['"what", "who" per 1,000 words'].offenders
    assert [each.partition(":")[0] for each in found] == [
        "sshjobs/locks.py",
        "sshjobs/locks.py",
        "README.md",
    ]


def test_comments_are_counted_where_processes_race(
    counts: dict[str, house.Count],
) -> None:
    lines = _FILES["sshjobs/locks.py"].count("\n")
    assert counts["comments per 100 lines, races"].value == 100 / lines
    assert not counts["comments per 100 lines, remote/"].reached


def test_the_graph_has_the_modules_of_a_package() -> None:
    graph = import_graph.read_imports()
    assert graph["sshjobs.__main__"] == {
        "sshjobs.cli.main",
        "sshjobs.startup.finder",
    }
    assert "sshjobs.transports.openssh" in graph or "sshjobs.transports" in graph


def test_rooms_stand_above_all_that_they_import() -> None:
    rooms = import_graph.read_rooms(import_graph.read_imports())
    rows = import_graph.order_rows(rooms)
    floor = {room: number for number, row in enumerate(rows) for room in row}
    assert floor.keys() == rooms.keys()
    for room, targets in rooms.items():
        assert all(floor[room] < floor[target] for target in targets)


def test_an_arrow_that_others_imply_is_left_out() -> None:
    rooms: dict[str, set[str]] = {"a": {"b", "c"}, "b": {"c"}, "c": set()}
    assert import_graph.leave_out_implied(rooms) == {"a": {"b"}, "b": {"c"}, "c": set()}


def test_rooms_in_a_circle_stand_nowhere() -> None:
    with pytest.raises(ValueError, match="circle"):
        import_graph.order_rows({"a": {"b"}, "b": {"a"}})


def test_each_open_count_is_one_that_is_printed() -> None:
    printed = house.read_house(import_graph.ROOT)
    names = {c.name for measure in house.MEASURES for c in measure(printed)}
    assert house.OPEN < names


def test_a_count_that_misses_its_aim_fails_unless_it_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in _FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    where = ["--root", str(tmp_path)]
    assert house.main(where) == 1
    assert "missed" in capsys.readouterr().out
    assert house.main([*where, "--report"]) == 0
    small = house.read_house(tmp_path)
    names = {c.name for measure in house.MEASURES for c in measure(small)}
    monkeypatch.setattr(house, "OPEN", frozenset(names))
    assert house.main(where) == 0
