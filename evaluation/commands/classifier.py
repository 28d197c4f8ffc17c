"""The command `classifier`: train the classifier of a dataset, or find it in the cache."""

import argparse

from evaluation.commands.inputs import labelled, open_set, trained_classifier
from evaluation.commands.report import print_record, progress


def classifier(options: argparse.Namespace) -> int:
    """Train a dataset classifier or find it, and print where it is."""
    train = open_set(options.data, "--data", part="train")
    test = open_set(options.test, "--test", part="test") if options.test else None
    with progress() as bars:
        trained = trained_classifier(
            options.out,
            labelled(train, "--data"),
            labelled(test, "--test") if test else None,
            len(train.classes),
            bars,
        )
    record = {
        "weights": str(trained.weights),
        "weights_sha256": trained.weights_sha256,
        "test_accuracy": trained.test_accuracy,
        "dim": trained.dim,
        "recipe": trained.recipe,
    }
    print_record(record, as_json=options.json)
    return 0
