"""Asks ``ssh -G`` what a host name means, in the environment that ssh will have."""

from __future__ import annotations

import os
import pwd

from ..errors import HostUnreachable
from ..settings import Settings
from .process import Child, spawn, which
from .pump import Pump, Silence

#: What authentication, proxies and ``Match exec`` may need of our environment. Never
#: all of it: a job's secrets (``--env-from``) stand there too.
_KEPT = frozenset(
    "PATH TMPDIR LANG TZ TERM SSH_AUTH_SOCK XDG_RUNTIME_DIR DBUS_SESSION_BUS_ADDRESS "
    "SSH_SK_PROVIDER SSH_PKCS11_HELPER KRB5CCNAME".split()
)
_KEPT_PREFIXES = ("LC_", "KRB5", "AWS_", "GOOGLE_", "CLOUDSDK_", "AZURE_")

#: For a connection that may ask a person: a window, or a program that asks.
_ASKING = frozenset("DISPLAY WAYLAND_DISPLAY XAUTHORITY SSH_ASKPASS".split())


def home() -> str:
    """Return our home directory as the system records it, which is where ssh looks."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_dir
    except KeyError:  # a container's made-up uid: ssh itself will say so
        return "/"


def ssh_env(settings: Settings, *, interactive: bool = False) -> dict[str, str]:
    """Return the environment of the process that makes a connection."""
    names = _KEPT | frozenset(settings.master_env.split())
    if interactive:
        names |= _ASKING | {"SSH_ASKPASS_REQUIRE"}
    env = {
        name: value
        for name, value in os.environ.items()
        if name in names or name.startswith(_KEPT_PREFIXES)
    }
    env.setdefault("PATH", os.defpath)
    if not interactive:
        env["SSH_ASKPASS_REQUIRE"] = "never"  # since OpenSSH 8.4; unknown before
    return env | _self()


def _self() -> dict[str, str]:
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


def plain_env() -> dict[str, str]:
    """Return the environment that a login without any of ours would give."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": "/"} | _self()


def ask_ssh(
    host: str, target: str, settings: Settings, options: tuple[str, ...]
) -> tuple[str, str, str]:
    """Run ``ssh -v -G``; return the path of ssh, what it printed and its stderr.

    ``-v`` has ssh name each file that it reads and its own version.

    Raises:
        HostUnreachable: there is no ssh, or it did not answer in time.
    """
    ssh = which("ssh")
    if not ssh:
        raise HostUnreachable(host, "no ssh client on PATH here", "install OpenSSH")
    argv = [ssh, "-v", "-G"]
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
        raise HostUnreachable(host, f"{ssh}: {error.strerror}") from error
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
