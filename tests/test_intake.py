"""Where the bytes of a reply go, and what of a log is handed on before it is whole."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshjobs import errors, protocol
from sshjobs.rounds.intake import Intake

ID = "a" * 16
NONCE = "0123456789abcdef"
LOG = bytes(range(256)) * 8


class Listener:
    """Keeps what it is told, as one who copies a log does."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / ID
        self.log = b""
        self.events: list[protocol.Event] = []

    def there(self) -> bytes:
        return self.path.read_bytes() if self.path.exists() else b""

    def hear(self, job_id: str, begin: int, offset: int, data: memoryview) -> None:
        assert job_id == ID and begin <= offset
        if begin > len(self.log):
            return
        self.log += self.there()[len(self.log) : offset]
        if offset == len(self.log):
            self.log += bytes(data)

    def take(self, event: protocol.Event) -> None:
        self.events.append(event)
        if isinstance(event, protocol.LogEnd):
            end = event.offset + event.length
            self.log += self.there()[len(self.log) : end]


def receive(
    folder: Path, text: bytes, cuts: list[int], *, prompt: bool = True
) -> Listener:
    """Pass a reply on in pieces, as the pump of a session does."""
    listener = Listener(folder)
    intake = Intake(
        protocol.Reply(NONCE),
        lambda job_id: str(folder / job_id),
        listener.take,
        lambda: None,
        listener.hear if prompt else None,
    )
    theirs, ours = os.pipe()
    os.set_blocking(theirs, False)
    try:
        for start, end in zip([0, *cuts], [*cuts, len(text)]):
            os.write(ours, text[start:end])
            while True:
                drawn = intake.draw(theirs)
                try:
                    intake(b"" if drawn else os.read(theirs, 1 << 20))
                except BlockingIOError:
                    break
    finally:
        intake.close()
        os.close(theirs)
        os.close(ours)
    assert intake.bytes_in == len(text)
    return listener


def reply(*pieces: tuple[int, bytes, int]) -> bytes:
    """Return a reply: of each piece its offset, its bytes, and how many should come."""
    text = b"\nsshjobs-reply 1 %s\n" % NONCE.encode()
    for offset, data, count in pieces:
        filling = (NONCE.encode() + b"\n") * count
        text += b"log %s %d %d\n" % (ID.encode(), offset, count)
        text += (data + filling)[:count]
        text += b"\n%s %d %d\n" % (NONCE.encode(), 9999, len(data))
    return text + b"end\n"


LENGTHS = st.integers(0, len(LOG))


@given(
    st.lists(LENGTHS, max_size=12).map(sorted),
    LENGTHS,
    st.integers(0, 300),
    st.booleans(),
)
def test_a_log_is_told_as_it_is(
    cuts: list[int], middle: int, missing: int, prompt: bool
) -> None:
    """However it is cut up, and though its second piece is filled up at the end."""
    tail = LOG[middle:]
    text = reply(
        (0, LOG[:middle], middle),
        (middle, tail[: max(0, len(tail) - missing)], len(tail)),
    )
    with tempfile.TemporaryDirectory() as folder:
        heard = receive(Path(folder), text, cuts, prompt=prompt)
    whole = LOG[: max(middle, len(LOG) - missing)]
    assert heard.log == whole
    assert isinstance(heard.events[-1], protocol.End)


@given(st.lists(LENGTHS, max_size=12).map(sorted), st.integers(0, len(LOG)))
def test_what_fills_a_piece_up_is_told_to_nobody(cuts: list[int], size: int) -> None:
    text = reply((0, LOG[:size], len(LOG)))
    cut = text[: text.rindex(b"\n" + NONCE.encode() + b" ")]  # the reply breaks off
    with tempfile.TemporaryDirectory() as folder:
        heard = receive(Path(folder), cut, [c for c in cuts if c < len(cut)])
    assert LOG[:size].startswith(heard.log)


def test_most_is_told_before_the_piece_is_whole(tmp_path: Path) -> None:
    text = reply((0, LOG, len(LOG)))
    heard = receive(tmp_path, text[: text.rindex(NONCE.encode()) - 1], [60, 500, 900])
    assert LOG.startswith(heard.log) and len(heard.log) == len(LOG) - 64
    assert heard.events == []


@pytest.mark.parametrize("prompt", [True, False])
def test_a_file_that_cannot_be_written_is_named(tmp_path: Path, prompt: bool) -> None:
    (tmp_path / ID).mkdir()
    with pytest.raises(errors.StoreError, match=ID):
        receive(tmp_path, reply((0, LOG, len(LOG))), [100], prompt=prompt)
