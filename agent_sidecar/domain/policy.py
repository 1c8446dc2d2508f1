"""When to ask for hints, when to show one, when to propose the transfer: all in call time.

Silence is an answer: a moment that is not worth a hint gets none, and no more than the playbook's
cap per minute are shown, whatever they are for. A transfer needs engagement that stays high (with
hysteresis), or a prospect who asks for the next step or a person, in a phase that allows it; one at
a time.
"""

from collections import deque
from collections.abc import Collection
from dataclasses import dataclass

from agent_sidecar.domain.engagement import EngagementScore
from agent_sidecar.domain.language import Meaning
from agent_sidecar.domain.playbook import Playbook, Thresholds
from agent_sidecar.domain.record import TransferOutcome

# a fall of the call's score that is a moment to help in
DROP = 4.0
# after these the prospect or the closer has decided: no second attempt in this call
FINAL_OUTCOMES: Collection[TransferOutcome] = frozenset({"bridged", "prospect_hung_up"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """One prospect segment as the policy sees it; `at_s` in seconds of call time."""

    at_s: float
    phase: int
    score: EngagementScore
    # the call's score before it
    before: float
    meaning: Meaning | None


class HintPolicy:
    """Decides whether a moment is worth a question, and whether an answer may be shown."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._thresholds = thresholds
        self._shown_at_s: deque[float] = deque()

    def wants_hints(self, moment: Moment) -> bool:
        """Say whether to ask now what has worked."""
        return self._may_show(moment.at_s, urgent=False) and _is_worth_it(moment)

    def show(self, at_s: float, *, urgent: bool = False) -> bool:
        """Say whether a hint may be shown now; if so, it counts as shown.

        An urgent one answers what we did ourselves, so it does not wait for the cool-down.
        """
        if not self._may_show(at_s, urgent=urgent):
            return False
        self._shown_at_s.append(at_s)
        return True

    def _may_show(self, at_s: float, *, urgent: bool) -> bool:
        shown = self._shown_at_s
        while shown and shown[0] <= at_s - 60.0:
            shown.popleft()
        if len(shown) >= self._thresholds.hints_per_minute:
            return False
        cool_down_s = 0.0 if urgent else self._thresholds.hint_cool_down_s
        return not shown or at_s - shown[-1] >= cool_down_s


def _is_worth_it(moment: Moment) -> bool:
    if moment.score.call <= moment.before - DROP:
        return True
    return moment.meaning is not None and is_worth_a_question(moment.meaning)


def is_worth_a_question(meaning: Meaning) -> bool:
    """Say whether the words of a line alone make it a moment to help in."""
    if meaning.is_refusal:
        return False
    return bool(
        meaning.objection is not None or meaning.buying_signal is not None or meaning.questions
    )


class TransferPolicy:
    """Decides when to hand the prospect over."""

    def __init__(self, playbook: Playbook) -> None:
        self._playbook = playbook
        self._high_segments = 0
        self._running = False
        self._over = False
        self._again_at_s = 0.0

    @property
    def is_running(self) -> bool:
        """An attempt has been started and has not ended."""
        return self._running

    def consider(self, moment: Moment) -> tuple[str, ...]:
        """Return the reasons to transfer now; empty: do not."""
        thresholds = self._playbook.thresholds
        if moment.score.call >= thresholds.transfer_engagement:
            self._high_segments += 1
        elif moment.score.call < thresholds.transfer_release:
            self._high_segments = 0
        if self._running or self._over or moment.at_s < self._again_at_s:
            return ()
        if not self._playbook.phase(moment.phase).allows_transfer:
            return ()
        return self._reasons(moment)

    def started(self) -> None:
        """Remember that an attempt runs."""
        self._running = True

    def ended(self, at_s: float, outcome: TransferOutcome | None) -> None:
        """Remember how the attempt ended; another is possible after the cool-down."""
        self._running = False
        self._high_segments = 0
        self._over = self._over or outcome in FINAL_OUTCOMES
        self._again_at_s = at_s + self._playbook.thresholds.transfer_cool_down_s

    def veto(self) -> None:
        """Propose no transfer in this call any more."""
        self._over = True

    def _reasons(self, moment: Moment) -> tuple[str, ...]:
        thresholds = self._playbook.thresholds
        reasons = []
        if self._high_segments >= thresholds.transfer_segments:
            reasons.append(
                f"engagement {moment.score.call:.0f} over {self._high_segments} segments"
            )
        meaning = moment.meaning
        asks = meaning is not None and meaning.buying_signal is not None
        if meaning is not None and asks and not meaning.is_refusal:
            reasons.append(f"asks for the next step: “{meaning.buying_signal}”")
        if reasons:
            reasons += [f"{part.name}: {part.why}" for part in moment.score.parts[:2]]
        return tuple(reasons)
