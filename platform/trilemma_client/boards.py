"""A leaderboard, as rows or as a table of pandas."""

import json
from functools import cached_property
from typing import Any

from trilemma_client.errors import TrilemmaError
from trilemma_client.transport import Transport

NO_PANDAS = "to_pandas() needs pandas: pip install pandas; rows() gives the same as dicts"


class Board:
    """A board of one protocol, read when it is first asked for and then kept."""

    def __init__(
        self,
        transport: Transport,
        protocol: str,
        *,
        experiment: int | None = None,
        sort: str | None = None,
        **filters: object,
    ) -> None:
        self._transport, self._path = transport, f"leaderboards/{protocol}/"
        asked = {"experiment": experiment, "sort": sort, **filters}
        self._asked = {name: value for name, value in asked.items() if value is not None}

    @cached_property
    def about(self) -> dict[str, Any]:
        """What the board measures: `protocol`, `name`, `dataset`, `columns` with their meaning."""
        found: dict[str, Any] = self._transport.get(self._path, **self._asked, page_size=1)
        del found["rows"]
        return found

    @cached_property
    def _rows(self) -> list[dict[str, Any]]:
        asked = {**self._asked, "format": "jsonl"}
        answer = self._transport.ask("GET", self._path, asked, headers={"Accept": "*/*"})
        return [json.loads(line) for line in answer.data.splitlines()]

    def rows(self) -> list[dict[str, Any]]:
        """Return all rows in the board's order, at full precision; absent values are None.

        Their names are those of the board's JSON: `rank`, `entry`, `entry_id`, `sampler`, `seeds`, and
        for each metric its label (`FD[classifier]`) with `low`, `high` and more behind it.
        """
        return list(self._rows)

    def budgets(self, by: str = "images") -> dict[str, Any]:
        """Return who leads at each budget: `images`, `seconds`, `measured` or `parameters`.

        That is of the whole board, whatever was asked of its rows.
        """
        found: dict[str, Any] = self._transport.get(f"{self._path}budgets/", by=by)
        return found

    def to_pandas(self) -> Any:
        """Return the rows as a DataFrame, without `details` and `judgements`, which are nested.

        Raises:
            TrilemmaError: if pandas is not installed.
        """
        try:
            import pandas  # noqa: PLC0415  # not everybody has it
        except ImportError as error:
            raise TrilemmaError(NO_PANDAS) from error
        flat = [
            {name: value for name, value in row.items() if not isinstance(value, dict | list)}
            for row in self._rows
        ]
        return pandas.DataFrame(flat)

    def __len__(self) -> int:
        return len(self._rows)
