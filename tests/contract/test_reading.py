"""What words mean, measured with the real default model and the playbook that ships.

The lines are the tests' own. Thresholds of the domain were chosen on the even ones and on two of
the calls; asserted is what the others reach. Playbook and lines have one author, who saw both: this
guards against getting worse, and says less about calls of strangers.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from agent_sidecar.adapters.model_prepare import prepare_default
from agent_sidecar.adapters.onnx_embedder import OnnxEmbedder
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.domain.language import Reader, texts_to_embed
from agent_sidecar.domain.playbook import PHASES
from agent_sidecar.domain.types import Vector
from tests.objection_lines import OBJECTIONS, ORDINARY
from tests.phase_calls import CALLS
from tests.strategy_lines import ORDINARY as ORDINARY_AGENT
from tests.strategy_lines import STRATEGIES

pytestmark = pytest.mark.contract

Encode = Callable[[str], Vector]
MEASURED = [name for name in CALLS if name not in {"full", "skips"}]


@pytest.fixture(scope="module")
def encode(tmp_path_factory: pytest.TempPathFactory) -> Encode:
    folder: Path = prepare_default(tmp_path_factory.mktemp("m"), report=lambda _: None).folder
    return OnnxEmbedder.open(folder).encode


@pytest.fixture(scope="module")
def reader(encode: Encode) -> Reader:
    playbook = read_playbook(None)
    return Reader(playbook, {text: encode(text) for text in texts_to_embed(playbook)})


def test_most_objections_are_recognised_and_few_lines_are_taken_for_one(
    reader: Reader, encode: Encode
):
    def told(text: str) -> str | None:
        return reader.read_prospect(text, encode(text)).objection

    lines = [(kind, text) for kind, texts in OBJECTIONS.items() for text in texts[1::2]]
    found = [(kind, told(text)) for kind, text in lines]
    right = sum(kind == one for kind, one in found)
    taken = sum(one is not None for _, one in found) + sum(
        told(text) is not None for text in ORDINARY[1::2]
    )
    assert right / len(lines) >= 0.75
    assert right / taken >= 0.88


@pytest.mark.parametrize(
    "text",
    [
        "I'm not saying it's a scam",
        "it isn't that I don't have time",
        "my wife thinks it's a good idea",
        "I can afford that",
    ],
)
def test_what_is_denied_is_no_objection(reader, encode, text):
    assert reader.read_prospect(text, encode(text)).objection is None


def test_a_strategy_that_is_noted_was_used_and_most_are_noted(reader, encode):
    def told(text: str) -> str | None:
        strategy: str | None = reader.read_agent(text, encode(text)).strategy
        return strategy

    lines = [(name, text) for name, texts in STRATEGIES.items() for text in texts[1::2]]
    found = [(name, told(text)) for name, text in lines]
    right = sum(name == one for name, one in found)
    taken = sum(one is not None for _, one in found) + sum(
        told(text) is not None for text in ORDINARY_AGENT[1::2]
    )
    assert right / taken >= 0.95
    assert right / len(lines) >= 0.65


def heard(reader: Reader, encode: Encode, name: str) -> list[tuple[int, int]]:
    """Return the true phase and the one that was told, after each line."""
    phases, at_s = reader.phases.follow(), 0.0
    out = []
    for who, true, text in CALLS[name]:
        at_s += len(text.split()) / 2.7 + 0.5
        if who == "A":
            phases.hear_agent(reader.phases.agent(text, encode(text)), at_s)
        else:
            meaning = reader.read_prospect(text, encode(text))
            likelihood = reader.phases.prospect(encode(text))
            phases.hear_prospect(likelihood, objects=meaning.objection is not None)
        out.append((true, phases.phase))
    return out


def test_the_phase_of_most_lines_is_told_at_once(reader, encode):
    found = [pair for name in MEASURED for pair in heard(reader, encode, name)]
    assert sum(true == told for true, told in found) / len(found) >= 0.8
    assert sum(abs(true - told) <= 1 for true, told in found) / len(found) >= 0.9
    assert {told for true, told in heard(reader, encode, "full")} == set(range(1, PHASES + 1))


def test_small_talk_leaps_nowhere(reader, encode):
    small_talk = ["Oh nice.", "Mm-hm.", "I see.", "That is funny.", "My dog does that as well."]
    phases = reader.phases.follow()
    for second, text in enumerate(small_talk * 4):
        assert phases.hear_agent(reader.phases.agent(text, encode(text)), second * 3.0) <= 3
