"""Times one session, or one whole round, many times over in one process.

``python -m tests.bench.one_round session|round native|ssh TIMES`` prints the medians
of wall time and the mean of processor time, children included, as JSON.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable

from sshjobs import transports
from sshjobs.rounds.needs import require_fresh_round
from sshjobs.verbs.context import Context


def _cpu() -> float:
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(u.ru_utime + u.ru_stime for u in map(resource.getrusage, kinds))


def _measure(once: Callable[[], object], times: int) -> tuple[float, float]:
    once()
    walls, cpu = [], _cpu()
    for _ in range(times):
        began = time.monotonic()
        once()
        walls.append(time.monotonic() - began)
    return statistics.median(walls), (_cpu() - cpu) / times


def main(kind: str, mux: str, times: int) -> None:
    """Measure, and print."""
    host = os.environ["BENCH_HOST"]
    context = Context(flags={"mux": mux})
    with context.coordinator(host) as coordinator:

        def session() -> None:
            hooks = coordinator.leadership.build_hooks()
            transport = transports.open_transport(
                coordinator.identity, coordinator.settings, hooks
            )
            sink: list[bytes] = []
            transport.run("true", stdin=b"", timeout=30, sink=sink.append)
            transport.close()

        def round_() -> None:
            coordinator.wait_for(
                require_fresh_round(coordinator.site, coordinator.clock())
            )

        print(json.dumps(_measure(session if kind == "session" else round_, times)))
    context.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
