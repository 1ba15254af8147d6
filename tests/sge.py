"""A real Grid Engine of one machine: qmaster and execd, on loopback, started by hand.

Its node believes to be another machine (a machine id in a mount namespace), so that
what runs there is elsewhere for the host that was logged in to, as on a cluster.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.slurm import _free_ports

_TOOLS = ("sge_qmaster", "sge_execd", "qsub", "qstat", "qdel", "qconf", "unshare")
_PLACES = "/usr/sbin:/sbin:/usr/bin:/bin"
_LIBRARY = Path("/usr/lib/gridengine")
_SHARE = Path("/usr/share/gridengine")

_BOOTSTRAP = """admin_user              none
default_domain          none
ignore_fqdn             false
spooling_method         classic
spooling_lib            libspoolc
spooling_params         {folder}/default/common;{folder}/qmaster
binary_path             /usr/sbin
qmaster_spool_dir       {folder}/qmaster
security_mode           none
listener_threads        2
worker_threads          2
scheduler_threads       1
"""

#: What differs from Debian's own configuration: quick, and no mail.
_CHANGES = {
    "execd_spool_dir": "{folder}/execd",
    "mailer": "/bin/true",
    "min_uid": "100",
    "min_gid": "100",
    "load_report_time": "00:00:02",
    "reporting_params": "accounting=true reporting=false flush_time=00:00:01 "
    "accounting_flush_time=00:00:00 joblog=false sharelog=00:00:00",
    "finished_jobs": "0",
}


def need_sge() -> None:
    """Skip where there is no Grid Engine, or no way to start it."""
    missing = [tool for tool in _TOOLS if not shutil.which(tool, path=_PLACES)]
    if missing:
        words = f"no Grid Engine here ({', '.join(missing)}): apt-get install "
        words += "gridengine-master gridengine-exec gridengine-client"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have it: {words}")
        pytest.skip(words)
    enter = ["unshare", "-m", "true"]
    if subprocess.run(enter, capture_output=True, check=False).returncode:
        pytest.skip("Grid Engine is started by root, with a namespace of mounts")


def _change(text: str, changes: dict[str, str]) -> str:
    """Return a table of names and values with other values."""
    lines = []
    for line in text.splitlines():
        name = line.split()[0] if line.split() else ""
        lines.append(f"{name} {changes[name]}" if name in changes else line)
    return "\n".join(lines) + "\n"


class GridEngine:
    """A qmaster and its one node, started by hand.

    Args:
        folder: An empty directory that every user may look into.

    Attributes:
        env: What its commands need to find it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        ports = _free_ports(2)
        self.place = {
            "SGE_ROOT": str(folder),
            "SGE_CELL": "default",
            "SGE_ARCH": "lx-amd64",
            "SGE_QMASTER_PORT": str(ports[0]),
            "SGE_EXECD_PORT": str(ports[1]),
        }
        self.env = {"PATH": _PLACES, "LC_ALL": "C", **self.place}

    def __repr__(self) -> str:
        return f"<GridEngine {self.folder}>"

    def run(self, *words: str | Path) -> str:
        """Run one of its tools as root, and return what it says."""
        return subprocess.run(
            list(map(str, words)),
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        ).stdout

    def _write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def start(self) -> GridEngine:
        """Start all of it and wait until the node takes jobs."""
        for name in ("bin", "utilbin", "lib"):
            (self.folder / name).mkdir()
            (self.folder / name / self.env["SGE_ARCH"]).symlink_to(_LIBRARY)
        for name in ("qmaster/job_scripts", "execd"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "util").symlink_to(_SHARE / "util")
        self._write("default/common/act_qmaster", "localhost\n")
        names = f"localhost {socket.gethostname()}\n"
        self._write("default/common/host_aliases", names)
        place = str(self.folder)
        self._write("default/common/bootstrap", _BOOTSTRAP.format(folder=place))
        changes = {n: v.format(folder=place) for n, v in _CHANGES.items()}
        text = (_SHARE / "default-configuration").read_text()
        conf = self._write("conf", _change(text, changes))
        spool = f"{place}/default/common;{place}/qmaster"
        self.run(_LIBRARY / "spoolinit", "classic", "libspoolc", spool, "init")
        resources = _SHARE / "util/resources"
        for kind, what in (
            ("configuration", conf),
            ("complexes", resources / "centry"),
            ("usersets", resources / "usersets"),
            ("managers", "root"),
        ):
            self.run(_LIBRARY / "spooldefaults", kind, what)
        self.start_master()
        self._configure()
        self.start_node()
        self.wait_until_idle()
        return self

    def _configure(self) -> None:
        self._wait_for(self._let_submit, "no submit host")
        hasty = {
            "schedule_interval": "0:0:1",
            "flush_submit_sec": "1",
            "flush_finish_sec": "1",
            "job_load_adjustments": "NONE",
        }
        text = _change(self.run("qconf", "-ssconf"), hasty)
        self.run("qconf", "-Msconf", self._write("scheduler", text))
        template = self.run("qconf", "-sq")
        for name, slots in (("main.q", "64"), ("small.q", "1"), ("long.q", "4")):
            queue = {
                "qname": name,
                "hostlist": "localhost",
                "pe_list": "NONE",
                "slots": slots,
                "notify": "00:00:10",
                "load_thresholds": "NONE",
            }
            path = self._write(name, _change(template, queue))
            said = self.run("qconf", "-Aq", path)
            assert "added" in said, said

    def _let_submit(self) -> bool:
        self.run("qconf", "-as", "localhost")
        return "localhost" in self.run("qconf", "-ss")

    def start_master(self) -> None:
        """Start the qmaster, with the state that an earlier one has left."""
        said = self.run("sge_qmaster")
        self._wait_for(lambda: "localhost" in self.run("qconf", "-sh"), said)

    def start_node(self) -> None:
        """Start the execd, which believes to be on a machine of its own."""
        machine = self._write("machine", f"e{'1' * 31}\n")
        script = f"mount --bind {machine} /etc/machine-id && exec sge_execd"
        said = self.run("unshare", "-m", "sh", "-c", script)
        pid = self.folder / "execd/localhost/execd.pid"
        self._wait_for(pid.exists, said)

    def wait_until_idle(self) -> None:
        """Wait until the node has told its load, which is when it takes jobs."""
        self._wait_for(lambda: "main.q@localhost" in self._read_queues(), "no queue")

    def _read_queues(self) -> str:
        lines = self.run("qstat", "-f").splitlines()
        return "\n".join(line for line in lines if len(line.split()) == 5)

    @staticmethod
    def _wait_for(is_so: object, said: str) -> None:
        assert callable(is_so)
        end = time.monotonic() + 30
        while not is_so():
            assert time.monotonic() < end, said
            time.sleep(0.05)

    def signal_master(self, signum: int) -> None:
        """Send a signal to the qmaster, and wait for its end if that is KILL."""
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            pid = int((self.folder / "qmaster/qmaster.pid").read_text())
            os.kill(pid, signum)
            while signum == signal.SIGKILL and os.path.exists(f"/proc/{pid}"):
                time.sleep(0.01)

    def stop(self) -> None:
        """End all of it, jobs too."""
        self.signal_master(signal.SIGCONT)
        self.run("qdel", "-f", "-u", "*")
        with suppress(ValueError, ProcessLookupError, FileNotFoundError):
            path = self.folder / "execd/localhost/execd.pid"
            os.kill(int(path.read_text()), signal.SIGTERM)
        self.signal_master(signal.SIGKILL)  # of TERM it ends after ten seconds
