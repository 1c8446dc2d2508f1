"""Whatever a playbook file holds: a playbook, or mistakes that lie within the file."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_sidecar.adapters.yaml_playbook import (
    Checked,
    check_playbook,
    check_text,
    default_playbook_text,
    in_lines,
    read_playbook,
)
from agent_sidecar.errors import PlaybookInvalid

DEFAULT = default_playbook_text()
LINES = DEFAULT.splitlines()
# what people and editors leave in YAML files
ODD = (
    "\t- tab",
    "- [",
    "{",
    "key: : value",
    "  - {a: 1, b: [2}",
    "&a [*a, *a]",
    "<<: *nobody",
    "<<: {name: merged}",
    "name: ",
    "name: 12",
    "phases: none",
    "thresholds: {transfer_engagement: high}",
    "thresholds: {hint_cool_down_s: .inf}",
    "strategies: [1, null, {name: x}]",
    '"unfinished',
    "? complex\n: key",
    "--- ",
    "!!python/object:os.system {}",
    "\ud7ff\u2028 more",
    "a: " + "[" * 200,
)


def place(text: str, line_with: str) -> int:
    """Return the number of the first line that has this."""
    return next(n for n, line in enumerate(text.splitlines(), 1) if line_with in line)


def is_told(text: str, checked: Checked) -> bool:
    """Say whether there is a playbook, or a mistake that a person can find."""
    last = max(1, len(text.splitlines()))
    told = (*checked.mistakes, *checked.warnings)
    is_within = all(1 <= one.line <= last and one.text for one in told)
    return is_within and (checked.playbook is not None) != bool(checked.mistakes)


def test_the_playbook_that_ships_is_right_and_has_nothing_odd():
    checked = check_playbook(None)
    assert checked.playbook is not None
    assert (checked.mistakes, checked.warnings) == ((), ())


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(("drop", "twice", "odd", "cut", "indent", "garble")),
            st.integers(0, len(LINES) - 1),
            st.sampled_from(ODD),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_a_damaged_file_is_told_or_read_and_never_breaks(damages):
    lines = list(LINES)
    for kind, at, odd in damages:
        at %= len(lines)
        line = lines[at]
        match kind:
            case "drop":
                lines[at : at + 1] = [""]
            case "twice":
                lines.insert(at, line)
            case "odd":
                lines.insert(at, odd)
            case "cut":
                lines[at] = line[: len(line) // 2]
            case "indent":
                lines[at] = f" {line}"
            case _:
                lines[at] = line.replace(":", " ").replace("-", "")
    text = "\n".join(lines)
    assert is_told(text, check_text(text))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=200))
def test_no_text_breaks_the_check(text):
    assert is_told(text, check_text(text))


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ("hint_confidence: ", "hint_confidense: ", "did you mean `hint_confidence`?"),
        ("hint_confidence: ", "hint_confidence: much # ", "must be a number"),
        ("hints_per_minute: ", "hints_per_minute: 2.5 # ", "must be a whole number"),
        ("transfer_engagement: ", "transfer_engagement: 101 # ", "it must be 0 to 100"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_what_to_do(before, after, says):
    text = DEFAULT.replace(before, after, 1)
    assert text != DEFAULT
    [told] = check_text(text).mistakes
    assert told.line == place(DEFAULT, before)
    assert says in told.text
    assert in_lines("mine.yaml", [told])[0].startswith(f"mine.yaml:{told.line}: thresholds")


def test_all_mistakes_are_told_at_once_in_the_order_of_the_file():
    text = DEFAULT.replace("hint_confidence: ", "hint_confidense: ", 1).replace(
        "strategies:\n", "strategies:\n  - {name: reframe}\n", 1
    )
    lines = [one.line for one in check_text(text).mistakes]
    assert len(lines) > 1
    assert lines == sorted(lines)


def test_a_file_that_is_not_there_or_no_text_is_told(tmp_path):
    with pytest.raises(PlaybookInvalid, match=r"cannot read the playbook .*none\.yaml"):
        read_playbook(tmp_path / "none.yaml")
    (tmp_path / "latin.yaml").write_bytes("name: x\nsay: caf\xe9\n".encode("latin-1"))
    with pytest.raises(PlaybookInvalid, match=r"latin\.yaml:2: not UTF-8 text"):
        read_playbook(tmp_path / "latin.yaml")
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    with pytest.raises(PlaybookInvalid, match="playbook show"):
        read_playbook(tmp_path / "empty.yaml")
