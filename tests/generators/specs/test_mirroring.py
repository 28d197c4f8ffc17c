"""Words that mirrored images make wrong."""

import json
from pathlib import Path

import pytest
from PIL import Image

from generators.__main__ import main
from generators.specs.mirroring import mirrored_words
from tests.generators.conftest import make_data

FLIPPED = {"horizontal_flip": True, "conditional": True}


@pytest.mark.parametrize(
    ("config", "texts", "expected"),
    [
        (FLIPPED, ["A dot LEFT-of a box", "right!", "a dot"], ["left", "right"]),
        (FLIPPED, ["turned clockwise", "anticlockwise"], ["anticlockwise", "clockwise"]),
        (FLIPPED, ["a dot above a box", "bright"], []),
        ({**FLIPPED, "horizontal_flip": False}, ["left"], []),
        ({**FLIPPED, "conditional": False}, ["left"], []),
        (FLIPPED, [], []),
    ],
)
def test_sides_are_wrong_where_images_are_mirrored(
    config: dict[str, bool], texts: list[str], expected: list[str]
) -> None:
    assert mirrored_words(config, texts) == expected


@pytest.mark.parametrize("is_flipped", [True, False])
@pytest.mark.parametrize("kind", ["captions", "classes"])
def test_the_command_line_warns(
    kind: str, is_flipped: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(kind, tmp_path)
    sets = [f"horizontal_flip={is_flipped}".lower(), "base_channels=4", "latent_dim=2"]
    options = [text for value in sets for text in ("--set", value)]
    out = ["--out", str(tmp_path / "run"), "--budget-images", "8", "--device", "cpu"]

    assert main(["train", "vae.conv", "--data", str(tmp_path / "data"), *out, *options]) == 0

    warning = (
        "warning: horizontal_flip mirrors half of the images, and what is learned of them says"
    )
    assert (f"{warning} 'left'" in capsys.readouterr().err) == is_flipped


def _write(kind: str, folder: Path) -> None:
    """Write eight pictures with captions, or in folders of two classes."""
    images = make_data(8).images
    for index, image in enumerate(images):
        place = folder / "data" / ("" if kind == "captions" else ["turn left", "stop"][index % 2])
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0]).save(place / f"{index}.png")
    if kind == "captions":
        lines = [
            json.dumps({"file_name": f"{index}.png", "text": "a dot left of a box"})
            for index in range(len(images))
        ]
        (folder / "data" / "metadata.jsonl").write_text("\n".join(lines), "utf-8")
