"""Where an Airflow connection leads: a HOST, and the words that ssh must be told.

The extras of a connection of type ssh mean to SSHHook (ssh provider 7.0) something
that ssh has words for: each ``_list_…_options`` reads some of them into options of
``ssh -o``. A password and a passphrase go by :mod:`.secret_file`.
"""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Iterator, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple

from ..errors import SpecError
from ..host_names import check_host
from ..quoting import escape_percent, quote_for_config, quote_if_needed
from .folder import make_folder, publish_file
from .secret_file import build_secret_command
from .versions import AirflowFailException, BaseHook

#: An option that needs no quotes as a word of ``SSHJOBS_SSH_OPTIONS``.


class Target(NamedTuple):
    """Where an Airflow connection leads: a HOST and options of ssh.

    ``options`` are words ``Name=value`` for ``ssh -o``, ``settings`` values of
    ``SSHJOBS_<NAME>`` that the connection's extras give, ``notes`` remarks for a
    person.
    """

    host: str
    options: tuple[str, ...] = ()
    settings: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()

    def list_environment(self) -> dict[str, str]:
        """Return the variables that tell ``sshjobs`` all this."""
        given = {f"SSHJOBS_{name.upper()}": value for name, value in self.settings}
        words = [quote_if_needed(option) for option in self.options]
        # ssh takes the first value of an option, so the connection's own come first.
        words.append(os.environ.get("SSHJOBS_SSH_OPTIONS", ""))
        return given | {"SSHJOBS_SSH_OPTIONS": " ".join(words).strip()}


def read_target(connection: Any, remote_host: str | None = None) -> Target:
    """Say in ssh's words where an Airflow connection of type ssh leads.

    Args:
        connection: Its host, port, login and extras are used.
        remote_host: Takes the place of the connection's host.

    Raises:
        AirflowFailException: it names no host, or asks for what ssh has no word for.
    """
    extras = dict(connection.extra_dejson)
    host = remote_host or connection.host
    if not host:
        raise AirflowFailException(f"connection {connection.conn_id!r} names no host")
    options = [f"Port={connection.port}"] if connection.port else []
    if connection.login and host != "local" and "@" not in host:
        if host.startswith("ssh://"):
            options.append(f"User={connection.login}")
        else:
            host = f"{connection.login}@{host}"
    for read in (
        _list_key_options,
        _list_host_key_options,
        _list_algorithm_options,
        _list_further_options,
    ):
        options += read(extras)
    given = [(name, extras.get(name)) for name in ("ssh_config", "conn_timeout")]
    settings = [(name, str(value)) for name, value in given if value]
    settings += _list_secrets(connection, extras)
    key = extras.get("key_file")
    notes = []
    if key and not os.path.exists(_expand_path(key)):
        # It will look like a host that refuses the key.
        notes.append(f"key_file: there is no {_expand_path(key)} on this worker")
    host = _check_host_name(host)
    return Target(host, tuple(options), tuple(settings), tuple(notes))


def _list_secrets(
    connection: Any, extras: Mapping[str, Any]
) -> Iterator[tuple[str, str]]:
    """Yield settings that lead to the secrets of a connection.

    A password beside a key is tried as its passphrase, too, as paramiko does.
    """
    has_key = extras.get("key_file") or extras.get("private_key")
    passphrase = extras.get("private_key_passphrase")
    passphrase = passphrase or (connection.password if has_key else None)
    if connection.password:
        yield "password_command", build_secret_command(connection.password)
    if passphrase:
        yield "passphrase_command", build_secret_command(str(passphrase))


def _list_key_options(extras: Mapping[str, Any]) -> list[str]:
    path = extras.get("key_file")
    if extras.get("private_key"):
        # OpenSSH refuses a key file whose last line is not ended ("invalid format"), or
        # whose lines end as those of a browser's form ("error in libcrypto", 9.2).
        lines = str(extras["private_key"]).strip().splitlines()
        path = _keep_file("".join(f"{line.rstrip()}\n" for line in lines), "key")
    if path:
        return [_name_file("IdentityFile", _expand_path(path)), "IdentitiesOnly=yes"]
    # Keys of an agent are used all the same, by ssh as by paramiko.
    return ["IdentityFile=none"] if _has_value(extras, "look_for_keys", "false") else []


