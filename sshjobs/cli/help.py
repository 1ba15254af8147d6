"""The help of the command line, and the answer to a call that is no verb.

Apart from ``parser.py``, since argparse and its own imports cost every call of every
verb 4 ms (CPython 3.11), and only a call for help has any use for them.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any, NoReturn

from .. import __version__
from ..model import printable
from . import manual, manual_facts
from .aliases import ALIASES, read_alias, suggest
from .arguments import Arg, Verb


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Help that is as wide as the manual's own lines."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=80)


class _Parser(argparse.ArgumentParser):
    """An argument parser that ends with 64, as sysexits.h has it."""

    def error(self, message: str) -> NoReturn:
        self.exit(64, f"{self.prog}: {message}\nsee: {self.prog} --help\n")


def print_verb_help(verb: Verb) -> NoReturn:
    """Print the help of a verb and end."""
    lines = [f"  {example}" for example in verb.examples]
    parser = _Parser(
        prog=f"sshjobs {verb.name}",
        description=verb.help,
        epilog="\n".join(["examples:", *lines]) if lines else "",
        formatter_class=_Formatter,
    )
    for arg in verb.args:
        _add_argument(parser, arg)
    parser.parse_args(["--help"])
    raise AssertionError("argparse has printed the help and ended")


def _add_argument(parser: argparse.ArgumentParser, arg: Arg) -> None:
    options: dict[str, Any] = {"help": arg.help.replace("%", "%%")}
    if arg.kind == "flag":
        options["action"] = "store_true"
    else:
        options["metavar"] = arg.metavar or arg.dest.upper()
    if arg.is_positional and arg.takes_many:
        options["nargs"] = "*"
    if not arg.is_positional:
        options |= {"dest": arg.dest, "required": arg.required}
    names = [arg.short] * bool(arg.short) + [arg.name]
    parser.add_argument(*names, **options)


def answer_call_without_verb(words: list[str]) -> NoReturn:
    """Answer ``help``, ``version``, a flag in the place of a verb, or a slip; end."""
    if words[0] == "help":
        words = read_alias(words[1:]) if words[1:] else ["--help"]
        verb = manual.find_verb(words[0])
        if verb is not None:
            print_verb_help(verb)
    if words[0] == "version":
        words = ["--version"]
    known = [verb.name for verb in manual.read_verbs()]
    known += [*ALIASES, "help", "version"]
    if words[0][:1] != "-" and words[0] not in known:
        near = suggest(words[0], known)
        print(
            f"sshjobs: no such verb: {printable(words[0])}{near}\nsee: sshjobs --help",
            file=sys.stderr,
        )
        sys.exit(64)
    _build_top_parser().parse_args(words)
    raise AssertionError("argparse has answered and ended")


def _build_top_parser() -> _Parser:
    """Return the parser of calls without a verb: ``--help``, ``--version``, typos."""
    known = manual.read_verbs()
    width = max(len(verb.name) for verb in known)
    verbs = "\n".join(f"  {verb.name:<{width}}  {verb.brief}" for verb in known)
    statuses = "\n".join(
        f"  {code:>3}  {text}" for code, text in manual_facts.EXIT_STATUSES
    )
    names = "\n".join(
        f"  {name:<18}  {text}" for name, text in manual_facts.ENVIRONMENT
    )
    aliases = ", ".join(f"{alias} is {verb}" for alias, verb in ALIASES.items())
    parser = _Parser(
        prog="sshjobs",
        usage="sshjobs VERB ...",
        description=f"{manual_facts.SUMMARY}\n\nverbs:\n{verbs}",
        epilog=f"words of other tools:\n  {aliases}\n\nenvironment:\n{names}\n\n"
        f"exit statuses:\n{statuses}\n\nsshjobs VERB --help says more, with examples.",
        formatter_class=_Formatter,
    )
    parser.add_argument(
        "-V", "--version", action="version", version=f"sshjobs {__version__}"
    )
    parser.add_argument("verb", metavar="VERB", choices=[verb.name for verb in known])
    return parser
