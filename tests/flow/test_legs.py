"""Whose leg it is, and whose words come from it."""

import asyncio

import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.types import Lead, LegId, Party, Track
from agent_sidecar.errors import (
    CallEnded,
    CallUnknown,
    CommandRefused,
    LegGone,
    RequestInvalid,
    TokenInvalid,
)
from agent_sidecar.live.live_call import LiveCall
from agent_sidecar.live.requests import AttachRequest
from tests.flow.shell import KEVIN, PROSPECT, Shell, client_state, running, start

AGENT, CLOSER, OTHER = LegId("v3:agent"), LegId("v3:kevin"), LegId("v3:other")
SESSION = "session-1"


def request(**said: object) -> AttachRequest:
    return AttachRequest(**{"lead": Lead(), "agent": "human", **said})  # type: ignore[arg-type]


def roles(call: LiveCall) -> dict[str, str]:
    return {leg.leg_id: leg.party for leg in call.call.log.legs.values()}


def said(call: LiveCall) -> dict[str, str]:
    return {segment.text: segment.speaker for segment in call.call.log.segments}


async def a_human_s_call(shell: Shell, **more: object) -> LiveCall:
    """Attach to the prospect's leg of a call with a human agent, whose session is known."""
    await shell.tell("answered", call_session_id=SESSION)
    await shell.registry.attach(PROSPECT, request(**more))
    return shell.call()


# --- learning whose leg it is ---------------------------------------------------------------------


async def test_an_attach_names_the_other_legs():
    async with running() as shell:
        call = await a_human_s_call(shell, legs={"agent": AGENT, "closer": CLOSER})
        assert roles(call) == {PROSPECT: "prospect", AGENT: "agent", CLOSER: "closer"}
        assert shell.registry.find(AGENT) is call
        assert call.leg_id == PROSPECT


@pytest.mark.parametrize("name", ["call_id", "leg", None])
async def test_a_leg_is_attached_with_its_role(name: str | None):
    async with running() as shell:
        call = await a_human_s_call(shell)
        # without a name, the session that it has told says which call it is
        await shell.tell("initiated", OTHER, call_session_id="another")
        names = {"call_id": call.call_id, "leg": PROSPECT, None: None}
        if name is None:
            await shell.registry.attach(AGENT, request(role="agent", call=call.call_id))
        attached = await shell.registry.attach(AGENT, request(role="agent", call=names[name]))
        assert (attached.call_id, attached.leg_id) == (call.call_id, AGENT)
        assert roles(call)[AGENT] == "agent"
        # its token opens a stream of that leg
        assert shell.registry.admit(attached.token, start(AGENT)).own_party == "agent"
        assert len(shell.registry.live_calls()) == 1


async def test_a_leg_with_a_role_needs_a_call_and_must_not_be_another_s():
    async with running() as shell:
        with pytest.raises(CallUnknown, match="attach the prospect's leg first"):
            await shell.registry.attach(AGENT, request(role="agent"))
        call = await a_human_s_call(shell)
        for role, leg_id in (("agent", PROSPECT), ("closer", PROSPECT)):
            with pytest.raises(RequestInvalid, match="the prospect's"):
                await shell.registry.attach(leg_id, request(role=role, call=call.call_id))
        await shell.registry.attach(AGENT, request(role="agent", call=call.call_id))
        with pytest.raises(RequestInvalid):
            await shell.registry.attach(AGENT, request(role="prospect"))
        # the newest word stands
        await shell.registry.attach(AGENT, request(role="closer", call=call.call_id))
        assert roles(call) == {PROSPECT: "prospect", AGENT: "closer"}


@pytest.mark.parametrize("kind", ["initiated", "answered", "bridged", "line"])
async def test_the_second_leg_of_a_human_s_session_is_his(kind: str):
    async with running() as shell:
        call = await a_human_s_call(shell)
        await shell.tell(kind, AGENT, call_session_id=SESSION, text="hi")  # type: ignore[arg-type]
        assert roles(call) == {PROSPECT: "prospect", AGENT: "agent"}


