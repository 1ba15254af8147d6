"""Looking for obstacles on a host, over its one connection."""

from __future__ import annotations

import time

from ..errors import HostError, find_hint
from ..protocol import End, Fact, Request
from ..rounds import Coordinator
from ..rounds.needs import require_fresh_round
from ..rounds.unrecorded import ask_unrecorded
from ..rounds.wish import ASKING
from ..startup.records import TYPE_CHECKING, Record
from ..store import on_network
from ..store.home import NETWORK_TYPES
from .context import Context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..protocol import Event

GOOD, WARN, BAD = "ok", "warn", "bad"

#: A clock that is further off than this shows in the times of jobs.
_SKEW = 5.0

#: Below this many kilobytes, or inodes, a host is as good as full.
_LITTLE = 100_000
_FEW_INODES = 10_000

#: What it means that a host cannot do something.
_ABILITIES = {
    "setsid": "no setsid: a job shares its session with others",
    "signals": "jobs start with SIGINT and SIGQUIT ignored",
    "proc": "no /proc: what leaves a job's session cannot be found",
    "boot": "no boot id: that the host was rebooted is told by start times alone",
    "bytes": "dd cannot skip bytes: logs come more slowly",
}


class Finding(Record):
    """One thing that was looked at: its state, and the remedy."""

    level: str  # ok, warn, bad
    what: str
    advice: str = ""


def examine_host(ctx: Context, host: str) -> list[Finding]:
    """Look at the way to a host and at the host; name each remedy.

    It makes the connection if there is none, and never a second one.

    Raises:
        HostUnreachable: there is no connection to be had.
        AuthenticationError: the key or the host key was refused.
    """
    with ctx.coordinator(host) as coordinator:
        findings = list(_judge_this_machine(ctx, coordinator))
        try:
            coordinator.wait_for(
                require_fresh_round(coordinator.site, coordinator.clock())
            )
            findings.append(Finding(GOOD, "a round came back whole"))
        except HostError as error:
            findings.append(Finding(BAD, error.detail, error.hint))
        before = time.time()
        facts = _ask_for_facts(coordinator)
        middle = (before + time.time()) / 2
        return findings + list(_judge_host(facts, middle))


def _judge_this_machine(ctx: Context, coordinator: Coordinator) -> Iterator[Finding]:
    """Look at this machine."""
    identity = coordinator.identity
    if identity.is_local:
        yield Finding(GOOD, "this machine, without ssh")
    else:
        version = ".".join(map(str, identity.version))
        by = f"OpenSSH {version}" if identity.ssh else "Fabric"
        where = f"{identity.user}@{identity.hostname} port {identity.port}"
        yield Finding(GOOD, f"{where}, by {by}")
        if identity.jump:
            yield Finding(GOOD, f"through {identity.jump}")
    kind = on_network(ctx.home)
    if kind:
        yield Finding(
            WARN,
            f"the record {ctx.home} lies on a network file system ({kind})",
            find_hint("doctor:record"),
        )
    else:
        yield Finding(GOOD, f"the record is {ctx.home}")
    if not coordinator.rundir.startswith(ctx.home):
        text = f"sockets are in {coordinator.rundir}: below {ctx.home} none fits"
        yield Finding(GOOD, text)


def _ask_for_facts(coordinator: Coordinator) -> dict[str, list[str]]:
    """Return the words of the host about itself, by name."""
    facts: dict[str, list[str]] = {}

    def keep(event: Event) -> None:
        if isinstance(event, Fact):
            facts.setdefault(event.name, []).append(event.text)
        elif isinstance(event, End):
            facts["end"] = ["yes"]

    base = coordinator.settings.remote_base_dir
    launcher = coordinator.settings.launcher
    launchers = () if launcher == "process" else (launcher,)
    request = Request(base_dir=base, examine=True, launchers=launchers)
    hooks = coordinator.leadership.build_hooks()
    coordinator.site.contact.begin(ASKING)
    ask_unrecorded(coordinator.site, hooks, request, keep)
    return facts


def _judge_host(facts: dict[str, list[str]], now: float) -> Iterator[Finding]:
    """Judge the host's words."""

    def fact(name: str) -> str:
        return facts.get(name, [""])[0]

    if "end" not in facts:
        yield Finding(BAD, "the host's sh did not run the whole examination")
        return
    yield Finding(GOOD, f"{fact('system')}, login shell {fact('shell')}")
    if facts.get("missing"):
        missing = ", ".join(facts["missing"])
        text = f"tools are missing: {missing}"
        yield Finding(BAD, text, find_hint("doctor:tools"))
    if fact("fstype") in NETWORK_TYPES:
        text = f"jobs lie on a network file system ({fact('fstype')})"
        yield Finding(GOOD, text, find_hint("doctor:shared"))
    lacking = [name for name in _ABILITIES if fact(name) == "no"]
    yield from (
        Finding(WARN, _ABILITIES[name], find_hint(f"doctor:{name}")) for name in lacking
    )
    yield from _judge_numbers(fact("space"), fact("inodes"), fact("clock"), now)
    if "launcher" in facts:
        yield from _judge_scheduler(facts, fact("fstype") in NETWORK_TYPES)
    if fact("killuser") and "launcher" not in facts:
        yield Finding(
            BAD,
            "logind ends all processes of a login with it (KillUserProcesses=yes)",
            find_hint("doctor:linger"),
        )


def _judge_scheduler(facts: dict[str, list[str]], is_shared: bool) -> Iterator[Finding]:
    """Judge what the host says of the scheduler to which jobs are handed."""
    text = facts["launcher"][0]
    if text.startswith("no: "):
        yield Finding(BAD, text[4:], find_hint("doctor:launcher"))
        return
    yield Finding(GOOD, f"jobs are handed to {text}")
    yield from (Finding(GOOD, f"partition {p}") for p in facts.get("partition", ()))
    limits = dict(
        limit.split(" ", 1) for limit in facts.get("limit", ()) if " " in limit
    )
    if limits:
        kind = limits.pop("AccountingStorageType", "")
        has = "no accounting" if kind.endswith(("none", "(null)")) else kind
        rest = ", ".join(f"{name} {value}" for name, value in limits.items())
        yield Finding(GOOD, f"{has}; {rest}" if has else rest)
    if not is_shared and not text.startswith("systemd "):
        yield Finding(
            WARN,
            "the base directory lies on a disk that looks like this host's own",
            find_hint("doctor:nodes"),
        )


def _read_count(text: str) -> int | None:
    """Read a number of the host's, which may say anything."""
    return int(text) if text.isdecimal() and len(text) <= 15 else None


def _judge_numbers(
    space_text: str, inodes_text: str, clock_text: str, now: float
) -> Iterator[Finding]:
    """Judge the room that the host has for jobs, and its clock."""
    space, inodes = _read_count(space_text), _read_count(inodes_text)
    if space is not None:
        is_full = space < _LITTLE
        advice = find_hint("doctor:space") if is_full else ""
        text = f"{space // 1024} MiB are free for jobs"
        yield Finding(BAD if is_full else GOOD, text, advice)
    if inodes and inodes < _FEW_INODES:
        yield Finding(BAD, f"{inodes} inodes are free", find_hint("doctor:inodes"))
    clock = _read_count(clock_text)
    skew = 0.0 if clock is None else now - clock
    if abs(skew) > _SKEW:
        text = f"the host's clock differs by {skew:.0f} s"
        yield Finding(WARN, text, find_hint("doctor:clock"))
