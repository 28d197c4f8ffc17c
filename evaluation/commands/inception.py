"""The command `inception`: find, check or download the weights that FID needs."""

import argparse

from evaluation.commands.inputs import keep_weights
from evaluation.commands.report import print_record
from evaluation.features.inception import InceptionExtractor, find_weights
from evaluation.protocols.extractor_specs import INCEPTION
from evaluation.protocols.extractors import has_known_weights


def inception(options: argparse.Namespace) -> int:
    """Keep Inception's weights under their sha256, and print where they are."""
    given = options.weights or find_weights(options.out)
    digest = InceptionExtractor(given).weights_sha256  # loads it: a file that cannot is refused
    record = {
        "weights": str(keep_weights(given, options.out, "inception", digest)),
        "weights_sha256": digest,
        "known_weights": has_known_weights(INCEPTION, digest),
    }
    print_record(record, as_json=options.json)
    return 0
