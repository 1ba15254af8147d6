"""Where the bytes of a reply go."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshjobs import errors, protocol
from sshjobs.rounds.reply_sink import ReplySink

pytestmark = pytest.mark.quick

ID, OTHER = "a" * 16, "b" * 16
NONCE = "0123456789abcdef"
LOG = bytes(range(256)) * 8


def reply(*pieces: tuple[str, int, bytes]) -> bytes:
    """Return a reply that holds pieces of logs."""
    text = b"\nsshjobs-reply 1 %s\n" % NONCE.encode()
    for job_id, offset, data in pieces:
        text += b"log %s %d\n" % (job_id.encode(), offset)
        text += data + b"\n%s %d\n" % (NONCE.encode(), 9999)
    return text + b"end\n"


def anything(event: protocol.Event) -> protocol.Event:
    return event


def receive(
    folder: Path,
    text: bytes,
    cuts: list[int],
    check: Callable[[protocol.Event], protocol.Event] = anything,
) -> list[protocol.Event]:
    """Pass a reply on in pieces, as the pump of a session does."""
    events: list[protocol.Event] = []
    sink = ReplySink(
        protocol.Reply(NONCE),
        check,
        lambda job_id, _stream: str(folder / job_id),
        events.append,
        lambda: None,
    )
    try:
        for start, end in zip([0, *cuts], [*cuts, len(text)]):
            sink(text[start:end])
    finally:
        sink.close()
    assert sink.bytes_in == len(text)
    return events


@given(st.lists(st.integers(0, 3 * len(LOG)), max_size=12).map(sorted), st.integers(0))
def test_logs_are_put_where_they_belong(cuts: list[int], middle: int) -> None:
    middle %= len(LOG)
    text = reply((ID, 0, LOG[:middle]), (OTHER, 0, LOG), (ID, middle, LOG[middle:]))
    with tempfile.TemporaryDirectory() as folder:
        events = receive(Path(folder), text, [min(cut, len(text)) for cut in cuts])
        logs = [(Path(folder) / job_id).read_bytes() for job_id in (ID, OTHER)]
    assert logs == [LOG, LOG]
    assert events == [
        protocol.LogEnd(ID, 0, middle, 9999),
        protocol.LogEnd(OTHER, 0, len(LOG), 9999),
        protocol.LogEnd(ID, middle, len(LOG) - middle, 9999),
        protocol.End(),
    ]


def test_the_same_bytes_twice_do_no_harm(tmp_path: Path) -> None:
    receive(tmp_path, reply((ID, 0, LOG), (ID, 100, LOG[100:200])), [])
    assert (tmp_path / ID).read_bytes() == LOG


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / ID).mkdir()
    with pytest.raises(errors.StoreError, match=ID):
        receive(tmp_path, reply((ID, 0, LOG)), [100])
