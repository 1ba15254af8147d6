"""Completes a command line of a shell, from the manual and the files of this machine.

``sshjobs completion SHELL`` prints a script, the same in each version: on each TAB it
asks the sshjobs that stands in the line, by a verb that nobody types,
``sshjobs __complete``. So what is offered is what that very sshjobs understands, and a
script that was installed once stays right. The answer is a line that says of which
kind it is, then a candidate a line; any error is an empty answer.
"""

from __future__ import annotations

import os
import sys

from ..startup.records import TYPE_CHECKING, Record
from . import candidates, manual
from .aliases import ALIASES
from .arguments import Arg, Verb
from .candidates import Candidate, shorten_hint
from .manual_views import SHELLS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any

#: Kinds of an answer: words; or that a path is to stand there, which the shell knows
#: better. ``open`` are words of which each may go on.
_WORDS, _OPEN, _FILES = "words", "open", "files"


class Cursor(Record):
    """The meaning of the place at the cursor, behind the words of a verb."""

    pending: Arg | None  # a flag that waits for its value
    position: int  # so many positional words stand before it
    given: frozenset[str]  # flags that stand before it
    is_literal: bool  # a -- stands before it
    config: str  # the value of -F


def print_script(values: Mapping[str, Any]) -> int:
    """Carry out ``sshjobs completion``; return the exit status."""
    shell = values["shell"]
    if shell not in SHELLS:
        print(
            f"sshjobs completion: {shell!r} is not one of {', '.join(SHELLS)}",
            file=sys.stderr,
        )
        return 64
    path = os.path.join(os.path.dirname(__file__), "shells", f"sshjobs.{shell}")
    with open(path, encoding="utf-8") as file:
        sys.stdout.write(file.read())
    return 0


def answer_shell(arguments: Sequence[str]) -> int:
    """Print the candidates for a line, as one of the scripts asks; return 0.

    Args:
        arguments: ``bash LINE BREAKS``, of which the line ends at the cursor; or
            another shell's name, the words behind ``sshjobs``, and the word at the
            cursor.
    """
    try:
        shell, *words = arguments
        if shell == "bash":
            lines = _answer_bash(*words)
        else:
            kind, found = complete_words(words[:-1], words[-1])
            lines = [kind, *(f"{each.word}\t{each.hint}" for each in found)]
        text = "".join(f"{line}\n" for line in lines)
        sys.stdout.buffer.write(text.encode("utf-8", "replace"))
    except Exception:  # a shell shows whatever is printed in the middle of a line
        return 0
    return 0


def _answer_bash(text: str, breaks: str) -> list[str]:
    from .shell_line import quote_answer, split_line

    line = split_line(text, breaks)
    kind, found = complete_words(line.words[1:], line.current)
    answers = [text for each in found if (text := quote_answer(each.word, line))]
    # bash puts in as much as all answers share, and that may end within an escape.
    shared = os.path.commonprefix(answers)
    if len(answers) > 1 and (len(shared) - len(shared.rstrip("\\"))) % 2:
        answers.append(shared[:-1])
    return [kind, *answers]


def complete_words(
    words: Sequence[str], current: str, environ: Mapping[str, str] | None = None
) -> tuple[str, list[Candidate]]:
    """Return the kind of an answer, and the words that can stand at the cursor.

    Args:
        words: The words between ``sshjobs`` and the cursor.
        current: What has been typed of the word at the cursor.
        environ: The environment; ``os.environ`` if None.
    """
    environ = os.environ if environ is None else environ
    if not words:
        return _WORDS, _keep_matching(_yield_first_words(current), current)
    if words[0] == "help":
        verbs = (Candidate(verb.name, verb.brief) for verb in manual.read_verbs())
        return _WORDS, _keep_matching(verbs if len(words) == 1 else (), current)
    verb = manual.find_verb(ALIASES.get(words[0], words[0]))
    if verb is None:
        return _WORDS, []
    cursor = find_cursor(verb, words[1:])
    if cursor.pending is not None:
        return _complete_value(verb, cursor, cursor.pending, current, environ)
    if current[:1] == "-" and not cursor.is_literal:
        return _complete_flag(verb, cursor, current, environ)
    positional = [arg for arg in verb.args if arg.is_positional]
    last = positional[-1:] if positional and positional[-1].takes_many else []
    for arg in (positional + last * cursor.position)[cursor.position :][:1]:
        return _complete_value(verb, cursor, arg, current, environ)
    return _WORDS, []


