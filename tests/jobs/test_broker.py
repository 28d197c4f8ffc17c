"""The filesystem broker: whole messages, taken once, whatever a killed process left behind."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kombu import Connection, Exchange, Queue

QUEUE = Queue("gpu", Exchange("gpu"), routing_key="gpu")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("queue", "control"):
        (tmp_path / name).mkdir()
    return tmp_path


@pytest.fixture
def connection(folder: Path) -> Iterator[Connection]:
    options = {
        "data_folder_in": str(folder / "queue"),
        "data_folder_out": str(folder / "queue"),
        "control_folder": str(folder / "control"),
    }
    with Connection("filesystem://localhost", transport_options=options) as made:
        yield made


def send(connection: Connection, *bodies: str) -> None:
    with connection.Producer() as producer:
        for body in bodies:
            producer.publish(body, exchange="gpu", routing_key="gpu", declare=[QUEUE])


def received(connection: Connection) -> list[str]:
    """Return all messages that wait, in order."""
    bodies: list[str] = []
    with connection.channel() as channel:
        queue = QUEUE(channel)
        while message := queue.get(no_ack=True):
            bodies.append(message.payload)
    return bodies


def test_messages_arrive_once_and_in_order(connection: Connection, folder: Path) -> None:
    send(connection, "first", "second", "third")

    assert received(connection) == ["first", "second", "third"]
    assert received(connection) == []
    assert list((folder / "queue").iterdir()) == []


@pytest.mark.parametrize("left", ["", "{", '{"body": '])
def test_a_message_cut_short_is_dropped_and_the_next_one_arrives(
    connection: Connection, folder: Path, left: str
) -> None:
    (folder / "queue" / "0000_cut.gpu.msg").write_text(left)
    send(connection, "whole")

    assert received(connection) == ["whole"]
    assert list((folder / "queue").iterdir()) == []


def test_a_table_cut_short_is_written_again(connection: Connection, folder: Path) -> None:
    send(connection, "before")
    (folder / "control" / "gpu.exchange").write_text("")

    with connection.channel() as channel:
        QUEUE(channel).declare()
    send(connection, "after")

    assert received(connection) == ["before", "after"]
