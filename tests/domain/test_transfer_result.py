"""What a closer says of a transfer: later words complete and correct earlier ones."""

import pytest

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import TransferId
from tests.domain.playbooks import at
from tests.domain.talk import Talk


def said(second: float = 60, **words: object) -> TransferResult:
    return TransferResult(posted_at=at(second), **words)  # type: ignore[arg-type]  # by name


def test_the_first_word_is_all_there_is():
    assert said(rating=4).after(None) == said(rating=4)


def test_what_is_left_out_stays_as_it_was():
    first = said(rating=4, conversion="scheduled", notes="keen")
    assert said(70, rating=9).after(first) == said(
        70, rating=9, conversion="scheduled", notes="keen"
    )
    assert said(70, conversion="closed", notes="signed").after(first) == said(
        70, rating=4, conversion="closed", notes="signed"
    )


@pytest.mark.parametrize("again", [{"rating": 4}, {"rating": 4, "conversion": "scheduled"}])
def test_what_is_said_again_changes_nothing(again: dict[str, object]):
    first = said(rating=4, conversion="scheduled")
    assert said(90, **again).after(first) is first


def test_a_call_keeps_what_is_said_of_its_transfers_also_when_it_is_over():
    talk = Talk()
    talk.want(5.0)
    judged = ev.TransferJudged(transfer_id=TransferId("c1:t1"), result=said(rating=8))
    assert talk.feed(judged) == []
    talk.step("ended", 7.0, "declined")
    assert talk.close(9.0).transfers[0].result == said(rating=8)
    talk.feed(ev.TransferJudged(transfer_id=TransferId("c1:t1"), result=said(conversion="closed")))
    talk.feed(ev.TransferJudged(transfer_id=TransferId("c1:t7"), result=said(rating=1)))
    (attempt,) = talk.call.log.transfers.values()
    assert attempt.result == said(rating=8, conversion="closed")
    assert (attempt.outcome, talk.call.log.last_at) == ("declined", at(9))
