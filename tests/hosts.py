"""Hosts as people have them: environments, shells and tools that are not like ours."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

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
    "BASH_VERSION": "5.2",
    "ZSH_VERSION": "5.9",
    "shell": "csh",
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


PROCS = ("proc", "hidepid", "none")

#: Tools that our program or a job may call.
_TOOLS = """
cat chmod cksum cp cut date dd df du env expr find grep head id kill ln ls mkdir
mkfifo mktemp mv nice nohup od printf ps pwd readlink rm rmdir sed seq setsid
sha256sum sleep sort stat tail tee test timeout touch tr true false uname uniq wc
which xargs
""".split()

#: A ps as that of a host without /proc, which reads one that nobody else looks at.
_PS = """#!/usr/bin/python3
import os, sys, time
words = sys.argv[1:]
columns = [words[i + 1].rstrip("=") for i, word in enumerate(words) if word == "-o"]
only = words[words.index("-p") + 1] if "-p" in words else None
os.chdir({proc!r})
boot = int(open("stat").read().split("btime ")[1].split()[0])
for pid in sorted(filter(str.isdigit, os.listdir(".")), key=int):
    try:
        stat = open(pid + "/stat", errors="replace").read().rpartition(") ")[2].split()
        uid = os.stat(pid).st_uid
    except OSError:
        continue
    at = time.localtime(boot + int(stat[19]) // 100)
    start = time.strftime("%a %b %e %H:%M:%S %Y", at)
    row = dict(pid=pid, ppid=stat[1], pgid=stat[2], ruid=uid, stat=stat[0])
    row["lstart"] = start
    if only in (None, pid):
        print(*(row[column] for column in columns))
"""


class Kind(NamedTuple):
    """A host: what serves as its sh and awk, whose its tools are, what /proc shows."""

    shell: str
    awk: str
    tools: str
    hostile: bool
    proc: str

    def __str__(self) -> str:
        words = [self.shell, self.awk, self.tools, self.proc]
        return "-".join(words + ["hostile"] * self.hostile)


ALL = [Kind(*k) for k in itertools.product(SHELLS, AWKS, TOOLS, (False, True), PROCS)]

#: Every value of each, and every shell with another awk.
SAMPLE = [
    Kind("dash", "mawk", "gnu", True, "hidepid"),
    Kind("bash", "original-awk", "busybox", True, "none"),
    Kind("busybox", "gawk", "gnu", False, "hidepid"),
    Kind("ksh", "busybox", "busybox", False, "proc"),
]


def world(kind: Kind, folder: Path) -> list[str]:
    """Return the words before a program that have it see another host's tools.

    They hide ours in a mount namespace of its own, so that no PATH finds them: root's.

    Raises:
        LookupError: this machine lacks one of the tools.
    """
    lines = _hide_proc(folder) if kind.proc == "none" else []
    lines += [_over(_found(kind.awk), "awk")]
    if kind.tools == "busybox":
        lines += _put_busybox(folder, {"ps"} if kind.proc == "none" else set())
    lines += [_over(_found(kind.shell), "sh")]
    if kind.proc == "hidepid":
        lines += ["mount -t proc -o hidepid=2 proc /proc"]
    elif kind.proc == "none":
        lines += ["mount -t tmpfs none /proc"]
    script = "set -e\n" + "\n".join(filter(None, lines)) + '\nexec "$@"\n'
    return [_found("unshare"), "-m", "/bin/sh", "-c", script, "sh"]


def _put_busybox(folder: Path, but: set[str]) -> list[str]:
    """Return the lines after which tools are those of BusyBox, or not there."""
    busybox, nothing = _found("busybox"), folder / "nothing"
    nothing.write_text("")
    listed = subprocess.run([busybox, "--list"], stdout=subprocess.PIPE, check=True)
    applets = listed.stdout.decode().split()
    tools = [tool for tool in _TOOLS if tool not in but]
    return [_over(busybox if t in applets else str(nothing), t) for t in tools]


def _over(path: str, tool: str) -> str:
    """Return the line that puts a program over a tool; nothing if it is that one."""
    there = shutil.which(tool, path="/usr/bin:/bin:/usr/sbin:/sbin")
    if there is None or os.path.samefile(there, path):
        return ""
    return f"mount --bind {path} {os.path.realpath(there)}"


def _hide_proc(folder: Path) -> list[str]:
    proc, ps = folder / "proc", folder / "ps"
    proc.mkdir()
    ps.write_text(_PS.format(proc=str(proc)))
    ps.chmod(0o755)
    return [f"mount --bind /proc {proc}", _over(str(ps), "ps")]
