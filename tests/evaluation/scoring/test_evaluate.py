"""A whole evaluation: exactly the protocol, every metric, in the right direction."""

from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluation.features.classifier import (
    ClassifierExtractor,
    LabelledImages,
    TrainedClassifier,
)
from evaluation.imagesets.opening import images_digest, open_images
from evaluation.protocols.building import DatasetFacts, SplitFacts, build_protocol
from evaluation.protocols.extractor_specs import CLASSIFIER
from evaluation.protocols.metrics import METRICS, is_of_prompts
from evaluation.protocols.record import Protocol
from evaluation.scoring.evaluate import (
    EvaluationError,
    EvaluationResult,
    ExtractionStopped,
    MetricResult,
    evaluate_images,
    stages,
)
from tests.evaluation.factories import RandomProjection, make_dataset, make_images, make_protocol

Digits = tuple[LabelledImages, LabelledImages]


def protocol_for(extractor: RandomProjection, *, seed: int = 1, **changes: Any) -> Protocol:
    dataset = make_dataset(train=120, test=100)
    record = make_protocol(dataset, weights_sha256=extractor.weights_sha256).to_record()
    record["held_out"] = None
    for name in ("copies", "ct", "fd_population"):  # the last needs 5 images per feature
        del record["metrics"][name], record["uncertainty"][name]
    record["reference"]["digest"] = images_digest(make_images(120, seed=seed))
    for path, value in changes.items():
        *parts, name = path.split("__")
        target = record
        for part in parts:
            target = target[part]
        target[name] = value
    return Protocol.from_record(record)


def value(result: EvaluationResult, name: str) -> float:
    found = result.values[name].value
    assert found is not None
    return found


def test_every_metric_of_the_protocol_is_measured_and_named() -> None:
    extractor = RandomProjection()
    protocol = protocol_for(extractor)

    result = evaluate_images(
        protocol, make_images(100), make_images(120, seed=1), extractor=extractor
    )

    assert list(result.values) == list(protocol.metrics)
    assert all(np.isfinite(value(result, name)) for name in result.values)
    assert result.fingerprint == protocol.fingerprint()
    assert result.labels["fd"] == "FD[classifier]"


def test_a_protocol_of_fewer_metrics_measures_those_alone() -> None:
    extractor = RandomProjection()
    recall = protocol_for(extractor).metrics["recall"]

    result = evaluate_images(
        protocol_for(extractor, metrics={"recall": recall}),
        make_images(100),
        make_images(120, seed=1),
        extractor=extractor,
    )

    assert list(result.values) == ["recall"]


def test_the_distance_of_populations_needs_5_images_per_feature_on_each_side() -> None:
    extractor = RandomProjection()

    def measured(generated: int, reference: int) -> MetricResult:
        images = make_images(generated), make_images(reference, seed=1)
        digests = {"train": SplitFacts(images_digest(images[1]), reference)}
        protocol = build_protocol(
            DatasetFacts("digits", 8, 1, digests),
            extractor=CLASSIFIER,
            weights_sha256=extractor.weights_sha256,
            recipe=extractor.recipe,
            metrics=["fd", "fd_population"],
            num_images=generated,
        )
        found = evaluate_images(protocol, *images, extractor=extractor).values
        assert found["fd"].value is not None
        return found["fd_population"]

    enough = measured(350, 330)
    assert (enough.interval is not None) or "below 0" in enough.reason
    assert enough.corrected is not None
    assert enough.corrected < (enough.value or 0.0)
    for counts in ((319, 400), (400, 319)):
        few = measured(*counts)
        assert few.value is None
        assert few.reason.startswith("needs at least 320 images on each side")


def test_results_do_not_depend_on_the_batch_size() -> None:
    extractor = RandomProjection()
    generated, reference = make_images(100), make_images(120, seed=1)

    results = [
        evaluate_images(
            protocol_for(extractor), generated, reference, extractor=extractor, batch_size=size
        )
        for size in (1, 33, 1000)
    ]

    for name, found in results[0].values.items():
        values = [value(result, name) for result in results]
        error = found.standard_error or 0.0  # a kernel distance near 0 is a small difference
        assert values == pytest.approx([values[0]] * 3, rel=1e-5, abs=1e-3 * error)


