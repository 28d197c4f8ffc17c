"""Write what is frozen anew: `PYTHONPATH=.:platform python -m tests.legacy.freeze [NAME …]`.

`protocols_before` holds records as earlier Trilemmas made them, which are read and scored for ever;
nothing writes it. Nor `schema_before`: the description of the API before it had a version.

Only for changes that are meant: whatever differs afterwards is no longer what an earlier Trilemma
wrote or said. NAME is a file of `tests/legacy/frozen` without its suffix; none = all but
`trainings` and `site`, which an earlier Trilemma made. `answers` are those of that site, whose
boards are judged by the rules of now; `endings` are what comes of the trainings, on another
processor.
"""

import os
import sys
import tempfile
from collections.abc import Sequence

import django


def main(names: Sequence[str]) -> None:
    """Write the files of these names, or all, and say what is no longer as it was."""
    # They need Django, which needs its settings.
    from tests.legacy import facts, sites, trainings  # noqa: PLC0415

    if "trainings" in names:
        trainings.write()
    if "endings" in names:
        trainings.write_endings()
    if "site" in names:
        sites.write()
    if "answers" in names:
        sites.write_answers()
    for name in [name for name in facts.CURRENT if name in names or not names]:
        value = facts.CURRENT[name]()
        path = facts.FROZEN / f"{name}.json"
        for line in facts.changes(facts.frozen(name), value) if path.exists() else []:
            print(f"{name}{line}")  # noqa: T201  # the result
        path.write_text(facts.text(value), "utf-8")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as data:
        os.environ |= {"DATA_DIR": data, "DJANGO_SETTINGS_MODULE": "config.settings"}
        django.setup()
        main(sys.argv[1:])
