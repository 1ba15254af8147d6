"""Options that a job gives to the command of its scheduler: known ones, no others.

Slurm's are read by :mod:`.slurm`, since they may be shortened. The limit of a job is
told to every scheduler.
"""

from __future__ import annotations

from ..errors import SpecError
from ..model import Spec
from .before import check_after, count_own, read_after

#: The limit of a job (--timeout) is kept by its runner. That of its scheduler comes
#: after it, so that the queue knows how long the job may take.
_SPARE_SECONDS = 60.0


class Options:
    """The options of one command.

    Args:
        command: Its name, for messages.
        takes: How many words follow an option, by its name.
        refused: What to do in the place of an option, by its name.
        orders: Beginnings of words that have a job wait for others, which ``--after``
            does.
        attached: Options are a letter, and a value may stand in the same word, as
            in ``-qlong``.
    """

    def __init__(
        self,
        command: str,
        takes: dict[str, int],
        refused: dict[str, str],
        *,
        orders: tuple[str, ...] = (),
        attached: bool = False,
    ) -> None:
        self.command = command
        self.orders = orders
        self.takes = takes
        self.refused = refused
        self.attached = attached

    def __repr__(self) -> str:
        return f"<Options of {self.command}>"

    def check(self, spec: Spec) -> None:
        """Raise unless each word of a job is a known option, or the value of one.

        Raises:
            SpecError: the message names the word, and what to do in its place.
        """
        check_after(spec)
        is_after = bool(read_after(spec))
        values = 0
        for word in take_options(spec):
            text = word.decode("utf-8", "replace")
            if is_after and text.startswith(self.orders):
                raise self._explain(text, "does not go with --after")
            if not text.isprintable() or not text:
                raise self._explain(text, f"is not an option of {self.command}")
            values = values - 1 if values else self._count_values(text)
        if values:
            raise self._explain(text, "lacks its value")

    def _count_values(self, text: str) -> int:
        """Return how many words after an option are its own."""
        name, equals, _ = text.partition("=")
        if self.attached:
            name, equals = text[:2], text[2:]
        if name in self.refused:
            raise self._explain(text, f"is refused: {self.refused[name]}")
        if name not in self.takes or not text.startswith("-"):
            known = " ".join(sorted(self.takes))
            raise self._explain(text, f"is none of {self.command}'s that fit: {known}")
        return 0 if equals else self.takes[name]

    @staticmethod
    def _explain(text: str, why: str) -> SpecError:
        return SpecError(f"--launcher-args: {text!a:.100} {why}")


def take_options(spec: Spec) -> tuple[bytes, ...]:
    """Return the words of a job that its scheduler is given."""
    return spec.launcher_args[count_own(spec) :]


def measure_limit(spec: Spec, unit: int = 1) -> int | None:
    """Return the limit that a job has in its scheduler; None for a job without one.

    Args:
        unit: Seconds in which the scheduler counts; a part of one counts as a whole.
    """
    if spec.timeout is None:
        return None
    return -int(-(spec.timeout + spec.kill_grace + _SPARE_SECONDS) // unit)
