import asyncio
from datetime import timedelta

import numpy as np
import pytest
from structlog.testing import capture_logs

from agent_sidecar.domain import events as ev
from agent_sidecar.domain.media import MediaFormat, MediaFrame
from agent_sidecar.domain.types import Lead, Leg, LegId, Track
from agent_sidecar.errors import TokenInvalid
from agent_sidecar.live.media_stream import MediaStream
from agent_sidecar.live.requests import AttachRequest
from agent_sidecar.live.tokens import key_of
from tests.domain.playbooks import REFRAME
from tests.domain.sounds import noise, ulaw, voice
from tests.flow.shell import CLOSER, CODECS, PRICE, PROSPECT, Shell, running, start
from tests.voiced import voiced

FRAME_S = 0.02
SPEEX = MediaFormat(encoding="SPEEX", sample_rate_hz=16_000)
QUIET = b"\xff" * 160


def loud(seconds: float) -> bytes:
    """Return mu-law that a voice detector takes for a voice."""
    return ulaw(voiced(seconds))


def play(
    stream: MediaStream, track: Track, speech_s: float, *, first: int = 1, lost: int = 0
) -> int:
    """Play speech and then silence to one track; return the next chunk."""
    voice = loud(speech_s)
    payloads = [voice[n : n + 160] for n in range(0, len(voice), 160)] + [QUIET] * 100
    chunk = first
    for place, payload in enumerate(payloads):
        if not 10 <= place < 10 + lost:
            stream.receive(MediaFrame(track=track, chunk=chunk, payload=payload))
        chunk += 1
    return chunk


def speech(shell: Shell, name: str) -> list[ev.SpeechHeard]:
    return [e for e in shell.journal.events(name) if isinstance(e, ev.SpeechHeard)]


def changes(shell: Shell, name: str) -> list[tuple[str, str]]:
    return [
        (e.kind, e.reason) for e in shell.journal.events(name) if isinstance(e, ev.StreamChanged)
    ]


async def a_stream(shell: Shell, media_format: MediaFormat | None = None) -> MediaStream:
    """Attach to the prospect's leg and let its stream in."""
    attached = await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
    first = start() if media_format is None else start(media_format=media_format)
    return shell.registry.admit(attached.token, first)


async def test_a_codec_without_a_decoder_is_refused_while_text_goes_on():
    async with running() as shell:
        stream = await a_stream(shell, SPEEX)
        stream.receive(MediaFrame(track="inbound", chunk=1, payload=b"x"))
        stream.stopped("stopped")
        call = shell.call()
        await call.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        ((kind, reason),) = changes(shell, call.call_id)
        assert kind == "refused"
        assert "SPEEX" in reason
        assert "16000 Hz" in reason
        assert "stream_codec PCMU" in reason
        assert stream.refusal == reason
        assert [m["strategy"] for m in shell.publisher.of_type("hint")] == [REFRAME]


async def test_both_voices_are_heard_each_as_its_own():
    async with running() as shell:
        stream = await a_stream(shell)
        play(stream, "inbound", 2.0)
        play(stream, "outbound", 1.0)
        await asyncio.sleep(1)
        assert {s.party for s in speech(shell, shell.call().call_id)} == {"prospect", "agent"}


async def test_a_stream_begins_where_the_call_is():
    async with running() as shell:
        attached = await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        await asyncio.sleep(42)
        stream = shell.registry.admit(attached.token, start())
        play(stream, "inbound", 2.0)
        await asyncio.sleep(1)
        (heard,) = speech(shell, shell.call().call_id)
        assert heard.start_s == pytest.approx(42.0, abs=0.3)


async def test_a_newer_stream_takes_over_and_the_old_one_hears_nothing_more():
    async with running() as shell:
        attached = await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        old = shell.registry.admit(attached.token, start())
        new = shell.registry.admit(attached.token, start())
        assert old.superseded.is_set()
        assert not new.superseded.is_set()
        play(old, "inbound", 2.0)
        old.stopped("socket closed")
        await asyncio.sleep(1)
        call_id = shell.call().call_id
        assert speech(shell, call_id) == []
        assert changes(shell, call_id) == [
            ("started", ""),
            ("stopped", "a newer stream took over"),
            ("started", ""),
        ]
        play(new, "inbound", 2.0)
        await asyncio.sleep(1)
        assert len(speech(shell, call_id)) == 1


