"""Asks ``ssh -G`` which connection a host name means."""

from __future__ import annotations

import os
import re
import shlex

from ...errors import HostUnreachable, SpecError, find_hint
from ...host_names import Address, check_address, check_hop, check_host, check_user
from ...settings import Settings
from ...startup.records import TYPE_CHECKING, Record
from ..env import build_ssh_env, find_program, read_home
from ..login_files import (
    expand_all_tokens,
    list_agent_paths,
    list_first_files,
    list_login_files,
    split_words,
)
from ..process import Child, explain_start_failure, spawn_program
from ..pump import Pump, Silence
from ..ssh_errors import clean_words
from .config_names import split_config_words
from .fingerprint import NAMES, digest_values
from .identity import Identity, stat_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


# A configuration whose meaning depends on more than its files: a command, the
# network, the name service. "final" and "canonical" do so through the last.
_LIVE = re.compile(
    rb"^\s*match\b.*\b(exec|localnetwork|canonical|final)\b", re.I | re.M
)
_INCLUDE = re.compile(rb"^\s*include[\s=]+(.+)$", re.I | re.M)
_READING = re.compile(r"^debug1: Reading configuration data (.+)$", re.M)
_OPTION = re.compile(r"\s*(\w+)(?:\s*=\s*|\s+)(\S.*)", re.S)
_VARIABLE = re.compile(rb"\$\{?([A-Za-z_][A-Za-z0-9_]*)")
_VERSION = re.compile(r"^OpenSSH_(\d+)\.(\d+)", re.M)


def ask_ssh_for_identity(host: str, settings: Settings) -> Identity:
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
    options = read_options(settings, address)
    target = address.target
    ssh = find_program("ssh")
    if not ssh:
        hint = find_hint("here:no ssh")
        raise HostUnreachable(
            host, "there is no ssh client in PATH on this machine", hint
        )
    argv = _with_config(settings)
    for option in options:
        argv += ["-o", option]
    answer = _ask_ssh(host, ssh, [*argv, "--", target], settings)
    if "hostname" not in answer.values:
        raise SpecError(
            f"{host}: ssh refuses the name or its configuration: "
            f"{clean_words(answer.err)}"
        )
    check_route(
        address,
        _last_value(answer.values, "hostname"),
        _last_value(answer.values, "proxyjump"),
    )
    hops = _ask_ssh_for_hops(host, ssh, answer.values, settings)
    return _build_identity(
        host, target, settings.ssh_config, options, ssh, answer, hops
    )


class _Answer(Record):
    """The answer of ``ssh -v -G``: values, the files that it read, and variables."""

    target: str
    values: dict[str, list[str]]
    err: str
    read: list[str]
    contents: list[bytes]
    env: tuple[str, ...]


def _with_config(settings: Settings) -> list[str]:
    return ["-F", settings.ssh_config] if settings.ssh_config else []


#: How many jump hosts in a row are asked about; ssh itself knows no bound.
_MOST_HOPS = 8


def _ask_ssh_for_hops(
    host: str, ssh: str, values: Mapping[str, list[str]], settings: Settings
) -> list[_Answer]:
    """Return the answers for the jump hosts on the way, that of the last one first.

    Their keys and known hosts decide about a login as well. A proxy that is no ssh, or
    cannot be read, is left to ssh.
    """
    hops: list[_Answer] = []
    asked: list[str] = []
    while len(hops) < _MOST_HOPS:
        argv = _hop_words(values, settings)
        if not argv or argv == asked:  # ssh skips a jump to the jump host itself
            break
        answer = _ask_ssh(host, ssh, argv, settings)
        if "hostname" not in answer.values:
            break
        hops.append(answer)
        values, asked = answer.values, argv
    return hops


def _hop_words(values: Mapping[str, list[str]], settings: Settings) -> list[str]:
    """Return the arguments for ssh that ask about the next jump host, or none."""
    jump = _last_value(values, "proxyjump")
    if jump:
        *earlier, last = jump.split(",")
        through = ["-J", ",".join(earlier)] if earlier else []
        # Of a jump host with a port ssh takes a URI.
        user, at, place = last.rpartition("@")
        name, colon, port = place.rpartition(":")
        word = f"{user}{at}{place.strip('[]')}"
        if colon and port.isdigit() and (":" not in name or name[-1:] == "]"):
            word = f"ssh://{user}{at}{name}:{port}"
        return [*_with_config(settings), *through, "--", word]
    tokens = expand_all_tokens(values, "")
    command = re.sub(
        "%[hpr]", lambda t: tokens[t[0]], _last_value(values, "proxycommand")
    )
    words = split_words(command)
    words = words[words[:1] == ["exec"] :]
    if not words or os.path.basename(words[0]) != "ssh":
        return []
    return words[1:]


