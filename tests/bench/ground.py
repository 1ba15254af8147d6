"""Where all contenders meet: one sshd that counts, and what each of them is run by."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from tests.bench.measure import Command, Cost, ssh_cpu
from tests.cli import Cli, all_processes
from tests.sshd import Sshd

#: A contender that takes longer than this hangs.
PEER_PATIENCE = 240.0

ROOT = Path(__file__).parent.parent.parent

#: Measured where the interpreter of the peers has them.
RARER_PEERS = ("aiida-core", "jobflow-remote")

#: As ``tests.sshd`` counts them: connections, drops, sessions.
_COUNTED = (b"Connection from ", b"drop connection ", b"Starting session: ")

#: What pip installs, but for its first line; that of a development install is slower.
_SCRIPT = ROOT / "sshjobs" / "script" / "sshjobs"


class Broken(Exception):
    """A contender did not come to its end; the text says which, and its last words."""


class Ground:
    """A stock sshd, a home of sshjobs, and the ways to run every contender.

    Args:
        folder: An empty directory, open to ``user``, with a short path.
        user: Who logs in.
        pythons: A Python with Airflow and its ssh provider by ``airflow``, one with
            Fabric, parallel-ssh and asyncssh by ``peers``, one with omnirun by
            ``omnirun``; those that there are.
        quick: Small numbers, one repetition: to see that all of it works.
        times: How often to repeat what a median is taken of.
    """

    def __init__(
        self,
        folder: Path,
        user: str,
        pythons: Mapping[str, str],
        quick: bool,
        times: int = 5,
    ) -> None:
        self.folder = folder
        self.quick = quick
        self._times = 1 if quick else times
        self.notes: list[str] = []
        self.airflow = pythons.get("airflow", "")
        self.peers = pythons.get("peers", "")
        self.omnirun = pythons.get("omnirun", "")
        self.rarer_peers = versions(self.peers, RARER_PEERS)
        self.parallel = shutil.which("parallel") or ""
        login = pwd.getpwnam(user)
        (folder / "sshd").mkdir(mode=0o755)
        self.sshd = Sshd(folder / "sshd", user, Subsystem="sftp internal-sftp").start()
        self.far = folder / "far"
        self.far.mkdir()
        os.chown(self.far, login.pw_uid, login.pw_gid)
        self.shell = login.pw_shell
        self.script = folder / "sshjobs"
        text = _SCRIPT.read_text().partition("\n")[2]
        self.script.write_text(f"#!{sys.executable}\n{text}")
        self.script.chmod(0o755)
        self._homes = 0
        self.cli = self.new_box()

    def __repr__(self) -> str:
        return f"<Ground {self.sshd!r}>"

    def close(self) -> None:
        """End every connection and what still runs on the host, whatever fails."""
        with ExitStack() as last:
            for base in self.far.glob("*"):
                last.callback(end_jobs, base)
            last.callback(self.sshd.close)
            for socket in (self.folder / "plain.sock", *self.folder.glob("auto*")):
                if socket.is_socket():
                    last.callback(self.hang_up, socket)
            last.callback(self.cli.close)

    def times(self, most: int = 99) -> int:
        """Return how often to repeat what a median is taken of."""
        return min(most, self._times)

    def note(self, text: str) -> None:
        """Say something that belongs below the table."""
        if text not in self.notes:
            self.notes.append(text)
            print(f"# {text}", flush=True)

    # -- sshjobs -----------------------------------------------------------------

    def new_box(self) -> Cli:
        """Return a home of ours and a base directory there, both new; end the last."""
        if self._homes:
            self.cli.close()
        self._homes += 1
        number = self._homes
        self.cli = Cli(self.sshd, self.folder / f"h{number}", self.far / f"b{number}")
        self.cli.env["PYTHONPATH"] = str(ROOT)
        return self.cli

    def open_other_box(self, name: str) -> Cli:
        """Return a home and a base directory beside those of now."""
        cli = Cli(self.sshd, self.folder / name, self.far / name)
        cli.env["PYTHONPATH"] = str(ROOT)
        return cli

    def ours(
        self, *words: str | Path, stdin: Path | None = None, stdout: Path | None = None
    ) -> Command:
        """Return a command line of ours."""
        return Command([self.script, *words], self.cli.env, stdin, stdout)

    def python(self, *words: str) -> Command:
        """Return a command line of the same interpreter."""
        return Command([sys.executable, *words], self.cli.env)

    def counted(self, do: Callable[[], Cost]) -> Cost:
        """Do something; add what sshd counted and what our master has cost."""
        before = _tally(self.sshd.log)
        cpu = ssh_cpu(self.folder)
        cost = do()
        time.sleep(0.3)  # sshd's log of what was dropped last
        counts = [b - a for a, b in zip(before, _tally(self.sshd.log))]
        spent = max(0.0, ssh_cpu(self.folder) - cpu)
        return Cost(cost.wall, cost.cpu + spent, cost.rss_bytes, cost.failed, *counts)

    def settle(self) -> None:
        """Wait until the machine has little to do."""
        end = time.monotonic() + (2 if self.quick else 30)
        while time.monotonic() < end and _busy() > 0.15:
            continue

    # -- the others --------------------------------------------------------------

    def ssh(self, *words: str | Path, stdin: Path | None = None) -> Command:
        """Return a command line of ssh."""
        head = ["ssh", "-F", str(self.sshd.config), "-o", "BatchMode=yes"]
        return Command([*head, *words], self.cli.env, stdin)

    def socket(self) -> Path:
        """Return a control socket of a master that is not ours, made if need be."""
        path = self.folder / "plain.sock"
        if not path.exists():
            options = ("-o", "ControlMaster=yes", "-o", "ControlPersist=600")
            command = self.ssh("-S", path, *options, "-N", "-f", self.sshd.alias)
            subprocess.run(
                [str(word) for word in command.words],
                check=True,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=dict(command.env),
            )
        return path

    def omnirun_submit(self) -> Command:
        """Return the command line that submits a job from a repository of ours.

        Its ssh is the system's, with the configuration that leads to our server.
        """
        folder = self.folder / "omnirun"
        if not folder.exists():
            (folder / "bin").mkdir(parents=True)
            ssh = folder / "bin" / "ssh"
            program = shutil.which("ssh")
            ssh.write_text(f'#!/bin/sh\nexec {program} -F {self.sshd.config} "$@"\n')
            ssh.chmod(0o755)
            (folder / "config.toml").write_text(
                f'[backends.box]\ntype = "ssh"\nhost = "{self.sshd.alias}"\n'
                f'root = "{self.far}/omnirun"\nmax_parallel = 1000\n'
            )
            _make_repository(folder / "repository")
        env = dict(self.cli.env) | {
            "PATH": f"{folder}/bin:{self.cli.env['PATH']}",
            "HOME": str(folder),
            "OMNIRUN_CONFIG": str(folder / "config.toml"),
        }
        env.pop("PYTHONPATH", None)
        program = str(Path(self.omnirun).with_name("omnirun"))
        words = [program, "submit", "--backend", "box", "--", "true"]
        full = f'cd {folder}/repository && exec "$@"'
        return Command(["sh", "-c", full, "sh", *words], env)

    def hang_up(self, socket: Path) -> None:
        """End a plain master."""
        command = self.ssh("-S", socket, "-O", "exit", self.sshd.alias)
        subprocess.run(
            [str(word) for word in command.words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=dict(command.env),
        )

    def connection(self) -> str:
        """Return an Airflow connection to the server, as AIRFLOW_CONN_<ID> has it."""
        key = " ".join((self.sshd.folder / "host.pub").read_text().split()[:2])
        return json.dumps(
            {
                "conn_type": "ssh",
                "host": "127.0.0.1",
                "port": self.sshd.port,
                "login": self.sshd.user,
                "extra": {"key_file": str(self.sshd.key), "host_key": key},
            }
        )

    def peer(
        self, python: str, module: str, *words: str
    ) -> tuple[Cost, Mapping[str, Any]]:
        """Run a contender that measures itself; see ``peers.py``, ``airflow_peer.py``.

        The start of its interpreter and its imports are not counted.
        """
        env = dict(os.environ) | {
            "AIRFLOW_CONN_BOX": self.connection(),
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "BENCH_PORT": str(self.sshd.port),
            "BENCH_USER": self.sshd.user,
            "BENCH_KEY": str(self.sshd.key),
            "BENCH_KNOWN_HOSTS": str(self.sshd.known_hosts),
            "BENCH_FAR": str(self.far / "airflow"),
        }
        env.pop("PYTHONPATH", None)
        path = Path(__file__).with_name(f"{module}.py")
        done = subprocess.run(
            [python, str(path), *words],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=PEER_PATIENCE,
        )
        try:
            said = json.loads(done.stdout.splitlines()[-1])
        except (IndexError, ValueError) as error:
            tail = done.stderr.decode(errors="replace")[-500:]
            raise Broken(f"{module} {' '.join(words)}: {tail}") from error
        cost = Cost(said["wall"], said["cpu"], said["rss_bytes"], said["failed"])
        return cost, said


def _make_repository(folder: Path) -> None:
    """Make a repository of one commit, with an origin that has it."""
    origin = f"{folder}.git"
    lines = (
        f"git init -q -b main {folder}",
        f"git init -q --bare {origin}",
        f"git -C {folder} -c user.name=a -c user.email=a@b "
        "commit -q --allow-empty -m one",
        f"git -C {folder} remote add origin {origin}",
        f"git -C {folder} push -q origin main",
    )
    for line in lines:
        subprocess.run(line.split(), check=True, stdin=subprocess.DEVNULL)


def end_jobs(base: Path) -> None:
    """End the jobs of a base directory that still run: one look at /proc for all."""
    ids = {os.fsencode(path.name) for path in base.glob("jobs/*")}
    for pid, environ in all_processes("environ") if ids else ():
        words = environ.split(b"\0")
        marks = {w[15:] for w in words if w.startswith(b"SSHJOBS_JOB_ID=")}
        if marks & ids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _tally(log: Path) -> list[int]:
    """Return how many connections, drops and sessions sshd's log tells of.

    It is read line by line: a process starts with the peak memory of who forks it.
    """
    counts = [0, 0, 0]
    with open(log, "rb") as lines:
        for line in lines:
            for place, words in enumerate(_COUNTED):
                counts[place] += words in line
    return counts


def versions(python: str, names: Sequence[str]) -> dict[str, str]:
    """Return which of these distributions an environment has, and their versions."""
    code = (
        "import sys, json\nfrom importlib.metadata import version\nfound = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try: found[name] = version(name)\n"
        "    except Exception: pass\n"
        "print(json.dumps(found))"
    )
    if not python or not os.access(python, os.X_OK):
        return {}
    done = subprocess.run(
        [python, "-c", code, *names], stdout=subprocess.PIPE, check=True
    )
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _busy() -> float:
    """Return how busy the processors were for a quarter of a second, 0 to 1."""
    before = _jiffies()
    time.sleep(0.25)
    after = _jiffies()
    total = sum(after) - sum(before)
    idle = after[3] + after[4] - before[3] - before[4]
    return 1.0 - idle / max(1, total)


def _jiffies() -> list[int]:
    with open("/proc/stat", encoding="ascii") as file:
        return [int(word) for word in file.readline().split()[1:9]]