def test_more_images_than_the_protocol_scores_are_chosen_from_the_same_way_every_time() -> None:
    extractor = RandomProjection()
    generated, reference = make_images(300), make_images(120, seed=1)
    protocol = protocol_for(extractor)

    first = evaluate_images(protocol, generated, reference, extractor=extractor)
    again = evaluate_images(protocol, generated, reference, extractor=extractor)
    others = evaluate_images(protocol, generated[100:], reference, extractor=extractor)

    assert first == again
    assert first != others


def test_features_of_the_reference_are_computed_once(tmp_path: Path) -> None:
    extractor = RandomProjection()
    generated, reference = make_images(100), make_images(120, seed=1)
    protocol = protocol_for(extractor)

    first = evaluate_images(protocol, generated, reference, extractor=extractor, cache=tmp_path)
    calls = extractor.calls
    again = evaluate_images(protocol, generated, reference, extractor=extractor, cache=tmp_path)

    assert calls == 2
    assert extractor.calls == 3
    assert again == first == evaluate_images(protocol, generated, reference, extractor=extractor)


def test_cached_features_are_those_of_these_images_and_weights(tmp_path: Path) -> None:
    extractor, other = RandomProjection(), RandomProjection(scale=2.0)
    generated = make_images(100)

    for used in (extractor, other):
        for seed in (1, 2):
            reference = make_images(120, seed=seed)
            evaluate_images(
                protocol_for(used, seed=seed),
                generated,
                reference,
                extractor=used,
                cache=tmp_path / "cache",
            )

    kept = [path.name.split("-")[0] for path in (tmp_path / "cache").iterdir()]
    assert kept.count("features") == kept.count("tensors") == 4


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_cached_features_are_computed_again(tmp_path: Path, damage: str) -> None:
    cache = tmp_path / "cache"
    extractor = RandomProjection()
    generated, reference = make_images(100), make_images(120, seed=1)
    protocol = protocol_for(extractor)
    first = evaluate_images(protocol, generated, reference, extractor=extractor, cache=cache)
    (path,) = cache.glob("features-*")
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data if damage == "flip" else data[:-100])

    again = evaluate_images(protocol, generated, reference, extractor=extractor, cache=cache)

    assert again == first
    assert list(cache.glob("features-*")) == [path]


def test_progress_goes_through_every_stage() -> None:
    extractor = RandomProjection()
    seen: list[tuple[str, float]] = []

    evaluate_images(
        protocol_for(extractor),
        make_images(100),
        make_images(120, seed=1),
        extractor=extractor,
        batch_size=50,
        on_progress=lambda stage, share: seen.append((stage, share)),
    )

    assert tuple(dict.fromkeys(stage for stage, _ in seen)) == stages(protocol_for(extractor))
    assert seen[:5] == [
        ("reference", 50 / 120),
        ("reference", 100 / 120),
        ("reference", 1.0),
        ("generated", 0.5),
        ("generated", 1.0),
    ]


@pytest.mark.parametrize("stop_after", [0, 1, 3, 5, 8, 12])
def test_it_stops_when_asked_in_every_stage(tmp_path: Path, stop_after: int) -> None:
    extractor = RandomProjection()
    asked = count()

    with pytest.raises(ExtractionStopped):
        evaluate_images(
            protocol_for(extractor),
            make_images(100),
            make_images(120, seed=1),
            extractor=extractor,
            batch_size=50,
            should_stop=lambda: next(asked) >= stop_after,
            cache=tmp_path,
        )


