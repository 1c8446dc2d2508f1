"""A finished call as the graph holds it: one node, its edges, what it adds to the counts.

Pure and complete: an adapter writes exactly this, an audit compares with exactly this. Values are
what every graph server takes: no maps, lists of one type only, no key that may be missing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import fsum
from typing import Literal, TypeAlias

from agent_sidecar.domain.record import CallRecord, Credit, GivenHint, ObjectionMet
from agent_sidecar.domain.tally import Count, counts, days, pattern_effectiveness
from agent_sidecar.domain.types import CallId, Lead

Property: TypeAlias = str | int | float | bool | datetime | list[str] | list[float] | None
Properties: TypeAlias = Mapping[str, Property]
EdgeType = Literal[
    "HAD_CALL",
    "HAD_CONVERSATION",
    "ENCOUNTERED_OBJECTION",
    "USED_STRATEGY",
    "HINTED",
    "EXHIBITED_PATTERN",
    "LED_TO_OUTCOME",
    "KEVIN_AVAILABLE",
    "TRANSFER_ATTEMPTED",
]

# what a lead's own lines tell; on a call's node as heard in it, on a lead's node the mean of them
TRAITS = (
    "motivation_level",
    "skepticism_level",
    "urgency",
    "pace",
    "formality",
    "technical_comfort",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """One edge between the call and the node with the key `to`."""

    type: EdgeType
    # id of a lead or pattern, name of a strategy or closer, type of an objection or outcome
    to: str
    # tells apart edges of one type between the same two nodes; part of `properties`
    position: int = 0
    properties: Properties


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphFacts:
    """Everything that one record says to the graph."""

    call_id: CallId
    # of the call's own node
    call: Properties
    # empty for a call whose lead no store has named yet: then it has no lead node
    lead_id: str
    # what the record says of the lead himself; None: not known
    lead: Properties
    # when the record saw the lead and the closer, to tell which of several saw them last
    seen_at: datetime
    closer: str
    closer_available: bool
    # (id, type) of each pattern that the call showed
    patterns: tuple[tuple[str, str], ...]
    edges: tuple[Edge, ...]
    contribution: tuple[Count, ...]
    # the time of all of it, in days since 1970
    at_days: float


def graph_facts(record: CallRecord) -> GraphFacts:
    """Return what the graph must hold of this call."""
    return GraphFacts(
        call_id=record.call_id,
        call=_call(record),
        lead_id=record.lead.lead_id,
        lead=lead_facts(record.lead),
        seen_at=record.ended_at,
        closer=record.closer,
        closer_available=record.closer_available,
        patterns=tuple(sorted({(p.id, p.type) for p in record.patterns if p.id})),
        # an edge to a nameless node would merge all nameless nodes into one
        edges=tuple(edge for edge in _edges(record) if edge.to),
        contribution=counts(record),
        at_days=days(record.started_at),
    )


def lead_facts(lead: Lead) -> dict[str, str | None]:
    """Return what the graph holds of the lead himself; None: not known."""
    return {
        "phone": lead.phone,
        "status": lead.status,
        "income_range": lead.current_income_range,
        "experience": lead.experience_level,
        "availability": lead.time_availability,
    }


def seen_later(facts: GraphFacts, stored: Mapping[str, object]) -> bool:
    """Tell whether this record saw a lead or closer no earlier than the one that was stored.

    Records come in any order, and come again: the call's id decides between equal times.
    """
    seen_at, seen_call = stored.get("seen_at"), stored.get("seen_call")
    if not isinstance(seen_at, datetime) or not isinstance(seen_call, str):
        return True
    return (facts.seen_at, facts.call_id) >= (seen_at, seen_call)


def lead_properties(facts: GraphFacts, stored: Mapping[str, object]) -> dict[str, object]:
    """Return what changes on the lead's node: what is newer counts, what is known completes.

    Nothing once the CRM has told of the lead: it heard of every call as well, and of every edit.
    """
    if is_from_crm(stored):
        return {}
    if not seen_later(facts, stored):
        return {k: v for k, v in facts.lead.items() if v is not None and stored.get(k) is None}
    known = {key: value for key, value in facts.lead.items() if value is not None}
    return {**known, "seen_at": facts.seen_at, "seen_call": facts.call_id}


def is_from_crm(stored: Mapping[str, object]) -> bool:
    """Tell whether a lead's node says what the CRM says, which may be newer than any record."""
    return stored.get("from_crm") is True


def mean_traits(calls: Sequence[Mapping[str, object]]) -> dict[str, float | None]:
    """Return a lead's traits from what each of his calls told; the order does not matter."""
    means: dict[str, float | None] = {}
    for trait in TRAITS:
        heard = [float(v) for call in calls if isinstance(v := call.get(trait), int | float)]
        means[trait] = fsum(heard) / len(heard) if heard else None
    return means


