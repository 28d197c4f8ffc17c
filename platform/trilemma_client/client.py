"""What can be asked of a site."""

import json
from collections.abc import Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any
from uuid import uuid4

from trilemma_client.boards import Board
from trilemma_client.configuration import configuration
from trilemma_client.experiments import Experiment
from trilemma_client.samples import Samples, samples_of
from trilemma_client.transport import Transport

Row = dict[str, Any]
Specification = str | PathLike[str] | Mapping[str, Any]
FILES = (".yaml", ".yml", ".json")
FORMATS = ("csv", "jsonl", "parquet")


class Client:
    """A site of Trilemma, by its address and a token.

    What is not given comes from TRILEMMA_URL and TRILEMMA_TOKEN, then from the file
    `~/.config/trilemma/client.toml`; see `configuration`. Reading needs no token where the site is
    public. A request is sent again, `retries` times at most and ever later, when the connection
    breaks or the site answers 429, 502, 503 or 504, and after as long as its Retry-After says.

    Every method raises TrilemmaError where the site refuses, or does not answer.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        retries: int = 6,
        timeout_seconds: float = 60,
    ) -> None:
        self.transport = Transport(
            configuration(url, token), retries=retries, timeout_seconds=timeout_seconds
        )

    def close(self) -> None:
        """Close the connections that are kept open between requests; others open when needed."""
        self.transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(self, specification: Specification, *, key: str | None = None) -> Experiment:
        """Submit an experiment and return it; its runs are queued at once.

        It is given as YAML, a file of YAML or JSON (a path, or its name on one line), or a dict.
        `key` names this submission: with the same one within 24 hours the same experiment comes
        back and none is made twice, as when a request must be sent again. By default a new one.

        Raises:
            TrilemmaError: with `errors` by field where something in it is wrong.
        """
        headers = {"Idempotency-Key": key or str(uuid4())}
        return Experiment(self.transport, self._hand_in(specification, headers))

    def rehearse(self, specification: Specification) -> Row:
        """Return what a submission would make, and make nothing: `spec`, `runs`, `jobs`, `warnings`."""
        return self._hand_in(specification, {}, dry_run=True)

    def _hand_in(
        self, specification: Specification, headers: Mapping[str, str], **parameters: object
    ) -> Row:
        body, kind = _body(specification)
        answer = self.transport.ask(
            "POST", "experiments/", parameters, body=body, headers={**headers, "Content-Type": kind}
        )
        found: Row = self.transport.data_of(answer)
        return found

    def experiment(self, number: int) -> Experiment:
        """Return an experiment by its number."""
        return Experiment(self.transport, self.transport.get(f"experiments/{number}/"))

    def experiments(self, **filters: object) -> Iterator[Experiment]:
        """Yield experiments, the newest first: `status`, `dataset`, `protocol`, `algorithm`."""
        for row in self.each("experiments", **filters):
            yield Experiment(self.transport, row)

    def each(self, name: str, **filters: object) -> Iterator[Row]:
        """Yield all rows of a list, page by page, narrowed by its filters and in its `ordering`.

        Lists are `datasets`, `protocols`, `experiments`, `runs`, `samplesets`, `evaluations`,
        `losses`, `events`, `workers` and what else the site's `/api/v1/` names.
        """
        return self.transport.each(f"{name}/", filters)

    def runs(self, **filters: object) -> Iterator[Row]:
        """Yield trainings, the newest first: `status`, `experiment`, `algorithm`, `tag`, `seed`."""
        return self.each("runs", **filters)

    def leaderboard(
        self,
        protocol: str,
        *,
        experiment: int | None = None,
        sort: str | None = None,
        **filters: object,
    ) -> Board:
        """Return a board by its protocol's fingerprint, or a beginning of it that is of one alone.

        `sort` is the key of a column, with a leading `-` worst first. Filters are those of the
        board's page: `family`, `algorithm`, `tag`, `submitter`, `budget`, `text`, `since`, `until`,
        and `KEY_min` and `KEY_max` by value.
        """
        return Board(self.transport, protocol, experiment=experiment, sort=sort, **filters)

    def compare(self, *entries: int | str, baseline: int | str | None = None) -> Row:
        """Return two to ten entries side by side, with differences to one of them, else the first.

        An entry is named by its id, or as `"12:DDIM 50"` where it has several samplers. The answer
        has `configuration`, `boards` with values, intervals and differences, `classes` with the
        shares of the samples' classes, and `not_comparable` with reasons.
        """
        asked: Row = {} if baseline is None else {"baseline": baseline}
        found: Row = self.transport.get("compare/", entries=entries, **asked)
        return found

    def samples(self, run: int | Mapping[str, Any], *, sampler: str | None = None) -> Samples:
        """Return the images that were drawn from a run: of its one sampler, or of that label.

        Raises:
            TrilemmaError: if none are drawn, or there are several samplers and none is named.
        """
        return samples_of(self.transport, run, sampler)

    def download(self, name: str, to: str | PathLike[str], **filters: object) -> Path:
        """Write a list as a file with all its rows and return its path.

        Its name ends in `.csv`, `.jsonl` or `.parquet`. Lists are `runs`, `samplesets`,
        `evaluations` (a row for each metric value), `losses`, `events`, and boards as
        `leaderboards/FINGERPRINT`. Only in CSV has text that a spreadsheet would run as a formula
        a ' before it.
        """
        path = Path(to)
        kind = path.suffix.removeprefix(".")
        if kind not in FORMATS:
            raise ValueError(
                f"expected a name that ends in {', '.join(FORMATS)}, got {path.name!r}"
            )
        self.transport.save(f"{name}/", path, {"format": kind, **filters})
        return path


def _body(specification: Specification) -> tuple[bytes, str]:
    """Return a specification as it is sent, and what it is."""
    if isinstance(specification, Mapping):
        return json.dumps(specification).encode(), "application/json"
    is_name = isinstance(specification, str) and specification.strip().endswith(FILES)
    if isinstance(specification, PathLike) or (is_name and "\n" not in specification.strip()):
        specification = Path(specification).read_text("utf-8")
    return str(specification).encode(), "application/yaml"  # JSON is YAML
