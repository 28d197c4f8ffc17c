"""Write what is frozen anew: `PYTHONPATH=.:platform python -m tests.legacy.freeze [NAME …]`.

Only for changes that are meant: whatever differs afterwards is no longer what an earlier Trilemma
wrote or said. NAME is a file of `tests/legacy/frozen` without its suffix; none = all but
`trainings`, which an earlier Trilemma made.
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
    # Both need Django, which needs its settings.
    from tests.legacy import facts, trainings  # noqa: PLC0415

    if "trainings" in names:
        trainings.write()
    for name in [name for name in facts.CURRENT if name in names or not names]:
        value = facts.CURRENT[name]()
        path = facts.FROZEN / f"{name}.json"
        for line in facts.changes(facts.frozen(name), value) if path.exists() else []:
            print(f"{name}{line}")  # noqa: T201  # the result
        path.write_text(text(value) + "\n", "utf-8")


def text(value: Any, *, depth: int = 0) -> str:
    """Return JSON with a line for each value down to the third level."""
    if depth == 3 or not value or not isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    pairs = value.items() if isinstance(value, dict) else [("", part) for part in value]
    lines = [
        (f"{json.dumps(name)}: " if name else "") + text(part, depth=depth + 1)
        for name, part in pairs
    ]
    start, end = "{}" if isinstance(value, dict) else "[]"
    indent = "\n" + " " * (depth + 1)
    return start + indent + f",{indent}".join(lines) + indent[:-1] + end


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as data:
        os.environ |= {"DATA_DIR": data, "DJANGO_SETTINGS_MODULE": "config.settings"}
        django.setup()
        main(sys.argv[1:])