def _list_host_key_options(extras: Mapping[str, Any]) -> list[str]:
    """Say the policy of SSHHook (ssh provider 7.0) in ssh's words.

    Its default, refuse a host that is in no known_hosts file, is ssh's in a batch.
    Its AutoAddPolicy takes new hosts and refuses changed keys: accept-new.
    """
    key = str(extras.get("host_key") or "").split()
    skip = "no_host_key_check" if "no_host_key_check" in extras else _OLD_SKIP
    if key and _has_value(extras, skip, "true"):
        raise AirflowFailException("a connection with host_key must check it")
    if key:
        # A key without its type is RSA there (host_key extra, ssh provider).
        words = key[:2] if len(key) > 1 else ["ssh-rsa", *key]
        known = _keep_file(f"* {' '.join(words)}\n", "host")
        return [_name_file("UserKnownHostsFile", known), "StrictHostKeyChecking=yes"]
    if _has_value(extras, "allow_host_key_change", "true"):
        return ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no"]
    return (
        ["StrictHostKeyChecking=accept-new"] if _has_value(extras, skip, "true") else []
    )


_OLD_SKIP = "ignore_hostkey_verification"

# disabled_algorithms of paramiko -> the option of ssh that takes "-name,name".
# OpenSSH 8.5 renamed PubkeyAcceptedKeyTypes and still knows the old name (10.2).
_ALGORITHMS = {
    "ciphers": "Ciphers",
    "macs": "MACs",
    "kex": "KexAlgorithms",
    "keys": "HostKeyAlgorithms",
    "pubkeys": "PubkeyAcceptedKeyTypes",
}


def _list_algorithm_options(extras: Mapping[str, Any]) -> list[str]:
    options = []
    if "compress" in extras:
        off = _has_value(extras, "compress", "false")
        options.append(f"Compression={'no' if off else 'yes'}")
    ciphers = extras.get("ciphers")
    if ciphers:
        options.append(f"Ciphers={_join_names(ciphers)}")
    for kind, names in (extras.get("disabled_algorithms") or {}).items():
        if kind not in _ALGORITHMS:
            raise AirflowFailException(f"disabled_algorithms: ssh has no {kind!r}")
        options.append(f"{_ALGORITHMS[kind]}=-{_join_names(names)}")
    return options


def _list_further_options(extras: Mapping[str, Any]) -> list[str]:
    given = extras.get("ssh_options") or {}
    if isinstance(given, str):
        return shlex.split(given)
    if isinstance(given, Mapping):
        return [f"{name}={value}" for name, value in given.items()]
    return [str(word) for word in given]


def _has_value(extras: Mapping[str, Any], name: str, word: str) -> bool:
    return str(extras.get(name)).lower() == word


def _join_names(names: Any) -> str:
    return names if isinstance(names, str) else ",".join(names)


def _expand_path(path: Any) -> str:
    """Return a path as paramiko finds it: from this directory, with this HOME."""
    return os.path.abspath(os.path.expanduser(str(path)))


def _name_file(option: str, path: str) -> str:
    return f"{option}={quote_for_config(escape_percent(path))}"


def _keep_file(text: str, kind: str) -> str:
    """Write a text that ssh reads from files only to one of ours, named by content.

    It stays: any later process of this machine may have to connect again.
    """
    from ..owned import check_file

    name = f"{kind}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    path = os.path.join(make_folder(), name)
    check_file(path)
    if not os.path.exists(path):
        publish_file(path, text)
    return path


def find_target(ssh_conn_id: str | None, remote_host: str | None) -> Target:
    """Return where a task's job goes."""
    if ssh_conn_id:
        return read_target(BaseHook.get_connection(ssh_conn_id), remote_host)
    if remote_host:
        return Target(_check_host_name(remote_host))
    raise AirflowFailException("say where to run: ssh_conn_id, remote_host, or both")


def read_hook(hook: Any, remote_host: str | None) -> Target:
    """Say in ssh's words where an SSHHook of the ssh provider (7.0) leads.

    Its own parameters beat those of its connection, as there.
    """
    conn_id = getattr(hook, "ssh_conn_id", None)
    base = BaseHook.get_connection(conn_id) if conn_id else None
    names = ("key_file", "ciphers", "disabled_algorithms", "conn_timeout")
    given = {name: getattr(hook, name, None) for name in names}
    extras = dict(base.extra_dejson) if base else {}
    extras |= {name: value for name, value in given.items() if value}
    if not base and getattr(hook, "no_host_key_check", False):
        extras["no_host_key_check"] = "true"
    if getattr(hook, "host_proxy_cmd", None):
        extras["ssh_options"] = [f"ProxyCommand={hook.host_proxy_cmd}"]
    told = {
        "conn_id": conn_id or "of ssh_hook",
        "host": getattr(hook, "remote_host", None) or (base.host if base else None),
        "port": getattr(hook, "port", None),
        "login": getattr(hook, "username", None),
        "password": getattr(hook, "password", None),
        "extra_dejson": extras,
    }
    return read_target(SimpleNamespace(**told), remote_host)


def _check_host_name(host: str) -> str:
    """Return a HOST that ssh may be given."""
    try:
        check_host(host)
    except SpecError as error:
        raise AirflowFailException(str(error)) from error
    return host
