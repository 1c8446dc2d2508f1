"""Everything that can be set, read once from the environment (prefix `SIDECAR_`)."""

from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from agent_sidecar.domain.redaction import RedactedKind, read_kinds
from agent_sidecar.domain.retention import RetentionRules, read_rules
from agent_sidecar.domain.zones import zone_named
from agent_sidecar.errors import SettingsInvalid


class Settings(BaseSettings):
    """One frozen value for the whole process; wrong ones fail at start with the field's name."""

    # an empty value is none: a compose file passes on what is not set as empty, and an empty token
    # would be a token
    model_config = SettingsConfigDict(
        env_prefix="SIDECAR_", env_ignore_empty=True, frozen=True, extra="ignore"
    )

    # where everything local lives: journal, embedded servers, model, playbook index
    data_dir: Path = Path("~/.agent-sidecar")
    # prepared models; None: `models` in the data folder
    models_dir: Path | None = None
    host: str = "127.0.0.1"
    # 0 takes a free one
    port: int = Field(default=8080, ge=0, le=65535)
    # wanted on every /v1 route and socket when set
    api_token: SecretStr | None = None
    # how Telnyx reaches us, for example https://sidecar.example.com; None: http://HOST:PORT
    public_url: str | None = None

    # real servers; without a URL the embedded one starts
    postgres_url: SecretStr | None = None
    mongodb_url: SecretStr | None = None
    neo4j_url: str | None = None
    neo4j_user: str = "neo4j"
    neo4j_password: SecretStr | None = None
    neo4j_database: str | None = None
    chroma_url: str | None = None
    redis_url: SecretStr | None = None

    telnyx_api_key: SecretStr | None = None
    # base64 of 32 bytes (portal: Public key); unsigned webhooks are refused as soon as it is set
    telnyx_public_key: str | None = None
    telnyx_api_base: str = "https://api.telnyx.com/v2"
    telnyx_connection_id: str | None = None
    # how old a webhook's signature may be, seconds, both directions
    webhook_tolerance_s: float = Field(default=300.0, gt=0)
    # every webhook is passed on there, raw, with its headers
    forward_url: str | None = None
    # attach by ourselves on call.answered of a leg nobody announced
    auto_attach: bool = False
    # record each attached call and copy the file into `recordings` of the data folder
    record: bool = False
    transcription_engine: str = "Telnyx"
    # JSON object for transcription_engine_config; None: the engine's defaults
    transcription_config: str | None = None
    # `both`: one transcription with tracks; `inbound`: the leg that asked
    transcription_tracks: Literal["inbound", "outbound", "both"] = "both"

    # of somebody's speech without any words of his before his transcription is restarted, seconds
    transcription_silence_s: float = Field(default=20.0, ge=5, le=600)

    # of L16, which no document states: found in the audio of each stream, or set
    l16_byte_order: Literal["detect", "big", "little"] = "detect"

    agent: Literal["assistant", "human", "external"] = "assistant"
    # a Telnyx AI assistant on the prospect's leg gets each hint as a message
    hint_assistant: bool = True
    # a human agent hears each hint, spoken on a leg of his own
    speak_hints: bool = False
    # E.164 number of the default closer; overrides the playbook's
    closer_number: str | None = None
    # the number we dial the closer from; None: the prospect's leg's own
    caller_number: str | None = None
    closer_ring_s: int = Field(default=25, ge=5, le=600)
    closer_accept_s: float = Field(default=20.0, gt=0)
    # what the closer has for himself after a talk before he is called again, seconds
    closer_wrap_up_s: float = Field(default=30.0, ge=0, le=3600)

    # the user's own file; None: the one that ships
    playbook: Path | None = None
    # name of a prepared model, or of one that `models prepare` can make
    model: str = "all-MiniLM-L6-v2"

    # where a day of the learning metrics begins and ends, IANA name; the same for all processes
    learning_timezone: str = "UTC"

    # from the final text to the hint on the wire, seconds
    hint_deadline_s: float = Field(default=0.5, gt=0, le=5)
    # what of it the stores may take, before what is in memory answers for them
    retrieval_s: float = Field(default=0.25, gt=0, le=5)
    # how long late finals are waited for after a hangup, wall seconds
    late_lines_s: float = Field(default=2.0, ge=0, le=60)
    # how long a call that a crash left open waits for a sign of life, wall seconds
    resume_s: float = Field(default=60.0, ge=0)
    # how long a call must have been silent before Telnyx is asked whether it lives, seconds
    quiet_call_s: float = Field(default=120.0, ge=10)
    # how long the journal keeps records that every store has, days
    journal_keep_days: float = Field(default=7.0, gt=0, le=3650)
    # a warning is logged above this size of the journal, and below this much free on its disk
    journal_alarm_mb: float = Field(default=2000.0, gt=0)
    disk_low_mb: float = Field(default=500.0, ge=0)
    # how long a stop waits for calls and deliveries, wall seconds
    drain_s: float = Field(default=15.0, ge=0)
    # a new call is taken text-only above this event-loop lag, and refused above four times it
    admission_lag_ms: float = Field(default=100.0, gt=0)

    # what is taken out of everything that is said before it is written; None: nothing
    redact: Annotated[frozenset[RedactedKind] | None, NoDecode] = None

    # days by outcome after which finished calls are archived; None: they are kept for ever
    retention: Annotated[RetentionRules | None, NoDecode] = None

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "console", "json"] = "auto"

    @field_validator("data_dir", "models_dir", "playbook")
    @classmethod
    def _expand(cls, path: Path | None) -> Path | None:
        return None if path is None else path.expanduser().absolute()

    @field_validator("learning_timezone")
    @classmethod
    def _check_zone(cls, name: str) -> str:
        if zone_named(name) is None:
            raise ValueError(f"{name!r} is no time zone: give an IANA name, America/New_York")
        return name

    @field_validator("redact", mode="before")
    @classmethod
    def _read_redact(cls, words: object) -> object:
        return read_kinds(words) if isinstance(words, str) else words

    @field_validator("retention", mode="before")
    @classmethod
    def _read_retention(cls, text: object) -> object:
        return read_rules(text) if isinstance(text, str) else text

    @field_validator("postgres_url", "mongodb_url", "redis_url")
    @classmethod
    def _check_secret_url(cls, url: SecretStr | None) -> SecretStr | None:
        schemes = ("postgres", "postgresql", "mongodb", "mongodb+srv", "redis", "rediss", "unix")
        if url is not None and url.get_secret_value().split("://")[0] not in schemes:
            raise ValueError(f"must be a URL that begins with one of: {', '.join(schemes)}")
        return url

    @field_validator("public_url", "forward_url", "chroma_url", "telnyx_api_base")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("must begin with http:// or https://")
        return url.rstrip("/") if url else url

    @model_validator(mode="after")
    def _check_together(self) -> Self:
        if not self.is_loopback and self.api_token is None:
            raise ValueError(
                f"HOST {self.host} is reachable from outside: set SIDECAR_API_TOKEN as well,"
                " or keep HOST at 127.0.0.1"
            )
        if self.record and self.telnyx_public_key is None:
            raise ValueError(
                "RECORD fetches what webhooks name: set SIDECAR_TELNYX_PUBLIC_KEY as well, so that"
                " nobody but Telnyx can name it"
            )
        if self.retrieval_s >= self.hint_deadline_s:
            raise ValueError("RETRIEVAL_S must be below HINT_DEADLINE_S")
        return self

    @property
    def is_loopback(self) -> bool:
        """Only this machine can reach the service."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def models(self) -> Path:
        """The folder of prepared models."""
        return self.models_dir or self.data_dir / "models"

    @property
    def learning_zone(self) -> ZoneInfo:
        """Where a day of the learning metrics begins and ends."""
        return ZoneInfo(self.learning_timezone)

    @property
    def weights(self) -> Path:
        """The folder of fitted weights."""
        return self.data_dir / "weights"


def read_settings(**overrides: object) -> Settings:
    """Read the environment; `overrides` come from the command line. Raises `SettingsInvalid`."""
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]  # values are checked by pydantic
    except ValidationError as exc:
        lines = []
        for error in exc.errors():
            field = "_".join(str(part) for part in error["loc"]).upper()
            text = error["msg"].removeprefix("Value error, ")
            lines.append(f"SIDECAR_{field}: {text}" if field else text)
        raise SettingsInvalid("settings are wrong:\n  " + "\n  ".join(lines)) from None
