"""What README.md and the help tell of one's own images and models is done, block by block.

Only `pip install` is stood in for, by laying the package out on the path.
"""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.imagesets.in_memory import write_npz
from evaluation.imagesets.packaged import PACKAGED
from evaluation.scenes.drawing import draw_scenes
from tests.generators.pipelines import tiny
from tests.readme.pages import SECONDS, blocks, typed
from tests.servers import wait_until
from tests.site import Site
from tests.test_contributing import install_examples

SAMPLES, SCORED, PIPELINE, ENTERED, PLUGIN, FETCHED, FILLED = blocks(".readme/models.md")
COMMANDS_OF_CI, IMAGES, LAB = blocks("README.md")


def pictures(folder: Path, pixels: np.ndarray) -> None:
    """Write grey images (N, 1, H, W) as files."""
    folder.mkdir()
    for number, image in enumerate(pixels):
        Image.fromarray(image[0]).save(folder / f"{number:04}.png")


def mixture(train: np.ndarray, count: int) -> np.ndarray:
    """Return digits of another tool's making: of scikit-learn's Gaussian mixture."""
    from sklearn.mixture import GaussianMixture  # noqa: PLC0415  # slow to import

    rows = train.reshape(len(train), -1).astype(float)
    fitted = GaussianMixture(10, covariance_type="diag", random_state=0).fit(rows)
    drawn: np.ndarray = fitted.sample(count)[0].round().clip(0, 255).astype(np.uint8)
    return drawn.reshape(count, *train.shape[1:])


def test_every_block_of_the_page_is_typed_here() -> None:
    assert [block.split()[2] for block in (SAMPLES, SCORED, PIPELINE, PLUGIN)] == [
        "migrate",
        "evaluation",
        "generators",
        "./pixel-flow",
    ]
    assert ENTERED.splitlines()[-1] == "python manage.py submit theirs.yaml"


def test_what_the_readme_says_of_a_lab_is_what_its_page_says() -> None:
    assert blocks(".readme/lab.md")[0] == LAB
    assert COMMANDS_OF_CI.count("python3 -m venv .venv && .venv/bin/pip install -e ") == 2


@pytest.mark.slow
def test_a_folder_of_photos_of_any_size_comes_to_a_board(place: Path, site: Site) -> None:
    (place / "photos").mkdir()
    for number, image in enumerate(draw_scenes(400, 32, 0).pixels):
        size = (40 + number % 5, 36 + number % 7)
        photo = Image.fromarray(image.transpose(1, 2, 0)).resize(size)
        photo.save(place / "photos" / f"{number:04}.jpg")
    *recipe, server = IMAGES.replace("device_seconds: 60", "device_seconds: 3").splitlines()
    assert server.startswith("python manage.py runserver")

    told = typed("\n".join(recipe), place, site, 4 * SECONDS)

    for name in ("DCGAN", "Conv VAE", "Flow matching", "Real test images", "Uniform noise"):
        assert name in told


@pytest.mark.slow
def test_samples_of_another_tool_come_to_a_board_and_equal_their_scores_without_a_site(
    place: Path, site: Site
) -> None:
    train = PACKAGED["digits"]("train").pixels
    write_npz(place / "train.npz", train, None)
    pictures(place / "samples", mixture(train, 300))

    protocol = typed(SAMPLES, place, site).split()[-1]
    site.start_worker()
    site.start_web()
    row = wait_for_entry(site, protocol, "My mixture")
    typed(SCORED.rstrip() + " --json scores.json", place, site)

    expected = json.loads((place / "scores.json").read_text())
    for name in ("kd", "precision", "recall", "coverage"):
        value = expected["metrics"][name]
        assert row[f"{value['label']} plug-in"] == pytest.approx(value["value"], rel=1e-6), name
    assert row["kind"] == "external" and row["judgements"]["kd"]["rank"] == 1


