"""Launchers: how a host starts, sees and ends jobs.

Theory of operation: a launcher has two halves. The one here is pure: its name, the
parts of ``remote/`` that a request carries for its jobs, the check of a spec, and the
options that a job gives to it. The one on the host stands in ``remote/launch/`` and has
five functions, each for many jobs at once, so that a round stays a constant number of
processes:

* ``probe``: can this host do it; for ``hello`` and for ``sshjobs doctor``;
* ``start``: hand over jobs whose directories are whole;
* ``find``: the handles of jobs whose start was cut short, by their names;
* ``look``: id and handle to queued, running, ended or unknown, with reason and node;
* ``stop``: end what it has of jobs that are marked as cancelled.

Whichever starts a job, its runner claims it, so that it runs once.
"""

from __future__ import annotations

from ..errors import SpecError
from ..model import LAUNCHERS, Spec
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Protocol

    class Launcher(Protocol):
        """The client's half of a launcher."""

        name: str
        #: Groups of ``remote/`` that a request carries for its jobs, see program.py.
        parts: tuple[str, ...]

        def check_spec(self, spec: Spec) -> None:
            """Raise a SpecError for a job that it cannot start."""

        def build_options(self, spec: Spec) -> tuple[bytes, ...]:
            """Return the words that a job gives to the command that starts it."""


def find_launcher(name: str) -> Launcher:
    """Return the launcher of that name; "" is ``process``.

    Raises:
        SpecError: there is none.
    """
    if name in ("", "process"):
        from .process import ProcessLauncher

        return ProcessLauncher()
    if name == "slurm":
        from .slurm import SlurmLauncher

        return SlurmLauncher()
    raise SpecError(f"{name!r} is not one of {', '.join(LAUNCHERS)}")
