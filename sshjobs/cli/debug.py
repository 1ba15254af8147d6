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
    from collections.abc import Callable, Mapping, Sequence
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
        self._tellers: dict[str, Callable[..., None]] = {
            "open": self._tell_open,
            "os.posix_spawn": self._tell_process,
            "socket.connect": self._tell_socket,
            "sshjobs.request": self._tell_request,
            "sshjobs.reply": self._tell_reply,
        }

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take an event of PEP 578; most are of no interest."""
        if event in self._tellers:
            self._tellers[event](*arguments)

    def tell(self, text: str) -> None:
        """Write a line, whatever else is on its way to standard error."""
        line = f"sshjobs: {time.monotonic() - self._began:7.3f}  {printable(text)}\n"
        os.write(2, line.encode(errors="backslashreplace"))

    def _tell_open(self, path: object, _mode: object, flags: int) -> None:
        name = os.fsdecode(path) if isinstance(path, (str, bytes)) else ""
        if name.startswith(self._places) or name in self._named:
            if name and not name.endswith(_DULL):
                self.tell(f"{'writes' if flags & _WRITES else 'reads'} {name}")

    def _tell_process(self, _path: object, argv: Sequence[Any], _env: object) -> None:
        self.tell(f"starts {' '.join(map(os.fsdecode, argv))}")

    def _tell_socket(self, _socket: object, address: object) -> None:
        self.tell(f"connects to {address}")

    def _tell_request(self, host: str, request: Any, count: int) -> None:
        kinds = ("kills", "starts", "checks", "reaps", "logs")
        sizes = [(kind, len(getattr(request, kind, ()))) for kind in kinds]
        carried = ", ".join(f"{size} {kind}" for kind, size in sizes if size)
        self.tell(f"{host}: a round of {count} bytes: {carried or 'a question'}")

    def _tell_reply(self, host: str, count: int) -> None:
        self.tell(f"{host}: a reply of {count} bytes")
