"""The socket of a sync worker is read by one thread at a time, whoever that is."""

import select
import socket
import threading
from collections.abc import Iterator

import pytest

from perdure._wire import lingering
from perdure._wire.lingering import CLOSE_SECONDS, LINGER_SECONDS, Conversation
from perdure._worker import intake
from perdure._worker.intake import Intake


class Desk:
    """An intake, its peer, and what was read by whom."""

    def __init__(self) -> None:
        self.peer, self.own = socket.socketpair()
        self.intake = Intake(self.own, self.received)
        self.data = b""
        self.readers: list[int] = []
        self.arrived = threading.Condition()
        self.reader = threading.Thread(target=self.intake.serve)

    def received(self, data: memoryview) -> None:
        with self.arrived:
            self.data += bytes(data)
            self.readers.append(threading.get_ident())
            self.arrived.notify_all()

    def wait_for(self, data: bytes) -> None:
        with self.arrived:
            assert self.arrived.wait_for(lambda: self.data == data, 60)

    def read_here(self, data: bytes) -> bool:
        """Linger until that much has arrived."""
        self.intake.linger(lambda: len(self.data) >= len(data))
        return self.data == data


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(intake, "LINGER_SECONDS", 10.0)
    monkeypatch.setattr(lingering, "CLOSE_SECONDS", 10.0)
    desk = Desk()
    desk.reader.start()
    yield desk
    desk.peer.close()
    desk.reader.join(60)
    desk.own.close()
    assert not desk.reader.is_alive()


epoll = pytest.mark.skipif(not hasattr(select, "epoll"), reason="only Linux has epoll")


def test_reader_takes_what_arrives_while_nobody_waits(desk: Desk) -> None:
    desk.peer.sendall(b"one")
    desk.wait_for(b"one")
    assert desk.readers == [desk.reader.ident]


@epoll
def test_waiting_thread_reads_for_itself_in_a_conversation(desk: Desk) -> None:
    for so_far in (b"one", b"onetwo"):  # that is what makes it one
        desk.peer.sendall(so_far[-3:])
        desk.wait_for(so_far)
    answer = threading.Timer(0.01, desk.peer.sendall, [b"three"])
    answer.start()
    assert desk.read_here(b"onetwothree")
    answer.join()
    assert desk.readers[-1] == threading.get_ident()
    desk.peer.sendall(b"four")  # and then the reader is back
    desk.wait_for(b"onetwothreefour")
    assert desk.readers[-1] == desk.reader.ident


@epoll
def test_bytes_keep_their_order_whoever_reads_them(desk: Desk) -> None:
    sent = bytes(range(256)) * 400
    done = threading.Event()

    def send() -> None:
        for at in range(0, len(sent), 100):
            desk.peer.sendall(sent[at : at + 100])
        done.set()

    sender = threading.Thread(target=send)
    sender.start()
    while not done.is_set():
        size = len(desk.data) + 1
        desk.intake.linger(lambda size=size: len(desk.data) >= size or done.is_set())  # type: ignore[misc]
    sender.join()
    desk.wait_for(sent)


def test_nobody_lingers_outside_a_conversation(desk: Desk) -> None:
    assert not desk.read_here(b"nothing has arrived before")


def test_conversation_is_messages_close_to_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr(lingering.time, "perf_counter", lambda: now)
    conversation = Conversation()
    assert not conversation.goes_on()
    now += CLOSE_SECONDS / 2
    assert conversation.goes_on()
    assert conversation.until == now + LINGER_SECONDS
    now += 2 * CLOSE_SECONDS
    assert not conversation.goes_on()
