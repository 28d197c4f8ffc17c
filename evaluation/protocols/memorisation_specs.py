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
        name="copies",
        label="Copies",
        prefix="",
        higher_is_better=False,
        corner="memorisation",
        minimum=0.0,
        maximum=1.0,
        parameters=of(
            share=0.01,
            thumbnail="mean of the channels, area-averaged to at most 32x32, uint8",
            shift="2 pixels of the thumbnail, 1 below 16, 0 below 4",
            mirrored=True,
            crops="mean 0 and norm 1",
            distance="Euclidean, least over shifts and mirror image, over that of the 4th nearest",
            candidates="16 nearest spectra of 8 frequencies, of the image and of its mirror image",
        ),
        uncertainty=of(
            method="Wilson score over the generated images and order statistics of the held-out ones"
        ),
        needs=("held-out",),
        headline=True,
        by_default=True,
        help="Share of generated images nearer to one training image, by the distance to the fourth, "
        "than 99 % of held-out real images are, whatever the shift by up to 2 pixels, the mirror, the "
        "brightness and the contrast: unseen real images have 1 % by construction.",
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
        uncertainty=of(
            method="jackknife over the generated and the held-out images", quantile="normal"
        ),
        earlier_uncertainty=NO_INTERVAL,
        ideal=0.0,
        needs=("held-out",),
        by_default=True,
        help="Whether generated images are nearer to training images than held-out ones are: far "
        "below 0 is copying, far above 0 is missing the data; held-out images themselves have 0.",
    ),
)
