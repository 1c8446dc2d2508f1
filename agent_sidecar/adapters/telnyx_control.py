"""Telnyx's commands over the official SDK, with the patience of `telnyx_tries`, not the SDK's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, cast, get_args

import httpx
import msgspec
import pybase64
import telnyx
from telnyx.types.calls.action_start_transcription_params import TranscriptionEngineConfig

from agent_sidecar.adapters.telnyx_tries import (
    CALL_HAS_ENDED,
    NoAnswer,
    Patience,
    Tries,
    counts_as_done,
)
from agent_sidecar.adapters.telnyx_values import client_state_of
from agent_sidecar.domain.types import CommandId, LegId
from agent_sidecar.errors import CommandRefused, SettingsInvalid
from agent_sidecar.ports import Dial, DialedLeg

_TRANSCRIBES_ALREADY: Final = "90054"

Engine = Literal[
    "Google",
    "Telnyx",
    "Deepgram",
    "Azure",
    "xAI",
    "AssemblyAI",
    "Speechmatics",
    "Soniox",
    "Parakeet",
    "Humain",
    "Reson8",
    "Cohere",
    "A",
    "B",
]
Tracks = Literal["inbound", "outbound", "both"]


# engines whose lines carry `transcription_track`; of others nobody may guess the speaker
_NAME_TRACKS = frozenset({"Telnyx", "B"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcription:
    """How calls are transcribed: who does it, with what options, and whose voice."""

    engine: Engine = "Telnyx"
    config: Mapping[str, object] | None = None
    tracks: Tracks = "both"

    @classmethod
    def read(cls, engine: str, config: str | None, tracks: Tracks) -> "Transcription":
        """Read it as the settings have it; `config` is a JSON object. Raises `SettingsInvalid`."""
        try:
            known = msgspec.convert(engine, Engine)
        except msgspec.ValidationError:
            raise SettingsInvalid(
                f"SIDECAR_TRANSCRIPTION_ENGINE is {engine!r}; Telnyx knows"
                f" {', '.join(get_args(Engine))}"
            ) from None
        try:
            options = msgspec.json.decode(config, type=dict[str, object]) if config else None
        except msgspec.DecodeError as exc:
            raise SettingsInvalid(
                f"SIDECAR_TRANSCRIPTION_CONFIG must be a JSON object: {exc}"
            ) from exc
        if tracks != "inbound" and known not in _NAME_TRACKS:
            raise SettingsInvalid(
                f"SIDECAR_TRANSCRIPTION_TRACKS is {tracks!r}, but the engine {engine} does not say"
                f" whose words a line is: set it to inbound, or use the engine Telnyx"
            )
        return cls(engine=known, config=options, tracks=tracks)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Whose calls these are."""

    api_key: str = field(repr=False)
    base_url: str = "https://api.telnyx.com/v2"
    # the Call Control application that dials; without one nothing can be dialled
    connection_id: str | None = None
    # speaks to the closer before he accepts
    voice: str = "AWS.Polly.Joanna-Neural"


