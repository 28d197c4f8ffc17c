"""The commands `lint` and `pack`: what is odd about images, and a folder of them as one file."""

import argparse
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from evaluation.commands.addresses import CommandError
from evaluation.commands.inputs import open_set, prompts_beside, read_protocol
from evaluation.commands.report import say, warn, write_json
from evaluation.imagesets.atomic import replacing
from evaluation.imagesets.decoding import Target, decode
from evaluation.imagesets.sources import RESIZE_RULE, Source, list_folder
from evaluation.protocols.manifests import template
from evaluation.protocols.prompts import PromptSet
from evaluation.scoring.handed_in import HandedIn, Wanted, read_handed_in

MANIFEST = "manifest.yaml"
ARRAYS = (".npz", ".npy", ".parquet")
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every member: equal folders make equal files


def add_parsers(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the options of `lint` and `pack`."""
    linted = commands.add_parser(
        "lint",
        help="say what is odd about images, before they are scored or handed in",
        description="Say what is odd about IMAGES: copies, images of one colour, lossy files. What a "
        "protocol cannot score is refused: another size, too few, prompts missing or there twice.",
    )
    packed = commands.add_parser(
        "pack",
        help="write a folder of images as one file to hand in, with a manifest to fill in",
        description="Write the folder IMAGES with the texts in it as a zip, the same bytes for the "
        "same files, and beside it the manifest that says what the images are, to fill in.",
    )
    for parser in (linted, packed):
        parser.add_argument("images", type=Path, metavar="IMAGES")
        parser.add_argument(
            "--protocol",
            action="append",
            metavar="SOURCE",
            help="that the images are to be scored by: a file (JSON) or a site's address; may be "
            "given more than once",
        )
        parser.add_argument("--reference", type=Path, help="training images to look for copies of")
        parser.add_argument("--held-out", type=Path, help="real images that are no copies of these")
        parser.add_argument(
            "--json", type=Path, metavar="FILE", help="write what was found to FILE"
        )
    packed.add_argument("out", type=Path, metavar="OUT.zip")
    packed.add_argument(
        "--resolution",
        type=int,
        metavar="PIXELS",
        help=f"make images of other sizes so large: {RESIZE_RULE}; from lossless files alone",
    )
    packed.add_argument("--no-manifest", action="store_true", help="write no manifest to fill in")


def lint(options: argparse.Namespace) -> int:
    """Say what is odd about images; what a protocol cannot score is refused."""
    _tell(_read(options), options)
    return 0


def pack(options: argparse.Namespace) -> int:
    """Write a folder of images as a zip, and a manifest to fill in beside it."""
    out: Path = options.out
    if not options.images.is_dir() or out.suffix.lower() != ".zip":
        raise CommandError(f"expected a folder and FILE.zip, got {options.images} and {out}")
    source = list_folder(options.images)
    if arrays := [each.name for each in source.files if each.name.lower().endswith(ARRAYS)]:
        raise CommandError(f"{arrays[0]}: a file of many images; hand it in as it is")
    found = _read(options, resolution=options.resolution)
    with replacing(out) as file, zipfile.ZipFile(file, "w") as archive:
        for name, data in _members(source, options.resolution):
            archive.writestr(zipfile.ZipInfo(name, EPOCH), data)
    say(f"{out}: {len(found.images.pixels):,} images")
    beside = out.with_suffix(".yaml")
    has_manifest = MANIFEST in [member.name for member in source.texts]
    if not (has_manifest or options.no_manifest or beside.exists()):
        with replacing(beside) as file:
            file.write(template(f"Of the images in {out.name}.", **_done(options)).encode())
        say(f"{beside}: say here what is known of them")
    elif _done(options):
        warn(f"say in the manifest: post_processing: {_done(options)['post_processing']}")
    _tell(found, options)
    return 0


def _done(options: argparse.Namespace) -> dict[str, str]:
    """Return what packing does to images, as the manifest says it."""
    side = options.resolution
    return {} if side is None else {"post_processing": f"made {side}x{side}: {RESIZE_RULE}"}


def _read(options: argparse.Namespace, *, resolution: int | None = None) -> HandedIn:
    protocols = [read_protocol(path) for path in options.protocol or ()]
    wanted = Wanted.by(protocols, _prompts(options.protocol or ()))
    if resolution is not None:
        wanted = replace(wanted, lossy="refuse")  # what is packed does not show what they were
    train = held_out = None
    if options.reference is not None:
        train = open_set(options.reference, "--reference", part="train")
    if options.held_out is not None:
        held_out = open_set(options.held_out, "--held-out", part="test")
    if not options.images.exists():
        raise CommandError(f"{options.images} does not exist")
    return read_handed_in(
        options.images, wanted, train=train, held_out=held_out, resolution=resolution
    )


def _prompts(sources: Sequence[str]) -> PromptSet | None:
    """Return the prompts of protocols, which have the same where they score the same images."""
    found = [prompts_beside(source) for source in sources]
    digests = {None if each is None else each.digest() for each in found}
    if len(digests) > 1:
        raise CommandError("--protocol: expected protocols that ask with one set of prompts")
    return found[0] if found else None


def _members(source: Source, resolution: int | None) -> Iterator[tuple[str, bytes]]:
    """Yield the files by their names, images of other sizes made so large."""
    target = Target(resolution=resolution, lossy="refuse")
    images = {member.name for member in source.files}
    with source.opened() as read:
        for member in sorted([*source.files, *source.texts], key=lambda each: each.name):
            name, data = member.name, read(member)
            if resolution is not None and name in images:
                picture = decode(f"{source.name}: {name}", data, target, name=name)
                data = picture.lossless(name)
            yield name, data


def _tell(found: HandedIn, options: argparse.Namespace) -> None:
    for text in found.findings:
        warn(text)
    if not found.findings:
        say("nothing was found")
    if options.json:
        write_json(
            options.json,
            {"count": len(found.images.pixels), "findings": list(found.findings)},
        )
