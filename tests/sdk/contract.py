"""What the stock `bentoml` SDK must find behind the gateway: everything that it finds without one.

    python tests/sdk/contract.py --url URL --token GOOD --refused-token BAD --direct-url URL_OF_SERVICE

URL is the gateway in front of `examples/summarization`, URL_OF_SERVICE that service itself. Every check compares the
two or states what the caller must see. One line per check, `ok NAME` or `FAIL NAME: why`; exit status 1 if any failed.
No token is ever printed.
"""

import argparse
import asyncio
import hashlib
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

# The SDK sends a token that it finds here with every call, and httpx would send calls to this machine to a proxy.
os.environ.pop("BENTO_CLOUD_API_KEY", None)
os.environ["NO_PROXY"] = os.environ["no_proxy"] = "127.0.0.1,localhost"
os.environ["BENTOML_DO_NOT_TRACK"] = "True"

import bentoml  # noqa: E402
import httpx  # noqa: E402
from bentoml.exceptions import BentoMLException, InvalidArgument, NotFound, ServiceUnavailable  # noqa: E402
from websockets.exceptions import ConnectionClosed, InvalidStatus  # noqa: E402
from websockets.sync.client import connect  # noqa: E402

TEXT = (
    "Rivers carry stones. Large rivers carry large stones, and small rivers carry sand. "
    "Nobody counted them. The sea takes the stones and the sand of all rivers."
)
NON_ASCII = "Größe zählt nicht. Die Größe der Größten — 東京 — zählt 🙂 doch. Ende."
SLOW = {"text": "one two three four five six.", "pause": 0.15}

CHECKS = []


class Wrong(Exception):
    """What came is not what should have come."""


def check(name):
    def register(function):
        CHECKS.append((name, function))
        return function

    return register


def same(got, expected, what="the answer"):
    if got != expected:
        raise Wrong(f"{what} is {shorten(got)}, expected {shorten(expected)}")


def true(condition, why):
    if not condition:
        raise Wrong(why)


def shorten(value):
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:150]}… ({len(text)} characters)"


class Place:
    """Where the two services are, and with which tokens."""

    def __init__(self, args, directory):
        self.url = args.url.rstrip("/")
        self.direct_url = args.direct_url.rstrip("/")
        self.token = args.token
        self.refused_token = args.refused_token
        self.directory = directory

    def sync(self, **options):
        return bentoml.SyncHTTPClient(self.url, token=self.token, **options)

    def direct(self):
        return bentoml.SyncHTTPClient(self.direct_url)

    def asynchronous(self, **options):
        return bentoml.AsyncHTTPClient(self.url, token=self.token, **options)

    def file(self, name, content):
        path = Path(self.directory, name)
        path.write_bytes(content)
        return path

    def bearer(self, token=None):
        return {"Authorization": f"Bearer {token or self.token}"}

    def socket_url(self, path):
        return "ws" + self.url.removeprefix("http") + path


def arrivals(chunks):
    """The chunks, and the seconds at which they came."""
    start = time.monotonic()
    got, at = [], []
    for chunk in chunks:
        got.append(chunk)
        at.append(time.monotonic() - start)
    return got, at


def same_pace(at, pause, count):
    """Chunks with a pause between them must not arrive in one go. Half the time is enough: the machine may be busy."""
    same(len(at), count, "the number of chunks")
    spread = at[-1] - at[0]
    wanted = pause * (count - 1)
    true(spread > wanted * 0.5, f"the first chunk came only {spread:.2f} s before the last, expected {wanted:.2f} s")


def unhurried(read):
    """Records that are read with a pause between them. If two of them are in one read of the client, it cuts the second by
    itself, so a machine that is too busy for one pause gets a longer one. A gateway that cuts records does so at any."""
    for pause in (0.02, 0.2):
        try:
            return read(pause)
        except json.JSONDecodeError:
            continue
    return read(0.5)


# --- SyncHTTPClient --------------------------------------------------------------------------------------------------


@check("sync: the endpoints are those of the service")
def _(place):
    with place.sync() as client, place.direct() as direct:
        true(len(direct.endpoints) >= 6, "the service itself names fewer endpoints than it has")
        same(sorted(client.endpoints), sorted(direct.endpoints), "the list of endpoints")


@check("sync: a call, by name and by position")
def _(place):
    with place.sync() as client, place.direct() as direct:
        same(client.summarize(text=TEXT), direct.summarize(text=TEXT))
        same(client.summarize(NON_ASCII), direct.summarize(NON_ASCII))
        same(client.summarize(), direct.summarize())
        true("rivers" in client.summarize(text=TEXT), "the summary does not speak of rivers")


