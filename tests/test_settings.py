"""Where a setting's value comes from."""

from __future__ import annotations

import pytest

from sshjobs import settings
from sshjobs.errors import SpecError

pytestmark = pytest.mark.quick


def test_the_nearest_word_counts() -> None:
    config = {"persist": 1, "host": {"a": {"persist": "2m"}}}
    env = {"SSHJOBS_PERSIST": "3m"}
    assert settings.resolve("b", {}, {}, {}).persist == 600.0
    assert settings.resolve("b", config, {}, {}).persist == 1.0
    assert settings.resolve("a", config, {}, {}).persist == 120.0
    assert settings.resolve("a", config, env, {}).persist == 180.0
    assert settings.resolve("a", config, env, {"persist": 4.0}).persist == 4.0
    assert settings.resolve("a", config, env, {"persist": None}).persist == 180.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("persist", "soon"),
        ("persist", 0),
        ("poll_interval", True),
        ("log_chunk_size", "x"),
        ("cleanup", "maybe"),
        ("transport", "telnet"),
        ("conn_retry_attempts", 0),
        ("wait_host", "-1"),
        ("no_such", 1),
    ],
)
def test_a_wrong_value_names_its_setting(name: str, value: object) -> None:
    with pytest.raises(SpecError, match=name):
        settings.resolve("h", {name: value}, {}, {})


def test_the_repr_shows_what_differs() -> None:
    assert repr(settings.Settings()) == "<Settings >"
    assert "persist=5.0" in repr(settings.Settings(persist=5))


def test_an_ssh_config_becomes_absolute() -> None:
    found = settings.resolve("h", {}, {"SSHJOBS_SSH_CONFIG": "~/x"}, {})
    assert found.ssh_config.startswith("/")
