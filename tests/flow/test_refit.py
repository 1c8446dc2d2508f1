"""The score fitted anew on outcomes, and which version is in use."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from agent_sidecar.adapters import weights_file as files
from agent_sidecar.adapters.weights_file import WeightsCard
from agent_sidecar.cli import run as run_cli
from agent_sidecar.domain.engagement import STARTING_WEIGHTS, Weights
from agent_sidecar.domain.language import Reader, texts_to_embed
from agent_sidecar.domain.record import CallRecord, Configuration
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.errors import FitImpossible, WeightsInvalid
from agent_sidecar.learning.anchors import anchor_texts
from agent_sidecar.learning.refit import Comparison, Judged, compare, ended_call, refit
from tests.builders import STARTED_AT, rich_record
from tests.domain.playbooks import PLAYBOOK
from tests.fakes import FakeEmbedder

pytestmark = pytest.mark.usefixtures("own_logging")

EMBEDDER = FakeEmbedder(dimension=24)
WARM = ("the garden is behind the house", "a garden with a wall around it")
COLD = ("the boat is down at the river", "a boat with two sails on it")
HALVES = (WARM, COLD)


def a_record(number: int, *, qualified: bool | None) -> CallRecord:
    """Return a call in which words that no sentiment is in tell how it ended."""
    rich = rich_record(f"call-{number:03}")
    said = HALVES[0] if qualified else HALVES[1]
    segments = []
    for index in range(8):
        by_agent = index % 2 == 0
        text = "may I ask what you think of it" if by_agent else said[(index // 2 + number) % 2]
        segments.append(
            replace(
                rich.segments[0],
                index=index,
                speaker="agent" if by_agent else "prospect",
                text=text,
                start_s=3.0 * index,
                end_s=3.0 * index + 2.0,
                vector=EMBEDDER.vector(text).astype("<f4").tobytes(),
            )
        )
    configuration = Configuration(system_version="1", playbook="p", weights="w", model="fake")
    return replace(
        rich,
        segments=tuple(segments),
        started_at=STARTED_AT + timedelta(hours=number),
        outcome=replace(rich.outcome, qualified=qualified),
        configuration=configuration,
    )


def ended(number: int, *, qualified: bool | None) -> RecordedCall:
    call = ended_call(a_record(number, qualified=qualified), "fake")
    assert call is not None
    return call


CALLS = [ended(number, qualified=number % 2 == 0) for number in range(120)]
TEXTS = [*anchor_texts(), *texts_to_embed(PLAYBOOK)]
VECTORS = {text: EMBEDDER.vector(text) for text in TEXTS}


def test_only_calls_whose_end_is_known_are_fitted_on():
    record = a_record(1, qualified=True)
    assert ended_call(record, "fake") is not None
    assert ended_call(record, "another model") is None
    assert ended_call(replace(record, source="replay"), "fake") is None
    assert ended_call(a_record(2, qualified=None), "fake") is None
    silent = tuple(s for s in record.segments if s.speaker == "agent")
    assert ended_call(replace(record, segments=silent), "fake") is None
    bare = tuple(replace(s, vector=None) for s in record.segments)
    assert ended_call(replace(record, segments=bare), "fake") is None


def test_words_that_come_before_an_outcome_are_learnt_and_found_better():
    found = refit(CALLS, VECTORS)
    assert found.fitted_on == 108
    assert found.kept_out == tuple(CALLS[108:])
    compared = compare(
        found.kept_out,
        Reader(PLAYBOOK, VECTORS),
        in_use=STARTING_WEIGHTS,
        new=Weights(version="new", score=found.fitted.model),
    )
    assert (compared.calls, compared.qualified) == (12, 6)
    assert compared.new.halfway > 0.9
    assert compared.new.halfway > compared.in_use.halfway
    assert compared.verdict == "better"


def test_weights_are_no_better_than_themselves():
    compared = compare(
        CALLS[:40], Reader(PLAYBOOK, VECTORS), in_use=STARTING_WEIGHTS, new=STARTING_WEIGHTS
    )
    assert compared.in_use == compared.new
    assert (compared.gain_low, compared.gain_high) == (0.0, 0.0)
    assert compared.verdict == "no clear difference"


def test_a_verdict_wants_the_whole_interval_on_one_side():
    judged = Judged(halfway=0.5, at_end=0.5)
    for low, high, verdict in (
        (0.01, 0.2, "better"),
        (-0.2, -0.01, "worse"),
        (-0.1, 0.1, "no clear difference"),
    ):
        compared = Comparison(
            calls=10, qualified=5, in_use=judged, new=judged, gain_low=low, gain_high=high
        )
        assert compared.verdict == verdict


def test_too_few_newest_calls_of_one_kind_are_said():
    with pytest.raises(FitImpossible, match="5 of each are needed to compare on"):
        refit([*CALLS[:80], *(ended(n, qualified=True) for n in range(200, 210))], VECTORS)


def test_calls_that_all_ended_alike_cannot_be_told_apart():
    with pytest.raises(FitImpossible, match="ended alike"):
        compare(
            [ended(n, qualified=True) for n in range(2)],
            Reader(PLAYBOOK, VECTORS),
            in_use=STARTING_WEIGHTS,
            new=STARTING_WEIGHTS,
        )


# --- which version is in use --------------------------------------------------------------------


def put(folder: Path, version: str, fitted_at: str) -> None:
    card = WeightsCard(
        version=version,
        fitted_at=fitted_at,
        model="fake",
        dimension=24,
        positive=(),
        negative=(),
        anchor_groups=(),
    )
    files.write_weights(folder / f"{version}.safetensors", card, STARTING_WEIGHTS)


def test_weights_are_promoted_and_rolled_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    data = ("--data-dir", str(tmp_path), "--json")
    folder = tmp_path / "weights"
    assert run_cli(("learn", "promote", *data)) == 2
    assert "`agent-sidecar learn fit` makes one" in capsys.readouterr().err
    put(folder, "b-first", "2026-03-01")
    put(folder, "a-second", "2026-03-02")
    (folder / "broken.safetensors").write_bytes(np.zeros(3).tobytes())

    def done(*arguments: str) -> tuple[str, str]:
        assert run_cli(("learn", *arguments, *data)) == 0
        told = json.loads(capsys.readouterr().out)
        return told["before"], told["in_use"]

    assert done("promote", "b-first") == ("default", "b-first")
    assert done("promote") == ("b-first", "a-second")
    # the same again is nothing to go back from
    assert done("promote", "a-second") == ("a-second", "a-second")
    assert done("rollback") == ("a-second", "b-first")
    assert done("rollback") == ("b-first", "default")
    assert run_cli(("learn", "rollback", *data)) == 2
    assert "nothing was in use before default" in capsys.readouterr().err
    assert run_cli(("learn", "promote", "c-third", *data)) == 2
    assert "name one of: default, a-second, b-first" in capsys.readouterr().err
    assert files.current_version(folder) == "default"


def test_a_person_sees_the_versions(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    put(tmp_path / "weights", "v1", "2026-03-01")
    assert run_cli(("learn", "promote", "--data-dir", str(tmp_path))) == 0
    told = capsys.readouterr().out
    assert "2026-03-01" in told
    assert "in use from the next start on: v1; before: default" in told


def test_what_is_gone_is_not_gone_back_to(tmp_path: Path):
    files.use_version(tmp_path, "v1")
    files.use_version(tmp_path, "v2")
    with pytest.raises(WeightsInvalid, match="no weights 'v1'"):
        files.go_back(tmp_path)
    assert files.current_version(tmp_path) == "v2"
