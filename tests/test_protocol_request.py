"""What a request asks for when nothing is said of it."""

from __future__ import annotations

import pytest

from sshjobs.model import Spec
from sshjobs.protocol import ANY_LOG, PROTOCOL_VERSION, Reap, Request, Start

pytestmark = pytest.mark.quick


def test_a_request_asks_for_nothing_by_itself() -> None:
    assert Request()._asdict() == {
        "base_dir": "~/.sshjobs",
        "journal": None,
        "kills": (),
        "starts": (),
        "checks": (),
        "reaps": (),
        "logs": (),
        "listing": False,
        "start_grace": 10.0,
        "key_ttl": 2_592_000.0,  # thirty days
        "gone_ttl": 86_400.0,  # one
        "ends": (),
        "forgets": (),
        "examine": False,
        "launchers": (),
        "limits": "",
        "queue_age": 0.0,
        "vanish_grace": 90.0,
        "by_number": False,
    }


def test_a_start_has_no_key_and_may_be_followed_by_others() -> None:
    start = Start("aaaabbbbccccdddd", Spec(b"true"))
    assert (start.key, start.once, start.name) == ("", False, "")


def test_a_reap_without_checksums_names_none_that_a_tool_prints() -> None:
    reap = Reap("aaaabbbbccccdddd", 5)
    assert (reap.cksum, reap.sha256) == (-1, "-")


def test_any_log_is_longer_than_a_host_can_say() -> None:
    assert ANY_LOG == 999_999_999_999_999


def test_the_protocol_has_one_version() -> None:
    assert PROTOCOL_VERSION == 1
