"""From a pipeline to images: one generator of noise for each image, and what drawing them costs."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from generators.algorithm.noise import generator_for
from generators.algorithm.numerics import flushing_denormals
from generators.algorithm.pixels import to_uint8
from generators.pipelines.asking import Wanted, arguments, check_prompts, cut_words, wanted_of
from generators.pipelines.loading import LoadedPipeline
from generators.pipelines.schedulers import make_scheduler
from generators.specs.pipelines.card import PipelineError
from generators.specs.pipelines.options import PipelineSampler, completed
from generators.trained.costs import (
    SamplingStats,
    counting_evaluations,
    latencies,
    peak_memory,
    reset_peak_memory,
)
from generators.trained.sampling import SamplingStopped

LARGEST_BATCH, CPU_BATCH = 64, 16  # images at once where nobody says, halved until they fit


@dataclass
class Tally:
    """What was counted while images were drawn."""

    evaluations: int = 0  # rows through the denoising network
    blackened: list[int] = field(default_factory=list)  # places of images, from 0
    batch_size: int = 0  # of the last batch, which is smaller where memory ran out

    @contextmanager
    def counting(self, pipeline: LoadedPipeline) -> Iterator[None]:
        """Add the rows that go through the network, unless the batch fails."""
        with counting_evaluations([pipeline.denoiser]) as counted:
            yield
        self.evaluations += counted.rows


@dataclass(frozen=True)
class PipelineSamples:
    """Images, what they were asked for by, and what they cost."""

    pixels: np.ndarray  # (N, C, H, W) uint8
    labels: np.ndarray | None  # (N,) int64
    captions: list[str] | None
    sampler: PipelineSampler  # with the pipeline's own numbers where none were given
    stats: SamplingStats
    blackened: list[int] | None  # places of images; None = no safety checker looked at them
    cut: dict[str, str]  # of prompts that are too long, the words that were not read


def draw(
    pipeline: LoadedPipeline,
    sampler: PipelineSampler,
    *,
    seeds: Sequence[int],
    labels: np.ndarray | None = None,
    captions: Sequence[str] | None = None,
    batch_size: int,
    on_batch: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    tally: Tally | None = None,
) -> Iterator[np.ndarray]:
    """Yield images batch by batch, (n, C, H, W) uint8.

    Image i depends on seed i and label or caption i alone; the batch size leaves it as it is up to
    the rounding of the last grey level. A batch that does not fit in memory is halved until it does.

    Args:
        pipeline: what to draw from.
        sampler: how; the pipeline's own numbers stand where it says none.
        seeds: one for each image; the same noise as of our own samplers.
        labels: (N,) whole numbers for a pipeline of classes, None for another.
        captions: N texts for a pipeline of text, None for another.
        batch_size: images per batch, at most.
        on_batch: told the number of images drawn so far.
        should_stop: asked before each evaluation of the network.
        tally: counts evaluations and blackened images.

    Raises:
        ConfigError: if the pipeline cannot be sampled this way.
        PipelineError: if a prompt is too long, or the pipeline breaks down.
        ValueError: if labels or captions do not fit the pipeline.
        SamplingStopped: if should_stop says so.
    """
    whole = completed(sampler, pipeline.card)
    wanted = wanted_of(pipeline, labels, captions, len(seeds))
    if captions is not None and whole.long_prompts == "refuse":
        check_prompts(pipeline, [*captions, *filter(None, [whole.negative_prompt])])
    counted = Tally() if tally is None else tally
    start = 0
    with _stopping(pipeline, should_stop, lambda: f"stopped after {start} of {len(seeds)} images"):
        while start < len(seeds):
            part = slice(start, start + batch_size)
            asked = None if wanted is None else wanted[part]
            found = _one_batch(pipeline, whole, seeds[part], asked, counted)
            if found is None:
                batch_size = max(1, len(seeds[part]) // 2)
                continue
            pixels, black = found
            counted.blackened += [start + place for place in black]
            counted.batch_size = len(pixels)
            start += len(pixels)
            yield pixels
            if on_batch is not None:
                on_batch(start)


def draw_all(
    pipeline: LoadedPipeline,
    sampler: PipelineSampler,
    *,
    seeds: Sequence[int],
    labels: np.ndarray | None = None,
    captions: Sequence[str] | None = None,
    batch_size: int | None = None,
    on_batch: Callable[[int], None] | None = None,
    should_stop: Callable[[], bool] | None = None,
    keep: Callable[[np.ndarray, list[int]], np.ndarray] = lambda pixels, _black: pixels,
) -> PipelineSamples:
    """Return all images at once, with what they cost; arguments and errors as for `draw`.

    `keep` is given each batch with the places of its blackened images, and returns what stays of
    it: smaller images, perhaps. What it does is not timed.

    Without a batch size it is the largest that fits, up to a limit. On a GPU a batch that is not
    counted comes first: it chooses kernels and allocates memory.
    """
    if not seeds:
        raise ValueError("expected at least one seed")
    on_gpu = pipeline.device.type == "cuda"
    size = batch_size or min(LARGEST_BATCH if on_gpu else CPU_BATCH, len(seeds))

    def drawn(count: int, first: int, size: int, **told: Any) -> Iterator[np.ndarray]:
        """Return the first images, with seeds from `first` on."""
        return draw(
            pipeline,
            sampler,
            seeds=seeds if count == len(seeds) else range(first, first + count),
            labels=None if labels is None else labels[:count],
            captions=None if captions is None else captions[:count],
            batch_size=size,
            should_stop=should_stop,
            **told,
        )

    if on_gpu:
        list(drawn(min(size, len(seeds)), 0, size, tally=(warm := Tally())))
        size = warm.batch_size
    reset_peak_memory(pipeline.device)
    kept: list[np.ndarray] = []
    tally, seconds, began = Tally(), 0.0, time.perf_counter()
    for pixels in drawn(len(seeds), 0, size, on_batch=on_batch, tally=tally):
        seconds += time.perf_counter() - began
        first = sum(map(len, kept))
        kept.append(keep(pixels, [place - first for place in tally.blackened if place >= first]))
        began = time.perf_counter()
    peak = peak_memory(pipeline.device)
    alone = latencies(lambda seed: list(drawn(1, seed, 1)))
    stats = SamplingStats(
        nfe=round(tally.evaluations / len(seeds)),
        images_per_second=len(seeds) / seconds,
        latency_seconds=float(np.median(alone)),
        latency_p95_seconds=float(np.percentile(alone, 95)),
        batch_size=max(map(len, kept)),
        peak_memory_bytes=peak,
    )
    return PipelineSamples(
        np.concatenate(kept),
        None if labels is None else labels.astype(np.int64),
        None if captions is None else list(captions),
        completed(sampler, pipeline.card),
        stats,
        tally.blackened if pipeline.checks_safety else None,
        cut_words(pipeline, captions or []),
    )


@contextmanager
def _stopping(
    pipeline: LoadedPipeline, should_stop: Callable[[], bool] | None, words: Callable[[], str]
) -> Iterator[None]:
    """Ask before each evaluation: a batch of a large pipeline takes minutes."""

    def ask(_module: object, _inputs: object) -> None:
        if should_stop is not None and should_stop():
            raise SamplingStopped(words())

    hook = pipeline.denoiser.register_forward_pre_hook(ask)
    try:
        yield
    finally:
        hook.remove()


def _one_batch(
    pipeline: LoadedPipeline,
    sampler: PipelineSampler,
    seeds: Sequence[int],
    wanted: Wanted,
    tally: Tally,
) -> tuple[np.ndarray, list[int]] | None:
    """Return a batch's images and the places of blackened ones; None if it needs too much memory.

    Raises:
        PipelineError: if a single image needs too much, or the pipeline breaks down.
    """
    pipeline.pipe.scheduler = make_scheduler(pipeline, sampler)
    generators = [generator_for("cpu", "image", int(seed)) for seed in seeds]
    told = arguments(pipeline, sampler, wanted, generators)
    try:
        with tally.counting(pipeline), _no_other_noise(pipeline), flushing_denormals():
            found = pipeline.pipe(**told)
    except PipelineError:
        raise
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise PipelineError(f"{pipeline.card.pipeline} broke down: {error}"[:1000]) from error
        if len(seeds) == 1:
            raise PipelineError(
                f"too little memory, even for one image at a time: {error}"
            ) from error
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise PipelineError(f"{pipeline.card.pipeline} broke down: {error}"[:1000]) from error
    else:
        flags = getattr(found, "nsfw_content_detected", None) or []
        return _pixels(found.images), [place for place, black in enumerate(flags) if black]
    if pipeline.device.type == "cuda":  # out of the handler, which kept the batch alive
        torch.cuda.empty_cache()
    return None


def _out_of_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return "can't allocate memory" in str(error) or "not enough memory" in str(error)


@contextmanager
def _no_other_noise(pipeline: LoadedPipeline) -> Iterator[None]:
    """Check that noise came from the images' generators alone.

    Raises:
        PipelineError: if the global one was drawn from: images would depend on their neighbours.
    """
    before = torch.get_rng_state()
    yield
    if not torch.equal(before, torch.get_rng_state()):
        walk = type(pipeline.pipe.scheduler).__name__
        raise PipelineError(
            f"expected noise from each image's seed alone: {pipeline.card.pipeline} with {walk} "
            "draws more, from no seed"
        )


def _pixels(images: Tensor | np.ndarray) -> np.ndarray:
    """Return images in [0, 1], tensors (n, C, H, W) or arrays (n, H, W, C), as uint8.

    Raises:
        PipelineError: if they are no images.
    """
    if isinstance(images, np.ndarray):
        images = torch.from_numpy(np.moveaxis(images, -1, 1))
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise PipelineError(f"expected images of 1 or 3 channels, got {tuple(images.shape)}")
    if not images.isfinite().all():
        raise PipelineError(
            "expected finite numbers, the images have others: precision=float32 or bfloat16 may help"
        )
    pixels: np.ndarray = to_uint8(images.float() * 2 - 1).cpu().numpy()
    return pixels
