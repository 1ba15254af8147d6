"""The steps of a verb, told on standard error: ``-v`` and SSHJOBS_DEBUG=1.

The interpreter announces processes, sockets and files (PEP 578), and a round announces
its request and its reply in the same way. As a rule nobody listens, and it costs
nothing.
"""

from __future__ import annotations

import os
import sys
import time

from ..model import printable
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: Files of the interpreter are no part of the story.
_DULL = (".py", ".pyc", ".pth", ".so")

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def tell_steps(home: str, environ: Mapping[str, str]) -> None:
    """Have each step of this process told from now on, until it ends."""
    teller = _Teller(home, environ)
    teller.tell(f"record in {home}")
    sys.addaudithook(teller.hear)


class _Teller:
    """Writes a line for each step, with the seconds since the first.

    Args:
        home: The directory of the record; files that are opened there are told.
        environ: Its variables name other files that are told.
    """

    def __init__(self, home: str, environ: Mapping[str, str]) -> None:
        self._began = time.monotonic()
        self._places = (home, os.path.expanduser("~/.ssh"), "/etc/ssh")
        self._named = [
            environ.get(name) for name in ("SSHJOBS_CONFIG", "SSHJOBS_SSH_CONFIG")
        ]

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take an event of PEP 578; most are of no interest."""
        if event == "open":
            path, _mode, flags = arguments
            name = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
            is_told = name.startswith(self._places) or name in self._named
            if name and is_told and not name.endswith(_DULL):
                self.tell(f"{'writes' if flags & _WRITES else 'reads'} {name}")
        elif event in _SENTENCES:
            self.tell(_SENTENCES[event](*arguments))

    def tell(self, text: str) -> None:
        """Write a line, whatever else is on its way to standard error."""
        line = f"sshjobs: {time.monotonic() - self._began:7.3f}  {printable(text)}\n"
        os.write(2, line.encode(errors="backslashreplace"))


def _describe_request(host: str, request: Any, count: int) -> str:
    kinds = ("kills", "starts", "checks", "reaps", "logs")
    sizes = [(kind, len(getattr(request, kind, ()))) for kind in kinds]
    carried = ", ".join(f"{size} {kind}" for kind, size in sizes if size)
    return f"{host}: a round of {count} bytes: {carried or 'a question'}"


#: The line of an event, from its arguments.
_SENTENCES: dict[str, Callable[..., str]] = {
    "os.posix_spawn": lambda _, argv, __: f"starts {' '.join(map(os.fsdecode, argv))}",
    "socket.connect": lambda _, address: f"connects to {address}",
    "sshjobs.request": _describe_request,
    "sshjobs.reply": lambda host, count: f"{host}: a reply of {count} bytes",
}
