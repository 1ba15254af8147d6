"""The console script: argparse over the verbs of ``manual.py``."""

from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from . import __version__, manual
from .errors import SpecError


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help that is as wide as the manual's own lines.

    Given a width, argparse does not look for that of the terminal at every argument
    that is added, which costs an import of shutil (3 ms).
    """

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)


class _Parser(argparse.ArgumentParser):
    """An argument parser that ends with 64, as sysexits.h has it."""

    def error(self, message: str) -> NoReturn:
        self.exit(64, f"{self.prog}: {message}\nsee: {self.prog} --help\n")


def script() -> int:
    """Be the console script: :func:`main`, in a process that is ours alone.

    What was imported lives until the end: looking for garbage in it, again and
    again, and once more when the interpreter ends, is a seventh of the processor
    time of a verb (Python 3.11, 7 of 48 ms).
    """
    gc.set_threshold(50_000)
    try:
        return main()
    finally:
        gc.freeze()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0] in manual.BY_NAME:
        verb = manual.BY_NAME[words[0]]
        return _carry_out(verb, read(verb, words[1:]))
    _top().parse_args(words)
    return 64


def _carry_out(verb: manual.Verb, values: dict[str, Any]) -> int:
    if verb.name == "demo":
        from .demo import main as demo

        return demo(values)
    from .commands import run

    return run(verb.name, values)


def read(verb: manual.Verb, words: Sequence[str]) -> dict[str, Any]:
    """Return the values of a verb's arguments; see ``manual.Arg``.

    Flags and positional words may come in any order; what stands behind the first
    ``--`` is never a flag. argparse reads the flags and leaves the words over: its
    own way to mix the two formats the usage at every call (Python 3.10 to 3.13).
    """
    words = list(words)
    rest: list[str] = []
    if "--" in words:
        at = words.index("--")
        words, rest = words[:at], words[at + 1 :]
    if {"-h", "--help"} & set(words):
        _parser(verb, verb.args).parse_args(["--help"])
    flags = [arg for arg in verb.args if not arg.positional]
    parser = _parser(verb, flags)
    found, left = parser.parse_known_args(words)
    unknown = [word for word in left if word.startswith("-") and word != "-"]
    if unknown:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    return vars(found) | _place(parser, verb, left + rest)


def _place(parser: _Parser, verb: manual.Verb, words: list[str]) -> dict[str, Any]:
    """Give the positional arguments their words, in order."""
    values: dict[str, Any] = {}
    for arg in (arg for arg in verb.args if arg.positional):
        take = len(words) if arg.many else 1
        values[arg.dest] = words[:take] if arg.many else "".join(words[:1])
        if not words and (arg.required or not arg.many):
            parser.error(f"the following arguments are required: {arg.metavar}")
        words = words[take:]
    if words:
        parser.error(f"unrecognized arguments: {' '.join(words)}")
    return values


def _parser(verb: manual.Verb, args: Iterable[manual.Arg]) -> _Parser:
    parser = _Parser(
        prog=f"sshjobs {verb.name}",
        description=verb.help,
        epilog=_examples(verb),
        formatter_class=_Formatter,
        allow_abbrev=False,
    )
    for arg in args:
        _add(parser, arg)
    return parser


def _examples(verb: manual.Verb) -> str:
    lines = [f"  {example}" for example in verb.examples]
    return "\n".join(["examples:", *lines]) if lines else ""


def _add(parser: argparse.ArgumentParser, arg: manual.Arg) -> None:
    options: dict[str, Any] = {"help": arg.help.replace("%", "%%")}
    if arg.kind == "flag":
        parser.add_argument(arg.name, action="store_true", dest=arg.dest, **options)
        return
    options |= {"metavar": arg.metavar or arg.dest.upper(), "type": _reader(arg)}
    if arg.positional:
        nargs = "*" if arg.many else None
        parser.add_argument(arg.name, nargs=nargs, **options)
        return
    options |= {"dest": arg.dest, "default": arg.default, "required": arg.required}
    if arg.repeat:
        options["action"] = "append"
    parser.add_argument(arg.name, **options)


def _reader(arg: manual.Arg) -> Any:
    def reader(text: str) -> Any:
        try:
            return arg.read(text)
        except SpecError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return reader


def _top() -> _Parser:
    """Return the parser of what is no verb: ``--help``, ``--version``, mistakes."""
    width = max(len(verb.name) for verb in manual.VERBS)
    verbs = "\n".join(f"  {v.name:<{width}}  {v.brief}" for v in manual.VERBS)
    statuses = "\n".join(f"  {code:>3}  {text}" for code, text in manual.EXIT_STATUSES)
    parser = _Parser(
        prog="sshjobs",
        usage="sshjobs VERB ...",
        description=f"{manual.SUMMARY}\n\nverbs:\n{verbs}",
        epilog=f"exit statuses:\n{statuses}\n\nsshjobs VERB --help says more.",
        formatter_class=_Formatter,
    )
    parser.add_argument("--version", action="version", version=f"sshjobs {__version__}")
    parser.add_argument("verb", metavar="VERB", choices=list(manual.BY_NAME))
    return parser
