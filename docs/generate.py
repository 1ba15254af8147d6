"""Write the reference pages that are made from the code (``inv docs``).

Each page comes from the one table that the program itself reads, so that it can
be wrong only where the program is. ``--check`` changes nothing and fails if a
page is not what would be written.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from sshjobs import __version__, errors, settings, states
from sshjobs.cli import manual, manual_facts
from sshjobs.cli.aliases import ALIASES
from sshjobs.cli.arguments import Arg, Verb

_REFERENCE = Path(__file__).parent / "reference"
_MADE = "<!-- Made by `inv docs` from {source}; change it there. -->\n"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    lines = [" | ".join(head), " | ".join("---" for _ in head)]
    lines += [" | ".join(cell.replace("|", "\\|") for cell in row) for row in rows]
    return "\n".join(f"| {line} |" for line in lines) + "\n"


def command_line() -> str:
    """Return the page of verbs and flags, from ``manual.read_verbs()``."""
    parts = [
        "# The command line\n",
        _MADE.format(source="sshjobs/cli/manual.py"),
        f"{manual_facts.SUMMARY} The same verbs are Invoke tasks wherever a `tasks.py` "
        "takes in `sshjobs.tasks`; there, an argument by its place is a flag too "
        "(`inv submit --host H --command LINE`).\n",
        "Results go to standard output, everything for people to standard error. "
        "With `--json` a line of output is one JSON object; that of a job has the "
        "fields `id key name host state exit_status signal reason attempt "
        "submitted_at started_at finished_at log_bytes`; `list` and `status` add "
        "`command cwd submitted_iso started_iso finished_iso reaped_at seen_at`.\n",
        "## Exit statuses\n",
        _table(("status", "meaning"), _statuses(manual_facts.EXIT_STATUSES)),
        "`sshjobs run`, once its job has ended:\n",
        _table(("status", "meaning"), _statuses(manual_facts.RUN_STATUSES)),
        "## Environment\n",
        _table(
            ("name", "meaning"),
            [(f"`{name}`", text) for name, text in manual_facts.ENVIRONMENT],
        ),
        *map(_verb, manual.read_verbs()),
    ]
    return "\n".join(parts)


def _statuses(rows: Iterable[tuple[int | None, str]]) -> list[tuple[str, str]]:
    return [("any" if status is None else str(status), text) for status, text in rows]


def _verb(verb: Verb) -> str:
    rows = [(f"`{_shape(arg)}`", arg.help + _repeats(arg)) for arg in verb.args]
    examples = "\n".join(verb.examples)
    return "\n".join(
        [
            f"## sshjobs {verb.name}\n",
            f"```\n{_usage(verb)}\n```\n",
            f"{verb.help}\n",
            _table(("argument", "meaning"), rows),
            f"```sh\n{examples}\n```\n",
        ]
    )


def _usage(verb: Verb) -> str:
    if any(arg.kind == "rest" for arg in verb.args):
        return f"sshjobs {verb.name} HOST [options] -- COMMAND..."
    places = [_place(arg) for arg in verb.args if arg.is_positional]
    return " ".join(["sshjobs", verb.name, *places, "[options]"])


def _place(arg: Arg) -> str:
    if not arg.takes_many:
        return arg.metavar
    return f"{arg.metavar}..." if arg.required else f"[{arg.metavar}...]"


def _shape(arg: Arg) -> str:
    if arg.is_positional:
        return _place(arg)
    name = f"{arg.short}, {arg.name}" if arg.short else arg.name
    if arg.kind == "choice":
        return f"{name} {'|'.join(arg.choices)}"
    return f"{name} {arg.metavar}".strip()


def _repeats(arg: Arg) -> str:
    return "; may be repeated" if arg.repeat else ""


def settings_page() -> str:
    """Return the page of every tunable, from ``settings.SETTINGS``."""
    rows = (
        (
            f"`{each.name}`",
            f"`SSHJOBS_{each.name.upper()}`",
            each.kind,
            _default(each),
            each.doc,
            each.source or "sshjobs",
        )
        for each in settings.SETTINGS
    )
    return "\n".join(
        [
            "# Settings\n",
            _MADE.format(source="sshjobs/settings.py"),
            "A value comes from, in this order: a flag of the call, `SSHJOBS_<NAME>` "
            'in the environment, the table `[host."NAME"]` of the config file, the '
            "top level of the config file, the default. Spans of time are seconds, "
            "or a number with a unit: `90`, `90s`, `15m`, `12h`, `7d`, `2w`.\n",
            _table(
                ("setting", "environment", "kind", "default", "meaning", "known from"),
                rows,
            ),
            _CONFIG_EXAMPLE,
        ]
    )


_CONFIG_EXAMPLE = """\
A config file is TOML:

