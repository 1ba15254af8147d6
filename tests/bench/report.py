"""What was measured, as one table, as lines of targets, as a page with a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tests.bench.measure import Cost


class Row(NamedTuple):
    """One contender in one workload; ``figure`` is what its ratio compares."""

    workload: str
    who: str
    cost: Cost
    figure: float
    unit: str = "s"


class Target(NamedTuple):
    """What was promised of one run, and what came out; ``most`` or ``least`` is set."""

    what: str
    value: float
    most: float | None = None
    least: float | None = None

    @property
    def met(self) -> bool:
        """Tell whether the promise holds in this run."""
        if self.most is not None:
            return self.value <= self.most
        return self.value >= (self.least or 0.0)

    def line(self) -> str:
        """Return the verdict, as it is printed."""
        sign, bound = ("<=", self.most) if self.most is not None else (">=", self.least)
        verdict = "met" if self.met else "MISSED"
        return f"{verdict}: {self.what}: {_short(self.value)} {sign} {_short(bound)}"


class Curve(NamedTuple):
    """One contender's connections and processor time, by the number of jobs."""

    who: str
    points: list[tuple[int, Cost]]


class Results:
    """Everything that a run has found."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self.targets: list[Target] = []
        self.curves: list[Curve] = []


_HEAD = (
    "workload",
    "who",
    "figure",
    "ratio",
    "failed",
    "connections",
    "drops",
    "sessions",
    "client CPU s",
    "RSS MB",
)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table.

    The ratio is to the first row of the same workload.
    """
    cells = [_HEAD, tuple("-" for _ in _HEAD)]
    first: dict[str, Row] = {}
    for row in rows:
        base = first.setdefault(row.workload, row)
        cells.append(_cells(row, base))
    widths = [max(len(line[i]) for line in cells) for i in range(len(_HEAD))]
    cells[1] = tuple("-" * width for width in widths)
    return "\n".join(
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths)) + " |"
        for line in cells
    )


def _cells(row: Row, base: Row) -> tuple[str, ...]:
    cost = row.cost
    ratio = f"{row.figure / base.figure:.2f}" if base.figure else ""
    counts = [str(n) for n in (cost.failed, *cost[4:])]
    rss = f"{cost.rss_bytes / 1e6:.0f}" if cost.rss_bytes else ""
    figure = f"{_short(row.figure)} {row.unit}"
    return (row.workload, row.who, figure, ratio, *counts, f"{cost.cpu:.2f}", rss)


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def page(results: Results, about: Sequence[str], picture: str) -> str:
    """Return ``docs/benchmarks.md``."""
    parts = [
        "# Benchmarks",
        "`inv bench` wrote this page. All contenders met on one stock sshd "
        "(`MaxStartups 10:30:100`, `MaxSessions 10`) on the loopback address, in one "
        "run; connections, drops and sessions are counted in sshd's own log. Compare "
        "counts and ratios: seconds are those of the machine.",
        "\n".join(f"- {line}" for line in about),
    ]
    if picture:
        parts.append(
            "![Connections and processor time of the client, by the number of "
            f"jobs]({picture})"
        )
    parts += [
        "The figure is a time, or a rate where its unit says so; the ratio is to the "
        "first row of the same workload. Client CPU is that of every process of this "
        "machine that took part, ssh and its master included, sshd and the jobs left "
        "out; of peers that were forked from a warm process, without the start of the "
        "interpreter. RSS is the largest of any one process, and no less than that of "
        "the bench, which starts them (getrusage(2) counts from before the exec). A "
        "figure that was repeated is the median.",
        table(results.rows),
        "## Targets",
        "\n".join(f"- {target.line()}" for target in results.targets),
    ]
    return "\n\n".join(parts) + "\n"
