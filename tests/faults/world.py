"""One sshd, two homes of ours, a relay before each, and all that can go wrong."""

from __future__ import annotations

import json
import os
import pwd
import re
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sshjobs import transports
from sshjobs.locks import STALE
from tests.cli import Cli, Ended, all_processes, end_jobs
from tests.faults.relay import Relay
from tests.slurm import Cluster
from tests.sshd import Sshd

#: Short bounds, so that a schedule is over in seconds.
SETTINGS = {
    "SSHJOBS_POLL_INTERVAL": "0.2",
    "SSHJOBS_WAIT_HOST": "20",
    "SSHJOBS_CONN_TIMEOUT": "3",
    "SSHJOBS_BANNER_TIMEOUT": "5",
    "SSHJOBS_COMMAND_TIMEOUT": "5",
    "SSHJOBS_KILL_GRACE": "1",
    "SSHJOBS_START_GRACE": "3",
    "SSHJOBS_KEEPALIVE_INTERVAL": "1",
    "SSHJOBS_CONN_RETRY_ATTEMPTS": "5",
    "SSHJOBS_MAX_RECONNECT_ATTEMPTS": "5",
}

#: What some schedules have instead while they are done: commands that give up soon.
HASTE = {
    "SSHJOBS_WAIT_HOST": "2",
    "SSHJOBS_COMMAND_TIMEOUT": "2",
    "SSHJOBS_CONN_RETRY_ATTEMPTS": "1",
    "SSHJOBS_MAX_RECONNECT_ATTEMPTS": "1",
}

#: The value of an environment variable of some jobs; it may be seen nowhere.
SECRET = "fau1t-5ecret-va1ue"


#: What stands among the jobs and is none: a name, and what is in the file there.
FOREIGN = {
    "notes/keep": "a directory of other things",
    f"{'a' * 16}/precious": "a directory with the name of a job",
    f"{'b' * 16}/precious": "behind a symbolic link",
    "c" * 16: "a file with the name of a job",
}

#: Every session begins with this on the host; an order to cut its reply counts once.
#: The command goes on to its end, but what it says after so many bytes is lost; then
#: the session ends as if all were well, or its sshd is killed, and the connection too.
_CUTTER = """#!/bin/sh
cd {cuts} && mv next "taken.$$" 2>/dev/null || exec sh -c "$SSH_ORIGINAL_COMMAND"
read -r count how <"taken.$$"
cd
sh -c "$SSH_ORIGINAL_COMMAND" | {{
    head -c "$count"
    [ "$how" = end ] || kill -9 $PPID
    cat >/dev/null
}}
"""

#: What stands in the place of sbatch: an order to cut its answer counts once.
_SBATCH = """#!/bin/sh
mv {cuts}/sbatch.next "{cuts}/sbatch.$$" 2>/dev/null || exec {real} "$@"
read -r count status <"{cuts}/sbatch.$$"
{real} "$@" | head -c "$count"
exit "$status"
"""

#: Of a world with a Slurm.
SLURM_SETTINGS = {
    "SSHJOBS_LAUNCHER": "slurm",
    "SSHJOBS_VANISH_GRACE": "8",
    "SSHJOBS_COMMAND_TIMEOUT": "10",
    "SSHJOBS_POLL_INTERVAL": "1",
}

#: What a connection by Fabric is held by.
_FABRIC = b"sshjobs.transports.fabric.owner"