def test_features_that_are_not_finite_have_no_value_and_a_reason() -> None:
    extractor = RandomProjection(scale=6e37)
    black = np.zeros((120, 1, 8, 8), np.uint8)
    protocol = protocol_for(extractor, reference__digest=images_digest(black))

    result = evaluate_images(protocol, make_images(100), black, extractor=extractor)

    with pytest.raises(EvaluationError, match="features of the reference images are not finite"):
        evaluate_images(
            protocol_for(extractor), black[:100], make_images(120, seed=1), extractor=extractor
        )

    assert result.values["fd"] == MetricResult(
        value=None, reason="the features of the generated images are not finite"
    )


@pytest.mark.parametrize(
    ("generated", "reference", "message"),
    [
        (
            make_images(99),
            make_images(120),
            "expected at least 100 generated images, got 99",
        ),
        (
            make_images(100),
            make_images(119),
            "expected the 120 images of the reference split 'train', got 119",
        ),
        (
            make_images(100, channels=3),
            make_images(120),
            "generated images: expected channels, height and width (1, 8, 8), got (3, 8, 8)",
        ),
        (
            make_images(100),
            make_images(120, seed=2),
            "the reference images are not the protocol's: expected digest "
            f"{images_digest(make_images(120, seed=1))}, "
            f"got {images_digest(make_images(120, seed=2))}",
        ),
        (
            make_images(100),
            make_images(120, side=16),
            "reference images: expected channels, height and width (1, 8, 8), got (1, 16, 16)",
        ),
    ],
)
def test_other_images_than_the_protocol_speaks_of_are_refused(
    generated: np.ndarray, reference: np.ndarray, message: str
) -> None:
    extractor = RandomProjection()

    with pytest.raises(EvaluationError) as caught:
        evaluate_images(protocol_for(extractor), generated, reference, extractor=extractor)

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"metrics__fd__epsilon": 1e-6},
            "fd epsilon: this version computes 0, the protocol says 1e-06",
        ),
        (
            {"metrics__precision__rule": "nearest"},
            "precision rule: this version computes '<=', the protocol says 'nearest'",
        ),
        (
            {"metrics__is__shuffle": True},
            "is shuffle: this version computes None, the protocol says True",
        ),
        (
            {"metrics__recall__neighbours": 0},
            "recall neighbours: expected a whole number of at least 1, got 0",
        ),
        (
            {"metrics__kd__reference_count": 121},
            "kd reference_count: expected at most the 120 reference images, got 121",
        ),
        (
            {"uncertainty__fd__groups": "20"},
            "fd groups: expected a whole number of at least 2, got '20'",
        ),
        ({"extractor__dim": 65}, "extractor dim: the protocol says 65, got 64"),
    ],
)
def test_what_would_not_be_computed_as_written_is_refused(
    changes: dict[str, Any], message: str
) -> None:
    extractor = RandomProjection()

    with pytest.raises(EvaluationError) as caught:
        evaluate_images(
            protocol_for(extractor, **changes),
            make_images(100),
            make_images(120, seed=1),
            extractor=extractor,
        )

    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("changes", "changed"),
    [
        ({"metrics__precision__neighbours": 5}, "precision"),
        ({"metrics__recall__neighbours": 5}, "recall"),
        ({"metrics__precision__rule": "<"}, ""),
        ({"metrics__coverage__normalisation": "unit length"}, "coverage"),
        ({"metrics__kd__degree": 2}, "kd"),
        ({"metrics__kd__reference_count": 60}, "kd"),
    ],
)
def test_parameters_change_their_own_metric_alone(changes: dict[str, Any], changed: str) -> None:
    extractor = RandomProjection()
    images = make_images(100), make_images(120, seed=1)

    before = evaluate_images(protocol_for(extractor), *images, extractor=extractor)
    after = evaluate_images(protocol_for(extractor, **changes), *images, extractor=extractor)

    names = [name for name in before.values if value(after, name) != value(before, name)]
    assert names == [changed] * bool(changed)