async def test_the_agent_s_leg_may_have_been_there_before_the_prospect_s():
    async with running() as shell:
        await shell.tell("answered", AGENT, call_session_id=SESSION)
        call = await a_human_s_call(shell)
        assert roles(call) == {PROSPECT: "prospect", AGENT: "agent"}
    async with running() as shell:
        # or it told of itself before the call knew its session
        await shell.registry.attach(PROSPECT, request())
        await shell.tell("answered", AGENT, call_session_id=SESSION)
        assert roles(shell.call()) == {PROSPECT: "prospect"}
        await shell.tell("answered", call_session_id=SESSION)
        assert roles(shell.call()) == {PROSPECT: "prospect", AGENT: "agent"}


async def test_a_bridge_names_the_agent_s_leg():
    async with running() as shell:
        await shell.registry.attach(PROSPECT, request())
        await shell.tell("bridged", peer_leg_id=AGENT)
        await shell.tell("bridged", peer_leg_id=AGENT)
        assert roles(shell.call()) == {PROSPECT: "prospect", AGENT: "agent"}
    async with running() as shell:
        await shell.registry.attach(PROSPECT, request())
        await shell.tell("bridged", AGENT, peer_leg_id=PROSPECT)
        assert roles(shell.call()) == {PROSPECT: "prospect", AGENT: "agent"}


@pytest.mark.parametrize(
    ("state", "role"), [("sidecar:agent", "agent"), ("sidecar:closer", "closer")]
)
async def test_whoever_dials_a_leg_may_say_whose_it_is(state: str, role: str):
    async with running() as shell:
        await shell.tell("answered", call_session_id=SESSION)
        call = await shell.attach()
        assert call.call.log.opened.agent == "assistant"
        await shell.tell(
            "initiated", OTHER, call_session_id=SESSION, client_state=f"sidecar:{role}"
        )
        assert roles(call)[OTHER] == role


async def test_the_closer_is_known_by_his_number():
    async with running() as shell:
        call = await a_human_s_call(shell)
        await shell.tell("initiated", CLOSER, call_session_id=SESSION, to=KEVIN.number)
        await shell.tell("answered", AGENT, call_session_id=SESSION)
        assert roles(call) == {PROSPECT: "prospect", CLOSER: "closer", AGENT: "agent"}


async def test_nobody_guesses_whose_another_leg_is():
    async with running() as shell:
        await shell.tell("answered", call_session_id=SESSION)
        call = await shell.attach()
        # an assistant has no leg of its own
        await shell.tell("answered", OTHER, call_session_id=SESSION)
        await shell.tell("bridged", peer_leg_id=LegId("v3:somebody"))
        assert roles(call) == {PROSPECT: "prospect"}
    async with running() as shell:
        call = await a_human_s_call(shell, legs={"agent": AGENT})
        # a human has one
        await shell.tell("answered", OTHER, call_session_id=SESSION)
        await shell.tell("hangup", OTHER, call_session_id=SESSION)
        assert OTHER not in roles(call)


async def test_the_closer_s_leg_that_nobody_knows_yet_is_not_taken_for_the_agent_s():
    async with running() as shell:
        call = await a_human_s_call(shell)
        assert shell.control is not None
        shell.control.answers_after_s = 1.0
        await shell.want_transfer(call)
        await asyncio.sleep(0.5)
        await shell.tell("initiated", OTHER, call_session_id=SESSION)
        await shell.tell("initiated", CLOSER, client_state=client_state("x:t1"))
        assert roles(call) == {PROSPECT: "prospect"}


async def test_an_agent_s_leg_is_not_attached_as_a_call_of_its_own():
    async with running(Shell(auto_attach=True)) as shell:
        await shell.tell("answered", AGENT, call_session_id=SESSION, client_state="sidecar:agent")
        await asyncio.sleep(1)
        assert shell.registry.live_calls() == []
        await shell.tell("answered", call_session_id=SESSION, client_state="sidecar:prospect")
        await asyncio.sleep(1)
        assert roles(shell.call()) == {PROSPECT: "prospect", AGENT: "agent"}


