"""Reads the words of ``sshjobs ssh``, as ssh itself reads them.

rsync, git, scp and Ansible write these command lines. Options that say where the host
is choose the connection; the others are for the one session (ssh(1), ssh.c main(), 9.2:
options may follow the host, up to the command).
"""

from __future__ import annotations

from ..errors import SpecError
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

#: Letters of ssh that take a value (getopt string of ssh.c, 10.0).
_WITH_VALUE = frozenset("BDEFIJLOPQRSWbceilmopw")

#: These choose the host, as on every verb; the last of one counts here, but for -i, -o.
_PLACE = frozenset("plJF")

#: They would make a connection, or use one, beside the one that all share.
_NOT_OURS = {
    "M": "sshjobs is the master of the connection",
    "S": "sshjobs names the socket",
    "O": "sshjobs hosts and sshjobs disconnect see to the connection",
}

#: Options (``-o``) that say where the host is and how to get in.
_PLACE_OPTIONS = frozenset(
    "user port hostname proxyjump identityfile identitiesonly identityagent "
    "certificatefile hostkeyalias userknownhostsfile addressfamily bindaddress".split()
)


def read_ride(words: Sequence[str]) -> dict[str, Any]:
    """Return the values of ``sshjobs ssh``, ``options`` for the session among them."""
    values: dict[str, Any] = {
        "host": "",
        "command": [],
        "options": [],
        "i": [],
        "o": [],
    }
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--" or not word.startswith("-") or word == "-":
            if values["host"]:
                values["command"] = ([] if word == "--" else [word]) + left
                break
            if word == "--":
                word, *left = left or [""]
                values["host"] = word
                values["command"] = left
                break
            values["host"] = word
        else:
            _read_letters(word, left, values)
    if not values["host"]:
        raise SpecError(
            "sshjobs ssh: HOST is missing. To see how it is used:\nsshjobs ssh --help"
        )
    return values


def _read_letters(word: str, left: list[str], values: dict[str, Any]) -> None:
    """Read one word of options, ``-4vp22`` too; take its value from the next word."""
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        if letter in _NOT_OURS:
            raise SpecError(
                f"sshjobs ssh: -{letter} cannot stand here: {_NOT_OURS[letter]}"
            )
        if letter not in _WITH_VALUE:
            values["options"].append(f"-{letter}")
            continue
        if not letters and not left:
            raise SpecError(f"sshjobs ssh: -{letter} wants a value")
        _take_value(letter, letters or left.pop(0), values)
        return


def _take_value(letter: str, value: str, values: dict[str, Any]) -> None:
    name = value.replace("=", " ").split(None, 1)[0].lower() if value.strip() else ""
    if letter in _PLACE:
        values[letter] = value
    elif letter == "i":
        values["i"].append(value)
    elif letter == "o" and name in _PLACE_OPTIONS:
        values["o"].append(value)
    else:
        values["options"] += [f"-{letter}", value]