class TelnyxControl:
    """Sends commands to the legs of one account; `aclose` it."""

    def __init__(
        self,
        account: Account,
        *,
        transcription: Transcription | None = None,
        patience: Patience | None = None,
    ) -> None:
        self._account = account
        self._transcription = transcription or Transcription()
        patience = patience or Patience()
        self._tries = Tries(patience)
        self._client = telnyx.AsyncTelnyx(
            api_key=account.api_key,
            base_url=account.base_url,
            max_retries=0,
            timeout=patience.total_s,
        )
        self._actions = self._client.calls.actions

    async def aclose(self) -> None:
        """Give up what is still under way and close the connections."""
        await self._tries.aclose()
        await self._client.close()

    async def start_stream(
        self, leg_id: LegId, *, url: str, token: str, command_id: CommandId
    ) -> None:
        """Fork both tracks of the leg to `url`.

        How Telnyx hands over the auth token is not published, so the token is in the URL as well.
        """
        address = httpx.URL(url)
        await self._tries.send(
            "streaming_start",
            lambda: self._actions.start_streaming(
                leg_id,
                stream_url=str(address.copy_set_param("token", token)),
                stream_auth_token=token,
                stream_track="both_tracks",
                stream_codec="PCMU",
                command_id=command_id,
            ),
        )

    async def start_transcription(self, leg_id: LegId, *, command_id: CommandId) -> None:
        """Transcribe the leg; one that is transcribed already stays so."""
        wanted = self._transcription

        async def send() -> None:
            with counts_as_done(_TRANSCRIBES_ALREADY):
                await self._actions.start_transcription(
                    leg_id,
                    transcription_engine=wanted.engine,
                    # the user's own options; Telnyx judges them
                    transcription_engine_config=telnyx.omit
                    if wanted.config is None
                    else cast("TranscriptionEngineConfig", wanted.config),
                    transcription_tracks=wanted.tracks,
                    command_id=command_id,
                )

        await self._tries.send("transcription_start", send)

    async def start_recording(self, leg_id: LegId, *, command_id: CommandId) -> None:
        """Record both sides of the leg, each in a channel of its own."""
        await self._tries.send(
            "record_start",
            lambda: self._actions.start_recording(
                leg_id, channels="dual", format="wav", command_id=command_id
            ),
        )

    async def stop_recording(self, leg_id: LegId, *, command_id: CommandId) -> None:
        """End the recording of the leg; its file is told of as after a hangup."""
        await self._tries.send(
            "record_stop",
            lambda: self._actions.stop_recording(leg_id, command_id=command_id),
        )

    async def stop_stream(self, leg_id: LegId, *, command_id: CommandId) -> None:
        """End all media streams of the leg."""
        await self._tries.send(
            "streaming_stop",
            lambda: self._actions.stop_streaming(leg_id, command_id=command_id),
        )

    async def stop_transcription(self, leg_id: LegId, *, command_id: CommandId) -> None:
        """End the transcription of the leg."""
        await self._tries.send(
            "transcription_stop",
            lambda: self._actions.stop_transcription(leg_id, command_id=command_id),
        )

    async def dial(self, dial: Dial, *, command_id: CommandId) -> DialedLeg:
        """Ring somebody; the leg exists from now on, whether he answers comes by webhook."""
        connection_id = self._account.connection_id
        if connection_id is None:
            raise CommandRefused(
                "cannot dial: set SIDECAR_TELNYX_CONNECTION_ID to the id of your Call Control"
                " application"
            )

        async def send() -> DialedLeg:
            answer = await self._client.calls.dial(
                connection_id=connection_id,
                to=dial.to,
                from_=dial.from_,
                link_to=dial.link_to,
                answering_machine_detection="premium",
                timeout_secs=dial.timeout_s,
                client_state=pybase64.b64encode(dial.client_state.encode()).decode(),
                # without it the leg is hung up when the bridge ends
                park_after_unbridge="self",
                command_id=command_id,
            )
            leg = answer.data
            if leg is None or not leg.call_control_id:
                # of a dial that was sent twice only one answer may have it
                raise NoAnswer("the answer names no leg")
            return DialedLeg(
                leg_id=LegId(leg.call_control_id),
                call_leg_id=leg.call_leg_id,
                call_session_id=leg.call_session_id,
            )

        return await self._tries.send("dial", send)

    async def ask_for_digit(
        self, leg_id: LegId, *, text: str, digits: str, command_id: CommandId
    ) -> None:
        """Speak `text` and wait for one of `digits`."""
        await self._tries.send(
            "gather_using_speak",
            lambda: self._actions.gather_using_speak(
                leg_id,
                payload=text,
                voice=self._account.voice,
                valid_digits=digits,
                minimum_digits=1,
                maximum_digits=1,
                command_id=command_id,
            ),
        )

    async def add_assistant_message(
        self, leg_id: LegId, *, text: str, command_id: CommandId
    ) -> None:
        """Tell the leg's AI assistant something for its next turn; nobody is interrupted."""
        await self._tries.send(
            "ai_assistant_add_messages",
            lambda: self._actions.add_ai_assistant_messages(
                leg_id,
                messages=[{"role": "system", "content": text}],
                command_id=command_id,
            ),
        )

    async def speak(self, leg_id: LegId, *, text: str, command_id: CommandId) -> None:
        """Say something to who is on this leg, and to nobody else."""
        await self._tries.send(
            "speak",
            lambda: self._actions.speak(
                leg_id,
                payload=text,
                voice=self._account.voice,
                target_legs="self",
                command_id=command_id,
            ),
        )

    async def bridge(self, leg_id: LegId, *, to: LegId, command_id: CommandId) -> None:
        """Connect two answered legs; `leg_id` outlives the bridge."""
        await self._tries.send(
            "bridge",
            lambda: self._actions.bridge(
                leg_id,
                call_control_id_to_bridge_with=to,
                park_after_unbridge="self",
                prevent_double_bridge=True,
                command_id=command_id,
            ),
        )

    async def hang_up(self, leg_id: LegId, *, command_id: CommandId) -> None:
        """End a leg; one that has ended already counts as hung up."""

        async def send() -> None:
            with counts_as_done(CALL_HAS_ENDED):
                await self._actions.hangup(leg_id, command_id=command_id)

        await self._tries.send("hangup", send)

    async def is_alive(self, leg_id: LegId) -> bool:
        """Ask whether the leg still exists; Telnyx forgets one some minutes after its end."""

        async def send() -> bool:
            try:
                answer = await self._client.calls.retrieve_status(leg_id)
            except telnyx.NotFoundError:
                return False
            if answer.data is None:
                raise NoAnswer("the answer has no field `data`")
            return answer.data.is_alive

        return await self._tries.send("retrieve_status", send)

    async def live_legs(self) -> Mapping[str, LegId]:
        """Return the live legs of our Call Control application, by their client state."""
        connection_id = self._account.connection_id
        if connection_id is None:
            return {}

        async def send() -> Mapping[str, LegId]:
            found: dict[str, LegId] = {}
            pages = self._client.connections.list_active_calls(connection_id)
            async for leg in pages:
                state = client_state_of(leg.client_state)
                if state:
                    found[state] = LegId(leg.call_control_id)
            return found

        return await self._tries.send("list_active_calls", send)
