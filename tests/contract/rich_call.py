"""Two calls as their events tell them: one in which everything happens, one in which nothing does.

Unlike the records of `tests.builders` these are made by the domain: a field that stays empty in
them is one that nothing fills.
"""

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.hints import Candidate, Evidence, Retrieved
from agent_sidecar.domain.playbook import Closer
from agent_sidecar.domain.record import Acoustics, CallRecord
from agent_sidecar.domain.transfer_result import TransferResult
from agent_sidecar.domain.types import (
    CallId,
    HintId,
    Lead,
    Leg,
    LegId,
    Party,
    StrategyName,
    TransferId,
    Vector,
)
from tests.builders import rich_lead
from tests.domain.playbooks import (
    BOOK,
    NOTHING,
    REFRAME,
    STORY,
    VIDEO,
    a_playbook,
    at,
    like,
)
from tests.domain.talk import CLOSER, CONFIGURATION, PROSPECT, WARM, Talk

RICH_CALL, STRANGER = CallId("c1"), CallId("c2")
AGENT = LegId("leg:agent")
FIRST_TRANSFER = TransferId("c1:t1")
PLAYBOOK = a_playbook(closers=(Closer(name="Kevin", number="+12125550100"),))
SAID_OF_IT = TransferResult(
    posted_at=at(9000), rating=9, conversion="followup", notes="wants the numbers by mail first"
)


def rich_call(lead: Lead | None = None) -> CallRecord:
    """Return a call that was handed to the closer, and then said to need another one.

    A hot transfer has no next contact, so the outcome that a person posts is a follow-up: the one
    kind of call that can have both a proven bridge and an agreed time.
    """
    talk = Talk(
        PLAYBOOK,
        call_id=RICH_CALL,
        agent="human",
        external_id="file-7",
        lead=lead or rich_lead(),
    )
    _begin(talk)
    _object_and_be_answered(talk)
    _agree_on_a_time(talk)
    _go_over_to_the_closer(talk)
    talk.close(290)
    talk.feed(
        ev.RecordingSaved(
            at=at(300),
            url="https://recordings.example.com/7.mp3",
            recording_id="rec-7",
            file="recordings/c1.mp3",
        )
    )
    talk.feed(ev.OutcomePosted(at=at(8000), final_status="follow_up"))
    talk.feed(ev.TransferJudged(transfer_id=FIRST_TRANSFER, result=SAID_OF_IT))
    return talk.call.record(CONFIGURATION)


def hang_up_at_once() -> CallRecord:
    """Return the call of a withheld number that was answered and hung up without a word."""
    talk = Talk(PLAYBOOK, call_id=STRANGER, lead=Lead(phone="anonymous"))
    talk.join(LegId("leg:stranger"))
    talk.leave(1, LegId("leg:stranger"), source="callee")
    return talk.close(3)


def _begin(talk: Talk) -> None:
    for leg_id, party, at_s in ((PROSPECT, "prospect", 2.0), (AGENT, "agent", 2.5)):
        leg = Leg(
            leg_id=leg_id,
            party="prospect" if party == "prospect" else "agent",
            call_leg_id=f"{leg_id}:1",
            call_session_id="session-7",
        )
        talk.feed(ev.LegJoined(at=at(at_s), leg=leg, answered=True))
    talk.feed(ev.CloserChecked(at=at(3), closer="Kevin", available=True))
    talk.feed(ev.StreamChanged(at=at(3), kind="started", frames_lost=2, masked_s=1.5, echo_s=0.25))
    _say(talk, "agent", "Good morning, may I ask what you do for a living?", 5, like("cue 1"))
    _say(talk, "prospect", "I sell used cars online, and I want passive income soon.", 12)


def _object_and_be_answered(talk: Talk) -> None:
    hated = "Passive income, but that is too expensive, it is terrible and I hate the website."
    _say(talk, "prospect", hated, 20)
    _answer(talk, 21, REFRAME)
    _say(talk, "agent", "Let me put it in another way for you.", 26, like("say reframe"))
    _say(talk, "prospect", f"Oh, {WARM}! I want passive income, please, as soon as possible.", 34)
    _answer(talk, 35, STORY)
    talk.feed(ev.HintJudged(hint_id=HintId("c1:h2"), at=at(40), action="dismissed"))
    _say(talk, "agent", "We are in phase five now.", 42, like("cue 5"))
    _say(talk, "prospect", "How does it work? Thank you.", 50)
    _answer(talk, 51, BOOK)
    _say(talk, "prospect", "And how long does it take?", 58)
    _say(talk, "agent", "Let us move on.", 64, like("cue 10"))
    doubted = "But certainly: is it real? I doubt it, prove it, this is awful, I hate such a scam."
    _say(talk, "prospect", doubted, 72, like("is it real"))
    _answer(talk, 73, VIDEO)


def _agree_on_a_time(talk: Talk) -> None:
    _say(talk, "agent", "When can we talk again?", 90)
    _say(talk, "prospect", "Call me back on Thursday at three, with the computer on, great!", 96)


def _go_over_to_the_closer(talk: Talk) -> None:
    talk.want(100)
    leg = Leg(leg_id=CLOSER, party="closer", call_leg_id="leg:closer:1", call_session_id="s-7")
    for step, at_s in (("leased", 100), ("dialing", 101), ("ringing", 103)):
        talk.step(step, at_s, reason="he is free")  # type: ignore[arg-type]
    talk.feed(ev.LegJoined(at=at(108), leg=leg, answered=True))
    for step, at_s in (("answered", 108), ("detected", 109), ("accepted", 112), ("bridging", 113)):
        talk.step(step, at_s, reason="human")  # type: ignore[arg-type]
    talk.step("bridged", 114)
    _say(talk, "closer", "Hi, this is Kevin.", 116)
    talk.leave(280, CLOSER)
    talk.step("ended", 281, "bridged")
    talk.leave(285, source="callee")


def _say(talk: Talk, party: Party, text: str, at_s: float, vector: Vector = NOTHING) -> None:
    """Say it aloud: four seconds of speech, its line, and the line's vector."""
    sound = Acoustics(
        tonal_shift_st=1.2,
        pace_wpm=155.0,
        pause_s=3.1,
        volume_dbfs=-24.0,
        response_latency_s=3.0,
        overtalk_s=0.4,
        interruptions=1,
        talk_s=4.0,
    )
    heard = ev.SpeechHeard(party=party, start_s=at_s - 4, end_s=at_s, acoustics=sound)
    talk.feed(heard)
    line = ev.LineHeard(
        line_id=f"l{at_s}", at=at(at_s), party=party, text=text, is_final=True, confidence=0.93
    )
    talk.feed(line)
    talk.embed(line.line_id, vector)


def _answer(talk: Talk, at_s: float, strategy: StrategyName) -> None:
    """Answer what the last line asked of the stores; the hint is shown."""
    question = talk.of(ev.AskForHints)[-1].question
    worked = Evidence(strategy=strategy, scope="phase:1", tried=40, lifted=36, won=20, sunk=4)
    found = Candidate(strategy=strategy, closeness=0.9, origin="playbook")
    shown = talk.feed(
        ev.HintsRetrieved(
            question_id=question.question_id,
            at=at(at_s),
            retrieved=Retrieved(candidates=(found,), evidence=(worked,), degraded=("neo4j",)),
            latency_ms=41.5,
        )
    )
    assert any(isinstance(effect, ev.PublishHint) for effect in shown), strategy