class Command:
    """A command of ours that runs, or has run."""

    def __init__(
        self,
        home: Home,
        words: tuple[str, ...],
        stdin: bytes | None,
        env: dict[str, str],
    ) -> None:
        self.home = home
        self.words = words
        self.number = len(home.commands)
        self.blow = 0
        self.blows: set[int] = set()
        stem = home.cli.home.parent / f"{home.name}-{self.number}"
        self._out, self._err = stem.with_suffix(".out"), stem.with_suffix(".err")
        source: Any = subprocess.DEVNULL
        self.orders = [] if stdin is None else stdin.decode().splitlines()
        if words[0] in ("submit", "run") and stdin is None:
            self.orders = [words[-1]]
        if stdin is not None:
            stem.with_suffix(".in").write_bytes(stdin)
            source = open(stem.with_suffix(".in"), "rb")
        self.started_at = time.monotonic()
        with open(self._out, "wb") as out, open(self._err, "wb") as err:
            self.process = home.cli.start(
                *words,
                stdin=source,
                stdout=out,
                stderr=err,
                env={"SECRET": SECRET} | env,
            )
        if stdin is not None:
            source.close()
        home.commands.append(self)

    def __repr__(self) -> str:
        return f"<{self.home.name}.{self.number} {' '.join(self.words)[:60]}>"

    @property
    def alive(self) -> bool:
        """Whether it has not ended yet."""
        return self.process.poll() is None

    def hit(self, number: int) -> None:
        """Send it a signal, once and for all."""
        if self.alive:
            # Who was killed has not always gone yet, and nothing else ends it any more.
            self.blow = self.blow if self.blow == signal.SIGKILL else number
            self.blows.add(number)  # an earlier one may have ended it by then
            self.process.send_signal(number)

    def wait(self, until: float) -> bool:
        """Wait for its end until an instant of the monotonic clock."""
        try:
            self.process.wait(max(0.1, until - time.monotonic()))
        except subprocess.TimeoutExpired:
            return False
        return True

    @property
    def said_at(self) -> float:
        """When it last printed something, in seconds since the epoch."""
        return max(self._out.stat().st_mtime, self._err.stat().st_mtime)

    @property
    def tags(self) -> list[str]:
        """The tags of the jobs that it is to start; see ``schedule.Work``."""
        return re.findall(r"^: (\w+);", "\n".join(self.orders), re.MULTILINE)

    @property
    def promised(self) -> list[str]:
        """The ids that it has given to its user."""
        ended, text = self.ended, ""
        if self.words[0] == "submit":
            text = ended.out
        elif self.words[0] == "run":
            text = ended.err
        return re.findall(r"^[a-z2-7]{16}$", text, re.MULTILINE)

    @property
    def ended(self) -> Ended:
        """What it has printed and ended with."""
        status = self.process.poll()
        out, err = self._out.read_bytes(), self._err.read_bytes()
        return Ended(-999 if status is None else status, out, err)


