"""Reading a line of ``--from``: a shell line, or a job as a JSON object.

Apart from :mod:`.job_requests`, which a submit of one job reads too.
"""

from __future__ import annotations

import os

from ..errors import SpecError
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    Values = Mapping[str, Any]


#: The fields of a job that one line of ``--from`` may have.
_FIELDS = frozenset(
    "command name key once env cwd timeout shell login cleanup stdin "
    "max_log_bytes launcher launcher_args group priority after split wait_room".split()
)


_SPECIAL = ("command", "env", "stdin", "timeout", "launcher_args", "after")


def read_object(
    plain: Mapping[str, Any], values: Values
) -> tuple[Values, bytes | tuple[bytes, ...], bytes | None, dict[str, bytes]]:
    """Return the fields of a line's object, over the values of the command.

    Returns:
        The values, its command, its standard input, and its own variables.
    """
    once = plain.get("once")
    if once is not None and not isinstance(once, bool):
        raise SpecError(f'"once" is true or false, not {once!r:.60}')
    unknown = sorted(set(plain) - _FIELDS)
    if unknown:
        raise SpecError(f"not fields of a job: {', '.join(map(repr, unknown))}")
    own = {k: v for k, v in plain.items() if k not in _SPECIAL and v is not None}
    for name in ("name", "key", "cwd", "shell", "cleanup", "launcher"):
        if plain.get(name) is not None:
            _encode_text(plain[name], name)
    command, env = _encode_work(plain)
    merged = (
        dict(values)
        | own
        | {"timeout": _read_timeout(plain, values)}
        | _read_launcher_args(plain, values)
        | {"after": _read_after(plain, values)}
    )
    stdin = plain.get("stdin")
    return (
        merged,
        command,
        None if stdin is None else _encode_text(stdin, "stdin"),
        env,
    )


def parse_object(line: bytes) -> dict[str, Any] | None:
    """Return the JSON object that a line is, None if it is a shell line.

    ``{ echo hello; }`` is a shell line, and no JSON.
    """
    text = line.strip()
    if not (text.startswith(b"{") and text[1:].lstrip()[:1] in (b'"', b"}")):
        return None
    import json

    try:
        value = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=_refuse_double_names,
            parse_constant=_refuse_constant,
        )
    except SpecError:
        raise
    except RecursionError as error:
        raise SpecError("the JSON object is nested too deeply") from error
    except ValueError as error:
        raise SpecError(f"begins like a JSON object and is none: {error}") from error
    if not isinstance(value, dict):
        raise SpecError("not a JSON object")
    return value


def _refuse_double_names(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return the object of these pairs; JSON leaves open which of two would count."""
    values = dict(pairs)
    if len(values) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise SpecError(f"{twice!r} stands twice in one object")
    return values


def _refuse_constant(word: str) -> float:
    raise SpecError(f"{word} is no number of JSON")


def _encode_work(
    plain: Mapping[str, Any],
) -> tuple[bytes | tuple[bytes, ...], dict[str, bytes]]:
    """Return the command of a line's object, and its own variables."""
    command, env = plain.get("command"), plain.get("env")
    encoded: bytes | tuple[bytes, ...]
    if isinstance(command, str):
        encoded = _encode_text(command, "command")
    elif isinstance(command, list) and command:
        encoded = tuple(_encode_text(word, "a word of command") for word in command)
    else:
        raise SpecError('"command" is a text or a list of words')
    if not isinstance(env, (dict, type(None))):
        raise SpecError('"env" is an object of names and values')
    pairs = (env or {}).items()
    return encoded, {
        name: _encode_text(value, f"the value of {name}") for name, value in pairs
    }


def _encode_text(text: Any, what: str) -> bytes:
    if not isinstance(text, str):
        raise SpecError(f"{what} is not a text")
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise SpecError(
            f"{what} has half a surrogate pair, which is no text"
        ) from error


def _read_after(plain: Mapping[str, Any], values: Values) -> list[str]:
    """Return the jobs that come before that of a line: a text, or a list of texts.

    Those of the command come before each of its jobs.
    """
    given = plain.get("after")
    own = [] if given is None else [given] if isinstance(given, str) else given
    if not isinstance(own, list):
        raise SpecError(f'"after" is a text or a list of texts, not {given!r:.60}')
    for word in own:
        _encode_text(word, "a word of after")
    return [*(values.get("after") or ()), *own]


def _read_launcher_args(plain: Mapping[str, Any], values: Values) -> dict[str, str]:
    """Return the options of a line: a text, or a list of words."""
    given = plain.get("launcher_args", values.get("launcher_args"))
    if isinstance(given, list):
        from ..quoting import join_words

        words = [_encode_text(word, "a word of launcher_args") for word in given]
        given = join_words(os.fsdecode(word) for word in words)
    if given is not None:
        _encode_text(given, "launcher_args")
    return {"launcher_args": given or ""}


def _read_timeout(plain: Mapping[str, Any], values: Values) -> float | None:
    from ..model import seconds

    given = plain.get("timeout", values.get("timeout"))
    if isinstance(given, str):
        return seconds(given)
    if given is None or (
        isinstance(given, (int, float)) and not isinstance(given, bool)
    ):
        return given
    raise SpecError(f"timeout is not a span of time: {given!r:.60}")
