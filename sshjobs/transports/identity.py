"""Which connection a host name means, and where its socket and locks are.

Two names share a connection when ``ssh -G`` resolves both to the same values and
they are read from the same configuration; nothing else makes them one.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..errors import SpecError, StoreError
from ..model import check_host
from ..settings import Settings

#: What tells two connections apart; names as ``ssh -G`` prints them (8.0 to 10.5).
_TELLING = (
    "hostname user port addressfamily bindaddress bindinterface proxyjump "
    "proxycommand proxyusefdpass identityfile identityagent identitiesonly "
    "certificatefile hostkeyalias userknownhostsfile globalknownhostsfile "
    "knownhostscommand stricthostkeychecking verifyhostkeydns "
    "nohostauthenticationforlocalhost pkcs11provider securitykeyprovider "
    "preferredauthentications pubkeyauthentication passwordauthentication "
    "kbdinteractiveauthentication hostbasedauthentication gssapiauthentication "
    "gssapidelegatecredentials gssapiclientidentity gssapiserveridentity"
).split()

# A configuration whose meaning depends on more than its files: a command, the
# network, the name service. "final" and "canonical" do so through the last.
_LIVE = re.compile(
    rb"^\s*match\b.*\b(exec|localnetwork|canonical|final)\b", re.I | re.M
)
_INCLUDE = re.compile(rb"^\s*include[\s=]+(.+)$", re.I | re.M)
_READING = re.compile(r"^debug1: Reading configuration data (.+)$", re.M)
_VERSION = re.compile(r"^OpenSSH_(\d+)\.(\d+)", re.M)

#: A socket's path is at most 90 bytes long: ssh adds 17 while it binds, and 107 is
#: what sockaddr_un holds (OpenSSH 9.2 and 10.5; openssh.md §7).
MAX_SOCKET = 90
_SOCKET = "s."
_KEY_LENGTH = 16


class Identity(NamedTuple):
    """One connection of this machine: what it leads to and what that rests on.

    ``key`` names it in files and in the store. ``host`` is what the user typed,
    ``target`` the word that ssh is given for it; it is empty for this machine.
    ``first_hop`` names the first jump host together with the configuration, or is
    empty. ``files`` are (path, mtime_ns, size) of all that was read to find this
    out, of what would be read if it existed, and of ``ssh`` itself.
    """

    key: str
    host: str
    target: str
    hostname: str
    user: str
    port: int
    jump: str = ""
    first_hop: str = ""
    proxied: bool = False
    config: str = ""
    options: tuple[str, ...] = ()
    ssh: str = ""
    version: tuple[int, int] = (0, 0)
    files: tuple[tuple[str, int, int], ...] = ()
    cacheable: bool = True

    @property
    def is_local(self) -> bool:
        """Tell whether this is the machine that we are on, reached without ssh."""
        return not self.target

    def socket(self, folder: str) -> str:
        """Return where the control socket is."""
        return os.path.join(folder, _SOCKET + self.key)

    def dumps(self) -> str:
        """Write it down as a JSON text, for the store to keep."""
        return json.dumps(self)

    @classmethod
    def loads(cls, text: str) -> Identity:
        """Read what :meth:`dumps` wrote.

        Raises:
            ValueError: it was written by a version with other fields.
        """
        values = json.loads(text)
        if not isinstance(values, list) or len(values) != len(cls._fields):
            raise ValueError("not an identity of this version")
        plain = cls(*values)
        return plain._replace(
            options=tuple(plain.options),
            version=(plain.version[0], plain.version[1]),
            files=tuple((path, mtime, size) for path, mtime, size in plain.files),
        )

    def fresh(self) -> bool:
        """Tell whether resolving again would give the same; one stat a file."""
        return self.cacheable and all(_seen(entry[0]) == entry for entry in self.files)


def cache_name(host: str, settings: Settings) -> str:
    """Return the name under which the identity of ``host`` may be kept.

    All that the caller says about the host goes in; the rest is :meth:`Identity.fresh`.
    """
    return json.dumps([host, settings.ssh_config, settings.ssh_options, os.geteuid()])


def resolve(host: str, settings: Settings) -> Identity:
    """Return the connection that ``host`` means, as the system's ssh reads it.

    No packet is sent, unless the user's own configuration has ssh do so
    (CanonicalizeHostname, ``Match exec``). ``local`` is this machine;
    ``ssh:NAME`` is NAME, for an alias that is called ``local``.

    Raises:
        SpecError: no host name, or a configuration that ssh refuses; ssh's own
            words are in the message.
        HostUnreachable: there is no ssh here, or it did not answer in time.
    """
    if host == "local":
        return _local()
    target = check_host(host.removeprefix("ssh:"))
    options = tuple(settings.ssh_options.split())
    from .resolving import ask_ssh

    ssh, out, err = ask_ssh(host, target, settings, options)
    values = _read(out)
    if "hostname" not in values:
        from .causes import words

        raise SpecError(
            f"{host}: ssh refuses the name or its configuration: {words(err)}"
        )
    return _build(host, target, settings.ssh_config, options, ssh, values, err)


def _local() -> Identity:
    key = hashlib.sha256(b"local").hexdigest()[:_KEY_LENGTH]
    return Identity(key, "local", "", os.uname().nodename, str(os.geteuid()), 0)


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
    telling = {name: values.get(name, []) for name in _TELLING}
    read = _READING.findall(err)
    contents = _contents(read)
    jump = _last(values, "proxyjump")
    version = _VERSION.search(err)
    return Identity(
        key=_digest(telling, target, config, options),
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
        files=tuple(_seen(path) for path in _rests_on(read, contents, config, ssh)),
        cacheable=_is_cacheable(values, telling, contents),
    )


def _last(values: Mapping[str, list[str]], name: str) -> str:
    word = (values.get(name) or [""])[-1]
    return "" if name == "proxyjump" and word == "none" else word


def _digest(
    telling: Mapping[str, list[str]],
    target: str,
    config: str,
    options: tuple[str, ...],
) -> str:
    said = json.dumps([telling, config, options])
    # %n is the name as typed, and %k falls back on it (ssh_config(5) TOKENS): with
    # either in it, the same text means another thing for another alias.
    typed = target if re.search("%[nk]", said) else ""
    return hashlib.sha256(
        json.dumps([_expand(said), typed]).encode("utf-8", "surrogateescape")
    ).hexdigest()[:_KEY_LENGTH]


def _expand(text: str) -> str:
    """Put the environment into ``${NAME}``, as ssh does when it uses the value."""
    return re.sub(r"\$\{(\w+)\}", lambda found: os.environ.get(found[1], ""), text)


def _is_cacheable(
    values: Mapping[str, list[str]],
    telling: Mapping[str, list[str]],
    contents: Iterable[bytes],
) -> bool:
    if any("${" in value for group in telling.values() for value in group):
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


def _rests_on(
    read: list[str], contents: list[bytes], config: str, ssh: str
) -> list[str]:
    """Return every path whose change would change the answer, each once."""
    from .resolving import home

    paths = [ssh, *read]
    if not config:
        paths += [os.path.join(home(), ".ssh/config"), "/etc/ssh/ssh_config"]
    for name, content in zip(read, contents):
        base = "/etc/ssh" if name.startswith("/etc/") else os.path.join(home(), ".ssh")
        paths += _included(content, base)
    return list(dict.fromkeys(paths))


def _included(content: bytes, base: str) -> list[str]:
    """Return the directories in which an Include looks; a new file changes them."""
    from .resolving import home

    folders = []
    for line in _INCLUDE.findall(content):
        for word in os.fsdecode(line).replace('"', " ").split():
            word = re.sub("^~(?=/)", home(), word)
            folder = os.path.dirname(os.path.join(base, word))
            while re.search(r"[*?\[]", folder):
                folder = os.path.dirname(folder)
            folders.append(folder)
    return folders


def _seen(path: str) -> tuple[str, int, int]:
    """Return the path with its time of change and size; zeros if it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return (path, 0, -1)
    return (path, found.st_mtime_ns, found.st_size)


