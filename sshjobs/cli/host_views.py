"""Carries out the verbs of a host: connect, disconnect, hosts and doctor."""

from __future__ import annotations

import sys

from ..errors import SshJobsError
from ..model import POOL, printable
from ..scheduling.pools import is_pool, list_pools_of, read_pool
from ..startup.records import TYPE_CHECKING
from ..verbs.context import Context
from .output import format_json, print_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from ..display.look import Look
    from ..verbs.doctor import Finding

    Values = Mapping[str, Any]


def handle_connect(ctx: Context, values: Values) -> int:
    from ..verbs.connect import connect_host

    state = connect_host(ctx, values["host"])
    if values.get("json"):
        print(format_json({"host": values["host"]} | state._asdict()))
    else:
        print_error(f"{values['host']}: connected")
    return 0


def handle_disconnect(ctx: Context, values: Values) -> int:
    from ..verbs.disconnect import disconnect_host

    was = disconnect_host(ctx, values["host"])
    if values.get("json"):
        print(format_json({"host": values["host"], "was_connected": was}))
    else:
        print_error(
            f"{values['host']}: {'disconnected' if was else 'was not connected'}"
        )
    return 0


def handle_hosts(ctx: Context, values: Values) -> int:
    import time

    from ..display.look import find_look
    from ..display.rows import build_host_object, yield_host_lines
    from ..verbs.hosts import list_hosts

    hosts = list_hosts(ctx)
    if values.get("json"):
        for host in hosts:
            pools = list_pools_of(ctx.config, host.row.host)
            print(format_json(build_host_object(host) | {"pools": pools}))
    else:
        look = find_look(sys.stdout, values.get("color") or "auto", ctx.environ)
        print("\n".join(yield_host_lines(hosts, time.time(), look)))
        for name, pool in ctx.config.get("pools", {}).items():
            print(printable(f"{POOL}{name}: {', '.join(pool['hosts'])}"))
    return 0


def handle_doctor(ctx: Context, values: Values) -> int:
    from .. import __version__
    from ..display.look import find_look
    from ..startup.stdlib import sqlite3
    from ..verbs.doctor import GOOD, Finding, examine_host

    python = ".".join(map(str, sys.version_info[:3]))
    versions = (
        f"sshjobs {__version__}, Python {python}, SQLite {sqlite3.sqlite_version}"
    )
    look = find_look(sys.stdout, values.get("color") or "auto", ctx.environ)
    if is_pool(values["host"]):
        return _examine_pool(ctx, values, Finding(GOOD, versions), look)
    findings = [Finding(GOOD, versions), *examine_host(ctx, values["host"])]
    for finding in findings:
        _print_finding(finding, values, look)
    return 1 if any(finding.level == "bad" for finding in findings) else 0


def _examine_pool(ctx: Context, values: Values, first: Finding, look: Look) -> int:
    """Look at each host of a pool; an error of one is a finding like any other."""
    from ..verbs.doctor import BAD, Finding, examine_host

    _print_finding(first, values, look)
    status = 0
    for host in read_pool(ctx.config, values["host"]):
        try:
            findings = examine_host(ctx, host)
        except SshJobsError as error:
            findings = [Finding(BAD, str(error))]
        if not values.get("json"):
            print(printable(host))
        for finding in findings:
            status = 1 if finding.level == BAD else status
            _print_finding(finding, values, look, host)
    return status


def _print_finding(
    finding: Finding, values: Values, look: Look, host: str = ""
) -> None:
    if values.get("json"):
        print(format_json(({"host": host} if host else {}) | finding._asdict()))
        return
    advice = f"  ({finding.advice})" if finding.advice else ""
    colour = {"ok": "32", "bad": "31"}.get(finding.level, "33")
    level = look.paint(f"{finding.level:<4}", colour)
    print(f"{level}  {printable(finding.what + advice)}")


HANDLERS: dict[str, Callable[[Context, Values], int]] = {
    "connect": handle_connect,
    "disconnect": handle_disconnect,
    "hosts": handle_hosts,
    "doctor": handle_doctor,
}
