"""Logs and metrics: what happened, without words, audio, phone numbers or secrets."""

import asyncio
import logging
import re
import sys
from collections import deque
from collections.abc import Iterable, MutableMapping
from typing import Literal

import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

_PHONE = re.compile(r"\+?\d[\d\s().-]{6,}\d")
_SECRET = re.compile(r"(?i)(?:pass(?:word)?|token|secret|api_?key|authorization)")
# values of these are ids or addresses, in which digits are no phone number
_PLAIN = frozenset({"call_id", "event", "timestamp", "level", "port", "pid", "url", "file"})


def set_up_logging(level: str, log_format: Literal["auto", "console", "json"]) -> None:
    """Log to stderr: for people on a terminal, JSON lines otherwise."""
    for_people = log_format == "console" or (log_format == "auto" and sys.stderr.isatty())
    render: structlog.types.Processor = (
        structlog.dev.ConsoleRenderer() if for_people else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *([] if for_people else [structlog.processors.dict_tracebacks]),
            redact,
            render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    # libraries: only what somebody must look at
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    logging.getLogger("neo4j").setLevel(logging.ERROR)


def redact(
    _logger: object, _method: str, event: MutableMapping[str, object]
) -> MutableMapping[str, object]:
    """Take out what must never reach a log: the second line of defence, after not logging it."""
    for key, value in event.items():
        if _SECRET.search(key):
            event[key] = "[hidden]"
        elif isinstance(value, str) and key not in _PLAIN:
            event[key] = _PHONE.sub(_hide_number, value)
    return event


def _hide_number(match: re.Match[str]) -> str:
    digits = sum(c.isdigit() for c in match[0])
    # shorter is a count, a date or a time
    return "[number]" if 8 <= digits <= 15 and "-" not in match[0][4:8] else match[0]


class Metrics:
    """Everything that is counted, in a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._hint_ms = self._histogram(
            "hint_latency_ms",
            "From the final text to the hint on the wire.",
            (5, 10, 20, 35, 50, 75, 100, 150, 250, 350, 500, 1000),
        )
        self._lag_ms = self._histogram(
            "event_loop_lag_ms", "How late the loop is.", (1, 2, 5, 10, 15, 25, 50, 100, 250, 1000)
        )
        self._open_calls = Gauge(
            "sidecar_open_calls", "Calls that are up.", registry=self._registry
        )

    def count(self, name: str, reason: str = "") -> None:
        """Count one of something; `reason` is one of few fixed words."""
        counter = self._counters.get(name)
        if counter is None:
            counter = self._counters[name] = Counter(
                f"sidecar_{name}",
                f"{name.replace('_', ' ')} by reason.",
                ["reason"],
                registry=self._registry,
            )
        counter.labels(reason=reason).inc()

    def hint_shown(self, latency_ms: float) -> None:
        self.count("hints", "shown")
        self._hint_ms.observe(latency_ms)

    def hint_late(self) -> None:
        self.count("hints", "late")

    def degraded(self, stores: Iterable[str]) -> None:
        for store in stores:
            self.count("degraded", store)

    def delivery(self, store: str, state: str) -> None:
        self.count("deliveries", f"{store}_{state}")

    def lag(self, lag_ms: float) -> None:
        self._lag_ms.observe(lag_ms)

    def open_calls(self, calls: int) -> None:
        self._open_calls.set(calls)

    def render(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

    def _histogram(self, name: str, about: str, buckets: tuple[float, ...]) -> Histogram:
        return Histogram(f"sidecar_{name}", about, buckets=buckets, registry=self._registry)


class LagMeter:
    """Measures how late the event loop is."""

    EVERY_S = 0.1
    KEPT = 600

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._recent_ms: deque[float] = deque(maxlen=self.KEPT)

    @property
    def p99_ms(self) -> float:
        """The 99th percentile of the last minute; 0 before anything was measured."""
        if not self._recent_ms:
            return 0.0
        ordered = sorted(self._recent_ms)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]

    async def run(self) -> None:
        """Measure until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + self.EVERY_S
            await asyncio.sleep(self.EVERY_S)
            lag_ms = max(0.0, (loop.time() - due) * 1000)
            self._recent_ms.append(lag_ms)
            self._metrics.lag(lag_ms)
