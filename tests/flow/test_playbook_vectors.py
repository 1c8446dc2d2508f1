"""A changed playbook embeds what changed, and nothing else."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agent_sidecar.adapters.onnx_embedder import ModelCard
from agent_sidecar.adapters.playbook_vectors import PlaybookVectors
from agent_sidecar.domain.types import Vector
from agent_sidecar.upkeep import playbook_vectors
from tests.domain.playbooks import PLAYBOOK, TEXTS
from tests.fakes import FakeEmbedder

CARD = ModelCard(
    name="small/model",
    dimension=8,
    max_tokens=16,
    source="s",
    weights_sha256="a",
    quantisation="q",
    recipe=1,
)


class Counting(FakeEmbedder):
    def __init__(self) -> None:
        super().__init__(dimension=CARD.dimension)
        self.asked: list[str] = []

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        self.asked += texts
        return await super().embed(texts)


class Full(PlaybookVectors):
    def write(self, vectors: object) -> None:
        raise OSError(28, "No space left on device")


def embedded(kept: PlaybookVectors, playbook=PLAYBOOK, *, keep: bool = True) -> list[str]:
    embedder = Counting()
    # on a real loop: files are read and written in threads
    vectors = asyncio.run(playbook_vectors(embedder, playbook, kept, keep=keep))
    for text, vector in vectors.items():
        assert np.array_equal(vector, embedder.vector(text))
    return embedder.asked


def test_only_texts_that_are_new_are_embedded_and_those_that_are_gone_forgotten(tmp_path):
    kept = PlaybookVectors(tmp_path, CARD)
    assert embedded(kept) == list(TEXTS)
    assert embedded(kept) == []
    changed = replace(PLAYBOOK.strategies[0], say=("said anew", "or reframe"))
    playbook = replace(PLAYBOOK, strategies=(changed, *PLAYBOOK.strategies[1:]))
    assert kept.missing(["said anew", "or reframe"]) == ("said anew",)
    assert embedded(kept, playbook) == ["said anew"]
    assert embedded(kept) == ["say reframe"]


def test_a_playbook_that_is_only_tried_changes_nothing(tmp_path):
    kept = PlaybookVectors(tmp_path, CARD)
    assert embedded(kept, keep=False) == list(TEXTS)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "other", [{"weights_sha256": "b"}, {"recipe": 2}, {"dimension": 4}, {"quantisation": "none"}]
)
def test_vectors_of_a_model_prepared_otherwise_are_none_of_ours(tmp_path, other):
    embedded(PlaybookVectors(tmp_path, CARD))
    card = ModelCard(**{name: getattr(CARD, name) for name in CARD.__struct_fields__} | other)
    assert PlaybookVectors(tmp_path, card).read() == {}


@pytest.mark.parametrize("harm", [lambda raw: raw[:-9], lambda raw: b"", lambda raw: b"x" * 99])
def test_a_damaged_file_counts_as_empty_and_is_written_anew(tmp_path, harm):
    kept = PlaybookVectors(tmp_path, CARD)
    embedded(kept)
    kept.file.write_bytes(harm(kept.file.read_bytes()))
    assert embedded(kept) == list(TEXTS)
    assert embedded(kept) == []


def test_a_full_disk_costs_the_next_start_its_time_and_nothing_else(tmp_path):
    assert embedded(Full(tmp_path, CARD)) == list(TEXTS)
    assert list(tmp_path.iterdir()) == []


def test_what_is_written_is_whole_or_not_there(tmp_path: Path):
    kept = PlaybookVectors(tmp_path, CARD)
    embedded(kept)
    before = kept.file.read_bytes()
    with pytest.raises(ValueError, match="broadcast"):
        kept.write({"text": np.zeros(3, np.float32)})
    assert kept.file.read_bytes() == before
    assert [file.name for file in kept.file.parent.iterdir()] == [kept.file.name]
