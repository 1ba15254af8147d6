"""Asks ``ssh -G`` which connection a host name means."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Mapping

from ..errors import HostUnreachable, SpecError
from ..model import Address, check_address, check_hop, check_host, check_user
from ..settings import Settings
from .causes import words
from .env import home, ssh_env
from .identity import Identity, seen
from .process import Child, not_started, spawn, which
from .pump import Pump, Silence
from .telling import NAMES, digest

#: Values that name files which decide whether a login succeeds.
_KEYS = "identityfile certificatefile userknownhostsfile globalknownhostsfile".split()

# A configuration whose meaning depends on more than its files: a command, the
# network, the name service. "final" and "canonical" do so through the last.
_LIVE = re.compile(
    rb"^\s*match\b.*\b(exec|localnetwork|canonical|final)\b", re.I | re.M
)
_INCLUDE = re.compile(rb"^\s*include[\s=]+(.+)$", re.I | re.M)
_READING = re.compile(r"^debug1: Reading configuration data (.+)$", re.M)
_OPTION = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(\S.*)", re.S)
_VERSION = re.compile(r"^OpenSSH_(\d+)\.(\d+)", re.M)


def resolve(host: str, settings: Settings) -> Identity:
    """Return the connection that ``host`` means, as the system's ssh reads it.

    No packet is sent, unless the user's own configuration has ssh do so
    (CanonicalizeHostname, ``Match exec``). ``ssh:NAME`` is NAME, for an alias that
    is called ``local``.

    Raises:
        SpecError: no host name, or a configuration that ssh refuses; ssh's own
            words are in the message.
        HostUnreachable: there is no ssh here, or it did not answer in time.
    """
    address = check_host(host)
    options = options_of(settings, address)
    target = address.target
    ssh, out, err = _ask_ssh(host, target, settings, options)
    values = _read(out)
    if "hostname" not in values:
        raise SpecError(
            f"{host}: ssh refuses the name or its configuration: {words(err)}"
        )
    check_way(address, _last(values, "hostname"), _last(values, "proxyjump"))
    return _build(host, target, settings.ssh_config, options, ssh, values, err)


def options_of(settings: Settings, address: Address) -> tuple[str, ...]:
    """Return what ssh is given by ``-o``, each looked at as a HOST is.

    The port of a URI comes last: ssh takes the first that it is told, as ever.

    Raises:
        SpecError: an open quote, or a name that is none.
    """
    try:
        words = shlex.split(settings.ssh_options)
    except ValueError as error:
        text = f"ssh_options: {error}: {settings.ssh_options!r}"
        raise SpecError(text) from error
    for word in words:
        _check_option(word)
    return (*words, f"Port={address.port}") if address.port else tuple(words)


def _check_option(word: str) -> None:
    found = _OPTION.fullmatch(word)
    if found is None or "\0" in word:
        raise SpecError(f"ssh_options: not NAME=VALUE: {word!r}")
    name, value = found[1].lower(), found[2].strip().strip('"')
    try:
        if name == "user":
            check_user(value)
        elif name == "hostname":
            check_address(f"u@{value}")
    except ValueError as error:
        raise SpecError(f"ssh_options: not a name: {word!r}") from error
    for hop in value.split(",") if name == "proxyjump" and value != "none" else ():
        check_hop(hop)


def check_way(address: Address, hostname: str, jump: str) -> None:
    """Look at where a configuration leads.

    Raises:
        SpecError: a jump host that is none; or NAME:PORT, which ssh takes for a name.
    """
    for hop in jump.split(",") if jump not in ("", "none") else ():
        check_hop(hop)
    name, _, port = address.name.rpartition(":")
    if port.isdigit() and ":" not in name and hostname == address.name.lower():
        where = Address(address.user, name).target
        raise SpecError(
            f"not a host name: {address.target!r} (a port is said as "
            f"ssh://{where}:{port}, or as -p {port} {where})"
        )


def _read(out: str) -> dict[str, list[str]]:
    values: dict[str, list[str]] = {}
    for line in out.splitlines():
        name, _, value = line.partition(" ")
        values.setdefault(name.lower(), []).append(value)
    return values


def _build(
    host: str,
    target: str,
    config: str,
    options: tuple[str, ...],
    ssh: str,
    values: Mapping[str, list[str]],
    err: str,
) -> Identity:
    read = _READING.findall(err)
    contents = _contents(read)
    jump = _last(values, "proxyjump")
    version = _VERSION.search(err)
    return Identity(
        key=digest(values, target, config, options),
        host=host,
        target=target,
        hostname=_last(values, "hostname"),
        user=_last(values, "user"),
        port=int(_last(values, "port") or 22),
        jump=jump,
        first_hop=f"{jump.split(',')[0]} {config}" if jump else "",
        proxied=bool(jump) or _last(values, "proxycommand") not in ("", "none"),
        config=config,
        options=options,
        ssh=ssh,
        version=(int(version[1]), int(version[2])) if version else (0, 0),
        files=tuple(seen(path) for path in rests_on(read, contents, config, ssh)),
        cacheable=is_cacheable(values, contents),
        agent=_last(values, "identityagent"),
        keys=key_files(values),
    )


def _last(values: Mapping[str, list[str]], name: str) -> str:
    word = (values.get(name) or [""])[-1]
    return "" if name == "proxyjump" and word == "none" else word


def key_files(values: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Return the files that decide whether a login succeeds."""
    words = " ".join(word for name in _KEYS for word in values.get(name, []))
    return tuple(words.split())


