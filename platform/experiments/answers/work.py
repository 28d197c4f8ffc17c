"""What a worker does for a question: each entry draws, what it drew is read. Beside `pipeline`."""

from typing import Any

import numpy as np
from django.conf import settings

from catalog import stored
from catalog.models import StoredFile
from evaluation.imagesets.writing import grid_png
from evaluation.scenes.claims import ALL, JUDGE, SIDES, Claims, follows, read_claims
from evaluation.scenes.parsing import parse_all
from evaluation.scenes.wording import in_words
from experiments import asked, pipeline, work_files
from experiments.answers import asking
from experiments.models import Run
from experiments.questions.models import Question
from generators.specs import registry
from generators.trained import sampling
from generators.training.checkpoints import CheckpointError
from jobs import lifecycle
from jobs.execution import Heartbeat
from jobs.lifecycle import JobError

Answer = dict[str, Any]
REFUSALS = (JobError, CheckpointError, ValueError)  # of one entry; the others draw all the same


def answer(question: Question, heartbeat: Heartbeat) -> None:
    """Let every trained entry draw the words from the same seeds, and read what they drew.

    An entry that cannot draw them says why. An attempt that was lost is drawn anew.

    Raises:
        JobError: if no entry could draw them.
    """
    drawn: list[np.ndarray] = []
    answers: list[Answer] = []
    judge, claims = _judge_of(question)
    for run in asking.contenders(question.experiment, question.training_seed):
        heartbeat.check()
        answers.append(_about(run))
        try:
            pixels, is_told = _draw(question, run, heartbeat)
        except REFUSALS as error:
            answers[-1]["error"] = str(error)[:500]
        else:
            read = _read(pixels, claims) if judge else [{}] * len(pixels)
            seeds = zip(question.seeds, read, strict=True)
            images = [{"seed": seed, "read": None, "follows": None, **each} for seed, each in seeds]
            answers[-1] |= {"row": len(drawn), "told": is_told, "images": images}
            drawn.append(pixels)
        heartbeat.report(entries_done=len(answers))
    if not drawn:
        raise JobError(answers[0]["error"] if answers else "no entry is trained any more")
    digest = _write(question, np.concatenate(drawn))
    heartbeat.end()
    facts = {"answers": answers, "judge": judge, "sha256": digest}
    lifecycle.complete(question, entries_done=len(answers), entries_total=len(answers), **facts)


def _about(run: Run) -> Answer:
    """Return what an answer says of its entry; `row` is its place on the sheet, None without one."""
    entry = run.entry
    parsed = registry.parse_sampler(entry.algorithm, asking.sampler_of(entry))
    return {
        "entry": entry.pk,
        "run": run.pk,
        "label": entry.label,
        "algorithm": entry.algorithm,
        "sampler": parsed.label(),
        "row": None,
        "told": True,
        "error": "",
        "images": [],
    }


def _judge_of(question: Question) -> tuple[str, Claims | None]:
    """Return who reads the images, "" for nobody, and what the words claim, where that is known.

    It is known of the experiment's own prompts alone.
    """
    prompts = asked.prompt_set_of(question.experiment)
    dataset = question.experiment.dataset
    known = [] if prompts is None else [each for each in prompts.prompts if each.claims is not None]
    if not known or dataset.channels != 3 or dataset.resolution not in SIDES:
        return "", None
    same = [read_claims(each.claims) for each in known if each.text == question.text]
    return JUDGE, next(iter(same), None)


def _read(pixels: np.ndarray, claims: Claims | None) -> list[dict[str, Any]]:
    """Return what is read in each image, None for nothing, and whether it is as claimed."""
    return [
        {
            "read": None if scene is None else in_words(scene),
            "follows": None if scene is None or claims is None else follows(claims, scene)[ALL],
        }
        for scene in parse_all(pixels)
    ]


def _draw(question: Question, run: Run, heartbeat: Heartbeat) -> tuple[np.ndarray, bool]:
    """Return an entry's images (n, C, H, W) uint8, and whether its model was told the words."""
    checkpoint = run.checkpoints.order_by("images_seen").last()
    assert checkpoint is not None, "contenders have one"
    folder = work_files.fetched(settings.DATA_DIR / checkpoint.path)
    device = pipeline.device()
    with pipeline.stopping(), pipeline.failing():
        generator = sampling.load_generator(folder, device=device, sha256=checkpoint.sha256)
        conditions = generator.conditions
        if not conditions.knows(question.text):  # it would show any other caption
            raise JobError("it knows captions as wholes alone, and these words were none")
        is_told = conditions.by_text
        batches = sampling.draw(
            generator,
            registry.parse_sampler(run.entry.algorithm, asking.sampler_of(run.entry)),
            seeds=question.seeds,
            captions=[question.text] * question.images if is_told else None,
            batch_size=question.images,
            on_step=lambda *_: heartbeat.check(),
        )
        return np.concatenate(list(batches)), is_told


def _write(question: Question, pixels: np.ndarray) -> str:
    """Write the sheet, a row of images for each entry; return its sha256."""
    question.path.parent.mkdir(parents=True, exist_ok=True)
    grid_png(pixels, question.images, question.path)
    stored.keep(question.path, StoredFile.Kind.PICTURE, owner=question.created_by)
    return str(stored.rows(question.path).get().sha256)