@pytest.mark.parametrize("legs", [{"agent": PROSPECT}, {"agent": OTHER}, {"closer": AGENT}])
async def test_an_attach_with_wrong_legs_opens_no_call(legs: dict[Party, LegId]):
    async with running() as shell:
        await shell.registry.attach(OTHER, request(legs={"agent": AGENT}))
        with pytest.raises(RequestInvalid) as refused:
            await shell.registry.attach(PROSPECT, request(legs=legs))
        assert refused.value.field == f"legs.{next(iter(legs))}"
        assert [call.leg_id for call in shell.registry.live_calls()] == [OTHER]
        assert shell.control is not None
        assert {command.leg_id for command in shell.control.commands} == {OTHER}


# --- by its media stream --------------------------------------------------------------------------


async def test_the_stream_of_a_human_s_own_leg_joins_the_call_of_its_session():
    async with running() as shell:
        attached = None
        await shell.tell("answered", call_session_id=SESSION)
        attached = await shell.registry.attach(PROSPECT, request())
        stream = shell.registry.admit(attached.token, start(AGENT, call_session_id=SESSION))
        assert stream.own_party == "agent"
        assert roles(shell.call()) == {PROSPECT: "prospect", AGENT: "agent"}
        # a second one is nobody's, and another session is another call
        for leg_id, session in ((OTHER, SESSION), (LegId("v3:x"), "another")):
            with pytest.raises(TokenInvalid):
                shell.registry.admit(attached.token, start(leg_id, call_session_id=session))


async def test_who_has_no_right_to_a_stream_changes_nothing_of_the_call():
    async with running() as shell:
        call = await a_human_s_call(shell)
        expired = shell.registry.new_stream(request(role="agent", call=call.call_id)).token
        shell.clock.advance(3601)
        before = list(shell.journal.events(call.call_id))
        for token in ("bogus", expired):
            with pytest.raises(TokenInvalid):
                shell.registry.admit(token, start(OTHER, call_session_id=SESSION))
        assert roles(call) == {PROSPECT: "prospect"}
        assert list(shell.journal.events(call.call_id)) == before
        # so that his own leg still finds its call
        await shell.tell("answered", AGENT, call_session_id=SESSION)
        assert roles(call) == {PROSPECT: "prospect", AGENT: "agent"}


async def test_a_granted_token_says_whose_leg_its_stream_is_of():
    async with running() as shell:
        early = shell.registry.new_stream(request(role="agent"))
        with pytest.raises(TokenInvalid, match="not known here yet"):
            shell.registry.admit(early.token, start(AGENT, call_session_id=SESSION))
        call = await a_human_s_call(shell, agent="external")
        assert (
            shell.registry.admit(early.token, start(AGENT, call_session_id=SESSION)).own_party
            == "agent"
        )
        named = shell.registry.new_stream(request(role="closer", call=call.call_id))
        assert shell.registry.admit(named.token, start(CLOSER)).own_party == "closer"
        assert len(shell.registry.live_calls()) == 1


async def test_a_leg_without_its_session_learns_it_from_nowhere_else_than_its_own_events():
    async with running() as shell:
        grant = shell.registry.new_stream(request())
        shell.registry.admit(grant.token, start(call_session_id=SESSION))
        assert shell.call().call.log.legs[PROSPECT].call_session_id == SESSION


# --- whose words ----------------------------------------------------------------------------------

LINES: list[tuple[LegId, Track | None, Party | None]] = [
    (PROSPECT, "inbound", "prospect"),
    (PROSPECT, "outbound", "agent"),
    (PROSPECT, None, None),
    (AGENT, "inbound", "agent"),
    (AGENT, "outbound", "prospect"),
    (AGENT, None, "agent"),
    (CLOSER, "inbound", None),
    (OTHER, "inbound", None),
]


