"""Every other block of the help is typed: a site's commands, workers', and those without a site.

Budgets are cut, and files that nobody can download are made here; the commands stay as they are.
"""

import re
import shutil
import subprocess
import zipfile
from functools import partial
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluation.imagesets.in_memory import write_npz
from evaluation.imagesets.packaged import PACKAGED
from evaluation.metrics.neighbours import neighbour_metrics
from tests.generators.pipelines import tiny
from tests.inception import write_random_weights
from tests.readme.pages import SECONDS, blocks, typed
from tests.servers import wait_until
from tests.site import ROOT, Site

REGISTERED, PROMPTED = blocks(".readme/data.md")
ASKED, SEARCHED = blocks(".readme/data.md", "yaml")
(SHOWN,) = blocks(".readme/demo.md")
_, SAVED, CLEANED = blocks(".readme/lab.md")
TRAINED, LOOKED_INTO, SCORED = blocks(".readme/without-a-site.md")
(MEASURED,) = blocks(".readme/without-a-site.md", "python")
(WORKED,) = blocks(".readme/workers.md")
(TIMED,) = blocks(".readme/speed-of-pages.md")
OTHERS = {"README.md", ".readme/models.md", ".readme/rest.md"}  # typed in tests beside this one


def archive(path: Path, *, channels: int = 1, most: int | None = None) -> None:
    """Write the packaged digits as a zip of folders: train/<class>/*, test/<class>/*; most of each."""
    with zipfile.ZipFile(path, "w") as file:
        for part in ("train", "test"):
            found = PACKAGED["digits"](part)
            assert found.labels is not None, "digits have classes"
            pairs = zip(found.pixels[:most], found.labels[:most], strict=True)
            for number, (image, label) in enumerate(pairs):
                content = BytesIO()
                plane = Image.fromarray(image[0])
                (plane.convert("RGB") if channels == 3 else plane).save(content, "png")
                file.writestr(f"{part}/{label}/{number:04}.png", content.getvalue())


def cut(block: str) -> str:
    """Return commands that train a little instead of long."""
    return re.sub(
        r"(generators train .*?) --preset \w+", r"\1 --preset tiny --budget-images 64", block
    )


def test_every_block_of_the_help_is_typed_by_a_test() -> None:
    pages = ["README.md", *(f".readme/{path.name}" for path in (ROOT / ".readme").glob("*.md"))]
    named = set(re.findall(r'"(\.readme/\w[\w-]*\.md)"', Path(__file__).read_text("utf-8")))

    assert {page for page in pages if blocks(page) or blocks(page, "python")} == named | OTHERS
    assert SHOWN == "python manage.py demo\n"  # tests/terminal/test_demo.py runs it


@pytest.mark.slow
def test_a_dataset_comes_from_its_archive_to_a_board(place: Path, site: Site) -> None:
    archive(place / "mnist.zip")
    *commands, served, submitted, ran = REGISTERED.splitlines()
    assert served.startswith("python manage.py runserver")
    block = "\n".join(commands).replace("createsuperuser", "createsuperuser --noinput")
    who = {"DJANGO_SUPERUSER_USERNAME": "ada", "DJANGO_SUPERUSER_EMAIL": "ada@example.org"}

    told = typed(block, place, site, 4 * SECONDS, **who)
    (fingerprint,) = re.findall(r"(?m)^[0-9a-f]{64}$", told)
    searched = SEARCHED.replace("trials: 12", "trials: 2")
    asked = f"{ASKED}{searched}".replace("dea9219a16d1", fingerprint[:12])
    asked = asked.replace("images: 1000000", "images: 64").replace("seeds: 3 ", "seeds: 1 ")
    (place / "experiment.yaml").write_text(asked, "utf-8")
    told = typed(f"{submitted}\n{ran}", place, site, 4 * SECONDS)

    for name in ("β = 1", "β = 4", "R3GAN", "DDIM 100", "Tuned VAE", "Real test images"):
        assert name in told


@pytest.mark.slow
def test_scenes_come_with_prompts_and_take_others(place: Path, site: Site) -> None:
    site.manage("migrate", "-v0")
    prompt = '{"id": "one", "text": "a red circle", "group": "colour"}'
    (place / "prompts.json").write_text(f'{{"version": 1, "prompts": [{prompt}]}}', "utf-8")

    told = typed(PROMPTED, place, site, 4 * SECONDS)

    assert len(re.findall(r"(?m)^[0-9a-f]{64}$", told)) >= 2


