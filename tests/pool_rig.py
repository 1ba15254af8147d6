"""A pool of real servers, each with a base directory of its own, as hosts have."""

from __future__ import annotations

import json
import os
import pwd
from pathlib import Path

from tests.cli import Cli, end_jobs, finish
from tests.sshd import Sshd


class PoolRig:
    """A pool ``pool:p`` of servers that are called n1, n2, and so on.

    Args:
        place: Where the home, the hosts' directories and the configuration are made.
        sshds: The servers.
        prefix: The names without their numbers.

    Attributes:
        cli: The command line.
        names: The hosts.
        bases: The base directory of each host.
    """

    def __init__(self, place: Path, sshds: list[Sshd], prefix: str = "n") -> None:
        self.sshds = {f"{prefix}{n}": sshd for n, sshd in enumerate(sshds, 1)}
        self.names = list(self.sshds)
        self.bases: dict[str, Path] = {}
        texts = []
        for name, sshd in self.sshds.items():
            outer = place / f"host-{name}"
            outer.mkdir()
            login = pwd.getpwnam(sshd.user)
            os.chown(outer, login.pw_uid, login.pw_gid)
            self.bases[name] = outer / "base"
            sshd.alias = name
            texts.append(sshd.write_client_config().read_text())
        path = place / "ssh_config"
        path.write_text("\n".join(texts))
        self.cli = Cli(sshds[0], place / "home", place)
        del self.cli.env["SSHJOBS_REMOTE_BASE_DIR"]
        self.cli.env["SSHJOBS_SSH_CONFIG"] = str(path)
        self.config = place / "config.toml"
        self.cli.env["SSHJOBS_CONFIG"] = str(self.config)
        self.write_config(p=self.names)

    def __repr__(self) -> str:
        return f"<PoolRig {self.names}>"

    def write_config(self, **pools: list[str]) -> None:
        """Write the config file: the hosts' tables, and pools."""
        lines = [
            f'[host."{name}"]\nremote_base_dir = "{base}"'
            for name, base in self.bases.items()
        ]
        lines += [f"[pools.{n}]\nhosts = {json.dumps(h)}" for n, h in pools.items()]
        self.config.write_text("\n".join(lines) + "\n")

    def count_runs(self, name: str) -> int:
        """Return how many jobs were ever started on a host, those that are there."""
        return len(list(self.bases[name].glob("jobs/*/run")))

    def where(self, *words: str) -> dict[str, int]:
        """Return how many jobs of the record each host has."""
        hosts = [job["host"] for job in self.cli.ok("list", "--json", *words).objects]
        return {name: hosts.count(name) for name in self.names if name in hosts}

    def close(self) -> None:
        """End every connection and job."""
        finish([self.cli.start("disconnect", name) for name in self.names])
        for base in self.bases.values():
            end_jobs(base)
