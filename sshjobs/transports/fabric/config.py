"""Reads ssh_config where there is no ssh to ask, with the parser that Fabric uses.

That parser (paramiko 5.1) knows Host, Match, tokens and first-value-wins. This module
adds the rest: Include, the home directory that the system records, the value that
ssh takes where ProxyJump and ProxyCommand both stand.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from paramiko import SSHConfig
from paramiko.ssh_exception import ConfigParseError, CouldNotCanonicalize

from ...errors import SpecError
from ...host_names import check_host
from ...settings import Settings
from ..env import find_program, read_home, read_user_name
from ..identity.config_names import split_config_words
from ..identity.fingerprint import digest_values, expand_tilde
from ..identity.identity import Identity, stat_file
from ..identity.ssh_config import (
    check_route,
    find_variables,
    is_cacheable,
    list_sources,
    read_options,
    read_times,
)
from ..login_files import list_agent_paths, list_first_files, list_login_files

#: How deep ssh follows Include (readconf.c, 9.2).
_DEPTH = 16
_LINE = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(.*)")
_KEYS = ("rsa", "ecdsa", "ed25519")
_USER_KNOWN = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_SHARED_KNOWN = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"
_SMALL = ("hostname", "hostkeyalias")


class Reading(NamedTuple):
    """A configuration, ready for lookups, and the files that it came from.

    ``user`` is the User of the options, which beats USER@HOST.
    """

    config: SSHConfig
    paths: list[str]
    contents: list[bytes]
    user: str = ""


def read_files(host: str, path: str, options: tuple[str, ...]) -> Reading:
    """Read the files that ssh would read.

    Args:
        host: The HOST that the user typed, for the error.
        path: As in ``ssh -F``; empty for the user's file and the system's.
        options: As in ``ssh -o``; they come first, so they win.

    Raises:
        SpecError: a file that must be there is not, or a line is no setting.
    """
    files: dict[str, bytes] = {}
    lines = [_LINE.sub(r"\1 \2", option) for option in options]
    users = [line.split()[-1] for line in lines if line.lower().startswith("user ")]
    for top in [] if path == "none" else list_first_files(path):
        lines += ["Host *", *_flatten_file(top, "", files)]
    if path not in ("", "none") and path not in files:
        raise SpecError(f"{host}: Can't open user config file {path}")
    try:
        config = SSHConfig.from_text("\n".join(lines))
    except ConfigParseError as error:
        raise SpecError(f"{host}: ssh_config: {error}") from error
    return Reading(config, list(files), list(files.values()), "".join(users[:1]))


def _flatten_file(
    path: str, outer: str, files: dict[str, bytes], depth: int = 0
) -> Iterator[str]:
    """Yield the lines of a file, with those of each Include in its place.

    Args:
        outer: The conditions for the file to count: the criteria of the block that
            includes it, as for Match; empty outside of any.
    """
    try:
        with open(path, "rb") as file:
            files[path] = file.read()
    except OSError:
        return
    inner = outer
    for line in files[path].decode("utf-8", "surrogateescape").splitlines():
        found = _LINE.match(line)
        word = found[1].lower() if found else ""
        if found and word == "include" and depth < _DEPTH:
            for name in _find_included(found[2], path):
                yield from _flatten_file(name, inner, files, depth + 1)
                yield _write_block(inner)
        elif found and word in ("host", "match"):
            # The criteria of a Host line as Match writes them, too.
            hosts = f"originalhost {','.join(found[2].split())}"
            criteria = hosts if word == "host" else found[2].strip()
            criteria = "" if criteria.lower() == "all" else criteria
            inner = f"{outer} {criteria}".strip()
            yield _write_block(inner)
        else:
            # ssh takes some in small letters, before it puts them anywhere.
            yield expand_tilde(line.lower() if word in _SMALL else line)


def _write_block(criteria: str) -> str:
    return f"Match {criteria}" if criteria else "Host *"


def _find_included(patterns: str, path: str) -> list[str]:
    base = "/etc/ssh" if path.startswith("/etc/") else os.path.join(read_home(), ".ssh")
    words = split_config_words(expand_tilde(patterns))
    return [
        name for word in words for name in sorted(glob.glob(os.path.join(base, word)))
    ]


def look_up_values(reading: Reading, target: str) -> dict[str, list[str]]:
    """Return the values for a host, as ``ssh -G`` would say them, without defaults.

    Args:
        target: NAME or USER@NAME.

    Raises:
        SpecError: a value that cannot be.
    """
    user, _, name = target.rpartition("@")
    try:
        found: Mapping[str, Any] = reading.config.lookup(name)
    except (CouldNotCanonicalize, KeyError, ValueError) as error:
        raise SpecError(f"{target}: ssh_config: {error}") from error
    values = {
        key: value if isinstance(value, list) else [str(value).strip()]
        for key, value in found.items()
    }
    values["hostname"] = [found["hostname"].lower()]
    values["user"] = [reading.user or user or found.get("user", read_user_name())]
    values["port"] = [found.get("port", "22")]
    if not values["port"][0].isdigit() or not 0 < int(values["port"][0]) < 65536:
        raise SpecError(f"{target}: ssh_config: Port {values['port'][0]!r}")
    return _one_way(values)


def _one_way(values: dict[str, list[str]]) -> dict[str, list[str]]:
    """Drop the later of ProxyJump and ProxyCommand, and a value of none.

    Both dictionaries keep the order in which ssh would have found the values.
    """
    ways = [name for name in values if name in ("proxyjump", "proxycommand")]
    for name in ways:
        if name != ways[0] or values[name][0].lower() == "none":
            del values[name]
    return values


def first_value(values: dict[str, list[str]], name: str, default: str = "") -> str:
    """Return a value that stands once."""
    return (values.get(name) or [default])[0]


def says_yes(values: dict[str, list[str]], name: str, default: str = "no") -> bool:
    """Return a value that is yes or no."""
    return first_value(values, name, default).lower() in ("yes", "true")


def identity_files(values: dict[str, list[str]]) -> list[str]:
    """Return the private keys to try; those that ssh looks for if none is named."""
    named = values.get("identityfile")
    if named is None:
        return [os.path.join(read_home(), ".ssh", f"id_{kind}") for kind in _KEYS]
    return [name for name in named if name.lower() != "none"]


def known_hosts_files(values: dict[str, list[str]]) -> list[str]:
    """Return where known hosts are written down, the user's files first."""
    user = first_value(values, "userknownhostsfile", expand_tilde(_USER_KNOWN))
    shared = first_value(values, "globalknownhostsfile", _SHARED_KNOWN)
    return [
        name for name in f"{user} {shared}".replace('"', " ").split() if name != "none"
    ]


