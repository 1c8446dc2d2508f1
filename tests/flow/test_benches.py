"""What the benches conclude from what they saw, without running a load."""

import argparse
import json
import random
import socket
import sys
import threading
import time
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from agent_sidecar.adapters.phones import e164
from agent_sidecar.adapters.telnyx_wire import decode_frame
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.domain.media import MediaFrame, StreamStart, StreamStop
from agent_sidecar.domain.types import LegId
from agent_sidecar.simulator.signing import WebhookSigner
from bench import (
    _cpu,
    _diary,
    _dressed,
    _faults,
    _history,
    _peer,
    _recount,
    _report,
    _service,
    day,
    frame_path,
    hint_latency,
    journal,
    learning_curve,
    lookups,
    wrapup,
)
from bench._day_calls import plan_day
from bench._day_faults import Moment
from bench._streams import SPOKEN, PacedStream, Pacer, Report, new_leg, sample_audio, spoken
from bench._talk import LINES, Account, Final, script

LEG = LegId("v3:prospect")


def reading(**changes: float) -> hint_latency.Reading:
    values = {
        "at": 0.0,
        "service_s": 0.0,
        "stores_s": 0.0,
        "load_s": 0.0,
        "machine_s": 0.0,
        "late_inside": 0,
        "unanswered": 0,
        "refused_calls": 0,
    }
    return hint_latency.Reading(**(values | changes))  # type: ignore[arg-type]


def final(text: str = "Is it a scam?", **changes: object) -> Final:
    values = {"leg_id": LEG, "text": text, "due_at": 1.0, "sent_at": 1.0}
    return Final(**(values | changes))  # type: ignore[arg-type]


