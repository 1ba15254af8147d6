"""A fake of PBS and of LSF: their commands, and a node on which jobs run as their user.

The commands are ``tests/batch_commands.py``. A job that is told to end gets the signals
that the manuals name; as with them, only processes of its own session do.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

COMMANDS = {
    "pbs": ("qsub", "qselect", "qstat", "qdel"),
    "lsf": ("bsub", "bjobs", "bkill", "bqueues"),
}

#: What tells a job to end, and what tells it that its time is up; KILL comes last.
_DELETE = {"pbs": (signal.SIGTERM,), "lsf": (signal.SIGINT, signal.SIGTERM)}
_LATE = {"pbs": (signal.SIGTERM,), "lsf": (signal.SIGUSR2,)}

#: Seconds between one signal and the next.
_PAUSE = 10.0


class BatchFake:
    """A cluster of one node, and the words that lead an sshd to its commands.

    Args:
        kind: ``pbs`` or ``lsf``.
        folder: An empty directory that every user may look into.
    """

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self.folder = folder
        self.spool = folder / "spool"
        self.spool.mkdir()
        self.spool.chmod(0o777)
        places = folder / "bin"
        places.mkdir()
        text = Path(__file__).with_name("batch_commands.py").read_text()
        main = folder / "commands"
        main.write_text(text.replace("@SPOOL@", str(self.spool)))
        main.chmod(0o755)
        machine = folder / "machine"
        machine.write_text(f"{kind}{'0' * 29}\n")
        lines = [f"mount --bind {machine} /etc/machine-id"]
        for name in COMMANDS[kind]:
            (places / name).symlink_to(main)
            real = shutil.which(name, path="/usr/bin:/bin")
            if real:
                lines.append(f"mount --bind {main} {Path(real).resolve()}")
        #: Before an sshd whose host has these commands, and a machine id of its own.
        self.enter = ["unshare", "-m", "sh", "-c"]
        self.enter += [" && ".join([*lines, 'exec "$@"']), "sh"]
        self.path = f"/usr/bin:/bin:{places}"
        self._running: dict[int, subprocess.Popen[bytes]] = {}
        self._told: dict[int, tuple[float, list[signal.Signals]]] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<BatchFake {self.kind} {self.folder}>"

    def release(self, number: int) -> None:
        """Let a job that is held begin."""
        (self.spool / f"{number}.held").unlink()

    def delete(self, number: int) -> None:
        """Have a job ended, as by its command."""
        (self.spool / f"{number}.delete").touch()

    def count_jobs(self) -> int:
        """Return how many jobs were handed over and are not over."""
        ends = len([*self.spool.glob("*.end")])
        return len([*self.spool.glob("*.job")]) - ends

    def _work(self) -> None:
        while not self._is_over.wait(0.05):
            for path in self.spool.glob("*.job"):
                number = int(path.stem)
                if not (self.spool / f"{number}.end").exists():
                    self._look_after(number, json.loads(path.read_text()))

    def _look_after(self, number: int, job: dict[str, Any]) -> None:
        process = self._running.get(number)
        is_deleted = (self.spool / f"{number}.delete").exists()
        if process is None:
            if is_deleted:
                self._say(number, "end", status=1, why="TERM_OWNER")
            elif not self._is_held(number, job):
                self._start(number, job)
            return
        if process.poll() is not None:
            why = self._told.get(number) and (
                "TERM_OWNER" if is_deleted else "TERM_RUNLIMIT"
            )
            self._say(number, "end", status=process.returncode, why=why)
        elif is_deleted:
            self._tell(number, _DELETE[self.kind])
        elif job["limit"] and time.time() - self._read_start(number) > job["limit"]:
            self._tell(number, _LATE[self.kind])

    def _is_held(self, number: int, job: dict[str, Any]) -> bool:
        ends = [self.spool / f"{one}.end" for one in job["before"]]
        is_open = not all(end.exists() for end in ends)
        return is_open or (self.spool / f"{number}.held").exists()

    def _read_start(self, number: int) -> float:
        return float(json.loads((self.spool / f"{number}.run").read_text())["at"])

    def _start(self, number: int, job: dict[str, Any]) -> None:
        user = pwd.getpwuid(job["uid"])
        script = self.folder / f"script-{number}"
        script.write_text(job["script"])
        names = dict(
            word.split("=", 1) for word in job.get("variables", "").split(",") if word
        )
        env = {"HOME": user.pw_dir, "LOGNAME": user.pw_name, **names}
        env["PATH"] = f"{self.folder}/bin:/usr/bin:/bin"
        env |= {"PBS_JOBID": f"{number}.fakepbs", "PBS_O_WORKDIR": job["cwd"]}
        env |= {"LSB_JOBID": str(number), "LSB_JOBNAME": job["name"]}
        self._running[number] = subprocess.Popen(
            ["/bin/sh", script],
            cwd=user.pw_dir if self.kind == "pbs" else job["cwd"],
            env=env,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._say(number, "run", at=time.time())

    def _tell(self, number: int, signals: tuple[signal.Signals, ...]) -> None:
        told_at, left = self._told.get(number, (0.0, [*signals, signal.SIGKILL]))
        if left and time.monotonic() - told_at > _PAUSE:
            with suppress(ProcessLookupError):
                os.killpg(self._running[number].pid, left[0])
            self._told[number] = (time.monotonic(), left[1:])

    def _say(self, number: int, kind: str, **values: Any) -> None:
        new = self.spool / f"{number}.{kind}.new"
        new.write_text(json.dumps(values))
        new.rename(self.spool / f"{number}.{kind}")

    def stop(self) -> None:
        """End all of it, jobs too."""
        self._is_over.set()
        self._thread.join()
        for process in self._running.values():
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
