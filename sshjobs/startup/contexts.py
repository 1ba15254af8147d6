"""The few names of ``contextlib`` that are used here, without what it imports.

``contextlib`` brings ``collections`` and ``functools``, for decorators and exit stacks
that no verb has. Type checkers are told that these are its own (docs/decisions/0007).
"""

from __future__ import annotations

from .records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import TracebackType
    from typing import Any


class ManagedGenerator:
    """A generator as a context: up to its ``yield``, and from there on."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Generator[object, None, None]) -> None:
        self._steps = steps

    def __enter__(self) -> object:
        for value in self._steps:
            return value
        raise RuntimeError("the generator did not yield")

    def __exit__(
        self, kind: object, error: BaseException, trace: TracebackType | None
    ) -> bool:
        if kind is None:
            for _ in self._steps:
                raise RuntimeError("the generator yielded twice")
            return False
        try:
            self._steps.throw(error)
        except StopIteration as end:
            return end is not error  # its own: it has dealt with the error
        except BaseException as raised:
            if raised is not error and not is_wrapped_stop(raised, error):
                raise
            # What the body raised comes out of the ``with`` as it was.
            error.__traceback__ = trace
            return False
        raise RuntimeError("the generator went on after an error")


def is_wrapped_stop(raised: BaseException, error: BaseException) -> bool:
    """Tell whether ``raised`` is but a StopIteration of the body.

    A generator lets none through, and raises a RuntimeError of it (PEP 479).
    """
    return (
        isinstance(error, StopIteration)
        and isinstance(raised, RuntimeError)
        and raised.__cause__ is error
    )


def manage_generator(function: Callable[..., Any]) -> Callable[..., ManagedGenerator]:
    """Make a context of a generator function, see :func:`contextlib.contextmanager`."""

    def manage(*args: object, **named: object) -> ManagedGenerator:
        return ManagedGenerator(function(*args, **named))

    for name in ("__doc__", "__name__", "__qualname__", "__module__"):
        setattr(manage, name, getattr(function, name))
    vars(manage)["__wrapped__"] = function
    return manage


class ValueContext:
    """Hand something out, and do nothing with it at the end."""

    __slots__ = ("_thing",)

    def __init__(self, thing: Any = None) -> None:
        self._thing = thing

    def __enter__(self) -> Any:
        return self._thing

    def __exit__(self, *_: object) -> None:
        return None


class ClosingContext(ValueContext):
    """Hand something out, and close it at the end."""

    __slots__ = ()

    def __exit__(self, *_: object) -> None:
        self._thing.close()


class SuppressingContext:
    """Let errors of some kinds pass."""

    __slots__ = ("_kinds",)

    def __init__(self, *kinds: type[BaseException]) -> None:
        self._kinds = kinds

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        return kind is not None and issubclass(kind, self._kinds)


if TYPE_CHECKING:
    from contextlib import closing, contextmanager, nullcontext, suppress
else:
    closing, contextmanager = ClosingContext, manage_generator
    nullcontext, suppress = ValueContext, SuppressingContext

__all__ = ["closing", "contextmanager", "nullcontext", "suppress"]
