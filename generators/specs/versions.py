"""Which commit the code that runs here is of (torch-free)."""

import json
import os
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

UNKNOWN = "unknown"
VARIABLE = "TRILEMMA_COMMIT"  # set where an image is built
PACKAGE = "trilemma"
ROOT = Path(__file__).resolve().parents[2]
SECONDS = 10


def commit(root: Path = ROOT) -> str:
    """Return the commit of the code: 40 digits, and "-dirty" where files differ from it.

    As the build says, else the checkout that the code lies in, else what pip noted when it installed
    from a repository; "unknown" where none of these does.
    """
    return os.environ.get(VARIABLE) or _of_checkout(root) or _of_install(root) or UNKNOWN


def _of_checkout(root: Path) -> str:
    """Return the commit of a checkout; "" where the folder is none, or without git."""
    git = shutil.which("git")
    if git is None or not (root / ".git").exists():
        return ""
    asked = ["describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        answer = subprocess.run(  # noqa: S603  # of our own folder
            [git, "-C", str(root), *asked],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def _of_install(root: Path) -> str:
    """Return the commit that was installed from a repository, "" of anything else."""
    try:
        found = distribution(PACKAGE)
        noted = json.loads(found.read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return ""
    is_this = Path(str(found.locate_file(""))).resolve() == root
    return str(noted.get("vcs_info", {}).get("commit_id", "")) if is_this else ""
