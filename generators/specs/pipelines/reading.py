"""Read a pipeline's folder before anything of it is imported (torch-free).

Files are data: every class is one that we name, weights are safetensors, and nothing else is read.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from evaluation.imagesets.atomic import sha256_of
from generators.specs.pipelines.card import Component, PipelineCard, PipelineError, digest_of
from generators.specs.pipelines.classes import COMPONENTS, PARTS, PIPELINES, WITHOUT_WEIGHTS
from generators.specs.pipelines.parts import EXPORT, parts_index
from generators.specs.pipelines.pictures import with_pictures
from generators.specs.pipelines.weights import read_json, read_weights

INDEX, CARD = "model_index.json", "README.md"
CODE = (".py", ".pyc", ".so", ".pyd", ".dll")
PICKLES = (".bin", ".ckpt", ".pt", ".pth", ".pkl", ".pickle")
READ = (".json", ".txt", ".model", ".safetensors")  # of a component: the rest means nothing
CONFIGS = ("config.json", "tokenizer_config.json", "preprocessor_config.json")
ELSEWHERE = {  # keys of configurations that ask for more than the folder holds
    "auto_map": "remote code",
    "quantization_config": "a package for quantised weights",
}
MOST_FILES, MOST_CARD = 2000, 256 * 2**10
SNAPSHOT = re.compile(r"[0-9a-f]{40}")


def inspect(folder: Path, *, digests: bool = True) -> PipelineCard:
    """Return what a pipeline's folder is, with every reason why it would be refused.

    digests: False leaves out the sha256 of files, which takes a second for each gigabyte.
    """
    try:
        index = _index(folder)
    except PipelineError as error:
        return PipelineCard("", problems=(str(error),))
    problems = [*_file_problems(folder), *_class_problems(index)]
    components = []
    for name, module, class_name in _named(index):
        component = Component(name, module, class_name)
        try:
            component = _described(component, folder / name, digests)
        except PipelineError as error:
            problems.append(f"{name}: {error}")
        components.append(component)
    card = PipelineCard(
        pipeline=str(index.get("_class_name")),
        components=tuple(components),
        written_with=str(index.get("_diffusers_version", ""))[:40],
        call=_call(folder, problems),
        problems=tuple(problems),
    )
    licence, heading = _model_card(folder)
    digest = _whole_digest(folder, card, digests)
    card = replace(card, licence=licence, model_card=heading, digest=digest)
    return with_pictures(card, folder, index) if not problems else card


def is_folder(folder: Path) -> bool:
    """Return whether a folder says that it is a pipeline's, or parts that we exported."""
    return any((folder / name).is_file() for name in (INDEX, EXPORT))


def _index(folder: Path) -> dict[str, Any]:
    """Return which classes a pipeline's components have, by what the folder says.

    Raises:
        PipelineError: if it says nothing, or nothing of sense.
    """
    if (folder / INDEX).is_file():
        return read_json(folder / INDEX)
    if (folder / EXPORT).is_file():
        return parts_index(read_json(folder / EXPORT))
    raise PipelineError(_no_index(folder))


def _no_index(folder: Path) -> str:
    if not folder.is_dir():
        return f"{folder}: expected a pipeline's folder, found {'a file' if folder.exists() else 'nothing there'}"
    parts = [part for part in ("unet", "scheduler", "vae") if (folder / part).is_dir()]
    why = f" but {', '.join(parts)}, parts without the {EXPORT} that says how to draw with them"
    return f"{folder}: expected a pipeline's {INDEX}, found none{why if parts else ''}"


# --- what may not be there ----------------------------------------------------------------------


def _file_problems(folder: Path) -> Iterator[str]:
    home = folder.resolve()
    if SNAPSHOT.fullmatch(folder.name) and folder.parent.name == "snapshots":
        home = folder.parent.parent.resolve()  # a snapshot of the hub's cache links to its blobs
    for count, path in enumerate(sorted(folder.rglob("*"))):
        name = path.relative_to(folder)
        if count >= MOST_FILES:
            yield f"expected at most {MOST_FILES:,} files"
            return
        if not path.resolve().is_relative_to(home):
            yield f"{name}: expected a file of this folder, got a link that leaves it"
        elif path.suffix.lower() in CODE:
            yield f"{name}: expected no code, a pipeline's folder is data"
        elif path.suffix.lower() in PICKLES:
            yield f"{name}: expected safetensors, got a pickle, which is code: take it out of the folder"
        elif path.name == "adapter_config.json":
            yield f"{name}: expected all of the model here, got an adapter of one elsewhere"
        elif path.name in CONFIGS:
            yield from _config_problems(path, str(name))