def rundir(home: str) -> str:
    """Return the directory for sockets, locks and logs of the store at ``home``.

    It is below ``home`` where a socket's path fits there, else below /tmp, whatever
    TMPDIR says, so that a login shell and cron meet in one place.
    """
    near = os.path.join(home, "run")
    longest = len(os.fsencode(near)) + len(f"/{_SOCKET}") + _KEY_LENGTH
    if longest <= MAX_SOCKET:
        return near
    digest = hashlib.sha256(os.fsencode(os.path.realpath(home))).hexdigest()[:12]
    return f"/tmp/sshjobs-{os.geteuid()}/{digest}"


def check_rundir(path: str) -> None:
    """Make the directory if it is missing, and refuse it unless it is only ours.

    The ssh client does not look at a socket's owner: who can write here could take
    over every session (openssh.md §7).

    Raises:
        StoreError: a symbolic link, somebody else's, or open to others.
    """
    parent = os.path.dirname(path)
    if os.path.basename(parent) == f"sshjobs-{os.geteuid()}":
        _check_folder(parent)
    elif not os.path.isdir(parent):
        _make(parent)
    _check_folder(path)


def _check_folder(path: str) -> None:
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        _make(path)
        found = os.lstat(path)
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
        raise StoreError(f"{path}: not a directory of its own; remove it")
    if found.st_uid != os.geteuid():
        raise StoreError(f"{path}: belongs to uid {found.st_uid}, not to us; remove it")
    if found.st_mode & 0o077:
        raise StoreError(f"{path}: open to others; look inside, then chmod 700 it")


def _make(path: str) -> None:
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{path}: cannot be made: {error.strerror}") from error
