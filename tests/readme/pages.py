"""The commands of README.md and of the help, and a shell to type them into."""

import re
import subprocess
from pathlib import Path

from tests.site import ROOT, Site

SECONDS = 300  # on a busy machine
COMMANDS = """\
python() { "$PYTHON" "$@"; }
celery() { "$PYTHON" -m celery "$@"; }
torchrun() { "$PYTHON" -m torch.distributed.run "$@"; }
pip() { test "$1" = install; }
"""


def blocks(name: str, language: str = "sh") -> list[str]:
    """Return a page's commands, block by block."""
    return re.findall(rf"(?s)```{language}\n(.*?)```", (ROOT / name).read_text("utf-8"))


def typed(block: str, place: Path, site: Site, seconds: int = SECONDS, **variables: str) -> str:
    """Type a block into a shell; return what it writes, and what it calls PROTOCOL at its end."""
    done = subprocess.run(  # the help's own commands
        ["bash", "-euo", "pipefail", "-c", f'{COMMANDS}{block}\necho "${{PROTOCOL:-}}"'],  # noqa: S607
        cwd=place,
        env={**site.env, "XDG_CACHE_HOME": str(place / "cache"), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=seconds,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout
