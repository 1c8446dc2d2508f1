"""What the four stores know of a kind of lead: the question, each store's answer, and its reading.

A kind is as in `tally`: the lead's fields that the playbook names, and evidence backs off from all
of them to none. What is read here is chosen from the narrowest kind that has enough to say it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from agent_sidecar.domain.hints import Evidence
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.domain.record import FinalStatus
from agent_sidecar.domain.tally import EVERYBODY, KIND_FIELDS, kinds, scope
from agent_sidecar.domain.types import CallId, Lead, ObjectionType, StrategyName

# calls, and reactions to a strategy, from which a kind speaks for itself
ENOUGH_CALLS, ENOUGH_REACTIONS = 10, 5
# what is shown of each list
STRATEGIES, OBJECTIONS, ANSWERS, PATTERNS, MOMENTS, EXAMPLES = 8, 5, 3, 5, 5, 3
# out of 10: the patterns worth repeating
GOOD_PATTERN = 7.0


@dataclass(frozen=True, slots=True, kw_only=True)
class InsightRequest:
    """A kind of lead as somebody asks for it; a stored lead's fields complete those given."""

    lead_id: str | None = None
    phone: str | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    text: str | None = None
    objection: ObjectionType | None = None
    phase: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Whom it is about, and the moment if one was given."""

    # None: no stored lead was asked for, or there is none such
    lead_id: str | None
    # (field, value) pairs that are known, most telling first
    kind: tuple[tuple[str, str], ...]
    text: str | None
    objection: ObjectionType | None
    phase: int | None

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds he belongs to, from the narrowest to everybody."""
        return kinds(self.kind)[::-1]


