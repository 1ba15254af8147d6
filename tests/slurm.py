"""A real Slurm of one machine: munged, slurmctld and three slurmd, on loopback.

Each node has a name and a machine id of its own (a mount and a UTS namespace), so that
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

NODES = ("n1", "n2", "n3")
_TOOLS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "unshare")
_PLACES = "/usr/sbin:/sbin:/usr/bin:/bin"

_CONF = """ClusterName=tiny
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
SlurmUser=root
AuthInfo=socket={folder}/munge/munge.socket
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
ReturnToService=2
SlurmdParameters=config_overrides
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmdTimeout=10
SlurmctldTimeout=10
MessageTimeout=3
KillWait=5
SchedulerParameters=batch_sched_delay=0,sched_min_interval=100000
GresTypes=gpu
{nodes}
PartitionName=main Nodes=ALL Default=YES
PartitionName=small Nodes=n1 MaxNodes=1
PartitionName=gpu Nodes=ALL
"""


#: Version 1 of cgroups, which is what limits memory on a machine that has both.
_CGROUPS = """CgroupPlugin=cgroup/v1
CgroupMountpoint=/sys/fs/cgroup
ConstrainRAMSpace=yes
ConstrainSwapSpace=yes
AllowedSwapSpace=0
"""


def need_slurm() -> None:
    """Skip where there is no Slurm, which in CI is a failure; or no way to start it."""
    missing = [tool for tool in _TOOLS if not shutil.which(tool, path=_PLACES)]
    if missing:
        words = f"no Slurm here ({', '.join(missing)}): apt-get install slurmctld "
        words += "slurmd slurm-client munge slurm-wlm-basic-plugins"
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must have it: {words}")
        pytest.skip(words)
    enter = ["unshare", "-m", "-u", "true"]
    if subprocess.run(enter, capture_output=True, check=False).returncode:
        pytest.skip("Slurm is started by root, with namespaces of mounts and names")


def _free_ports(count: int) -> list[int]:
    probes = [socket.socket() for _ in range(count)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Cluster:
    """A controller and its nodes, started by hand.

    Args:
        folder: An empty directory that every user may look into.
        cgroups: Limit memory, and end all that a job leaves behind.

    Attributes:
        conf: The path of its slurm.conf, for ``SLURM_CONF``.
    """

    def __init__(self, folder: Path, *, cgroups: bool = False) -> None:
        self.folder = folder
        self.conf = folder / "slurm.conf"
        self.env = {"PATH": _PLACES, "SLURM_CONF": str(self.conf), "LC_ALL": "C"}
        port, *ports = _free_ports(1 + len(NODES))
        nodes = "\n".join(
            f"NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={at} "
            "CPUs=64 RealMemory=16000 Gres=gpu:1"
            for name, at in zip(NODES, ports)
        )
        for name in ("munge", "state"):
            (folder / name).mkdir(mode=0o755)
        text = _CONF.format(port=port, folder=folder, nodes=nodes)
        if cgroups:
            text = text.replace("proctrack/linuxproc", "proctrack/cgroup")
            text = text.replace("task/none", "task/cgroup").replace(
                "CR_CPU", "CR_CPU_Memory\nDefMemPerCPU=50"
            )
            text = text.replace("CPUs=64 RealMemory=16000", "CPUs=4 RealMemory=1000")
            (folder / "cgroup.conf").write_text(_CGROUPS)
        self.conf.write_text(text)
        (folder / "gres.conf").write_text("Name=gpu File=/dev/zero\n")

    def __repr__(self) -> str:
        return f"<Cluster {self.folder}>"

    def run(self, *words: str) -> str:
        """Run one of its tools as root, and return what it says."""
        return subprocess.run(
            words,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        ).stdout

    def start(self) -> Cluster:
        """Start all of it and wait until the nodes take jobs."""
        munge = self.folder / "munge"
        (munge / "munge.key").write_bytes(os.urandom(1024))
        (munge / "munge.key").chmod(0o400)
        said = self.run(
            "munged",
            "--force",
            f"--key-file={munge}/munge.key",
            f"--socket={munge}/munge.socket",
            f"--pid-file={munge}/munged.pid",
            f"--log-file={munge}/munged.log",
            f"--seed-file={munge}/munged.seed",
            "--num-threads=2",
        )
        assert (munge / "munged.pid").exists(), said
        self.start_controller()
        for name in NODES:
            self.start_node(name)
        self.wait_until_idle()
        return self

    def start_controller(self) -> None:
        """Start slurmctld, with the state that an earlier one has left."""
        self.run("slurmctld", "-f", str(self.conf))

    def start_node(self, name: str) -> None:
        """Start the slurmd of a node, which believes to be a machine of its own."""
        machine = self.folder / f"machine-{name}"
        machine.write_text(f"{name}{'0' * 30}\n")
        hosts = self.folder / "hosts"
        hosts.write_text(f"127.0.0.1 localhost {' '.join(NODES)}\n")
        script = (
            f"mount --bind {machine} /etc/machine-id && hostname {name} && "
            f"mount --bind {hosts} /etc/hosts && "
            f"exec slurmd -N {name} -f {self.conf}"
        )
        said = self.run("unshare", "-m", "-u", "sh", "-c", script)
        self._wait_for_file(f"{name}.pid", said)

    def _wait_for_file(self, name: str, said: str) -> None:
        end = time.monotonic() + 20
        while not (self.folder / name).exists():
            assert time.monotonic() < end, said
            time.sleep(0.02)

    def wait_until_idle(self) -> None:
        """Wait until every node takes jobs."""
        end = time.monotonic() + 60
        while (said := self.run("sinfo", "-h", "-N", "-o", "%N %t")).count(
            "idle"
        ) + said.count("mix") + said.count("alloc") < 2 * len(NODES) - 2:
            assert time.monotonic() < end, said
            self.resume_nodes()
            time.sleep(0.1)

    def signal(self, name: str, signum: int) -> None:
        """Send a signal to the controller (``slurmctld``) or to a node."""
        with suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(int((self.folder / f"{name}.pid").read_text()), signum)

    def kill_controller(self) -> None:
        """End the controller with no time to save its state, and wait for that."""
        with suppress(FileNotFoundError, ValueError):
            pid = int((self.folder / "slurmctld.pid").read_text())
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            while os.path.exists(f"/proc/{pid}"):
                time.sleep(0.01)

    def heal_controller(self) -> None:
        """Have the controller at work, and every node take jobs."""
        self.signal("slurmctld", signal.SIGCONT)
        if "UP" not in self.run("scontrol", "ping"):
            self.start_controller()

    def resume_nodes(self) -> None:
        """Take nodes back that the controller has drained after it was killed."""
        nodes = self.run("sinfo", "-h", "-N", "-t", "drain,down", "-o", "%N").split()
        for node in nodes:
            self.run("scontrol", "update", f"nodename={node}", "state=resume")

    def stop(self) -> None:
        """End all of it, jobs too."""
        self.signal("slurmctld", signal.SIGCONT)
        pids = [*self.folder.glob("*.pid"), *self.folder.glob("munge/*.pid")]
        for path in pids:
            with suppress(ValueError, ProcessLookupError, FileNotFoundError):
                os.kill(int(path.read_text()), signal.SIGTERM)
        end = time.monotonic() + 10
        while time.monotonic() < end and any(path.exists() for path in pids):
            time.sleep(0.05)
