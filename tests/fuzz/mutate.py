"""Ways to spoil bytes and words; what they do depends on the random numbers alone."""

from __future__ import annotations

import random
from collections.abc import Sequence

#: Ids that lead out of a directory, are none, or are somebody else's.
IDS = (
    b"../../canary/kept",
    b"/etc/passwd",
    b"..",
    b".",
    b"-",
    b"",
    b"store.db",
    b"a" * 15,
    b"a" * 17,
    b"A" * 16,
    b"aaaaaaaaaaaaaaa1",
    b"aaaaaaa/aaaaaaaa",
    b"%2E%2E%2F%2E%2E%2Fx",
    b"aaaaaaaaaaaaaaa%00",
    b"-rf aaaaaaaaaaaa",
    "ａａａａａａａａａａａａａａａａ".encode(),
    b"*",
    b"x" * 70_000,
)
NUMBERS = (
    b"-1",
    b"0",
    b"1",
    b"+5",
    b"1_000",
    b" 7",
    b"007",
    b"1e3",
    b"1e309",
    b"nan",
    b"inf",
    b"-inf",
    b"0x10",
    "١٢".encode(),
    b"2147483648",
    b"4294967296",
    b"9223372036854775807",
    b"9223372036854775808",
    b"9" * 20,
    b"9" * 5000,
    b"1." + b"0" * 400,
    b"-",
)
TEXTS = (
    b"%FF",
    b"%00",
    b"%0A%0Aend",
    b"%zz%",
    b"\xff\xfe",
    b"\x1b]0;owned\x07",
    b"\x9b31m",
    b"%ED%A0%80",
    b"x" * 70_000,
    b"' ; rm -rf / ; '",
    b"$(id)",
    b"`id`",
    b"\r",
    b"\0",
    b"",
)
HOSTILE = (*IDS, *NUMBERS, *TEXTS)


def cut(rng: random.Random, data: bytes) -> bytes:
    """Return the beginning of something."""
    return data[: rng.randrange(len(data) + 1)]


def spoil(rng: random.Random, data: bytes) -> bytes:
    """Change some bytes of anything."""
    for _ in range(rng.choice((1, 1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((0, 1, 1, 2, 8, 64, 4096)))
        new = rng.choice(
            (
                b"",
                rng.randbytes(rng.choice((1, 2, 9, 300))),
                bytes([rng.choice((0, 10, 13, 32, 37, 39, 255))]),
                data[at:end] * 2,
                rng.choice(HOSTILE),
            )
        )
        data = data[:at] + new + data[end:]
    return data


def spoil_word(rng: random.Random, line: bytes, words: Sequence[bytes] = ()) -> bytes:
    """Change a word of a line: by one of ``words``, by a hostile one, or its number."""
    parts = line.split(b" ")
    at = rng.randrange(len(parts))
    kind = rng.random()
    if kind < 0.35 and words:
        parts[at] = rng.choice(words)
    elif kind < 0.8:
        parts[at] = rng.choice(HOSTILE)
    elif kind < 0.9:
        del parts[at]
    else:
        parts.insert(at, rng.choice(HOSTILE))
    return b" ".join(parts)


def spoil_lines(
    rng: random.Random,
    lines: list[bytes],
    others: Sequence[bytes],
    words: Sequence[bytes] = (),
) -> list[bytes]:
    """Change lines of a text that is read line by line.

    Args:
        others: Lines that may come in as well.
        words: What may stand in place of a word.
    """
    lines = list(lines)
    for _ in range(rng.choice((1, 1, 2, 3, 6))):
        at = rng.randrange(len(lines) + 1)
        deed = rng.random()
        if deed < 0.35 and others:
            lines.insert(at, spoil_word(rng, rng.choice(others), words))
        elif deed < 0.7 and at < len(lines):
            lines[at] = spoil_word(rng, lines[at], words)
        elif deed < 0.76:
            del lines[at : at + rng.choice((1, 1, 3))]
        elif deed < 0.82 and at < len(lines):
            lines.insert(rng.randrange(len(lines)), lines[at])
        elif deed < 0.88:
            rng.shuffle(lines)
        elif deed < 0.94 and at < len(lines):
            lines[at] = spoil(rng, lines[at])
        else:
            lines[at:at] = [b"beat"] * rng.choice((2, 50))
    return lines
