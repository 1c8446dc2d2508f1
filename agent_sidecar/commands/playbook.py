"""`playbook check` and `playbook show`."""

import argparse
from dataclasses import asdict

from agent_sidecar.adapters.yaml_playbook import (
    Checked,
    check_playbook,
    default_playbook_text,
    in_lines,
)
from agent_sidecar.commands.terminal import complain, out, out_json
from agent_sidecar.domain.playbook import Playbook
from agent_sidecar.errors import ModelMissing
from agent_sidecar.settings import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Check a playbook, or print the one that ships."""
    if arguments.action == "show":
        out(default_playbook_text().rstrip())
        return 0
    path = arguments.file or settings.playbook
    name = str(path or "the default playbook")
    checked = check_playbook(path)
    new = None if checked.playbook is None else _new_texts(settings, checked.playbook)
    if arguments.json:
        out_json(_json(name, checked, new))
    else:
        _tell(name, checked, new)
    return 1 if checked.playbook is None else 0


def _tell(name: str, checked: Checked, new: tuple[int, int] | None) -> None:
    for line in in_lines(name, checked.mistakes):
        complain(line)
    for line in in_lines(name, checked.warnings, "warning: "):
        complain(line)
    playbook = checked.playbook
    if playbook is None:
        return
    odd = f"; {len(checked.warnings)} warnings" if checked.warnings else ""
    out(
        f"{name}: fine. {playbook.name}: {len(playbook.phases)} phases,"
        f" {len(playbook.strategies)} strategies, {len(playbook.objections)} objections,"
        f" closers: {', '.join(c.name for c in playbook.closers)}{odd}"
    )
    if new is not None:
        out(f"{new[0]} of its {new[1]} texts are new here: the next start embeds those")


def _json(name: str, checked: Checked, new: tuple[int, int] | None) -> dict[str, object]:
    playbook = checked.playbook
    return {
        "file": name,
        "ok": playbook is not None,
        "mistakes": [asdict(one) for one in checked.mistakes],
        "warnings": [asdict(one) for one in checked.warnings],
        "playbook": playbook
        and {
            "name": playbook.name,
            "phases": len(playbook.phases),
            "strategies": [strategy.name for strategy in playbook.strategies],
            "objections": [objection.type for objection in playbook.objections],
            "closers": [closer.name for closer in playbook.closers],
        },
        "new_texts": new and new[0],
    }


def _new_texts(settings: Settings, playbook: Playbook) -> tuple[int, int] | None:
    """Return how many texts have no vector in the data folder, of how many; None: no model yet."""
    # half a second that a playbook with mistakes need not wait for
    from agent_sidecar.adapters.model_folder import folder_of
    from agent_sidecar.adapters.model_prepare import DEFAULT_MODEL, DEFAULT_NAMES
    from agent_sidecar.adapters.onnx_embedder import read_card
    from agent_sidecar.adapters.playbook_vectors import PlaybookVectors
    from agent_sidecar.domain.language import texts_to_embed

    try:
        model = DEFAULT_MODEL if settings.model in DEFAULT_NAMES else settings.model
        card = read_card(folder_of(settings.models, model))
    except ModelMissing:
        return None
    texts = texts_to_embed(playbook)
    return len(PlaybookVectors(settings.data_dir, card).missing(texts)), len(texts)