@check("a service that depends on a Deployment by its URL calls it with BENTO_CLOUD_API_KEY")
def _(place):
    async def ask():
        # As a service does it: `self.NAME` of a dependency is what `get` returns.
        proxy = bentoml.depends(url=place.url).get()
        try:
            # A name that the client does not know before it has asked the Deployment which endpoints it has.
            async with proxy.to_async as client:
                return await client.call("summarize", text=TEXT)
        finally:
            await proxy.close()

    os.environ["BENTO_CLOUD_API_KEY"] = place.token
    try:
        with place.direct() as direct:
            same(asyncio.run(ask()), direct.summarize(text=TEXT))
    finally:
        del os.environ["BENTO_CLOUD_API_KEY"]


@check("sync: a call with a body of 3 MB")
def _(place):
    text = "Many words make a long text. " * 100_000
    with place.sync() as client, place.direct() as direct:
        same(client.summarize(text=text), direct.summarize(text=text))


@check("sync: a refused argument is the service's own error")
def _(place):
    seen = []
    with place.sync() as client, place.direct() as direct:
        for each in (client, direct):
            try:
                # The request of a stream is sent when it is read.
                list(each.records(count="several"))
            except InvalidArgument as error:
                seen.append((int(error.error_code), str(error)))
    same(len(seen), 2, "the number of InvalidArgument")
    same(seen[0], seen[1], "the error")


@check("sync: a stream comes chunk by chunk, as it is made")
def _(place):
    with place.sync() as client, place.direct() as direct:
        got, at = arrivals(client.summarize_stream(**SLOW))
        same(got, list(direct.summarize_stream(**SLOW)), "the list of chunks")
        same_pace(at, SLOW["pause"], 6)


@check("sync: streamed records arrive whole, up to 60 KB each")
def _(place):
    with place.sync() as client:
        for size in (10, 4_000, 8_192, 16_384, 32_768, 60_000):
            expected = [{"number": number, "filling": "x" * size} for number in range(8)]
            got = unhurried(lambda pause: list(client.records(count=8, size=size, pause=pause)))
            same(got, expected, f"the list of records of {size} bytes")


@check("sync: small records in quick succession are not merged")
def _(place):
    with place.sync() as client:
        records = unhurried(lambda pause: list(client.records(count=40, size=5, pause=pause / 4)))
        same([record["number"] for record in records], list(range(40)), "the order of records")


@check("sync: a file up, a file back")
def _(place):
    document = place.file("rivers.txt", TEXT.encode())
    with place.sync() as client, place.direct() as direct:
        expected = direct.summarize_file(document=document).read_bytes()
        same(client.summarize_file(document=document).read_bytes(), expected)


@check("sync: 8 MB as the whole body, in chunks of unknown number")
def _(place):
    content = os.urandom(1 << 20) * 8
    blob = place.file("blob.bin", content)
    with place.sync() as client:
        got = client.digest(blob)
    same(got, {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})


# --- AsyncHTTPClient -------------------------------------------------------------------------------------------------


@check("async: a call, and ten at once")
async def _(place):
    with place.direct() as direct:
        expected = direct.summarize(text=TEXT)
    async with place.asynchronous() as client:
        same(await client.summarize(text=TEXT), expected)
        same(await asyncio.gather(*(client.summarize(text=TEXT) for _ in range(10))), [expected] * 10)


@check("async: a stream comes chunk by chunk, as it is made")
async def _(place):
    async with place.asynchronous() as client:
        start = time.monotonic()
        got, at = [], []
        async for chunk in client.summarize_stream(**SLOW):
            got.append(chunk)
            at.append(time.monotonic() - start)
        same("".join(got), SLOW["text"] + " ", "the text")
        same_pace(at, SLOW["pause"], 6)


@check("async: two streams at once, and a call beside them")
async def _(place):
    async with place.asynchronous() as client:

        order = []

        async def read(name):
            async for _ in client.summarize_stream(**SLOW):
                order.append(name)

        _, _, answer = await asyncio.gather(read("a"), read("b"), client.summarize(text=TEXT))
        same((order.count("a"), order.count("b")), (6, 6), "the numbers of chunks")
        true(answer, "the call had no answer")
        true("".join(order) not in ("a" * 6 + "b" * 6, "b" * 6 + "a" * 6), "the streams waited for each other")


