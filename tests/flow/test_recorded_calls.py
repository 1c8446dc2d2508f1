"""Reading recorded calls: what is made up, what is kept, and how mistakes are named."""

import gzip
import json
from base64 import b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_sidecar.adapters.recorded_calls import GAP_S, WORDS_PER_S, read_recorded_calls
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.errors import RecordedCallInvalid
from agent_sidecar.simulator.sample import CALL, HISTORY
from agent_sidecar.simulator.wav import RATE_HZ, read_ulaw

HELLO = {"speaker": "agent", "text": "Hello, this is Alex."}
HI = {"speaker": "prospect", "text": "Hi."}

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def _write(*calls: Any, name: str = "calls.jsonl") -> Path:
        path = tmp_path / name
        lines = [call if isinstance(call, str) else json.dumps(call) for call in calls]
        path.write_text("\n".join(lines) + "\n", "utf-8")
        return path

    return _write


def one(path: Path) -> RecordedCall:
    (call,) = read_recorded_calls(path)
    return call


def test_a_call_without_times_is_paced_like_speech(write: Write):
    call = one(write({"call_id": "c", "segments": [HELLO, HI]}))
    first, second = call.segments
    assert first.start_s == 0.0
    assert first.end_s == pytest.approx(4 / WORDS_PER_S, abs=0.001)
    assert second.start_s == pytest.approx(first.end_s + GAP_S, abs=0.001)
    assert call.duration_s == second.end_s


def test_vectors_come_as_base64_or_as_numbers(write: Write):
    numbers = np.array([0.5, -1.0, 2.0], "<f4")
    text = b64encode(numbers.tobytes()).decode()
    segments = [HELLO | {"vector": text}, HI | {"vector": [0.5, -1, 2.0]}, HI]
    call = one(write({"call_id": "c", "model": "m", "segments": segments}))
    assert [s.vector for s in call.segments] == [numbers.tobytes(), numbers.tobytes(), None]
    assert call.model == "m"


@pytest.mark.parametrize(
    ("vector", "model", "named"),
    [
        ([1.0], None, "model: is missing"),
        (b64encode(b"12345").decode(), "m", r"segments\[0\].vector: is not base64 of float32"),
        ([], "m", r"segments\[0\].vector: must hold finite numbers"),
        (b64encode(np.array([np.nan], "<f4").tobytes()).decode(), "m", "segments.*finite"),
        ("~~~", "m", r"segments\[0\].vector"),
        (["a"], "m", r"segments\[0\].vector"),
    ],
)
def test_vectors_that_cannot_be_are_named(write: Write, vector: Any, model: str, named: str):
    call = {"call_id": "c", "model": model, "segments": [HELLO | {"vector": vector}]}
    with pytest.raises(RecordedCallInvalid, match=f"calls.jsonl:1: {named}"):
        one(write(call))


def test_a_start_alone_ends_with_its_words_or_at_the_next_start(write: Write):
    long = {"speaker": "agent", "text": "one two three four five six seven eight nine ten"}
    call = one(
        write(
            {"call_id": "c", "segments": [long | {"start_s": 13}, HI | {"start_s": 15}]},
        )
    )
    assert [(s.start_s, s.end_s) for s in call.segments] == [(13.0, 15.0), (15.0, 15.37)]


def test_two_at_the_same_second_overlap(write: Write):
    call = one(write({"call_id": "c", "segments": [HELLO | {"start_s": 3}, HI | {"start_s": 3}]}))
    assert call.segments[0].end_s > call.segments[1].start_s == 3.0


def test_an_end_alone_gets_its_start_from_its_words(write: Write):
    call = one(write({"call_id": "c", "segments": [HELLO | {"end_s": 10}, HI | {"end_s": 0.1}]}))
    assert call.segments[0].start_s == pytest.approx(10 - 4 / WORDS_PER_S, abs=0.001)
    assert call.segments[1].start_s == 0.0


@given(
    texts=st.lists(st.text("ab ", min_size=1).filter(str.strip), min_size=1, max_size=20),
    starts=st.lists(st.one_of(st.none(), st.floats(0, 500)), min_size=20, max_size=20),
)
def test_every_segment_gets_a_time_that_does_not_run_backwards(
    tmp_path_factory: pytest.TempPathFactory, texts: list[str], starts: list[float | None]
):
    path = tmp_path_factory.mktemp("calls") / "calls.jsonl"
    segments = [
        {"speaker": "agent", "text": text, "start_s": start}
        for text, start in zip(texts, starts, strict=False)
    ]
    path.write_text(json.dumps({"call_id": "c", "segments": segments}), "utf-8")
    for segment, start in zip(one(path).segments, starts, strict=False):
        assert 0 <= segment.start_s <= segment.end_s
        assert start is None or segment.start_s == start


def test_lead_numbers_become_text_and_unknown_keys_are_kept(write: Write):
    lead = {"phone": 12025550143, "current_income_range": 10.0, "age": 50.0, "city": None}
    call = one(write({"call_id": "c", "lead": lead, "segments": [HI]}))
    assert call.lead.phone == "12025550143"
    assert call.lead.current_income_range == "10"
    assert call.lead.city is None
    assert call.lead.extra == {"age": 50.0}


