"""Keep the version under the alias loaded: the first one, and each other one that passes its check."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from tracked.console.errors import RunFailed, UserError
from tracked.console.lines import format_count, one_line, say
from tracked.experiment import Experiment
from tracked.serve.background import run_in_thread
from tracked.serve.downloads import Downloads
from tracked.serve.meter import Meter
from tracked.serve.pool import Pool
from tracked.serve.scorer_process import NotLoaded, UnfitModel
from tracked.serve.waiting import Waiting

if TYPE_CHECKING:
    from tracked.runs.registry import StoredModel
    from tracked.serve.version import Version

SHARE = 3  # of the time for a request that a scorer gets for a batch


class Keeper:
    """Holds the scorers of the version that answers, and puts others in their place.

    Args:
        parameters: a ``ServeParameters``.
        explain_bad: see :class:`tracked.serve.pool.Pool`.

    Attributes:
        pool: of the version that answers; None until the first one is loaded.
    """

    def __init__(
        self,
        owner: Experiment,
        parameters: Any,
        waiting: Waiting,
        meter: Meter,
        explain_bad: Callable[[int, str], str],
    ) -> None:
        self._owner, self._parameters, self._waiting, self._meter = owner, parameters, waiting, meter
        self._explain_bad = explain_bad
        self.pool: Pool | None = None
        self._downloads = Downloads(owner.name)
        self._former: dict[asyncio.Task[None], Pool] = {}  # that finish what they have
        self._refused = ""  # the version that failed its check
        self._tried = ""  # the version that was loaded last
        self._told = ""  # what was said last
        self._wanted = asyncio.Event()

    def reload(self) -> None:
        """Look for another version now, also for one that was refused before."""
        self._refused = self._told = ""
        self._wanted.set()

    async def begin(self) -> None:
        """Load the version under the alias.

        Raises:
            UserError: if there is none, or it cannot be served.
        """
        say(f"loading {self._parameters.model}")
        stored = await run_in_thread(partial(self._find, True))
        try:
            await self._take(await run_in_thread(partial(self._fetch, stored)))
        except UnfitModel as error:
            raise UserError(f"model: {stored.title} cannot be served: {error}; give another version") from None

    async def run(self) -> None:
        """Take other versions as they come, until cancelled."""
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._parameters.reload or None):
                    await self._wanted.wait()
            self._wanted.clear()
            try:
                await self._look()
            except Exception as error:  # whatever happens, the version that answers stays
                self._meter.reloads.labels("failed").inc()
                self._tell(f"looking for another version failed ({type(error).__name__}: {one_line(error)})")

    async def _look(self) -> None:
        """Take the version under the alias, if it is another one that passes its check."""
        assert self.pool
        former = self.pool.version
        try:
            stored = await run_in_thread(self._find)
        except UserError as error:
            self._meter.reloads.labels("failed").inc()
            self._tell(f"{error}; {former.stored.title} stays")
            return
        self._meter.looked.set_to_current_time()
        if stored.uri == former.stored.uri:
            self._told = ""  # whatever was wrong is over
            return
        if stored.uri == self._refused:
            return
        if stored.uri != self._tried:
            say(f"loading {stored.title}; {former.stored.title} answers meanwhile")
        self._tried = stored.uri
        try:
            await self._take(await run_in_thread(partial(self._fetch, stored)))
        except (UserError, UnfitModel, RunFailed, OSError) as error:
            from tracked.models.loader import NotDownloaded  # with MLflow, which has been imported by now

            # Memory, a disk or a registry may be better by the next look; a version stays what it is.
            is_verdict = not isinstance(error, OSError | NotDownloaded | NotLoaded)
            self._meter.reloads.labels("refused" if is_verdict else "failed").inc()
            # One who asks by SIGHUP meanwhile asks for this one, too.
            self._refused = stored.uri if is_verdict and not self._wanted.is_set() else ""
            what = "is refused" if is_verdict else "cannot be loaded now"
            self._tell(f"{stored.title} {what}: {one_line(error)}; {former.stored.title} stays")
        else:
            self._meter.reloads.labels("taken").inc()

    async def _take(self, version: "Version") -> None:
        """Load a version and let it answer; the scorers of the former one end once they have answered what they have.

        Raises:
            UnfitModel: if it cannot be served.
        """
        parameters, former = self._parameters, self.pool
        # Before its requests have no time left: another scorer takes them.
        seconds = parameters.timeout / SHARE
        pool = Pool(version, self._waiting, self._meter, parameters.workers, seconds, self._explain_bad)
        try:
            scorers = await pool.load()
        except BaseException:
            self._downloads.remove(version.folder)
            raise
        self.pool = pool
        pool.begin(scorers)
        self._told = ""
        self._meter.looked.set_to_current_time()
        self._meter.show_version(version.stored.name or version.stored.uri, version.stored.version, version.digest)
        say(
            f"{version.stored.title} answers, on {format_count(len(scorers), 'scorer')} (SHA-256 {version.digest[:12]})"
        )
        if former:
            task = asyncio.create_task(former.retire())
            self._former[task] = former
            task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        self._downloads.remove(self._former.pop(task).version.folder)

    def _find(self, is_first: bool = False) -> "StoredModel":
        from tracked.runs import connection, registry, run_start  # slow, and the server answers already

        own = None
        if is_first:
            connection.require_answers()
            own = run_start.require_own_run(self._owner, "serve")
        stored = registry.find(self._parameters.model)
        if own:  # without a name, the run that mlflow run has made would look like a training
            run_start.name_run(self._owner, own, "serve")
        return stored

    def _fetch(self, stored: "StoredModel") -> "Version":
        from tracked.serve.version import fetch

        folder = self._downloads.name()
        try:
            return fetch(self._owner, stored, self._parameters, folder)
        except BaseException:
            self._downloads.remove(folder)
            raise
        finally:
            if self._downloads.is_closed:
                self._downloads.remove(folder)

    def _tell(self, line: str) -> None:
        """Say what went wrong, once while it stays the same."""
        if line != self._told:
            say(line)
        self._told = line

    async def close(self) -> None:
        """End all scorers, and remove the downloads."""
        for pool in (self.pool, *self._former.values()):
            if pool:
                await pool.close()
        self._downloads.close()
