"""The verbs as Invoke tasks, made from the table that the CLI is made from.

In a project's ``tasks.py``::

    from invoke.collection import Collection

    from sshjobs import tasks

    ns = Collection.from_module(tasks)          # inv submit --host H --command LINE

or ``Collection(tasks)`` next to tasks of your own (``inv tasks.submit …``).
Positionals of the console script are flags here, ``JOB...`` and ``COMMAND...``
by repeating them. A task ends ``inv`` with the exit status of its verb; where
that is 0, the next task on the command line follows.

Nothing but Invoke is imported until a task runs, since a hundred processes may
be started at once.
"""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable
from typing import Any

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task

from .cli import manual
from .cli.arguments import Arg, Verb
from .errors import SpecError


def _name_parameter(arg: Arg) -> str:
    """Return a Python name for an argument; Invoke shows ``from_`` as ``--from``."""
    return f"{arg.dest}_" if keyword.iskeyword(arg.dest) else arg.dest


def _build_signature(verb: Verb) -> inspect.Signature:
    kind = inspect.Parameter.KEYWORD_ONLY
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_ONLY)
    # Invoke makes a list of what is named in Task(iterable=...) and wants None here.
    flags = [
        inspect.Parameter(
            _name_parameter(arg), kind, default=None if arg.takes_many else arg.default
        )
        for arg in verb.args
    ]
    return inspect.Signature([context, *flags])


def read_values(verb: Verb, given: dict[str, Any]) -> dict[str, Any]:
    """Return Invoke's arguments as the values that ``carry_out_verb`` takes.

    Raises:
        SpecError: a flag is missing, or has a value that its argument refuses.
    """
    return {
        arg.dest: (
            ""
            if arg.dest == "host" and given.get("hosts") and not given.get("host")
            else _read_value(arg, given.get(_name_parameter(arg)))
        )
        for arg in verb.args
    }


def _read_value(arg: Arg, raw: Any) -> Any:
    if raw in (None, []):
        if arg.required or (arg.is_positional and not arg.takes_many):
            raise SpecError(f"--{arg.dest} is missing")
        return arg.default
    if arg.kind == "flag":
        return raw
    try:
        if arg.takes_many:
            return [value for word in raw for value in arg.read_each(word)]
        return arg.read(raw)
    except SpecError as error:
        raise SpecError(f"--{arg.dest.replace('_', '-')}: {error}") from error


def _build_body(verb: Verb) -> Callable[..., None]:
    def body(context: Context, /, **given: Any) -> None:
        try:
            asked = read_values(verb, given)
        except SpecError as error:
            raise Exit(f"sshjobs: {error}", code=error.exit_status) from error
        status = _carry_out_verb(verb, asked)
        if status:
            raise Exit(code=status)

    body.__name__ = verb.name
    body.__doc__ = _build_docstring(verb)
    body.__signature__ = _build_signature(verb)  # type: ignore[attr-defined]
    return body


def _carry_out_verb(verb: Verb, asked: dict[str, Any]) -> int:
    # Keep in sync with cli/main.py: these three print and wait in their own way.
    if verb.name == "demo":
        from .cli.demo import main as demo

        return demo(asked)
    if verb.name == "completion":
        from .cli.completion import print_script

        return print_script(asked)
    if verb.name == "top":
        from .cli.top import run_top

        return run_top(asked)
    from .cli.handlers import carry_out_verb

    return carry_out_verb(verb.name, asked)


def _build_docstring(verb: Verb) -> str:
    examples = "\n".join(f"    {line}" for line in verb.examples)
    given = [
        f" --{arg.dest} {arg.dest.upper()}" for arg in verb.args if arg.is_positional
    ]
    return (
        f"{verb.help}\n\nAs a task:\n\n    inv {verb.name}{''.join(given)}\n\n"
        f"As a command:\n\n{examples}\n"
    )


def _build_task(verb: Verb) -> Task[Callable[..., None]]:
    return Task(
        _build_body(verb),
        name=verb.name,
        positional=[],
        iterable=[_name_parameter(arg) for arg in verb.args if arg.takes_many],
        # Without this Invoke adds one-letter flags of its own that the CLI has not.
        auto_shortflags=False,
        help={
            _name_parameter(arg): arg.help.removesuffix("; put -- before it")
            + " (may be repeated)" * arg.takes_many
            for arg in verb.args
        },
    )


#: One task a verb, in the order of the manual.
TASKS = tuple(_build_task(verb) for verb in manual.read_verbs())

#: What ``Collection.from_module(sshjobs.tasks)`` takes.
ns = Collection()
for _each in TASKS:
    ns.add_task(_each)
