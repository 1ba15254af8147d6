"""What a job waits for, as words of a spec: other jobs, and room in a scheduler.

A word is ``after=ID:ok``, ``after=ID:any`` or ``room=wait``. Words of a scheduler's job
stand before its options, of which none begins so: each option begins with a dash.
"""

from __future__ import annotations

from ..errors import SpecError
from ..model import LIMIT, Spec, is_job_id
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Each of them is looked at whenever a job ends there.
_MOST_AFTER = 100

#: How another job must end for this one to begin.
CONDITIONS = ("ok", "any")

_WORD = b"after="

#: A host cannot keep jobs of these launchers waiting; this machine's record does.
HELD_HERE = ("systemd",)

#: Wait where the scheduler takes no more jobs of its user (``--wait-room``).
ROOM = b"room=wait"


def read_after(spec: Spec) -> list[tuple[str, str]]:
    """Return the jobs that come before it: (id, how they must end)."""
    words = spec.launcher_args
    if spec.launcher != LIMIT:
        words = words[: count_own(spec)]
    found = (word for word in words if word.startswith(_WORD))
    texts = [word[len(_WORD) :].decode("ascii", "replace") for word in found]
    return [(text.split(":")[0], text.split(":")[-1]) for text in texts]


def split_after(spec: Spec) -> tuple[Spec, list[str]]:
    """Return a spec without its jobs that come before it, and these: ID:ok, ID:any."""
    own = len(spec.launcher_args) if spec.launcher == LIMIT else count_own(spec)
    args = [word for word in spec.launcher_args[:own] if not word.startswith(_WORD)]
    words = [f"{job_id}:{how}" for job_id, how in read_after(spec)]
    return spec._replace(launcher_args=(*args, *spec.launcher_args[own:])), words


def add_after(spec: Spec, words: Sequence[str]) -> Spec:
    """Return a spec with more jobs that come before it."""
    args = tuple(_WORD + word.encode("ascii", "replace") for word in words)
    return spec._replace(launcher_args=args + spec.launcher_args)


def count_own(spec: Spec) -> int:
    """Return how many words at the front are ours, and no options."""
    words = enumerate(spec.launcher_args)
    others = (place for place, word in words if not word.startswith((_WORD, ROOM)))
    return next(others, len(spec.launcher_args))


def check_after(spec: Spec) -> None:
    """Refuse words that name no jobs, or too many.

    Raises:
        SpecError: the message names the flag.
    """
    after = read_after(spec)
    if len(after) > _MOST_AFTER:
        raise SpecError(f"--after: {len(after)} jobs; the most is {_MOST_AFTER}")
    if not all(is_job_id(job_id) and how in CONDITIONS for job_id, how in after):
        raise SpecError(f"--after: not jobs of ours: {after!r:.60}")


def build_lines(spec: Spec) -> bytes:
    """Return the lines of a job's ``handle`` on what it waits for; b"" if none."""
    words = " ".join(f"{job_id}:{how}" for job_id, how in read_after(spec))
    lines = b"\nafter=" + words.encode("ascii") if words else b""
    has_room = spec.launcher != LIMIT and ROOM in spec.launcher_args[: count_own(spec)]
    return lines + b"\n" + ROOM if has_room else lines
