"""Which host of a pool a job goes to."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sshjobs.errors import SpecError
from sshjobs.scheduling.pools import (
    Room,
    deal_jobs,
    expand_pools,
    find_retry,
    read_pool,
)
from sshjobs.verbs.config import read_config

pytestmark = pytest.mark.quick

CONFIG = {"pools": {"g": {"hosts": ["a", "b"]}, "h": {"hosts": ["b", "c"]}}}


def test_jobs_go_to_the_host_with_the_fewest() -> None:
    assert list(deal_jobs([Room("a", 0), Room("b", 0)], 4)) == ["a", "b", "a", "b"]
    assert list(deal_jobs([Room("a", 2), Room("b", 0)], 4)) == ["b", "b", "a", "b"]
    assert list(deal_jobs([Room("a", 0)], 0)) == []


def test_a_host_with_a_larger_limit_has_more() -> None:
    dealt = Counter(deal_jobs([Room("a", 0, 8), Room("b", 0, 2)], 10))
    assert dealt == {"a": 8, "b": 2}
    dealt = Counter(deal_jobs([Room("a", 8, 8), Room("b", 0, 2), Room("c", 4)], 6))
    assert dealt == {"c": 4, "b": 2}


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=6),
    st.integers(0, 40),
)
def test_no_host_is_left_with_far_more(
    rooms: list[tuple[int, int]], count: int
) -> None:
    every = [Room(str(at), *room) for at, room in enumerate(rooms)]
    dealt = Counter(deal_jobs(every, count))
    assert sum(dealt.values()) == count
    most = max(room.limit for room in every) or 1
    for mine in every:
        for other in every:
            limits = mine.limit or most, other.limit or most
            if dealt[mine.host]:
                after = (mine.active + dealt[mine.host]) / limits[0]
                assert after <= (other.active + dealt[other.host] + 1) / limits[1]


def test_a_host_that_goes_on_failing_is_tried_less_often() -> None:
    assert find_retry(0.0, 0.0, 0.0) == 0.0
    assert find_retry(0.0, 90.0, 95.0) == 95.0
    assert find_retry(100.0, 100.0, 101.0) == 110.0
    assert find_retry(100.0, 160.0, 170.0) == 220.0
    assert find_retry(100.0, 9100.0, 9110.0) == 9700.0
    assert find_retry(9999.0, 100.0, 101.0) == 101.0, "the clock was set back"


def test_pools_are_read_in_their_order_and_hosts_once() -> None:
    assert read_pool(CONFIG, "pool:g") == ["a", "b"]
    assert expand_pools(CONFIG, ["pool:h", "x", "pool:g"]) == ["b", "c", "x", "a"]
    with pytest.raises(SpecError, match="no such pool: 'pool:'; .* pool:g, pool:h"):
        read_pool(CONFIG, "pool:")
    with pytest.raises(SpecError, match="the config file has none"):
        read_pool({}, "pool:g")


@pytest.mark.parametrize(
    "text",
    [
        '[pools.g]\nhosts = ["a", "b"]\n[host."a"]\nwatch = "off"\n',
        '[pools.g]\nhosts = ["a", "b"]\n[pools.h]\nhosts = ["c"]\n',
        'ssh_options = ["A=b,c", "D=e"]\n[pools.g]\nhosts = []\n',
        '[pools.g]\n[host."\\u001Dg"]\nwatch = "off"\n',
        "pools = 3\n",
    ],
)
def test_a_config_file_that_is_kept_is_the_same(tmp_path: Path, text: str) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    path = tmp_path / "config.toml"
    path.write_text(text)
    os.utime(path, (1e9, 1e9))
    environ = {"SSHJOBS_CONFIG": str(path)}
    first = read_config(environ, str(home))
    assert read_config(environ, str(home)) == first