def _config_problems(path: Path, name: str) -> Iterator[str]:
    try:
        config = read_json(path)
    except PipelineError as error:
        yield f"{Path(name).parent}: {error}"
        return
    for key, what in ELSEWHERE.items():
        if config.get(key):
            yield f"{name}: asks for {what} ({key}), which is not run here"


def _class_problems(index: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the classes that are named, and which are missing."""
    name = index.get("_class_name")
    spec = {**PIPELINES, **PARTS}.get(name) if isinstance(name, str) else None
    if spec is None:
        known = ", ".join(PIPELINES)
        yield f"_class_name: expected one of {known}; got {name!r}"[:600]
    for part, named in index.items():
        if part.startswith("_") or not isinstance(named, list) or named == [None, None]:
            continue
        if part not in COMPONENTS:
            yield f"{part}: expected one of the components {', '.join(COMPONENTS)}"
        elif not _is_known(part, named):
            module, classes = COMPONENTS[part]
            yield f"{part}: expected {' or '.join(classes)} of {module}, got {named}"[:600]
    for part in spec.components if spec else ():
        named = index.get(part)
        if not isinstance(named, list) or (named == [None, None] and not part.endswith("_3")):
            yield f"{part}: {name} needs this component, {INDEX} has none"


def _is_known(part: str, named: list[Any]) -> bool:
    module, classes = COMPONENTS[part]
    return len(named) == 2 and named[0] == module and named[1] in classes


def _named(index: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for name, named in index.items():
        if isinstance(named, list) and name in COMPONENTS and _is_known(name, named):
            yield name, named[0], named[1]


# --- what is there ------------------------------------------------------------------------------


def _described(component: Component, folder: Path, digests: bool) -> Component:
    """Return a component with what its folder holds.

    Raises:
        PipelineError: if something is missing or damaged.
    """
    if not folder.is_dir():
        raise PipelineError(f"expected its folder {folder.name}/, it is missing")
    files = [path for path in sorted(folder.rglob("*")) if path.suffix in READ and path.is_file()]
    if not files:
        raise PipelineError(f"expected its files in {folder.name}/, found none")
    component = replace(component, bytes=sum(path.stat().st_size for path in files))
    if digests:
        lines = [f"{path.relative_to(folder).as_posix()} {sha256_of(path)}" for path in files]
        component = replace(component, digest=digest_of(lines))
    if component.name in WITHOUT_WEIGHTS:
        return component
    if not (folder / "config.json").is_file():
        raise PipelineError("expected config.json, it is missing")
    return replace(component, **vars(read_weights(folder)))


def _whole_digest(folder: Path, card: PipelineCard, digests: bool) -> str:
    if not digests:
        return ""
    files = [folder / name for name in (INDEX, EXPORT) if (folder / name).is_file()]
    lines = [f"{path.name} {sha256_of(path)}" for path in files]
    return digest_of([*lines, *(f"{part.name} {part.digest}" for part in card.components)])


def _call(folder: Path, problems: list[str]) -> dict[str, Any]:
    """Return what an export of ours says that its pipeline is to be told: steps, and how to walk."""
    if not (folder / EXPORT).is_file():
        return {}
    try:
        found = read_json(folder / EXPORT).get("call", {})
    except PipelineError as error:
        problems.append(str(error))
        return {}
    kinds = {"num_inference_steps": int, "use_clipped_model_output": bool, "steps_fixed": bool}
    if not isinstance(found, dict) or any(type(found[n]) is not kinds.get(n) for n in found):
        problems.append(f"{EXPORT}: expected a call with {', '.join(kinds)}, got {found}"[:300])
        return {}
    return found


def _model_card(folder: Path) -> tuple[str | None, str | None]:
    """Return the licence that the model card's front matter names, and the card's first heading."""
    path = folder / CARD
    if not path.is_file() or path.stat().st_size > MOST_CARD:
        return None, None
    text = path.read_text("utf-8", errors="replace")
    heading = re.search(r"^# +(.+)$", text, re.MULTILINE)
    return _licence(text), heading[1].strip()[:200] if heading else None


def _licence(text: str) -> str | None:
    matter = re.match(r"---\r?\n(.*?)\r?\n---\s*$", text, re.DOTALL | re.MULTILINE)
    try:
        found = yaml.safe_load(matter[1]) if matter else None
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    names = (
        [found.get(key) for key in ("license_name", "license")] if isinstance(found, dict) else []
    )
    return next((name[:100] for name in names if isinstance(name, str)), None)
