"""What must never happen, looked for after a schedule."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path
from typing import Any

from tests.faults import leftovers
from tests.faults.schedule import Doing, Work
from tests.faults.world import Command, Home, objects

FINAL = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "LOST")

#: Every command ends within this many seconds of the end of all faults.
BOUND = 100.0

#: How a job is told of that was never accepted, or lost a key to another machine's.
_UNKNOWN = ("no such job", "is no longer")


class Verdict:
    """The rules, looked at one after the other.

    Attributes:
        broken: A line for each breach.
    """

    def __init__(self, doing: Doing) -> None:
        self._doing = doing
        self._world = doing.world
        self._homes = [home for home in doing.world.homes if home.commands]
        self.broken: list[str] = []
        #: The final states of a job that a home has told, by job and home.
        self._told: dict[tuple[str, str], set[str]] = {}
        self._logs: dict[str, bytes] = {}
        self._jobs: dict[str, dict[str, Any]] = {}

    def __repr__(self) -> str:
        return f"<Verdict {len(self.broken)} breaches>"

    def _break(self, rule: str, text: str) -> None:
        self.broken.append(f"{rule}: {text}")

    def look(self) -> list[str]:
        """Look at everything; return the breaches."""
        self._everything_ends()
        if self.broken:
            return self.broken
        self._world.plant()
        for home in self._homes:
            for command in list(home.commands):
                self._ended_well(command)
        self._settle()
        for home in self._homes:
            self._read(home)
        self._nothing_ran_twice()
        self._the_limit_was_kept()
        self._the_order_was_kept()
        self._nothing_is_forgotten()
        self._refusals_are_true()
        self._ends_are_right()
        self._nothing_is_foretold()
        self._outputs_are_right()
        self._no_secret()
        for home in self._homes:
            self._records_are_clean(home)
        self._nothing_is_left()
        return self.broken

    # -- commands ----------------------------------------------------------------

    def _everything_ends(self) -> None:
        until = time.monotonic() + BOUND
        for home in self._world.homes:
            for command in home.commands:
                if not command.wait(until):
                    self._break("9 a command hangs", f"{command!r} {command.ended!r}")

    def _ended_well(self, command: Command, *, healed: bool = False) -> None:
        ended = command.ended
        text = f"{command!r} {ended.status} {ended.err[-1500:]!r}"
        if "KeyboardInterrupt" in ended.err and command.blow == signal.SIGINT:
            return  # before our first line
        if "Traceback" in ended.err:
            self._break("10 a traceback", text)
            return
        if ended.status not in ({0, 1} if healed else self._fine(command)):
            self._break("10 an odd exit status", text)
        elif not self._says_enough(command):
            self._break("10 an error that says too little", text)

    def _fine(self, command: Command) -> set[int]:
        """Return the exit statuses that a command may have in trouble."""
        full = any(disk.name == command.home.name for disk in self._world.was_full)
        fine = {0, 1, 69, 75} | ({70} if full else set())
        if command.words[0] == "run":
            lost = self._world.spoilt or self._world.crashed
            fine |= {3, 143} | ({70} if lost else set())  # it is LOST
        for blow in command.blows:
            fine |= {-blow, 128 + blow, 143}
        err = command.ended.err
        if any(f"{how} in this machine's record" in err for how in _UNKNOWN):
            fine.add(64)
        return fine

    def _says_enough(self, command: Command) -> bool:
        """Tell whether an error names the host, or the place on this machine.

        A job that ended badly, or has not ended yet, is told of on standard output.
        """
        ended = command.ended
        host, here = command.home.cli.host, str(command.home.cli.home)
        asks = command.words[0] not in ("wait", "poll")
        told = {69: [host], 70: [here], 75: [host, here] if asks else [""]}
        texts = [""] if self._world.spoilt else told.get(ended.status, [""])
        return bool(command.blow) or any(text in ended.err for text in texts)

    def _each(self, *words: str, base: Path | None = None) -> None:
        """Run a command on every machine at once; it must end well."""
        commands = [home.start(*words, base=base) for home in self._homes]
        until = time.monotonic() + 240.0
        for command in commands:
            command.wait(until)
            self._ended_well(command, healed=True)

    def _settle(self) -> None:
        """Have everything come to its end, and home."""
        self._each("poll", "--json")
        bound = "60" if self._world.slurm is None else "150"
        self._each("wait", "--json", "--timeout", bound)
        self._each("list", "--json")
        for home in self._homes:
            for row in home.rows("SELECT id, state, command FROM jobs"):
                if row[1] not in FINAL:
                    self._break("2 not ended after all", f"{home.name} {row}")
        for place in leftovers.of_secrets(self._world, ()):  # before it is deleted
            self._break("7 a secret is kept", place)
        self._each("reap", "--json")
        self._each("list", "--json")

    # -- what is known now -------------------------------------------------------

    def _read(self, home: Home) -> None:
        for command in home.commands:
            for job in objects(command.ended.out) + objects(command.ended.err):
                if job.get("state") in FINAL and "id" in job:
                    told = self._told.setdefault((job["id"], home.name), set())
                    told.add(job["state"])
        names = (
            "id state exit_status command log_bytes log_local_bytes log_final "
            "reaped_at "
            "key reason signal finished_at"
        )
        for row in home.rows(f"SELECT {names.replace(' ', ',')} FROM jobs"):
            job = dict(zip(names.split(), row)) | {"home": home.name}
            self._has_its_end(job)
            known = self._jobs.get(job["id"])
            if known is None or len(job["command"]) > len(known["command"]):
                self._jobs[job["id"]] = job
            self._read_log(home, job)

    def _has_its_end(self, job: dict[str, Any]) -> None:
        """Look at each home's own word for an end, whatever the other one knows."""
        is_whole = job["finished_at"] is not None and (
            job["state"] != "COMPLETED" or job["exit_status"] == 0
        )
        if job["state"] == "FAILED" and not job["reason"]:
            is_whole &= job["exit_status"] is not None or job["signal"] is not None
        if job["state"] in FINAL and not is_whole:
            self._break("4 a final state without an end", f"{job}")

    def _read_log(self, home: Home, job: dict[str, Any]) -> None:
        path = home.cli.home / "logs" / job["id"]
        log = path.read_bytes() if path.exists() else b""
        if job["log_local_bytes"] != len(log):
            text = f"{home.name} {job} has {len(log)} bytes"
            if job["log_local_bytes"] > len(log):
                self._break("3 the record promises bytes that are not here", text)
            log = log[: job["log_local_bytes"]]
        if len(log) >= len(self._logs.get(job["id"], b"")):
            self._logs[job["id"]] = log

    # -- the rules ---------------------------------------------------------------

    def _runs(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in self._world.ran.iterdir()}

    def _nothing_ran_twice(self) -> None:
        keyed: dict[str, list[str]] = {}
        for job_id, text in self._runs().items():
            tags = text.split()
            if len(tags) != 1:
                self._break("1 a job ran twice", f"{job_id} {tags}")
            keyed.setdefault(tags[0], []).append(job_id)
        for tag, ids in keyed.items():
            states = [self._jobs.get(job_id, {}).get("state", "?") for job_id in ids]
            # An end that was known to one home and then spoilt is none to the other.
            whole = [job_id for job_id in ids if job_id not in self._world.spoilt]
            good = [self._jobs.get(job_id, {}).get("state") for job_id in whole]
            if not tag.startswith("key") and len(ids) > 1:
                self._break("1 an order ran twice", f"{tag} {ids} {states}")
            if good.count("COMPLETED") > 1:
                self._break("1 a key was completed twice", f"{tag} {ids} {states}")
            self._one_after_the_other(tag, ids)

    def _the_limit_was_kept(self) -> None:
        """No more ran at a time than may, from what each wrote at its begin and end."""
        limit = self._doing.plan.limit
        instants = []
        for over in self._world.over.iterdir() if limit else ():
            work = self._work(self._jobs.get(over.name, {"command": ""}))
            if work is not None and work.tag in self._doing.after:
                continue  # another site has limits of its own
            began = (self._world.ran / over.name).stat().st_mtime_ns
            instants += [(began, 1), (over.stat().st_mtime_ns, -1)]
        running = 0
        for _, step in sorted(instants):
            running += step
            if running > limit:
                self._break("11 more ran than may", f"{running} of {limit}")
                return

    def _the_order_was_kept(self) -> None:
        """A job began only once the one before it had ended as it was to."""
        for job_id, text in self._runs().items():
            before, how = self._doing.after.get(text.strip(), ("", ""))
            if not before or before in self._world.spoilt:
                continue
            other = self._jobs.get(before, {"state": "unknown"})
            good = {"COMPLETED"} if how == "ok" else FINAL
            if other["state"] not in good:
                self._break("12 it ran after a bad end", f"{job_id} {how} {other}")
            began = (self._world.ran / job_id).stat().st_mtime
            over = self._world.over / before
            if over.exists() and over.stat().st_mtime > began:
                self._break("12 it ran before its turn", f"{job_id} {before}")

    def _may_never_begin(self, work: Work) -> bool:
        """Tell whether the one before a job has ended otherwise than it was to."""
        before, how = self._doing.after.get(work.tag, ("", ""))
        if not before:
            return False
        other = self._jobs.get(before)
        if other is None or before in self._world.spoilt:
            return True
        return how == "ok" and other["state"] != "COMPLETED"

    def _one_after_the_other(self, tag: str, ids: list[str]) -> None:
        """The next attempt of a key starts when the last has ended, and ended badly."""
        began = {job_id: (self._world.ran / job_id).stat().st_mtime for job_id in ids}
        ids = sorted(ids, key=began.__getitem__)
        for job_id, after in zip(ids, ids[1:]):
            over = self._world.over / job_id
            if job_id in self._world.spoilt:
                continue
            if over.exists() and over.stat().st_mtime > began[after]:
                self._break("1 a key ran twice at once", f"{tag} {job_id} {after}")
            if self._jobs.get(job_id, {}).get("state") == "COMPLETED":
                self._break("1 a completed key ran again", f"{tag} {job_id} {after}")

    def _nothing_is_forgotten(self) -> None:
        for job_id, text in self._runs().items():
            if job_id not in self._jobs:
                self._break("2 it ran and nobody knows it", f"{job_id} {text!r}")
        for home in self._homes:
            known = set(home.ids())
            for command in home.commands:
                self._promise_is_kept(command, known)

    def _promise_is_kept(self, command: Command, known: set[str]) -> None:
        for job_id in command.promised:
            if job_id not in known:
                self._break("2 a promised job is unknown", f"{command!r} {job_id}")
        done = command.words[0] == "submit" and command.ended.status == 0
        if done and len(command.promised) != len(command.orders):
            self._break("2 not every order has an id", f"{command!r} {command.ended!r}")

    def _refusals_are_true(self) -> None:
        """Who was told that nothing ran, and got no id, has no job and never will."""
        told = (
            command
            for home in self._homes
            for command in home.commands
            if command.ended.status in (69, 75) and not command.promised
        )
        for command in told:
            for tag in command.tags:
                jobs = [j for j in self._jobs.values() if f": {tag};" in j["command"]]
                if jobs and not tag.startswith("key"):
                    text = f"{command!r} {command.ended!r} {jobs}"
                    self._break("10 it said that nothing ran", text)

    def _nothing_is_foretold(self) -> None:
        """A job that was called ended had ended."""
        for home in self._homes:
            for command in home.commands:
                for job in objects(command.ended.out) + objects(command.ended.err):
                    if job.get("state") in FINAL and "id" in job:
                        self._had_ended(command, job["id"])

    def _had_ended(self, command: Command, job_id: str) -> None:
        over = self._world.over / job_id
        if over.exists() and over.stat().st_mtime > command.said_at:
            late = over.stat().st_mtime - command.said_at
            self._break("4 it ran on", f"{job_id} {late} s after {command!r}")

    def _work(self, job: dict[str, Any]) -> Work | None:
        found = re.match(r": (\w+);", job["command"])
        return self._doing.works.get(found[1]) if found else None

    def _cancelled(self, job: dict[str, Any], work: Work) -> bool:
        return bool({job["id"], work.tag} & self._doing.killed)

    def _ends_are_right(self) -> None:
        runs = self._runs()
        for job_id, job in self._jobs.items():
            self._end_has_stayed(job_id, job)
            work = self._work(job)
            if work is None:
                self._break("2 a record without its command", f"{job}")
                continue
            if job_id in self._world.spoilt:
                continue  # that it has ended, and stays so, is all that is owed to it
            self._end_is_right(job, work, job_id in runs)

    def _end_has_stayed(self, job_id: str, job: dict[str, Any]) -> None:
        """No home tells two ends of a job; nor do two, where its record was whole."""
        told = [self._told.get((job_id, home.name), set()) for home in self._homes]
        if job_id not in self._world.spoilt:
            told = [set().union({job["state"]}, *told)]
        for finals in told:
            if len(finals) > 1:
                self._break("5 a final state changed", f"{job} was {finals}")

    def _end_is_right(self, job: dict[str, Any], work: Work, ran: bool) -> None:
        expected = {"COMPLETED"} if work.status == 0 else {"FAILED"}
        if self._cancelled(job, work) or "holds its key" in job["reason"]:
            expected.add("CANCELLED")
        if self._may_never_begin(work):
            expected = {"CANCELLED"} if not ran else expected
        if self._world.crashed:  # Slurm kills what runs and was not yet written down
            expected |= {"LOST", "CANCELLED", "FAILED"}
        if self._host_was_full:  # its own record of itself may have failed
            expected.add("FAILED")
        elif not ran and job["state"] != "CANCELLED":
            self._break("4 it ended and never ran", f"{job}")
        if job["state"] not in expected:
            self._break("4 a wrong end", f"{job} expected {expected}")
        self._log_is_right(job, work)

    def _log_is_right(self, job: dict[str, Any], work: Work) -> None:
        log = self._logs.get(job["id"], b"")
        # Its shell may have said what it died of, or what its sleep did, and gone on.
        if job["state"] == "CANCELLED":
            log = re.sub(rb"[^\n]*(Terminated|Killed)[^\n]*\n?", b"", log)
        cut = {"CANCELLED", "LOST", "FAILED"} if self._world.crashed else {"CANCELLED"}
        whole = job["state"] not in cut and not self._host_was_full
        if work.log != log if whole else not self._is_part(log, work.log):
            pairs = enumerate(zip(log, work.log))
            at = next((i for i, (one, other) in pairs if one != other), "the end")
            self._break(
                "3 a log is not what was written",
                f"{job} {len(log)} of {len(work.log)} bytes, differs at {at}",
            )
        if job["log_bytes"] != len(self._logs.get(job["id"], b"")):
            self._break("3 the log is not home", f"{job} has {len(log)}")

    def _is_part(self, log: bytes, whole: bytes) -> bool:
        """Tell whether a log holds what was written, in order, up to some point.

        On a full disk the job's own writes fail, and later ones may succeed again.
        """
        if self._host_was_full:
            rest = iter(whole)
            return all(byte in rest for byte in log)
        return whole.startswith(log)

    @property
    def _host_was_full(self) -> bool:
        return any(disk.name == "host" for disk in self._world.was_full)

    def _outputs_are_right(self) -> None:
        if self._host_was_full:
            return
        for home in self._homes:
            for command in home.commands:
                if self._meets_spoilt(command):
                    continue
                if command.words[0] == "run":
                    tag = command.words[-1].split(";")[0][2:]
                    self._output(command, self._doing.works[tag])
                elif command.words[0] == "logs":
                    job = self._jobs.get(command.words[1])
                    work = self._work(job) if job else None
                    if work is not None:
                        self._output(command, work)

    def _meets_spoilt(self, command: Command) -> bool:
        """Tell whether a command may be about a job whose record was spoilt."""
        ids = {*command.promised, *command.words}
        return bool(self._world.spoilt & ids) or (
            "--key" in command.words and bool(self._world.spoilt)
        )

    def _output(self, command: Command, work: Work) -> None:
        out, want = command.ended.raw, work.log
        if not want.startswith(out):
            self._break("3 output differs", f"{command!r} {out[:300]!r}")
        if command.words[0] != "run" or command.blow:
            return  # who was told to end may have ended before the job did
        if command.ended.status == work.status:
            if out != want and not self._is_elsewhere(command):
                told = command.ended.err[-300:]
                self._break("3 output is not whole", f"{command!r} {len(out)} {told!r}")
        elif command.ended.status in (0, 3):
            self._break("4 not the job's own status", f"{command!r} {command.ended!r}")

    def _is_elsewhere(self, command: Command) -> bool:
        """Tell whether a log was taken home by another machine, and this was said."""
        others = [home for home in self._homes if home is not command.home]
        words = [c.words for home in others for c in home.commands]
        took = any("--orphans" in some for some in words)
        # The other machine has a job of the same key for its own, and may reap it.
        took |= "--key" in command.words and any("--key" in some for some in words)
        return took and "went with its directory on the host" in command.ended.err

    def _no_secret(self) -> None:
        for line in self._doing.leaks:
            self._break("7 a secret in a command line", line[:300])
        for place in leftovers.of_secrets(self._world, self._jobs):
            self._break("7 a secret is kept", place)

    # -- what is left ------------------------------------------------------------

    def _records_are_clean(self, home: Home) -> None:
        # Who was stopped between its last look at the gate and the start of ssh may
        # wake up beside its successor, and ends what it has started.
        if home.relay.most > 1 + home.overtaken:
            self._break("6 two connections at once", f"{home.name} {home.relay.most}")
        ((handshakes,),) = home.rows("SELECT sum(handshakes) FROM sites")
        # A kill on a full disk goes out past the record, which cannot count it.
        kills = sum(command.words[0] == "kill" for command in home.commands)
        past = kills if any(d.name != "host" for d in self._world.was_full) else 0
        if home.relay.accepted > (handshakes or 0) + past:
            text = f"{home.name} {home.relay.accepted} of {handshakes}"
            self._break("6 a connection that nobody counted", text)
        # A wish for a log ends with its process, at the next round.
        open_ = home.rows("SELECT * FROM intents WHERE done = 0 AND kind <> 'log'")
        if open_:
            self._break("an intent is left", f"{home.name} {open_}")
        known = set(home.ids())
        specs = list((home.cli.home / "specs").glob("*"))
        if any(command.blow for command in home.commands):
            specs = [p for p in specs if p.name in known]  # swept after ten minutes
        if specs:
            self._break("7 a spec is left", f"{home.name} {specs}")
        logs = {p.name for p in (home.cli.home / "logs").glob("*")} - known
        if logs:
            self._break("a log without a job", f"{home.name} {logs}")

    def _disconnect_all(self) -> None:
        if self._doing.after:
            self._each("disconnect", self._world.sshd.alias, base=self._world.other)
        self._each("disconnect", self._world.sshd.alias)

    def _nothing_is_left(self) -> None:
        if self._homes:
            home = self._homes[0]
            self._ended_well(home.run("reap", "--orphans", "--json"), healed=True)
        self._disconnect_all()
        for home in self._homes:
            for path in leftovers.of_files(home):
                self._break("a file is left", path)
        for line in leftovers.of_processes(self._world, self._jobs):
            self._break("a process is left", line)
        for path in leftovers.on_host(self._world):
            if self._world.spoilt & {path.split()[0].partition("/")[2]}:
                continue  # whose it is cannot be told any more: it is left alone
            self._break("something is left on the host", path)
        for name in self._world.uprooted():
            self._break("8 not ours, and gone", name)
