"""The C halves of ``signal``, ``socket`` and ``sqlite3``, which have all that is used.

What the modules of those names add is mostly four hundred constants as members of
enumerations, and ``datetime``: 3.8 of the 30 milliseconds of processor time of a
``submit`` (CPython 3.11). An interpreter without such halves takes the whole modules.
"""

from __future__ import annotations

import sys

from .records import TYPE_CHECKING


def import_without_functools(name: str) -> object:
    """Import an extension that wants ``lru_cache`` as it is loaded, and no more.

    ``functools`` brings ``collections``: a sixth of the instructions of a ``poll``.
    ``_sqlite3`` of CPython 3.10 to 3.14 takes ``lru_cache`` out of it as it is loaded
    (module.c, load_functools_lru_cache), for its cache of statements, and calls it as
    ``lru_cache(size)(function)``. So it is shown a module that has that one name. If
    that is not what it wants, it is imported in the ordinary way.
    """
    if "functools" not in sys.modules:
        try:
            cached = __import__("_functools")._lru_cache_wrapper
            shown = type(sys)("functools")
            vars(shown)["lru_cache"] = lambda size: (
                lambda function: cached(function, size, False, tuple)
            )
            sys.modules["functools"] = shown
            return __import__(name)
        except (ImportError, AttributeError):
            sys.modules.pop(name, None)
        finally:
            sys.modules.pop("functools", None)
    return __import__(name)


if TYPE_CHECKING:
    import signal
    import socket
    import sqlite3
else:
    try:
        import _signal as signal
        import _socket as socket

        sqlite3 = import_without_functools("_sqlite3")
    except ImportError:
        import signal
        import socket
        import sqlite3

__all__ = ["signal", "socket", "sqlite3"]
