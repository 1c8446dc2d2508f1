"""Key phrases: what a call was about, in the words that were said most."""

from collections.abc import Iterable, Iterator

from agent_sidecar.domain.words import tokens


def key_phrases(texts: Iterable[str], *, most: int = 12) -> list[tuple[str, list[int]]]:
    """Return the phrases said most often, each with the index of its text for every time.

    Runs of one to three content words; one that only ever occurs inside a longer one is left out.
    All but pairs, which tell most, must occur twice.
    """
    places: dict[str, list[int]] = {}
    for index, text in enumerate(texts):
        for run in _content_runs(text):
            places.setdefault(" ".join(run), []).append(index)
    kept = {
        phrase: found
        for phrase, found in places.items()
        if len(found) > 1 or len(phrase.split()) == 2
    }
    inside = {
        part
        for phrase, found in kept.items()
        for part in map(" ".join, _runs(phrase.split()))
        if part != phrase and len(found) >= len(places[part])
    }
    ranked = sorted(
        (item for item in kept.items() if item[0] not in inside),
        key=lambda item: (-len(item[1]), -len(item[0].split()), item[0]),
    )
    return ranked[:most]


def _content_runs(text: str) -> Iterator[list[str]]:
    run: list[str] = []
    for word in tokens(text):
        if word not in _COMMON and len(word) > 2:
            run.append(word)
        else:
            yield from _runs(run)
            run = []
    yield from _runs(run)


def _runs(words: list[str]) -> Iterator[list[str]]:
    """Yield every run of one to three of these words."""
    for size in (1, 2, 3):
        for start in range(len(words) - size + 1):
            yield words[start : start + size]


_COMMON = frozenset(
    "the and for are but not you your yours all any can had her was one our out day get has him "
    "his how man new now old see two way who boy did its let put say she too use that with have "
    "this will from they know want been good much some time very when come here just like long "
    "make many more only over such take than them well were what would there their about which "
    "could other these then into your also because does doing don't it's i'm i've i'll you're "
    "that's isn't didn't can't won't yeah yes okay really thing things something anything maybe "
    "think going gonna got lot sure right mean kind actually where why how's what's let's he's "
    "she's they're we're".split()
)
