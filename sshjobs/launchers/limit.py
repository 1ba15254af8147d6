"""Jobs that wait their turn on their host, and then run as processes of it.

Theory of operation: a job with a limit, a group, a priority or another job to come
after is a spec of this launcher; its words (``launcher_args``) are ``group=G``,
``priority=N``, ``limit=N`` and ``after=ID:ok``. ``remote/launch/limit.sh`` puts it into
a line of its machine, and each runner that ends there starts the next. Limits are told
apart from jobs, in each request for a host that has such jobs.
"""

from __future__ import annotations

from ..errors import SpecError
from ..model import Spec
from ..startup.records import TYPE_CHECKING
from .before import build_lines, check_after

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..settings import Settings

#: In a file name on the host, which is read back there.
_GROUP = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
_MOST_LETTERS = 40

#: The limit of all jobs of a host has this name, and no group has it.
HOST = "-"

#: A priority is so far from 0 at most: names in a line have five digits of it.
MOST_PRIORITY = 9999
_MIDDLE = 50000

#: No host starts as many, and each number in a limit's file is read by a shell.
_MOST_RUNNING = 1_000_000


class LimitLauncher:
    """Has jobs wait on the host until there is room for them."""

    name = "limit"
    parts: tuple[str, ...] = ("limit",)

    def check_spec(self, spec: Spec) -> None:
        """Refuse words that are none of ours.

        Raises:
            SpecError: the message names the flag.
        """
        words = read_words(spec)
        check_group(words.get("group", ""))
        check_priority(words.get("priority", 0))
        check_after(spec)

    def build_options(self, spec: Spec) -> tuple[bytes, ...]:
        """Return no words: the line is read from the job's ``handle``."""
        return ()


def read_words(spec: Spec) -> dict[str, str]:
    """Return the words of a spec by name, but for those on other jobs."""
    texts = (word.decode("ascii", "replace") for word in spec.launcher_args)
    pairs = (text.split("=", 1) for text in texts)
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2 and pair[0] != "after"}


def build_line(spec: Spec) -> bytes:
    """Return the lines that put a job in line, for remote/launch/limit.sh."""
    words = read_words(spec)
    place = _MIDDLE - int(words.get("priority", 0))
    line = f"order={place:05d} {words.get('group') or HOST}"
    return line.encode("ascii") + build_lines(spec)


def build_limits(settings: Settings, specs: Iterable[Spec]) -> str:
    """Return the limits that a host is told: words GROUP=N, ``-`` for all its jobs.

    Args:
        settings: Those of the host; one that is not set is not told.
        specs: The jobs that it is asked to start; a batch may have a limit of its own.
    """
    limits = {}
    if "max_running" in settings.given:
        limits[HOST] = settings.max_running
    limits |= read_group_limits(settings.group_limits)
    for spec in specs:
        words = read_words(spec) if spec.launcher == LimitLauncher.name else {}
        if "limit" in words:
            limits[words["group"]] = int(words["limit"])
    return " ".join(f"{group}={count}" for group, count in limits.items())


def read_group_limits(text: str) -> dict[str, int]:
    """Return the limits of the setting ``group_limits``, by group.

    Raises:
        SpecError: the message has the word that is none.
    """
    limits = {}
    for word in text.split():
        group, equals, count = word.partition("=")
        if not equals or not (count.isascii() and count.isdigit()):
            raise SpecError(f"group_limits: not GROUP=N: {word!r:.60}")
        limits[check_group(group)] = check_limit(int(count), "group_limits")
    return limits


def check_group(group: object) -> str:
    """Return the name of a group if a host can know it."""
    if not isinstance(group, str) or (
        group
        and (group.strip(_GROUP) or group[0] in "-_" or len(group) > _MOST_LETTERS)
    ):
        raise SpecError(
            f"--group: letters, digits, - and _, at most {_MOST_LETTERS} of them and "
            f"none of these two first, not {group!r:.60}"
        )
    return group


def check_limit(count: object, flag: str) -> int:
    """Return a number of jobs, 0 for no limit."""
    if isinstance(count, bool) or not isinstance(count, int):
        raise SpecError(f"{flag}: a number of jobs, not {count!r:.60}")
    if not 0 <= count <= _MOST_RUNNING:
        raise SpecError(f"{flag}: from 0 (no limit) to {_MOST_RUNNING:,}, not {count}")
    return count


def check_priority(priority: object) -> int:
    """Return a priority; a higher one goes first."""
    try:
        if isinstance(priority, bool) or not isinstance(priority, (int, str)):
            raise ValueError
        number = int(priority)
        if abs(number) > MOST_PRIORITY:
            raise ValueError
    except ValueError as error:
        raise SpecError(
            f"--priority: a number from -{MOST_PRIORITY} to {MOST_PRIORITY}, not "
            f"{priority!r:.60}"
        ) from error
    return number