@check("async: a stream that is left early does not spoil the next call")
async def _(place):
    async with place.asynchronous() as client:
        stream = client.summarize_stream(text="word " * 200 + ".", pause=0.05)
        async for _ in stream:
            break
        await stream.aclose()
        true(await client.summarize(text=TEXT), "the call had no answer")


@check("async: a file up, a file back")
async def _(place):
    document = place.file("rivers-async.txt", TEXT.encode())
    with place.direct() as direct:
        expected = direct.summarize_file(document=document).read_bytes()
    async with place.asynchronous() as client:
        same((await client.summarize_file(document=document)).read_bytes(), expected)


@check("async: a task: submit, status, get")
async def _(place):
    texts = [TEXT, NON_ASCII]
    with place.direct() as direct:
        expected = [direct.summarize(text=text) for text in texts]
    async with place.asynchronous() as client:
        # `submit()` of the sync client raises AttributeError in BentoML 1.4.39, with or without a gateway.
        task = await client.summarize_many.submit(texts=texts)
        deadline = time.monotonic() + 15
        while (status := (await task.get_status()).value) == "in_progress":
            true(time.monotonic() < deadline, "the task was not done after 15 s")
            await asyncio.sleep(0.1)
        same(status, "completed", "the status")
        same(await task.get(), expected, "the result")
        again = await task.retry()
        true(again.id != task.id, "a repeated task has the same id")


@check("async: an unknown task is NotFound, from the service")
async def _(place):
    async with place.asynchronous() as client:
        task = await client.summarize_many.submit(texts=[TEXT])
        stranger = type(task)("0" * 32, task.endpoint, task.client)
        try:
            await stranger.get_status()
        except NotFound:
            return
        raise Wrong("there was no NotFound")


# --- The mounted application -----------------------------------------------------------------------------------------


@check("mounted: WebSocket echo, text and binary")
def _(place):
    with connect(place.socket_url("/live/echo"), additional_headers=place.bearer(), proxy=None) as socket:
        for message in ("hello", NON_ASCII, b"\x00\xff" * 1000, os.urandom(600_000)):
            socket.send(message)
            same(socket.recv(timeout=10), message, "the echo")


@check("mounted: WebSocket subprotocol and close code pass")
def _(place):
    url = place.socket_url("/live/echo")
    with connect(url, additional_headers=place.bearer(), subprotocols=["other", "echo"], proxy=None) as socket:
        same(socket.subprotocol, "echo", "the subprotocol")
        socket.send("close 4321")
        try:
            socket.recv(timeout=10)
        except ConnectionClosed as closed:
            same((closed.rcvd.code, closed.rcvd.reason), (4321, "as you asked"), "the close frame")
        else:
            raise Wrong("the connection was not closed")


def handshake_status(place, headers):
    try:
        with connect(place.socket_url("/live/echo"), additional_headers=headers, proxy=None):
            raise Wrong("the WebSocket was opened")
    except InvalidStatus as error:
        return error.response.status_code


@check("mounted: no WebSocket without a token, or with a refused one")
def _(place):
    same(handshake_status(place, {}), 401, "the status without a token")
    true(handshake_status(place, place.bearer(place.refused_token)) in (401, 403), "the status is neither 401 nor 403")


@check("mounted: Server-Sent Events come one by one")
def _(place):
    url = f"{place.url}/live/ticks?count=5&interval=0.15"
    with httpx.stream("GET", url, headers={**place.bearer(), "Accept": "text/event-stream"}) as answer:
        same(answer.status_code, 200, "the status")
        true(answer.headers["content-type"].startswith("text/event-stream"), "the content type is another")
        true("content-encoding" not in answer.headers, "the stream is compressed")
        got, at = arrivals(line for line in answer.iter_lines() if line.startswith("data: "))
    same([json.loads(line.removeprefix("data: ")) for line in got], [{"tick": n} for n in range(5)], "the events")
    same_pace(at, 0.15, 5)


@check("mounted: path, query and body arrive as they were sent; the credential does not arrive")
def _(place):
    path = "/live/request/a%2Fb/c%20d?x=1&y=%2B&y="
    body = os.urandom(100_000)
    headers = {**place.bearer(), "X-YATAI-API-TOKEN": place.token, "X-Own": "kept"}
    answer = httpx.request("PUT", place.url + path, headers=headers, content=body)
    same(answer.status_code, 200, "the status")
    seen = answer.json()
    same(seen["method"], "PUT", "the method")
    same(seen["raw_path"], "/live/request/a%2Fb/c%20d", "the path")
    same(seen["query"], "x=1&y=%2B&y=", "the query")
    same(seen["body"], {"bytes": len(body), "sha256": hashlib.sha256(body).hexdigest()}, "the body")
    names = [name for name, _ in seen["headers"]]
    true("x-own" in names, "a header of the caller's own did not arrive")
    for name in ("authorization", "x-yatai-api-token"):
        true(name not in names, f"{name} reached the service")
    true(place.token not in answer.text, "the token reached the service")


