"""The words of a reply that broke off: those that are true without the rest of it."""

from __future__ import annotations

from typing import Any

import pytest

from sshjobs import protocol
from sshjobs.rounds.apply import keep_settled_events

pytestmark = pytest.mark.quick

ID, OTHER = "a" * 16, "b" * 16
STARTED = protocol.Started(ID, 7, 8, "99", "boot", "node", 5.0)
END = protocol.Ended(ID, 0, None, "", "", 5.0, 6.0, 9)
CLAIMED = protocol.Claimed(ID, OTHER, 1, "RUNNING", True)
GIVEN = CLAIMED._replace(state="FAILED")
JUDGEMENTS: list[protocol.Event] = [
    STARTED,
    END,
    protocol.Prepared(ID),
    protocol.Queued(ID, "", "x"),
    protocol.Lost(ID, "x"),
    protocol.Missing(ID),
    protocol.Elsewhere(ID, "n"),
    protocol.Unsupervised(ID),
    protocol.Unseen(ID, "x"),
    protocol.Reaped(ID),
]


def of_other(event: Any) -> Any:
    return event._replace(job_id=OTHER)


@pytest.mark.parametrize("word", JUDGEMENTS)
def test_a_claim_and_a_kill_count_once_the_host_said_how_the_job_does(
    word: protocol.Event,
) -> None:
    killed = protocol.KillSent(ID)
    assert keep_settled_events([killed, word]) == [killed, word]
    assert keep_settled_events([word, killed]) == [word]
    assert keep_settled_events([killed, of_other(word)]) == [of_other(word)]
    said = of_other(word)
    assert keep_settled_events([CLAIMED, said]) == [CLAIMED, said]
    assert keep_settled_events([said, CLAIMED]) == [said]
    assert keep_settled_events([CLAIMED, word]) == [word]


@pytest.mark.parametrize("word", JUDGEMENTS)
def test_a_claim_of_a_job_that_has_ended_counts_with_its_end(
    word: protocol.Event,
) -> None:
    said = of_other(word)
    is_end = isinstance(word, (protocol.Ended, protocol.Lost))
    assert keep_settled_events([GIVEN, said]) == ([GIVEN, said] if is_end else [said])


def test_of_a_reply_that_broke_off_the_place_in_the_journal_does_not_count() -> None:
    own = CLAIMED._replace(winner_id=ID)
    told: list[protocol.Event] = [
        protocol.Hello("n", 1.0),
        own,
        protocol.LogEnd(ID, 0, 1, 1),
        protocol.KillMissing(ID),
    ]
    assert keep_settled_events([*told, protocol.JournalAt("g", 7)]) == told
    assert keep_settled_events([protocol.JournalAt("g", 7), *told]) == told
    assert keep_settled_events([protocol.KillSent(ID)]) == []
