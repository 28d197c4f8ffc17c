"""The built-in metrics of memorisation, in the order of boards."""

from evaluation.protocols.metric_specs import (
    NO_INTERVAL,
    MetricSpec,
    neighbour_metric,
    of,
)

MEMORISATION = (
    neighbour_metric(
        "authenticity",
        "NN",
        "memorisation",
        "Share of generated images not nearer to a training image than its own nearest other is.",
    ),
    MetricSpec(
        name="ct",
        label="C_T",
        prefix="C_T",
        higher_is_better=True,
        corner="memorisation",
        minimum=None,
        maximum=None,
        parameters=of(cells=3, components=64, seed=0),
        uncertainty=NO_INTERVAL,
        ideal=0.0,
        needs=("held-out",),
        by_default=True,
        help="Whether generated images are nearer to training images than held-out ones are: far "
        "below 0 is copying, far above 0 is missing the data; held-out images themselves have 0.",
    ),
)
