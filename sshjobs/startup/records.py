"""Named tuples that cost nothing to define.

``typing.NamedTuple`` is the same to those who use it. But ``typing`` brings ``re``, and
``collections.namedtuple`` compiles source text for each class: together 8 of the 40
milliseconds of processor time of a ``submit`` (CPython 3.11), in which a dozen rooms
define fifty classes. Here a class is a tuple with one property a field. Type checkers
are told that it is ``typing.NamedTuple`` (docs/decisions/0007).
"""

from __future__ import annotations

#: Type checkers take this name for true, whatever it says (PEP 484), so that what
#: stands below ``if TYPE_CHECKING:`` is imported by them and by nobody else.
TYPE_CHECKING = False

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    def make_field(place: int, doc: str, /) -> object: ...

else:
    # What collections.namedtuple takes for a field: one object of C, where a property
    # of an itemgetter is two.
    from _collections import _tuplegetter as make_field

__all__ = ["TYPE_CHECKING", "CheckedRecord", "Record"]

#: The properties of the first, second and further field of any record.
_FIELDS: list[object] = []


class _Kind(type):
    """Makes the annotations of a class body the fields of a tuple."""

    _fields: tuple[str, ...]
    _field_defaults: dict[str, object]
    _tail: tuple[object, ...]  # the defaults, which are those of the last fields

    def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> _Kind:
        fields = tuple(body.get("__annotations__", ()))
        defaults = {field: body.pop(field) for field in fields if field in body}
        body["_fields"] = body["__match_args__"] = fields
        body["_field_defaults"] = defaults
        body["_tail"] = tuple(defaults.values())
        body["__slots__"] = ()
        while len(_FIELDS) < len(fields):
            _FIELDS.append(make_field(len(_FIELDS), ""))
        body.update(zip(fields, _FIELDS))
        return super().__new__(mcs, name, bases, body)


class _Tuple(tuple[object, ...], metaclass=_Kind):
    """A tuple whose places have names; see ``typing.NamedTuple``."""

    def __new__(cls, *values: object, **named: object) -> _Tuple:
        if not named:
            left = len(cls._fields) - len(values)
            if not left:
                return tuple.__new__(cls, values)
            if 0 < left <= len(cls._tail):
                return tuple.__new__(cls, values + cls._tail[-left:])
        return tuple.__new__(cls, cls._complete(values, named))

    @classmethod
    def _complete(
        cls, values: tuple[object, ...], named: dict[str, object]
    ) -> tuple[object, ...]:
        """Return all values, those by name and the defaults among them."""
        fields, count = cls._fields, len(values)
        known = cls._field_defaults | named
        known.update(zip(fields, values))
        # As many as there are fields, each of them there: no other name is among them.
        if len(known) == len(fields) >= count:
            if all(map(known.__contains__, fields)):
                if not values or named.keys().isdisjoint(fields[:count]):
                    return tuple(map(known.__getitem__, fields))
        odd = (named.keys() & set(fields[:count])) | named.keys() - set(fields)
        missing = [field for field in fields if field not in known]
        wrong = ", ".join([*sorted(odd), *missing]) or f"{count} values"
        raise TypeError(f"{cls.__name__}: twice, unknown or missing: {wrong}")

    @classmethod
    def _make(cls, values: Iterable[object]) -> _Tuple:
        """Return a record of an iterable of all values."""
        made = tuple.__new__(cls, values)
        return made if len(made) == len(cls._fields) else cls(*made)

    def _asdict(self) -> dict[str, object]:
        """Return the values by name."""
        return dict(zip(type(self)._fields, self))

    def _replace(self, **named: object) -> _Tuple:
        """Return a record with some values replaced."""
        values, fields = list(self), type(self)._fields
        for name, value in named.items():
            if name not in fields:
                raise TypeError(f"{type(self).__name__}: unknown: {name}")
            values[fields.index(name)] = value
        return type(self)(*values)

    def __repr__(self) -> str:
        pairs = (f"{k}={v!r}" for k, v in zip(type(self)._fields, self))
        return f"{type(self).__name__}({', '.join(pairs)})"

    def __getnewargs__(self) -> tuple[object, ...]:
        return tuple(self)


class _CheckedTuple(_Tuple):
    """A record that a caller makes; its ``check_types`` refuses values of a wrong type.

    Records of which only this package makes any are not looked at.
    """

    def __new__(cls, *values: object, **named: object) -> _CheckedTuple:
        made = super().__new__(cls, *values, **named)
        assert isinstance(made, _CheckedTuple)
        made.check_types()
        return made

    @classmethod
    def _make(cls, values: Iterable[object]) -> _CheckedTuple:
        """Return a record of an iterable of all values, which are looked at too."""
        return cls(*values)

    def check_types(self) -> None:
        """Refuse values of a wrong type with a SpecError."""


if TYPE_CHECKING:
    from typing import NamedTuple as CheckedRecord
    from typing import NamedTuple as Record
else:
    Record = _Tuple
    CheckedRecord = _CheckedTuple
