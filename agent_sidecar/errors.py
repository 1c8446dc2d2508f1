"""Every error that this package raises, named for what the caller does next.

SidecarError
├── SettingsInvalid         a setting is wrong: mend the named field, start again
├── PlaybookInvalid         the playbook is wrong: mend the named line
├── RecordedCallInvalid     a recorded call is wrong: mend the named line and key
├── LeadsFileInvalid        a file of leads cannot be read at all: mend what the text names
├── DataFolderInUse         another process owns the data folder: stop it, or use its service
├── PortInUse               something listens on our port: stop it, or set another
├── EmbeddedServerFailed    a local server did not start: the message shows its log
├── FitImpossible           weights cannot be fitted: mend the labels, give more calls
├── WeightsInvalid          a file of fitted weights cannot be used: fit anew, or name another
├── ModelMissing            no model is prepared: run `agent-sidecar models prepare`
├── ModelRejected           a model does not do what its original does: do not use it
├── ModelExtraMissing       this model needs the extra `models`: install it
├── ServiceUnreachable      the sidecar's own front door does not answer: start it
├── ServiceRefused          the front door refused a request of ours: mend what it names
├── EmbeddingFailed         one text could not be embedded: go on without its vector
├── StoreUnavailable        a store could not be reached: try again later; nothing is lost
├── RecordRejected          a store refused this record: do not retry, park it, tell a human
├── JournalFailed           the local journal cannot take a write: refuse what needs it
├── BackupFailed            a backup cannot be taken or restored: mend what the text names, again
├── ArchiveFailed           an archive cannot be read or written: mend what the text names, again
├── RecordingUnavailable    a recording cannot be fetched now: again, while its link lives
├── RecordingRefused        a recording will never be fetched: tell a human
├── FrameMalformed          a media frame is not of the protocol: drop it, count it
├── CodecUnsupported        no decoder for this encoding: go on with text only
├── WebhookMalformed        a webhook is not of the protocol: answer 400, count it
├── SignatureInvalid        not signed by Telnyx: answer 401
├── TokenInvalid            a media socket without a right to enter: close it
├── RequestInvalid          a request to the front door is wrong: answer 400, name the field
├── CallUnknown             no such call here: answer 404
├── TransferUnknown         no such transfer here: answer 404
├── CallEnded               the call is over at the provider's: answer 409, do not attach again
├── Overloaded              all the calls we can carry: attach later, or elsewhere
├── CommandRefused          Telnyx refused a command: do not repeat it
│   └── LegGone             Telnyx knows no such leg, or it has ended: stop commanding it
└── CommandUncertain        nobody knows whether a command was carried out: reconcile, never repeat
"""


class SidecarError(Exception):
    """Anything this package raises on purpose; its text says what is wrong and what to do."""


class SettingsInvalid(SidecarError):
    """A setting is missing or wrong; the text names the field."""


class PlaybookInvalid(SidecarError):
    """The playbook has mistakes; the text names each with its line."""


class RecordedCallInvalid(SidecarError):
    """A line of a recorded-call file cannot be used; the text names line and key."""


class LeadsFileInvalid(SidecarError):
    """A file of leads is no CSV with the columns that are needed; the text names what is wrong."""


class DataFolderInUse(SidecarError):
    """Another process owns the data folder."""


class PortInUse(SidecarError):
    """The port that the service should listen on is taken."""


class EmbeddedServerFailed(SidecarError):
    """A server of the embedded stack did not start or kept ending."""


class FitImpossible(SidecarError):
    """Nothing can be fitted on these calls with these labels; the text says why."""


class WeightsInvalid(SidecarError):
    """A file of fitted weights is missing, broken, or made for another model or version."""


class ModelMissing(SidecarError):
    """The embedding model has not been prepared in this data folder."""


class ModelRejected(SidecarError):
    """A prepared or given model failed its check against the original."""


class ModelExtraMissing(SidecarError):
    """The wanted model can only be prepared with the extra `models` installed."""


class ServiceUnreachable(SidecarError):
    """No running service answers where one was expected."""


class ServiceRefused(SidecarError):
    """The running service refused a request; the text has its answer."""


class EmbeddingFailed(SidecarError):
    """A text could not be turned into a vector."""


class StoreUnavailable(SidecarError):
    """A store could not be reached. Try again later; nothing is lost."""


class RecordRejected(SidecarError):
    """A store refused this record. Do not retry: park it and tell a human."""


class JournalFailed(SidecarError):
    """The journal could not make a write durable; what was to be acknowledged must not be."""


class BackupFailed(SidecarError):
    """A backup cannot be taken, is damaged, or may not be restored there."""


class ArchiveFailed(SidecarError):
    """An archive of calls cannot be read or written; what was to be removed is still there."""


class RecordingUnavailable(SidecarError):
    """A recording could not be fetched or written now; its link may still give it."""


class RecordingRefused(SidecarError):
    """A recording's link gives nothing, too much, or is none that we follow."""


class FrameMalformed(SidecarError):
    """A media-stream frame does not follow the protocol."""


class CodecUnsupported(SidecarError):
    """There is no decoder for this encoding; the call goes on with text only."""


class WebhookMalformed(SidecarError):
    """A webhook body does not follow the protocol; the text names the field."""


class SignatureInvalid(SidecarError):
    """A webhook was not signed by the configured key, or too long ago."""


class TokenInvalid(SidecarError):
    """A media socket came without a token that opens it."""


class RequestInvalid(SidecarError):
    """A request to the front door is wrong; `field` says where, `what_to_do` how to mend it."""

    def __init__(self, message: str, *, field: str, what_to_do: str) -> None:
        super().__init__(message)
        self.field = field
        self.what_to_do = what_to_do


class CallUnknown(SidecarError):
    """No call of that id is known here."""


class TransferUnknown(SidecarError):
    """No transfer of that id is known here; the text says where ids are."""

    def __init__(self, transfer_id: str) -> None:
        super().__init__(
            f"there is no transfer {transfer_id!r}: GET /v1/calls/CALL_ID lists those of a call,"
            " GET /v1/calls the calls"
        )


class CallEnded(SidecarError):
    """The call exists no more: there is nothing to attach to."""


class Overloaded(SidecarError):
    """A new call would drag the live ones down; the text says when to come again."""


class CommandRefused(SidecarError):
    """Telnyx refused a command for good; `code` is its error code where it gave one."""

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class LegGone(CommandRefused):
    """The leg a command was for has ended, or was never there."""

    def __init__(self, message: str, *, code: str | None = None, has_ended: bool) -> None:
        super().__init__(message, code=code)
        # False: nobody knows a leg of that id
        self.has_ended = has_ended


class CommandUncertain(SidecarError):
    """A command's answer never came: ask what happened before doing anything else."""
