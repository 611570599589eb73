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


def fill(outbox: Outbox, server: Server, names: str) -> None:
    for name in names:
        outbox.add(name, lambda name=name: server.take(name))


def wait_for(condition: object, seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.005)


def test_calls_are_made_in_order() -> None:
    server, outbox = Server(), Outbox()
    fill(outbox, server, "abcdef")
    assert outbox.drain(10) == []
    assert server.taken == list("abcdef")


def test_calls_after_an_outage_are_made_in_order_and_once(capsys: pytest.CaptureFixture[str]) -> None:
    server, outbox = Server(), Outbox(pauses=(0.01,))
    fill(outbox, server, "a")
    wait_for(lambda: server.taken)
    server.down = True
    started = time.monotonic()
    fill(outbox, server, "bcd")
    assert time.monotonic() - started < 1  # adding never waits
    wait_for(lambda: server.tries > 5)
    server.down = False
    assert outbox.drain(10) == []
    assert server.taken == list("abcd")
    printed = capsys.readouterr().err
    assert printed.count("MLflow did not take b (no answer)") == 1
    assert printed.count("MLflow answers again") == 1


def test_calls_not_made_in_time_are_named() -> None:
    server, outbox = Server(), Outbox(pauses=(0.01,))
    server.down = True
    fill(outbox, server, "abc")
    started = time.monotonic()
    assert outbox.drain(0.3) == ["a", "b", "c"]
    assert time.monotonic() - started < 5


def test_hanging_call_does_not_delay_the_end() -> None:
    outbox, begun, stuck = Outbox(), threading.Event(), threading.Event()
    outbox.add("a", lambda: (begun.set(), stuck.wait(60)))
    outbox.add("b", lambda: None)
    begun.wait()
    assert outbox.drain(0.2, bound=0.4) == ["a (still being sent: it may arrive later)", "b"]
    stuck.set()


def test_call_longer_than_the_patience_is_not_missing() -> None:
    outbox, begun, taken = Outbox(), threading.Event(), []
    outbox.add("slow", lambda: (begun.set(), time.sleep(1.5), taken.append("slow")))
    outbox.add("next", lambda: taken.append("next"))
    begun.wait()
    assert outbox.drain(0.5) == []
    assert taken == ["slow", "next"]  # its success begins the patience anew


def test_call_that_fails_after_the_patience_is_not_retried() -> None:
    outbox, begun, tries = Outbox(pauses=(0.0,)), threading.Event(), []

    def fail_late() -> None:
        tries.append("late")
        begun.set()
        time.sleep(0.6)
        raise ConnectionError("timed out")

    outbox.add("late", fail_late)
    outbox.add("next", lambda: tries.append("next"))
    begun.wait()
    assert outbox.drain(0.2) == ["late", "next"]
    time.sleep(0.2)
    assert tries == ["late"]


def test_call_dropped_in_progress_is_named_once() -> None:
    outbox, begun, stuck = Outbox(), threading.Event(), threading.Event()
    outbox.add("a", lambda: (begun.set(), stuck.wait(60)))
    begun.wait()
    assert len(outbox.drain(0.2, bound=0.2)) == 1
    outbox.add("b", lambda: None)
    since = time.monotonic()
    assert outbox.drain(0.2) == ["b"]  # which is not being sent, and so not waited for
    assert time.monotonic() - since < 5
    stuck.set()


MISTAKES = [TypeError("no"), KeyError("no"), IndexError("no"), AttributeError("no"), NameError("no"), AssertionError()]


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda error: type(error).__name__)
def test_bug_in_a_call_is_shown_and_not_retried(mistake: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    server, outbox, tries = Server(), Outbox(pauses=(0.01,)), []

    def mistaken() -> None:
        tries.append(1)
        raise mistake

    fill(outbox, server, "a")
    outbox.add("bad", mistaken)
    fill(outbox, server, "b")
    assert outbox.drain(1) == ["bad"]
    assert (server.taken, len(tries)) == (["a", "b"], 1)
    printed = capsys.readouterr().err
    assert printed.startswith("a bug keeps bad from MLflow; the work continues\nTraceback")
    assert "in mistaken" in printed
    tries.clear()
    with pytest.raises(type(mistake)) as raised:
        with_retries("storing", mistaken, seconds=1, pauses=(0.01,))
    assert raised.value is mistake
    assert len(tries) == 1
    assert mistake.__notes__ == ["while storing"]


@pytest.mark.parametrize("error", [ValueError("no JSON"), OSError(5, "Input/output error"), RuntimeError("no")])
def test_other_error_of_a_call_is_retried(error: Exception) -> None:
    outbox, tries = Outbox(pauses=(0.01,)), []

    def third_time() -> None:
        tries.append(1)
        if len(tries) % 3:
            raise error

    outbox.add("a", third_time)
    assert outbox.drain(10) == []
    with_retries("storing", third_time, pauses=(0.01,))
    assert len(tries) == 6


def test_refused_call_is_named_and_the_others_made() -> None:
    server, outbox = Server(), Outbox(is_permanent=lambda error: isinstance(error, ValueError), pauses=(0.01,))

    def refuse() -> None:
        raise ValueError("never")

    fill(outbox, server, "a")
    outbox.add("bad", refuse)
    fill(outbox, server, "b")
    assert outbox.drain(10) == ["bad"]
    assert server.taken == ["a", "b"]


def test_long_queue_that_moves_is_not_dropped() -> None:
    server, outbox = Server(), Outbox()
    for number in range(30):
        outbox.add(str(number), lambda number=number: (time.sleep(0.05), server.take(str(number))))
    assert outbox.drain(0.9) == []
    assert len(server.taken) == 30


def test_calls_after_a_drain_are_made() -> None:
    server, outbox = Server(), Outbox(pauses=(0.01,))
    fill(outbox, server, "a")
    assert outbox.drain(10) == []
    server.down = True
    fill(outbox, server, "b")
    assert outbox.drain(0.3) == ["b"]
    server.down = False
    fill(outbox, server, "c")
    assert outbox.drain(10) == []
    assert server.taken == ["a", "c"]


def test_call_dropped_in_progress_leaves_later_calls() -> None:
    server, outbox, begun, stuck = Server(), Outbox(), threading.Event(), threading.Event()
    outbox.add("a", lambda: (begun.set(), stuck.wait(60)))
    begun.wait()
    assert outbox.drain(0.2, bound=0.2) == ["a (still being sent: it may arrive later)"]
    fill(outbox, server, "b")
    stuck.set()
    assert outbox.drain(10) == []
    assert server.taken == ["b"]


def test_interrupted_drain_drops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    server, outbox = Server(), Outbox(pauses=(0.01,))
    server.down = True
    fill(outbox, server, "ab")

    def interrupt() -> float:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(time, "monotonic", interrupt)
    with pytest.raises(KeyboardInterrupt):
        outbox.drain(10)
    server.down = False
    assert outbox.drain(10) == []
    assert server.taken == ["a", "b"]


def test_two_outboxes_share_one_patience() -> None:
    server, begun = Server(), time.monotonic()
    server.down = True
    both = [Outbox(pauses=(0.01,)), Outbox(pauses=(0.01,))]
    for outbox in both:
        fill(outbox, server, "a")
    assert [outbox.drain(1, begun) for outbox in both] == [["a"], ["a"]]
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
