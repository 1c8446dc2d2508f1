"""Logs and metrics: what happened, without words, audio, phone numbers or secrets."""

import asyncio
import logging
import re
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.process_collector import ProcessCollector
from structlog.typing import EventDict, Processor, WrappedLogger

LogFormat = Literal["auto", "console", "json"]

_SECRET_KEY = re.compile(r"(?i)pass(?:word|wd)?$|token|secret|api_?key|authorization|cookie")
_PRIVATE_KEYS = frozenset(
    "text say words transcript body phone number caller_number email first_name last_name".split()
)
# ids and times, whose digits are no phone number
_PLAIN_KEYS = frozenset({"call_id", "transfer_id", "leg_id", "level", "timestamp"})
_PATTERNS = (
    # credentials in a URL, and what comes as a parameter
    (re.compile(r"(?<=://)[^/\s@]*:[^/\s@]+(?=@)"), "[hidden]"),
    (re.compile(r"(?i)(?<=[?&])((?:access_)?token|api_?key|password)=[^&\s\"']+"), r"\1=[hidden]"),
    (re.compile(r"(?i)\b(bearer|basic) [\w.~+/=-]{8,}"), r"\1 [hidden]"),
    (re.compile(r"\bKEY[0-9A-F]{16,}_\w+"), "[hidden]"),
    # E.164, also with blanks and dashes
    (re.compile(r"(?<!\w)\+\d(?:[ ().-]{0,2}\d){6,14}(?!\d)"), "[number]"),
    # ten and more digits, or three, three and four: not inside an id, a version or a time
    (re.compile(r"(?<![\w.:+-])(?:\(?\d{3}\)?[ .-]?\d{3}[ .-]?\d{4}|\d{10,15})(?![\w.:-]*\w)"),
     "[number]"),
)  # fmt: skip
_DEEPEST = 4


def set_up_logging(level: str, log_format: LogFormat) -> None:
    """Log to stderr: for people on a terminal, JSON lines otherwise; libraries from warnings on.

    `call_id` and whatever else is bound by `structlog.contextvars` is in every line.
    """
    for_people = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    # Plain tracebacks, made before `redact`: those with local variables hold words and secrets.
    last: list[Processor] = [
        structlog.processors.format_exc_info,
        redact,
        _render_for_people() if for_people else structlog.processors.JSONRenderer(default=repr),
    ]
    threshold = logging.getLevelNamesMapping()[level.upper()]
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    stderr = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [stderr]
    root.setLevel(max(threshold, logging.WARNING))
    # Minor layering violation: it warns at each retry of a transaction, which is not ours to judge.
    logging.getLogger("neo4j").setLevel(logging.ERROR)


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Take out what must never reach a log: the second line of defence, after not logging it."""
    return {key: _redacted(str(key), value, _DEEPEST) for key, value in event.items()}


def _redacted(key: str, value: object, depth: int) -> object:
    if key in _PLAIN_KEYS or value is None or isinstance(value, bool | int | float):
        return value
    if key in _PRIVATE_KEYS or _SECRET_KEY.search(key):
        return "[hidden]"
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    if depth and isinstance(value, Mapping):
        return {k: _redacted(str(k), v, depth - 1) for k, v in value.items()}
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_redacted("", v, depth - 1) for v in value]
    shown = value if isinstance(value, str) else str(value)
    for pattern, instead in _PATTERNS:
        shown = pattern.sub(instead, shown)
    return shown


def _render_for_people() -> structlog.dev.ConsoleRenderer:
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback
    )


class Metrics:
    """Everything that is counted, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        self._counters: dict[str, Counter] = {}
        self._deliveries = Counter(
            "sidecar_deliveries",
            "Tries to deliver a record; pending: it failed and is tried again.",
            ("store", "state"),
            registry=self._registry,
        )
        self._degraded = Counter(
            "sidecar_degraded",
            "Answers that had to do without a store.",
            ("store",),
            registry=self._registry,
        )
        self._hint_ms = self._histogram(
            "hint_latency_ms",
            "From the final text to the hint on the wire.",
            (5, 10, 20, 35, 50, 75, 100, 150, 250, 350, 500, 1000),
        )
        self._newest_hints: deque[tuple[float, float]] = deque(maxlen=50)
        self._lag_ms = self._histogram(
            "event_loop_lag_ms", "How late the loop is.", (1, 2, 5, 10, 15, 25, 50, 100, 250, 1000)
        )
        self._open_calls = self._gauge("open_calls", "Calls that are up.")
        self._journal_bytes = self._gauge("journal_bytes", "What the journal takes on its disk.")
        self._disk_free_bytes = self._gauge("disk_free_bytes", "What the journal's disk has left.")
        self._journal_writable = self._gauge("journal_writable", "1: the journal can be written.")

    def journal(self, *, used_bytes: int, disk_free_bytes: int, writable: bool) -> None:
        self._journal_bytes.set(used_bytes)
        self._disk_free_bytes.set(disk_free_bytes)
        self._journal_writable.set(writable)

    def count(self, name: str, reason: str = "", *, amount: int = 1) -> None:
        """Count something; `reason` is one of few fixed words.

        Costs about 1.5 µs: what comes per frame is summed up first.
        """
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = Counter(
                f"sidecar_{name}",
                f"{name.replace('_', ' ').capitalize()} by reason.",
                ("reason",),
                registry=self._registry,
            )
        counter.labels(reason).inc(amount)

    def hint_shown(self, latency_ms: float) -> None:
        self.count("hints", "shown")
        self._hint_ms.observe(latency_ms)
        self._newest_hints.append((time.monotonic(), latency_ms))

    def worst_hint_ms(self, within_s: float) -> float:
        """Return the longest time that one of the newest hints took; 0 when there was none."""
        since = time.monotonic() - within_s
        return max((ms for at, ms in self._newest_hints if at >= since), default=0.0)

    def hint_late(self) -> None:
        self.count("hints", "late")

    def hint_silent(self) -> None:
        self.count("hints", "silent")

    def degraded(self, stores: Iterable[str]) -> None:
        for store in stores:
            self._degraded.labels(store).inc()

    def delivery(self, store: str, state: str) -> None:
        self._deliveries.labels(store, state).inc()

    def lag(self, lag_ms: float) -> None:
        self._lag_ms.observe(lag_ms)

    def open_calls(self, calls: int) -> None:
        self._open_calls.set(calls)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(f"sidecar_{name}", about, registry=self._registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"sidecar_{name}", about, buckets=buckets, registry=self._registry)


