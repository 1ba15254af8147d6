"""``python -m tests.scale``: how far it goes, measured on this machine."""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench.__main__ import _login as find_login
from tests.scale.clients import measure_crowd
from tests.scale.page import describe_crowd, describe_phases, put_block
from tests.scale.simulation import simulate
from tests.sshd import sshd_path

#: Hosts, jobs of each, client machines.
_FULL, _SMALL = (1000, 1000, 100), (20, 50, 5)


def main(words: Sequence[str] | None = None) -> int:
    """Run what was asked for; print it; write it into the page."""
    parser = argparse.ArgumentParser(prog="python -m tests.scale", description=__doc__)
    parser.add_argument("--small", action="store_true", help="small numbers")
    parser.add_argument("--only", choices=("simulation", "clients"))
    parser.add_argument("--hosts", type=int)
    parser.add_argument("--jobs", type=int, help="of each host")
    parser.add_argument("--clients", type=int)
    parser.add_argument("--out", type=Path, help="the page to write the figures into")
    options = parser.parse_args(words)
    usual = _SMALL if options.small else _FULL
    hosts, jobs = options.hosts or usual[0], options.jobs or usual[1]
    blocks = {}
    if options.only != "clients":
        blocks["simulation"] = _simulate(hosts, jobs)
    if options.only != "simulation":
        blocks["clients"] = _measure_clients(options.clients or usual[2])
    for name, block in blocks.items():
        print(f"\n{block}")
        if options.out and block:
            text = options.out.read_text("utf-8")
            options.out.write_text(put_block(text, name, block), "utf-8")
    return 0


def _simulate(hosts: int, jobs: int) -> str:
    folder = Path(tempfile.mkdtemp(prefix="ss", dir="/tmp"))
    try:
        phases = simulate(folder, hosts, jobs, _tell)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return describe_phases(phases, hosts, jobs, describe_machine())


def _measure_clients(clients: int) -> str:
    user = find_login()
    if not (sshd_path() and user):
        _tell("left out: client machines want sshd, and a user to log in as")
        return ""
    folder = Path(tempfile.mkdtemp(prefix="sc", dir="/tmp"))
    folder.chmod(0o755)
    try:
        crowd = measure_crowd(folder, user, clients, _tell)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return describe_crowd(crowd, describe_machine())


def describe_machine() -> str:
    """Return the machine in a few words, and how busy it is besides."""
    release = ".".join(platform.release().split(".")[:2])
    load = os.getloadavg()[2]
    return (
        f"{os.cpu_count()} processors, {platform.system()} {release}, Python "
        f"{platform.python_version()}, load {load:.0f} in the last quarter of an hour"
    )


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
