"""Checks commands against the telnyx SDK's own parameter types, and Telnyx's rules beyond them.

The types are generated from Telnyx's API description; a key that they do not have is a key that
Telnyx would not take.
"""

import binascii
import types
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Annotated, Any, Literal, Required, Union, cast, get_args, get_origin

from telnyx.types import CallDialParams
from telnyx.types.calls import (
    ActionAddAIAssistantMessagesParams,
    ActionBridgeParams,
    ActionGatherUsingSpeakParams,
    ActionHangupParams,
    ActionSpeakParams,
    ActionStartRecordingParams,
    ActionStartStreamingParams,
    ActionStartTranscriptionParams,
    ActionStopRecordingParams,
    ActionStopStreamingParams,
    ActionStopTranscriptionParams,
)
from typing_extensions import get_type_hints, is_typeddict

DIAL = "dial"
PARAMS: Mapping[str, type] = {
    DIAL: CallDialParams,
    "streaming_start": ActionStartStreamingParams,
    "streaming_stop": ActionStopStreamingParams,
    "transcription_start": ActionStartTranscriptionParams,
    "transcription_stop": ActionStopTranscriptionParams,
    "gather_using_speak": ActionGatherUsingSpeakParams,
    "speak": ActionSpeakParams,
    "ai_assistant_add_messages": ActionAddAIAssistantMessagesParams,
    "record_start": ActionStartRecordingParams,
    "record_stop": ActionStopRecordingParams,
    "bridge": ActionBridgeParams,
    "hangup": ActionHangupParams,
}
# dial's keys that mean something only beside `link_to`
_NEED_LINK = ("bridge_intent", "bridge_on_answer", "park_after_unbridge")
_LONGEST_TEXT, _LONGEST_TOKEN = 3000, 4000


class CommandFault(Exception):
    """What Telnyx would answer instead of doing it."""

    def __init__(
        self, code: str, title: str, detail: str, *, status: int = 422, key: str = ""
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.title = title
        self.detail = detail
        self.key = key

    def document(self) -> dict[str, object]:
        """Return the body of the answer."""
        error: dict[str, object] = {"code": self.code, "title": self.title, "detail": self.detail}
        if self.key:
            error["source"] = {"pointer": "/" + self.key.replace(".", "/")}
        return {"errors": [error]}


def check_command(action: str, body: Mapping[str, Any]) -> None:
    """Raise `CommandFault` naming the first key that Telnyx would refuse."""
    for key, why in _type_faults(PARAMS[action], body, ""):
        raise CommandFault("10015", "Invalid parameter", f"{key}: {why}", key=key)
    state = body.get("client_state")
    if state is not None and not _is_base64(state):
        raise CommandFault(
            "90017", "Invalid client state", "client_state: must be base64", key="client_state"
        )
    for key, why in _rule_faults(action, body):
        raise CommandFault("10015", "Invalid parameter", f"{key}: {why}", key=key)


def _rule_faults(action: str, body: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if not 5 <= body.get("timeout_secs", 5) <= 600:
        yield "timeout_secs", "must be 5 to 600"
    if len(body.get("stream_auth_token", "")) > _LONGEST_TOKEN:
        yield "stream_auth_token", f"must not be longer than {_LONGEST_TOKEN} characters"
    if len(body.get("payload", "")) > _LONGEST_TEXT:
        yield "payload", f"must not be longer than {_LONGEST_TEXT} characters"
    if action == "streaming_start" and not str(body.get("stream_url", "")).startswith("ws"):
        yield "stream_url", "must be a ws:// or wss:// address"
    if action == DIAL:
        for key in _NEED_LINK:
            if body.get(key) and "link_to" not in body:
                yield key, "needs link_to"


def _is_base64(text: str) -> bool:
    try:
        b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


# --- types --------------------------------------------------------------------------------------


@lru_cache
def _fields(shape: type) -> dict[str, tuple[Any, bool]]:
    """Return wire name → type and whether it is required.

    `__required_keys__` is empty where a module postpones its annotations, as the SDK's do.
    """
    found: dict[str, tuple[Any, bool]] = {}
    for name, hint in get_type_hints(shape, include_extras=True).items():
        required = False
        wire_name = name
        while (wrapper := cast(object, get_origin(hint))) in (Required, Annotated):
            required = required or wrapper is Required
            for extra in getattr(hint, "__metadata__", ()):
                wire_name = getattr(extra, "alias", None) or wire_name
            hint = get_args(hint)[0]
        found[wire_name] = (hint, required)
    return found


def _type_faults(shape: Any, value: Any, key: str) -> Iterator[tuple[str, str]]:
    origin, arguments = get_origin(shape), get_args(shape)
    if is_typeddict(shape):
        yield from _object_faults(shape, value, key)
    elif origin is Literal:
        if value not in arguments or isinstance(value, bool) != isinstance(arguments[0], bool):
            yield key, f"{value!r} is none of {', '.join(map(str, arguments))}"
    elif origin in (Union, types.UnionType):
        if all(any(True for _ in _type_faults(option, value, key)) for option in arguments):
            yield key, f"{_shown(value)} fits none of the types that are allowed here"
    elif isinstance(origin, type):
        yield from _container_faults(origin, arguments, value, key)
    elif isinstance(shape, type) and not _is_a(value, shape):
        yield key, f"must be {shape.__name__}, not {_shown(value)}"


def _container_faults(
    origin: type, arguments: tuple[Any, ...], value: Any, key: str
) -> Iterator[tuple[str, str]]:
    items: Iterable[tuple[object, Any]]
    if issubclass(origin, Mapping):
        if not isinstance(value, dict):
            yield key, "must be an object"
            return
        items = value.items()
    else:
        if not isinstance(value, list):
            yield key, "must be a list"
            return
        items = enumerate(value)
    for place, item in items:
        yield from _type_faults(arguments[-1], item, f"{key}.{place}")


def _object_faults(shape: type, value: Any, key: str) -> Iterator[tuple[str, str]]:
    if not isinstance(value, dict):
        yield key or "body", "must be an object"
        return
    fields = _fields(shape)
    prefix = f"{key}." if key else ""
    for name, (_, required) in fields.items():
        if required and name not in value:
            yield prefix + name, "is required"
    for name, item in value.items():
        if name not in fields:
            yield prefix + name, "is not a parameter of this command"
        else:
            yield from _type_faults(fields[name][0], item, prefix + name)


def _is_a(value: Any, shape: type) -> bool:
    if shape is object:
        return True
    if isinstance(value, bool):
        return shape is bool
    return isinstance(value, (int, float) if shape is float else shape)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) < 60 else text[:57] + "..."
