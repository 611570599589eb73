"""Versions as they come: one that passes its check takes over, any other one leaves the former in its place."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.adding import SECRET, Adder
from helpers.endpoints import SECONDS, serve, until
from helpers.made_registry import MadeRegistry
from tracked.console.errors import RunFailed, UserError
from tracked.console.serve_parameters import make_serve_parameters
from tracked.models.loader import NotDownloaded
from tracked.serve import keeper as keepers
from tracked.serve import version as versions
from tracked.serve.frames import Ready
from tracked.serve.keeper import Keeper
from tracked.serve.meter import Meter
from tracked.serve.scorer_process import NotLoaded, UnfitModel
from tracked.serve.waiting import Waiting


class MadePool:
    """A pool without processes; ``unfit`` in a version's metadata is why it cannot be served."""

    made: list["MadePool"] = []  # noqa: RUF012

    def __init__(self, version: Any, *arguments: Any) -> None:
        self.version, self.ready, self.alive, self.did = version, Ready({}, {}, [], False), 0, list[str]()
        MadePool.made.append(self)

    async def load(self) -> list[object]:
        """Load, if the version can be."""
        if reason := self.version.setting.metadata.get("unfit"):
            raise UnfitModel(reason)
        return [object()]

    def begin(self, scorers: list[object]) -> None:
        """Begin."""
        self.did.append("begin")

    async def retire(self) -> None:
        """Retire, while its files are still there."""
        assert self.version.folder.exists()
        self.did.append("retire")

    async def close(self) -> None:
        """Close."""
        self.did.append("close")


class Kept:
    """A keeper over a made-up registry and pools."""

    def __init__(self, made: MadeRegistry) -> None:
        self.made, self.meter = made, Meter()
        parameters = make_serve_parameters(made.owner).parse(["--reload=0"])
        self.keeper = Keeper(made.owner, parameters, Waiting(10), self.meter, lambda row, reason: reason)
        self.running: asyncio.Task[None]

    async def look(self) -> str:
        """Look for another version; returns the one that answers then."""
        looks = self.made.looks
        self.keeper._wanted.set()
        async with asyncio.timeout(SECONDS):
            while self.made.looks == looks or self.keeper._wanted.is_set():
                await asyncio.sleep(0.001)
        await self.settle()
        return self.answering

    async def settle(self) -> None:
        """Wait until the keeper waits again: nothing else has to be done."""
        async with asyncio.timeout(SECONDS):
            while not self.keeper._wanted._waiters or self.keeper._former:  # type: ignore[attr-defined]
                await asyncio.sleep(0.001)

    @property
    def answering(self) -> str:
        assert self.keeper.pool
        return self.keeper.pool.version.stored.version

    def list_downloads(self) -> list[str]:
        return sorted(file.read_text() for file in self.keeper._downloads._folder.rglob("model"))

    def reloads(self, result: str) -> float:
        return self.meter.reloads.labels(result)._value.get()


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeRegistry:
    made = MadeRegistry(Adder(tmp_path))
    made.install(monkeypatch)
    monkeypatch.setattr(keepers, "Pool", MadePool)
    monkeypatch.setattr(MadePool, "made", [])
    return made


def run(made: MadeRegistry, test: Callable[[Kept], Awaitable[None]]) -> None:
    async def body() -> None:
        kept = Kept(made)
        await kept.keeper.begin()
        kept.running = asyncio.create_task(kept.keeper.run())
        await kept.settle()
        try:
            await test(kept)
        finally:
            kept.running.cancel()
            await kept.keeper.close()
            assert not kept.keeper._downloads._folder.exists()

    asyncio.run(body())


def test_new_version_takes_over_and_the_former_retires_before_its_files_go(made: MadeRegistry) -> None:
    made.versions["2"] = {}

    async def test(kept: Kept) -> None:
        assert (kept.answering, kept.list_downloads()) == ("1", ["1"])
        made.alias = "2"
        assert (await kept.look(), kept.list_downloads()) == ("2", ["2"])
        assert [pool.did for pool in MadePool.made] == [["begin", "retire"], ["begin"]]
        assert (kept.reloads("taken"), kept.reloads("refused")) == (1, 0)
        text = kept.meter.render().decode()
        assert 'serve_model_info{digest="digest of 2",model="adder",version="2"} 1.0' in text
        assert "digest of 1" not in text

    run(made, test)
    assert MadePool.made[1].did == ["begin", "close"]


def test_version_that_answers_is_not_loaded_again(made: MadeRegistry) -> None:
    async def test(kept: Kept) -> None:
        for _ in range(3):
            assert await kept.look() == "1"
        assert made.downloads == ["1"]

    run(made, test)