def test_what_is_known_of_the_call_is_read(write: Write):
    call = one(
        write(
            {
                "call_id": "c",
                "started_at": "2026-09-14T18:00:00-04:00",
                "outcome": {"success": True, "final_status": "hot_transfer", "donated_usd": 2.0},
                "segments": [HI | {"strategy": "time-fit", "label": "greeting", "turn": 0}],
                "topic": "whatever",
            }
        )
    )
    assert call.started_at == datetime(2026, 9, 14, 22, 0, tzinfo=UTC)
    assert (call.outcome.success, call.outcome.final_status) == (True, "hot_transfer")
    assert (call.segments[0].strategy, call.segments[0].label) == ("time-fit", "greeting")


def test_the_file_is_read_only_as_far_as_asked(write: Write):
    good = {"call_id": "c", "segments": [HI]}
    path = write(good, "", good, "this is no call")
    assert len(list(read_recorded_calls(path, limit=2))) == 2


def test_a_gzipped_file_is_read(tmp_path: Path):
    path = tmp_path / "calls.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps({"call_id": "z", "segments": [HI]}).encode()))
    assert one(path).call_id == "z"


@pytest.mark.parametrize(
    ("call", "key", "why"),
    [
        ({"segments": [HI]}, "", "missing required field `call_id`"),
        ({"call_id": " ", "segments": [HI]}, "call_id", "is empty"),
        ({"call_id": "c"}, "", "missing required field `segments`"),
        ({"call_id": "c", "segments": []}, "segments", "is empty"),
        (
            {"call_id": "c", "segments": [HI, HI | {"speaker": "bob"}]},
            "segments[1].speaker",
            "'bob' is neither agent nor prospect",
        ),
        ({"call_id": "c", "segments": [HI | {"text": " "}]}, "segments[0].text", "is empty"),
        ({"call_id": "c", "segments": [HI | {"text": 7}]}, "segments[0].text", "expected `str`"),
        (
            {"call_id": "c", "segments": [HI | {"start_s": -1}]},
            "segments[0].start_s",
            "expected `float` >= 0",
        ),
        (
            {"call_id": "c", "segments": [HI | {"start_s": 5, "end_s": 4}]},
            "segments[0].end_s",
            "is before its start_s",
        ),
        ({"call_id": "c", "segments": [HI], "lead": {"phone": []}}, "lead.phone", "must be text"),
        (
            {"call_id": "c", "segments": [HI], "started_at": "2026-09-14T18:00:00"},
            "started_at",
            "expected `datetime` with a timezone",
        ),
        ({"call_id": "c", "segments": [HI], "audio": {"bob": "b.wav"}}, "audio.bob", "is neither"),
        (
            {"call_id": "c", "segments": [HI], "audio": {"agent": "gone.wav"}},
            "audio.agent",
            "gone.wav",
        ),
        ("{not json", "", "is not JSON"),
        ("[]", "", "expected `object`"),
    ],
)
def test_a_mistake_names_file_line_and_key(write: Write, call: Any, key: str, why: str):
    path = write({"call_id": "good", "segments": [HI]}, call)
    with pytest.raises(RecordedCallInvalid) as caught:
        list(read_recorded_calls(path))
    place = f"{path}:2: {key}: " if key else f"{path}:2: "
    assert str(caught.value).startswith(place)
    assert why in str(caught.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(RecordedCallInvalid, match=r"nowhere\.jsonl: cannot be read: No such file"):
        list(read_recorded_calls(tmp_path / "nowhere.jsonl"))
    torn = tmp_path / "torn.jsonl.gz"
    torn.write_bytes(gzip.compress(b'{"call_id"' * 100)[:20])
    with pytest.raises(RecordedCallInvalid, match=r"torn\.jsonl\.gz: cannot be read"):
        list(read_recorded_calls(torn))


def test_the_sample_call_says_what_its_audio_says():
    call = one(CALL)
    heard_s = {party: len(read_ulaw(file)) / RATE_HZ for party, file in call.audio.items()}
    assert 80 < call.duration_s < 100
    for party in ("agent", "prospect"):
        spoken = [s for s in call.segments if s.speaker == party]
        # each track ends with its party's last word
        assert heard_s[party] == pytest.approx(spoken[-1].end_s, abs=0.01)
    assert sum(Path(file).stat().st_size for file in call.audio.values()) < 1_500_000
    pairs = zip(call.segments, call.segments[1:], strict=False)
    assert any(b.start_s < a.end_s for a, b in pairs), "there is one overlap"


def test_the_earlier_calls_count_losses_as_well_as_wins():
    calls = list(read_recorded_calls(HISTORY))
    assert len({call.call_id for call in calls}) == len(calls) >= 12
    assert {call.outcome.success for call in calls} == {True, False}
    assert all(10 <= len(call.segments) <= 18 for call in calls)
    assert all(call.started_at is not None for call in calls)
