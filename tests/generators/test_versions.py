"""Which commit the code is of: what the build says, else the checkout, else the install, else unknown."""

import json
import subprocess
from importlib.metadata import PathDistribution
from pathlib import Path

import pytest

from generators.specs import versions
from generators.specs.bundle import differences


@pytest.fixture(autouse=True)
def nothing_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(versions.VARIABLE, raising=False)


def git(folder: Path, *words: str) -> str:
    done = subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b", *words],  # noqa: S607
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


def test_a_checkout_tells_its_commit_and_whether_files_differ_from_it(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "file").write_text("one")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    head = git(tmp_path, "rev-parse", "HEAD")
    git(tmp_path, "tag", "--annotate", "--message", "two", "v2")  # no name stands for it

    assert versions.commit(tmp_path) == head

    (tmp_path / "file").write_text("two")
    assert versions.commit(tmp_path) == f"{head}-dirty"


def test_what_the_build_says_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(versions.VARIABLE, "b" * 40)

    assert versions.commit(tmp_path) == "b" * 40


def test_an_install_from_a_repository_tells_what_pip_noted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    about = tmp_path / "trilemma-1.dist-info"
    about.mkdir()
    noted = {"url": "https://example.org/t.git", "vcs_info": {"vcs": "git", "commit_id": "d" * 40}}
    (about / "direct_url.json").write_text(json.dumps(noted))
    monkeypatch.setattr(versions, "distribution", lambda name: PathDistribution(about))

    assert versions.commit(tmp_path) == "d" * 40
    assert versions.commit(tmp_path / "another") == "unknown"


@pytest.mark.parametrize("has_git", [True, False])
def test_elsewhere_it_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_git: bool
) -> None:
    (tmp_path / ".git").write_text("gitdir: /nowhere")
    if not has_git:
        monkeypatch.setattr("shutil.which", lambda name: None)

    assert versions.commit(tmp_path) == "unknown"


@pytest.mark.parametrize(
    ("there", "here", "told"),
    [("a", "b", 1), ("a", "a", 0), ("unknown", "b", 0), ("a", "unknown", 0), (None, "b", 0)],
)
def test_commits_differ_only_where_both_are_known(there: str | None, here: str, told: int) -> None:
    before = {} if there is None else {"commit": there}

    assert len(differences(before, {"commit": here})) == told
