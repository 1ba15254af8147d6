"""What takes input from others, a module each."""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzz.engine import Target
from tests.fuzz.ground import Ground
from tests.fuzz.targets import (
    config,
    fetch,
    jobfile,
    mux,
    prose,
    records,
    reply,
    store,
)

TARGETS: dict[str, Callable[[Ground], Target]] = {
    "reply": reply.Replies,
    "fetch": fetch.Fetches,
    "mux": mux.Packets,
    "from": jobfile.JobFiles,
    "records": records.Records,
    "store": store.Stores,
    "config": config.Configs,
    "prose": prose.Prose,
}
