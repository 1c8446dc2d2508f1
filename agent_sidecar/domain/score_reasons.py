"""Why a line was judged as it was, in words: what each block of the fitted weights stands for."""

from collections.abc import Iterator, Mapping

import numpy as np

from agent_sidecar.domain.manner import CUES
from agent_sidecar.domain.ngrams import ngrams, place
from agent_sidecar.domain.score_context import Heard
from agent_sidecar.domain.score_model import ScoreModel

# a line of at most two words
SHORT = 0.6
_UNQUOTABLE = frozenset(("<s>", "</s>", "?", "!", "#"))
# words that, with nothing else beside them, tell a person nothing
_FUNCTION_WORDS = frozenset(
    "a an the i me my you your he she it its we us our they them this that these those there here"
    " is are am was were be been being have has had do does did would could should will can may"
    " might to of in on at for from with by as and or but if so what which who how when where why"
    " one two three four five six seven eight nine ten hundred thousand see get go just".split()
)

# what a person is told as one reason
GROUPS: dict[str, tuple[str, ...]] = {
    "words": ("words",),
    "meaning": ("line", "anchors", "sides", "labels"),
    "manner": ("manner",),
    "answer": ("agent", "answer"),
    "so_far": ("past", "past_anchors", "before", "place", "memory"),
}


def reasons(
    model: ScoreModel, heard: Heard, contributions: Mapping[str, float]
) -> Iterator[tuple[str, float, str]]:
    """Yield name, share of the logit and wording of every reason; the shares add up to all."""
    for name, blocks in GROUPS.items():
        share = sum(contributions.get(block, 0.0) for block in blocks)
        yield name, share, _wording(name, model, heard, helps=share > 0)


def _wording(name: str, model: ScoreModel, heard: Heard, *, helps: bool) -> str:
    match name:
        case "words":
            return _strongest_words(model, heard, 1.0 if helps else -1.0)
        case "meaning":
            return f"sounds like one who {model.closest_group(heard, along=helps)}"
        case "manner":
            return _strongest_cue(model, heard, 1.0 if helps else -1.0)
        case "answer":
            short = heard.shortness >= SHORT
            return f"{'a short answer to ' if short else ''}what the agent had just said"
        case _ if not heard.past.any():
            return "what a call begins with"
        case _:
            return "has been warm so far" if helps else "has been cool so far"


def _strongest_words(model: ScoreModel, heard: Heard, sign: float) -> str:
    by_place = dict(zip(heard.places.tolist(), model.word_weights(heard).tolist(), strict=True))
    # marks, and the line's beginning and end, are places of their own, and nothing to quote
    quotable = [
        gram for gram in ngrams(heard.text) if _is_quotable(gram.replace("not:", "").split())
    ]
    moved = {gram: sign * by_place[place(gram)] for gram in quotable}
    best = max(moved, key=moved.__getitem__, default="")
    if not best or moved[best] <= 0:
        return "his choice of words"
    return f"says “{best.replace('not:', '')}”"


def _is_quotable(words: list[str]) -> bool:
    return _UNQUOTABLE.isdisjoint(words) and not _FUNCTION_WORDS.issuperset(words)


def _strongest_cue(model: ScoreModel, heard: Heard, sign: float) -> str:
    at = model.blocks["manner"]
    weights = model.known[at] + model.plain[at]
    moved = sign * weights * (heard.cues - model.means[at])
    # what is not there is no reason that anybody could hear
    moved = np.where(heard.cues > 0, moved, 0.0)
    best = int(np.argmax(moved))
    return CUES[best].why if moved[best] > 0 else "how he says it"
