"""`policy try`: finished calls played under another playbook or other thresholds, and compared."""

import argparse
import asyncio
import heapq
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from difflib import get_close_matches

from rich.progress import Progress

from agent_sidecar.adapters.model_prepare import ensure_model
from agent_sidecar.adapters.onnx_embedder import OnnxEmbedder, read_card
from agent_sidecar.adapters.playbook_vectors import PlaybookVectors
from agent_sidecar.adapters.weights_file import weights_in_use
from agent_sidecar.adapters.yaml_playbook import read_playbook
from agent_sidecar.clock import SystemClock
from agent_sidecar.commands.borrowed import Borrowed, borrowed_stores, finished_records
from agent_sidecar.commands.drawing import check_plot_file
from agent_sidecar.commands.players import Players
from agent_sidecar.commands.policy_plot import draw
from agent_sidecar.commands.policy_view import show
from agent_sidecar.commands.terminal import out_json, paper, screen
from agent_sidecar.domain.hints import Evidence
from agent_sidecar.domain.language import Reader
from agent_sidecar.domain.playbook import Playbook, Thresholds
from agent_sidecar.domain.playbook_check import mistakes
from agent_sidecar.domain.record import CallRecord
from agent_sidecar.domain.strategies import why_not_live
from agent_sidecar.errors import SettingsInvalid
from agent_sidecar.learning.policy_replay import Policy, without_vectors
from agent_sidecar.learning.policy_try import Both, Comparison, compare
from agent_sidecar.live.warm import WarmCopy
from agent_sidecar.settings import Settings
from agent_sidecar.upkeep import playbook_vectors


@dataclass(slots=True)
class _Seen:
    """What was found on the way."""

    first_at: datetime | None = None
    last_at: datetime | None = None
    # calls whose vectors are not of the model in use
    by_words_alone: int = 0


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Compare the playbook in use with another one."""
    check_plot_file(arguments.plot)
    in_use = read_playbook(settings.playbook)
    tried = in_use if arguments.other is None else read_playbook(arguments.other)
    tried = with_thresholds(tried, arguments.set or ())
    if arguments.other is None and not arguments.set:
        raise SettingsInvalid("nothing to try: give --playbook FILE, or --set THRESHOLD=VALUE")
    comparison, seen = asyncio.run(_try(settings, arguments, in_use, tried))
    if arguments.plot is not None:
        draw(comparison, arguments.plot)
    if arguments.json:
        found = comparison.to_json()
        out_json({**found, "calls_by_words_alone": seen.by_words_alone})
        return 0
    if seen.first_at is None or seen.last_at is None:
        paper.print("no finished calls to play: none is stored, or none is young enough")
        return 0
    show(comparison, since=seen.first_at, until=seen.last_at, by_words_alone=seen.by_words_alone)
    if arguments.plot is not None:
        screen.print(f"picture: {arguments.plot}")
    return 0


def with_thresholds(playbook: Playbook, given: Sequence[str]) -> Playbook:
    """Return the playbook with thresholds from `name=value`. Raises `SettingsInvalid`."""
    kinds = {one.name: type(getattr(Thresholds(), one.name)) for one in fields(Thresholds)}
    values: dict[str, float] = {}
    for one in given:
        name, _, text = one.partition("=")
        name = name.strip()
        if name not in kinds:
            close = get_close_matches(name, kinds, n=1)
            meant = f"did you mean {close[0]}? " if close else ""
            raise SettingsInvalid(
                f"--set {one}: {meant}thresholds are {', '.join(kinds)}; for example --set"
                " transfer_engagement=80"
            )
        try:
            values[name] = kinds[name](text)
        except ValueError:
            kind = "a whole number" if kinds[name] is int else "a number"
            raise SettingsInvalid(f"--set {one}: {text!r} must be {kind}") from None
    changed = replace(playbook, thresholds=replace(playbook.thresholds, **values))  # type: ignore[arg-type]
    for mistake in mistakes(changed):
        raise SettingsInvalid(f"with {', '.join(given) or 'this playbook'}: {mistake.text}")
    return changed


async def _try(
    settings: Settings, arguments: argparse.Namespace, in_use: Playbook, tried: Playbook
) -> tuple[Comparison, _Seen]:
    async with borrowed_stores(settings) as borrowed:
        evidence = await borrowed.stores.evidence.everything(SystemClock().now())
        policies = await _policies(settings, (in_use, tried), evidence)
        records = _records(
            borrowed,
            since=_since(arguments.since),
            only_evidence=not arguments.replays,
            limit=arguments.limit,
        )
        seen = _Seen()
        model = read_card(ensure_model(settings.models, settings.model, screen.print)).name
        played = await _play(records, policies, model, seen)
    return compare(played, in_use, tried), seen


async def _policies(
    settings: Settings, playbooks: Sequence[Playbook], evidence: Sequence[Evidence]
) -> tuple[Policy, ...]:
    """Make the policies ready: only texts that the data folder has no vectors of are embedded."""
    folder = ensure_model(settings.models, settings.model, screen.print)
    embedder = await asyncio.to_thread(OnnxEmbedder.open, folder)
    made = []
    try:
        kept = PlaybookVectors(settings.data_dir, embedder.card)
        for playbook in playbooks:
            vectors = await playbook_vectors(embedder, playbook, kept, keep=False)
            weights = weights_in_use(
                settings.weights, model=embedder.name, dimension=embedder.dimension
            )
            if why_not_live(weights.strategies, playbook) is not None:
                weights = replace(weights, strategies=None)
            reader = Reader(playbook, vectors)
            memory = WarmCopy(reader)
            memory.remember(evidence)
            made.append(Policy(reader=reader, weights=weights, memory=memory))
    finally:
        await embedder.aclose()
    return tuple(made)


async def _play(
    records: AsyncIterator[Sequence[CallRecord]],
    policies: Sequence[Policy],
    model: str,
    seen: _Seen,
) -> list[Both]:
    """Play every call under both policies, on all cores."""
    played: list[Both] = []
    with Progress(console=screen, transient=True) as progress, Players(policies) as players:
        task = progress.add_task("playing calls", total=None)
        async for some in records:
            for record in some:
                seen.first_at = min(seen.first_at or record.started_at, record.started_at)
                seen.last_at = max(seen.last_at or record.started_at, record.started_at)
            foreign = [r for r in some if r.configuration.model != model]
            seen.by_words_alone += len(foreign)
            calls = [without_vectors(r) if r.configuration.model != model else r for r in some]
            async for both in players.play(calls):
                played += both
                progress.update(task, completed=len(played))
        async for both in players.rest():
            played += both
            progress.update(task, completed=len(played))
    return played


def _since(days: float | None) -> datetime | None:
    return None if days is None else SystemClock().now() - timedelta(days=days)


async def _records(
    borrowed: Borrowed, *, since: datetime | None, only_evidence: bool, limit: int | None
) -> AsyncIterator[Sequence[CallRecord]]:
    """Yield finished calls, each once: those of the journal, then what only the store has."""
    found = finished_records(borrowed, since=since, only_evidence=only_evidence)
    if limit is None:
        async for some in found:
            yield some
        return
    newest: list[tuple[datetime, str, CallRecord]] = []
    async for some in found:
        newest += ((r.started_at, r.call_id, r) for r in some)
        newest = heapq.nlargest(limit, newest, key=lambda one: one[:2])
    yield [record for _, _, record in newest]
