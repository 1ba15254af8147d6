"""Specs, ids, and what may be shown of them."""

from __future__ import annotations

import marshal
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sshjobs import host_names, model
from sshjobs.errors import SpecError
from sshjobs.model import Spec

pytestmark = pytest.mark.quick

WORD = st.binary().map(lambda data: data.replace(b"\0", b""))
COMMANDS = st.one_of(WORD, st.lists(WORD, min_size=1).map(tuple))
NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@given(
    COMMANDS,
    st.lists(st.tuples(NAMES, WORD)).map(tuple),
    st.one_of(st.none(), st.binary()),
    st.one_of(st.none(), st.floats(0.1, 1e6)),
)
def test_a_spec_survives_its_file(
    command: bytes | tuple[bytes, ...],
    env: tuple[tuple[str, bytes], ...],
    stdin: bytes | None,
    timeout: float | None,
) -> None:
    spec = Spec(command, env, cwd="~/x y", timeout=timeout, shell="sh", stdin=stdin)
    assert Spec.loads(spec.dumps()) == spec
    older = marshal.dumps(spec._asdict(), 2)
    assert Spec.loads(older) == spec


def test_a_damaged_spec_is_read_no_further_than_its_sum() -> None:
    """In it a tuple of 2,147,483,647 elements: marshal would make room for them."""
    data = Spec((b"echo", b"x")).dumps()
    at = data.index(b"(\x02\0\0\0") + 1
    for damaged in (data[:at] + b"\xff\xff\xff\x7f" + data[at + 4 :], data[:-9]):
        with pytest.raises(ValueError):
            Spec.loads(damaged)


def test_no_value_of_the_environment_is_shown() -> None:
    spec = Spec(b"true", (("TOKEN", b"s3cret"),))
    assert "s3cret" not in repr(spec)
    assert "s3cret" not in spec.text()
    assert "TOKEN" in repr(spec)


def test_the_digest_tells_commands_apart_and_not_secrets() -> None:
    line = Spec(b"echo a b")
    assert line.digest() == Spec(b"echo a b", (("K", b"1"),)).digest()
    others = [
        Spec((b"echo a b",)),
        Spec((b"echo", b"a b")),
        Spec((b"echo", b"a", b"b")),
        Spec(b"echo a b", cwd="/"),
        Spec(b"echo a b", shell="sh"),
        Spec(b"echo a b", stdin=b"x"),
    ]
    assert len({spec.digest() for spec in [line, *others]}) == 7


@pytest.mark.parametrize(
    "spec",
    [
        Spec(b""),
        Spec(b"  "),
        Spec(()),
        Spec(b"a\0b"),
        Spec((b"a", b"b\0")),
        Spec((b"a", b"x" * 200_000)),
        Spec(b"true", cwd="/a\0"),
        Spec(b"true", (("1X", b""),)),
        Spec(b"true", (("A-B", b""),)),
        Spec(b"true", (("A", b"\0"),)),
        Spec(b"true", (("A", b"x" * 131_072),)),
        Spec(b"true", shell="sh; x"),
        Spec(b"true", timeout=0.0),
        Spec(b"true", timeout=float("nan")),
        Spec(b"x" * (17 << 20)),
    ],
)
def test_what_no_host_can_be_asked_is_refused(spec: Spec) -> None:
    with pytest.raises(SpecError):
        model.check_spec(spec)


def test_a_long_line_and_a_binary_input_are_welcome() -> None:
    model.check_spec(Spec(b"x" * (2 << 20), stdin=bytes(range(256))))


@pytest.mark.parametrize(
    "host", ["", "-oX", "a b", "a\tb", "a\nb", "a\x1b[0m", "\u00a0"]
)
def test_bad_host_names_are_refused(host: str) -> None:
    with pytest.raises(SpecError):
        host_names.check_host(host)


@pytest.mark.parametrize("host", ["gpu1", "me@gpu1.example", "[::1]"])
def test_good_host_names_are_kept(host: str) -> None:
    assert host_names.check_host(host).target == host


@pytest.mark.parametrize(
    ("text", "value"), [("90", 90.0), ("1.5s", 1.5), ("15m", 900.0), ("7d", 604800.0)]
)
def test_spans_of_time(text: str, value: float) -> None:
    assert model.seconds(text) == value


@pytest.mark.parametrize("text", ["", "x", "-1", "1y", "1 2"])
def test_what_is_no_span_of_time(text: str) -> None:
    with pytest.raises(SpecError):
        model.seconds(text)


@given(st.text(st.characters(codec=None)))
def test_nothing_printed_drives_a_terminal(text: str) -> None:
    assert model.printable(text).isprintable()


def test_ids_are_distinct_and_well_formed() -> None:
    ids = {model.new_job_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(re.fullmatch(r"[a-z2-7]{16}", job_id) for job_id in ids)