@pytest.mark.slow
def test_a_site_is_saved_restored_and_cleaned(place: Path, site: Site, tmp_path: Path) -> None:
    site.manage("migrate", "-v0")
    site.manage("register_dataset", "digits", "--digits")
    saved, restored = SAVED.splitlines()
    elsewhere = tmp_path / "elsewhere"

    typed(saved, place, site)
    typed(restored, place, site, DATA_DIR=str(elsewhere))
    typed(CLEANED, place, site, DATA_DIR=str(elsewhere))

    assert "digits" in typed("python manage.py dumpdata catalog.dataset", place, site)


@pytest.mark.slow
def test_pages_of_a_filled_site_are_timed(place: Path, site: Site, tmp_path: Path) -> None:
    block = TIMED.replace("/sites/1k ", "/sites/10k ").replace("/sites/", f"{tmp_path}/")
    block = block.replace("filling 10000", "filling 20").replace("copying 9", "copying 1")

    shutil.copy(ROOT / ".readme/speed-of-pages.md", tmp_path)

    typed(block.replace(".readme/", f"{tmp_path}/"), place, site, 4 * SECONDS)

    assert "| /experiments/ |" in (tmp_path / "speed-of-pages.md").read_text("utf-8")


def is_ready(log: Path) -> bool:
    """Return whether a worker says so."""
    return log.exists() and " ready." in log.read_text("utf-8")


@pytest.mark.slow
def test_workers_start_as_they_are_told_to(place: Path, site: Site) -> None:
    site.manage("migrate", "-v0")
    started = "\n".join(
        f"{line.partition('#')[0].strip()} -l INFO > {number}.log 2>&1 &"
        for number, line in enumerate(WORKED.splitlines())
    )
    ended = "trap 'kill $(jobs -p)' EXIT; until test -e ended; do sleep 0.2; done"
    script = ["bash", "-c", f'celery() {{ exec "$PYTHON" -m celery "$@"; }}\n{started}\n{ended}']
    running = subprocess.Popen(script, cwd=place, env=site.env)  # the help's own

    try:
        for number in range(len(WORKED.splitlines())):
            log = place / f"{number}.log"
            wait_until(partial(is_ready, log), seconds=SECONDS, what=f"worker {number}")
    finally:
        (place / "ended").touch()
        running.wait(timeout=SECONDS)


@pytest.mark.slow
def test_models_are_trained_looked_into_and_scored_without_a_site(place: Path, site: Site) -> None:
    archive(place / "mnist.zip")
    archive(place / "cifar10.zip", channels=3)
    for part in ("train", "test"):
        found = PACKAGED["digits"](part)
        write_npz(place / f"{part}.npz", found.pixels, found.labels)

    typed(cut(TRAINED), place, site, 4 * SECONDS)
    with np.load(place / "samples.npz") as file:
        assert file["arr_0"].shape == (1000, 8, 8, 1)

    tiny.ddpm(place / "FOLDER")
    looked = LOOKED_INTO.replace("nproc-per-node 4", "nproc-per-node 2")
    *others, spread = cut(looked).splitlines()
    typed("\n".join(line for line in others if "reconstruct" not in line), place, site, 4 * SECONDS)
    typed(spread.replace("--out run/", "--out spread/"), place, site, 4 * SECONDS)
    for made in ("steps.png", "between.png", "noisy.png", "pipeline", "theirs.npz"):
        assert (place / made).exists(), made


@pytest.mark.slow
def test_images_are_scored_against_every_kind_of_reference(place: Path, site: Site) -> None:
    archive(place / "cifar10.zip", channels=3, most=120)
    with zipfile.ZipFile(place / "cifar10.zip") as file:
        file.extractall(place)  # made above
    (place / "test").rename(place / "images")
    rng = np.random.default_rng(0)
    np.savez(place / "stats.npz", mu=rng.random(2048), sigma=np.cov(rng.random((2048, 4096))))
    given = f"--num-images 60 --weights {write_random_weights(place)}"
    scored = [line.partition("#")[0].replace(" --weights FILE", "") for line in SCORED.splitlines()]

    for line, result in zip(scored[:3], ("a", "b", "c"), strict=True):
        typed(f"{line} {given} --json {result}.json", place, site, 4 * SECONDS)
    compared = scored[3] + " || test $? = 1"  # a plain no: of two references

    assert "reference" in typed(compared, place, site)
    assert "mine" in typed(scored[4].replace(" && ", f" {given[16:]} && "), place, site)
    assert "\npassed, 60 images" in typed(scored[5] + " || test $? = 1", place, site)


def test_the_functions_are_called_as_told() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(60, 10))
    given = {
        "real": rng.normal(size=(60, 4)),
        "generated": rng.normal(size=(60, 4)),
        "probabilities": np.exp(logits) / np.exp(logits).sum(1, keepdims=True),
    }

    exec(MEASURED, given)  # noqa: S102  # the help's own lines

    assert given["neighbour_metrics"] is neighbour_metrics
