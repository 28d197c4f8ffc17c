import itertools
import json
from pathlib import Path

from generators.training.checkpoints import SavedCheckpoint
from generators.training.loss_log import KEPT_LINES, MOST_LINES, NAME, LossLog, read_losses
from generators.training.steps import TrainingProgress


def report(images_seen: int, losses: dict[str, float] | None = None) -> TrainingProgress:
    return TrainingProgress(
        images_seen=images_seen,
        budget_fraction=0.5,
        device_seconds=images_seen / 100,
        images_per_second=1.0,
        losses={"elbo": 1.5} if losses is None else losses,
        skipped=0,
    )


def checkpoint(directory: Path, images_seen: int) -> SavedCheckpoint:
    path = directory / f"ckpt-{images_seen}"
    path.mkdir()
    return SavedCheckpoint(path, images_seen, "", 0, 0.0)


def seen(directory: Path) -> list[int]:
    return [line["images_seen"] for line in read_losses(directory / NAME)]


def test_each_report_is_a_line_of_json(tmp_path: Path) -> None:
    log = LossLog(tmp_path / "run")

    log.add(report(16))
    log.add(report(32))
    log.add(report(32, losses={}))  # the report of a training that was complete

    lines = (tmp_path / "run" / NAME).read_text().splitlines()
    assert json.loads(lines[0]) == {
        "images_seen": 16,
        "device_seconds": 0.16,
        "losses": {"elbo": 1.5},
    }
    assert len(lines) == 2


def test_a_resumed_training_cuts_its_losses_back_to_the_checkpoint(tmp_path: Path) -> None:
    log = LossLog(tmp_path)
    for images in range(10, 60, 10):
        log.add(report(images))
    saved = checkpoint(tmp_path, 30)

    resumed = LossLog(tmp_path)
    resumed.cut(saved)
    assert seen(tmp_path) == [10, 20, 30]

    resumed.add(report(35))
    assert seen(tmp_path) == [10, 20, 30, 35]


def test_without_a_checkpoint_the_losses_begin_anew(tmp_path: Path) -> None:
    LossLog(tmp_path).add(report(10))

    LossLog(tmp_path)

    assert seen(tmp_path) == []


def test_a_report_replaces_those_that_are_not_before_it(tmp_path: Path) -> None:
    log = LossLog(tmp_path)
    for images in (10, 20, 30, 20):
        log.add(report(images))

    assert seen(tmp_path) == [10, 20]


def test_half_a_line_at_the_end_is_left_out(tmp_path: Path) -> None:
    LossLog(tmp_path).add(report(10))
    checkpoint(tmp_path, 10)
    with (tmp_path / NAME).open("a") as file:
        file.write('{"images_seen": 20, "dev')

    log = LossLog(tmp_path)
    assert seen(tmp_path) == [10]

    log.add(report(20))
    assert seen(tmp_path) == [10, 20]


def test_old_lines_are_thinned_evenly_and_the_newest_is_kept(tmp_path: Path) -> None:
    log = LossLog(tmp_path)
    counts = []
    for images in range(1, 4 * MOST_LINES):
        log.add(report(images))
        counts.append(len(log))

    kept = seen(tmp_path)
    assert max(counts) == MOST_LINES
    assert kept[-1] == 4 * MOST_LINES - 1 and kept == sorted(kept)
    old = [b - a for a, b in itertools.pairwise(kept[:200])]
    assert max(old) <= 4 * kept[-1] / KEPT_LINES
