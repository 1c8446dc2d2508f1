"""One call: the state machine over everything else in `domain`: `receive(event)` → effects.

A call is opened by its first event, understands each line as soon as its vector is there, asks for
hints and for the transfer when the policies say so, and is closed once by `CallClosed`. It depends
on nothing but its events, in their order: replaying them rebuilds it, effects and all.

    open ──LegLeft of the prospect──▶ hung up ──CallClosed──▶ closed
     └───────────────CallClosed (lost sight of it)──────────────▲
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Literal

import numpy as np

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.engagement import (
    NEUTRAL,
    STARTING_WEIGHTS,
    EngagementMeter,
    EngagementScore,
    SaidWords,
    Weights,
)
from agent_sidecar.domain.hinting import Asked, Hinting
from agent_sidecar.domain.hints import Question
from agent_sidecar.domain.language import Meaning, Reader
from agent_sidecar.domain.lines import LineJoiner, Utterance
from agent_sidecar.domain.log import CallLog
from agent_sidecar.domain.outlook import MomentTalk
from agent_sidecar.domain.policy import Moment, is_worth_a_question
from agent_sidecar.domain.record import (
    CallRecord,
    Configuration,
    KeyMoment,
    TranscriptSegment,
)
from agent_sidecar.domain.retell import lead_kind_of, make_record
from agent_sidecar.domain.strategies import StrategyRecogniser
from agent_sidecar.domain.traits import TraitsHeard, shown_by
from agent_sidecar.domain.transfers import Transferring
from agent_sidecar.domain.types import Vector
from agent_sidecar.domain.watch import SILENCE_S, Watch

# a change of the call's score that makes a key moment
KEY_CHANGE = 10.0
# what may still be learnt of a closed call: each makes another version of its record
COMPLETES = (
    ev.LeadKnown,
    ev.LineHeard,
    ev.LineEmbedded,
    ev.TransferProgressed,
    ev.RecordingSaved,
    ev.OutcomePosted,
    ev.TransferJudged,
)


class Call:
    """Everything we know and conclude about one conversation."""

    def __init__(
        self,
        opened: ev.CallOpened,
        reader: Reader,
        weights: Weights = STARTING_WEIGHTS,
        silence_s: float = SILENCE_S,
    ) -> None:
        """`silence_s`: how long somebody may speak without words before they count as lost."""
        heard = TraitsHeard(shown_by(reader.playbook.objections))
        self.log = CallLog(opened=opened, lead=opened.lead, traits=heard)
        self._reader = reader
        self._lines = LineJoiner(opened.at)
        self._watch = Watch(silence_s, self.log.leg_of, may_command=not opened.passive)
        self._phases = reader.phases.follow()
        self._meter = EngagementMeter(weights)
        self._recogniser = StrategyRecogniser(weights.strategies)
        self._outlook = weights.outlook
        self._talk = MomentTalk(weights.outlook.dimension if weights.outlook else 0)
        self._hinting = Hinting(self.log, reader.playbook)
        self._transferring = Transferring(self.log, reader.playbook)

    @property
    def phase(self) -> int:
        """The phase now, 1 to 12."""
        return self._phases.phase

    @property
    def engagement(self) -> float | None:
        """The call's score now; None before the prospect spoke."""
        return self._meter.call

    @property
    def lacks(self) -> tuple[str, ...]:
        """What the call has to do without now: `audio`, `transcript`."""
        return self._watch.lacks

    @property
    def is_closed(self) -> bool:
        """Nothing more can happen in it; the record can be made."""
        return self.log.closed_at is not None

    def receive(self, event: ev.CallEvent) -> Sequence[ev.Effect]:
        """Take one event; return what the call asks for because of it.

        A closed call takes only what completes its record: lead, late lines, the late proof of a
        bridge, recording, outcome, what came of a transfer.
        """
        if self.is_closed and not isinstance(event, COMPLETES):
            return ()
        at = getattr(event, "at", None)
        if at is not None and (self.log.last_at is None or at > self.log.last_at):
            self.log.last_at = at
        return [*self._watched(event), *self._receive(event)]

    def question(self) -> Question:
        """Return what would be asked before the agent's next line, whether or not it is worth it.

        For looking back at recorded calls: nothing is remembered as asked.
        """
        said = self.log.last_turn("prospect")
        objection = next((s.objection for s in reversed(said) if s.objection), None)
        text, raw = (said[-1].text, said[-1].vector) if said else ("", None)
        asked = self._asked(text, as_vector(raw))
        return self._hinting.look(
            asked, phase=self.phase, objection=objection, engagement=self.engagement
        )

    def foresee(self, text: str, vector: Vector) -> Question | None:
        """Return what would be asked if the prospect had said this, at least for its words.

        A look ahead: nothing is taken, and what is asked in the end may be another question.
        """
        meaning = self._reader.read_prospect(text, vector)
        if not is_worth_a_question(meaning):
            return None
        return Question(
            question_id="ahead",
            call_id=self.log.opened.call_id,
            text=text,
            vector=vector,
            phase=self._phases.foresee(self._reader.phases.prospect(vector)),
            objection=meaning.objection,
            lead_kind=lead_kind_of(self.log, self._reader.playbook),
            at=self.log.last_at,
        )

    def unfinished(self) -> Sequence[ev.Embed]:
        """Return what was asked and never answered: what a restart has to ask again."""
        return [ev.Embed(line_id=ln.line_id, text=ln.text) for ln in self._lines.unembedded()]

    def record(self, configuration: Configuration) -> CallRecord:
        """Return the story of the closed call."""
        return make_record(self.log, self._reader.playbook, configuration)

    def _watched(self, event: ev.CallEvent) -> Iterator[ev.Effect]:
        """Notice what the call is not heard by, as long as anything can be done about it."""
        if self.log.hung_up_at is not None or self.is_closed:
            return
        match event:
            case ev.LineHeard():
                yield from self._watch.hear_line(event)
            case ev.SpeechHeard(end_s=end_s):
                at = self.log.opened.at + timedelta(seconds=end_s)
                yield from self._watch.hear_speech(event, at)
            case ev.StreamChanged():
                yield from self._watch.change_stream(event)

    def _receive(self, event: ev.CallEvent) -> Iterator[ev.Effect]:
        match event:
            case ev.LineHeard():
                if event.is_final and self._lines.hear(event):
                    yield ev.Embed(line_id=event.line_id, text=event.text)
            case ev.LineEmbedded():
                self._lines.embed(event)
                yield from self._understand(now_s=self._now_s())
            case ev.SpeechHeard():
                self._lines.hear_speech(event)
                yield from self._understand(now_s=max(event.end_s, self._now_s()))
            case ev.HintsRetrieved():
                yield from self._hinting.answer(event)
            case ev.TransferWanted():
                yield from self._transferring.want(
                    event, engagement=self._meter.call, phase=self.phase
                )
            case ev.TransferProgressed():
                yield from self._on_progress(event)
            case ev.LegLeft():
                yield from self._on_leg_left(event)
            case ev.CallClosed():
                self._close(event)
            case _:
                self._note(event)

    def _note(self, event: ev.CallEvent) -> None:
        """Take an event that asks for nothing; `CallOpened` was taken by `__init__`."""
        log = self.log
        match event:
            case ev.LeadKnown(lead=lead):
                log.lead = lead
            case ev.LegJoined() | ev.LegsBridged():
                self._note_leg(event)
            case ev.MachineAnswered():
                log.machine = True
            case ev.StreamChanged():
                log.frames_lost += event.frames_lost
                log.masked_s += event.masked_s
                log.echo_s += event.echo_s
            case ev.CloserChecked(closer=closer, available=available):
                log.closer, log.closer_now = closer, available
            case ev.HintJudged():
                self._hinting.judge(event)
            case ev.RecordingSaved(url=url, recording_id=recording_id, file=file):
                log.recording = log.recording.saved(url, recording_id, file)
            case ev.OutcomePosted(final_status=status, qualified=qualified):
                log.posted = (status, qualified)
            case ev.TransferJudged():
                self._transferring.judge(event)

    def _note_leg(self, event: ev.LegJoined | ev.LegsBridged) -> None:
        log = self.log
        if isinstance(event, ev.LegsBridged):
            log.voices.bridge(event.at, event.leg_id, event.peer_leg_id)
            return
        log.voices.join(event.leg, event.at, answered=event.answered)
        if event.answered and event.leg.party == "prospect" and log.answered_at is None:
            log.answered_at = event.at

    def _now_s(self) -> float:
        return self.log.seconds(self.log.last_at or self.log.opened.at)

    def _understand(self, *, now_s: float, everything: bool = False) -> Iterator[ev.Effect]:
        for utterance in self._lines.ready(now_s=now_s, everything=everything):
            if utterance.party == "prospect":
                yield from self._on_prospect(utterance)
            else:
                yield self._on_other(utterance)

    def _on_prospect(self, said: Utterance) -> Iterator[ev.Effect]:
        vector = as_vector(said.vector)
        meaning = self._reader.read_prospect(said.text, vector) if said.text else None
        if meaning is not None:
            self._recogniser.hear("prospect", said.text, vector)
            self._phases.hear_prospect(
                self._reader.phases.prospect(vector), objects=meaning.objection is not None
            )
        before = NEUTRAL if self._meter.call is None else self._meter.call
        score = self._meter.score(_words(said, vector, meaning), said.acoustics)
        self.log.progression.append(score.call)
        segment = self._keep(said, meaning, score)
        if meaning is not None:
            self._talk.hear_prospect(said.text, vector, score.value)
        self._note_moments(segment, meaning, score.call - before)
        yield self._published(segment, score)
        if self.log.is_with_agent:
            moment = Moment(
                at_s=said.end_s, phase=self.phase, score=score, before=before, meaning=meaning
            )
            yield from self._propose(moment, said.text, vector)

    def _propose(self, moment: Moment, text: str, vector: Vector | None) -> Iterator[ev.Effect]:
        """Hand the prospect over, or else ask what to try next."""
        started = list(self._transferring.consider(moment))
        yield from started
        if not started:
            yield from self._hinting.consider(moment, self._asked(text, vector))

    def _asked(self, text: str, vector: Vector | None) -> Asked:
        return Asked(
            text=text,
            vector=vector,
            lead_kind=lead_kind_of(self.log, self._reader.playbook),
            outlooks=self._outlook.outlook(self._talk) if self._outlook else {},
        )

    def _on_other(self, said: Utterance) -> ev.Effect:
        meaning = None
        if said.party == "agent" and said.text:
            vector = as_vector(said.vector)
            self._meter.hear_agent(vector)
            self._talk.hear_agent(vector)
            recognised = self._recogniser.hear("agent", said.text, vector)
            meaning = self._reader.read_agent(said.text, vector, recognised)
            if said.strategy is not None:
                meaning = replace(meaning, strategy=said.strategy, strategy_confidence=1.0)
            self._phases.hear_agent(self._reader.phases.agent(said.text, vector), said.end_s)
        return self._published(self._keep(said, meaning, None), None)

    def _keep(
        self, said: Utterance, meaning: Meaning | None, score: EngagementScore | None
    ) -> TranscriptSegment:
        read = meaning or Meaning(sentiment=0.0, questions=0)
        segment = TranscriptSegment(
            index=len(self.log.segments),
            speaker=said.party,
            text=said.text,
            at=said.at,
            start_s=said.start_s,
            end_s=said.end_s,
            confidence=said.confidence,
            sentiment=round(read.sentiment, 4),
            engagement=score.value if score else None,
            call_engagement=self._meter.call,
            phase=self.phase,
            keywords=read.keywords,
            questions=read.questions,
            objection=read.objection,
            strategy=read.strategy,
            strategy_confidence=read.strategy_confidence,
            hint_id=self._hinting.follow(read.strategy, said.at) if read.strategy else None,
            vector=said.vector,
            acoustics=said.acoustics,
        )
        self.log.segments.append(segment)
        self.log.traits.hear(segment)
        return segment

    def _note_moments(
        self, segment: TranscriptSegment, meaning: Meaning | None, change: float
    ) -> None:
        kinds: list[Literal["rise", "drop", "objection", "buying_signal"]] = []
        if meaning is not None:
            self.log.refused = self.log.refused or meaning.is_refusal
            if meaning.objection is not None:
                kinds.append("objection")
            if meaning.buying_signal is not None:
                kinds.append("buying_signal")
        if abs(change) >= KEY_CHANGE:
            kinds.append("rise" if change > 0 else "drop")
        for kind in kinds:
            self.log.moments.append(KeyMoment(at=segment.at, kind=kind, text=segment.text))
        if segment.acoustics is not None:
            self.log.interruptions += segment.acoustics.interruptions

    def _published(
        self, segment: TranscriptSegment, score: EngagementScore | None
    ) -> ev.PublishScore:
        return ev.PublishScore(
            at=segment.at,
            segment=segment.index,
            party=segment.speaker,
            text=segment.text,
            phase=segment.phase,
            phase_name=self._reader.playbook.phase(segment.phase).name,
            sentiment=segment.sentiment,
            objection=segment.objection,
            strategy=segment.strategy,
            engagement=segment.engagement,
            call_engagement=segment.call_engagement,
            parts=score.parts if score else (),
        )

    def _on_progress(self, event: ev.TransferProgressed) -> Iterator[ev.Effect]:
        noted = list(self._transferring.progress(event))
        yield from noted
        if noted and event.step == "bridged":
            self.log.voices.begin_turn(event.at, event.leg_id)
        if noted and event.outcome == "unavailable" and self.log.is_with_agent:
            why = (f"{event.closer or 'The closer'} cannot take the call", event.reason)
            yield from self._hinting.second_best(
                event.at,
                phase=self.phase,
                engagement=self._meter.call,
                why=tuple(reason for reason in why if reason),
            )

    def _on_leg_left(self, event: ev.LegLeft) -> Iterator[ev.Effect]:
        leg = self.log.voices.leave(event.at, event.leg_id)
        if leg is None:
            return
        if leg.party == "closer":
            self._transferring.closer_left(leg.leg_id, event.at)
        elif leg.party == "prospect" and self.log.hung_up_at is None:
            self.log.hung_up_at = event.at
            self.log.hangup_cause, self.log.hangup_source = event.cause, event.source
            yield from self._transferring.cancel("the prospect hung up")
            yield ev.WrapUp(reason="hangup")

    def _close(self, event: ev.CallClosed) -> None:
        # first, so that what is understood late starts nothing
        self.log.closed_at = self.log.hung_up_at or event.at
        self.log.interrupted = event.interrupted
        for _ in self._understand(now_s=self._now_s(), everything=True):
            pass  # nobody is left to be told
        self._transferring.close(self.log.closed_at)


def _words(said: Utterance, vector: Vector | None, meaning: Meaning | None) -> SaidWords | None:
    if meaning is None:
        return None
    return SaidWords(text=said.text, vector=vector, word_count=said.word_count, meaning=meaning)


def as_vector(raw: bytes | None) -> Vector | None:
    """Return kept bytes (float32, little-endian) as a vector."""
    return None if raw is None else np.frombuffer(raw, "<f4")
