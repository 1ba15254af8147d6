"""Reading a command line's words into values, by the table of ``manual.py``.

argparse would cost each start some milliseconds; only ``help.py`` imports it.
"""

from __future__ import annotations

import sys

from ..errors import SpecError
from ..startup.records import TYPE_CHECKING
from .arguments import Arg, Verb

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any, NoReturn


def read_arguments(verb: Verb, words: Sequence[str]) -> dict[str, Any]:
    """Return the values of a verb's arguments; see ``Arg``.

    Flags and positional words may come in any order; what stands behind the first
    ``--`` is never a flag. A call for help prints it and ends, and so does a mistake.
    """
    words = list(words)
    rest: list[str] = []
    if "--" in words:
        at = words.index("--")
        words, rest = words[:at], words[at:]
    if {"-h", "--help"} & set(words):
        from .help import print_verb_help

        print_verb_help(verb)
    values: dict[str, Any] = {arg.dest: arg.default for arg in verb.args}
    left = _read_flags(verb, iter(words), values)
    if verb.args[0].dest == "host":
        left = _read_host(verb, left, rest, values)
    _assign_positionals(verb, left + rest[1:], values)
    return values


def _read_host(
    verb: Verb, left: list[str], rest: list[str], values: dict[str, Any]
) -> list[str]:
    """Return the words before the ``--``, of which the first is HOST."""
    if values.get("hosts"):  # a file has them, or more of them
        if left and not rest:
            _end_with_usage_error(verb, "with --hosts, put -- before COMMAND")
        return left or [""]
    if len(rest) > 1 and not left:
        _end_with_usage_error(verb, "HOST is missing: it stands before the --")
    return left


def _end_with_usage_error(verb: Verb, message: str) -> NoReturn:
    """Name the mistake of a command line, and end as sysexits.h has it."""
    name = f"sshjobs {verb.name}"
    print(f"{name}: {message}\nsee: {name} --help", file=sys.stderr)
    sys.exit(64)


def _read_flags(verb: Verb, words: Iterator[str], values: dict[str, Any]) -> list[str]:
    """Read ``--name``, ``--name VALUE``, ``--name=VALUE``; return the other words.

    A flag of one letter, ``-x``, ``-xVALUE`` or several in a row, is one up to the
    COMMAND only: a word like that behind it is the COMMAND's own.
    """
    flags = {arg.name: arg for arg in verb.args if not arg.is_positional}
    letters = {arg.short: arg for arg in flags.values() if arg.short}
    letters |= {name: arg for name, arg in flags.items() if arg.is_letter}
    given: set[str] = set()
    left: list[str] = []
    for word in words:
        name, equals, text = word.partition("=")
        if word[:2] in letters and not _advise_separator(verb, left):
            _read_letters(verb, letters, word, words, values)
        elif name in flags and not flags[name].is_letter:
            given.add(name)
            _read_flag_value(verb, flags[name], text if equals else None, words, values)
        elif word.startswith("-") and word != "-":
            from .aliases import suggest

            advice = _advise_separator(verb, left) or suggest(name, flags)
            _end_with_usage_error(verb, f"unrecognized arguments: {word}{advice}")
        else:
            left.append(word)
    missing = [n for n, arg in flags.items() if arg.required and n not in given]
    if missing:
        _end_with_usage_error(
            verb, f"the following arguments are required: {', '.join(missing)}"
        )
    return left


def _read_letters(
    verb: Verb,
    letters: dict[str, Arg],
    word: str,
    words: Iterator[str],
    values: dict[str, Any],
) -> None:
    """Read ``-v``, ``-fn20``: flags of one letter, the last one with its value."""
    while word != "-":
        arg = letters.get(word[:2])
        if arg is None:
            _end_with_usage_error(verb, f"unrecognized arguments: {word}")
        if arg.kind != "flag":
            _read_flag_value(verb, arg, word[2:] or None, words, values)
            return
        _read_flag_value(verb, arg, None, words, values)
        word = f"-{word[2:]}"


def _advise_separator(verb: Verb, left: list[str]) -> str:
    """Return advice on a strange flag that may be one of the COMMAND's own."""
    rest = [arg.metavar for arg in verb.args if arg.kind == "rest"]
    return f" (put -- before {rest[0]})" if rest and len(left) > 1 else ""


def _read_flag_value(
    verb: Verb,
    arg: Arg,
    text: str | None,
    words: Iterator[str],
    values: dict[str, Any],
) -> None:
    """Read one flag; ``text`` stood behind its ``=``."""
    if arg.kind != "flag":
        value = _take_value(verb, arg, text, words)
    elif text is None:
        value = True
    else:
        _end_with_usage_error(verb, f"argument {arg.name}: takes no value")
    if arg.repeat:
        value = values[arg.dest] + value
    elif values[arg.dest] != arg.default and arg.name != "--verbose":
        _end_with_usage_error(verb, f"argument {arg.name}: given twice")
    values[arg.dest] = value


def _take_value(verb: Verb, arg: Arg, text: str | None, words: Iterator[str]) -> Any:
    """Return a flag's value, which is the next word if it did not stand in its own."""
    if text is None:
        text = next(words, "--")
        is_flag = text.startswith("-") and text != "-"
        if text == "--" or (is_flag and arg.kind != "options"):
            _end_with_usage_error(verb, f"argument {arg.name}: expected one argument")
    try:
        return arg.read_each(text) if arg.repeat else arg.read(text)
    except SpecError as error:
        _end_with_usage_error(verb, f"argument {arg.name}: {error}")


def _assign_positionals(verb: Verb, words: list[str], values: dict[str, Any]) -> None:
    """Give the positional arguments their words, in order."""
    for arg in (arg for arg in verb.args if arg.is_positional):
        take = len(words) if arg.takes_many else 1
        values[arg.dest] = words[:take] if arg.takes_many else "".join(words[:1])
        if not words and (arg.required or not arg.takes_many):
            _end_with_usage_error(
                verb, f"the following arguments are required: {arg.metavar}"
            )
        words = words[take:]
    if words:
        _end_with_usage_error(verb, f"unrecognized arguments: {' '.join(words)}")
