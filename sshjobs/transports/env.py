"""Our environment, and those that we give to others: of a connection, of a login."""

from __future__ import annotations

import os
import pwd

from ..settings import Settings
from ..startup.records import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


#: What authentication, proxies and ``Match exec`` may need of our environment. Never
#: all of it: a job's secrets (``--env-from``) stand there too.
_KEPT = frozenset(
    "PATH TMPDIR LANG TZ TERM SSH_AUTH_SOCK XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS "
    "SSH_SK_PROVIDER SSH_PKCS11_HELPER KRB5CCNAME".split()
)
_KEPT_PREFIXES = ("LC_", "KRB5", "AWS_", "GOOGLE_", "CLOUDSDK_", "AZURE_")

#: For a connection that may ask a person: a window, or a program that asks.
_ASKING = frozenset("DISPLAY WAYLAND_DISPLAY XAUTHORITY SSH_ASKPASS".split())


def find_program(name: str) -> str:
    """Return the absolute path of a program on PATH, or ``""``."""
    # os.get_exec_path() does the same, and imports ``warnings`` for bytes.
    for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
        path = os.path.join(folder or ".", name)
        if os.path.isabs(path) and os.access(path, os.X_OK):
            return path
    return ""


def read_home() -> str:
    """Return our home directory as the system records it, which is where ssh looks."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:  # a container's made-up uid: ssh itself will say so
        return "/"


def read_user_name() -> str:
    """Return our name as the system records it."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def build_ssh_env(
    settings: Settings, named: Iterable[str] = (), *, interactive: bool = False
) -> dict[str, str]:
    """Return the environment of the process that makes a connection.

    Args:
        named: The variables that its configuration names; see :attr:`.Identity.env`.
    """
    names = _KEPT.union(settings.master_env.split(), named)
    if interactive:
        names |= _ASKING | {"SSH_ASKPASS_REQUIRE"}
    env = {
        name: value
        for name, value in os.environ.items()
        if name in names or name.startswith(_KEPT_PREFIXES)
        # https_proxy, no_proxy and the like, which curl and nc read.
        or name.lower().endswith("_proxy")
    }
    env.setdefault("PATH", os.defpath)
    if not interactive:
        env["SSH_ASKPASS_REQUIRE"] = "never"  # since OpenSSH 8.4; unknown before
    return env | _describe_user()


def _describe_user() -> dict[str, str]:
    try:
        me = pwd.getpwuid(os.geteuid())
    except KeyError:
        return {}
    return {
        "HOME": me.pw_dir,
        "USER": me.pw_name,
        "LOGNAME": me.pw_name,
        "SHELL": me.pw_shell or "/bin/sh",
    }


def build_plain_env() -> dict[str, str]:
    """Return the environment that a login without any of ours would give."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/"} | _describe_user()
