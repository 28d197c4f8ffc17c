"""Parquet tables of image files, as published datasets come."""

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from evaluation.imagesets import parquet
from evaluation.imagesets.in_memory import ImageError, read_images, read_parts
from evaluation.imagesets.opening import images_digest, open_images
from tests.evaluation.pictures import GREY, PNG, encode, message, png_of

pa: Any = pytest.importorskip("pyarrow")
pq: Any = pytest.importorskip("pyarrow.parquet")

Pixels = npt.NDArray[np.uint8]


def pictures(count: int, *, seed: int = 0) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 5, 7), np.uint8)


def encoded(pixels: Pixels) -> list[bytes]:
    return [png_of(np.ascontiguousarray(image.transpose(1, 2, 0))) for image in pixels]


def write(
    path: Path,
    images: Sequence[bytes | None],
    *,
    column: str = "image",
    kind: str = "struct",
    rows: int = 100,
    **columns: Any,
) -> Path:
    """Write a table as published datasets are, with ``rows`` images in a row group."""
    values: Any = images
    if kind == "struct":
        named = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        values = pa.array(
            [{"bytes": data, "path": f"{i}.png"} for i, data in enumerate(images)], named
        )
    elif kind == "binary":
        values = pa.array(images, pa.binary())
    elif kind == "large":
        values = pa.array(images, pa.large_binary())
    classes = columns.pop("classes", None)
    table = pa.table({column: values, **columns})
    if classes is not None:
        label = {"names": classes, "_type": "ClassLabel"}
        described = {"info": {"features": {"label": label, "image": {"_type": "Image"}}}}
        table = table.replace_schema_metadata({"huggingface": json.dumps(described)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=rows)
    return path


@pytest.mark.parametrize("kind", ["struct", "binary", "large"])
@pytest.mark.parametrize("rows", [1000, 100, 7])
def test_a_table_yields_its_images_in_order(place: Path, kind: str, rows: int) -> None:
    pixels = pictures(300)
    stream = open_images(write(place / "x.parquet", encoded(pixels), kind=kind, rows=rows))

    chunks = list(stream.chunks())

    assert [len(chunk) for chunk in chunks] == [256, 44]
    assert np.array_equal(np.concatenate(chunks), pixels)
    assert stream.labels is None
    assert stream.digest() == images_digest(pixels)
    chosen = [0, 5, 6, 99, 100, 101, 298]
    assert np.array_equal(np.concatenate(list(stream.chunks(chosen))), pixels[chosen])


def test_labels_have_the_names_that_the_table_describes(place: Path) -> None:
    path = write(
        place / "x.parquet", [PNG] * 3, label=[2, 0, 2], classes=["cat", "dog", "ship", "tree"]
    )

    images = read_images(path)

    assert images.labels is not None and images.labels.tolist() == [2, 0, 2]
    assert images.classes == ("cat", "dog", "ship", "tree")
    assert open_images(path, labelled=False).labels is None


def test_labels_without_names_are_numbers_and_text_is_sorted(place: Path) -> None:
    numbers = read_images(write(place / "n.parquet", [PNG] * 3, labels=[2, 0, 2]))
    text = read_images(write(place / "t.parquet", [PNG] * 3, label=["10", "9", "10"]))

    assert numbers.classes == ("0", "1", "2")
    assert text.classes == ("9", "10")
    assert text.labels is not None and text.labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
@pytest.mark.parametrize("column", ["text", "caption"])
def test_captions_are_a_column_of_text(place: Path, column: str, kind: Any) -> None:
    texts = ["a cat", "\u732b", "a cat"] * 100
    one, more = (pa.array(part, kind) for part in (texts, texts[::-1]))
    write(place / "0.parquet", [PNG] * 300, rows=7, **{column: one})
    write(place / "1.parquet", [PNG] * 300, rows=1000, **{column: more})

    assert read_images(place).captions == (*texts, *texts[::-1])
    assert open_images(place, labelled=False).captions is None
    assert read_images(place).left_out == ()


def test_a_column_of_lists_is_no_captions(place: Path) -> None:
    images = read_images(write(place / "x.parquet", [PNG], text=[["a cat", "one cat"]]))

    assert images.captions is None
    assert images.left_out == ("1 column (text)",)


def test_the_text_of_a_table_is_bounded(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "MAX_WHOLE_BYTES", 100)
    path = write(place / "x.parquet", [PNG], text=["x" * 200])

    assert message(lambda: open_images(path)).startswith("x.parquet: text: ")
    assert message(lambda: open_images(path)).endswith("over 100 bytes; expected at most as many")


def test_a_folder_of_tables_is_read_in_the_order_of_paths(place: Path) -> None:
    pixels = pictures(30)
    parts = {"00001": pixels[10:20], "00000": pixels[:10], "00002": pixels[20:]}
    for number, some in parts.items():
        write(place / f"data/train-{number}-of-00003.parquet", encoded(some), label=[1] * 10)
    (place / "README.md").write_text("# A dataset")

    stream = open_images(place)

    assert np.array_equal(np.concatenate(list(stream.chunks())), pixels)
    assert stream.image_name(12) == "data/train-00001-of-00003.parquet row 2"


def test_parts_are_told_by_the_names_of_tables(place: Path) -> None:
    write(place / "train-00000-of-00001.parquet", [PNG] * 3)
    write(place / "test/0000.parquet", [PNG] * 2)
    write(place / "validation-00000-of-00001.parquet", [PNG])

    assert read_parts(place) == ("train", "test")
    assert [open_images(place, part=part).count for part in ("train", "test", "validation")] == [
        3,
        2,
        1,
    ]
    assert message(lambda: open_images(place)) == (
        "place: tables of the parts test, train, validation, but no part was chosen; expected one "
        "of them"
    )
    assert message(lambda: open_images(place / "test/0000.parquet", part="train")) == (
        "0000.parquet: tables of the parts none, but 'train' was asked for; expected one of them"
    )


def test_parts_may_be_spelt_in_other_ways(place: Path) -> None:
    write(place / "Train/0.parquet", [PNG] * 3)
    write(place / "TEST/0.parquet", [PNG] * 2)
    write(place / "val-00000-of-00001.parquet", [PNG])

    assert read_parts(place) == ("train", "test")
    assert [open_images(place, part=part).count for part in ("train", "test", "validation")] == [
        3,
        2,
        1,
    ]


def test_what_is_not_read_of_tables_is_told(place: Path) -> None:
    write(place / "train.parquet", [PNG] * 3, label=[0, 1, 0], text=["a", "b", "c"], mask=[b""] * 3)
    write(place / "val.parquet", [PNG], label=[0], text=["a"], mask=[b""])
    write(place / "extra-00000-of-00001.parquet", [PNG], label=[0], text=["a"], mask=[b""])
    (place / "README.md").write_text("# A dataset")
    (place / "1.png").write_bytes(PNG)
    write(place / ".cache/train.parquet", [PNG])

    assert read_images(place, part="train").left_out == (
        "1 column (mask)",
        "2 tables of another part (extra-00000-of-00001.parquet, …)",
        "1 hidden file (.cache/train.parquet)",
        "2 other files (1.png, …)",
    )


def test_hidden_tables_make_no_folder_of_tables(place: Path) -> None:
    write(place / ".cache/x.parquet", [PNG])
    (place / "1.png").write_bytes(PNG)

    images = read_images(place)

    assert len(images.pixels) == 1
    assert images.left_out == ("1 hidden file (.cache/x.parquet)",)


@pytest.mark.parametrize("columns", [{"mask": [b"x"]}, {}])
def test_the_column_of_images_is_found(place: Path, columns: dict[str, Any]) -> None:
    path = write(place / "x.parquet", [PNG], column="img", **columns)

    assert open_images(path).count == 1


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "no image column": (
        {"images": ["x"], "kind": "text"},
        "x.parquet: columns image; expected one of image files (binary, or a structure with binary "
        "`bytes`), or one of them called image or img",
    ),
    "two image columns": (
        {"images": [PNG], "column": "a", "b": [b"x"]},
        "x.parquet: columns a, b; expected one of image files (binary, or a structure with binary "
        "`bytes`), or one of them called image or img",
    ),
    "a path alone": (
        {"images": [PNG, None]},
        "x.parquet: no bytes in an image; expected 1 to 67,108,864",
    ),
    "no images": ({"images": []}, "x.parquet: 0 rows; expected 1 to 1,000,000"),
    "no image": (
        {"images": [PNG, b"hello"]},
        "x.parquet: row 1: not an image; expected only PNG, JPEG and WebP files",
    ),
    "mixed": (
        {"images": [PNG, GREY]},
        "x.parquet: row 1: grey where row 0 is colour; expected all alike, or a "
        "number of channels to convert to",
    ),
    "lossy": (
        {"images": [PNG, encode(kind="JPEG")]},
        "x.parquet: row 1: a lossy JPEG image; expected PNG or lossless WebP, or "
        "lossy ones accepted (--allow-lossy): compression changes every score",
    ),
    "a missing label": (
        {"images": [PNG, PNG], "label": [1, None]},
        "x.parquet: label: some are missing or of another kind; expected whole numbers or text in "
        "every row",
    ),
    "a negative label": (
        {"images": [PNG, PNG], "label": [1, -1]},
        "x.parquet: labels: int64 (2,); expected one whole number of at least 0 for each of 2 images",
    ),
    "a class that is no text": (
        {"images": [PNG, PNG], "label": ["a", "b\0"]},
        "x.parquet: label: the class 'b\\x00'; expected 1 to 255 printable characters",
    ),
    "a described class that is no text": (
        {"images": [PNG, PNG], "label": [0, 1], "classes": ["a", ""]},
        "x.parquet: label: the class ''; expected 1 to 255 printable characters",
    ),
    "captions for some images": (
        {"images": [PNG] * 3, "text": [None, "a", None]},
        "x.parquet: 2 of 3 images have no caption, the first is row 0; expected one for every image "
        "or for none",
    ),
    "an empty caption": (
        {"images": [PNG] * 2, "caption": ["a", ""]},
        "x.parquet: row 1: an empty caption; expected text of 1 to 1,000 printable characters",
    ),
    "a long caption": (
        {"images": [PNG] * 2, "caption": ["a" * 5000, "a"]},
        "x.parquet: row 0: a caption of 5,000 characters; expected text of 1 to 1,000 printable "
        "characters",
    ),
    "a label without a name": (
        {"images": [PNG, PNG], "label": [1, 2], "classes": ["a", "b"]},
        "x.parquet: label: 2 is none of the 2 classes",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_table_that_is_not_images_is_refused(place: Path, case: str) -> None:
    columns, expected = REFUSED[case]
    path = write(place / "x.parquet", **columns)

    assert message(lambda: list(open_images(path).chunks())) == expected


def test_tables_of_different_kinds_are_refused(place: Path) -> None:
    write(place / "a.parquet", [PNG], label=[0])
    write(place / "b.parquet", [PNG])

    assert message(lambda: open_images(place)) == (
        "place: b.parquet: other columns or classes than a.parquet; expected tables of one kind"
    )


def test_a_table_of_too_many_rows_or_bytes_is_refused(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = place / "x.parquet"
    bomb = pa.table({"image": pa.array([bytes(10**6)] * 50, pa.binary())})
    pq.write_table(bomb, path, compression="zstd", use_dictionary=False)

    assert message(lambda: open_images(path)).startswith("x.parquet: columns unpack from ")
    monkeypatch.setattr(parquet, "MAX_FILES", 2)
    write(path, [PNG] * 3)
    assert message(lambda: open_images(path)) == "x.parquet: 3 rows; expected 1 to 2"


def test_without_pyarrow_it_is_said_what_to_install(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(place / "x.parquet", [PNG])
    monkeypatch.setattr(parquet, "import_module", raise_missing)

    assert message(lambda: open_images(path)) == (
        "parquet tables need pyarrow; install it with: pip install 'trilemma[parquet]'"
    )


def raise_missing(name: str) -> None:
    raise ModuleNotFoundError(name)


def test_a_missing_or_other_file_is_refused(place: Path) -> None:
    (place / "y.parquet").write_bytes(b"hello")

    assert message(lambda: open_images(place / "x.parquet")) == (
        "x.parquet: does not exist; expected a parquet table"
    )
    assert message(lambda: open_images(place / "y.parquet")).startswith("y.parquet: damaged (")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_a_damaged_table_is_read_or_refused_but_never_crashes(
    place: Path, data: st.DataObject
) -> None:
    content = bytearray(write(place / "x.parquet", [PNG] * 5, label=[0, 1, 0, 1, 0]).read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (place / "x.parquet").write_bytes(content)

    try:
        reason = f"x.parquet {read_images(place / 'x.parquet').classes}"
    except ImageError as error:
        reason = str(error)

    assert reason.startswith("x.parquet")


def test_no_damaged_byte_of_a_description_ends_the_process(place: Path) -> None:
    content = write(place / "x.parquet", [PNG] * 5, label=[0, 1, 0, 1, 0]).read_bytes()
    described = int.from_bytes(content[-8:-4], "little")

    for at in range(len(content) - 8 - described, len(content) - 8, 2):
        path = place / "y.parquet"
        path.write_bytes(content[:at] + bytes([content[at] ^ 101]) + content[at + 1 :])
        with suppress(ImageError):
            open_images(path)