def is_cacheable(values: Mapping[str, list[str]], contents: Iterable[bytes]) -> bool:
    """Tell whether the answer is the same for as long as no file changes."""
    if any("${" in value for name in NAMES for value in values.get(name, [])):
        return False
    if _last(values, "canonicalizehostname") not in ("", "no", "none", "false"):
        return False
    return not any(_LIVE.search(content) for content in contents)


def _contents(paths: Iterable[str]) -> list[bytes]:
    contents = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                contents.append(file.read())
        except OSError:  # ssh has just read it; whatever it is now, do not trust it
            contents.append(b"match exec")
    return contents


def rests_on(
    read: list[str], contents: list[bytes], config: str, ssh: str
) -> list[str]:
    """Return every path whose change would change the answer, each once."""
    paths = [ssh, *read]
    if not config:
        paths += [os.path.join(home(), ".ssh/config"), "/etc/ssh/ssh_config"]
    for name, content in zip(read, contents):
        base = "/etc/ssh" if name.startswith("/etc/") else os.path.join(home(), ".ssh")
        paths += included(content, base)
    return list(dict.fromkeys(paths))


def included(content: bytes, base: str) -> list[str]:
    """Return the directories in which an Include looks; a new file changes them."""
    folders = []
    for line in _INCLUDE.findall(content):
        for word in os.fsdecode(line).replace('"', " ").split():
            word = re.sub("^~(?=/)", home(), word)
            folder = os.path.dirname(os.path.join(base, word))
            while re.search(r"[*?\[]", folder):
                folder = os.path.dirname(folder)
            folders.append(folder)
    return folders


def _ask_ssh(
    host: str, target: str, settings: Settings, options: tuple[str, ...]
) -> tuple[str, str, str]:
    """Run ``ssh -v -G``; return the path of ssh, what it printed and its stderr.

    ``-v`` has ssh name each file that it reads and its own version. ``-N`` is what the
    master says too: with ``ForkAfterAuthentication yes`` and neither it nor a command,
    ssh refuses even to print (OpenSSH 9.2, ssh.c).

    Raises:
        HostUnreachable: there is no ssh, or it did not answer in time.
    """
    ssh = which("ssh")
    if not ssh:
        raise HostUnreachable(host, "no ssh client on PATH here", "install OpenSSH")
    argv = [ssh, "-v", "-G", "-N"]
    argv += ["-F", settings.ssh_config] if settings.ssh_config else []
    for option in options:
        argv += ["-o", option]
    try:
        out, err = _capture([*argv, "--", target], settings)
    except Silence as error:
        raise HostUnreachable(
            host,
            f"ssh -G did not answer within {settings.banner_timeout:g} s",
            "a Match exec of ssh_config may hang",
        ) from error
    except OSError as error:
        raise not_started(host, ssh, error) from error
    return ssh, out, err.replace("\r", "")


def _capture(argv: list[str], settings: Settings) -> tuple[str, str]:
    pieces: list[bytes] = []
    pump = Pump(b"", pieces.append, settings.banner_timeout, stderr_bytes=1 << 20)
    child = None
    try:
        child = Child(spawn(argv, ssh_env(settings), pump.theirs))
        pump.handed_over()
        pump.run(child.fd, child.poll)
    finally:
        pump.close()
        if child is not None:
            child.kill()
    out = b"".join(pieces).decode("utf-8", "surrogateescape")
    return out, pump.stderr.decode("utf-8", "surrogateescape")