class ResponseTimes:
    """How long one store took for what was asked of it lately.

    A question that was given up took as long as somebody waited: it counts, or a store that hangs
    would look fast. One that failed is counted apart.
    """

    WITHIN_S = 300.0
    # a busy store's window is shorter than that
    KEPT = 2000

    def __init__(self, *, now: Callable[[], float] = time.perf_counter) -> None:
        self._now = now
        # when it ended, and what it took; None: it failed
        self._recent: deque[tuple[float, float | None]] = deque(maxlen=self.KEPT)

    @contextmanager
    def measured(self) -> Iterator[None]:
        """Measure what is done in the block."""
        began = self._now()
        failed = True
        try:
            yield
            failed = False
        except (asyncio.CancelledError, TimeoutError):
            failed = False
            raise
        finally:
            ended = self._now()
            self._recent.append((ended, None if failed else ended - began))

    def summary(self) -> Mapping[str, float | int | None]:
        """Return how many there were, how long they took, and how many failed."""
        since = self._now() - self.WITHIN_S
        recent = [took_s for ended, took_s in self._recent if ended >= since]
        took = sorted(took_s * 1000 for took_s in recent if took_s is not None)
        # the nearest rank above
        place = -(-99 * len(took) // 100) - 1
        return {
            "within_s": self.WITHIN_S,
            "questions": len(took),
            "avg_ms": round(sum(took) / len(took), 2) if took else None,
            "p99_ms": round(took[place], 2) if took else None,
            "failed": len(recent) - len(took),
        }


class LagMeter:
    """Measures how late the event loop is."""

    # 20 s: long enough that one hiccup is below the 99th percentile, short enough to recover from
    EVERY_S = 0.05
    KEPT = 400

    def __init__(self, metrics: Metrics, *, now: Callable[[], float] = time.monotonic) -> None:
        # not the loop's time: some loops read the clock only once per round
        self._now = now
        self._metrics = metrics
        self._recent_ms: deque[float] = deque(maxlen=self.KEPT)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the last 20 s, what was not measured yet counting as on time.

        So a hiccup of the start turns no call away, as it would not later.
        """
        above = self.KEPT // 100
        ordered = sorted(self._recent_ms, reverse=True)
        return ordered[above] if len(ordered) > above else 0.0

    @property
    def now_ms(self) -> float:
        """The worst of the last second."""
        newest = min(len(self._recent_ms), round(1.0 / self.EVERY_S))
        return max((self._recent_ms[-back] for back in range(1, newest + 1)), default=0.0)

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            due = self._now() + self.EVERY_S
            await asyncio.sleep(self.EVERY_S)
            lag_ms = max(0.0, (self._now() - due) * 1000)
            self._recent_ms.append(lag_ms)
            self._metrics.lag(lag_ms)
