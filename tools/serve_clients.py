"""Clients of an endpoint: good ones, whose answers are compared, and rude ones, who must not harm these."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

TOLERANCE = 1e-5  # of the models here, whose logits are small
EXPECTED = (200, 429, 503)  # of a good request: also that too much waits
PAUSE = 0.02  # seconds after a refusal


@dataclass
class Tally:
    """What the clients have seen.

    Args:
        statuses: of good requests.
        rude: of rude ones, by what they did.
        wrong: answers that differ from the expected ones.
        without_status: good requests whose connection ended without an answer.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    versions: Counter[str] = field(default_factory=Counter)
    rude: Counter[str] = field(default_factory=Counter)
    wrong: int = 0
    without_status: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def note(self, problem: str) -> None:
        """Keep the first problems."""
        if len(self.problems) < 20:
            self.problems.append(problem)


@dataclass(frozen=True)
class Answer:
    """An answer's status, headers in lower case, and body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Gone(Exception):
    """The connection ended before an answer was complete."""


async def read_answer(reader: asyncio.StreamReader) -> Answer:
    """Read an answer.

    Raises:
        Gone: if the connection ends before.
    """
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        return Answer(int(head[0].split()[1]), headers, body)
    except (asyncio.IncompleteReadError, OSError):
        raise Gone from None


def make_request(path: str, body: bytes, headers: str = "Content-Type: application/json\r\n") -> bytes:
    """Make a request."""
    head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


class Clients:
    """Clients of one endpoint.

    Args:
        inputs: rows to ask about.
        expected: the model's own output for each of them, by the name of the version.
        request_name: of the plain form; ``column`` has the number that is compared there.
    """

    def __init__(
        self,
        port: int,
        inputs: Sequence[Any],
        expected: Mapping[str, Sequence[float]],
        request_name: str,
        column: str,
        tally: Tally,
    ) -> None:
        self.port, self.inputs, self.expected = port, inputs, expected
        self.request_name, self.column, self.tally = request_name, column, tally

    async def ask_well(self, seed: int, end: asyncio.Event) -> None:
        """Ask one request after the other on a connection, until the end; compare each answer."""
        chance, connection = random.Random(seed), None
        while not end.is_set():
            rows = [chance.randrange(len(self.inputs)) for _ in range(chance.choice((1, 1, 1, 2, 5)))]
            is_plain = chance.random() < 0.5
            content = {self.request_name if is_plain else "inputs": [self.inputs[row] for row in rows]}
            request = make_request("/predict" if is_plain else "/invocations", json.dumps(content).encode())
            began = asyncio.get_running_loop().time()
            try:
                if connection is None:
                    connection = await asyncio.open_connection("127.0.0.1", self.port)
                connection[1].write(request)
                answer = await read_answer(connection[0])
            except (Gone, OSError):
                self.tally.without_status += 1
                self.tally.note("a good request had no answer")
                if connection:
                    connection[1].close()
                connection = None
                continue
            self.tally.seconds.append(asyncio.get_running_loop().time() - began)
            self._compare(answer, rows, is_plain)
            if answer.headers.get("connection") == "close":
                connection[1].close()
                connection = None
            if answer.status != 200:
                await asyncio.sleep(PAUSE)
        if connection:
            connection[1].close()

    def _compare(self, answer: Answer, rows: Sequence[int], is_plain: bool) -> None:
        tally = self.tally
        tally.statuses[answer.status] += 1
        if answer.status not in EXPECTED:
            tally.note(f"{answer.status}: {answer.body[:200]!r}")
        if answer.status != 200:
            return
        version = answer.headers["model-version"]
        tally.versions[version] += 1
        found = json.loads(answer.body)["predictions"]
        numbers = [one[self.column] if is_plain else one[0] if isinstance(one, list) else one for one in found]
        wanted = [self.expected[version][row] for row in rows]
        if len(numbers) != len(wanted) or any(
            not abs(one - two) <= TOLERANCE for one, two in zip(numbers, wanted, strict=True)
        ):
            tally.wrong += 1
            tally.note(f"{version}: {numbers} instead of {wanted}")

    async def be_rude(self, seed: int, end: asyncio.Event) -> None:
        """Do one rude thing after the other, each on a connection of its own, until the end."""
        chance = random.Random(seed)
        deeds = {name[3:]: getattr(self, name) for name in dir(self) if name.startswith("do_")}
        while not end.is_set():
            name = chance.choice(sorted(deeds))
            writer = None
            try:
                async with asyncio.timeout(30):
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                    status = await deeds[name](reader, writer, chance)
            except Gone:
                status = "none"
            except (OSError, TimeoutError) as error:
                status = type(error).__name__
            finally:
                if writer:
                    writer.close()
            self.tally.rude[f"{name}: {status}"] += 1

    def _make_body(self, chance: random.Random) -> bytes:
        return json.dumps({self.request_name: [chance.choice(self.inputs)]}).encode()

    async def do_leave_at_once(self, reader: Any, writer: Any, chance: random.Random) -> str:
        """Send a whole request, and leave before the answer."""
        writer.write(make_request("/predict", self._make_body(chance)))
        await writer.drain()
        return "left"

    async def do_send_half(self, reader: Any, writer: Any, chance: random.Random) -> str:
        """Send half a request, and end."""
        request = make_request("/predict", self._make_body(chance))
        writer.write(request[: chance.randrange(1, len(request) - 1)])
        writer.write_eof()
        return str((await read_answer(reader)).status)

    async def do_send_slowly(self, reader: Any, writer: Any, chance: random.Random) -> str:
        """Send byte by byte, until refused."""
        request = make_request("/predict", self._make_body(chance))
        answer = asyncio.create_task(read_answer(reader))
        for byte in request[:60]:
            if answer.done():
                break
            with suppress(OSError):
                writer.write(bytes([byte]))
            await asyncio.sleep(0.25)
        return str((await answer).status)

    async def do_send_too_much(self, reader: Any, writer: Any, chance: random.Random) -> str:
        """Announce a body of 10 MB, and send some of it."""
        writer.write(make_request("/predict", b"x" * 200_000, "Content-Type: application/json\r\n").replace(
            b"Content-Length: 200000", b"Content-Length: 10000000"))  # fmt: skip
        return str((await read_answer(reader)).status)

    async def do_send_rubbish(self, reader: Any, writer: Any, chance: random.Random) -> str:
        """Send what is not HTTP."""
        writer.write(chance.randbytes(300) + b"\r\n\r\n")
        return str((await read_answer(reader)).status)

    async def do_send_no_json(self, reader: Any, writer: Any, chance: random.Random) -> str:
        """Send a body that is not JSON."""
        writer.write(make_request("/invocations", self._make_body(chance)[:-3]))
        return str((await read_answer(reader)).status)

    async def do_say_nothing(self, reader: Any, writer: Any, chance: random.Random) -> str:
        """Connect, and say nothing."""
        await asyncio.sleep(chance.uniform(0, 5))
        return "left"

    async def do_read_nothing(self, reader: Any, writer: Any, chance: random.Random) -> str:
        """Send many requests, and read no answer."""
        for _ in range(20):
            writer.write(make_request("/predict", self._make_body(chance)))
        await asyncio.sleep(chance.uniform(0, 2))
        return "left"
