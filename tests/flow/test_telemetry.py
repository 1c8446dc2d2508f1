import asyncio
import json
import logging
from collections.abc import Callable
from contextlib import suppress

import pytest
import structlog

from agent_sidecar.telemetry import LagMeter, Metrics, redact, set_up_logging


@pytest.fixture
def lines(own_logging: None, capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Return what asks for everything logged so far."""
    return lambda: capsys.readouterr().err


def redacted(**event: object) -> dict[str, object]:
    return dict(redact(None, "info", dict(event)))


class TestRedacting:
    @pytest.mark.parametrize(
        "text",
        [
            "dial +15551234567 failed",
            "to:+15551234567",
            "sip:+15551234567@example.com",
            "+1 (555) 123-4567",
            "+49 30 1234567",
            "call (555) 123-4567 now",
            "555-123-4567",
            "15551234567",
        ],
    )
    def test_a_phone_number_is_hidden_wherever_it_stands(self, text):
        shown = str(redacted(error=text)["error"])
        assert "[number]" in shown
        assert not any(part in shown for part in ("4567", "555", "1234567"))

    @pytest.mark.parametrize(
        "text",
        [
            "2026-11-22T19:08:15.123456+00:00",
            "call-20261122190815",
            "0b7e6c2e-5d9f-4c56-9f0f-1234567890ab",
            "v3:AbC1234567890_x",
            "127.0.0.1:54321 took 12345 ms",
            "chromadb 1.5.9 of 1.10.11",
            "sha256:1234567890123456",
            "3.14159265358979",
        ],
    )
    def test_ids_times_and_addresses_stay_readable(self, text):
        assert redacted(error=text)["error"] == text

    @pytest.mark.parametrize(
        ("text", "shown"),
        [
            ("postgresql://u:p%40ss@db:5432/x", "postgresql://[hidden]@db:5432/x"),
            ("unix://:secret@/run/s", "unix://[hidden]@/run/s"),
            ("GET /media?token=abc.def&x=1", "GET /media?token=[hidden]&x=1"),
            ("Authorization: Bearer abcdef123456", "Authorization: Bearer [hidden]"),
            ("KEY0123456789ABCDEF0123_xyzXYZ is wrong", "[hidden] is wrong"),
        ],
    )
    def test_secrets_inside_texts_are_hidden(self, text, shown):
        assert redacted(error=text)["error"] == shown

    def test_what_is_private_or_secret_by_its_name_is_hidden(self):
        names = ("text", "phone", "api_key", "stream_token", "passwd", "Authorization")
        event = redacted(**dict.fromkeys(names, "I want it"))
        assert set(event.values()) == {"[hidden]"}

    def test_it_looks_inside(self):
        event = redacted(call={"legs": [{"phone": "x", "to": "+15551234567"}], "vector": b"123"})
        assert event == {
            "call": {"legs": [{"phone": "[hidden]", "to": "[number]"}], "vector": "[3 bytes]"}
        }

    def test_numbers_and_ids_stay(self):
        event = {"event": "call_taken_up", "call_id": "15551234567890", "took_s": 1.5, "ok": None}
        assert redacted(**event) == event


def _fail_and_log(spoken: str) -> None:
    try:
        int(spoken[:0] + "+15551234567 is no digit")
    except ValueError:
        structlog.get_logger().exception("dial_failed")
        raise


class TestLogging:
    def test_machines_get_one_json_object_a_line_with_the_call(self, lines):
        set_up_logging("info", "json")
        with structlog.contextvars.bound_contextvars(call_id="call-1"):
            structlog.get_logger().info("segment_scored", score=61.5)
        structlog.get_logger().debug("not_wanted")
        (line,) = lines().splitlines()
        entry = json.loads(line)
        assert (entry["event"], entry["call_id"], entry["score"]) == (
            "segment_scored",
            "call-1",
            61.5,
        )
        assert entry["level"] == "info"

    @pytest.mark.parametrize("log_format", ["json", "console"])
    def test_a_traceback_shows_no_variables_and_no_numbers(self, lines, log_format):
        set_up_logging("info", log_format)
        with suppress(ValueError):
            _fail_and_log("these words are private")
        logged = lines()
        assert "private" not in logged
        assert "4567" not in logged
        assert "[number] is no digit" in logged

    def test_libraries_are_heard_from_warnings_on_and_redacted_too(self, lines):
        set_up_logging("info", "json")
        library = logging.getLogger("some.library")
        library.info("connecting to redis://:pw@host")
        library.warning("cannot connect to %s", "redis://:pw@host")
        (line,) = lines().splitlines()
        entry = json.loads(line)
        assert entry["event"] == "cannot connect to redis://[hidden]@host"
        assert entry["logger"] == "some.library"

    def test_a_value_that_json_does_not_know_is_no_accident(self, lines):
        set_up_logging("info", "json")
        structlog.get_logger().info("odd", value=object(), path={1, 2})
        assert json.loads(lines())["event"] == "odd"


class TestMetrics:
    def test_everything_shows_up_with_its_labels(self):
        metrics = Metrics()
        metrics.count("webhooks", "repeated")
        metrics.count("frames", amount=50)
        metrics.hint_shown(42.0)
        metrics.hint_late()
        metrics.hint_silent()
        metrics.degraded(["neo4j", "chroma"])
        metrics.delivery("postgres", "delivered")
        metrics.open_calls(3)
        text = metrics.render().decode()
        for line in (
            'sidecar_webhooks_total{reason="repeated"} 1.0',
            'sidecar_frames_total{reason=""} 50.0',
            'sidecar_hints_total{reason="shown"} 1.0',
            'sidecar_hints_total{reason="late"} 1.0',
            'sidecar_hints_total{reason="silent"} 1.0',
            'sidecar_degraded_total{store="neo4j"} 1.0',
            'sidecar_deliveries_total{state="delivered",store="postgres"} 1.0',
            "sidecar_open_calls 3.0",
            'sidecar_hint_latency_ms_bucket{le="50.0"} 1.0',
        ):
            assert line in text

    def test_two_in_one_process_do_not_meet(self):
        one, two = Metrics(), Metrics()
        one.count("webhooks", "repeated")
        assert "sidecar_webhooks_total" not in two.render().decode()


class TestLag:
    async def test_a_loop_that_is_never_late_has_none(self):
        meter = LagMeter(Metrics(), now=asyncio.get_running_loop().time)
        assert meter.p99_ms == 0.0
        task = asyncio.create_task(meter.run())
        await asyncio.sleep(60)
        task.cancel()
        assert meter.p99_ms == pytest.approx(0.0, abs=0.01)

    async def test_one_hiccup_at_the_start_is_no_lag(self):
        loop = asyncio.get_running_loop()
        held_up_s = 0.0
        meter = LagMeter(Metrics(), now=lambda: loop.time() + held_up_s)
        task = asyncio.create_task(meter.run())
        await asyncio.sleep(meter.EVERY_S * 2.5)
        held_up_s += 0.4
        await asyncio.sleep(1)
        assert meter.p99_ms == pytest.approx(0.0, abs=0.01)
        task.cancel()

    async def test_lag_shows_and_is_forgotten_again(self):
        loop = asyncio.get_running_loop()
        held_up_s = 0.0
        meter = LagMeter(Metrics(), now=lambda: loop.time() + held_up_s)
        task = asyncio.create_task(meter.run())
        await asyncio.sleep(10)
        for _ in range(10):
            await asyncio.sleep(meter.EVERY_S)
            held_up_s += 0.2
        await asyncio.sleep(1)
        assert meter.p99_ms == pytest.approx(200, rel=0.05)
        await asyncio.sleep(meter.EVERY_S * meter.KEPT)
        assert meter.p99_ms == pytest.approx(0.0, abs=0.01)
        task.cancel()