def _yield_first_words(current: str) -> Iterator[Candidate]:
    """Yield verbs; words of other tools too, once one has been begun."""
    for verb in manual.read_verbs():
        yield Candidate(verb.name, verb.brief)
    yield Candidate("help", "Show the help of a verb.")
    if current:
        for alias, name in ALIASES.items():
            yield Candidate(alias, f"the same as {name}")
        yield Candidate("version", "Print the version.")
        yield Candidate("--help")
        yield Candidate("--version")


def find_cursor(verb: Verb, words: Sequence[str]) -> Cursor:
    """Return the meaning of the place behind words; keep in sync with ``parser.py``."""
    flags = {arg.name: arg for arg in verb.args if not arg.is_positional}
    letters = {arg.short: arg for arg in flags.values() if arg.short}
    letters |= {name: arg for name, arg in flags.items() if arg.is_letter}
    pending: Arg | None = None
    given: set[str] = set()
    position, is_literal, config = 0, False, ""
    for word in words:
        if pending is not None:
            config = word if pending.name == "-F" else config
            pending = None
        elif is_literal or word[:1] != "-" or word == "-":
            position += 1
        elif word == "--":
            is_literal = True
        else:
            name, equals, _ = word.partition("=")
            arg = flags.get(name) or _find_last_letter(letters, word)
            given.add(arg.name if arg else name)
            takes_more = arg is not None and arg.kind != "flag" and not equals
            pending = arg if takes_more and _is_whole(arg, word) else None
    return Cursor(pending, position, frozenset(given), is_literal, config)


def _find_last_letter(letters: Mapping[str, Arg], word: str) -> Arg | None:
    """Return the flag to which the end of a word belongs: ``-n`` of ``-fn20``."""
    arg = None
    for letter in word[1:] if word[:2] != "--" else "":
        arg = letters.get(f"-{letter}")
        if arg is None or arg.kind != "flag":
            break
    return arg


def _is_whole(arg: Arg | None, word: str) -> bool:
    """Tell whether a word ends with a flag, so that its value is the next word."""
    if arg is None or word[:2] == "--":
        return arg is not None
    return word[-1] == (arg.short or arg.name)[-1]


def _complete_flag(
    verb: Verb, cursor: Cursor, current: str, environ: Mapping[str, str]
) -> tuple[str, list[Candidate]]:
    name, equals, text = current.partition("=")
    flags = [arg for arg in verb.args if not arg.is_positional]
    if equals:
        for arg in flags:
            if arg.name == name and arg.kind != "flag":
                kind, found = _complete_value(verb, cursor, arg, text, environ)
                return kind, [e._replace(word=f"{name}={e.word}") for e in found]
        return _WORDS, []
    found = [
        Candidate(arg.name, shorten_hint(arg.help))
        for arg in flags
        if arg.repeat or arg.name not in cursor.given
    ]
    help_flag = Candidate("--help", "the help of this verb")
    return _WORDS, _keep_matching([*found, help_flag], current)


def _complete_value(
    verb: Verb, cursor: Cursor, arg: Arg, current: str, environ: Mapping[str, str]
) -> tuple[str, list[Candidate]]:
    """Return the values of an argument that begin as a word does."""
    if arg.kind == "path":
        return _FILES, []
    if arg.kind == "rest":
        return _WORDS, []
    head, comma, tail = current.rpartition(",")
    is_list = arg.kind in ("choice", "hosts") and arg.repeat or arg.name == "-J"
    if not is_list and not (comma and arg.dest in ("host", "hosts")):
        head, comma, tail = "", "", current
    values = _offer_values(verb, cursor, arg, tail, environ)
    found = _keep_matching(values, tail, without=head.split(","))
    if comma:
        found = [each._replace(word=f"{head},{each.word}") for each in found]
    is_open = len(found) == 1 and found[0].word[-1:] == ":"
    return _OPEN if is_open else _WORDS, found


def _offer_values(
    verb: Verb, cursor: Cursor, arg: Arg, current: str, environ: Mapping[str, str]
) -> Iterable[Candidate]:
    if arg.choices:
        return map(Candidate, arg.choices)
    if arg.dest in ("host", "hosts", "J"):
        return candidates.offer_hosts(environ, cursor.config)
    if arg.dest == "job":
        return candidates.offer_jobs(environ, verb.name, current)
    if arg.dest in ("name", "key"):
        return candidates.offer_labels(environ, arg.dest, current)
    if arg.dest in ("env_from", "askpass_env"):
        return candidates.offer_variables(environ)
    return ()


def _keep_matching(
    found: Iterable[Candidate], current: str, without: Iterable[str] = ()
) -> list[Candidate]:
    """Return the words that begin as a word does; the letters of states are large."""
    begun, gone = current.lower(), set(without)
    return [
        each
        for each in found
        if each.word not in gone and each.word.lower().startswith(begun)
    ]