```toml
poll_interval = 2
cleanup = "on_success"

[host."cluster"]
remote_base_dir = "/scratch/me/sshjobs"
wait_host = "10m"
```

See [how to configure](../how-to/configure.md) for where it lies.
"""


def _default(setting: settings.Setting) -> str:
    value = setting.default
    if setting.kind == "seconds":
        return _span(value)
    if setting.kind == "switch":
        return "`true`" if value else "`false`"
    return f"`{value}`" if value != "" else "(empty)"


def _span(value: float) -> str:
    days = value / 86400
    return f"{days:g} d" if days >= 1 else f"{value:g} s"


def errors_page() -> str:
    """Return the page of the tree of errors, from ``errors``."""
    return "\n".join(
        [
            "# Errors\n",
            _MADE.format(source="sshjobs/errors.py"),
            "All of them are in `sshjobs.errors`, and all are an `SshJobsError`: one "
            "class for each distinct reaction. A subclass is all that its parent is. "
            "The exit status is that of a command that ends with the error. "
            "Facts are attributes (`.host`, `.detail`, `.hint`, `.job_id`), and an "
            "error survives pickling.\n",
            _table(("error", "exit status", "meaning"), _tree(errors.SshJobsError, 0)),
        ]
    )


def _tree(cls: type[errors.SshJobsError], depth: int) -> list[tuple[str, str, str]]:
    others = [
        base.__name__
        for base in cls.__bases__
        if base is not Exception and not issubclass(base, errors.SshJobsError)
    ]
    name = "&nbsp;" * 4 * depth + f"`{cls.__name__}`"
    name += f" ({', '.join(others)})" if others else ""
    first = (cls.__doc__ or "").strip().partition("\n\n")[0]
    rows = [(name, str(cls.exit_status), " ".join(first.split()))]
    for child in cls.__subclasses__():
        rows += _tree(child, depth + 1)
    return rows


_MEANINGS = {
    states.PENDING: "accepted, and not known to run yet",
    states.RUNNING: "its process, or one of its group, was alive when last seen",
    states.COMPLETED: "ended by itself with status 0",
    states.FAILED: "ended by itself with another status, by a signal, or could not be "
    "started; `reason` says which",
    states.CANCELLED: "`kill` came before its end",
    states.TIMEOUT: "its `--timeout` was up before its end",
    states.LOST: "the host has neither a record of its end nor a process of it; "
    "`reason` says why: rebooted, killed, vanished",
}


def states_page() -> str:
    """Return the page of the life of a job, from ``states.TABLE``."""
    kinds = {True: "final", False: "active"}
    return "\n".join(
        [
            "# States\n",
            _MADE.format(source="sshjobs/states.py"),
            "The words are Slurm's. A final state never changes. Not being able to ask "
            "a host is no state: a job keeps the one that was last known, and it is "
            "the *host* that is unreachable.\n",
            _table(
                ("state", "", "meaning"),
                (
                    (f"`{state}`", kinds[states.is_final(state)], _MEANINGS[state])
                    for state in states.STATES
                ),
            ),
            _diagram(),
            "A final state absorbs every event, so that a late or repeated report "
            "never changes an end.\n",
        ]
    )


def _diagram() -> str:
    arrows = [
        f"    {before} --> {after}: {event}"
        for (before, event), after in states.TABLE.items()
        if before != after
    ]
    first = f"    [*] --> {states.PENDING}"
    ends = [f"    {state} --> [*]" for state in states.FINAL]
    return "\n".join(["```mermaid", "stateDiagram-v2", first, *arrows, *ends, "```\n"])


def man_page() -> str:
    """Return ``sshjobs(1)``, from the manual; in the macros of man(7)."""
    parts = [
        '.\\" Made by "inv docs" from sshjobs/cli/manual.py; change it there.',
        f'.TH SSHJOBS 1 "" "sshjobs {__version__}" "User Commands"',
        ".nh\n.ad l",
        ".SH NAME",
        f"sshjobs \\- {_roff(manual_facts.SUMMARY[:1].lower())}"
        f"{_roff(manual_facts.SUMMARY[1:].rstrip('.'))}",
        ".SH SYNOPSIS",
        *(f".B {_roff(_usage(verb))}\n.br" for verb in manual.read_verbs()),
        ".SH DESCRIPTION",
        "Results go to standard output, everything for people to standard error.",
        "With \\fB\\-\\-json\\fR a line of output is one JSON object.",
        "sshjobs alone is the same as \\fBsshjobs status\\fR.",
        "Words of other tools mean verbs of ours:",
        _roff(", ".join(f"{alias} is {verb}" for alias, verb in ALIASES.items()) + "."),
        ".SH VERBS",
        *map(_man_verb, manual.read_verbs()),
        ".SH EXIT STATUS",
        *_man_items((str(code), text) for code, text in manual_facts.EXIT_STATUSES),
        '.PP\n.BR "sshjobs run" ,\nonce its job has ended:',
        *_man_items(
            ("any" if code is None else str(code), text)
            for code, text in manual_facts.RUN_STATUSES
        ),
        ".SH ENVIRONMENT",
        *_man_items(manual_facts.ENVIRONMENT),
        ".SH SEE ALSO",
        ".BR ssh (1),\n.BR ssh_config (5)",
    ]
    return "\n".join(parts) + "\n"


def _roff(text: str) -> str:
    """Return a text for troff, in letters that can be copied (groff_char(7))."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "\\(ga")
    text = text.replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    return "\n".join(f"\\&{t}" if t[:1] == "." else t for t in text.splitlines())


def _man_verb(verb: Verb) -> str:
    lines = [f".SS {_roff(_usage(verb))}"]
    for block in verb.help.split("\n\n"):
        is_list = block.startswith("  ")
        lines += [".PP", ".nf"] if is_list else [".PP"]
        lines += [_roff(block)] + [".fi"] * is_list
    lines += _man_items((_shape(arg), arg.help + _repeats(arg)) for arg in verb.args)
    lines += [".PP", "Examples:", ".RS", ".nf"]
    return "\n".join([*lines, *map(_roff, verb.examples), ".fi", ".RE"])


def _man_items(rows: Iterable[tuple[str, str]]) -> list[str]:
    # A long list of choices may be broken behind each of them.
    return [
        ".TP\n.B " + _roff(head).replace("|", "|\\:") + f"\n{_roff(text)}"
        for head, text in rows
    ]


PAGES: dict[str, Callable[[], str]] = {
    "command-line.md": command_line,
    "settings.md": settings_page,
    "errors.md": errors_page,
    "states.md": states_page,
    "../man/sshjobs.1": man_page,
}


def main(arguments: list[str]) -> int:
    """Write or check every page; return 1 if one was stale under ``--check``."""
    stale = []
    for name, page in PAGES.items():
        path, text = _REFERENCE / name, page()
        if path.exists() and path.read_text("utf-8") == text:
            continue
        stale.append(name)
        if "--check" not in arguments:
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, "utf-8")
    for name in stale:
        print(f"docs/reference/{name}", file=sys.stderr)
    if stale and "--check" in arguments:
        print("not up to date: run inv docs", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