# --- Refusals --------------------------------------------------------------------------------------------------------


def refused_construction(construct, error_type, words):
    start = time.monotonic()
    try:
        construct()
    except error_type as error:
        true(words in str(error), f"the message is {shorten(str(error))}, expected {words!r} in it")
        return time.monotonic() - start
    raise Wrong("the client was let in")


@check("refused: the sync client never becomes ready")
def _(place):
    for token in (place.refused_token, None):
        took = refused_construction(
            lambda token=token: bentoml.SyncHTTPClient(place.url, token=token, server_ready_timeout=1),
            ServiceUnavailable,
            "Server is not ready after 1 seconds",
        )
        true(took < 6, f"that took {took:.1f} s")


@check("refused: the sync client gets no schema")
def _(place):
    refused_construction(
        lambda: bentoml.SyncHTTPClient(place.url, token=place.refused_token, server_ready_timeout=0),
        BentoMLException,
        "Failed to fetch schema",
    )


@check("refused: a client whose token is refused later is told so by is_ready")
def _(place):
    with bentoml.SyncHTTPClient(place.url, token=place.token) as client:
        true(client.is_ready(), "it is not ready with a good token")
        client.client.headers["Authorization"] = f"Bearer {place.refused_token}"
        true(not client.is_ready(), "is_ready says yes, and every call would be refused")


@check("refused: the async client never becomes ready")
async def _(place):
    try:
        async with bentoml.AsyncHTTPClient(place.url, token=place.refused_token, server_ready_timeout=1):
            raise Wrong("the client was let in")
    except ServiceUnavailable as error:
        true("Server is not ready after 1 seconds" in str(error), f"the message is {shorten(str(error))}")


@check("refused: a call is an exception with the status, and the body as its text")
def _(place):
    with place.sync() as client:
        for token, allowed in ((place.refused_token, (401, 403)), (None, (401,))):
            client.client.headers.pop("authorization", None)
            if token:
                client.client.headers["authorization"] = f"Bearer {token}"
            try:
                client.summarize(text=TEXT)
            except BentoMLException as error:
                true(int(error.error_code) in allowed, f"the status is {int(error.error_code)}, expected {allowed}")
                true(str(error).strip(), "the exception says nothing")
                true(not token or token not in str(error), "the exception shows the token")
            else:
                raise Wrong("the call was let through")


@check("refused: the token of a refused call does not matter to the next, allowed one")
def _(place):
    with httpx.Client(base_url=place.url) as client:
        for _ in range(3):
            refused = client.post("/summarize", json={"text": TEXT}, headers=place.bearer(place.refused_token))
            true(refused.status_code in (401, 403), f"the status is {refused.status_code}, expected 401 or 403")
            same(client.post("/summarize", json={"text": TEXT}, headers=place.bearer()).status_code, 200, "the status")


def main():
    parser = argparse.ArgumentParser(description="Drives the stock bentoml SDK through the gateway.")
    parser.add_argument("--url", required=True, help="the gateway, in front of the summarization service")
    parser.add_argument("--token", required=True, help="a token that may call it")
    parser.add_argument("--refused-token", required=True, help="a token that may not")
    parser.add_argument("--direct-url", required=True, help="the service itself")
    args = parser.parse_args()

    passed = failed = 0
    with tempfile.TemporaryDirectory(prefix="sdk-contract-") as directory:
        place = Place(args, directory)
        for name, function in CHECKS:
            try:
                outcome = function(place)
                if asyncio.iscoroutine(outcome):
                    asyncio.run(asyncio.wait_for(outcome, timeout=60))
            except Exception as error:
                failed += 1
                why = str(error) if isinstance(error, Wrong) else f"{type(error).__name__}: {error}"
                print(f"FAIL {name}: {' '.join(why.split())}", flush=True)
                if not isinstance(error, Wrong):
                    traceback.print_exc(file=sys.stderr)
            else:
                passed += 1
                print(f"ok {name}", flush=True)
    print(f"{passed} passed, {failed} failed", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
