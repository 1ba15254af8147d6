"""Some schedules in every run of the tests; ``inv faults`` runs as many as you like."""

from __future__ import annotations

import pytest

from tests.faults.running import run
from tests.slurm import need_slurm

_FEW = range(1, 6)
_MANY = range(6, 40)


@pytest.mark.parametrize(
    "seed", [*_FEW, *(pytest.param(s, marks=pytest.mark.slow) for s in _MANY)]
)
def test_no_rule_is_broken(need_sshd: None, seed: int) -> None:
    steps: list[str] = []
    broken = run(seed, steps.append)
    assert broken == [], "\n".join([*steps, *broken])


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 21))
def test_no_rule_is_broken_over_slurm(need_sshd: None, seed: int) -> None:
    need_slurm()
    steps: list[str] = []
    broken = run(seed, steps.append, launcher="slurm")
    assert broken == [], "\n".join([*steps, *broken])
