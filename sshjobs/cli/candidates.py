"""Names that can stand in a command line: hosts, jobs, names, keys, variables.

They are read from files of this machine; no host is asked and nothing is written. Names
may be those of others (a job that was adopted, a file of the system), and a shell puts
them into a command line. So only a name in which no shell finds more than a name comes
out, and a hint has no control characters.
"""

from __future__ import annotations

import os

from ..errors import SshJobsError
from ..host_names import check_host
from ..model import POOL, printable
from ..startup.records import TYPE_CHECKING, Record
from ..states import ACTIVE, FINAL, STATES
from ..store.glimpse import KnownJob, glimpse_hosts, glimpse_jobs
from ..store.home import default_home, login_home

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from typing import Any

#: So many jobs are offered at most; so many ids where nothing has been typed of one.
_MOST_JOBS = 300
_MOST_BARE_IDS = 20

_LONGEST = 120
_LONGEST_HINT = 60

#: A verb that means these jobs only; other verbs mean all.
_STATES = {
    "kill": ACTIVE,
    "wait": ACTIVE,
    "poll": ACTIVE,
    "reap": FINAL,
    "rerun": FINAL,
}


class Candidate(Record):
    """A word that can stand at the cursor, and a remark on it."""

    word: str
    hint: str = ""


def shorten_hint(text: str) -> str:
    """Return a remark as one short line for a terminal."""
    text = printable(text)
    return text if len(text) <= _LONGEST_HINT else f"{text[: _LONGEST_HINT - 1]}…"


def _is_harmless(name: str) -> bool:
    """Tell whether a shell, once it has quoted a name, can take it for nothing else."""
    is_short = 0 < len(name) <= _LONGEST
    return (
        is_short and name.isprintable() and name[0] != "-" and not set("$`") & set(name)
    )


def _open_home(environ: Mapping[str, str]) -> str:
    try:
        return default_home(dict(environ))
    except SshJobsError:
        return ""


def offer_hosts(environ: Mapping[str, str], config: str) -> list[Candidate]:
    """Return ``local``, the hosts of ssh_config, and those of the record.

    Args:
        config: The ssh_config that the call names, as ``ssh -F`` takes it, or "".
    """
    from ..transports.identity.config_names import list_config_hosts
    from ..verbs.config import read_config

    found = {"local": "this machine"}
    try:
        settings = read_config(environ)
    except SshJobsError:
        settings = {}
    config = config or environ.get("SSHJOBS_SSH_CONFIG", "")
    config = config or str(settings.get("ssh_config", ""))
    user_home = login_home()
    usual = [os.path.join(user_home, ".ssh/config"), "/etc/ssh/ssh_config"]
    for name in list_config_hosts([config] if config else usual, user_home):
        found.setdefault(name, "ssh_config")
    for name in settings.get("host", ()):
        found.setdefault(name, "config.toml")
    for name in glimpse_hosts(_open_home(environ)):
        found.setdefault(name, "known here")
    hosts = [Candidate(name, hint) for name, hint in found.items() if _is_host(name)]
    return [*hosts, *_offer_pools(settings)]


def _offer_pools(config: Mapping[str, Any]) -> list[Candidate]:
    """Return the pools of a config file, if they are as they should be."""
    from ..settings import check_config

    pools = config.get("pools", {})
    try:
        check_config({"pools": pools})
    except SshJobsError:
        return []
    return [
        Candidate(POOL + name, shorten_hint(", ".join(pool["hosts"])))
        for name, pool in pools.items()
    ]


def _is_host(name: str) -> bool:
    try:
        check_host(name)
    except SshJobsError:
        return False
    return _is_harmless(name)


def offer_jobs(environ: Mapping[str, str], verb: str, current: str) -> list[Candidate]:
    """Return the words for a JOB that begin as the word at the cursor does."""
    if current.startswith("key:"):
        keys = offer_labels(environ, "key", current[4:])
        return [key._replace(word=f"key:{key.word}") for key in keys]
    jobs = _glimpse(environ, current, _STATES.get(verb, STATES))
    found = list(_count_labels(jobs, "name", current))
    ids = [job for job in jobs if job.id.startswith(current) and _is_harmless(job.id)]
    for job in ids if current else ids[:_MOST_BARE_IDS]:
        found.append(Candidate(job.id, _describe(job, job.name or job.key)))
    if "key:".startswith(current) and any(job.key for job in jobs):
        found.append(Candidate("key:", "a job by its key"))
    return found


def offer_labels(
    environ: Mapping[str, str], field: str, current: str
) -> list[Candidate]:
    """Return the names of jobs, or their keys, that begin as the word does."""
    return list(_count_labels(_glimpse(environ, current, STATES), field, current))


def _glimpse(
    environ: Mapping[str, str], beginning: str, states: Iterable[str]
) -> list[KnownJob]:
    home = _open_home(environ)
    return glimpse_jobs(home, beginning, tuple(states), _MOST_JOBS) if home else []


def _count_labels(
    jobs: Iterable[KnownJob], field: str, current: str
) -> Iterator[Candidate]:
    """Yield each name, or key, of jobs once; the newest job's comes first."""
    groups: dict[str, list[KnownJob]] = {}
    for job in jobs:
        label = getattr(job, field)
        if label.startswith(current) and _is_harmless(label):
            groups.setdefault(label, []).append(job)
    for label, group in groups.items():
        hint = f"{len(group)} jobs" if len(group) > 1 else _describe(group[0], "")
        yield Candidate(label, hint)


def _describe(job: KnownJob, label: str) -> str:
    return shorten_hint("  ".join(filter(None, (label, job.state, job.host))))


def offer_variables(environ: Mapping[str, str]) -> list[Candidate]:
    """Return the names of the variables of this environment."""
    return [
        Candidate(name)
        for name in sorted(environ)
        if name.isascii() and name.isidentifier()
    ]
