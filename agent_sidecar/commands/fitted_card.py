"""The card of weights that were fitted just now."""

from collections.abc import Sequence

from agent_sidecar.adapters.onnx_embedder import OnnxEmbedder
from agent_sidecar.adapters.weights_file import FittedOn, WeightsCard, version_of
from agent_sidecar.clock import SystemClock
from agent_sidecar.domain.engagement import Weights
from agent_sidecar.learning.fit_score import ScoreFit
from agent_sidecar.learning.scored_lines import Sides


def card_of(
    fitted: ScoreFit,
    weights: Weights,
    sides: Sides,
    strategies: Sequence[str],
    embedder: OnnxEmbedder,
) -> WeightsCard:
    """Return what these weights are, and on what their score was fitted."""
    fitted_at = SystemClock().now().isoformat(timespec="seconds")
    return WeightsCard(
        version=version_of(fitted_at, weights),
        fitted_at=fitted_at,
        model=embedder.name,
        dimension=embedder.dimension,
        positive=tuple(sorted(sides.positive)),
        negative=tuple(sorted(sides.negative)),
        anchor_groups=fitted.model.group_names,
        strategies=tuple(strategies),
        has_outlook=weights.outlook is not None,
        sources=tuple(
            FittedOn(
                name=source.name,
                calls=source.calls,
                positive=source.positive,
                negative=source.negative,
                auc=None if source.auc is None else round(source.auc, 4),
            )
            for source in fitted.sources
        ),
    )
