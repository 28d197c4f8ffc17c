"""`python -m generators reproduce`: a run of the site again, from its bundle, compared bit by bit."""

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from evaluation.imagesets.atomic import sha256_of
from evaluation.imagesets.in_memory import (
    Images,
    content_digest,
    convert_images,
    read_images,
    write_npz,
)
from evaluation.imagesets.packaged import PACKAGED
from evaluation.imagesets.sources import PARTS, ImageError
from generators.commands.data import notice, parts_of
from generators.commands.shared import check_parent, machine, progress_bar, say
from generators.specs.bundle import Bundle, differences, read_bundle
from generators.specs.registry import parse_config, parse_sampler
from generators.specs.versions import commit
from generators.trained.labels import balanced_labels, labels_by_share
from generators.trained.sampling import LoadedGenerator, draw_all, load_generator
from generators.training.loop import Budget, TrainingResult, train

EXIT_DIFFERS = 1


def reproduce(options: argparse.Namespace) -> int:
    """Train and draw again what a bundle tells of; return 0 for the same bits, 1 for others."""
    bundle = read_bundle(options.bundle)
    check_parent(options.out, "--out")
    if options.threads is None:
        options.threads = bundle.environment.get("threads")
    device = machine(options)
    images = _images(bundle, options.data)
    differs = differences(bundle.environment, _here(device))
    for line in differs:
        notice(f"differs: {line}")
    result = _train(bundle, images, device, options.out)
    generator = load_generator(result.checkpoint.path, device=device)
    drawn = [
        _draw(generator, told, options.out / f"samples-{number}.npz")
        for number, told in enumerate(bundle.samples, 1)
    ]
    checkpoint = str(result.checkpoint.path)
    say(options, {"checkpoint": checkpoint, "differs": differs, "samples": drawn}, _words(drawn))
    return EXIT_DIFFERS if any(one["same"] is False for one in drawn) else 0


def _here(device: str) -> dict[str, Any]:
    on_gpu = device.startswith("cuda")
    name = torch.cuda.get_device_name(device) if on_gpu else platform.processor() or "cpu"
    versions = {name: _version(name) for name in ("torch", "diffusers", "numpy", "trilemma")}
    threads = torch.get_num_threads()
    own = {"python": platform.python_version(), "commit": commit()}
    return {**versions, **own, "threads": threads, "device": name}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _images(bundle: Bundle, source: str) -> Images:
    """Return the images to train on, once they are known to be those of the bundle.

    Raises:
        ImageError: if they are others, or it cannot be known.
    """
    told = bundle.dataset
    path = Path(source)
    if source not in PACKAGED and path.is_file():
        _check(source, "train_digest", sha256_of(path), told)
        return read_images(path)
    if source not in PACKAGED and not parts_of(source):
        raise ImageError(
            f"--data: {source} has no train and test parts to compare with dataset "
            f"{told['slug']}; expected its folder on the site, DATA_DIR/datasets/{told['digest']}"
        )
    shape = {"resolution": told["resolution"], "channels": told["channels"]}
    splits = {
        part: convert_images(PACKAGED[source](part), name=source, **shape)
        if source in PACKAGED
        else read_images(path, part=part, **shape)
        for part in PARTS
    }
    _check(source, "digest", content_digest(splits), told)
    return splits["train"]


def _check(source: str, name: str, found: str, told: Any) -> None:
    if found != told[name]:
        raise ImageError(
            f"--data: {source} is not dataset {told['slug']}: its {name} is {found}, expected "
            f"{told[name]}"
        )


def _train(bundle: Bundle, images: Images, device: str, out: Path) -> TrainingResult:
    config = parse_config(bundle.algorithm, bundle.config)
    with progress_bar(bundle.algorithm) as show:
        return train(
            bundle.algorithm,
            config,
            images.pixels,
            images.labels,
            num_classes=len(images.classes),
            seed=bundle.seed,
            budget=Budget(bundle.budget.get("images"), bundle.budget.get("device_seconds")),
            device=device,
            directory=out,
            classes=list(images.classes),
            memory_checked=True,
            on_progress=lambda at: show(at.budget_fraction, f"{at.images_seen:,} images"),
        )


def _draw(generator: LoadedGenerator, told: Any, path: Path) -> dict[str, Any]:
    """Draw one set of samples again; `same` is None where the bundle has no digest of it."""
    count, first, classes = told["count"], told["first_seed"], generator.num_classes
    shares = told["shares"]
    labels = balanced_labels(count, classes) if shares is None else labels_by_share(count, shares)
    samples = draw_all(
        generator,
        parse_sampler(generator.algorithm, told["sampler"]),
        seeds=range(first, first + count),
        labels=labels if classes else None,
    )
    digest = write_npz(path, samples.pixels, samples.labels)
    same = digest == told["sha256"] if told["sha256"] else None
    return {"out": str(path), "sampler": told["sampler"], "sha256": digest, "same": same}


def _words(drawn: list[dict[str, Any]]) -> str:
    judged = {True: "the same bits", False: "other bits", None: "was not drawn there"}
    return "\n".join(f"{one['out']}: {judged[one['same']]} ({one['sha256']})" for one in drawn)
