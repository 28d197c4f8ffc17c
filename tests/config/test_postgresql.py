"""What happens at the same moment: SQLite has one writer at a time, so it is tried on PostgreSQL."""

from pathlib import Path

import pytest

from tests.servers import postgres_program, run_on_postgresql

TESTS = Path(__file__).parents[1]
FILES = ["notifications/test_outbox.py", "leaderboards/test_two_writers.py"]


@pytest.mark.skipif(postgres_program("postgres") is None, reason="needs PostgreSQL")
def test_what_ends_at_the_same_moment_is_counted_and_told() -> None:
    files = [str(TESTS / name) for name in FILES]
    told = run_on_postgresql("-k", "at_the_same_moment", *files)

    assert f"{len(FILES)} passed" in told and "skipped" not in told
