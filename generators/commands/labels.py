"""The classes that a command line asks for: one of them, or of each its share."""

import argparse
from collections.abc import Sequence

import numpy as np

from generators.trained.labels import balanced_labels, check_seen, labels_by_share
from generators.trained.sampling import LoadedGenerator


def chosen_label(options: argparse.Namespace, generator: LoadedGenerator) -> int | None:
    """Return the class that the command line names; None for an unconditional generator, or all.

    Raises:
        ValueError: if the generator has no such class, or never saw it.
    """
    label: int | None = options.label
    if label is None:
        return None
    if not generator.num_classes:
        raise ValueError("--label: the generator is unconditional")
    if label >= generator.num_classes:
        raise ValueError(f"--label: expected 0..{generator.num_classes - 1}, got {label}")
    if generator.class_counts and not generator.class_counts[label]:
        raise ValueError(f"--label: the generator never saw an image of class {label}")
    return label


def one_label(options: argparse.Namespace, generator: LoadedGenerator) -> int | None:
    """Return the class that the command line names, or the first that a generator saw."""
    label = chosen_label(options, generator)
    if label is not None or not generator.num_classes:
        return label
    return next((k for k, count in enumerate(generator.class_counts or ()) if count), 0)


def wanted_labels(
    options: argparse.Namespace, generator: LoadedGenerator, count: int
) -> np.ndarray | None:
    """Return a label for each image, (count,) int64; None for an unconditional generator.

    Raises:
        ValueError: if the generator does not have the classes that the command line asks for.
    """
    label = chosen_label(options, generator)
    if label is not None:
        return np.full(count, label, dtype=np.int64)
    if not generator.num_classes and options.labels is None:
        return None
    shares = _shares(options.labels, generator)
    if shares is None:
        return balanced_labels(count, generator.num_classes)
    return labels_by_share(count, shares)


def _shares(rule: str | list[int] | None, generator: LoadedGenerator) -> Sequence[int] | None:
    """Return the classes' shares, None for all in turn: nothing was asked for, or is known."""
    counts = generator.class_counts
    if not generator.num_classes:
        raise ValueError("--labels: the generator is unconditional")
    if isinstance(rule, list):
        _check_shares(rule, generator)
        return rule
    if rule == "training" and counts is None:
        raise ValueError(
            "--labels: the checkpoint is of an earlier Trilemma and does not say how many images "
            "each class had; expected uniform or a share for each class"
        )
    return [min(n, 1) for n in counts] if rule == "uniform" and counts else counts


def _check_shares(shares: list[int], generator: LoadedGenerator) -> None:
    if len(shares) != generator.num_classes or not any(shares):
        raise ValueError(
            f"--labels: expected a share for each of {generator.num_classes} classes, one above 0; "
            f"got {','.join(map(str, shares))}"[:300]
        )
    try:
        check_seen(shares, generator.class_counts or [1] * generator.num_classes)
    except ValueError as error:
        raise ValueError(f"--labels: {error}") from error
