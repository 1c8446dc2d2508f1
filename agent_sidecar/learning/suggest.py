"""What would have been suggested before each line of the agent, on recorded calls.

Calls are played through the domain as live ones are; labels, strategies and outcomes of the file
are not looked at, nor is anything that was said later. Unlike in a live call there is always an
answer: no silence, no cool-down, no cap, and what the call has heard already may come again.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from agent_sidecar.domain.engagement import Weights
from agent_sidecar.domain.hints import Question, Retrieved
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.playbook import Playbook, Strategy
from agent_sidecar.domain.ranking import rank
from agent_sidecar.domain.recorded import RecordedCall
from agent_sidecar.domain.types import StrategyName, Vector
from agent_sidecar.learning.score_calls import hear, open_call

# a strategy that only evidence or weights know: it has no words of its own
_NO_WORDS = ("",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggested:
    """A strategy and the chance that the prospect's next reaction to it is positive, 0..1."""

    strategy: StrategyName
    confidence: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """What one segment of the agent would have been preceded by."""

    call_id: str
    # its place in the file's call, from 0
    segment: int
    # best first
    suggested: tuple[Suggested, ...]


def suggest_call(
    recorded: RecordedCall,
    vectors: Mapping[str, Vector],
    reader: Reader,
    weights: Weights,
    *,
    recall: Callable[[Question], Retrieved],
    playbook: Playbook,
    top_k: int,
) -> Iterator[Suggestion]:
    """Yield a suggestion for every segment of the agent, in order; `vectors` by text.

    `recall` answers from what is stored now; `playbook` has every strategy that may be suggested.
    """
    call = open_call(recorded, reader, weights)
    for index, segment in enumerate(recorded.segments):
        if segment.speaker == "agent":
            question = call.question()
            ranked = rank(playbook, question, recall(question))
            yield Suggestion(
                call_id=recorded.call_id,
                segment=index,
                suggested=tuple(
                    Suggested(strategy=one.strategy.name, confidence=one.confidence)
                    for one in ranked[:top_k]
                ),
            )
        hear(call, index, segment, vectors[segment.text])


def with_strategies(playbook: Playbook, names: set[StrategyName]) -> Playbook:
    """Return the playbook with these strategies as well, which have no words of their own."""
    strange = sorted(names - {strategy.name for strategy in playbook.strategies})
    more = (Strategy(name=name, when="", say=_NO_WORDS) for name in strange)
    return replace(playbook, strategies=(*playbook.strategies, *more))