class Home:
    """One ``SSHJOBS_HOME``, with its own way to the server."""

    def __init__(
        self, name: str, sshd: Sshd, folder: Path, base: Path, transport: str
    ) -> None:
        self.name = name
        self.relay = Relay(sshd.port)
        self.cli = Cli(sshd, folder / name, base)
        self.cli.env |= SETTINGS | {"SSHJOBS_SSH_CONFIG": str(self._config(folder))}
        self.cli.env["SSHJOBS_TRANSPORT"] = transport
        self.rundir = Path(transports.choose_rundir(str(self.cli.home)))
        self.commands: list[Command] = []
        self.overtaken = False

    def __repr__(self) -> str:
        return f"<Home {self.name}>"

    def _config(self, folder: Path) -> Path:
        sshd = self.cli.sshd
        assert sshd is not None
        known = folder / f"{self.name}.known_hosts"
        known.write_text(f"box {(sshd.folder / 'host.pub').read_text()}")
        path = folder / f"{self.name}.ssh_config"
        path.write_text(f"""Host {sshd.alias}
    HostName 127.0.0.1
    HostKeyAlias box
    Port {self.relay.port}
    User {sshd.user}
    IdentityFile {sshd.key}
    IdentitiesOnly yes
    UserKnownHostsFile {known}
    StrictHostKeyChecking yes
""")
        return path

    def start(
        self, *words: str, stdin: bytes | None = None, base: Path | None = None
    ) -> Command:
        """Start a command and leave it running.

        Args:
            base: The base directory on the host, if it is another one: another site.
        """
        env = {"SSHJOBS_REMOTE_BASE_DIR": str(base)} if base is not None else {}
        return Command(self, words, stdin, env)

    def run(self, *words: str, seconds: float = 120.0) -> Command:
        """Run a command to its end, within a bound."""
        command = self.start(*words)
        command.wait(time.monotonic() + seconds)
        return command

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the store, without changing it."""
        path = self.cli.home / "store.db"
        if not path.exists():
            return []
        db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
        try:
            return db.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return []
        finally:
            db.close()

    def ids(self) -> list[str]:
        """Return the ids of all jobs of the record, oldest first."""
        return [r[0] for r in self.rows("SELECT id FROM jobs ORDER BY submitted_at")]

    def masters(self) -> list[int]:
        """Return the processes that hold a connection of this home."""
        return [pid for pid, line in processes() if str(self.rundir) in line]

    def leader(self) -> int:
        """Return the process that has last led a round here, 0 if there is none."""
        locks = self.cli.home / "locks"
        paths = sorted(locks.glob("round.*"), key=lambda p: int(p.suffix[1:]))
        return _first_number(paths[-1]) if paths else 0

    def holder(self) -> int:
        """Return the process that has last held the gate here, 0 if there is none."""
        paths = sorted(self.rundir.glob("gate.*"), key=lambda p: int(p.suffix[1:]))
        return _first_number(paths[-1]) if paths else 0

    def locks_of(self, pid: int) -> list[Path]:
        """Return the locks of rounds and gates that a process holds."""
        locks = [*(self.cli.home / "locks").glob("round.*")]
        locks += self.rundir.glob("gate.*")
        return [path for path in locks if _has_locked(pid, path)]

    def age(self, locks: list[Path]) -> None:
        """Make locks look as if their holders had been stopped for long."""
        old = time.time() - STALE - 1.0
        for path in locks:
            os.utime(path, (old, old))

    def command_of(self, pid: int) -> Command | None:
        """Return the live command whose process has this number."""
        for command in self.commands:
            if command.process.pid == pid and command.alive:
                return command
        return None


def _first_number(path: Path) -> int:
    try:
        found = re.search(r"\d+", path.read_text())
    except FileNotFoundError:  # removed since it was listed
        return 0
    return int(found[0]) if found else 0


def _has_locked(pid: int, path: Path) -> bool:
    """Tell whether a process holds the lock of a file; see proc_locks(5)."""
    try:
        inode = path.stat().st_ino
    except FileNotFoundError:
        return False
    pattern = rf"FLOCK +ADVISORY +WRITE {pid} \w+:\w+:{inode} "
    return re.search(pattern, Path("/proc/locks").read_text()) is not None


def _is_stopped(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True
    return stat.rpartition(") ")[2][0] in "TZX"


def processes() -> list[tuple[int, str]]:
    """Return all processes that hold a connection, and their command lines."""
    found = []
    for pid, text in all_processes("cmdline"):
        words = text.split(b"\0")
        if os.path.basename(words[0]) in (b"ssh", b"ssh:") or _FABRIC in words:
            line = b" ".join(words).decode(errors="replace")
            found.append((pid, line))
    return found


def signal_to(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


class World:
    """Everything that one schedule needs, and its end.

    Args:
        options: Of sshd.
        small: Put the base directory and the first home on small file systems of
            their own, where we are root.
        transport: The setting.
    """

    def __init__(
        self,
        options: dict[str, Any],
        small: bool,
        transport: str = "auto",
        launcher: str = "process",
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="sf", dir="/tmp"))
        self.folder.chmod(0o755)
        (self.folder / "sshd").mkdir()
        self.slurm: Cluster | None = None
        self._cuts = self.folder / "cuts"
        self._cuts.mkdir()
        self._cuts.chmod(0o777)
        cutter = self.folder / "cutter"
        cutter.write_text(_CUTTER.format(cuts=self._cuts))
        cutter.chmod(0o755)
        options = options | {"ForceCommand": cutter}
        if launcher == "slurm":
            options |= self._start_slurm()
        self.sshd = Sshd(self.folder / "sshd", _login(), **options).start()
        login = pwd.getpwnam(self.sshd.user)
        self.ran = self.folder / "ran"
        self.ran.mkdir()
        self.ran.chmod(0o777)
        self.over = self.folder / "over"
        self.over.mkdir()
        self.over.chmod(0o777)
        outer = self.folder / "host"
        outer.mkdir()
        self.disks: list[Path] = []
        if small and os.geteuid() == 0:
            self._mount(outer, "2m", "0755")
            (self.folder / "h0").mkdir()
            self._mount(self.folder / "h0", "3m", "0700")
        os.chown(outer, login.pw_uid, login.pw_gid)
        self.base = outer / "base"
        #: Another site of the same host, for jobs that come after those of the first.
        self.other = outer / "other"
        self.homes = [
            Home(name, self.sshd, self.folder, self.base, transport)
            for name in ("h0", "h1")
        ]
        if launcher == "slurm":
            for home in self.homes:
                home.cli.env |= SLURM_SETTINGS
        self.crashed = False
        self.was_full: set[Path] = set()
        self.spoilt: set[str] = set()
        self._stopped: set[int] = set()
        self._planted = False

    def __repr__(self) -> str:
        return f"<World {self.folder}>"

    def _mount(self, path: Path, size: str, mode: str) -> None:
        words = ["mount", "-t", "tmpfs", "-o", f"size={size},mode={mode}", "none"]
        subprocess.run([*words, str(path)], check=True)
        self.disks.append(path)

    def _start_slurm(self) -> dict[str, Any]:
        """Start a Slurm; return options of an sshd whose sbatch can be cut off."""
        self._slurm_folder = Path(tempfile.mkdtemp(prefix="fs", dir="/tmp"))
        self._slurm_folder.chmod(0o755)
        self.slurm = Cluster(self._slurm_folder).start()
        real, wrapper = self._slurm_folder / "sbatch", self._slurm_folder / "cut"
        shutil.copy("/usr/bin/sbatch", real)
        wrapper.write_text(_SBATCH.format(cuts=self._cuts, real=real))
        wrapper.chmod(0o755)
        enter = f'mount --bind {wrapper} /usr/bin/sbatch && exec "$@"'
        prefix = ["unshare", "-m", "--propagation", "slave", "sh", "-c", enter, "sh"]
        return {"prefix": prefix, "SetEnv": f"SLURM_CONF={self.slurm.conf}"}

    @property
    def scheduler(self) -> Cluster:
        """The Slurm of a world that has one."""
        assert self.slurm is not None
        return self.slurm

    # -- faults ------------------------------------------------------------------

    def cut_sbatch(self, count: int, status: int) -> str:
        """Have the next sbatch say no more than so many bytes, and end like that."""
        order = self._cuts / "sbatch.order"
        order.write_text(f"{count} {status}\n")
        order.chmod(0o666)
        order.replace(self._cuts / "sbatch.next")
        return f"{count} {status}"

    def stop(self, pid: int) -> None:
        """Stop a process until the world is healed."""
        self._stopped.add(pid)
        signal_to(pid, signal.SIGSTOP)
        end = time.monotonic() + 2.0
        while not _is_stopped(pid) and time.monotonic() < end:
            time.sleep(0.001)

    def is_stopped(self, pid: int) -> bool:
        """Tell whether a process was stopped here and has not gone on."""
        return pid in self._stopped

    def go_on(self, *pids: int) -> None:
        """Let these stopped processes go on, or all."""
        for pid in pids or tuple(self._stopped):
            signal_to(pid, signal.SIGCONT)
            self._stopped.discard(pid)

    def fill(self, disk: Path) -> None:
        """Leave no byte on a small disk."""
        self.was_full.add(disk)
        with open(disk / "ballast", "ab", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                return

    def free(self) -> None:
        """Make room again."""
        for disk in self.disks:
            (disk / "ballast").unlink(missing_ok=True)

    def cut(self, count: int, how: str) -> None:
        """Have the next session lose all but so many bytes of what it says."""
        order = self._cuts / "order"
        order.write_text(f"{count} {how}\n")
        order.chmod(0o666)
        order.replace(self._cuts / "next")

    def spoil(self, path: Path, deed: Callable[[bytes], bytes]) -> None:
        """Change a record on the host, as its owner could; it may go meanwhile."""
        self.spoilt.add(path.parent.name)
        try:
            path.write_bytes(deed(path.read_bytes()))
        except OSError:
            return

    def heal(self) -> None:
        """Take every fault back."""
        (self._cuts / "next").unlink(missing_ok=True)
        (self._cuts / "sbatch.next").unlink(missing_ok=True)
        self.go_on()
        self.free()
        if self.slurm is not None:
            self.slurm.heal_controller()
            self.slurm.wait_until_idle()
        for home in self.homes:
            home.relay.heal()

    def plant(self) -> None:
        """Put things that are not ours among the jobs, once there is such a place."""
        jobs = self.base / "jobs"
        if self.disks or self._planted or not jobs.is_dir():
            return
        self._planted = True
        outside = self.folder / "outside"
        outside.mkdir()
        (jobs / ("b" * 16)).symlink_to(outside)
        for name, text in FOREIGN.items():
            (jobs / name).parent.mkdir(exist_ok=True)
            (jobs / name).write_text(text)
        login = pwd.getpwnam(self.sshd.user)
        for folder in (outside, jobs / "notes", jobs / ("a" * 16)):
            for path in (folder, *folder.iterdir()):
                os.chown(path, login.pw_uid, login.pw_gid)

    def uprooted(self) -> list[str]:
        """Return which of the things that are not ours are gone, or are others."""
        jobs = self.base / "jobs"
        return [
            name
            for name, text in FOREIGN.items()
            if self._planted
            and not ((jobs / name).is_file() and (jobs / name).read_text() == text)
        ]

    def secrets(self) -> list[str]:
        """Return the command lines in which the secret shows now."""
        found = []
        for _, text in all_processes("cmdline"):
            if SECRET.encode() in text:
                found.append(text.decode(errors="replace"))
        return found

    def close(self, keep: bool = False) -> None:
        """End all that still runs, and leave nothing behind."""
        self.heal()
        for home in self.homes:
            for command in home.commands:
                if command.alive:
                    command.process.kill()
                    command.process.wait()
            for pid in home.masters():
                signal_to(pid, signal.SIGKILL)
            home.relay.close()
        self.sshd.close()
        if self.slurm is not None:
            self.slurm.stop()
            shutil.rmtree(self._slurm_folder, ignore_errors=True)
        end_jobs(self.base)
        if keep:
            return
        for disk in self.disks:
            subprocess.run(["umount", "-l", str(disk)], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)


def _login() -> str:
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    named = os.environ.get("SSHJOBS_TEST_USER", "tester")
    return named if any(user.pw_name == named for user in pwd.getpwall()) else "root"


def objects(text: str) -> list[dict[str, Any]]:
    """Return the JSON objects among the lines of an output that may be cut."""
    found = []
    for line in text.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