class TestReport:
    def test_percentiles_are_values_that_were_seen(self) -> None:
        took_s = [n / 1000 for n in range(1, 101)]
        assert _report.percentiles_ms("x_", took_s, 50, 95, 99, 100) == {
            "x_p50_ms": 50.0,
            "x_p95_ms": 95.0,
            "x_p99_ms": 99.0,
            "x_p100_ms": 100.0,
        }

    def test_nothing_has_no_percentiles(self) -> None:
        assert _report.percentiles_ms("", [], 50) == {"p50_ms": None}

    def test_a_median_leaves_out_what_is_not_known(self) -> None:
        rounds: list[_report.Document] = [
            {"a": 1.0, "b": None},
            {"a": 3.0, "b": 4},
            {"a": 10.0, "b": 4},
        ]
        assert _report.medians(rounds) == {"a": 3.0, "b": 4}
        assert _report.medians([{"b": None}]) == {"b": None}

    def test_json_is_one_object_alone_on_stdout(self, capsys: pytest.CaptureFixture[str]) -> None:
        said = _report.document("made_up", {"quick": True, "calls": 3}, "aiohttp") | {"p50_ms": 1.5}
        _report.tell(said, {"p50_ms": "p50"}, argparse.Namespace(json=True, save=False))
        [line] = capsys.readouterr().out.splitlines()
        found = json.loads(line)
        assert found["p50_ms"] == 1.5
        assert {"cpu", "cores", "ram_gb", "python", "versions", "at"} <= found["setting"].keys()

    def test_a_person_sees_what_was_kept_for_the_same_load(
        self,
        tmp_path: Path,
        capsys: pytest.CaptureFixture[str],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(_report, "BASELINE", tmp_path / "baseline.json")
        load = {"quick": False, "calls": 3, "seconds": 5}
        for_people = argparse.Namespace(json=False, save=False)
        keep = argparse.Namespace(json=True, save=True)
        _report.tell(_report.document("made_up", load) | {"p50_ms": 11.25}, {}, keep)
        _report.tell(_report.document("made_up", load | {"calls": 4}) | {"p50_ms": 44.0}, {}, keep)
        capsys.readouterr()
        now = _report.document("made_up", load) | {"p50_ms": 12.5}
        _report.tell(now, {"p50_ms": "the middle"}, for_people)
        printed = capsys.readouterr().out
        assert "12.50" in printed
        assert "11.25" in printed
        assert "44.00" not in printed

    def test_a_new_baseline_takes_the_place_of_the_one_before(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(_report, "BASELINE", tmp_path / "baseline.json")
        keep = argparse.Namespace(json=True, save=True)
        for p50_ms in (1.0, 2.0):
            _report.tell(
                _report.document("made_up", {"quick": True}) | {"p50_ms": p50_ms}, {}, keep
            )
        [kept] = json.loads((tmp_path / "baseline.json").read_text())
        assert kept["p50_ms"] == 2.0


class TestArguments:
    @pytest.mark.parametrize("bench", [hint_latency, frame_path, journal, lookups, wrapup, day])
    def test_every_bench_is_quick_and_speaks_json_on_request(self, bench: object) -> None:
        given = bench.arguments(["--quick", "--json"])  # type: ignore[attr-defined]
        assert given.quick
        assert given.json
        assert not given.save

    @pytest.mark.parametrize("bench", [hint_latency, frame_path, day])
    def test_no_calls_are_refused(self, bench: object, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            bench.arguments(["--calls", "0"])  # type: ignore[attr-defined]
        assert "--calls" in capsys.readouterr().err


class TestHintLatency:
    def test_the_playbook_of_the_bench_lets_every_moment_be_answered(self, tmp_path: Path) -> None:
        thresholds = read_playbook(_service.write_playbook(tmp_path)).thresholds
        assert thresholds.hint_cool_down_s == 0
        assert thresholds.hints_per_minute == 60
        assert thresholds.hint_confidence == read_playbook(None).thresholds.hint_confidence

    def test_the_users_own_servers_are_not_touched(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SIDECAR_POSTGRES_URL", "postgresql://his/own")
        ours = _service.service_environment(tmp_path, WebhookSigner.generate())
        assert ours["SIDECAR_POSTGRES_URL"] is None
        assert str(ours["SIDECAR_DATA_DIR"]).startswith(str(tmp_path))

    def test_a_counter_is_read_by_its_name_and_reason(self) -> None:
        text = (
            "# TYPE sidecar_hints_total counter\n"
            'sidecar_hints_total{reason="shown"} 7.0\n'
            'sidecar_hints_total{reason="late"} 3.0\n'
        )
        assert hint_latency.counted(text, "sidecar_hints_total", reason="late") == 3
        assert hint_latency.counted(text, "sidecar_other_total", reason="late") == 0

    def test_a_line_without_a_hint_is_no_miss_and_a_slow_hint_is_late(self) -> None:
        finals = [
            final(ack_s=0.01, score_s=0.02, hint_s=0.05, inside_ms=40.0),
            final(ack_s=0.01, score_s=0.02, hint_s=0.6, inside_ms=480.0, degraded=("chroma",)),
            final(ack_s=0.02, score_s=0.03),
        ]
        before, after = reading(), reading(at=10.0, late_inside=2, service_s=5.0, machine_s=9.0)
        frames = Report(frames=1000, late_p99_ms=1.0, lost=0, cpu_s=1.0)
        said = hint_latency.summary(finals, before, after, frames)
        assert (said["finals"], said["hints"]) == (3, 2)
        assert (said["late"], said["late_on_the_wire"], said["late_inside"]) == (3, 1, 2)
        assert said["p50_ms"] == 50.0
        assert said["max_ms"] == 600.0
        assert said["degraded_hints"] == 1
        assert said["service_cpu_percent"] == 50.0
        assert said["load_cpu_percent"] == 10.0
        assert said["others_cpu_percent"] == 30.0

    def test_what_should_not_be_is_told_of_the_worst_run(self) -> None:
        run = dict.fromkeys(hint_latency._WORST, 0) | {"p99_ms": 10.0}
        said = hint_latency.together([run, run, run | {"late": 2, "p99_ms": 30.0}])
        assert said["late"] == 2
        assert said["p99_ms"] == 10.0
        assert len(said["each_run"]) == 3

    def test_answers_are_put_beside_the_newest_line_of_their_leg(self) -> None:
        account = Account()
        first, second = final("first", sent_at=time.monotonic()), final("second", leg_id=LegId("b"))
        account.said(first)
        account.said(second)
        score = {"type": "score", "call_control_id": LEG, "text": "first"}
        hint = {"type": "hint", "call_control_id": LEG, "latency_ms": 12.5, "degraded": ["neo4j"]}
        account.hear(score | {"text": ""})
        assert first.score_s is None
        for message in (score, hint, hint | {"latency_ms": 99.0}, {"type": "call"}):
            account.hear(message)
        assert first.score_s is not None
        assert (first.inside_ms, first.degraded) == (12.5, ("neo4j",))
        assert second.hint_s is None

    def test_what_a_fault_cost_is_told_of_the_lines_that_it_met(self) -> None:
        def said(at: float, hint_s: float | None, *degraded: str) -> Final:
            return final(sent_at=at, hint_s=hint_s, degraded=degraded)

        finals = [
            said(9.0, 0.1),
            said(10.0, 0.3, "chroma"),
            said(12.0, 0.6, "chroma"),
            said(13.0, None),
            said(20.5, 0.1, "chroma", "neo4j"),
            said(22.0, 0.1, "neo4j"),
        ]
        trouble = hint_latency.Trouble(store="chroma", begin=10.0, end=20.0, message_at=None)
        cost = hint_latency.during(finals, trouble)
        assert (cost["fault_finals"], cost["fault_hints"], cost["fault_late"]) == (3, 2, 1)
        assert (cost["fault_max_ms"], cost["recovery_s"]) == (600.0, 0.5)
        # redis is no store of hints: it is back when its channel is
        redis = replace(trouble, store="redis", message_at=23.5)
        assert hint_latency.during(finals, redis)["recovery_s"] == 3.5
        assert hint_latency.during([], trouble)["recovery_s"] == 0.0
        assert hint_latency.during([], replace(redis, message_at=None))["recovery_s"] is None

    def test_a_fault_is_a_store_and_what_it_does(self) -> None:
        given = hint_latency.arguments(["--fault", "neo4j:hung"])
        assert given.fault == _faults.Fault(store="neo4j", kind="hung")

    @pytest.mark.parametrize("text", ["neo4j", "mongodb:slow", "chroma:odd", ""])
    def test_other_faults_are_refused(self, text: str, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit):
            hint_latency.arguments(["--fault", text])
        assert "--fault" in capsys.readouterr().err

    def test_nobody_says_a_line_twice(self) -> None:
        chance = random.Random(1)  # noqa: S311
        talks = [script(chance) for _ in range(50)]
        assert all(len(set(lines)) == LINES for lines in talks)
        said = [line for lines in talks for line in lines]
        assert len(set(said)) > 0.9 * len(said)


class TestLookups:
    def test_the_numbers_of_leads_are_such_as_a_network_has(self) -> None:
        numbers = {_dressed.phone(number) for number in (0, 1, 99_999)}
        assert {e164(number) for number in numbers} == numbers

    def test_a_profile_is_given_by_fields_by_a_number_or_not_at_all(self) -> None:
        chance = random.Random(1)  # noqa: S311
        queries = [lookups._profile(chance, number, 10) for number in range(6)]
        assert [sorted(query.keys() - {"text"}) for query in queries[:3]] == [
            ["current_income_range", "experience_level"],
            ["phone"],
            [],
        ]
        assert ["text" in query for query in queries] == [False, True] * 3

    def test_a_copy_of_a_history_leaves_the_kept_one_alone(self, tmp_path: Path) -> None:
        kept = tmp_path / "kept"
        for name in ("journal.sqlite3", "run/service.json", "postgres/base/1"):
            (kept / name).parent.mkdir(parents=True, exist_ok=True)
            (kept / name).write_text("kept")
        _history.copy_history(kept, tmp_path / "copy")
        (tmp_path / "copy" / "journal.sqlite3").write_text("changed")
        assert (kept / "journal.sqlite3").read_text() == "kept"
        assert (tmp_path / "copy" / "postgres/base/1").read_text() == "kept"
        assert not (tmp_path / "copy" / "run").exists()


class TestFramePath:
    def test_the_ratios_are_of_neighbouring_rounds(self) -> None:
        def one(us: float) -> _report.Document:
            return {
                "us": us,
                "frames": 100,
                "lag_p99_ms": 1.0,
                "frames_lost": 0,
                "speech": 5,
                "voiced_percent": 40.0,
                "client_late_p99_ms": 0.5,
            }

        floor, ours = [one(10), one(20), one(10)], [one(25), one(60), one(20)]
        said = frame_path.summary(floor, ours, [(250.0, 0.4), (900.0, 0.5), (240.0, 0.4)])
        assert said["ratio_floor"] == 2.5
        assert said["floor_us"] == 10
        assert said["ours_us"] == 25
        assert said["calls_per_core"] == 400
        assert said["frames"] == 600
        assert said["ratio_pipecat"] == 12
        assert said["pipecat_us"] == 250
        assert said["pipecat_voiced_percent"] == 40
        assert "ratio_pipecat" not in frame_path.summary(floor, ours, [])

    def test_several_loads_are_given_as_a_list(self) -> None:
        assert frame_path.arguments([]).calls == [100, 300]
        assert frame_path.arguments(["--calls", "20"]).calls == [20]
        assert frame_path.arguments(["--calls", "20,40"]).calls == [20, 40]

    def test_two_fifths_of_each_track_are_speech(self) -> None:
        for audio in sample_audio().values():
            assert spoken(audio).mean() == pytest.approx(SPOKEN, abs=0.01)
        assert frame_path.voiced_percent() == pytest.approx(40, abs=1)

    def test_pipecat_is_run_by_the_interpreter_that_has_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert _peer.interpreter(tmp_path / "python", make=False) == tmp_path / "python"
        monkeypatch.setattr(_peer, "find_spec", lambda name: None)
        monkeypatch.setattr(sys, "prefix", str(tmp_path))
        assert _peer.interpreter(None, make=False) is None
        said = "".join(capsys.readouterr().err.split())
        assert str(_peer.PINS) in said
        assert "--pipecat-python" in said
        python = tmp_path / "pipecat" / "bin" / "python"
        python.parent.mkdir(parents=True)
        python.touch()
        assert _peer.interpreter(None, make=False) == python
        monkeypatch.setattr(_peer, "find_spec", lambda name: object())
        assert _peer.interpreter(None, make=False) == Path(sys.executable)


class TestDay:
    def test_a_seed_gives_the_same_day_and_all_kinds_of_calls(self) -> None:
        plans = plan_day(1000, 900.0, seed=1)
        assert plans == plan_day(1000, 900.0, seed=1)
        assert plans != plan_day(1000, 900.0, seed=2)
        assert all(20 <= plan.lasts_s <= 60 for plan in plans)
        begins = [plan.begins_s for plan in plans]
        assert begins == sorted(begins)
        assert 0 <= begins[0] <= begins[-1] <= 860
        ends = {plan.ends for plan in plans}
        assert len(ends) == 6
        assert {plan.behaviour for plan in plans} >= {"accepts", "declines", "voicemail"}

    def test_memory_grows_by_what_a_line_through_its_last_part_rises(self) -> None:
        warming = [(float(n), 100.0 + 10 * n) for n in range(30)]
        flat = [(float(n), 400.0 + n % 2) for n in range(30, 90)]
        assert day.growth_mb([*warming, *flat]) == pytest.approx(0, abs=0.2)
        leaking = [(float(n), 400.0 + 0.5 * n) for n in range(90)]
        assert day.growth_mb(leaking) == pytest.approx(29.5, abs=0.1)
        assert day.growth_mb(flat[:3]) is None

    def test_a_killed_service_owes_no_hint_and_a_hanging_store_does(self) -> None:
        began, shift = time.monotonic(), time.time() - time.monotonic()
        finals = [
            final(sent_at=began + 10, hint_s=0.1),
            final(sent_at=began + 20, hint_s=9.0),
            final(sent_at=began + 30, hint_s=0.6),
        ]
        happened = [
            Moment(what="service killed", begin=began + shift + 19, end=began + shift + 22),
            Moment(what="chroma hung", begin=began + shift + 29, end=began + shift + 32),
        ]
        said = day._hints(finals, happened)
        assert (said["hints"], said["late"], said["p99_ms"]) == (2, 1, 600.0)


class TestStreams:
    def test_a_paced_stream_is_what_telnyx_sends_at_its_pace(self) -> None:
        received = bytearray()
        with socket.create_server(("127.0.0.1", 0)) as server:
            reader = threading.Thread(target=_read_all, args=(server, received))
            reader.start()
            pacer = Pacer()
            url = f"ws://127.0.0.1:{server.getsockname()[1]}/telnyx/media"
            pacer.add(PacedStream(url, new_leg(LEG), upgrade=False))
            pacer.run(time.monotonic() + 0.4)
            pacer.close()
            reader.join(timeout=2)
        frames = _frames(bytes(received))
        start, media = frames[1], [f for f in frames if isinstance(f, MediaFrame)]
        assert isinstance(start, StreamStart)
        assert start.leg_id == LEG
        assert isinstance(frames[-1], StreamStop)
        # two tracks of 50 a second; a busy machine sends what is missing later, never more
        assert 20 <= len(media) <= 42
        assert pacer.paced.frames == len(media)
        for track in ("inbound", "outbound"):
            chunks = [frame.chunk for frame in media if frame.track == track]
            assert chunks == list(range(1, len(chunks) + 1))
        assert all(len(frame.payload) == 160 for frame in media)

    def test_a_server_that_goes_away_is_counted(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            url = f"ws://127.0.0.1:{server.getsockname()[1]}/telnyx/media"
            pacer = Pacer()
            pacer.add(PacedStream(url, new_leg(), upgrade=False))
            server.accept()[0].close()
            pacer.run(time.monotonic() + 0.2)
        assert pacer.paced.lost == 1


@pytest.mark.skipif(not _cpu.is_known(), reason="needs /proc")
class TestCpu:
    def test_work_shows_in_the_time_used(self) -> None:
        pid = _cpu.family(_pid())[0]
        before, machine = _cpu.used_s(pid), _cpu.busy_s()
        until = time.process_time() + 0.15
        while time.process_time() < until:
            pass
        assert 0.1 <= _cpu.used_s(pid) - before <= 0.5
        assert _cpu.busy_s() > machine

    def test_a_process_that_has_ended_used_nothing(self) -> None:
        assert _cpu.used_s(2**22 + 1) == 0.0


def _pid() -> int:
    return int(Path("/proc/self").readlink().name)


def _read_all(server: socket.socket, into: bytearray) -> None:
    connection, _ = server.accept()
    with connection:
        while data := connection.recv(65536):
            into += data


def _frames(raw: bytes) -> list[object]:
    protocol = ServerProtocol(state=State.OPEN)
    protocol.receive_data(raw)
    return [
        decode_frame(bytes(frame.data))
        for frame in protocol.events_received()
        if isinstance(frame, Frame) and frame.opcode is Opcode.TEXT
    ]


class TestLearningCurve:
    def test_a_recount_says_what_anybody_would_count(self) -> None:
        began = _diary.BEGAN_AT
        hint = _diary.HintGiven(chance=0.6, base_rate=0.5, status="used", reaction=80.0)
        good = _diary.RawCall(
            call_id="a",
            source="live",
            started_at=began,
            ended_at=began + timedelta(seconds=60),
            status="video_sent",
            qualified=True,
            engagement=60.25,
            transfers=(True, False, False),
            hints=(hint, replace(hint, reaction=20.0), replace(hint, base_rate=None)),
        )
        unknown = replace(good, status="unknown", qualified=None, transfers=(), hints=())
        calls = [
            good,
            replace(unknown, engagement=60.0),
            replace(good, source="demo"),
            replace(unknown, status="no_answer"),
        ]
        zone = ZoneInfo("UTC")
        young = _recount.recount(calls, zone, began + timedelta(hours=3))
        rest = tuple(map(Decimal, ("60.13", "33.33", "50.00", "5.00")))
        assert young == {began.date(): (2, Decimal("100.00"), *rest)}
        old = _recount.recount(calls, zone, began + timedelta(hours=25))
        assert old == {began.date(): (2, Decimal("50.00"), *rest)}

    def test_a_campaign_has_its_truth_and_everything_that_makes_counting_hard(self) -> None:
        news = _diary.campaign(40, 50, seed=2)
        assert [one.at for one in news] == sorted(one.at for one in news)
        assert {one.kind for one in news} == {"new", "late", "again", "corrected", "erased"}
        last = {one.call.call_id: one.call for one in news}
        ends = [
            bool(call.qualified)
            for call in last.values()
            if call.status != "no_answer" and int(call.call_id[1:].split("-")[0]) >= 30
        ]
        truth = sum(_diary.true_rate(day, 40) for day in range(30, 40)) / 10
        assert sum(ends) / len(ends) == pytest.approx(truth, abs=0.07)

    def test_a_digit_that_differs_is_told_with_its_day(self) -> None:
        account = learning_curve.Account()
        account.compare("2026-02-09 qualified_rate", "33.33", "33.33")
        assert account.wrong == []
        account.compare("2026-02-09 qualified_rate", "33.3", "33.33")
        assert account.wrong == ["2026-02-09 qualified_rate: 33.3, not 33.33"]
