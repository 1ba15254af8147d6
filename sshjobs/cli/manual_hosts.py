"""The manual of the verbs of a host and its connection.

Pure data; ``manual.py`` reads it when such a verb is meant.
"""

from __future__ import annotations

from .arguments import (
    COLOR,
    COMMAND,
    CONTACT,
    HOST,
    JSON,
    SSH,
    WAIT_HOST,
    Arg,
    Verb,
)

_CONNECT = Verb(
    "connect",
    """Make the connection to a host, at a terminal if it asks something.

For hosts that want a password or a one-time code: log in once, and cron,
Airflow and all your other processes use the connection until it has been idle
for the setting persist (default 600 s), or until sshjobs disconnect ends it.
connect also forgets a cooldown, and that a key or a host key was refused.""",
    (HOST, *SSH, *CONTACT),
    ("sshjobs connect cluster", "sshjobs connect -J gateway -p 2222 node7"),
)

_DISCONNECT = Verb(
    "disconnect",
    """End the connection to a host, once its commands have ended.

Jobs run on: they do not depend on the connection.""",
    (HOST, *SSH, JSON),
    ("sshjobs disconnect cluster",),
)

_HOSTS = Verb(
    "hosts",
    """List the hosts, their connections and the ledger of each.

It counts handshakes, drops, sessions, rounds, refusals and bytes since the
record began, so that you can check the promise of one connection. No host is
asked.""",
    (JSON, COLOR),
    ("sshjobs hosts",),
)

_DOCTOR = Verb(
    "doctor",
    """Look for obstacles on a host, and name the remedy of each.

Reads the ssh configuration, makes the connection (or uses the one that is
there), and looks at the host's shell, tools, home directory, free space and
limits. It opens no second connection and never pokes at the port.""",
    (HOST, *SSH, *CONTACT, COLOR),
    ("sshjobs doctor gpu1",),
)

_SSH = Verb(
    "ssh",
    """Run ssh over the one connection; for rsync -e, GIT_SSH_COMMAND and people.

It takes the arguments of ssh, and the ssh that it runs never makes a connection.
scp -S, sftp -S and Ansible's ssh_executable take the path of sshjobs-ssh, which
is installed beside sshjobs.""",
    (HOST, COMMAND, *SSH),
    ("sshjobs ssh gpu1 uptime",),
)

_FILES = (
    Arg("file", "the files, then DEST", "list", "FILE... DEST"),
    Arg("--quiet", "show no progress at a terminal", "flag", short="-q"),
    JSON,
    *SSH,
    WAIT_HOST,
)

_PUT = Verb(
    "put",
    """Copy files and directories to a host, over the one connection.

DEST is relative to the login directory. DEST is a directory, which is made if it
ends with /, or the new name of the one FILE. A directory is copied with all in
it, under its own name; links are followed.

rsync copies if both sides have it. Run a copy that was broken off again, and it
goes on from there. Without rsync the system's sftp copies: it begins each file
anew and leaves out links inside of directories.

Ends with 0; 1 if not all was copied; 64, 69, 75 and 77 as every verb.""",
    (HOST, *_FILES),
    ("sshjobs put gpu1 train.sh data runs/7/",),
)

_GET = Verb(
    "get",
    """Copy files and directories from a host, or those of a job, to this machine.

FILE is a path or a pattern. The host expands patterns: quote them. FILE is
relative to the working directory of a JOB, or the login directory of a HOST. A
word that names both a known host and a job means the host. Without DEST files go
into the current directory; all else is as for put. Nothing outside of DEST is
written.""",
    (Arg("host", "a host, or a JOB as for logs", metavar="HOST|JOB"), *_FILES),
    ("sshjobs get train 'out/*.csv'", "sshjobs get gpu1 runs/7/model.bin models/"),
)

VERBS = (_CONNECT, _DISCONNECT, _HOSTS, _DOCTOR, _SSH, _PUT, _GET)
