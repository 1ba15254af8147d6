"""Fabric, parallel-ssh, asyncssh and the like, each as its own manual has it.

Run by an interpreter that has them: ``python peers.py NAME COUNT``. It forks COUNT
processes from one that has imported the library, so that neither interpreter nor
imports are counted; each connects and runs ``true``. parallel-ssh does the same in one
process, with COUNT connections. ``asyncssh-batch`` starts COUNT jobs detached, six at
a time over one connection, in one process. Of AiiDA it is the ssh transport, of
jobflow-remote its host: what their daemons do for a job.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

_HOST = "127.0.0.1"
_PORT = int(os.environ.get("BENCH_PORT", "0"))
_USER = os.environ.get("BENCH_USER", "")
_KEY = os.environ.get("BENCH_KEY", "")
_KNOWN_HOSTS = os.environ.get("BENCH_KNOWN_HOSTS", "")


class Failed(Exception):
    """So many of the commands failed."""

    def __init__(self, count: int) -> None:
        super().__init__(count)
        self.count = count


def _fabric() -> Callable[[], object]:
    fabric: Any = importlib.import_module("fabric")
    paramiko: Any = importlib.import_module("paramiko")

    def run() -> object:
        connection = fabric.Connection(
            _HOST, _USER, _PORT, connect_kwargs={"key_filename": _KEY}
        )
        connection.client.set_missing_host_key_policy(paramiko.RejectPolicy())
        connection.client.load_host_keys(_KNOWN_HOSTS)
        with connection:
            return connection.run("true", hide=True, in_stream=False)

    return run


def _asyncssh() -> Callable[[], object]:
    asyncssh: Any = importlib.import_module("asyncssh")

    async def once() -> None:
        async with asyncssh.connect(
            _HOST, _PORT, username=_USER, client_keys=[_KEY], known_hosts=_KNOWN_HOSTS
        ) as connection:
            await connection.run("true", check=True)

    return lambda: asyncio.run(once())


def _aiida() -> Callable[[], object]:
    plugin: Any = importlib.import_module("aiida.transports.plugins.ssh")

    def run() -> None:
        transport = plugin.SshTransport(
            machine=_HOST,
            username=_USER,
            port=_PORT,
            key_filename=_KEY,
            key_policy="AutoAddPolicy",
            safe_interval=0,
            look_for_keys=False,
            allow_agent=False,
        )
        with transport:
            assert transport.exec_command_wait("true")[0] == 0

    return run


def _jobflow_remote() -> Callable[[], object]:
    package: Any = importlib.import_module("jobflow_remote.remote.host")

    def run() -> None:
        kwargs = {"key_filename": _KEY}
        host = package.RemoteHost(
            _HOST, _USER, _PORT, connect_kwargs=kwargs, login_shell=False
        )
        host.connect()
        try:
            assert host.execute("true")[2] == 0
        finally:
            host.close()

    return run


async def _batch(count: int) -> None:
    asyncssh: Any = importlib.import_module("asyncssh")
    line = "setsid sh -c true </dev/null >/dev/null 2>&1 &"
    async with asyncssh.connect(
        _HOST, _PORT, username=_USER, client_keys=[_KEY], known_hosts=_KNOWN_HOSTS
    ) as connection:
        free = asyncio.Semaphore(6)  # a slot is freed late: ten are refused

        async def one() -> None:
            async with free:
                await connection.run(line, check=True)

        orders = (one() for _ in range(count))
        ends = await asyncio.gather(*orders, return_exceptions=True)
    failed = sum(isinstance(end, BaseException) for end in ends)
    if failed:
        raise Failed(failed)


def _parallel_ssh(count: int) -> None:
    clients: Any = importlib.import_module("pssh.clients")
    hosts = [_HOST] * count
    client = clients.ParallelSSHClient(
        hosts, user=_USER, port=_PORT, pkey=_KEY, pool_size=count
    )
    output = client.run_command("true", stop_on_errors=False)
    client.join(output)
    failed = sum(one.exception is not None or one.exit_code != 0 for one in output)
    if failed:
        raise Failed(failed)


def _fork(run: Callable[[], object]) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        run()
        status = 0
    finally:
        os._exit(status)


def _crowd(run: Callable[[], object], count: int) -> dict[str, float]:
    began = time.monotonic()
    cpu, rss, failed = 0.0, 0, 0
    for pid in [_fork(run) for _ in range(count)]:
        _, status, usage = os.wait4(pid, 0)
        cpu += usage.ru_utime + usage.ru_stime
        rss = max(rss, usage.ru_maxrss * 1024)
        failed += status != 0
    wall = time.monotonic() - began
    return {"wall": wall, "cpu": cpu, "rss_bytes": rss, "failed": failed}


def _alone(work: Callable[[], object]) -> dict[str, float]:
    began = time.monotonic()
    before = resource.getrusage(resource.RUSAGE_SELF)
    failed = 0
    try:
        work()
    except Failed as error:
        failed = error.count
    usage = resource.getrusage(resource.RUSAGE_SELF)
    cpu = usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime
    rss = usage.ru_maxrss * 1024
    wall = time.monotonic() - began
    return {"wall": wall, "cpu": cpu, "rss_bytes": rss, "failed": failed}


_LIBRARIES = {
    "fabric": _fabric,
    "asyncssh": _asyncssh,
    "aiida-core": _aiida,
    "jobflow-remote": _jobflow_remote,
}


def main(name: str, count: int) -> None:
    """Measure, and print one JSON object."""
    if name == "asyncssh-batch":
        importlib.import_module("asyncssh")
        said = _alone(lambda: asyncio.run(_batch(count)))
    elif name == "parallel-ssh":
        importlib.import_module("pssh.clients")
        said = _alone(lambda: _parallel_ssh(count))
    else:
        said = _crowd(_LIBRARIES[name](), count)
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
