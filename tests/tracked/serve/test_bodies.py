"""Bodies: whole, within their limits of size and time, unpacked."""

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracked.serve.bodies import MAX_MEMBERS, ClientGone, read_body
from tracked.serve.refusals import Refusal

pytestmark = pytest.mark.unit

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
PACK = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}
PACKED_WRONGLY = "as Content-Encoding has it; allowed: whole {} data"


class Client:
    """Sends chunks; what it does then, ``finally_`` does."""

    def __init__(self, chunks: Iterable[bytes], finally_: Receive | None = None) -> None:
        self.chunks, self.finally_, self.asked = list(chunks), finally_, 0

    async def receive(self) -> Mapping[str, Any]:
        self.asked += 1
        if self.asked > len(self.chunks):
            assert self.finally_, "asked for more than there is"
            return await self.finally_()
        is_last = self.asked == len(self.chunks) and not self.finally_
        return {"type": "http.request", "body": self.chunks[self.asked - 1], "more_body": not is_last}


def read(
    *chunks: bytes, encoding: str = "", headers: Any = (), max_body: int = 1000, client: Client | None = None,
    seconds: float = 60,
) -> bytes:  # fmt: skip
    fields = [(b"host", b"localhost"), *headers] + ([(b"content-encoding", encoding.encode())] if encoding else [])
    return asyncio.run(read_body({"headers": fields}, (client or Client(chunks)).receive, max_body, seconds))


def refusal(*chunks: bytes, **given: Any) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        read(*chunks, **given)
    return caught.value.status, caught.value.message


@given(chunks=st.lists(st.binary(max_size=30), min_size=1, max_size=30))
def test_chunks_are_joined(chunks: list[bytes]) -> None:
    assert read(*chunks) == b"".join(chunks)


def test_message_without_keys_is_the_end_of_the_body() -> None:
    async def finish() -> Mapping[str, Any]:
        return {"type": "http.request"}

    assert read(client=Client([b"ab"], finish)) == b"ab"
    assert read(client=Client([], finish)) == b""


TOO_LARGE = "the body is larger than 1,000 bytes; send fewer rows at a time"


@pytest.mark.parametrize("chunks", [[b"a" * 1000], [b"a" * 999, b"a"], [b"a"] * 1000])
def test_body_at_the_limit_is_read_and_beyond_it_refused(chunks: list[bytes]) -> None:
    assert read(*chunks) == b"a" * 1000
    assert refusal(*chunks, b"a") == (413, TOO_LARGE)


def test_body_beyond_the_limit_is_received_no_further() -> None:
    client = Client([b"a" * 600] * 100)
    assert refusal(client=client) == (413, TOO_LARGE)
    assert client.asked == 2


@pytest.mark.parametrize("length", [b"1001", b"9" * 20, b"9" * 10_000])
def test_content_length_beyond_the_limit_is_refused_before_the_body_is_received(length: bytes) -> None:
    client = Client([])
    assert refusal(headers=[(b"content-length", length)], client=client) == (413, TOO_LARGE)
    assert client.asked == 0


@pytest.mark.parametrize("length", [b"1000", b"", b"-5000", b"+5000", b"5e3", b"\xb2\xb2\xb2\xb2", b"5000, 5000"])
def test_other_content_length_is_left_to_the_server(length: bytes) -> None:
    assert read(b"ab", headers=[(b"content-length", length)]) == b"ab"


@st.composite
def packed_bodies(draw: st.DrawFn) -> tuple[str, bytes, bytes]:
    encoding, body = draw(st.sampled_from([*PACK])), draw(st.binary(max_size=900))
    places = sorted(draw(st.lists(st.integers(0, len(body)), max_size=3))) if encoding != "deflate" else []
    members = [body[start:stop] for start, stop in zip([0, *places], [*places, len(body)], strict=True)]
    return encoding, body, b"".join(map(PACK[encoding], members))