@pytest.mark.parametrize(("leg_id", "track", "speaker"), LINES)
async def test_who_speaks_is_known_by_leg_and_track_or_not_at_all(
    leg_id: LegId, track: Track | None, speaker: str | None
):
    async with running(Shell(untracked=None)) as shell:
        call = await a_human_s_call(shell, legs={"agent": AGENT, "closer": CLOSER})
        with capture_logs() as logs:
            for number in range(2):
                await shell.tell("line", leg_id, text=f"well well {number}", track=track)
                await asyncio.sleep(10)
        told = [entry for entry in logs if entry["event"] == "line_unattributed"]
        lines = [e for e in shell.journal.events(call.call_id) if isinstance(e, ev.LineHeard)]
        # whatever it is, it stays in the journal
        assert len([w for w in shell.journal.webhooks if w.event_type == "call.line"]) == 2
        assert [line.party for line in lines] == ([speaker] * 2 if speaker else [])
        assert len(told) == (0 if speaker else 1)
        if speaker is None:
            assert shell.counted("lines_unattributed", told[0]["reason"]) == 2


@pytest.mark.parametrize(("untracked", "speaker"), [("inbound", "prospect"), ("outbound", "agent")])
async def test_the_settings_say_whose_words_a_transcription_without_tracks_has(
    untracked: Track, speaker: str
):
    async with running(Shell(untracked=untracked)) as shell:
        call = await shell.attach()
        await shell.tell("line", text="well", track=None)
        await asyncio.sleep(1)
        assert said(call) == {"well": speaker}


async def test_both_legs_transcribed_each_line_is_there_once():
    async with running() as shell:
        call = await a_human_s_call(shell, legs={"agent": AGENT})
        both = (
            (PROSPECT, "inbound", "how much would that cost me then"),
            (AGENT, "outbound", "how much would that cost me"),
            (PROSPECT, "outbound", "let me show you the numbers first"),
            (AGENT, "inbound", "let me show you the numbers first"),
        )
        for leg_id, track, text in both:
            await shell.tell("line", leg_id, text=text, track=track)
            await asyncio.sleep(0.4)
        await asyncio.sleep(1)
        assert said(call) == {both[0][2]: "prospect", both[2][2]: "agent"}


async def test_after_the_user_s_own_bridge_the_closer_s_words_are_his_until_he_leaves():
    async with running() as shell:
        call = await a_human_s_call(shell, legs={"agent": AGENT, "closer": CLOSER})
        for leg_id, track, text in (
            (CLOSER, "inbound", "who is it"),
            (PROSPECT, "outbound", "I will connect you now"),
        ):
            await shell.tell("line", leg_id, text=text, track=track)
        await asyncio.sleep(1)
        await shell.tell("bridged", CLOSER)
        await shell.tell("bridged", PROSPECT)
        for leg_id, track, text in (
            (PROSPECT, "outbound", "hello, Kevin here"),
            (CLOSER, "inbound", "I hear you want to start"),
            (CLOSER, "outbound", "yes I do"),
            (AGENT, "outbound", "la la la"),
        ):
            await asyncio.sleep(1)
            await shell.tell("line", leg_id, text=text, track=track)
        await shell.tell("hangup", CLOSER)
        await asyncio.sleep(1)
        await shell.tell("line", text="so, all settled?", track="outbound")
        await asyncio.sleep(1)
        assert said(call) == {
            "I will connect you now": "agent",
            "hello, Kevin here": "closer",
            "I hear you want to start": "closer",
            "yes I do": "prospect",
            "so, all settled?": "agent",
        }
        closer = [s for s in call.call.log.segments if s.speaker == "closer"]
        assert [(s.engagement, s.strategy, s.hint_id) for s in closer] == [(None, None, None)] * 2


