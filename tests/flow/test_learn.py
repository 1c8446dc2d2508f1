"""Fitting and scoring on small calls, with the fake embedder; files of weights; the commands."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import hypothesis.strategies as st
import msgspec
import numpy as np
import pytest
from hypothesis import given
from safetensors.numpy import save_file
from structlog.testing import capture_logs

from agent_sidecar import parts
from agent_sidecar.adapters import weights_file as files
from agent_sidecar.adapters.weights_file import WeightsCard
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.cli import run as run_cli
from agent_sidecar.commands import learn, material
from agent_sidecar.domain.engagement import STARTING_WEIGHTS, Weights
from agent_sidecar.domain.language import Reader, texts_to_embed
from agent_sidecar.domain.recorded import RecordedCall, SpokenSegment
from agent_sidecar.domain.types import Vector
from agent_sidecar.errors import FitImpossible, RecordedCallInvalid, WeightsInvalid
from agent_sidecar.learning.anchors import anchor_texts
from agent_sidecar.learning.fit_heads import deal_calls
from agent_sidecar.learning.fit_score import ScoreFit, check_sides, fit_score
from agent_sidecar.learning.fit_strategies import fit_strategies
from agent_sidecar.learning.labelled import LabelledCall, LabelledLine
from agent_sidecar.learning.regression import auc, calibrate, one_of_many
from agent_sidecar.learning.score_calls import SegmentScore, score_call
from agent_sidecar.learning.scored_lines import Lines, Sides
from agent_sidecar.settings import read_settings
from tests.domain.playbooks import PLAYBOOK
from tests.fakes import FakeEmbedder

pytestmark = pytest.mark.usefixtures("own_logging")

SIDES = Sides(positive=frozenset({"yes"}), negative=frozenset({"no"}))
EMBEDDER = FakeEmbedder(dimension=24)
SAYS = {
    "yes": ("yes sure I want that", "great I would love to", "sure that helps a lot"),
    "no": ("no I do not want that", "that is too hard for me", "I cannot pay for it"),
    "so-so": ("where is that", "hm I see", "tell me what it is"),
}

ASKS = (
    ("may I ask you something about it", "asks"),
    ("my own brother did this last spring", "tells"),
    ("four of five people were glad of it", "asks"),
)


def vector(text: str) -> Vector:
    return EMBEDDER.vector(text)


def a_call(number: int, source: str = "a.jsonl", topic: str = "garden") -> LabelledCall:
    said: list[tuple[str, str, str | None]] = []
    for turn in range(6):
        label = ("yes", "no", "so-so")[(turn + number) % 3]
        text = SAYS[label][(number // 3 + turn) % 3]
        said.append(("agent", *ASKS[turn % 3]))
        said.append(("prospect", f"{text} with the {topic}", label))
    lines = tuple(
        LabelledLine(
            speaker=speaker,  # type: ignore[arg-type]
            text=text,
            vector=vector(text),
            label=label,
            start_s=2.0 * at,
            end_s=2.0 * at + 1.5,
        )
        for at, (speaker, text, label) in enumerate(said)
    )
    return LabelledCall(call_id=f"{source}-{number}", lines=lines, success=True, source=source)


CALLS = [a_call(number) for number in range(24)]
ANCHORS = {text: vector(text) for text in anchor_texts()}


@pytest.fixture(scope="module")
def fitted() -> ScoreFit:
    return fit_score(CALLS, SIDES, ANCHORS, folds=3)


def recorded(call: LabelledCall) -> RecordedCall:
    return RecordedCall(
        call_id=call.call_id,
        segments=tuple(
            SpokenSegment(
                speaker="agent" if line.speaker == "agent" else "prospect",
                text=line.text,
                start_s=line.start_s,
                end_s=line.end_s,
                label=line.label,
            )
            for line in call.lines
        ),
    )


def scored(call: RecordedCall, weights: Weights) -> list[SegmentScore]:
    texts = [*(segment.text for segment in call.segments), *texts_to_embed(PLAYBOOK)]
    vectors = {text: vector(text) for text in texts}
    return list(score_call(call, vectors, Reader(PLAYBOOK, vectors), weights))


class TestFit:
    def test_lines_of_unseen_calls_are_told_apart(self, fitted):
        (source,) = fitted.sources
        assert (source.name, source.calls, source.positive, source.negative) == (
            "a.jsonl",
            24,
            48,
            48,
        )
        assert source.auc is not None
        assert source.auc > 0.95
        assert fitted.reasons_for
        assert fitted.reasons_against

    def test_the_same_calls_give_the_same_weights(self, fitted):
        again = fit_score(CALLS, SIDES, ANCHORS, folds=3)
        for name, array in fitted.model.arrays().items():
            assert np.array_equal(array, again.model.arrays()[name]), name

    def test_a_file_with_few_calls_weighs_as_much_as_one_with_many(self):
        other = [a_call(number, "b.jsonl", "boat") for number in range(6)]
        both = fit_score([*CALLS, *other], SIDES, ANCHORS, folds=3)
        assert [source.name for source in both.sources] == ["a.jsonl", "b.jsonl"]
        assert both.model.topics.shape == (2, 24)

    def test_without_lines_in_the_middle_the_middle_is_between_the_sides(self):
        bare = [
            replace(call, lines=tuple(ln for ln in call.lines if ln.label != "so-so"))
            for call in CALLS
        ]
        (source,) = fit_score(bare, SIDES, ANCHORS, folds=3).sources
        assert source.auc is not None
        assert source.auc > 0.95

    def test_a_label_that_no_line_has_is_only_told(self):
        calls = [[line.label for line in call.lines if line.label] for call in CALLS]
        sides = Sides(positive=frozenset({"yes", "yep"}), negative=frozenset({"no"}))
        odd = check_sides(calls, sides)
        assert odd is not None
        assert odd.startswith("no line of a prospect is labelled yep; labels that are there: ")
        assert check_sides(calls, SIDES) is None

    @pytest.mark.parametrize(
        ("sides", "says"),
        [
            (Sides(positive=frozenset({"yes"}), negative=frozenset({"yes"})), "yes: is both"),
            (Sides(positive=frozenset(), negative=frozenset({"no"})), "no positive label"),
            (
                Sides(positive=frozenset({"yep"}), negative=frozenset({"no"})),
                r"is labelled yep; labels that are there: no \(48\), so-so \(48\), yes \(48\)",
            ),
            (Sides(positive=frozenset({"asks"}), negative=frozenset({"no"})), "is labelled asks"),
        ],
    )
    def test_labels_that_cannot_be_are_named(self, sides, says):
        with pytest.raises(FitImpossible, match=says):
            fit_score(CALLS, sides, ANCHORS)

    @pytest.mark.parametrize(
        ("calls", "says"),
        [
            ([["yes"] * 19 + ["no"] * 50] * 1, "19 positive lines are too few"),
            ([["yes"] * 50 + ["no"] * 50] * 4, "4 calls with such labels are too few"),
            ([["yes"] * 50, *[["no"] * 50] * 5], "all positive lines are in one call"),
            ([["no"] * 50, *[["yes"] * 50] * 5], "all negative lines are in one call"),
            ([[]], "labels that are there: none"),
        ],
    )
    def test_too_little_to_fit_on_is_said(self, calls, says):
        with pytest.raises(FitImpossible, match=says):
            check_sides(calls, SIDES)

    @pytest.mark.parametrize("rare", ["yes", "no"])
    def test_a_side_in_two_calls_only_is_enough(self, rare):
        more = [a_call(number) for number in range(60)]
        calls = [
            replace(call, lines=tuple(ln for ln in call.lines if number < 2 or ln.label != rare))
            for number, call in enumerate(replace(call, lines=call.lines * 5) for call in more)
        ]
        (source,) = fit_score(calls[:8], SIDES, ANCHORS).sources
        assert (source.calls, source.positive, source.negative) == (
            (8, 20, 80) if rare == "yes" else (8, 80, 20)
        )
        assert source.auc is not None


class TestDealing:
    @given(
        kinds=st.lists(st.sampled_from(["yes", "no", "yes no", ""]), min_size=2, max_size=12),
        seed=st.integers(0, 9),
        folds=st.integers(2, 6),
    )
    def test_of_a_side_in_two_calls_every_fold_leaves_one(self, kinds, seed, folds):
        said = [(call, word) for call, kind in enumerate(kinds) for word in (*kind.split(), "")]
        lines = Lines(
            heard=[],
            rows=np.zeros((0, 0), np.float32),
            labels=[],
            sides=np.array([{"yes": 1, "no": 0, "": -1}[word] for _, word in said], np.int8),
            calls=np.array([call for call, _ in said], np.int32),
            sources=np.zeros(len(said), np.int32),
            side_of={},
        )
        fold = deal_calls(lines, folds=folds, seed=seed)
        sizes = np.bincount(fold, minlength=folds)
        assert sizes.max() - sizes.min() <= 1
        for side in ("yes", "no"):
            with_side = [call for call, kind in enumerate(kinds) if side in kind.split()]
            if len(with_side) > 1:
                assert len(set(fold[with_side].tolist())) > 1


class TestMeasures:
    def test_the_area_counts_ties_half_and_needs_both_kinds(self):
        truths = np.array([True, True, False, False])
        assert auc(truths, np.array([3.0, 2.0, 1.0, 0.0])) == 1.0
        assert auc(truths, np.array([1.0, 1.0, 1.0, 1.0])) == 0.5
        assert auc(truths[:2], np.array([1.0, 2.0])) is None

    def test_a_lean_that_says_nothing_gets_no_slope(self):
        leans, truths = np.array([1.0, -1.0] * 20), np.array([True, False] * 20)
        assert calibrate(leans, truths, np.ones(40)) > 3
        assert calibrate(-leans, truths, np.ones(40)) == 0.0

    def test_two_labels_have_a_row_each(self):
        rows = np.array([[1.0], [-1.0]] * 10)
        names, weights, starts = one_of_many(rows, ["a", "b"] * 10, freedom=1.0)
        assert (names, weights.shape, starts.shape) == (("a", "b"), (2, 1), (2,))
        assert weights[1] - weights[0] < 0


class TestScore:
    def test_every_segment_is_scored_in_order_also_one_that_repeats_the_last(self, fitted):
        call = recorded(CALLS[0])
        twice = replace(call, segments=tuple(s for s in call.segments for _ in range(2)))
        said = scored(twice, Weights(score=fitted.model))
        assert [one.segment for one in said] == list(range(24))
        assert [one.speaker for one in said[:4]] == ["agent", "agent", "prospect", "prospect"]
        assert all((one.engagement is None) == (one.speaker == "agent") for one in said)
        assert said[0].call_engagement is None

    def test_what_goes_along_scores_above_what_holds_back(self, fitted):
        call = recorded(CALLS[0])
        by_label: dict[str, list[float]] = {}
        for one in scored(call, Weights(score=fitted.model)):
            if one.engagement is not None:
                label = call.segments[one.segment].label or ""
                by_label.setdefault(label, []).append(one.engagement)
        assert min(by_label["yes"]) > 50 > max(by_label["no"])

    def test_a_segment_that_the_call_does_not_hear_gets_no_other_one_s_score(self, fitted):
        call = recorded(CALLS[0])
        silent = replace(call.segments[1], text=" ")
        with pytest.raises(RecordedCallInvalid, match=r"a\.jsonl-0: segment 1 became no segment"):
            scored(
                replace(call, segments=(call.segments[0], silent, *call.segments[2:])),
                Weights(score=fitted.model),
            )

    def test_a_score_depends_on_nothing_that_comes_after_and_on_no_label(self, fitted):
        weights = Weights(score=fitted.model)
        call = recorded(CALLS[3])
        unlabelled = tuple(replace(segment, label=None) for segment in call.segments)
        whole = scored(call, weights)
        assert scored(replace(call, segments=unlabelled), weights) == whole
        assert scored(replace(call, segments=call.segments[:5]), weights) == whole[:5]


def a_card(**changes: object) -> WeightsCard:
    card = WeightsCard(
        version="v1",
        fitted_at="2026-03-02T15:00:00+00:00",
        model="fake",
        dimension=24,
        positive=("yes",),
        negative=("no",),
        anchor_groups=(),
    )
    return msgspec.structs.replace(card, **changes)


class TestFiles:
    def test_weights_come_back_as_they_were_kept(self, fitted, tmp_path):
        card = a_card(anchor_groups=fitted.model.group_names)
        weights = Weights(score=fitted.model)
        file = tmp_path / "weights" / "v1.safetensors"
        files.write_weights(file, card, weights)
        kept, again = files.read_weights(file, model="fake", dimension=24)
        assert (kept, again.version, again.strategies) == (card, "v1", None)
        call = recorded(CALLS[1])
        for one, other in zip(scored(call, weights), scored(call, again), strict=True):
            assert one.engagement == pytest.approx(other.engagement, abs=0.5)
        first = file.read_bytes()
        files.write_weights(file, card, weights)
        assert file.read_bytes() == first
        assert files.version_of(card.fitted_at, weights).startswith("20260302-")

    def test_weights_of_another_model_or_version_are_refused(self, fitted, tmp_path):
        file = tmp_path / "v1.safetensors"
        card = a_card(anchor_groups=fitted.model.group_names)
        files.write_weights(file, card, Weights(score=fitted.model))
        with pytest.raises(WeightsInvalid, match=r"embedding model fake \(24 numbers\), not with"):
            files.read_weights(file, model="other", dimension=24)
        files.write_weights(file, msgspec.structs.replace(card, features=0), STARTING_WEIGHTS)
        with pytest.raises(WeightsInvalid, match="judged by features 0"):
            files.read_weights(file, model="fake", dimension=24)

    def test_a_broken_file_says_what_is_wrong(self, tmp_path):
        file = tmp_path / "v1.safetensors"
        with pytest.raises(WeightsInvalid, match="cannot be read"):
            files.read_weights(file, model="fake", dimension=24)
        file.write_bytes(b"nothing")
        with pytest.raises(WeightsInvalid, match="cannot be read"):
            files.read_weights(file, model="fake", dimension=24)
        save_file({"x": np.zeros(1)}, file)
        with pytest.raises(WeightsInvalid, match="says nothing"):
            files.read_weights(file, model="fake", dimension=24)
        files.write_weights(file, a_card(), STARTING_WEIGHTS)
        with pytest.raises(WeightsInvalid, match="topics"):
            files.read_weights(file, model="fake", dimension=24)

    @pytest.mark.parametrize(
        ("name", "spoilt", "says"),
        [
            ("known", lambda array: array[:10], r"score\.known has the shape \(10,\) where \("),
            ("labels", lambda array: array[:, :3], r"score\.labels has the shape"),
            ("means", lambda array: array * np.nan, r"score\.means holds what is no number"),
        ],
    )
    def test_arrays_that_would_fail_in_a_call_are_refused(
        self, fitted, tmp_path, name, spoilt, says
    ):
        model = replace(fitted.model, **{name: spoilt(getattr(fitted.model, name))})
        file = tmp_path / "v1.safetensors"
        files.write_weights(file, a_card(anchor_groups=model.group_names), Weights(score=model))
        with pytest.raises(WeightsInvalid, match=says):
            files.read_weights(file, model="fake", dimension=24)

    def test_arrays_of_strategies_are_looked_at_as_well(self, fitted, tmp_path):
        strategies = fit_strategies(CALLS, ("asks",))
        file = tmp_path / "v1.safetensors"
        card = a_card(anchor_groups=fitted.model.group_names, strategies=("asks",))
        files.write_weights(file, card, Weights(score=fitted.model, strategies=strategies))
        assert files.read_weights(file, model="fake", dimension=24)[1].strategies is not None
        short = replace(strategies, outer=strategies.outer[:, :-1])
        files.write_weights(file, card, Weights(score=fitted.model, strategies=short))
        with pytest.raises(WeightsInvalid, match=r"strategies\.inner has the shape"):
            files.read_weights(file, model="fake", dimension=24)

    def test_what_is_in_use_is_named_in_the_folder_and_else_what_ships(self, tmp_path):
        assert files.current_version(tmp_path) is None
        assert files.weights_file(tmp_path) == files.DEFAULT_FILE
        files.write_weights(tmp_path / "v1.safetensors", a_card(), STARTING_WEIGHTS)
        files.use_version(tmp_path, "v1")
        assert files.weights_file(tmp_path) == tmp_path / "v1.safetensors"
        assert files.weights_file(tmp_path, "default") == files.DEFAULT_FILE
        with pytest.raises(WeightsInvalid, match=r"no weights 'v2'.*: default, v1"):
            files.weights_file(tmp_path, "v2")

    def test_what_cannot_be_read_or_written_is_said(self, tmp_path):
        (tmp_path / "current").mkdir()
        with pytest.raises(WeightsInvalid, match="cannot be read"):
            files.current_version(tmp_path)
        (tmp_path / "v1.safetensors").mkdir()
        with pytest.raises(WeightsInvalid, match="cannot be written"):
            files.write_weights(tmp_path / "v1.safetensors", a_card(), STARTING_WEIGHTS)

    def test_a_version_that_is_not_text_is_said(self, tmp_path):
        (tmp_path / "current").write_bytes(b"\xff\xfe\x00")
        with pytest.raises(WeightsInvalid, match="is not text; write the version"):
            files.current_version(tmp_path)

    def test_what_ships_fits_the_default_model_and_no_other(self, tmp_path):
        used = files.weights_in_use(tmp_path, model="all-MiniLM-L6-v2", dimension=384)
        assert used.score is not None
        assert used.score.dimension == 384
        assert files.weights_in_use(tmp_path, model="fake", dimension=24) is STARTING_WEIGHTS
        assert files.DEFAULT_FILE.stat().st_size < 2_000_000


class OpenedEmbedder(FakeEmbedder):
    """What the command opens."""

    async def aclose(self) -> None:
        """Nothing is open."""


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Sequence[str]:
    """Run the commands with the fake embedder; return the arguments for the data folder."""
    opened = lambda _: OpenedEmbedder(dimension=24)  # noqa: E731
    monkeypatch.setattr(learn, "open_embedder", opened)
    monkeypatch.setattr(material, "open_embedder", opened)
    return ("--data-dir", str(tmp_path / "data"))


def write_calls(file: Path, calls: Sequence[LabelledCall] = CALLS) -> Path:
    file.write_text(
        "\n".join(
            json.dumps(
                {
                    "call_id": call.call_id,
                    "segments": [
                        {"speaker": ln.speaker, "text": ln.text, "label": ln.label}
                        for ln in call.lines
                    ],
                }
            )
            for call in calls
        )
    )
    return file


class TestCommands:
    def test_what_was_fitted_is_used_by_the_next_score(self, command, tmp_path, capsys):
        file = write_calls(tmp_path / "calls.jsonl")
        sides = ("--positive", "yes", "--negative", "no")
        assert run_cli(("learn", "fit", str(file), *sides, "--json", *command)) == 0
        told = json.loads(capsys.readouterr().out)
        assert Path(told["file"]).is_file()
        assert told["in_use_before"] == "default"
        assert told["warnings"] == []
        assert run_cli(("learn", "score", str(file), "--limit", "2", *command)) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert len(lines) == 24
        assert set(lines[0]) == {
            "call_id",
            "segment",
            "speaker",
            "engagement",
            "call_engagement",
            "sentiment",
            "objection",
            "phase",
            "strategy",
            "strategy_confidence",
        }

    def test_a_person_is_told_how_to_go_back(self, command, tmp_path, capsys):
        file = write_calls(tmp_path / "calls.jsonl")
        sides = ("--positive", "yes", "--negative", "no", "--strategies", "asks")
        assert run_cli(("learn", "fit", str(file), *sides, *command)) == 0
        told = capsys.readouterr().out
        assert "AUC" in told
        assert "To go back: agent-sidecar learn rollback" in told
        assert "warning: live calls do without the fitted strategies: asks is no strategy" in told
        assert run_cli(("learn", "score", str(file), "--limit", "1", *command)) == 0
        first = json.loads(capsys.readouterr().out.splitlines()[0])
        assert first["strategy"] == "asks"

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (("fit", "FILE", "--positive", "yep", "--negative", "no"), "is labelled yep"),
            (("fit", "FILE", "--positive", "no", "--negative", "no"), "both positive and negative"),
            (
                ("fit", "FILE", "--positive", "yes", "--negative", "so-so", "--strategies", "x"),
                "too few to fit on",
            ),
            (("score", "FILE", "--weights", "v9"), "no weights 'v9'"),
            (("score", "EMPTY"), "holds no call"),
            (("score", "FILE", "--weights", "default"), "fitted with the embedding model"),
        ],
    )
    def test_mistakes_are_explained(self, command, tmp_path, capsys, arguments, says):
        file = write_calls(tmp_path / "calls.jsonl", CALLS[:6])
        empty = tmp_path / "empty.jsonl"
        empty.write_text("\n")
        names = {"FILE": str(file), "EMPTY": str(empty)}
        given = [names.get(argument, argument) for argument in arguments]
        assert run_cli(("learn", *given, *command)) == 2
        heard = capsys.readouterr()
        assert says in heard.err.replace("\n", " ")
        assert heard.out == ""

    @pytest.mark.parametrize(("name", "used"), [("asks", False), ("social-proof", True)])
    def test_live_calls_use_fitted_strategies_only_by_the_playbook_s_names(
        self, command, tmp_path, capsys, name, used
    ):
        calls = [
            replace(
                call,
                lines=tuple(
                    replace(ln, label=name) if ln.label == "asks" else ln for ln in call.lines
                ),
            )
            for call in CALLS
        ]
        file = write_calls(tmp_path / "calls.jsonl", calls)
        fit = ("learn", "fit", str(file), "--positive", "yes", "--negative", "no", "--json")
        assert run_cli((*fit, "--strategies", name, *command)) == 0
        told = json.loads(capsys.readouterr().out)
        settings = read_settings(data_dir=tmp_path / "data")
        embedder = OpenedEmbedder(dimension=24)
        with capture_logs() as logs:
            weights = parts._open_weights(settings, embedder, read_playbook(None))  # type: ignore[arg-type]
        assert (weights.version, weights.score is not None) == (told["version"], True)
        assert (weights.strategies is not None) == used
        assert [entry["why"] for entry in logs] == ([] if used else told["warnings"])

    def test_files_of_the_same_name_are_told_by_their_paths(self):
        paths = [Path("a/x.jsonl"), Path("b/x.jsonl"), Path("c/y.jsonl")]
        assert [name for name, _ in learn._sources(paths)] == ["a/x.jsonl", "b/x.jsonl", "y.jsonl"]


def test_serving_never_loads_what_only_fitting_needs() -> None:
    """The parser of the command line imports no command; `serve` imports no fitting."""
    import subprocess
    import sys

    code = "import sys, agent_sidecar.app; sys.exit('sklearn' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0  # noqa: S603


def test_arguments_of_fit_are_wanted(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(("learn", "fit", "x.jsonl")) == 2
    assert "--positive" in capsys.readouterr().err
    assert run_cli(("learn", "fit", "--positive", "yes")) == 2
    assert "no FILE of labelled calls" in capsys.readouterr().err