def effectiveness(credits: Sequence[Credit]) -> float:
    """Return 0..10: ten times the shrunk rate of positive reactions, 5 when nobody reacted."""
    reacted = [credit.lifted for credit in credits if credit.lifted is not None]
    return 10.0 * (sum(reacted) + 1) / (len(reacted) + 2)


def _call(record: CallRecord) -> Properties:
    traits = record.traits
    return {
        "id": record.call_id,
        "callId": record.call_id,
        "leadId": record.lead.lead_id or None,
        "source": record.source,
        "startTime": record.started_at,
        "timestamp": record.started_at,
        "duration": record.duration_s,
        "phases_completed": record.phase_reached,
        "engagement_progression": [float(score) for score in record.progression],
        "final_engagement_score": record.engagement,
        "engagement_score": record.engagement,
        "outcome": record.outcome.final_status,
        "result": record.outcome.result,
        "qualified": record.outcome.qualified,
        "transfer_successful": record.transfer_successful,
        "kevin_available": record.closer_available,
        "motivation_level": traits.motivation,
        "skepticism_level": traits.scepticism,
        "urgency": traits.urgency,
        "pace": traits.pace,
        "formality": traits.formality,
        "technical_comfort": traits.technical_comfort,
    }


def _edges(record: CallRecord) -> Iterable[Edge]:
    yield Edge(type="HAD_CALL", to=record.lead.lead_id, properties={})
    yield Edge(
        type="HAD_CONVERSATION",
        to=record.lead.lead_id,
        properties={
            "outcome": record.outcome.final_status,
            "engagement_score": record.engagement,
            "timestamp": record.started_at,
        },
    )
    yield Edge(type="LED_TO_OUTCOME", to=record.outcome.final_status, properties={})
    for position, met in enumerate(record.objections):
        yield _objection_edge(met, position)
    yield from _strategy_edges(record)
    for position, given in enumerate(record.hints):
        yield _hint_edge(given, position)
    for identity, mean in sorted(pattern_effectiveness(record).items()):
        yield Edge(type="EXHIBITED_PATTERN", to=identity, properties={"effectiveness": mean})
    yield from _closer_edges(record)


def _objection_edge(met: ObjectionMet, position: int) -> Edge:
    return Edge(
        type="ENCOUNTERED_OBJECTION",
        to=met.type,
        position=position,
        properties={
            "position": position,
            "phase": met.phase,
            "resolution_successful": met.resolved,
            "strategy_used": met.strategy,
            "trigger": met.trigger or None,
            "at": met.at,
        },
    )


def _hint_edge(given: GivenHint, position: int) -> Edge:
    return Edge(
        type="HINTED",
        to=given.hint.strategy,
        position=position,
        properties={
            "position": position,
            "phase": given.hint.phase,
            "objection": given.hint.objection,
            "confidence": given.hint.confidence,
            "status": given.status,
            "at": given.hint.given_at,
        },
    )


def _strategy_edges(record: CallRecord) -> Iterable[Edge]:
    """One edge per strategy and phase: a strategy tried again in a phase is one fact, counted."""
    moves: dict[tuple[str, int], list[Credit]] = defaultdict(list)
    for credit in record.credits:
        moves[credit.strategy, credit.phase].append(credit)
    spoken_at = {segment.index: segment.at for segment in record.segments}
    bridges = [a.bridged_at for a in record.transfers if a.bridged_at is not None]
    transferred = record.transfer_successful
    for (name, phase), credits in sorted(moves.items()):
        # what a person reported has no time: then every move led there
        before = not bridges or any(
            spoken_at.get(credit.segment, record.started_at) <= max(bridges) for credit in credits
        )
        yield Edge(
            type="USED_STRATEGY",
            to=name,
            position=phase,
            properties={
                "phase": phase,
                "position": phase,
                "effectiveness": effectiveness(credits),
                "led_to_transfer": transferred and before,
                "hinted": any(credit.hinted for credit in credits),
                "tried": len(credits),
                "lifted": sum(credit.lifted is True for credit in credits),
            },
        )


def _closer_edges(record: CallRecord) -> Iterable[Edge]:
    yield Edge(
        type="KEVIN_AVAILABLE",
        to=record.closer,
        properties={"available": record.closer_available},
    )
    for position, attempt in enumerate(record.transfers):
        yield Edge(
            type="TRANSFER_ATTEMPTED",
            to=attempt.closer,
            position=position,
            properties={
                "position": position,
                "successful": attempt.outcome == "bridged",
                "outcome": attempt.outcome,
                "phase": attempt.phase,
                "engagement_score": attempt.engagement,
                "at": attempt.initiated_at,
            },
        )
