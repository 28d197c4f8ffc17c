"""A site that an earlier Trilemma left: a finished experiment in `frozen/site.tar.xz`.

`frozen/site.json` holds what it answered: its boards and rows over REST, and the addresses that its
pages lead to.
"""

import html
import json
import lzma
import re
import shutil
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.legacy.facts import FROZEN, text
from tests.site import Site

ARCHIVE = FROZEN / "site.tar.xz"
ANSWERS = FROZEN / "site.json"

CLASSIFIER = ("--num-images", "100", "--admission-images", "100")
PIXELS = ("--preset", "pixels-test", "--num-images", "100", "--admission-images", "0")
ROWS = ("datasets", "protocols", "experiments", "runs", "samplesets", "evaluations")
EXPERIMENT = {
    "name": "Every family, 256 images",
    "dataset": "digits",
    "budget": {"images": 256},
    "seeds": 2,
    "entries": [
        {
            "algorithm": "gan.sngan",
            "label": "GAN",
            "config": {
                "batch_size": 16,
                "latent_dim": 2,
                "generator_channels": 2,
                "discriminator_channels": 2,
            },
        },
        {
            "algorithm": "vae.conv",
            "label": "VAE, one of two seeds cancelled",
            "config": {"batch_size": 16, "latent_dim": 2, "base_channels": 2},
        },
        {
            "algorithm": "diffusion.flow",
            "label": "Diffusion",
            "config": {
                "backbone": "dit",
                "batch_size": 16,
                "base_channels": 4,
                "residual_blocks": 1,
                "patch": 4,
            },
            "samplers": [{"name": "heun", "steps": 4}, {"name": "euler", "steps": 4}],
        },
    ],
}
SETUP = """
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
django.setup()
"""
CANCEL = """
from experiments import services
from experiments.models import Run
assert services.cancel_job(Run.objects.get(entry__algorithm="vae.conv", seed=1), user=None)
"""
PRUNE = """
from experiments.models import Checkpoint
older = Checkpoint.objects.filter(sampleset=None)
for checkpoint in older:
    print(checkpoint.path)
    print(checkpoint.preview)
older.delete()
"""


def unpack(site: Site) -> None:
    """Put the site into an empty data folder, as its manual says: restore, migrate."""
    file = site.data / "site.tar"
    file.write_bytes(lzma.decompress(ARCHIVE.read_bytes()))
    site.manage("restore", str(file))
    site.manage("migrate", "-v0")
    file.unlink()


def answers(site: Site) -> dict[str, Any]:
    """Return what a served site answers over REST, by its address; the site's own is left out."""
    boards = [board["fingerprint"] for board in site.get("/api/leaderboards/")]
    paths = ["/api/leaderboards/", *(f"/api/{name}/" for name in ROWS)]
    for board in boards:
        paths += [f"/api/leaderboards/{board}/{query}" for query in ("", "?sort=-recall")]
        paths += [f"/api/leaderboards/{board}/?experiment=1&format=csv"]
    return {path: _answer(site, path) for path in paths}


def _answer(site: Site, path: str) -> Any:
    answer = site.read(path).decode().replace(site.address, "")
    return answer if path.endswith("csv") else json.loads(answer)


def pages(site: Site) -> list[str]:
    """Return every address that the site's pages lead to from the first, queries left out."""
    found, waiting = {"/"}, ["/"]
    while waiting:
        page = site.read(waiting.pop()).decode(errors="replace")
        links = {html.unescape(link) for link in re.findall(r'(?:href|src)="(/[^"#?]*)', page)}
        new = {link for link in links - found if not link.startswith(("/static/", "/admin/"))}
        found |= new
        waiting += [link for link in new if not link.endswith((".png", "/docs/", "/schema/"))]
    return sorted(found)


def write() -> None:
    """Make both files anew: from then on they are what this Trilemma left."""
    with TemporaryDirectory() as folder, closing(Site(Path(folder))) as site:
        _work(site)
        file = site.data / "site.tar"
        site.manage("backup", str(file))
        ARCHIVE.write_bytes(lzma.compress(file.read_bytes(), preset=9))
        file.unlink()
        site.start_web()
        record = {"answers": answers(site), "pages": pages(site)}
    ANSWERS.write_text(text(record), "utf-8")


def write_answers() -> None:
    """Write what the site that was left answers now: boards are judged by the rules of now."""
    with TemporaryDirectory() as folder, closing(Site(Path(folder))) as site:
        unpack(site)
        site.start_web()
        record = json.loads(ANSWERS.read_text("utf-8")) | {"answers": answers(site)}
    ANSWERS.write_text(text(record), "utf-8")


def _work(site: Site) -> None:
    """Make a small experiment of which a run is cancelled, to its end."""
    site.manage("migrate", "-v0")
    site.make_token()
    site.manage("register_dataset", "digits", "--digits")
    made = [site.manage("register_protocol", "digits", *how) for how in (CLASSIFIER, PIXELS)]
    file = site.data / "experiment.json"
    fingerprints = [done.stdout.split()[-1] for done in made]
    file.write_text(json.dumps({**EXPERIMENT, "protocols": fingerprints}))
    site.manage("submit", str(file))
    site.run("-c", SETUP + CANCEL)
    site.manage("run_experiment", str(file), check=False)  # fails because of the cancelled run
    for name in site.run("-c", SETUP + PRUNE).stdout.split():
        path = site.data / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
