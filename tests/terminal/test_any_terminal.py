"""Commands on terminals that show little, and on outputs that take nothing: the work is kept."""

import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import yaml

from evaluation.imagesets.in_memory import write_npz
from evaluation.imagesets.terminal import plain
from tests.site import ROOT, Site

Done = subprocess.CompletedProcess[bytes]

ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "a C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
NOT_READ = {  # exit status and what is said
    "no reader": (141, b""),
    "a full disk": (2, b"error: standard output: No space left on device\n"),
    "no output": (0, b""),
}
TERMINALS = dict.fromkeys(ENCODINGS, (0, b"")) | NOT_READ
SLOW = ("cp1252", "a C locale", "no output")  # whose like is among the others


def on_each_terminal(*slow: str) -> pytest.MarkDecorator:
    """Return the mark that runs a test on each terminal, on some of them only where it may be slow."""
    marks = {name: pytest.mark.slow if name in (*SLOW, *slow) else () for name in TERMINALS}
    return pytest.mark.parametrize(
        "terminal", [pytest.param(name, marks=mark) for name, mark in marks.items()]
    )


def run(terminal: str, command: list[str], env: Mapping[str, str] = os.environ) -> Done:
    """Run a Python command on such a terminal to its end."""
    words = [sys.executable, *command]
    if terminal == "no output":
        words = ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *words]
    outputs = {"no reader": without_reader, "a full disk": full_disk}
    output = outputs[terminal]() if terminal in outputs else None
    try:
        return subprocess.run(
            words,
            stdout=subprocess.PIPE if output is None else output,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            env={**env, **ENCODINGS.get(terminal, {})},
            check=False,
        )
    finally:
        if output is not None:
            os.close(output)


def without_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def full_disk() -> int:
    return os.open("/dev/full", os.O_WRONLY)


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with real.npz and generated.npz, 60 and 40 images."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(0)
    write_npz(folder / "real.npz", rng.integers(0, 256, (60, 1, 8, 8), np.uint8), None)
    write_npz(folder / "generated.npz", rng.integers(0, 256, (40, 1, 8, 8), np.uint8), None)
    return folder


@on_each_terminal("no reader")  # as the admission test below has none
def test_scores_are_written_whatever_the_terminal_is(
    images: Path, tmp_path: Path, terminal: str
) -> None:
    command = ["-m", "evaluation", "score", str(images / "generated.npz")]
    command += ["--reference", str(images / "real.npz"), "--extractor", "pixels-pca64"]
    command += ["--metrics", "fd", "--cache", str(tmp_path), "--json", str(tmp_path / "out.json")]

    done = run(terminal, command)

    assert (done.returncode, done.stderr) == TERMINALS[terminal]
    assert json.loads((tmp_path / "out.json").read_text())["metrics"].keys() == {"fd"}
    if terminal in ENCODINGS:
        heading, row, *_ = done.stdout.decode("cp1252").splitlines()
        assert ("±" if terminal == "cp1252" else "+/-") + " s.e." in heading
        assert row.startswith("FD[pixels] v")


@pytest.mark.slow
def test_an_admission_test_is_written_though_nobody_reads_it(images: Path, tmp_path: Path) -> None:
    command = ["-m", "evaluation", "admit", "--reference", str(images / "real.npz")]
    command += ["--extractor", "random-convolution", "--num-images", "20"]
    command += ["--cache", str(tmp_path), "--json", str(tmp_path / "out.json")]

    done = run("no reader", command)

    assert (done.returncode, done.stderr) == NOT_READ["no reader"]
    assert json.loads((tmp_path / "out.json").read_text())["passed"] is True


@on_each_terminal()
@pytest.mark.parametrize(
    "command",
    [
        ["-m", "generators", "list", "diffusion.ddpm"],
        ["-u", "-m", "generators", "list", "diffusion.ddpm"],
        ["manage.py", "submit", "--help"],
    ],
    ids=lambda command: " ".join(command),
)
def test_what_is_only_printed_ends_in_the_same_way(terminal: str, command: list[str]) -> None:
    done = run(terminal, command)

    assert (done.returncode, done.stderr) == TERMINALS[terminal]
    assert bool(done.stdout) == (terminal in ENCODINGS)


def test_a_command_that_fails_keeps_its_status_and_its_words() -> None:
    for terminal in TERMINALS:
        done = run(terminal, ["-m", "generators", "list", "gan.møøse"])

        assert done.returncode == 2
        assert done.stderr.startswith(b"error: ")


@pytest.mark.slow
def test_an_experiment_is_worked_off_and_written_though_nobody_reads(site: Site) -> None:
    file, board = site.data / "experiment.yaml", site.data / "board.json"
    entries = [{"algorithm": "vae.conv", "label": "VAE δ ± ↓"}]
    data = {"name": "not read", "dataset": "digits", "protocols": ["classifier-test"]}
    file.write_text(yaml.safe_dump({**data, "budget": {"images": 600}, "entries": entries}))
    command = ["manage.py", "run_experiment", str(file), "--json", str(board)]

    unread = run("no reader", command, site.env)

    assert (unread.returncode, unread.stderr) == NOT_READ["no reader"]
    rows = json.loads(board.read_text(encoding="utf-8"))
    assert "VAE δ ± ↓" in {row["entry"] for row in rows}
    for terminal in ("ascii", "a full disk"):
        board.unlink()
        again = run(terminal, command, site.env)
        assert (again.returncode, again.stderr) == TERMINALS[terminal]
        assert json.loads(board.read_text(encoding="utf-8")) == rows


@pytest.mark.parametrize("terminal", ["a full disk"])
def test_a_dataset_is_registered_whatever_the_terminal_is(site: Site, terminal: str) -> None:
    command = ["manage.py", "register_dataset", "again", "--digits", "--channels", "3"]

    done = run(terminal, [*command, "--licence", "½ ± δ"], site.env)

    assert (done.returncode, done.stderr) == TERMINALS[terminal]
    with closing(sqlite3.connect(site.data / "db.sqlite3")) as database:
        found = database.execute("SELECT channels FROM catalog_dataset WHERE licence = '½ ± δ'")
        assert found.fetchall() == [(3,)]


@pytest.mark.parametrize(
    ("character", "shown"),
    [("±", "+/-"), ("é", "e"), ("½", "\\xbd"), ("漢", "\\u6f22"), ("δ", "delta")],
)
def test_a_character_that_cannot_be_shown_has_a_plain_one(character: str, shown: str) -> None:
    assert plain(character) == shown
