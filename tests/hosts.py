"""Hosts as people have them: environments, shells and tools that are not like ours."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

#: What a login may have in its environment that changes what the tools there print.
HOSTILE = {
    "LS_BLOCK_SIZE": "1K",
    "BLOCK_SIZE": "human-readable",
    "BLOCKSIZE": "1M",
    "DF_BLOCK_SIZE": "1G",
    "DU_BLOCK_SIZE": "1G",
    "TIME_STYLE": "full-iso",
    "QUOTING_STYLE": "c",
    "LS_COLORS": "di=01;34:fi=31",
    "CLICOLOR_FORCE": "1",
    "COLUMNS": "20",
    "LINES": "3",
    "TABSIZE": "3",
    "POSIXLY_CORRECT": "1",
    "_POSIX2_VERSION": "199209",
    "GREP_OPTIONS": "--color=always -v",
    "GREP_COLOR": "1;31",
    "GREP_COLORS": "mt=1;31",
    "PS_FORMAT": "comm,pid",
    "PS_PERSONALITY": "bsd",
    "CMD_ENV": "bsd",
    "UNIX95": "1",
    "TZ": "Asia/Kathmandu",
    "LANG": "tr_TR.UTF-8",
    "LANGUAGE": "de:fr",
    "LC_ALL": "C.UTF-8",
    "LC_NUMERIC": "de_DE.UTF-8",
    "LC_TIME": "de_DE.UTF-8",
    "LC_MESSAGES": "de_DE.UTF-8",
    "AWKPATH": "/nowhere",
    "AWKLIBPATH": "/nowhere",
    "GAWK_READ_TIMEOUT": "1",
    "GAWK_STACKSIZE": "8",
    "AWKBUFSIZE": "exact",
    "WHINY_USERS": "1",
    "FIND_BLOCK_SIZE": "1",
    "VERSION_CONTROL": "numbered",
    "SIMPLE_BACKUP_SUFFIX": ".bak",
    "CDPATH": "/:/tmp:/usr",
    "ENV": "/nowhere/env",
    "BASH_ENV": "/nowhere/bash_env",
    "FPATH": "/nowhere",
    "MALLOC_PERTURB_": "85",
    "OLDPWD": "/usr",
    "PS4": "$(exit 1)",
    "TMOUT": "1",
}

#: The same by name of a function, which only bash takes from its environment.
FUNCTIONS = {
    f"BASH_FUNC_{name}%%": "() { echo hostile; return 1; }"
    for name in "ls date awk grep cat printf [ command umask ps kill".split()
}

#: Options of a shell, which only bash takes from its environment.
OPTIONS = {
    "SHELLOPTS": "errexit:noclobber:nounset:noglob:pipefail:monitor:keyword:onecmd",
    "BASHOPTS": "failglob:nullglob:dotglob:nocasematch:nocaseglob:globstar:lastpipe",
}

SHELLS = ("dash", "bash", "busybox", "ksh")
AWKS = ("gawk", "mawk", "busybox", "original-awk")
TOOLS = ("gnu", "busybox")


def install(folder: Path, shell: str, awk: str, tools: str) -> str:
    """Make a directory of tools as a host may have them; return the PATH to it.

    Raises:
        LookupError: this machine lacks one of them.
    """
    folder.mkdir()
    busybox = "" if tools == "gnu" else _found("busybox")
    if busybox:
        subprocess.run([busybox, "--install", "-s", folder], check=True)
    for name, tool in (("sh", shell), ("awk", awk)):
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(_found(tool))
    return str(folder) if busybox else f"{folder}:/usr/bin:/bin"


def without(folder: Path, *missing: str) -> str:
    """Return a PATH to all tools but some."""
    folder.mkdir()
    for place in ("/usr/bin", "/bin"):
        for entry in os.scandir(place):
            if entry.name not in missing and not (folder / entry.name).is_symlink():
                (folder / entry.name).symlink_to(entry.path)
    return str(folder)


def _found(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        raise LookupError(tool)
    return path