def read_identity(host: str, settings: Settings) -> Identity:
    """Return the connection that ``host`` means, as :func:`.ask_ssh_for_identity` does.

    Its key is the one that ``ssh -G`` would have led to, for all that both know.

    Raises:
        SpecError: no host name, or a configuration that is none.
    """
    address = check_host(host)
    options = read_options(settings, address)
    target = address.target
    config = settings.ssh_config
    reading = read_files(host, config, options)
    values = look_up_values(reading, target)
    jump = first_value(values, "proxyjump")
    check_route(address, first_value(values, "hostname"), jump)
    ssh = find_program("ssh")
    paths = list_sources(reading.paths, reading.contents, config, ssh)
    return Identity(
        key=digest_values(values, target, config, options),
        host=host,
        target=target,
        hostname=first_value(values, "hostname"),
        user=first_value(values, "user"),
        port=int(first_value(values, "port")),
        jump=jump,
        first_hop=f"{jump.split(',')[0]} {config}" if jump else "",
        config=config,
        options=options,
        ssh=ssh,
        files=tuple(stat_file(path) for path in paths if path),
        cacheable=is_cacheable(values, reading.contents),
        keys=list_login_files(
            values
            | {
                "identityfile": identity_files(values),
                "userknownhostsfile": known_hosts_files(values),
                "globalknownhostsfile": [],
            },
            target,
        ),
        agents=list_agent_paths(values, target),
        env=find_variables([*reading.contents, os.fsencode(settings.ssh_options)]),
        times=read_times(values),
    )