async def test_a_stopped_stream_may_come_back_with_the_same_token():
    async with running() as shell:
        attached = await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        first = shell.registry.admit(attached.token, start())
        play(first, "inbound", 1.0)
        first.stopped("stopped")
        await asyncio.sleep(30)
        second = shell.registry.admit(attached.token, start())
        play(second, "inbound", 1.0)
        second.stopped("stopped")
        await asyncio.sleep(1)
        one, two = speech(shell, shell.call().call_id)
        assert [one.start_s, two.start_s] == pytest.approx([0, 30], abs=0.3)


async def test_frames_that_never_came_reach_the_record_from_every_stream():
    async with running() as shell:
        attached = await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        first = shell.registry.admit(attached.token, start())
        play(first, "inbound", 2.0, lost=3)
        first.stopped("stopped")
        # still open when the call ends
        second = shell.registry.admit(attached.token, start())
        play(second, "inbound", 2.0, lost=4)
        call = shell.call()
        await shell.tell("hangup")
        await call.recorded.wait()
        record = await shell.record(call.call_id)
        assert record.frames_lost == 7
        assert second.superseded.is_set()
        second.stopped("socket closed")
        assert await shell.version(call.call_id) == 1


async def test_a_line_finds_the_sound_of_its_words_however_soon_it_comes():
    async with running() as shell:
        stream = await a_stream(shell)
        voice = loud(2.0)
        for place in range(len(voice) // 160):
            payload = voice[place * 160 : (place + 1) * 160]
            stream.receive(MediaFrame(track="inbound", chunk=place + 1, payload=payload))
        call = shell.call()
        await asyncio.sleep(2)
        # no silence has ended its speech yet
        await call.feed(shell.line(PRICE))
        await asyncio.sleep(1)
        (segment,) = call.call.log.segments
        assert segment.acoustics is not None
        assert segment.acoustics.talk_s == pytest.approx(2.0, abs=0.3)


async def test_a_word_between_does_not_cut_what_the_other_is_saying():
    async with running() as shell:
        stream = await a_stream(shell)
        call = shell.call()
        coded = loud(5.0)
        answer = [coded[at : at + 160] for at in range(0, len(coded), 160)]
        for chunk, payload in enumerate(answer[:150], 1):
            stream.receive(MediaFrame(track="inbound", chunk=chunk, payload=payload))
        play(stream, "outbound", 0.5)
        await asyncio.sleep(3)
        await shell.tell("line", text="right", track="outbound")
        assert [s.party for s in speech(shell, call.call_id)] == ["agent"]
        for chunk, payload in enumerate(answer[150:], 151):
            stream.receive(MediaFrame(track="inbound", chunk=chunk, payload=payload))
        await asyncio.sleep(2)
        await shell.tell("line", text=PRICE, track="inbound")
        await asyncio.sleep(1)
        (said,) = [s for s in speech(shell, call.call_id) if s.party == "prospect"]
        assert said.end_s - said.start_s == pytest.approx(5.0, abs=0.3)


async def test_what_is_usual_for_a_voice_does_not_begin_anew_with_a_socket():
    async with running() as shell:
        attached = await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        for pitch_hz in (120.0, 160.0):
            stream = shell.registry.admit(attached.token, start())
            said = ulaw(np.concatenate([voice(1.0, pitch_hz=pitch_hz), noise(1.0)]))
            for chunk, at in enumerate(range(0, len(said), 160)):
                stream.receive(
                    MediaFrame(track="inbound", chunk=chunk, payload=said[at : at + 160])
                )
            stream.stopped("stopped")
            await asyncio.sleep(10)
        one, two = (s.acoustics for s in speech(shell, shell.call().call_id))
        assert one.tonal_shift_st == 0.0
        assert two.tonal_shift_st == pytest.approx(5.0, abs=0.3)
        assert two.pause_s == pytest.approx(9.0, abs=0.3)


async def test_frames_that_came_late_twice_or_never_are_counted():
    async with running() as shell:
        stream = await a_stream(shell)
        play(stream, "inbound", 1.0, lost=3)
        # long passed
        stream.receive(MediaFrame(track="inbound", chunk=11, payload=QUIET))
        # waiting
        for _ in range(2):
            stream.receive(MediaFrame(track="inbound", chunk=152, payload=QUIET))
        stream.stopped("stopped")
        stream.stopped("socket closed")
        for fault, frames in (("lost", 4), ("late", 1), ("repeated", 1)):
            assert shell.counted("media_frames_faulty", fault) == frames
        assert shell.counted("media_frames_faulty", "garbled") == 0


async def test_speech_that_is_open_at_the_end_is_in_the_record():
    async with running() as shell:
        stream = await a_stream(shell)
        voice = loud(2.0)
        for chunk, at in enumerate(range(0, len(voice), 160)):
            stream.receive(MediaFrame(track="inbound", chunk=chunk, payload=voice[at : at + 160]))
        call = shell.call()
        await shell.tell("hangup")
        await call.recorded.wait()
        (segment,) = (await shell.record(call.call_id)).segments
        assert segment.acoustics is not None


async def test_the_other_voice_is_the_closer_s_from_the_bridge_to_his_hangup():
    async with running() as shell:
        stream = await a_stream(shell)
        call = shell.call()
        call.feed(ev.TransferWanted(at=call.now(), by="Ann"))
        call.feed(
            ev.LegJoined(at=call.now(), leg=Leg(leg_id=CLOSER, party="closer"), answered=True)
        )
        (transfer_id,) = call.call.log.transfers

        async def who_is_heard(first: int) -> tuple[str, str]:
            play(stream, "outbound", 1.0, first=first)
            await asyncio.sleep(3)
            await call.feed(shell.line(f"line {first}", call.other))
            return speech(shell, call.call_id)[-1].party, call.other

        # somebody else bridges the prospect: that is no closer
        await shell.tell("bridged")
        assert await who_is_heard(1) == ("agent", "agent")
        call.feed(
            ev.TransferProgressed(
                transfer_id=transfer_id,
                at=call.now(),
                step="bridged",
                closer="Kevin",
                leg_id=CLOSER,
            )
        )
        assert await who_is_heard(151) == ("closer", "closer")
        late = shell.registry.admit(attached_token(shell), start())
        play(late, "outbound", 1.0)
        await asyncio.sleep(3)
        assert speech(shell, call.call_id)[-1].party == "closer"
        await shell.tell("line", text="hi, Kevin here", track="outbound")
        await shell.tell("hangup", CLOSER)
        assert call.other == "agent"
        play(late, "outbound", 1.0, first=151)
        await asyncio.sleep(3)
        await shell.tell("line", text="so, how was it?", track="outbound")
        await asyncio.sleep(1)
        assert speech(shell, call.call_id)[-1].party == "agent"
        said = {s.text: s.speaker for s in call.call.log.segments}
        assert said["hi, Kevin here"] == "closer"
        assert said["so, how was it?"] == "agent"


def attached_token(shell: Shell) -> str:
    """Return a token that opens another stream of the prospect's call."""
    shell.registry._tokens.grant(
        key_of("again"), now=shell.clock.now(), request=None, call_id=shell.call().call_id
    )
    return "again"


async def test_a_stream_on_the_agent_s_leg_hears_the_agent_on_it():
    async with running() as shell:
        call = await shell.attach()
        agent = LegId("v3:agent")
        call.feed(ev.LegJoined(at=call.now(), leg=Leg(leg_id=agent, party="agent"), answered=True))
        stream = MediaStream(call, start(agent), CODECS.open)
        call.streams.take(agent, stream)
        call.feed(ev.LegLeft(at=call.now(), leg_id=LegId("nobody's")))
        play(stream, "inbound", 1.0)
        play(stream, "outbound", 1.0)
        await asyncio.sleep(1)
        assert [s.party for s in speech(shell, call.call_id)] == ["agent", "prospect"]


# --- tokens -------------------------------------------------------------------------------------


async def test_a_token_opens_one_call_only():
    async with running() as shell:
        one = await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        await shell.registry.attach(CLOSER, AttachRequest(lead=Lead(), agent=None))
        for leg_id in (CLOSER, LegId("v3:nobody")):
            with pytest.raises(TokenInvalid, match="attach first"):
                shell.registry.admit(one.token, start(leg_id))
        assert shell.registry.admit(one.token, start()) is shell.call().streams.of(PROSPECT)


async def test_a_granted_token_is_bound_by_the_call_that_uses_it_first():
    async with running() as shell:
        grant = shell.registry.new_stream(AttachRequest(lead=Lead(email="a@b.c"), agent="human"))
        assert grant.stream_url.endswith(f"?token={grant.token}")
        shell.registry.admit(grant.token, start(from_="+12125550199", to="+12125550142"))
        opened = shell.call().call.log.opened
        assert (opened.agent, opened.lead.phone) == ("human", "+12125550142")
        assert (opened.lead.email, opened.our_number) == ("a@b.c", "+12125550199")
        shell.registry.admit(grant.token, start())
        with pytest.raises(TokenInvalid):
            shell.registry.admit(grant.token, start(CLOSER))


async def test_a_token_may_come_in_the_stream_s_own_parameters():
    async with running() as shell:
        grant = shell.registry.new_stream(AttachRequest(lead=Lead(), agent=None))
        shell.registry.admit(None, start(custom_parameters={"token": grant.token}))


@pytest.mark.parametrize("token", ["unknown", "", None])
async def test_without_a_token_that_we_made_nobody_comes_in(token: str | None):
    async with running() as shell:
        await shell.attach()
        with pytest.raises(TokenInvalid):
            shell.registry.admit(token, start())


async def test_a_token_that_nobody_used_for_an_hour_opens_nothing():
    async with running() as shell:
        grant = shell.registry.new_stream(AttachRequest(lead=Lead(), agent=None))
        await asyncio.sleep(3601)
        with pytest.raises(TokenInvalid):
            shell.registry.admit(grant.token, start())


async def test_a_token_in_use_lasts_as_long_as_its_call():
    async with running() as shell:
        grant = shell.registry.new_stream(AttachRequest(lead=Lead(), agent=None))
        shell.registry.admit(grant.token, start()).stopped("stopped")
        await asyncio.sleep(4 * 3600)
        shell.registry.admit(grant.token, start())
        call = shell.call()
        await shell.tell("hangup")
        await call.recorded.wait()
        with pytest.raises(TokenInvalid):
            shell.registry.admit(grant.token, start())


async def test_only_hashes_of_tokens_are_kept():
    async with running() as shell:
        attached = await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        grant = shell.registry.new_stream(AttachRequest(lead=Lead(), agent=None))
        await asyncio.sleep(1)
        kept = repr(shell.journal.events(shell.call().call_id)) + repr(
            shell.registry._tokens._grants
        )
        assert attached.token not in kept
        assert grant.token not in kept


async def test_a_token_opens_its_stream_after_a_restart_too():
    async with running() as shell:
        attached = await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        await asyncio.sleep(1)
        (left,) = await shell.journal.open_calls()
    async with running() as shell:
        call = shell.registry.restore(left)
        shell.registry.admit(attached.token, start())
        assert call is not None
        assert call.streams.any_open


async def test_no_flood_of_granted_tokens_grows_for_ever(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("agent_sidecar.live.tokens.MOST", 5)
    async with running() as shell:
        attached = await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        grants = [
            shell.registry.new_stream(AttachRequest(lead=Lead(), agent=None)) for _ in range(20)
        ]
        assert len(shell.registry._tokens._grants) == 5
        shell.registry.admit(attached.token, start())
        with pytest.raises(TokenInvalid):
            shell.registry.admit(grants[0].token, start(CLOSER))
        shell.registry.admit(grants[-1].token, start(CLOSER))
        await asyncio.sleep(3601)
        shell.registry.new_stream(AttachRequest(lead=Lead(), agent=None))
        assert len(shell.registry._tokens._grants) == 3


async def test_a_line_belongs_to_whom_it_was_said_by_not_to_whom_it_came_after():
    async with running() as shell:
        stream = await a_stream(shell)
        call = shell.call()
        await asyncio.sleep(10)
        chunk = play(stream, "outbound", 3.0)
        await asyncio.sleep(4)
        joining = AttachRequest(lead=Lead(), agent=None, role="closer", call=call.call_id)
        await shell.registry.attach(CLOSER, joining)
        await shell.tell("bridged", CLOSER)
        assert call.other == "closer"
        await shell.tell("line", text="let me get Kevin for you now", track="outbound")
        # recognised late, but said long before
        early = shell.clock.now() - timedelta(seconds=8)
        await shell.tell("line", text="one moment please", track="outbound", at=early)
        await asyncio.sleep(4)
        play(stream, "outbound", 2.0, first=chunk)
        await shell.tell("line", text="hi, this is Kevin speaking", track="outbound")
        await asyncio.sleep(1)
        said = {s.text: s.speaker for s in call.call.log.segments if s.text}
        assert said == {
            "let me get Kevin for you now": "agent",
            "one moment please": "agent",
            "hi, this is Kevin speaking": "closer",
        }


# --- several sockets, several legs ----------------------------------------------------------------

AGENT = LegId("v3:agent")


async def test_each_leg_has_a_stream_of_its_own_and_nobody_is_heard_twice():
    async with running() as shell:
        attached = await shell.registry.attach(
            PROSPECT, AttachRequest(lead=Lead(), agent="human", legs={"agent": AGENT})
        )
        first = shell.registry.admit(attached.token, start())
        second = shell.registry.admit(attached.token, start(AGENT))
        assert not first.superseded.is_set()
        for stream in (first, second):
            play(stream, "inbound", 1.0)
            play(stream, "outbound", 1.0)
        await asyncio.sleep(1)
        heard = [s.party for s in speech(shell, shell.call().call_id)]
        assert sorted(heard) == ["agent", "prospect"]
        # without it he is heard through the prospect's leg again
        second.stopped("socket closed")
        play(first, "outbound", 1.0, first=1001)
        assert speech(shell, shell.call().call_id)[-1].party == "agent"


async def test_a_late_stop_of_the_old_socket_does_not_stop_the_new_one():
    async with running() as shell:
        attached = await shell.registry.attach(PROSPECT, AttachRequest(lead=Lead(), agent=None))
        old = shell.registry.admit(attached.token, start())
        play(old, "inbound", 0.5)
        new = shell.registry.admit(attached.token, start())
        old.stopped("stopped")
        await shell.tell("stream_stopped")
        play(old, "inbound", 1.0, first=1001)
        play(new, "inbound", 1.0)
        await asyncio.sleep(1)
        assert new.is_open
        assert len(speech(shell, shell.call().call_id)) == 2


async def test_ringback_and_prompts_are_not_heard():
    async with running() as shell:
        await shell.tell("initiated")
        attached = await shell.registry.attach(
            PROSPECT, AttachRequest(lead=Lead(), agent=None, passive=True)
        )
        stream = shell.registry.admit(attached.token, start())
        play(stream, "outbound", 2.0)
        await asyncio.sleep(20)
        await shell.tell("answered")
        play(stream, "inbound", 1.0, first=1001)
        stream.stopped("stopped")
        await asyncio.sleep(1)
        (heard,) = speech(shell, shell.call().call_id)
        assert heard.party == "prospect"
        assert heard.start_s == pytest.approx(20.0, abs=0.3)


@pytest.mark.parametrize("proof", ["line", "attach"])
async def test_a_leg_whose_answer_was_never_told_is_heard_all_the_same(proof: str):
    async with running() as shell:
        await shell.tell("initiated")
        request = AttachRequest(lead=Lead(), agent=None, passive=proof == "line")
        attached = await shell.registry.attach(PROSPECT, request)
        stream = shell.registry.admit(attached.token, start())
        if proof == "line":
            await shell.tell("line", text="hello?", track="inbound")
        play(stream, "inbound", 1.0)
        await asyncio.sleep(1)
        assert len(speech(shell, shell.call().call_id)) == 1
        assert shell.call().call.log.answered_at is not None


async def test_a_leg_whose_answer_was_never_told_at_all_is_counted_as_unheard():
    async with running() as shell:
        await shell.tell("initiated")
        call = await shell.attach(passive=True)
        stream = shell.registry.admit(attached_token(shell), start())
        with capture_logs() as logs:
            play(stream, "inbound", 1.0)
            stream.stopped("stopped")
            stream.stopped("stopped")
        assert shell.counted("media_frames_unheard", "never_answered") == 150
        assert [e["frames"] for e in logs if e["event"] == "leg_never_answered"] == [150]
        assert speech(shell, call.call_id) == []