def split(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@given(packed=packed_bodies(), size=st.integers(1, 1200))
def test_packed_body_is_unpacked_however_it_is_split(packed: tuple[str, bytes, bytes], size: int) -> None:
    encoding, body, sent = packed
    assert read(*split(sent, size), b"", encoding=encoding.upper(), max_body=2000) == body


@pytest.mark.parametrize("encoding", PACK)
def test_packed_body_that_ends_anywhere_before_its_end_is_refused(encoding: str) -> None:
    sent = PACK[encoding](b"ab" * 20)
    expected = (400, "the body is cut off, " + PACKED_WRONGLY.format(encoding))
    for end in range(1, len(sent)):
        assert refusal(sent[:end], encoding=encoding) == expected
        assert refusal(*split(sent[:end], 5), encoding=encoding) == expected


@pytest.mark.parametrize("garbage", [b"\0", b"garbage", b"\x1f\x8b garbage"])
@pytest.mark.parametrize("encoding", PACK)
def test_packed_body_with_garbage_at_its_end_is_refused(encoding: str, garbage: bytes) -> None:
    sent = PACK[encoding](b"ab")
    for chunks in ([sent + garbage], [sent, garbage]):
        status, message = refusal(*chunks, encoding=encoding)
        assert status == 400
        assert message.endswith(PACKED_WRONGLY.format(encoding))


@pytest.mark.parametrize("encoding", PACK)
def test_packed_body_with_a_wrong_checksum_is_refused(encoding: str) -> None:
    sent = bytearray(PACK[encoding](b"ab" * 20))
    sent[-5 if "gzip" in encoding else -1] ^= 1
    assert refusal(bytes(sent), encoding=encoding) == (400, "the body is damaged, " + PACKED_WRONGLY.format(encoding))


def test_deflate_without_its_header_is_refused() -> None:
    packer = zlib.compressobj(wbits=-15)
    sent = packer.compress(b"ab" * 20) + packer.flush()
    assert refusal(sent, encoding="deflate")[0] == 400


def test_gzip_of_too_many_parts_is_refused() -> None:
    empty = gzip.compress(b"")
    assert read(empty * MAX_MEMBERS, encoding="gzip", max_body=10_000) == b""
    expected = (400, "the body has too many parts, " + PACKED_WRONGLY.format("gzip"))
    assert refusal(empty * (MAX_MEMBERS + 1), encoding="gzip", max_body=10_000) == expected


UNPACKED = "the body is larger than {:,} bytes once unpacked; send fewer rows at a time"


@pytest.mark.parametrize("encoding", PACK)
def test_packed_body_beyond_the_limit_is_refused(encoding: str) -> None:
    sent = PACK[encoding](b"a" * 1000)
    assert read(sent, encoding=encoding) == b"a" * 1000
    assert refusal(PACK[encoding](b"a" * 1001), encoding=encoding) == (413, UNPACKED.format(1000))


@pytest.mark.parametrize("encoding", PACK)
def test_memory_for_a_body_that_grows_a_thousandfold_stays_at_the_limit(encoding: str) -> None:
    sent, limit = PACK[encoding](bytes(100_000_000)), 1_000_000
    tracemalloc.start()
    try:
        assert refusal(sent, encoding=encoding, max_body=limit) == (413, UNPACKED.format(limit))
        assert tracemalloc.get_traced_memory()[1] < 3 * limit
    finally:
        tracemalloc.stop()


def test_packed_body_that_unpacks_to_nothing_is_received_up_to_the_limit() -> None:
    endless_name = b"\x1f\x8b\x08\x08" + bytes(6) + b"a" * 100
    client = Client([endless_name] + [b"a" * 100] * 100)
    assert refusal(encoding="gzip", client=client) == (413, TOO_LARGE)
    assert client.asked == 10


@pytest.mark.parametrize("encoding", PACK)
def test_empty_body_is_empty_in_any_encoding(encoding: str) -> None:
    assert read(b"", encoding=encoding) == b""


@given(body=st.binary(), encoding=st.sampled_from([*PACK]), size=st.integers(1, 50), is_headed=st.booleans())
def test_any_bytes_are_unpacked_or_refused(body: bytes, encoding: str, size: int, is_headed: bool) -> None:
    sent = (PACK[encoding](b"ab")[:10] if is_headed else b"") + body
    try:
        assert len(read(*split(sent, size), b"", encoding=encoding, max_body=50)) <= 50
    except Refusal as error:
        status = error.status
    else:
        return
    assert status in (400, 413)


@pytest.mark.parametrize("encoding", ["br", "gzip, gzip", "gzip,identity", "zstd", "chunked"])
def test_unknown_encoding_is_refused_before_the_body_is_received(encoding: str) -> None:
    client = Client([])
    with pytest.raises(Refusal) as caught:
        read(encoding=encoding, client=client)
    assert (caught.value.status, caught.value.headers) == (415, {"Accept-Encoding": "gzip, deflate"})
    assert caught.value.message == "Content-Encoding: not known; allowed: gzip, deflate or none"
    assert client.asked == 0


def test_two_headers_of_encodings_are_refused() -> None:
    assert refusal(headers=[(b"content-encoding", b"gzip")] * 2)[0] == 415


@pytest.mark.parametrize("encoding", ["identity", " Identity "])
def test_body_that_is_not_packed_may_say_so(encoding: str) -> None:
    assert read(b"ab", encoding=encoding) == b"ab"


async def wait_forever() -> Mapping[str, Any]:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


async def trickle() -> Mapping[str, Any]:
    await asyncio.sleep(0.001)
    return {"type": "http.request", "body": b"a", "more_body": True}


@pytest.mark.parametrize("wait", [wait_forever, trickle])
@pytest.mark.parametrize("chunks", [[], [b"a"]])
def test_body_that_is_late_as_a_whole_is_refused(wait: Receive, chunks: list[bytes]) -> None:
    with pytest.raises(Refusal) as caught:
        read(client=Client(chunks, wait), seconds=0.02, max_body=1_000_000)
    assert (caught.value.status, caught.value.headers) == (408, {"Connection": "close"})
    expected = "the body did not arrive within 0.02 seconds; send it faster, or fewer rows at a time"
    assert caught.value.message == expected


def test_timeout_of_the_server_itself_is_no_late_body() -> None:
    async def fail() -> Mapping[str, Any]:
        raise TimeoutError

    with pytest.raises(TimeoutError):
        read(client=Client([b"a"], fail))


@pytest.mark.parametrize("chunks", [[], [b"a"]])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_client_that_leaves_before_the_end_is_gone(chunks: list[bytes], encoding: str) -> None:
    async def leave() -> Mapping[str, Any]:
        return {"type": "http.disconnect"}

    sent = chunks if not encoding else [gzip.compress(chunk) for chunk in chunks]
    with pytest.raises(ClientGone):
        read(client=Client(sent, leave), encoding=encoding)
