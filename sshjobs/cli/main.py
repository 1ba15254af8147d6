"""The console script: reads a command line by the table of ``manual.py``."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator, Sequence

from ..errors import SpecError
from ..startup.records import TYPE_CHECKING
from ..startup.stdlib import signal
from . import manual

if TYPE_CHECKING:
    from typing import Any, NoReturn


def script() -> NoReturn:
    """Run the command line as a process of its own, and end it at once.

    Such a process makes too little garbage to look for it (7 of 48 ms, CPython 3.11);
    and to take the interpreter down in order costs some 5 ms more. By then streams are
    flushed, and what was written to the store is written.
    """
    gc.set_threshold(50_000)
    own_signals()
    status = main(last=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def own_signals() -> None:
    """Have signals mean what our pages say, whatever our parent has done to them.

    An ignored SIGCHLD leaves no child a status; SIGTERM, blocked or ignored, ends
    nothing. SIGHUP stays as it is, which is what nohup is for, and so do SIGINT and
    SIGQUIT, which a shell has a background process ignore. Python itself sees to
    SIGPIPE. These are three system calls.
    """
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def main(argv: Sequence[str] | None = None, *, last: bool = False) -> int:
    """Run the command line; return the exit status.

    Args:
        last: See :func:`.commands.run`.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in manual.BY_NAME:
        verb = manual.BY_NAME[words[0]]
        return _carry_out(verb, read(verb, words[1:]), last)
    from .usage import top

    top().parse_args(words)
    return 64


def _carry_out(verb: manual.Verb, values: dict[str, Any], last: bool) -> int:
    if verb.name == "demo":
        from .demo import main as demo

        return demo(values)
    from .handlers import run

    return run(verb.name, values, last=last)


def read(verb: manual.Verb, words: Sequence[str]) -> dict[str, Any]:
    """Return the values of a verb's arguments; see ``manual.Arg``.

    Flags and positional words may come in any order; what stands behind the first
    ``--`` is never a flag. A call for help prints it and ends, and so does a mistake.
    """
    words = list(words)
    rest: list[str] = []
    if "--" in words:
        at = words.index("--")
        words, rest = words[:at], words[at + 1 :]
    if {"-h", "--help"} & set(words):
        from .usage import show

        show(verb)
    values: dict[str, Any] = {arg.dest: arg.default for arg in verb.args}
    left = _read_flags(verb, iter(words), values)
    if rest and not left and verb.args[0].dest == "host":
        _fail(verb, "HOST is missing: it stands before the --")
    _place(verb, left + rest, values)
    return values


def _fail(verb: manual.Verb, message: str) -> NoReturn:
    """Say what is wrong with a command line, and end as sysexits.h has it."""
    name = f"sshjobs {verb.name}"
    print(f"{name}: {message}\nsee: {name} --help", file=sys.stderr)
    sys.exit(64)


def _read_flags(
    verb: manual.Verb, words: Iterator[str], values: dict[str, Any]
) -> list[str]:
    """Read ``--name``, ``--name VALUE``, ``--name=VALUE``; return the other words.

    A flag of ssh, ``-x VALUE`` or ``-xVALUE``, is one up to the COMMAND only: what
    begins with one letter behind it is the COMMAND's own.
    """
    flags = {arg.name: arg for arg in verb.args if not arg.positional}
    given: set[str] = set()
    left: list[str] = []
    for word in words:
        name, equals, text = word.partition("=")
        if not word.startswith("--") and word[:2] in flags and not _advice(verb, left):
            _take(verb, flags[word[:2]], word[2:] or None, words, values)
        elif name in flags and not flags[name].is_letter:
            given.add(name)
            _take(verb, flags[name], text if equals else None, words, values)
        elif word.startswith("-") and word != "-":
            _fail(verb, f"unrecognized arguments: {word}{_advice(verb, left)}")
        else:
            left.append(word)
    missing = [n for n, arg in flags.items() if arg.required and n not in given]
    if missing:
        _fail(verb, f"the following arguments are required: {', '.join(missing)}")
    return left


def _advice(verb: manual.Verb, left: list[str]) -> str:
    """Return what to do about a strange flag that may be one of the COMMAND's own."""
    rest = [arg.metavar for arg in verb.args if arg.kind == "rest"]
    return f" (put -- before {rest[0]})" if rest and len(left) > 1 else ""


def _take(
    verb: manual.Verb,
    arg: manual.Arg,
    text: str | None,
    words: Iterator[str],
    values: dict[str, Any],
) -> None:
    """Read one flag; ``text`` is what stood behind its ``=``."""
    if arg.kind == "flag":
        if text is not None:
            _fail(verb, f"argument {arg.name}: takes no value")
        values[arg.dest] = True
        return
    if text is None:
        text = next(words, "--")
        if text.startswith("-") and text != "-":
            _fail(verb, f"argument {arg.name}: expected one argument")
    try:
        value = arg.read(text)
    except SpecError as error:
        _fail(verb, f"argument {arg.name}: {error}")
    if not arg.repeat and values[arg.dest] is not None:
        _fail(verb, f"argument {arg.name}: given twice")
    values[arg.dest] = [*values[arg.dest], value] if arg.repeat else value


def _place(verb: manual.Verb, words: list[str], values: dict[str, Any]) -> None:
    """Give the positional arguments their words, in order."""
    for arg in (arg for arg in verb.args if arg.positional):
        take = len(words) if arg.many else 1
        values[arg.dest] = words[:take] if arg.many else "".join(words[:1])
        if not words and (arg.required or not arg.many):
            _fail(verb, f"the following arguments are required: {arg.metavar}")
        words = words[take:]
    if words:
        _fail(verb, f"unrecognized arguments: {' '.join(words)}")