async def test_with_a_transcription_of_one_voice_the_agent_s_leg_is_transcribed_too():
    async with running(Shell(transcribes_each_leg=True)) as shell:
        call = await a_human_s_call(shell)
        assert shell.control is not None
        attached = await shell.registry.attach(AGENT, request(role="agent", call=call.call_id))
        assert (attached.transcribing, attached.streaming) == (True, False)
        legs = [command.leg_id for command in shell.control.sent("start_transcription")]
        assert legs == [PROSPECT, AGENT]
        shell.control.refuses["start_transcription"] = CommandRefused("no")
        attached = await shell.registry.attach(AGENT, request(role="agent", call=call.call_id))
        assert attached.problems == ("transcription_start was refused: no",)
        shell.control.refuses["start_transcription"] = LegGone("gone", has_ended=True)
        with pytest.raises(CallEnded):
            await shell.registry.attach(AGENT, request(role="agent", call=call.call_id))
        assert call.call.log.leg_of("agent") is None


async def test_an_agent_s_leg_that_is_learnt_is_transcribed_too_where_that_is_needed():
    async with running(Shell(transcribes_each_leg=True)) as shell:
        await a_human_s_call(shell)
        await shell.tell("initiated", AGENT, call_session_id=SESSION)
        await shell.tell("answered", AGENT, call_session_id=SESSION)
        await shell.tell("answered", AGENT, call_session_id=SESSION)
        await asyncio.sleep(1)
        assert shell.control is not None
        legs = [command.leg_id for command in shell.control.sent("start_transcription")]
        assert legs == [PROSPECT, AGENT]


async def test_an_agent_s_leg_that_was_there_first_is_transcribed_too_where_that_is_needed():
    async def by_attach(shell: Shell) -> None:
        await a_human_s_call(shell, legs={"agent": AGENT})
        await shell.tell("answered", AGENT, call_session_id=SESSION)

    async def by_session(shell: Shell) -> None:
        await shell.tell("answered", AGENT, call_session_id=SESSION)
        await a_human_s_call(shell)

    async def by_stream(shell: Shell) -> None:
        call = await a_human_s_call(shell)
        token = shell.registry.new_stream(request(role="agent", call=call.call_id)).token
        shell.registry.admit(token, start(AGENT))

    for come in (by_attach, by_session, by_stream):
        async with running(Shell(transcribes_each_leg=True)) as shell:
            await come(shell)
            await asyncio.sleep(1)
            assert shell.control is not None
            legs = [command.leg_id for command in shell.control.sent("start_transcription")]
            assert sorted(legs) == [AGENT, PROSPECT]
            await shell.registry.detach(PROSPECT)
            stopped = [command.leg_id for command in shell.control.sent("stop_transcription")]
            assert stopped == [PROSPECT, AGENT]
            assert [c.leg_id for c in shell.control.sent("stop_stream")] == [PROSPECT]


async def test_an_agent_s_leg_that_still_rang_is_transcribed_once_it_is_answered():
    async with running(Shell(transcribes_each_leg=True)) as shell:
        assert shell.control is not None
        call = await a_human_s_call(shell)
        shell.control.refuses["start_transcription"] = CommandRefused("not answered yet")
        await shell.registry.attach(AGENT, request(role="agent", call=call.call_id))
        del shell.control.refuses["start_transcription"]
        await asyncio.sleep(1)
        tried = len(shell.control.sent("start_transcription"))
        for _ in range(2):
            await shell.tell("answered", AGENT, call_session_id=SESSION)
            await asyncio.sleep(1)
        assert len(shell.control.sent("start_transcription")) == tried + 1


async def test_a_passive_call_s_agent_is_not_commanded():
    async with running(Shell(transcribes_each_leg=True)) as shell:
        await a_human_s_call(shell, legs={"agent": AGENT}, passive=True)
        await asyncio.sleep(1)
        await shell.registry.detach(PROSPECT)
        assert shell.control is not None
        assert shell.control.commands == []