@pytest.mark.parametrize("how", ["unfit", "refused", "failed"])
def test_refused_version_stays_refused_until_asked_for(
    made: MadeRegistry, capsys: pytest.CaptureFixture[str], how: str
) -> None:
    made.versions |= {"2": {"unfit": "it is odd"} if how == "unfit" else {}, "3": {}}
    errors = {"refused": UserError("model: it holds code"), "failed": RunFailed("it broke")}
    reason = {"unfit": "it is odd", "refused": "model: it holds code", "failed": "it broke"}[how]

    async def test(kept: Kept) -> None:
        made.alias, made.broken = "2", errors.get(how)
        for _ in range(3):
            assert await kept.look() == "1"
        assert (made.downloads, kept.list_downloads()) == (["1", "2"], ["1"])
        assert kept.reloads("refused") == 1
        printed = capsys.readouterr().out
        assert printed.count(f"adder version 2 is refused: {reason}; adder version 1 stays\n") == 1
        kept.keeper.reload()
        await kept.look()
        assert (made.downloads, kept.reloads("refused")) == (["1", "2", "2"], 2)
        assert "adder version 2 is refused" in capsys.readouterr().out
        made.alias, made.broken = "3", None
        assert (await kept.look(), kept.list_downloads()) == ("3", ["3"])

    run(made, test)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), NotDownloaded("model: half of it"), NotLoaded("it ended")]
)
def test_version_that_may_be_in_reach_later_is_tried_at_each_look(
    made: MadeRegistry, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    made.versions["2"] = {}

    async def test(kept: Kept) -> None:
        made.alias, made.broken = "2", error
        assert [await kept.look(), await kept.look()] == ["1", "1"]
        assert (made.downloads, kept.list_downloads()) == (["1", "2", "2"], ["1"])
        assert capsys.readouterr().out.count("adder version 2 cannot be loaded now: ") == 1
        made.broken = None
        assert await kept.look() == "2"

    run(made, test)


@pytest.mark.parametrize("error", [UserError("model: it is away"), RuntimeError("no\nconnection")])
def test_registry_that_does_not_answer_is_told_once_while_it_lasts(
    made: MadeRegistry, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    line = {
        UserError: "model: it is away; adder version 1 stays\n",
        RuntimeError: "looking for another version failed (RuntimeError: no connection)\n",
    }[type(error)]

    async def test(kept: Kept) -> None:
        capsys.readouterr()
        for _ in range(2):
            made.fault = error
            for _ in range(3):
                assert await kept.look() == "1"
            assert capsys.readouterr().out == line
            made.fault = None
            assert await kept.look() == "1"
        assert capsys.readouterr().out == ""

    run(made, test)


def test_first_version_that_cannot_be_served_is_the_users_mistake(made: MadeRegistry) -> None:
    made.versions["1"] = {"unfit": "it is odd"}
    with pytest.raises(UserError, match="model: adder version 1 cannot be served: it is odd; give another version"):
        run(made, lambda kept: asyncio.sleep(0))


def test_alias_that_points_nowhere_is_the_users_mistake(made: MadeRegistry) -> None:
    made.alias = "9"
    with pytest.raises(UserError, match="cannot be found"):
        run(made, lambda kept: asyncio.sleep(0))


def test_download_that_is_broken_off_leaves_no_file(made: MadeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, may_go_on, folders = threading.Event(), threading.Event(), []

    def fetch(owner: Any, stored: Any, parameters: Any, folder: Path) -> Any:
        folders.append(folder)
        begun.set()
        may_go_on.wait(SECONDS)
        folder.mkdir(parents=True)  # as downloads do
        return made.fetch(owner, stored, parameters, folder / "model's")

    monkeypatch.setattr(versions, "fetch", fetch)

    async def test() -> None:
        kept = Kept(made)
        beginning = asyncio.create_task(kept.keeper.begin())
        await asyncio.to_thread(begun.wait, SECONDS)
        beginning.cancel()
        with pytest.raises(asyncio.CancelledError):
            await beginning
        await kept.keeper.close()
        may_go_on.set()

    asyncio.run(test())
    until(lambda: made.downloads)
    until(lambda: not any(folder.parent.exists() for folder in folders))


@pytest.mark.slow
def test_version_moves_while_requests_flow_without_one_that_fails(tmp_path: Path) -> None:
    """With real scorers, over HTTP."""
    with serve(tmp_path, versions={"1": {}, "2": {"added": 10}, "3": {"answers nan": True}}) as endpoint:
        found, is_over = [], threading.Event()

        def ask() -> None:
            while not is_over.is_set():
                found.append(endpoint.add(1))

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            for alias, result in (("2", "taken"), ("3", "refused"), ("1", "taken")):
                endpoint.made.alias = alias
                before = endpoint.service.meter.reloads.labels(result)._value.get()
                endpoint.call(endpoint.service.keeper.reload)
                until(lambda: endpoint.service.meter.reloads.labels(result)._value.get() > before)  # noqa: B023
                many = len(found)
                until(lambda: len(found) > many + 8)  # noqa: B023
        finally:
            is_over.set()
            for thread in threads:
                thread.join()
        assert {answer.status for answer in found} == {200}
        versions = [answer.headers["model-version"] for answer in found]
        assert set(versions) == {"adder/1", "adder/2"}
        for version, answer in zip(versions, found, strict=True):
            assert answer.json["predictions"][0]["sum"] == {"adder/1": 2, "adder/2": 12}[version]
        assert endpoint.ask("/version").json["version"] == "1"


def test_version_with_other_columns_takes_over(tmp_path: Path) -> None:
    """A request that was read for the former is refused, to be sent again."""
    columns, example = ("left", "right", "note"), [[1, 2, "x"]]
    with serve(tmp_path, versions={"1": {}, "2": {"columns": columns, "example": example}}) as endpoint:
        in_hand = endpoint.begin_adding("wait")
        until(lambda: endpoint.count_left("in hand"))
        waits = endpoint.begin_adding(1)
        until(lambda: endpoint.service._waiting.rows == 1)
        endpoint.made.alias = "2"
        endpoint.call(endpoint.service.keeper.reload)
        refused = waits.result()
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")
        (tmp_path / "go").touch()
        assert in_hand.result().headers["model-version"] == "adder/1"
        assert endpoint.add([1, 2]).status == 422
        assert endpoint.add([1, 2, SECRET]).json["predictions"] == [{"sum": 3.0, "sign": "plus"}]
