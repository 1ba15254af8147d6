"""A plugin for Airflow that tells which code holds up a triggerer's event loop.

Airflow warns when the loop was late, and cannot say by whom. A thread in the process of
the triggers looks at the loop's thread fifty times a second. Looks in a row that never
find it waiting for events, for more than Airflow's bound, are one line of JSON in the
file that ``SSHJOBS_TEST_LOOP_WATCH`` names: how long, how much processor the process
got meanwhile, and for each look the innermost frames.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from types import FrameType

from airflow.plugins_manager import AirflowPlugin

#: triggerer.blocked_main_thread_warning_threshold of Airflow 3.3, and the pause.
BLOCKED = 0.2
PAUSE = 0.02


def watch_loop(path: str, loop_thread: int) -> None:
    """Look for ever."""
    looks: list[list[str]] = []
    began, cpu = time.monotonic(), time.process_time()
    while True:
        time.sleep(PAUSE)
        names = list_frames(sys._current_frames().get(loop_thread))
        now = time.monotonic()
        if not names or names[0].endswith("/selectors.py:select"):
            if len(looks) > 1 and now - began > BLOCKED:
                told = {"seconds": now - began, "looks": looks}
                told["cpu"] = time.process_time() - cpu
                with open(path, "a") as file:
                    file.write(json.dumps(told) + "\n")
            looks, began, cpu = [], now, time.process_time()
        else:
            looks.append(names)


def list_frames(frame: FrameType | None) -> list[str]:
    """Return file and function of each frame, from the innermost one."""
    names: list[str] = []
    while frame is not None and len(names) < 40:
        code = frame.f_code
        names.append(f"{code.co_filename}:{code.co_name}")
        frame = frame.f_back
    return names


def _start() -> None:
    path = os.environ["SSHJOBS_TEST_LOOP_WATCH"]
    given = path, threading.main_thread().ident or 0
    threading.Thread(target=watch_loop, args=given, daemon=True).start()


class LoopWatch(AirflowPlugin):
    """The process of the triggers is a fork of the triggerer (Airflow 3)."""

    name = "loop_watch"


if "triggerer" in sys.argv[1:2]:
    os.register_at_fork(after_in_child=_start)
