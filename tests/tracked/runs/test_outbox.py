import threading
import time

import pytest

from tracked.console.errors import RunFailed
from tracked.console.lines import one_line
from tracked.runs.outbox import Outbox, with_retries


class Server:
    """Takes what is sent unless it is down; keeps what it took."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.tries = 0
        self.down = False

    def take(self, what: str) -> None:
        self.tries += 1
        if self.down:
            raise ConnectionError("no answer")
        self.taken.append(what)


def fill(delivery: Outbox, server: Server, names: str) -> None:
    for name in names:
        delivery.add(name, lambda name=name: server.take(name))


def wait_for(condition: object, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_calls_are_made_in_order() -> None:
    server, delivery = Server(), Outbox()
    fill(delivery, server, "abcdef")
    assert delivery.drain(10) == []
    assert server.taken == list("abcdef")


def test_calls_after_an_outage_are_made_in_order_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    server, delivery = Server(), Outbox(pauses=(0.01,))
    fill(delivery, server, "a")
    wait_for(lambda: server.taken)
    server.down = True
    started = time.monotonic()
    fill(delivery, server, "bcd")
    assert time.monotonic() - started < 1  # adding never waits
    wait_for(lambda: server.tries > 5)
    server.down = False
    assert delivery.drain(10) == []
    assert server.taken == list("abcd")
    told = capsys.readouterr().err
    assert told.count("MLflow did not take b (no answer)") == 1
    assert told.count("MLflow answers again") == 1


def test_calls_not_made_in_time_are_named() -> None:
    server, delivery = Server(), Outbox(pauses=(0.01,))
    server.down = True
    fill(delivery, server, "abc")
    started = time.monotonic()
    assert delivery.drain(0.3) == ["a", "b", "c"]
    assert time.monotonic() - started < 5


def test_hanging_call_does_not_delay_the_end() -> None:
    delivery, begun, stuck = Outbox(), threading.Event(), threading.Event()
    delivery.add("a", lambda: (begun.set(), stuck.wait(60)))
    delivery.add("b", lambda: None)
    begun.wait()
    assert delivery.drain(0.2, bound=0.4) == ["a (still being sent: it may arrive later)", "b"]
    stuck.set()


def test_call_longer_than_the_patience_is_not_missing() -> None:
    delivery, begun, taken = Outbox(), threading.Event(), []
    delivery.add("slow", lambda: (begun.set(), time.sleep(1.5), taken.append("slow")))
    delivery.add("next", lambda: taken.append("next"))
    begun.wait()
    assert delivery.drain(0.5) == []
    assert taken == ["slow", "next"]  # its success begins the patience anew


def test_call_that_fails_after_the_patience_is_not_retried() -> None:
    delivery, begun, tries = Outbox(pauses=(0.0,)), threading.Event(), []

    def fail_late() -> None:
        tries.append("late")
        begun.set()
        time.sleep(0.6)
        raise ConnectionError("timed out")

    delivery.add("late", fail_late)
    delivery.add("next", lambda: tries.append("next"))
    begun.wait()
    assert delivery.drain(0.2) == ["late", "next"]
    time.sleep(0.2)
    assert tries == ["late"]


def test_call_dropped_in_progress_is_named_once() -> None:
    delivery, begun, stuck = Outbox(), threading.Event(), threading.Event()
    delivery.add("a", lambda: (begun.set(), stuck.wait(60)))
    begun.wait()
    assert len(delivery.drain(0.2, bound=0.2)) == 1
    delivery.add("b", lambda: None)
    since = time.monotonic()
    assert delivery.drain(0.2) == ["b"]  # which is not being sent, and so not waited for
    assert time.monotonic() - since < 5
    stuck.set()


MISTAKES = [TypeError("no"), KeyError("no"), IndexError("no"), AttributeError("no"), NameError("no"), AssertionError()]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda error: type(error).__name__)
def test_bug_in_a_call_is_shown_and_not_retried(mistake: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    server, delivery, tries = Server(), Outbox(pauses=(0.01,)), []

    def mistaken() -> None:
        tries.append(1)
        raise mistake

    fill(delivery, server, "a")
    delivery.add("bad", mistaken)
    fill(delivery, server, "b")
    assert delivery.drain(1) == ["bad"]
    assert (server.taken, len(tries)) == (["a", "b"], 1)
    told = capsys.readouterr().err
    assert told.startswith("a bug keeps bad from MLflow; the work continues\nTraceback")
    assert "in mistaken" in told
    tries.clear()
    with pytest.raises(type(mistake)) as raised:
        with_retries("storing", mistaken, seconds=1, pauses=(0.01,))
    assert raised.value is mistake
    assert len(tries) == 1
    assert mistake.__notes__ == ["while storing"]


@pytest.mark.parametrize("error", [ValueError("no JSON"), OSError(5, "Input/output error"), RuntimeError("no")])
def test_other_error_of_a_call_is_retried(error: Exception) -> None:
    delivery, tries = Outbox(pauses=(0.01,)), []

    def third_time() -> None:
        tries.append(1)
        if len(tries) % 3:
            raise error

    delivery.add("a", third_time)
    assert delivery.drain(10) == []
    with_retries("storing", third_time, pauses=(0.01,))
    assert len(tries) == 6


def test_refused_call_is_named_and_the_others_made() -> None:
    server, delivery = Server(), Outbox(is_permanent=lambda error: isinstance(error, ValueError), pauses=(0.01,))

    def refuse() -> None:
        raise ValueError("never")

    fill(delivery, server, "a")
    delivery.add("bad", refuse)
    fill(delivery, server, "b")
    assert delivery.drain(10) == ["bad"]
    assert server.taken == ["a", "b"]


def test_long_queue_that_moves_is_not_dropped() -> None:
    server, delivery = Server(), Outbox()
    for number in range(30):
        delivery.add(str(number), lambda number=number: (time.sleep(0.05), server.take(str(number))))
    assert delivery.drain(0.9) == []
    assert len(server.taken) == 30


def test_calls_after_a_drain_are_made() -> None:
    server, delivery = Server(), Outbox(pauses=(0.01,))
    fill(delivery, server, "a")
    assert delivery.drain(10) == []
    server.down = True
    fill(delivery, server, "b")
    assert delivery.drain(0.3) == ["b"]
    server.down = False
    fill(delivery, server, "c")
    assert delivery.drain(10) == []
    assert server.taken == ["a", "c"]


def test_call_dropped_in_progress_leaves_later_calls() -> None:
    server, delivery, begun, stuck = Server(), Outbox(), threading.Event(), threading.Event()
    delivery.add("a", lambda: (begun.set(), stuck.wait(60)))
    begun.wait()
    assert delivery.drain(0.2, bound=0.2) == ["a (still being sent: it may arrive later)"]
    fill(delivery, server, "b")
    stuck.set()
    assert delivery.drain(10) == []
    assert server.taken == ["b"]


def test_interrupted_drain_drops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    server, delivery = Server(), Outbox(pauses=(0.01,))
    server.down = True
    fill(delivery, server, "ab")

    def interrupt() -> float:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "monotonic", interrupt)
    with pytest.raises(KeyboardInterrupt):
        delivery.drain(10)
    server.down = False
    assert delivery.drain(10) == []
    assert server.taken == ["a", "b"]


def test_two_outboxes_share_one_patience() -> None:
    server, begun = Server(), time.monotonic()
    server.down = True
    both = [Outbox(pauses=(0.01,)), Outbox(pauses=(0.01,))]
    for delivery in both:
        fill(delivery, server, "a")
    assert [delivery.drain(1, begun) for delivery in both] == [["a"], ["a"]]
    assert time.monotonic() - begun < 1.8


def test_with_retries_after_a_failure_returns_the_result() -> None:
    tries = []

    def third_time() -> str:
        tries.append(1)
        if len(tries) < 3:
            raise ConnectionError("no answer")
        return "done"

    assert with_retries("storing", third_time, pauses=(0.01,)) == "done"
    assert len(tries) == 3


def test_with_retries_after_too_many_failures_names_the_call() -> None:
    server = Server()
    server.down = True
    with pytest.raises(RunFailed, match=r"^storing failed \(no answer\)$"):
        with_retries("storing", lambda: server.take("x"), seconds=0.5, pauses=(0.01,))
    assert 1 < server.tries < 60
    server.tries = 0
    with pytest.raises(RunFailed):
        with_retries("storing", lambda: server.take("x"), is_permanent=lambda error: True)
    assert server.tries == 1


def test_error_of_several_lines_is_one_line() -> None:
    assert one_line(ValueError("a\n  b")) == "a b"
    assert one_line(KeyError()) == "KeyError"
    assert len(one_line(ValueError("x" * 1000))) == 300
