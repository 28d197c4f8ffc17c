"""What an autoencoder loses: real images against themselves after encoding and decoding."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from evaluation.features.base import ExtractionStopped, Extractor, FeatureSet
from evaluation.features.cache import FeatureCache
from evaluation.imagesets.opening import ImageStream, open_images
from evaluation.metrics.frechet_population import measure_paired_frechet
from evaluation.metrics.reconstruction import psnr, ssim
from evaluation.metrics.uncertainty import MetricResult, undefined
from evaluation.protocols.record import CONFIDENCE_LEVEL
from evaluation.scoring.averaging import averaged
from evaluation.scoring.evaluate import features_of_networks
from evaluation.scoring.measures import all_finite


@dataclass(frozen=True)
class Pairs:
    """Images and what came back of each, in the same order."""

    originals: ImageStream
    reconstructions: np.ndarray  # (N, C, H, W) uint8

    def faithfulness(
        self, *, keep_going: Callable[[], None] = lambda: None
    ) -> dict[str, MetricResult]:
        """Return PSNR in decibels ("psnr") and SSIM ("ssim"), means over images.

        Raises:
            ValueError: if the two are not images of one shape, as many of each.
        """
        pixels = np.concatenate(list(self.originals.chunks(None)))
        return {
            "psnr": psnr(pixels, self.reconstructions, keep_going=keep_going),
            "ssim": ssim(pixels, self.reconstructions, keep_going=keep_going),
        }

    def distance(
        self,
        extractor: Extractor,
        *,
        cache: FeatureCache,
        on_progress: Callable[[float], None] = lambda _: None,
        should_stop: Callable[[], bool] = lambda: False,
    ) -> MetricResult:
        """Return the reconstruction-FD on these features (rFD; rFID where they are those of FID).

        It is the Fréchet distance of the reconstructions to the originals themselves, which is what is
        published under that name; see `measure_paired_frechet` for its interval. Features of the
        originals are kept in the cache.

        Raises:
            ExtractionStopped: if ``should_stop()`` turned true.
        """

        def keep_going() -> None:
            if should_stop():
                raise ExtractionStopped

        real = cache.features(extractor, self.originals, should_stop=should_stop)
        made = FeatureCache(None).features(
            extractor,
            open_images(self.reconstructions, name="reconstructions"),
            on_progress=on_progress,
            should_stop=should_stop,
        )
        networks = zip(
            features_of_networks(extractor, made),
            features_of_networks(extractor, real),
            strict=True,
        )
        return averaged("fd", [_distance(*each, keep_going) for each in networks])


def _distance(made: FeatureSet, real: FeatureSet, keep_going: Callable[[], None]) -> MetricResult:
    if not (all_finite(made) and all_finite(real)):
        return undefined("the features are not finite")
    return measure_paired_frechet(
        made.features, real.features, level=CONFIDENCE_LEVEL, keep_going=keep_going
    )