def read_options(settings: Settings, address: Address) -> tuple[str, ...]:
    """Return the options that ssh is given by ``-o``, each checked as a HOST is.

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
        raise SpecError(
            f"ssh_options: not NAME=VALUE, as it stands after ssh -o: {word!r}"
        )
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


def check_route(address: Address, hostname: str, jump: str) -> None:
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


def _build_identity(
    host: str,
    target: str,
    config: str,
    options: tuple[str, ...],
    ssh: str,
    answer: _Answer,
    hops: list[_Answer],
) -> Identity:
    values = answer.values
    jump = _last_value(values, "proxyjump")
    version = _VERSION.search(answer.err)
    ways = [answer, *hops]
    paths = [
        p for one in ways for p in list_sources(one.read, one.contents, config, ssh)
    ]
    keys = [path for one in ways for path in list_login_files(one.values, one.target)]
    agents = [path for one in ways for path in list_agent_paths(one.values, one.target)]
    hop_connect = read_times(hops[0].values)[0] if hops else 0
    return Identity(
        key=digest_values(values, target, config, options),
        host=host,
        target=target,
        hostname=_last_value(values, "hostname"),
        user=_last_value(values, "user"),
        port=int(_last_value(values, "port") or 22),
        jump=jump,
        first_hop=f"{jump.split(',')[0]} {config}" if jump else "",
        config=config,
        options=options,
        ssh=ssh,
        version=(int(version[1]), int(version[2])) if version else (0, 0),
        files=tuple(stat_file(path) for path in dict.fromkeys(paths)),
        cacheable=all(is_cacheable(one.values, one.contents) for one in ways),
        keys=tuple(dict.fromkeys(keys)),
        agents=tuple(dict.fromkeys(agents)),
        gssapi=any(
            _last_value(one.values, "gssapiauthentication") == "yes" for one in ways
        ),
        env=tuple(sorted({name for one in ways for name in one.env})),
        times=read_times(values, hop_connect),
        ciphers=order_ciphers(_last_value(values, "ciphers")),
    )


#: The ciphers that OpenSSH offers where nobody has said another list, in whichever
#: order (myproposal.h, 8.2 to 10.5). The first one that a host has is taken.
_USUAL_CIPHERS = (
    "chacha20-poly1305@openssh.com",
    *("aes128-gcm@openssh.com", "aes256-gcm@openssh.com"),
    *("aes128-ctr", "aes192-ctr", "aes256-ctr"),
)


def order_ciphers(configured: str) -> str:
    """Return the usual ciphers with AES-GCM first, "" if that is not to be.

    It needs a third less processor time than chacha20-poly1305, on both sides, where
    the processor has instructions for AES (docs/decisions/0025). A list of the user's
    own, or of a policy of the system, stays as it is.
    """
    names = configured.split(",")
    usual = _USUAL_CIPHERS
    if names[0] != usual[0] or sorted(names) != sorted(usual) or not _has_aes():
        return ""
    return ",".join([*usual[1:3], usual[0], *usual[3:]])


def _has_aes() -> bool:
    """Tell whether the processor has instructions for AES; unknown is no."""
    try:
        with open("/proc/cpuinfo", "rb") as file:
            lines = file.read(16384).splitlines()
    except OSError:
        return os.uname().machine == "arm64"  # each that macOS runs on has them
    kinds = (b"flags", b"Features")
    return any(b"aes" in line.split() for line in lines if line.startswith(kinds))


def _last_value(values: Mapping[str, list[str]], name: str) -> str:
    word = (values.get(name) or [""])[-1]
    return "" if name == "proxyjump" and word == "none" else word


def read_times(
    values: Mapping[str, list[str]], hop_connect: int = 0
) -> tuple[int, int, int, int]:
    """Return :attr:`.Identity.times`.

    Three probes are ssh's own default, and mean nothing where none are sent.
    """
    connect, interval, count = (
        int(word) if (word := _last_value(values, name)).isdigit() else 0
        for name in ("connecttimeout", "serveraliveinterval", "serveralivecountmax")
    )
    return connect, hop_connect, interval, (count or 3) if interval else 0


def find_variables(contents: Iterable[bytes]) -> tuple[str, ...]:
    """Return the variables that configurations name, as ``${NAME}`` or as ``$NAME``.

    The second is how a shell writes them: in a ProxyCommand, in ``Match exec``.
    """
    found = {
        name.decode("ascii")
        for content in contents
        for line in content.splitlines()
        if not line.lstrip().startswith(b"#")
        for name in _VARIABLE.findall(line)
    }
    return tuple(sorted(found))


def is_cacheable(values: Mapping[str, list[str]], contents: Iterable[bytes]) -> bool:
    """Tell whether the answer is the same for as long as no file changes."""
    if any("${" in value for name in NAMES for value in values.get(name, [])):
        return False
    if _last_value(values, "canonicalizehostname") not in ("", "no", "none", "false"):
        return False
    return not any(_LIVE.search(content) for content in contents)


def _read_contents(paths: Iterable[str]) -> list[bytes]:
    contents = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                contents.append(file.read())
        except OSError:  # ssh has just read it; whatever it is now, do not trust it
            contents.append(b"match exec")
    return contents


def list_sources(
    read: list[str], contents: list[bytes], config: str, ssh: str
) -> list[str]:
    """Return every path whose change would change the answer, each once."""
    paths = [ssh, *read]
    if not config:
        paths += [os.path.join(read_home(), ".ssh/config"), "/etc/ssh/ssh_config"]
    for name, content in zip(read, contents):
        base = (
            "/etc/ssh"
            if name.startswith("/etc/")
            else os.path.join(read_home(), ".ssh")
        )
        paths += list_included_folders(content, base)
    return list(dict.fromkeys(paths))


def list_included_folders(content: bytes, base: str) -> list[str]:
    """Return the directories in which an Include looks; a new file changes them."""
    folders = []
    for line in _INCLUDE.findall(content):
        for word in split_config_words(os.fsdecode(line)):
            word = re.sub("^~(?=/)", read_home(), word)
            folder = os.path.dirname(os.path.join(base, word))
            while re.search(r"[*?\[]", folder):
                folder = os.path.dirname(folder)
            folders.append(folder)
    return folders


def _ask_ssh(host: str, ssh: str, words: list[str], settings: Settings) -> _Answer:
    """Run ``ssh -v -G``.

    ``-v`` has ssh name each file that it reads and its own version. ``-N`` is what the
    master says too: with ``ForkAfterAuthentication yes`` and neither it nor a command,
    ssh refuses even to print (OpenSSH 9.2, ssh.c).

    It is asked again with what the files that it has read name of our environment: a
    ``Match exec`` or an Include may depend on that.

    Raises:
        HostUnreachable: it did not answer in time.
    """
    given = os.fsencode("\n".join(words))
    env = find_variables(
        [given, *_read_contents(list_first_files(settings.ssh_config))]
    )
    while True:
        try:
            out, err = _capture_output([ssh, "-v", "-G", "-N", *words], settings, env)
        except Silence as error:
            raise HostUnreachable(
                host,
                f"ssh -G did not answer within {settings.banner_timeout:g} s",
                find_hint("here:ssh -G"),
            ) from error
        except OSError as error:
            raise explain_start_failure(host, ssh, error) from error
        err = err.replace("\r", "")
        read = list(dict.fromkeys(_READING.findall(err)))
        contents = _read_contents(read)
        known, env = env, find_variables([given, *contents])
        if not {name for name in env if name in os.environ}.difference(known):
            break
    values: dict[str, list[str]] = {}
    for line in out.splitlines():
        name, _, value = line.partition(" ")
        values.setdefault(name.lower(), []).append(value)
    return _Answer(words[-1], values, err, read, contents, env)


def _capture_output(
    argv: list[str], settings: Settings, named: tuple[str, ...]
) -> tuple[str, str]:
    pieces: list[bytes] = []
    pump = Pump(b"", pieces.append, settings.banner_timeout, stderr_bytes=1 << 20)
    child = None
    try:
        child = Child(spawn_program(argv, build_ssh_env(settings, named), pump.theirs))
        pump.close_handed_ends()
        pump.run(child.fd, child.poll)
    finally:
        pump.close()
        if child is not None:
            child.kill()
    out = b"".join(pieces).decode("utf-8", "surrogateescape")
    return out, pump.stderr.decode("utf-8", "surrogateescape")
