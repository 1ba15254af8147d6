"""Jobs that wait their turn: the limits of a call, as words of a spec."""

from __future__ import annotations

from ..errors import SpecError
from ..launchers.limit import check_group, check_limit, check_priority
from ..model import LIMIT, TURN_WORDS, Spec
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def build_turn(spec: Spec, options: Mapping[str, Any]) -> Spec:
    """Return the spec of a job that its host starts once there is room.

    Args:
        spec: That of the job itself.
        options: Those of the call, by name; others than the words of a turn may be
            among them.

    Raises:
        SpecError: a value is wrong, or its launcher has a queue of its own.
    """
    wanted = {
        name: options[name]
        for name in TURN_WORDS
        if options.get(name) not in (None, "")
    }
    if spec.launcher:
        if not wanted:
            return spec  # the limit of a host is for its own processes
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in wanted)
        raise SpecError(
            f"{flags}: {spec.launcher} has a queue of its own: say it with "
            "--launcher-args"
        )
    if spec.launcher_args:
        return spec  # which its launcher refuses
    words = []
    group = check_group(wanted.get("group", ""))
    if group:
        words.append(f"group={group}")
    if "at_most" in wanted:
        words.append(f"limit={check_limit(wanted['at_most'], '--at-most')}")
    if "priority" in wanted:
        words.append(f"priority={check_priority(wanted['priority'])}")
    args = tuple(word.encode("ascii") for word in words)
    return spec._replace(launcher=LIMIT, launcher_args=args)


def name_batch(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a call, whose jobs are a group of their own if unnamed."""
    named = dict(values)
    if named.get("at_most") is not None and not named.get("group"):
        from ..model import new_job_id

        named["group"] = f"batch-{new_job_id()}"
    return named
