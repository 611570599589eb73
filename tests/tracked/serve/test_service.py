"""The service begins, answers in time, and ends in order: what has begun is finished, or told that it is not."""

import multiprocessing
import os
import tempfile
from pathlib import Path

import pytest

from helpers.endpoints import serve, until
from tracked.console.errors import UserError


@pytest.mark.slow
def test_request_that_is_not_answered_in_time_is_told(tmp_path: Path) -> None:
    with serve(tmp_path, timeout=1) as endpoint:
        in_hand = endpoint.begin_adding("wait")
        until(lambda: endpoint.count_left("in hand"))
        waits = endpoint.begin_adding(1)
        for begun in (in_hand, waits):
            answer = begun.result()
            assert (answer.status, answer.headers["retry-after"]) == (504, "1")
            assert answer.message == "there was no answer within 1 second; try again"
        assert endpoint.service._waiting.rows == 0
        (tmp_path / "go").touch()
        until(lambda: endpoint.service.is_ready)  # another scorer, as the one that was late was killed
        assert endpoint.add(1).status == 200


def test_full_queue_refuses_and_takes_again_once_there_is_room(tmp_path: Path) -> None:
    with serve(tmp_path, max_rows=2, max_waiting=3) as endpoint:
        in_hand = endpoint.begin_adding("wait")
        until(lambda: endpoint.count_left("in hand"))
        waits = endpoint.begin_adding(1, 2)
        until(lambda: endpoint.service._waiting.rows == 2)
        refused = endpoint.add(3, 4)
        assert (refused.status, refused.headers["retry-after"]) == (429, "1")
        assert refused.message == "too much is waiting (3 rows at most): try again"
        fits = endpoint.begin_adding(3)
        until(lambda: endpoint.service._waiting.rows == 3)
        (tmp_path / "go").touch()
        assert [begun.result().status for begun in (in_hand, waits, fits)] == [200] * 3
        assert endpoint.add(3, 4).status == 200


def test_endpoint_that_loads_tells_that_it_lives_and_is_not_ready(tmp_path: Path) -> None:
    with serve(tmp_path, is_ready=False, versions={"1": {"hangs while loading": True}}) as endpoint:
        until(lambda: endpoint.count_left("opened"))
        assert [endpoint.ask(path).status for path in ("/health", "/ping", "/metrics", "/page.js")] == [200] * 4
        for path in ("/ready", "/version", "/", "/docs", "/openapi.json"):
            answer = endpoint.ask(path)
            assert (answer.status, answer.headers["retry-after"]) == (503, "1"), path
        answer = endpoint.add(1)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert answer.message == "the model is being loaded; try again in a few seconds"
        endpoint.drain()  # once
        endpoint.thread.join(60)
        assert not endpoint.thread.is_alive()
        assert endpoint.error is None
    assert multiprocessing.active_children() == []


def test_model_that_cannot_be_served_ends_the_endpoint(tmp_path: Path) -> None:
    with serve(tmp_path, is_ready=False, versions={"1": {"answers nan": True}}) as endpoint:
        endpoint.thread.join(60)
        assert isinstance(endpoint.error, UserError)
        assert "adder version 1 cannot be served: its own example is not answered with a finite" in str(endpoint.error)
    assert list(Path(tempfile.gettempdir()).glob("adder-serve-*")) == []


def test_draining_endpoint_finishes_what_has_begun_and_refuses_what_comes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with serve(tmp_path) as endpoint:
        in_hand = endpoint.begin_adding("wait")
        until(lambda: endpoint.count_left("in hand"))
        waits = endpoint.begin_adding(1)
        until(lambda: endpoint.service._waiting.rows == 1)
        endpoint.drain()
        until(lambda: endpoint.service.is_draining)
        for answer in (endpoint.add(2), endpoint.ask("/ready")):
            assert (answer.status, answer.headers["retry-after"], answer.headers["connection"]) == (503, "1", "close")
            assert answer.message == "the endpoint is shutting down; ask another one"
        assert endpoint.ask("/health").status == 200
        assert not endpoint.service.ended.done()
        (tmp_path / "go").touch()
        assert [in_hand.result().json, waits.result().json] == [
            {"predictions": [{"sum": 1.0, "sign": "plus"}]},
            {"predictions": [{"sum": 2.0, "sign": "plus"}]},
        ]
        endpoint.thread.join(60)
        assert not endpoint.thread.is_alive()
        assert endpoint.error is None
    printed = capsys.readouterr().out
    assert "shutting down: 2 requests to finish; new ones are refused\n" in printed
    assert "could not be finished" not in printed
    assert list(Path(tempfile.gettempdir()).glob("adder-serve-*")) == []


@pytest.mark.parametrize("times", [1, 2])
def test_end_that_cannot_wait_tells_what_it_could_not_finish(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], times: int
) -> None:
    """Asked once, with no time to finish; asked twice, whatever the time is."""
    with serve(tmp_path, timeout=3600, drain=0 if times == 1 else 3600) as endpoint:
        hanging = endpoint.begin_adding("hang")
        until(lambda: endpoint.count_left("hanging"))
        waits = endpoint.begin_adding(1)
        until(lambda: endpoint.service._waiting.rows == 1)
        endpoint.drain()
        if times == 2:
            endpoint.drain_at_once()
        for begun in (hanging, waits):
            answer = begun.result()
            assert (answer.status, answer.headers["retry-after"]) == (503, "1")
            assert answer.message == "the endpoint ended before it could answer; ask another one"
        endpoint.thread.join(60)
        assert not endpoint.thread.is_alive()
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "hanging").read_text()), 0)
    assert "2 requests could not be finished in time and are refused\n" in capsys.readouterr().out


def test_two_signals_within_a_second_are_one(tmp_path: Path) -> None:
    """As ``mlflow run`` sends them."""
    with serve(tmp_path, drain=3600) as endpoint:
        in_hand = endpoint.begin_adding("wait")
        until(lambda: endpoint.count_left("in hand"))
        endpoint.call(lambda: [endpoint.service.drain() for _ in range(3)])
        assert endpoint.add(1).status == 503
        (tmp_path / "go").touch()
        assert in_hand.result().status == 200


def test_endpoint_without_a_scorer_that_lives_is_not_ready(tmp_path: Path) -> None:
    with serve(tmp_path) as endpoint:
        assert endpoint.ask("/ready").status == 200
        pool = endpoint.service.require_pool()
        pool.alive -= 1
        answer = endpoint.ask("/ready")
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        pool.alive += 1
        assert endpoint.ask("/ready").status == 200
