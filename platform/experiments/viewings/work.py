"""What a worker does for a viewing: pictures of how a model makes images. Beside `pipeline`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from django.conf import settings

from catalog import stored
from catalog.models import StoredFile
from evaluation.imagesets.in_memory import Images
from evaluation.imagesets.writing import grid_png, read_grid
from experiments import pipeline, work_files
from experiments.models import Checkpoint, LossPoint, Run, Viewing
from experiments.viewings import kinds
from experiments.work import judged
from experiments.work.real_images import train_captions
from generators.algorithm.contract import Step
from generators.specs import registry
from generators.specs.options import SamplerConfig
from generators.trained import films, sampling, verdicts
from generators.trained.films import Film, Numbers
from generators.trained.inspection import chosen_steps
from generators.trained.sampling import LoadedGenerator
from generators.trained.wanted import Wanted
from jobs import lifecycle
from jobs.execution import Heartbeat
from jobs.lifecycle import JobError

NOISED, WALKED, WAYS, ENCODED, JUDGED = 3, 3, 3, 12, 60  # images, or pairs of seeds
FOLLOWED, MOST_MOMENTS = 6, 24  # seeds of the previews, and previews
MOST_POINTS = 120  # of the verdicts in training


@dataclass(frozen=True)
class _Look:
    """A viewing at work."""

    viewing: Viewing
    heartbeat: Heartbeat
    generator: LoadedGenerator
    checkpoint: Path
    sha256: str

    def on_step(self, step: Step) -> None:
        self.heartbeat.check()
        is_one_walk = self.viewing.kind == kinds.REVERSE
        self.heartbeat.report(fraction=step.index / step.count if is_one_walk else 0.0)

    @property
    def seeds(self) -> Callable[[int], range]:
        return lambda count: range(self.viewing.first, self.viewing.first + count)

    @property
    def sampler(self) -> SamplerConfig:
        return registry.parse_sampler(self.generator.algorithm, self.viewing.sampler)


def view(viewing: Viewing, heartbeat: Heartbeat) -> None:
    """Compute a viewing's pictures from the run's newest checkpoint, and write them in one sheet.

    An attempt that was lost is computed anew.

    Raises:
        JobError: if the model does not have what is asked for, or a file is lost or damaged.
    """
    checkpoint = viewing.run.checkpoints.order_by("images_seen").last()
    if checkpoint is None:
        raise JobError("the run has no checkpoint any more")
    folder = work_files.fetched(settings.DATA_DIR / checkpoint.path)
    with pipeline.stopping(), pipeline.failing():
        try:
            generator = sampling.load_generator(
                folder, device=pipeline.device(), sha256=checkpoint.sha256
            )
            look = _Look(viewing, heartbeat, generator, folder, checkpoint.sha256)
            film, facts = FILMS[viewing.kind](look)
            digest = _write(viewing, film)
        except ValueError as error:  # what the model has no definition of, and broken files
            raise JobError(str(error)[:500]) from error
    heartbeat.end()
    facts = {**film.as_record(), **facts, "images_seen": checkpoint.images_seen}
    lifecycle.complete(viewing, fraction=1.0, facts=facts, sha256=digest)


def _write(viewing: Viewing, film: Film) -> str:
    """Write the sheet, a row of frames for each track; return its sha256."""
    tracks, frames = film.pixels.shape[:2]
    viewing.path.parent.mkdir(parents=True, exist_ok=True)
    pixels = film.pixels.reshape(tracks * frames, *film.pixels.shape[2:])
    grid_png(pixels, frames, viewing.path)
    stored.keep(viewing.path, StoredFile.Kind.PICTURE, owner=viewing.created_by)
    return str(stored.rows(viewing.path).get().sha256)


# --- the kinds ----------------------------------------------------------------------------------

Facts = dict[str, Any]  # besides those of the film


def _noising(look: _Look) -> tuple[Film, Facts]:
    images = _test_images(look, NOISED)
    film = films.noising(look.generator, images.pixels, seeds=look.seeds(len(images.pixels)))
    return replace(film, tracks=_places(look, len(images.pixels))), {}


def _reverse(look: _Look) -> tuple[Film, Facts]:
    seeds = look.seeds(WALKED)
    wanted, told = _wanted(look, WALKED)
    film = films.reverse(
        look.generator, look.sampler, seeds=seeds, wanted=wanted, on_step=look.on_step
    )
    return film, {"told": told}


def _between(look: _Look) -> tuple[Film, Facts]:
    seeds = look.seeds(WAYS)
    wanted, told = _wanted(look, WAYS)
    labels = wanted.tolist() if isinstance(wanted, np.ndarray) else wanted
    film = films.between(
        look.generator,
        look.sampler,
        pairs=[(seed, seed + 1) for seed in seeds],
        labels=labels,
        on_step=look.on_step,
    )
    return film, {"told": told}


def _samplers(look: _Look) -> tuple[Film, Facts]:
    wanted, told = _wanted(look, 1)
    film = films.side_by_side(
        look.generator, seed=look.viewing.first, wanted=wanted, on_step=look.on_step
    )
    return film, {"told": told}


def _reconstruction(look: _Look) -> tuple[Film, Facts]:
    images = _test_images(look, ENCODED)
    wanted = judged.told_of(look.generator, images)
    first = look.viewing.first
    return films.reconstructions(look.generator, images.pixels, wanted, first=first), {}


def _verdict(look: _Look) -> tuple[Film, Facts]:
    """Judge samples that are asked for by what real images are, and those images."""
    images = _test_images(look, JUDGED, first=0)
    count, generator = len(images.pixels), look.generator
    wanted = judged.told_of(generator, images)
    drawn = sampling.draw(
        generator,
        registry.parse_sampler(
            generator.algorithm, next(kinds.samplers_of(look.viewing.run.entry))
        ),
        seeds=look.seeds(count),
        labels=wanted,
        batch_size=count,
    )
    pixels = np.concatenate(list(drawn))
    network = verdicts.load_discriminator(generator, look.checkpoint, sha256=look.sha256)
    said = [verdicts.logits(generator, network, each, wanted) for each in (pixels, images.pixels)]
    film = verdicts.verdicts(pixels, images.pixels, *said, first_seed=look.viewing.first)
    return film, {"history": history_of(look.viewing.run)}


def _learning(look: _Look) -> tuple[Film, Facts]:
    """Show the previews that were drawn in training, evenly spaced, the first and the last included."""
    run, generator = look.viewing.run, look.generator
    rows = list(run.checkpoints.exclude(preview="").order_by("images_seen"))
    if not rows:
        raise ValueError("no preview was drawn in this training")
    moments = [rows[place] for place in chosen_steps(len(rows), MOST_MOMENTS)]
    count = look.viewing.first + FOLLOWED
    pixels = np.stack(
        [
            read_grid(
                work_files.fetched(settings.DATA_DIR / moment.preview),
                count,
                pipeline.GRID_COLUMNS,
                generator.shape,
            )
            for moment in moments
        ]
    )[:, look.viewing.first :]  # (moments, seeds, C, H, W)
    film = Film(
        pixels.swapaxes(0, 1),
        [f"seed {seed}" for seed in look.seeds(FOLLOWED)],
        [{"images_seen": moment.images_seen} for moment in moments],
    )
    if run.entry.family != "gan":
        return film, {}
    if all(moment.verdict for moment in moments):
        return _as_it_was_judged(look, film, moments)
    return _judged_at_the_end(look, film), {"judged": "end"}  # of a run of before it was kept


def _as_it_was_judged(look: _Look, film: Film, moments: Sequence[Checkpoint]) -> tuple[Film, Facts]:
    """Return the film with what the discriminator of each moment said of its pictures."""
    first = look.viewing.first
    drawn = np.array([moment.verdict["drawn"] for moment in moments])  # (moments, seeds)
    real = np.array([moment.verdict["real"] for moment in moments])  # (moments, images)
    numbers: list[Numbers] = [
        {
            **frame,
            "mean_logit": float(of_drawn.mean()),
            "mean_real": float(of_real.mean()),
            "passes": verdicts.share_that_passes(of_drawn, of_real),
        }
        for frame, of_drawn, of_real in zip(film.frames, drawn, real, strict=True)
    ]
    said = drawn[:, first : first + FOLLOWED].T
    cells: list[list[Numbers]] = [[{"logit": float(each)} for each in row] for row in said]
    history = [[each["images_seen"], each["mean_real"], each["mean_logit"]] for each in numbers]
    return replace(film, frames=numbers, cells=cells), {"judged": "each", "history": history}


def _judged_at_the_end(look: _Look, film: Film) -> Film:
    """Return the film with the last verdict on each picture, and the mean of it on each frame."""
    generator, shape = look.generator, film.pixels.shape[:2]
    asked = pipeline.asked_by(generator, look.viewing.run.entry.experiment, pipeline.PREVIEW_IMAGES)
    wanted: Wanted = asked.get("labels", asked.get("captions"))
    network = verdicts.load_discriminator(generator, look.checkpoint, sha256=look.sha256)
    told = None if wanted is None else [wanted[seed] for seed in look.seeds(shape[0])]
    repeated = told and [each for each in told for _ in range(shape[1])]
    labels = np.array(repeated) if isinstance(wanted, np.ndarray) else repeated
    said = verdicts.logits(
        generator, network, film.pixels.reshape(-1, *generator.shape), labels
    ).reshape(shape)
    means = said.mean(axis=0)
    return replace(
        film,
        frames=[
            {**numbers, "mean_logit": float(mean)}
            for numbers, mean in zip(film.frames, means, strict=True)
        ],
        cells=[[{"logit": float(each)} for each in row] for row in said],
    )


FILMS: dict[str, Callable[[_Look], tuple[Film, Facts]]] = {
    kinds.NOISING: _noising,
    kinds.REVERSE: _reverse,
    kinds.SAMPLERS: _samplers,
    kinds.BETWEEN: _between,
    kinds.RECONSTRUCTION: _reconstruction,
    kinds.VERDICT: _verdict,
    kinds.LEARNING: _learning,
}


# --- images and what is asked for ---------------------------------------------------------------


def _test_images(look: _Look, count: int, *, first: int | None = None) -> Images:
    """Return images of the test split that follow each other, with what is said of them."""
    begin = look.viewing.first if first is None else first
    return judged.test_images(look.viewing.run.entry, range(begin, begin + count))


def _places(look: _Look, count: int) -> list[str]:
    return [f"test image {place}" for place in look.seeds(count)]


def _wanted(look: _Look, count: int) -> tuple[Wanted, list[str]]:
    """Return what is asked for, for each image, and the same for people; all alike if it was said."""
    conditions, told = look.generator.conditions, look.viewing.told
    if not conditions.given:
        return None, []
    if conditions.by_text:
        dataset = look.viewing.run.entry.experiment.dataset
        captions = [told] * count if told else train_captions(dataset, count)
        return captions, captions
    labels = np.full(count, int(told)) if told else np.arange(count) % conditions.classes
    names = look.generator.classes
    return labels, [names[label] if names else f"class {label}" for label in labels.tolist()]


def history_of(run: Run) -> list[list[float]]:
    """Return the discriminator's mean verdicts in training: [images seen, on real, on drawn]."""
    points = LossPoint.objects.filter(run=run).values_list("images_seen", "losses")
    found = [
        [float(seen), losses["logit_real"], losses["logit_fake"]]
        for seen, losses in points
        if losses.get("logit_real") is not None and losses.get("logit_fake") is not None
    ]
    every = -(-len(found) // MOST_POINTS) or 1
    return found[::every]
