"""Records of finished calls as a day leaves them: heard by the domain, with hints and transfers.

Each has some 25 lines with their vectors and a lead of its own, whom no store knows yet. Every
third had a hint, every tenth was handed over; two calls never share an id.
"""

import asyncio
import random
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import numpy as np

from agent_sidecar.adapters.model_prepare import ensure_model
from agent_sidecar.adapters.onnx_embedder import OnnxEmbedder
from agent_sidecar.adapters.recorded_calls import read_recorded_calls
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.hints import Hint
from agent_sidecar.domain.language import Reader, texts_to_embed
from agent_sidecar.domain.record import (
    CallRecord,
    Configuration,
    FinalStatus,
    GivenHint,
    Outcome,
    TransferAttempt,
)
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.types import CallId, HintId, Lead, Leg, LegId, TransferId
from agent_sidecar.learning.imported import Ears, Finished, make_imported
from agent_sidecar.settings import read_settings
from bench._history import write_calls
from bench._report import screen

LINES = 25
# how calls end, of a hundred
_ENDS: dict[FinalStatus, int] = {
    "hot_transfer": 10,
    "video_sent": 15,
    "follow_up": 25,
    "disqualified": 20,
    "no_answer": 5,
    "abandoned": 20,
    "unknown": 5,
}
_EXPERIENCE = ("none", "some", "much")
_INCOME = ("25-50k", "50-75k", "75-100k")


def finished_records(calls: int, *, seed: int) -> tuple[list[CallRecord], str, int]:
    """Return so many records, and the name and size of the model that made their vectors."""
    settings = read_settings()
    chance = random.Random(seed)  # noqa: S311  # no secret
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "calls.jsonl"
        write_calls(file, calls, settings, lines=LINES)
        ears, model, dimension = asyncio.run(_ears())
        records = [
            _as_live(_heard(recorded, ears), number, chance)
            for number, recorded in enumerate(read_recorded_calls(file))
        ]
    return records, model, dimension


async def _ears() -> tuple[Ears, str, int]:
    settings = read_settings()
    folder = ensure_model(settings.models, settings.model, screen.print)
    embedder = await asyncio.to_thread(OnnxEmbedder.open, folder)
    try:
        playbook = read_playbook(None)
        texts = list(texts_to_embed(playbook))
        vectors = dict(zip(texts, await embedder.embed(texts), strict=True))
        configuration = Configuration(
            system_version="bench", playbook=playbook.name, weights="none", model=embedder.name
        )
        ears = Ears(
            reader=Reader(playbook, vectors), weights=Weights(), configuration=configuration
        )
        return ears, embedder.name, embedder.dimension
    finally:
        await embedder.aclose()


def _heard(recorded: RecordedCall, ears: Ears) -> CallRecord:
    vectors = [np.frombuffer(segment.vector or b"", "<f4") for segment in recorded.segments]
    finished = Finished(recorded=recorded, lead=Lead(), vectors=vectors)
    at = recorded.started_at
    assert at is not None, "the history says when its calls began"
    return make_imported(finished, ears, frozenset(), at)


def _as_live(record: CallRecord, number: int, chance: random.Random) -> CallRecord:
    """Return it as a call of our own would have been recorded."""
    identity = UUID(int=chance.getrandbits(128), version=4)
    call_id = CallId(str(identity))
    [status] = chance.choices(list(_ENDS), weights=list(_ENDS.values()))
    transfers = tuple(_transfers(record, call_id)) if status == "hot_transfer" else ()
    lead = Lead(
        lead_id=str(UUID(int=chance.getrandbits(128), version=4)),
        external_id=f"crm-{identity}",
        first_name="Ada",
        last_name=f"Byron {number}",
        timezone="America/New_York",
        country="US",
        current_income_range=chance.choice(_INCOME),
        experience_level=chance.choice(_EXPERIENCE),
        source="webinar",
    )
    leg = Leg(leg_id=LegId(f"v3:{identity}"), party="prospect", from_at=record.started_at)
    return replace(
        record,
        call_id=call_id,
        source="live",
        external_id=None,
        lead=lead,
        lead_kind=(
            ("experience_level", lead.experience_level or ""),
            ("current_income_range", lead.current_income_range or ""),
        ),
        legs=(leg,),
        hints=tuple(_hints(record, call_id)) if number % 3 == 0 else (),
        transfers=transfers,
        outcome=_outcome(status),
    )


def _outcome(status: FinalStatus) -> Outcome:
    return Outcome(
        final_status=status,
        result="transferred" if status == "hot_transfer" else "not_qualified",
        qualified=status in ("hot_transfer", "video_sent"),
    )


def _hints(record: CallRecord, call_id: CallId) -> Iterator[GivenHint]:
    """Yield a hint for each of the first moves of the agent."""
    for number, credit in enumerate(record.credits[:4]):
        given_at = record.started_at + timedelta(seconds=6.0 * number)
        hint = Hint(
            hint_id=HintId(f"{call_id}:hint:{number}"),
            question_id=f"{call_id}:question:{number}",
            strategy=credit.strategy,
            say="What would a hundred a day change for you?",
            why=("worked in 8 of 11 such calls",),
            confidence=0.7,
            tried=11,
            lifted=8,
            won=5,
            phase=credit.phase,
            objection=credit.objection,
            engagement=60.0,
            degraded=(),
            given_at=given_at,
            expires_at=given_at + timedelta(seconds=30),
        )
        yield GivenHint(hint=hint, status="used", latency_ms=40.0)


def _transfers(record: CallRecord, call_id: CallId) -> Iterator[TransferAttempt]:
    at = record.ended_at
    yield TransferAttempt(
        transfer_id=TransferId(f"{call_id}:transfer:1"),
        closer="Kevin",
        initiated_at=at - timedelta(seconds=60),
        outcome="bridged",
        reason="engagement 82 for 2 segments",
        engagement=82.25,
        phase=7,
        key_indicators=("engagement",),
        leg_id=LegId(f"v3:{call_id}:kevin"),
        answered_at=at - timedelta(seconds=50),
        accepted=True,
        bridged_at=at - timedelta(seconds=40),
        completed_at=at,
    )
