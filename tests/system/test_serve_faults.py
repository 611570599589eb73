"""Good clients of an endpoint get right answers while scorers are killed, versions move and other clients are rude."""

import asyncio
import multiprocessing
import os
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from helpers.endpoints import Endpoint, serve, until
from serve_clients import Clients, Tally

pytestmark = pytest.mark.slow

PAIRS = [[number, 0.25 * number] for number in range(40)]
SUMS = [1.25 * number for number in range(40)]
VERSIONS = {"1": {}, "2": {"added": 1000}, "3": {"answers nan": True}}
EXPECTED = {"adder/1": SUMS, "adder/2": [1000 + one for one in SUMS]}
DEEDS = {name.removeprefix("do_") for name in dir(Clients) if name.startswith("do_")}


def kill_one(endpoint: Endpoint) -> None:
    """Kill a scorer of the version that answers; one of the former ends by itself."""
    deaths = endpoint.service.meter.deaths._value
    before = deaths.get()
    while deaths.get() == before:
        scorers = [child for child in multiprocessing.active_children() if child.name.startswith("scorer-")]
        with suppress(ProcessLookupError):
            os.kill(scorers[-1].pid or 0, signal.SIGKILL)
        time.sleep(0.2)


class Load:
    """Clients in a thread of their own."""

    def __init__(self, endpoint: Endpoint, good: int, rude: int) -> None:
        self.tally, self._good, self._rude = Tally(), good, rude
        self._clients = Clients(endpoint.port, PAIRS, EXPECTED, "pairs", "sum", self.tally)
        self._end = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()

    async def _run(self) -> None:
        end = asyncio.Event()
        tasks = [asyncio.create_task(self._clients.ask_well(seed, end)) for seed in range(self._good)]
        tasks += [asyncio.create_task(self._clients.be_rude(seed, end)) for seed in range(self._rude)]
        while not self._end.is_set() and not any(task.done() for task in tasks):
            await asyncio.sleep(0.01)
        end.set()
        await asyncio.gather(*tasks)

    def answered(self, version: str) -> int:
        return self.tally.versions[f"adder/{version}"]

    def finish(self) -> Tally:
        self._end.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self.tally


def test_no_answer_is_wrong_or_missing_whatever_happens(tmp_path: Path) -> None:
    with serve(tmp_path, versions=VERSIONS, workers=2, receive_timeout=1) as endpoint:
        meter, load = endpoint.service.meter, Load(endpoint, good=8, rude=6)
        try:
            for alias in ("2", "3", "1", "2"):
                result = "refused" if alias == "3" else "taken"
                counter = meter.reloads.labels(result)._value
                before = counter.get()
                endpoint.made.alias = alias
                endpoint.call(endpoint.service.keeper.reload)
                until(lambda counter=counter, before=before: counter.get() > before)  # type: ignore[misc]
                kill_one(endpoint)
                answering = "2" if alias == "3" else alias
                seen = load.answered(answering)
                until(lambda answering=answering, seen=seen: load.answered(answering) > seen + 20)  # type: ignore[misc]
            until(lambda: {deed.partition(":")[0] for deed in load.tally.rude} >= DEEDS)
        finally:
            tally = load.finish()
        assert (tally.wrong, tally.without_status, tally.problems) == (0, 0, [])
        assert set(tally.statuses) <= {200, 503}
        told = {deed.partition(": ")[2] for deed in tally.rude}
        assert told == {"left", "400", "408", "413"}
        until(lambda: endpoint.service.unanswered == 0)
