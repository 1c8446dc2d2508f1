"""The embedder on the real default model: agrees with its original, stays quick, never crashes."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest

from agent_sidecar.adapters import onnx_embedder, parity
from agent_sidecar.adapters.model_prepare import DEFAULT_MODEL, prepare_default
from agent_sidecar.adapters.onnx_embedder import CARD_FILE, MODEL_FILE, OnnxEmbedder
from agent_sidecar.errors import EmbeddingFailed, ModelMissing
from agent_sidecar.ports import Embedder

pytestmark = pytest.mark.contract

LONG = "and then we talked about the price again " * 400


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_default(tmp_path_factory.mktemp("models"), report=lambda _: None).folder


@pytest.fixture
async def embedder(model_dir: Path) -> AsyncIterator[OnnxEmbedder]:
    opened = OnnxEmbedder.open(model_dir)
    yield opened
    await opened.aclose()


async def test_it_serves_the_port(embedder: OnnxEmbedder):
    port: Embedder = embedder
    [vector] = await port.embed(["What does it cost?"])
    assert (port.name, port.dimension) == (DEFAULT_MODEL, 384)
    assert vector.shape == (384,)
    assert vector.dtype == np.float32
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


async def test_each_line_agrees_with_the_original(embedder: OnnxEmbedder):
    ours = [(await embedder.embed([text]))[0] for text in parity.sentences()]
    verdict = parity.compare(ours, parity.stored_vectors(DEFAULT_MODEL))
    assert verdict.accepted, verdict


async def test_in_bulk_they_come_out_the_same_and_in_order(embedder: OnnxEmbedder):
    ours = await embedder.embed(parity.sentences())
    verdict = parity.compare(ours, parity.stored_vectors(DEFAULT_MODEL))
    assert verdict.accepted, verdict


async def test_more_than_one_window_keeps_its_order(embedder: OnnxEmbedder):
    texts = [f"line number {number}" for number in range(onnx_embedder.WINDOW_TEXTS + 3)]
    vectors = await embedder.embed(texts)
    [last] = await embedder.embed(texts[-1:])
    assert len(vectors) == len(texts)
    assert float(vectors[-1] @ last) > 0.99
    assert int(np.argmax(np.stack(list(vectors)) @ last)) == len(texts) - 1


async def test_what_means_the_same_is_near(embedder: OnnxEmbedder):
    query, same, other = await embedder.embed(
        ["That is too expensive.", "I cannot afford that much money.", "It is raining in Boston."]
    )
    assert float(query @ same) > float(query @ other) + 0.2


@pytest.mark.parametrize("text", ["", " ", "\n\t", "\x00", "\ud83d", "🙂" * 50, "ё" * 3000, LONG])
async def test_any_text_has_a_vector(embedder: OnnxEmbedder, text: str):
    [vector] = await embedder.embed([text])
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


async def test_what_is_beyond_the_limit_of_tokens_does_not_count(embedder: OnnxEmbedder):
    one, other = await embedder.embed([LONG + "yes", LONG + "no thank you"])
    assert float(one @ other) == pytest.approx(1.0, abs=1e-5)


async def test_no_texts_have_no_vectors(embedder: OnnxEmbedder):
    assert list(await embedder.embed([])) == []


async def test_a_repeated_line_is_remembered_and_nobody_can_change_it(embedder: OnnxEmbedder):
    [first] = await embedder.embed(["Let me think about it."])
    [again] = await embedder.embed(["Let me think about it."])
    assert again is first
    with pytest.raises(ValueError, match="read-only"):
        again[0] = 1.0


async def test_only_the_latest_lines_are_remembered(
    embedder: OnnxEmbedder, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(onnx_embedder, "REMEMBERED_TEXTS", 2)
    [kept] = await embedder.embed(["a"])
    for text in ("b", "a", "c"):
        await embedder.embed([text])
    assert list(embedder._recent) == ["a", "c"]
    assert (await embedder.embed(["a"]))[0] is kept


async def test_a_live_line_does_not_wait_for_a_bulk_load(embedder: OnnxEmbedder):
    bulk = asyncio.create_task(embedder.embed([LONG] * 40))
    await asyncio.sleep(0)
    [vector] = await embedder.embed(["I'm in, where do I sign?"])
    assert vector.shape == (384,)
    assert not bulk.done()
    bulk.cancel()
    with pytest.raises(asyncio.CancelledError):
        await bulk


async def test_it_works_on_after_a_caller_gave_up(embedder: OnnxEmbedder):
    given_up = asyncio.create_task(embedder.embed([LONG] * 3))
    await asyncio.sleep(0)
    given_up.cancel()
    with pytest.raises(asyncio.CancelledError):
        await given_up
    assert len(await embedder.embed(["still there?", "yes"])) == 2


async def test_once_closed_it_refuses_instead_of_hanging(model_dir: Path):
    embedder = OnnxEmbedder.open(model_dir)
    bulk = asyncio.create_task(embedder.embed([LONG] * 40))
    await asyncio.sleep(0.01)
    await embedder.aclose()
    await embedder.aclose()
    with pytest.raises(EmbeddingFailed, match="closed"):
        await bulk
    with pytest.raises(EmbeddingFailed, match="closed"):
        await embedder.embed(["hello?"])


async def test_several_workers_share_one_model(model_dir: Path):
    embedder = OnnxEmbedder.open(model_dir, threads=2)
    texts = [f"question {number}?" for number in range(20)]
    alone = await asyncio.gather(*(embedder.embed([text]) for text in texts))
    together = await embedder.embed(texts)
    await embedder.aclose()
    assert all(float(a[0] @ b) > 0.99 for a, b in zip(alone, together, strict=True))


def test_a_folder_without_a_model_says_what_to_run(tmp_path: Path):
    with pytest.raises(ModelMissing, match=r"meta\.json.*run `agent-sidecar models prepare`"):
        OnnxEmbedder.open(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("file", "content"),
    [(MODEL_FILE, b"not a model"), (CARD_FILE, b'{"name": 7}'), ("tokenizer.json", b"{}")],
)
def test_a_damaged_model_says_what_to_run(
    model_dir: Path, tmp_path: Path, file: str, content: bytes
):
    damaged = shutil.copytree(model_dir, tmp_path / "damaged")
    (damaged / file).write_bytes(content)
    with pytest.raises(ModelMissing, match="run `agent-sidecar models prepare`"):
        OnnxEmbedder.open(damaged)


def test_a_card_of_another_model_is_noticed(model_dir: Path, tmp_path: Path):
    mixed = shutil.copytree(model_dir, tmp_path / "mixed")
    card = json.loads((mixed / CARD_FILE).read_text())
    (mixed / CARD_FILE).write_text(json.dumps(card | {"dimension": 768}))
    with pytest.raises(ModelMissing, match="768"):
        OnnxEmbedder.open(mixed)
