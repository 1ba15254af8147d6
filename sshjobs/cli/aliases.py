"""Words of other tools in the place of a verb, and the verbs that they mean."""

from __future__ import annotations

from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

ALIASES = {
    "ps": "status",
    "ls": "list",
    "cancel": "kill",
    "rm": "reap",
    "stat": "show",
}


def read_alias(words: list[str]) -> list[str]:
    """Return the words of a call with a verb of ours in the place of an alias.

    Without any word it is a status, and so is ``stat`` alone. ``rm`` alone would mean
    all jobs: it is a call for help.
    """
    first, rest = (words or ["ps"])[0], words[1:]
    if not rest and first == "stat":
        return ["status"]
    if not rest and first == "rm":
        return ["reap", "--help"]
    return [ALIASES.get(first, first), *rest]


def suggest(word: str, known: Iterable[str]) -> str:
    """Return a question that names the known word that is most like one, or ""."""
    import difflib

    near = difflib.get_close_matches(word, list(known), 1)
    return f" (did you mean {near[0]}?)" if near else ""