def wait_for_entry(site: Site, protocol: str, label: str) -> dict[str, Any]:
    """Return an entry's row of a board, once it has been scored."""
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        rows = site.get(f"/api/leaderboards/{protocol}/")["rows"]
        found[:] = [row for row in rows if row["entry"] == label and row["seeds_scored"]]
        return bool(found)

    wait_until(is_there, seconds=SECONDS, what=f"{label} on the board\n{site.log()}")
    return found[0]


@pytest.mark.slow
def test_a_diffusers_folder_is_drawn_from_and_scored(place: Path, site: Site) -> None:
    tiny.ddpm(place / "pipeline")
    rng = np.random.default_rng(0)
    write_npz(place / "train.npz", rng.integers(0, 256, (400, 3, 8, 8), np.uint8), None)

    told = typed(PIPELINE, place, site)

    assert "DDPMPipeline" in told and "FD[random-convolution]" in told
    with np.load(place / "theirs.npz") as file:
        assert file["arr_0"].shape == (300, 8, 8, 3)


@pytest.mark.slow
def test_a_diffusers_folder_stands_on_a_board(place: Path, site: Site) -> None:
    tiny.ddpm(place / "pipeline")
    pixels = np.random.default_rng(0).integers(0, 256, (400, 3, 8, 8), np.uint8)
    write_npz(place / "photos.npz", pixels, None)
    site.manage("migrate", "-v0")
    about = ["--source", "made up", "--licence", "CC0", "--test-fraction", "0.4"]
    site.manage("register_dataset", "photos", "--archive", str(place / "photos.npz"), *about)
    how = ["--extractor", "pixels-pca64", "--metrics", "fd", "--num-images", "70"]
    made = site.manage("register_protocol", "photos", *how, "--admission-images", "0")
    protocol = made.stdout.split()[-1]

    typed(ENTERED, place, site, PROTOCOL=protocol)
    site.start_worker()
    site.start_web()

    row = wait_for_entry(site, protocol, "mine")
    assert (row["kind"], row["nfe"]) == ("pipeline", 5)


@pytest.mark.slow
def test_a_plugin_is_trained_and_drawn_from(place: Path, site: Site, tmp_path: Path) -> None:
    packages = install_examples(tmp_path / "packages")
    path = os.pathsep.join([site.env["PYTHONPATH"], str(packages)])

    typed(PLUGIN, place, site, PYTHONPATH=path)

    with np.load(place / "mine.npz") as file:
        assert file["arr_0"].shape == (300, 8, 8, 1)


@pytest.mark.slow
@pytest.mark.skipif(not all(map(shutil.which, ("curl", "unzip"))), reason="needs curl and unzip")
def test_a_closed_system_answers_the_prompts_of_a_template(place: Path, site: Site) -> None:
    site.manage("migrate", "-v0")
    drawn = ["--num", "400", "--num-test", "100", "--out", str(place / "drawn")]
    site.run("-m", "evaluation", "scenes", *drawn)
    site.manage("register_dataset", "scenes", "--folder", str(place / "drawn"))
    options = ["--preset", "scenes-prompts", "--metrics", "following", "--images-per-prompt", "1"]
    made = site.manage("register_protocol", "scenes", *options, "--admission-images", "0")
    protocol = made.stdout.split()[-1]
    address = site.start_web()

    typed(FETCHED, place, site, SITE=address)
    lines = (place / "answers/metadata.csv").read_text("utf-8").splitlines()
    names = [line.partition(",")[0] for line in lines[1:]]
    for name, image in zip(names, draw_scenes(len(names), 32, 5).pixels, strict=True):
        Image.fromarray(image.transpose(1, 2, 0)).save(place / "answers" / name)
    typed(FILLED, place, site, SITE=address, PROTOCOL=protocol)
    site.start_worker()

    row = wait_for_entry(site, protocol, "DALL-E 3")
    assert 0 <= row["Following"] < 1
