"""``local``: this machine, without ssh."""

from __future__ import annotations

from ..errors import CommandTimeout, HostUnreachable, find_hint
from .base import Completed, Sink, Stdin, StdoutTaker
from .env import build_plain_env, read_home
from .identity.identity import Identity
from .process import Child, spawn_program
from .pump import Pump, Silence


class Local:
    """Runs each command in a session of its own, as a login would: bare, at home."""

    name = "local"

    def __init__(self, identity: Identity) -> None:
        self._host = identity.host

    def __repr__(self) -> str:
        return "<Local>"

    def run(
        self,
        script: str,
        *,
        stdin: Stdin,
        timeout: float,
        sink: Sink,
        into: StdoutTaker | None = None,
        keep_stdin_open: bool = False,
    ) -> Completed:
        """Run one command line under ``sh``; see :class:`~.base.Transport`."""
        pump = Pump(stdin, sink, timeout, into=into, keep_stdin_open=keep_stdin_open)
        child = None
        try:
            argv = ("/bin/sh", "-c", script)
            try:
                pid = spawn_program(
                    argv, build_plain_env(), pump.theirs, cwd=read_home()
                )
            except OSError as error:
                raise HostUnreachable(
                    self._host, f"/bin/sh cannot be started: {error.strerror}"
                ) from error
            child = Child(pid)
            pump.close_handed_ends()
            pump.run(child.fd, child.poll)
        except Silence as error:
            codes = ("session:may go on", "round:setting", "session:again")
            raise CommandTimeout(
                self._host,
                f"nothing came from sh for {timeout:g} s",
                find_hint(*codes, name="command_timeout"),
            ) from error
        finally:
            pump.close()
            if child is not None:
                child.close()
        status = child.status
        ended = None if status is None or status < 0 else status
        return Completed(ended, pump.stderr, pump.stdout_bytes)

    def close(self) -> None:
        """Give back nothing: nothing is held."""
