"""Hand in samples that were made elsewhere: an external entry, scored as ours are."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from catalog.engine import RegistrationError, run_evaluation
from catalog.models import Protocol
from catalog.stored import BucketError
from experiments.external import GivenFile, protocol_options, submit_external
from experiments.management.commands.submit import find_account, read_file
from experiments.submission.external import read_external
from experiments.submission.specification import SpecificationError


class Command(BaseCommand):
    help = (
        "Hand in images that were made elsewhere, with a manifest that says what they are: they "
        "become an external entry, which the experiment's protocols score as they score what is "
        "trained here. Images are a folder, a .zip or .tar archive, an .npz or .npy array or a "
        "parquet table; several PATHs are several seeds. Where protocols ask with prompts, each "
        "image has its prompt as its caption. What a protocol cannot score is refused, and leaves "
        "nothing behind; what is odd is found, and stands on the entry's page. The same images "
        "with the same manifest are handed in once."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="one for each seed")
        parser.add_argument(
            "--manifest", required=True, help="YAML or JSON; `python -m evaluation pack` writes one"
        )
        where = parser.add_mutually_exclusive_group(required=True)
        where.add_argument("--experiment", metavar="NAME|ID", help="that the entry joins")
        where.add_argument(
            "--protocol",
            action="append",
            metavar="FINGERPRINT",
            help="of a new experiment, in which nothing is trained; may be given more than once",
        )
        parser.add_argument("--name", help="of the new experiment; by default the label")
        parser.add_argument("--label", help="on boards; by default the system with its version")
        parser.add_argument("--user", metavar="NAME", help="account that hands them in")

    def handle(self, *args: Any, paths: Sequence[Path], **options: Any) -> None:
        account = find_account(options["user"])
        data = {name: options[name] for name in ("experiment", "name", "label")}
        data |= {"manifest": read_file(options["manifest"]), "protocols": options["protocol"]}
        try:
            spec = read_external(data)
            with tempfile.TemporaryDirectory() as folder:
                files = [
                    self._checked(path, spec.protocols, Path(folder) / str(place))
                    for place, path in enumerate(paths)
                ]
                entry, is_new = submit_external(spec, files, user=account)
        except SpecificationError as error:
            for path, message in error.errors.items():
                self.stderr.write(f"{path}: {message}")
            raise SystemExit(1) from error
        except RegistrationError as error:
            raise CommandError(str(error)) from error
        except BucketError as error:
            raise CommandError(error.strerror) from error
        except OSError as error:
            raise CommandError(f"{error.filename or 'files'}: {error.strerror}") from error
        verb = "handed in" if is_new else "handed in already:"
        address = entry.experiment.get_absolute_url()
        self.stdout.write(f"{verb} entry {entry.pk}, {entry}: {address}#entry-{entry.pk}")

    def _checked(self, path: Path, protocols: Sequence[Protocol], folder: Path) -> GivenFile:
        """Return a file that the protocols can score, of a folder the zip that it makes."""
        folder.mkdir()
        arguments = ["lint", str(path)]
        given = GivenFile(path, path.name)
        if path.is_dir():
            packed = folder / "packed.zip"
            arguments = ["pack", str(path), str(packed), "--no-manifest"]
            given = GivenFile(packed, f"{path.absolute().name}.zip")
        arguments += protocol_options(protocols, folder)
        answer = run_evaluation(arguments, lambda _line: None, what=str(path))
        for text in answer["findings"]:
            self.stdout.write(f"{path}: {text}")
        return given
