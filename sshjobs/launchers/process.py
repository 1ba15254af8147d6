"""Jobs as processes of the host itself, each with a runner; the default."""

from __future__ import annotations

from ..errors import SpecError
from ..model import Spec


class ProcessLauncher:
    """Starts jobs at once, as processes of the machine that was logged in to."""

    name = "process"
    parts: tuple[str, ...] = ()

    def check_spec(self, spec: Spec) -> None:
        """Refuse options: nothing reads them."""
        if spec.launcher_args:
            raise SpecError(
                "--launcher-args: the launcher process takes none; name one that does "
                "with --launcher (or the setting launcher)"
            )

    def build_options(self, spec: Spec) -> tuple[bytes, ...]:
        """Return no words."""
        return ()
