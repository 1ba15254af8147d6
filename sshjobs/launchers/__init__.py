"""Launchers: how a host starts, sees and ends jobs.

Theory of operation: a launcher has two halves. The one here is pure: its name, the
parts of ``remote/`` that a request carries for its jobs, the check of a spec, and the
options that a job gives to it. The one on the host stands in ``remote/launch/``, where
``queue.sh`` does what all schedulers share by the functions that each of them has:

* ``probe`` and ``examine``: can this host do it, for a start and for ``doctor``;
* ``submit``, ``find`` and ``refuses``: hand over a job, and read what came of that;
* ``look``: one question for all jobs, which are queued, running, ended or unknown;
* ``recall``: what accounts say of jobs that it has no more;
* ``cancel``: end what it has of a job, by its name.

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
    if name == "sge":
        from .sge import SgeLauncher

        return SgeLauncher()
    if name == "systemd":
        from .systemd import SystemdLauncher

        return SystemdLauncher()
    if name == "limit":
        from .limit import LimitLauncher

        return LimitLauncher()
    if name == "pbs":
        from .pbs import PbsLauncher

        return PbsLauncher()
    if name == "lsf":
        from .lsf import LsfLauncher

        return LsfLauncher()
    raise SpecError(f"{name!r} is not one of {', '.join(LAUNCHERS)}")