# --- what the stores answer -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Rates:
    """Calls whose end is known, and how they ended."""

    calls: int = 0
    qualified: int = 0
    transferred: int = 0

    def __add__(self, other: "Rates") -> "Rates":
        """Return both together."""
        return Rates(
            calls=self.calls + other.calls,
            qualified=self.qualified + other.qualified,
            transferred=self.transferred + other.transferred,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CallGroup:
    """Calls that agree with the profile in the same fields."""

    # one for each field of the profile's kind
    matches: tuple[bool, ...]
    closer_free: bool
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectionFigures:
    """An objection over all calls."""

    type: ObjectionType
    met: int
    resolved: int
    # strategies that resolved it, the commonest first
    responses: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatternFigures:
    """A pattern over all calls."""

    id: str
    type: str
    # 0..10
    effectiveness: float
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphAnswer:
    """What the graph counts of the profile's kinds."""

    # `scope` is a kind; over the phases that were asked for
    strategies: tuple[Evidence, ...] = ()
    # `scope` is an objection, alone or with a kind
    answers: tuple[Evidence, ...] = ()
    objections: tuple[ObjectionFigures, ...] = ()
    patterns: tuple[PatternFigures, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that was said in a call that ended well, in a moment like the one asked about."""

    call_id: CallId
    # the answer that worked, or the call's words
    text: str
    outcome: FinalStatus
    # cosine similarity, -1..1
    closeness: float
    # the objection whose usual wording it was compared with; None: the text that was given
    like: ObjectionType | None = None
    strategy: StrategyName | None = None
    objection: ObjectionType | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExampleCall:
    """A stored call of such a lead that went well, and where it turned."""

    call_id: CallId
    started_at: datetime
    outcome: FinalStatus
    # 0..100
    score: float | None
    # the narrowest kind that it shares with the profile
    kind: str
    # the moment it turned: a rise, else whatever was remarkable
    turned: str | None = None
    # "agent: …", "prospect: …": the lines up to it
    lines: tuple[str, ...] = ()


# --- what is read in them -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRates:
    """Calls of leads with this value in this field."""

    field: str
    value: str
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class KindRates:
    """Calls of a kind of lead; the empty kind is everybody."""

    kind: str
    rates: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class SuccessPatterns:
    """How calls of such leads end, against everybody's."""

    everybody: Rates
    fields: tuple[FieldRates, ...]
    # from the narrowest on, those with calls
    kinds: tuple[KindRates, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailabilityEffect:
    """How calls of a kind of lead ended when a closer was free, and when none was."""

    kind: str
    free: Rates
    not_free: Rates


@dataclass(frozen=True, slots=True, kw_only=True)
class StrategyRecord:
    """How a strategy went for the narrowest kind of lead that has enough to say."""

    strategy: StrategyName
    kind: str
    tried: int
    lifted: int
    # lifted, or sunk
    reacted: int
    won: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectionRecord:
    """An objection, and what answered it for such leads, the best first."""

    type: ObjectionType
    # over all calls
    met: int
    resolved: int
    responses: tuple[str, ...]
    # answers to it that were given to leads of this kind, and how many
    kind: str
    answered: int
    answers: tuple[StrategyRecord, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Relationships:
    """What the graph says of such leads, the best and commonest first."""

    strategies: tuple[StrategyRecord, ...]
    objections: tuple[ObjectionRecord, ...]
    patterns: tuple[PatternFigures, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Insights:
    """Everything that came in time; None: that store is named in `degraded`."""

    profile: Profile
    success: SuccessPatterns | None
    availability: AvailabilityEffect | None
    relationships: Relationships | None
    moments: tuple[Moment, ...] | None
    examples: tuple[ExampleCall, ...] | None
    # plain sentences with their evidence
    synthesis: tuple[str, ...]
    degraded: tuple[str, ...]
    latency_ms: float


def profile_of(request: InsightRequest, lead: Lead | None, playbook: Playbook) -> Profile:
    """Return the profile that is asked for; what is given outranks what is stored."""
    known = []
    for name in playbook.lead_kind:
        value: object = request.fields.get(name)
        if value is None and lead is not None:
            value = getattr(lead, name, None) or lead.extra.get(name)
        if value is not None:
            known.append((name, str(value)))
    return Profile(
        lead_id=lead.lead_id if lead is not None else None,
        kind=tuple(known[:KIND_FIELDS]),
        text=request.text,
        objection=request.objection,
        phase=request.phase,
    )


def success_patterns(profile: Profile, groups: Sequence[CallGroup]) -> SuccessPatterns:
    """Return how calls ended by each field alone, by each kind, and altogether."""
    fields = tuple(
        FieldRates(field=name, value=value, rates=_sum(g.rates for g in groups if g.matches[place]))
        for place, (name, value) in enumerate(profile.kind)
    )
    of_kinds = [KindRates(kind=k, rates=r) for k, r in _by_kind(profile, groups) if r.calls]
    return SuccessPatterns(
        everybody=_sum(group.rates for group in groups), fields=fields, kinds=tuple(of_kinds)
    )


def availability_effect(profile: Profile, groups: Sequence[CallGroup]) -> AvailabilityEffect:
    """Return what a free closer did, for the narrowest kind with enough calls of either sort."""
    free = _by_kind(profile, [group for group in groups if group.closer_free])
    not_free = _by_kind(profile, [group for group in groups if not group.closer_free])
    effects = [
        AvailabilityEffect(kind=kind, free=with_closer, not_free=without)
        for (kind, with_closer), (_, without) in zip(free, not_free, strict=True)
    ]
    enough = [e for e in effects if min(e.free.calls, e.not_free.calls) >= ENOUGH_CALLS]
    return (enough or effects[-1:])[0]


def relationships(profile: Profile, answer: GraphAnswer) -> Relationships:
    """Return what the graph says of such leads."""
    # the wildcard kind of `scope` has no name of its own
    strategies = _records({kind: kind for kind in profile.kinds}, answer.strategies)
    objections = [
        _objection(profile, figures, answer.answers)
        for figures in answer.objections
        if profile.objection in (None, figures.type)
    ]
    objections.sort(key=lambda o: (-o.answered, -o.met, o.type))
    good = [p for p in answer.patterns if p.effectiveness > GOOD_PATTERN]
    good.sort(key=lambda p: (-p.calls, -p.effectiveness, p.id))
    return Relationships(
        strategies=strategies[:STRATEGIES],
        objections=tuple(objections[:OBJECTIONS]),
        patterns=tuple(good[:PATTERNS]),
    )


def closest_moments(
    moments: Iterable[Moment], met: Sequence[ObjectionType] | None
) -> tuple[Moment, ...]:
    """Return the closest, the same words once; `met`: what such leads object, commonest first.

    None: the graph did not say, so closeness alone decides.
    """
    order = {objection: place for place, objection in enumerate(met or ())}

    def rank(moment: Moment) -> tuple[int, float, str]:
        place = order.get(moment.like, len(order)) if moment.like is not None else -1
        return place, -moment.closeness, moment.call_id

    best: dict[str, Moment] = {}
    for moment in sorted(moments, key=rank):
        best.setdefault(moment.text, moment)
    return tuple(best.values())[:MOMENTS]


def _objection(
    profile: Profile, figures: ObjectionFigures, answers: Sequence[Evidence]
) -> ObjectionRecord:
    scopes = {scope(f"objection:{figures.type}", kind): kind for kind in profile.kinds}
    own = [evidence for evidence in answers if evidence.scope in scopes]
    answered = dict.fromkeys(profile.kinds, 0)
    for evidence in own:
        answered[scopes[evidence.scope]] += evidence.tried
    kind = next((k for k, times in answered.items() if times >= ENOUGH_CALLS), EVERYBODY)
    return ObjectionRecord(
        type=figures.type,
        met=figures.met,
        resolved=figures.resolved,
        responses=figures.responses[:ANSWERS],
        kind=kind,
        answered=answered[kind],
        answers=_records(scopes, own)[:ANSWERS],
    )


def _records(
    kind_of: Mapping[str, str], evidence: Iterable[Evidence]
) -> tuple[StrategyRecord, ...]:
    """Return each strategy once, the best first; `kind_of` has the scopes, the narrowest first."""
    by_scope: dict[str, dict[StrategyName, Evidence]] = {}
    for one in evidence:
        by_scope.setdefault(one.scope, {})[one.strategy] = one
    chosen: dict[StrategyName, StrategyRecord] = {}
    for place, kind in kind_of.items():
        for name, one in by_scope.get(place, {}).items():
            known = chosen.get(name)
            if known is None or known.reacted < ENOUGH_REACTIONS:
                chosen[name] = StrategyRecord(
                    strategy=name,
                    kind=kind,
                    tried=one.tried,
                    lifted=min(one.lifted, one.tried),
                    reacted=one.reacted,
                    won=one.won,
                )
    return tuple(sorted(chosen.values(), key=lambda r: (-shrunk(r), -r.tried, r.strategy)))


def shrunk(record: StrategyRecord) -> float:
    """Return the share of reactions that were positive, two that nobody gave counting as half."""
    return (record.lifted + 1) / (record.reacted + 2)


def _by_kind(profile: Profile, groups: Sequence[CallGroup]) -> list[tuple[str, Rates]]:
    """Return the calls of each of the profile's kinds, the narrowest first."""
    depths = range(len(profile.kind), -1, -1)
    return [
        (kind, _sum(group.rates for group in groups if all(group.matches[:depth])))
        for kind, depth in zip(profile.kinds, depths, strict=True)
    ]


def _sum(rates: Iterable[Rates]) -> Rates:
    return sum(rates, Rates())