@pytest.fixture(scope="session")
def board(trained: TrainedClassifier, digits: Digits) -> dict[str, EvaluationResult]:
    """Score real digits and ways to spoil them under the classifier's protocol."""
    train, test = digits
    extractor = ClassifierExtractor(trained.folder)
    splits = {
        name: SplitFacts(images_digest(split.pixels), len(split.pixels))
        for name, split in (("train", train), ("test", test))
    }
    protocol = build_protocol(
        DatasetFacts("digits", 8, 1, splits),
        extractor=CLASSIFIER,
        weights_sha256=trained.weights_sha256,
        recipe=trained.recipe,
    )
    rng = np.random.default_rng(0)
    real = test.pixels

    def noisy(deviation: float) -> np.ndarray:
        noise = rng.normal(size=real.shape) * deviation
        return (real + noise).round().clip(0, 255).astype(np.uint8)

    sets = {
        "real": real,
        "noise 16": noisy(16),
        "noise 32": noisy(32),
        "noise 64": noisy(64),
        "noise 128": noisy(128),
        "without one class": train.pixels[train.labels != 0][:500],
        "half the classes": train.pixels[train.labels < 5][:500],
        "one class": train.pixels[np.flatnonzero(train.labels == 3)[np.arange(500) % 100]],
        "one image": np.repeat(real[:1], 500, axis=0),
        "pure noise": make_images(500),
        "copies": train.pixels[:500],
    }
    return {
        name: evaluate_images(
            protocol, images, train.pixels, extractor=extractor, held_out=test.pixels
        )
        for name, images in sets.items()
    }


@pytest.mark.parametrize("metric", ["fd", "kd"])
@pytest.mark.parametrize(
    "ladder",
    [
        ["real", "noise 16", "noise 32", "noise 64", "noise 128"],
        ["real", "without one class", "half the classes", "one class"],
    ],
    ids=["noise", "lost classes"],
)
def test_worse_images_are_farther_from_the_reference(
    board: dict[str, EvaluationResult], metric: str, ladder: list[str]
) -> None:
    distances = [value(board[name], metric) for name in ladder]

    assert distances == sorted(distances)


@pytest.mark.slow
def test_no_spoiled_set_is_as_near_as_real_images(board: dict[str, EvaluationResult]) -> None:
    spoiled = [name for name in board if name != "copies"]
    nearest = min(spoiled, key=lambda name: value(board[name], "fd"))

    assert nearest == "real"


@pytest.mark.slow
def test_copies_of_training_images_are_nearest_but_caught(
    board: dict[str, EvaluationResult],
) -> None:
    copies, real = board["copies"], board["real"]

    assert value(copies, "fd") < value(real, "fd")
    assert value(copies, "authenticity") == 0
    assert value(copies, "ct") < -10
    assert value(real, "authenticity") > 0.4
    assert abs(value(real, "ct")) < 1e-9


def test_lost_classes_lower_recall_and_the_classifier_score(
    board: dict[str, EvaluationResult],
) -> None:
    ladder = ["real", "half the classes", "one class", "one image"]

    for metric in ("recall", "is"):
        values = [value(board[name], metric) for name in ladder]
        assert values == sorted(values, reverse=True)
    assert value(board["real"], "is") > 9
    assert value(board["one image"], "is") == pytest.approx(1, abs=1e-6)


def test_noise_lowers_precision(board: dict[str, EvaluationResult]) -> None:
    ladder = ["real", "noise 64", "noise 128"]

    values = [value(board[name], "precision") for name in ladder]

    assert values == sorted(values, reverse=True)
    assert values[0] > 0.8


