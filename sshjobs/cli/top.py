"""``sshjobs top``: hosts, jobs and a log, as they are from second to second.

Three paces: keys are answered at once, from the last picture of the record; the record
is read anew every second, in a thread; hosts are asked by the usual rounds, in threads
of their own (``verbs/live.py``). So nothing here waits for a host.
"""

from __future__ import annotations

import sys
import threading
import time

from .. import states
from ..display.look import find_look
from ..display.top_screen import TopView, build_top_lines
from ..errors import SshJobsError
from ..startup.records import TYPE_CHECKING
from ..verbs.context import Context
from ..verbs.hosts import HostState, list_hosts
from ..verbs.live import LiveRecord, read_log_end
from ..verbs.overview import ORDERS, Overview, View, read_overview
from .output import print_error
from .screen import Ended, Screen
from .selections import read_criteria_flags

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ..display.look import Look
    from ..model import Job
    from ..verbs.selection import Criteria

#: Jobs beyond these are not shown; a filter of the call finds them.
_MOST_JOBS = 2000

#: The record is read this often, and hosts' connections are looked at.
_PACE, _HOST_PACE = 1.0, 3.0

#: Ctrl-Z waits this long for threads that lead a round.
_PAUSE = 2.0

_LOG_LINES = 60


def run_top(values: Mapping[str, Any]) -> int:
    """Carry out ``sshjobs top``; return the exit status."""
    try:
        ctx = Context()
        look = find_look(sys.stdout, values.get("color") or "auto", ctx.environ)
        is_dumb = ctx.environ.get("TERM", "dumb") == "dumb"
        if not (look.is_terminal and sys.stdin.isatty()) or is_dumb:
            print_error("top needs a terminal; sshjobs status shows the same, once")
            return 64
        criteria = read_criteria_flags(dict(values) | {"allow_empty": True})
        read_overview(ctx, criteria, View(limit=1, lately_only=True))
        return _Top(ctx, criteria, str(values.get("color") or "auto")).run()
    except SshJobsError as error:
        print_error(str(error))
        return error.exit_status
    except KeyboardInterrupt:
        return 130


class _Record:
    """The record as a thread reads it, every second."""

    def __init__(self, ctx: Context, criteria: Criteria, live: LiveRecord) -> None:
        self._ctx, self._criteria, self._live = ctx, criteria, live
        self.order = "age"
        self.overview: Overview | None = None
        self.hosts: list[HostState] = []
        self.error = ""
        self._hosts_at = 0.0
        self._is_due = threading.Event()
        self.is_over = False

    def start(self) -> None:
        """Read the record from now on."""
        threading.Thread(target=self._read_again_and_again, daemon=True).start()

    def hurry(self) -> None:
        """Read it now."""
        self._is_due.set()

    def _read_again_and_again(self) -> None:
        own = self._ctx.open_for_thread()
        while not self.is_over:
            try:
                self._read(own)
                self.error = ""
            except SshJobsError as error:
                self.error = str(error)
            self._is_due.wait(_PACE)
            self._is_due.clear()
        own.close()

    def _read(self, own: Context) -> None:
        view = View(self.order, _MOST_JOBS, lately_only=True)
        overview = read_overview(own, self._criteria, view)
        active = {
            job.site_id for job in overview.jobs if not states.is_final(job.state)
        }
        self.overview = overview
        self._live.ask_sites(active)
        if time.monotonic() - self._hosts_at > _HOST_PACE:
            self.hosts = list_hosts(own)
            self._hosts_at = time.monotonic()


#: How far down the list a key goes.
_STEPS = {
    **{"up": -1, "k": -1, "down": 1, "j": 1, "page up": -10, "page down": 10},
    **{"home": -_MOST_JOBS, "g": -_MOST_JOBS, "end": _MOST_JOBS, "G": _MOST_JOBS},
}


