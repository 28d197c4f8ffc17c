"""What a system elsewhere is asked with: a zip with the prompts, to fill with its images."""

import csv
import io
import json
import re
import zipfile
from collections.abc import Mapping, Sequence

from catalog.engine import RegistrationError
from catalog.models import PromptSet
from evaluation.protocols.manifests import template

FORMS = ("csv", "jsonl")  # of the table of prompts, as `evaluation.imagesets.metadata` reads both
MOST_IMAGES = 100_000  # of a template


def template_of(prompts: PromptSet, images_per_prompt: str, form: str) -> bytes:
    """Return a zip to fill with images: a table of names and prompts, and a manifest.

    Image i has prompt i mod P, as the platform's own samples have.

    Raises:
        RegistrationError: if there is no such form, or number of images.
    """
    most = MOST_IMAGES // prompts.size
    each = int(images_per_prompt) if re.fullmatch(r"[0-9]{1,6}", images_per_prompt) else 0
    if form not in FORMS or not 1 <= each <= most:
        raise RegistrationError(
            f"expected 1 to {most:,} images of each prompt, as one of {', '.join(FORMS)}; got "
            f"{images_per_prompt[:20]!r}, {form[:20]!r}"
        )
    texts = prompts.parsed().texts_of(each * prompts.size)
    rows = [{"file_name": f"{place:06}.png", "text": text} for place, text in enumerate(texts)]
    comment = (
        f"Images of the prompts {prompts.slug}, digest {prompts.digest}.\n"
        f"Put each image beside this file under the name in metadata.{form}; then\n"
        "python -m evaluation pack FOLDER OUT.zip, and hand it in with this manifest."
    )
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("manifest.yaml", template(comment))
        archive.writestr(f"metadata.{form}", _table(rows, form))
    return content.getvalue()


def _table(rows: Sequence[Mapping[str, str]], form: str) -> str:
    if form == "jsonl":
        return "".join(f"{json.dumps(row)}\n" for row in rows)
    out = io.StringIO()
    writer = csv.DictWriter(out, ["file_name", "text"])
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
