"""Records are what typing.NamedTuple would be."""

from __future__ import annotations

import pickle
from typing import Any, NamedTuple

import pytest

from sshjobs.startup.records import Record

pytestmark = pytest.mark.quick


class Ours(Record):
    """A point."""

    name: str
    x: int = 0
    y: float | None = None

    def length(self) -> int:
        """Return something that methods can see."""
        return len(self.name) + self.x


class Theirs(NamedTuple):
    """The same."""

    name: str
    x: int = 0
    y: float | None = None


@pytest.mark.parametrize("kind", [Ours, Theirs])
def test_it_is_a_tuple_with_names(kind: Any) -> None:
    one = kind("a", y=2.5)
    assert one == ("a", 0, 2.5) == kind(*one) == kind._make(iter(one))
    assert (one.name, one.x, one.y) == tuple(one)
    assert kind._fields == ("name", "x", "y")
    assert one._asdict() == {"name": "a", "x": 0, "y": 2.5}
    assert one._replace(x=3) == ("a", 3, 2.5)
    assert repr(one) == f"{kind.__name__}(name='a', x=0, y=2.5)"
    assert pickle.loads(pickle.dumps(one)) == one
    assert type(pickle.loads(pickle.dumps(one))) is kind
    assert not hasattr(one, "__dict__")
    match one:
        case kind(name, x):
            assert (name, x) == ("a", 0)


@pytest.mark.parametrize("kind", [Ours, Theirs])
def test_what_does_not_fit_is_refused(kind: Any) -> None:
    with pytest.raises(TypeError):
        kind()
    with pytest.raises(TypeError):
        kind("a", 1, 2.0, 3)
    with pytest.raises(TypeError):
        kind("a", name="b")
    with pytest.raises(TypeError):
        kind("a", z=1)
    with pytest.raises(AttributeError):
        kind("a").x = 5


def test_methods_see_the_fields() -> None:
    assert Ours("abc", 2).length() == 5
