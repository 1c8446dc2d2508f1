"""The insights of all stores in a handful of plain sentences, each with its evidence.

Nothing is claimed that was not counted: a sentence gives its numbers, or is not said.
"""

from collections.abc import Iterator, Sequence

from agent_sidecar.domain.insights import (
    ENOUGH_CALLS,
    ENOUGH_REACTIONS,
    AvailabilityEffect,
    ExampleCall,
    Moment,
    ObjectionRecord,
    Rates,
    Relationships,
    StrategyRecord,
    SuccessPatterns,
    shrunk,
)

# below this share of positive reactions a strategy is warned of
POOR = 0.35
WORDS_SHOWN = 120


def synthesize(
    *,
    success: SuccessPatterns | None,
    availability: AvailabilityEffect | None,
    relationships: Relationships | None,
    moments: Sequence[Moment] | None,
    examples: Sequence[ExampleCall] | None,
) -> tuple[str, ...]:
    """Return the sentences, the most useful first."""
    said: list[str] = []
    if relationships is not None:
        said += _strategies(relationships.strategies)
        said += _objections(relationships.objections)
    if availability is not None:
        said += _availability(availability)
    if success is not None:
        said += _success(success)
    if relationships is not None and relationships.patterns:
        best = relationships.patterns[0]
        said.append(
            f"The pattern {best.id} comes out at {best.effectiveness:.1f} of 10 over"
            f" {_calls(best.calls)}."
        )
    said += _moment(moments or ())
    said += _example(examples or ())
    return tuple(said) or ("Nothing was counted yet that says anything of such a lead.",)


def label(kind: str) -> str:
    """Name a kind of lead as people would read it."""
    if not kind:
        return "everybody"
    return ", ".join(part.replace("=", " ").replace("_", " ") for part in kind.split("|"))


def _strategies(records: Sequence[StrategyRecord]) -> Iterator[str]:
    told = [record for record in records if record.reacted >= ENOUGH_REACTIONS]
    if not told:
        return
    best, worst = told[0], told[-1]
    yield (
        f"{best.strategy} lifted {best.lifted} of {best.reacted} for {label(best.kind)};"
        f" {best.won} of its {best.tried} uses were in calls that qualified."
    )
    if worst is not best and shrunk(worst) < POOR:
        yield (
            f"{worst.strategy} lifted only {worst.lifted} of {worst.reacted} for"
            f" {label(worst.kind)}: try something else first."
        )


def _objections(records: Sequence[ObjectionRecord]) -> Iterator[str]:
    if not records or not records[0].met:
        return
    first = records[0]
    # the answers' own kind says for whom; how often it was met is told of everybody
    sentence = f"The objection {first.type} was resolved {first.resolved} of {first.met} times"
    best = next((a for a in first.answers if a.reacted >= ENOUGH_REACTIONS), None)
    if best is not None:
        sentence += (
            f"; what answered it best for {label(best.kind)}: {best.strategy}, which lifted"
            f" {best.lifted} of {best.reacted}"
        )
    elif first.responses:
        sentence += f", most often by {first.responses[0]}"
    yield f"{sentence}."


def _availability(effect: AvailabilityEffect) -> Iterator[str]:
    if effect.free.calls and effect.not_free.calls:
        yield (
            f"Of {label(effect.kind)}, {_qualified(effect.free)} qualified when a closer was free,"
            f" {_qualified(effect.not_free)} when none was."
        )


def _success(success: SuccessPatterns) -> Iterator[str]:
    everybody = success.everybody
    if not everybody.calls:
        return
    narrow = next((k for k in success.kinds if k.kind and k.rates.calls >= ENOUGH_CALLS), None)
    if narrow is None:
        yield (
            f"Of all {_calls(everybody.calls)} {everybody.qualified} qualified and"
            f" {everybody.transferred} were transferred."
        )
        return
    yield (
        f"Of {_calls(narrow.rates.calls)} with {label(narrow.kind)} {narrow.rates.qualified}"
        f" qualified ({_percent(narrow.rates)}) and {narrow.rates.transferred} were transferred;"
        f" of everybody's {everybody.calls}, {everybody.qualified} ({_percent(everybody)})."
    )


def _moment(moments: Sequence[Moment]) -> Iterator[str]:
    best = next((m for m in moments if m.strategy is not None), None)
    if best is not None:
        about = f"the objection {best.objection}" if best.objection else "such a moment"
        yield f'What worked in {about} once: "{_short(best.text)}" ({best.strategy}).'


def _example(examples: Sequence[ExampleCall]) -> Iterator[str]:
    if not examples:
        return
    first = examples[0]
    ended = "" if first.outcome == "unknown" else f" as {first.outcome.replace('_', ' ')}"
    score = "" if first.score is None else f" at {first.score:.0f} of 100"
    turned = "" if first.turned is None else f'; it turned at: "{_short(first.turned)}"'
    yield (f"To read: call {first.call_id} ({label(first.kind)}) ended well{ended}{score}{turned}.")


def _calls(number: int) -> str:
    return f"{number} call" if number == 1 else f"{number} calls"


def _qualified(rates: Rates) -> str:
    return f"{rates.qualified} of {rates.calls}"


def _percent(rates: Rates) -> str:
    return f"{100 * rates.qualified / rates.calls:.0f} %"


def _short(text: str) -> str:
    return text if len(text) <= WORDS_SHOWN else f"{text[: WORDS_SHOWN - 1]}…"
