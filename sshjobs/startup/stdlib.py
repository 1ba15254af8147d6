"""The C halves of ``signal``, ``socket`` and ``sqlite3``, which have all that is used.

What the modules of those names add is mostly four hundred constants as members of
enumerations, and ``datetime``: 3.8 of the 30 milliseconds of processor time of a
``submit`` (CPython 3.11). An interpreter without such halves takes the whole modules.
"""

from __future__ import annotations

from .records import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    import socket
    import sqlite3
else:
    try:
        import _signal as signal
        import _socket as socket
        import _sqlite3 as sqlite3
    except ImportError:
        import signal
        import socket
        import sqlite3

__all__ = ["signal", "socket", "sqlite3"]