def test_every_metric_that_has_a_name_can_be_measured() -> None:
    """Values of the fitting ones; the others say what they lack."""
    extractor = RandomProjection()
    labels = np.arange(1200) % 10
    train, test = (make_images(1200, seed=seed) for seed in (1, 2))
    splits = {
        "train": SplitFacts(images_digest(train), 1200),
        "test": SplitFacts(images_digest(test), 1200),
    }
    protocol = build_protocol(
        DatasetFacts("noise", 8, 1, splits),
        extractor=CLASSIFIER,
        weights_sha256=extractor.weights_sha256,
        recipe=extractor.recipe,
        metrics=[name for name in METRICS if not is_of_prompts(name)],
    )
    generated, held_out = (open_images(images) for images in (make_images(1200, seed=3), test))
    generated.labels = held_out.labels = labels

    found = evaluate_images(protocol, generated, train, extractor=extractor, held_out=held_out)

    assert list(found.values) == [name for name in METRICS if not is_of_prompts(name)]
    absent = {name for name, result in found.values.items() if result.value is None}
    assert absent == {"ssim", "class_fd", "class_kl"}  # too small images; classes with too few
    assert found.values["ssim"].reason == "images of 8x8 are smaller than the window of 11x11"
    assert all(result.interval or result.reason for result in found.values.values())


def neighbour_values(changes: dict[str, Any], *, turned: bool = False) -> dict[str, float]:
    """Return what is measured under a protocol, its metrics perhaps in another order."""
    extractor = RandomProjection()
    record = protocol_for(extractor, **changes).to_record()
    if turned:
        record["metrics"] = dict(reversed(record["metrics"].items()))
    protocol = Protocol.from_record(record)
    found = evaluate_images(
        protocol, make_images(100, seed=5), make_images(120, seed=1), extractor=extractor
    )
    return {name: value(found, name) for name in found.values}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"metrics__recall__neighbours": 8},
        {"metrics__authenticity__normalisation": "unit length"},
        {"uncertainty__coverage__draws": 10},
        {"metrics__kd__reference_count": 100, "metrics__density__reference_count": 120},
    ],
)
def test_every_metric_of_neighbours_has_its_own_parameters_in_any_order(
    changes: dict[str, Any],
) -> None:
    together = neighbour_values(changes)

    assert neighbour_values(changes, turned=True) == together
    for name in ("recall", "authenticity"):
        record = protocol_for(RandomProjection(), **changes).to_record()
        alone = {"metrics": {name: record["metrics"][name]}}
        assert neighbour_values({**alone}) == {name: together[name]}


@pytest.mark.slow
def test_the_accuracy_score_is_of_the_scored_images_and_of_classes_by_name(
    digits: Digits,
) -> None:
    (train, test), extractor = digits, RandomProjection()
    splits = {
        name: SplitFacts(images_digest(split.pixels), len(split.pixels))
        for name, split in (("train", train), ("test", test))
    }
    protocol = build_protocol(
        DatasetFacts("digits", 8, 1, splits),
        extractor=CLASSIFIER,
        weights_sha256=extractor.weights_sha256,
        recipe=extractor.recipe,
        metrics=["cas"],
        num_images=400,
    )

    def cas(labels: np.ndarray, classes: tuple[str, ...]) -> MetricResult:
        generated, held_out = open_images(train.pixels), open_images(test.pixels)
        generated.labels, generated.classes = labels, classes
        held_out.labels, held_out.classes = test.labels, tuple("abcdefghij")
        return evaluate_images(
            protocol, generated, train.pixels, extractor=extractor, held_out=held_out
        ).values["cas"]

    by_number = cas(train.labels, tuple("0123456789"))
    turned = cas(9 - train.labels, tuple("jihgfedcba"))

    assert by_number.value is not None and by_number.value > 0.8
    assert turned.value == by_number.value
    assert cas(train.labels, tuple("abcdefghix")).reason == "the held-out images have no class x"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"numerics__features": "float16"}, "numerics features: this version computes"),
        ({"images__resize": "lanczos"}, "images resize: this version computes 'none'"),
        ({"images__lossy": "whatever"}, "images lossy: expected"),
        ({"extractor__recipe": {}}, "extractor recipe: the protocol says {}"),
    ],
)
def test_rules_that_are_not_followed_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(EvaluationError) as caught:
        neighbour_values(changes)

    assert str(caught.value).startswith(message)