class _Top:
    """The state that keys change, and the picture of it."""

    def __init__(self, ctx: Context, criteria: Criteria, color: str) -> None:
        self._ctx, self._color = ctx, color
        self._live = LiveRecord(ctx)
        self._record = _Record(ctx, criteria, self._live)
        self._selected = ""  # the id of a job
        self._filter, self._is_typing = "", False
        self._dying: Job | None = None  # a person is asked about it
        self._has_help = False
        self._jobs: list[Job] = []

    def run(self) -> int:
        """Show it until a person leaves; return the exit status."""
        self._record.start()
        screen = Screen(lambda: self._live.pause(_PAUSE), self._live.resume)
        try:
            with screen:
                while True:
                    look = find_look(sys.stdout, self._color, self._ctx.environ)
                    screen.draw(self._build_picture(look))
                    for key in screen.read_keys(_PACE / 2):
                        if not self._take_key(key, screen):
                            return 0
        except Ended as ended:
            return 128 + ended.number
        finally:
            self._record.is_over = True
            self._live.ask_sites(())
            self._live.pause(_PAUSE)

    def _build_picture(self, look: Look) -> list[str]:
        overview = self._record.overview
        if overview is None:
            return [self._record.error or "sshjobs top: reading the record"]
        text = self._filter.lower()
        self._jobs = []
        for one in overview.jobs:
            fields = (one.id, one.name, one.key, one.host, one.state, one.command)
            if any(text in field.lower() for field in fields):
                self._jobs.append(one)
        place = self._find_place()
        job = self._jobs[place] if self._jobs else None
        self._live.select_job(job)
        lines, note = self._read_log(job)
        return build_top_lines(
            TopView(
                overview,
                self._record.hosts,
                self._live.errors,
                self._jobs,
                place,
                lines,
                note,
                self._record.order,
                self._find_prompt(),
                self._has_help,
            ),
            look,
        )

    def _find_place(self) -> int:
        """Return where the selected job stands, else that of the newest active one."""
        for place, job in enumerate(self._jobs):
            if job.id == self._selected:
                return place
        active = [job for job in self._jobs if not states.is_final(job.state)]
        for job in (active or self._jobs)[-1:]:
            self._selected = job.id
            return self._jobs.index(job)
        return 0

    def _read_log(self, job: Job | None) -> tuple[list[str], str]:
        if job is None:
            return [], ""
        size = job.log_local_bytes
        lines = read_log_end(self._ctx.store.files.locate_log(job.id), size, _LOG_LINES)
        if job.log_bytes > size:
            return lines, f"{job.log_bytes - size:,} bytes are not here: Enter"
        return lines, (
            "" if lines else "(no output yet)" if not states.is_final(job.state) else ""
        )

    def _find_prompt(self) -> str:
        if self._dying is not None:
            name = self._dying.name or self._dying.key or self._dying.id
            return f"End {name} on {self._dying.host}, with its whole tree? [y/N]"
        if self._is_typing:
            return f"/{self._filter}_   Enter keeps it, Escape clears it"
        told = self._record.error or self._live.told
        return told or (f"/{self._filter}   Escape clears it" if self._filter else "")

    def _take_key(self, key: str, screen: Screen) -> bool:
        """Do as a key says; tell whether to go on."""
        self._live.told = ""
        if self._dying is not None:
            job, self._dying = self._dying, None
            if key in "yY":
                self._live.end_job(job)
        elif self._is_typing:
            self._edit_filter(key)
        elif key == "q":
            return False
        elif key in ("enter", "l"):
            self._follow(screen)
        elif key == "x":
            self._ask_about_end()
        else:
            self._change_view(key)
        return True

    def _change_view(self, key: str) -> None:
        """Change the part of the picture that a key is for."""
        if key == "/":
            self._is_typing = True
        elif key == "escape":
            self._filter, self._has_help = "", False
        elif key == "?":
            self._has_help = not self._has_help
        elif key == "s":
            orders = list(ORDERS)
            following = orders.index(self._record.order) + 1
            self._record.order = orders[following % len(orders)]
            self._record.hurry()
        elif key in _STEPS and self._jobs:
            place = max(0, self._find_place() + _STEPS[key])
            self._selected = self._jobs[min(place, len(self._jobs) - 1)].id

    def _edit_filter(self, key: str) -> None:
        if key == "escape":
            self._filter, self._is_typing = "", False
        elif key == "enter":
            self._is_typing = False
        elif key == "backspace":
            self._filter = self._filter[:-1]
        elif len(key) == 1 and key.isprintable():
            self._filter += key

    def _ask_about_end(self) -> None:
        for job in self._jobs:
            if job.id == self._selected and states.is_final(job.state):
                self._live.told = f"{job.name or job.id} has ended: {job.state}"
            elif job.id == self._selected:
                self._dying = job

    def _follow(self, screen: Screen) -> None:
        """Show the log of the selected job as ``logs --follow`` does, and come back."""
        from . import manual
        from .handlers import carry_out_verb
        from .parser import read_arguments

        verb = manual.find_verb("logs")
        if not (self._selected and self._jobs and verb):
            return
        words = ["--follow", "--tail", str(_LOG_LINES), self._selected]
        with screen.lend():
            try:
                print(f"sshjobs logs {' '.join(words)}", flush=True)
                status = carry_out_verb("logs", read_arguments(verb, words))
                if status != 130:  # a person has seen enough
                    print("-- Enter comes back --", end="", flush=True)
                    sys.stdin.readline()
            except KeyboardInterrupt:
                return
