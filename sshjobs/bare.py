"""The C halves of ``signal`` and ``socket``, which have all that is used here.

What the modules of those names add is mostly four hundred constants as members of
enumerations: 2.6 of the 30 milliseconds of processor time of a ``submit`` (CPython
3.11). An interpreter that has no such halves takes the whole modules.
"""

from __future__ import annotations

from .record import TYPE_CHECKING

if TYPE_CHECKING:
    import signal
    import socket
else:
    try:
        import _signal as signal
        import _socket as socket
    except ImportError:
        import signal
        import socket

__all__ = ["signal", "socket"]
