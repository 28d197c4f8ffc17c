"""Write what is frozen anew: `PYTHONPATH=.:platform python -m tests.legacy.freeze [NAME …]`.

Only for changes that are meant: whatever differs afterwards is no longer what an earlier Trilemma
wrote or said. NAME is a file of `tests/legacy/frozen` without its suffix; none = all.
"""

import json
import os
import sys
import tempfile
from collections.abc import Sequence
from typing import Any

import django


def main(names: Sequence[str]) -> None:
    """Write the files of these names, or all, and say what is no longer as it was."""
    from tests.legacy import facts  # noqa: PLC0415  # it needs Django, which needs its settings

    for name, value in facts.current().items():
        if names and name not in names:
            continue
        path = facts.FROZEN / f"{name}.json"
        for line in facts.changes(facts.frozen(name), value) if path.exists() else []:
            print(f"{name}{line}")  # noqa: T201  # the result
        path.write_text(text(value) + "\n", "utf-8")


def text(value: Any, *, depth: int = 0) -> str:
    """Return JSON with a line for each value down to the third level."""
    start, rest = "\n" + " " * (depth + 1), "\n" + " " * depth
    if value and depth < 3 and isinstance(value, dict):
        lines = [f"{json.dumps(key)}: {text(part, depth=depth + 1)}" for key, part in value.items()]
        return "{" + start + f",{start}".join(lines) + rest + "}"
    if value and depth < 3 and isinstance(value, list):
        return (
            "["
            + start
            + f",{start}".join(text(part, depth=depth + 1) for part in value)
            + rest
            + "]"
        )
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as data:
        os.environ |= {"DATA_DIR": data, "DJANGO_SETTINGS_MODULE": "config.settings"}
        django.setup()
        main(sys.argv[1:])
