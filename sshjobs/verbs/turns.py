"""Words of a spec for what starts its job: options, limits, and other jobs."""

from __future__ import annotations

import os
import shlex

from ..errors import SpecError
from ..launchers.before import CONDITIONS, ROOM
from ..launchers.limit import check_group, check_limit, check_priority
from ..model import LIMIT, TURN_WORDS, Spec
from ..startup.records import TYPE_CHECKING
from ..states import COMPLETED, FINAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from ..settings import Settings
    from .context import Context


def split_launcher_args(
    launcher: object, given: str | None, settings: Settings
) -> tuple[bytes, ...]:
    """Return the options for the launcher; those of the call follow the setting's."""
    own = settings.launcher_args if launcher in (None, "", settings.launcher) else ""
    try:
        words = [word for text in (own, given or "") for word in shlex.split(text)]
    except ValueError as error:
        text = f"--launcher-args: {error}: {given!r:.60}"
        raise SpecError(text) from error
    return tuple(os.fsencode(word) for word in words)


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
        if options.get(name) not in (None, "", (), []) and options[name] is not False
    }
    after = tuple(
        f"after={word}".encode("utf-8", "replace") for word in wanted.get("after", ())
    )
    if spec.launcher:
        return wait_in_queue(spec, wanted, after) if wanted else spec
    if "wait_room" in wanted:
        raise SpecError(
            "--wait-room: goes with a scheduler that has a queue (--launcher); jobs of "
            "the host itself wait with --at-most"
        )
    if spec.launcher_args:
        return spec  # its launcher refuses them
    words = []
    group = check_group(wanted.get("group", ""))
    if group:
        words.append(f"group={group}")
    if "at_most" in wanted:
        words.append(f"limit={check_limit(wanted['at_most'], '--at-most')}")
    if "priority" in wanted:
        words.append(f"priority={check_priority(wanted['priority'])}")
    args = tuple(word.encode("utf-8", "replace") for word in words)
    return spec._replace(launcher=LIMIT, launcher_args=after + args)


def wait_in_queue(
    spec: Spec, wanted: Mapping[str, Any], after: tuple[bytes, ...]
) -> Spec:
    """Return the spec of a job whose scheduler is to keep it waiting.

    Raises:
        SpecError: the limit of a host is for its own processes.
    """
    own = ("after",) if spec.launcher == "systemd" else ("after", "wait_room")
    refused = wanted.keys() - {*own}
    if refused:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in sorted(refused))
        raise SpecError(
            f"{flags}: {spec.launcher} has a queue of its own: say it with "
            "--launcher-args"
        )
    room = (ROOM,) if "wait_room" in wanted else ()
    return spec._replace(launcher_args=after + room + spec.launcher_args)


def find_before(
    ctx: Context, host: str, words: Iterable[str], batch: Mapping[str, str]
) -> list[str]:
    """Return the jobs that ``--after`` names, as ID:ok or ID:any, each once.

    A job that is known to have ended as it was to is left out: the host may have
    forgotten it.

    Args:
        batch: The ids of jobs that are submitted with it, by name.

    Raises:
        JobNotFound: a word means no job of this machine's record, or several.
    """
    from .selection import find_job

    found = {}
    for word in words:
        text, how = split_condition(word)
        if text in batch:
            found[batch[text]] = f"{batch[text]}:{how}"
            continue
        job = find_job(ctx, text, host if text.startswith("key:") else None)
        met = (COMPLETED,) if how == "ok" else FINAL
        if job.state not in met:
            found[job.id] = f"{job.id}:{how}"
    return list(found.values())


def split_condition(word: str) -> tuple[str, str]:
    """Return the job that a word of ``--after`` names, and how it must end."""
    text, colon, how = word.rpartition(":")
    return (
        (text, how) if how in CONDITIONS and text not in ("", "key") else (word, "ok")
    )


def name_batch(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a call, whose jobs are a group of their own if unnamed."""
    named = dict(values)
    if named.get("at_most") is not None and not named.get("group"):
        from ..model import new_job_id

        named["group"] = f"batch-{new_job_id()}"
    return named
