"""A Bento service in pure Python: nothing to download, no model, no GPU.

It summarises English text by choosing the sentences whose words occur most often. That is all the machine learning
there is; what the service is for is to show, and to let the tests use, every kind of endpoint that BentoML offers and
a gateway has to carry: a plain call, streams, files in both directions, a task, and a mounted ASGI application with
WebSockets and Server-Sent Events.
"""

import asyncio
import hashlib
import json
import re
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Annotated, Any

import bentoml
from bentoml.validators import ContentType
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

EXAMPLE_TEXT = (
    "The harbour of Aldersund freezes every winter. "
    "For three months no ship can enter the harbour, and the town lives on what it stored. "
    "Children skate to school. "
    "In March the first ship breaks the ice, and the whole town walks down to the harbour to greet the ship. "
    "Nobody remembers who began that custom."
)

SUMMARY_SENTENCES = 2

SENTENCE_END = re.compile(r"(?<=[.!?])\s+")
WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")

# Words that say nothing about what a text is about.
FUNCTION_WORDS = frozenset(
    "a about after all also an and any are as at be because been but by can could did do does for from had has have he"
    " her him his how i if in into is it its just may me more most my no not of on one only or other our out over she"
    " so some such than that the their them then there these they this to up us was we were what when where which who"
    " whole will with would you your".split()
)


def split_sentences(text: str) -> list[str]:
    return [sentence for sentence in SENTENCE_END.split(text.strip()) if sentence]


def content_words(text: str) -> list[str]:
    return [word for word in WORD.findall(text.lower()) if word not in FUNCTION_WORDS]


def summarize_text(text: str, count: int = SUMMARY_SENTENCES) -> str:
    """The `count` sentences with the highest mean word frequency, in the order in which they stood."""
    sentences = split_sentences(text)
    frequency = Counter(content_words(text))

    def score(sentence: str) -> float:
        words = content_words(sentence)
        return sum(frequency[word] for word in words) / len(words) if words else 0.0

    best = sorted(range(len(sentences)), key=lambda index: (-score(sentences[index]), index))[:count]
    return " ".join(sentences[index] for index in sorted(best))


# --- The mounted application -----------------------------------------------------------------------------------------


async def echo(websocket: WebSocket) -> None:
    """Sends every message back as it came. The text `close N` closes the connection with the code N."""
    offered = websocket.scope.get("subprotocols") or []
    await websocket.accept(subprotocol="echo" if "echo" in offered else None)
    try:
        while True:
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            if message.get("bytes") is not None:
                await websocket.send_bytes(message["bytes"])
                continue
            text = message["text"]
            if text.startswith("close "):
                await websocket.close(code=int(text.removeprefix("close ")), reason="as you asked")
                return
            await websocket.send_text(text)
    except WebSocketDisconnect:
        return


def within(request: Request, name: str, default: float, largest: float) -> float:
    """A number from the query, between 0 and `largest`."""
    try:
        value = float(request.query_params.get(name, default))
    except ValueError:
        value = default
    return min(max(value, 0.0), largest)


async def ticks(request: Request) -> StreamingResponse:
    """Server-Sent Events: `count` of them, one every `interval` seconds."""
    count = int(within(request, "count", 5, 10_000))
    interval = within(request, "interval", 0.2, 60)

    async def events() -> AsyncGenerator[str, None]:
        yield "retry: 1000\n\n"
        for number in range(count):
            if number:
                await asyncio.sleep(interval)
            yield f"id: {number}\nevent: tick\ndata: {json.dumps({'tick': number})}\n\n"

    return StreamingResponse(events(), media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


async def show_request(request: Request) -> JSONResponse:
    """The request as it arrived here: how one sees what a proxy in front adds, keeps and removes."""
    digest = hashlib.sha256()
    size = 0
    async for chunk in request.stream():
        digest.update(chunk)
        size += len(chunk)
    scope = request.scope
    return JSONResponse(
        {
            "method": scope["method"],
            "scheme": scope["scheme"],
            "http_version": scope["http_version"],
            "path": scope["path"],
            "raw_path": scope.get("raw_path", b"").decode("latin-1"),
            "query": scope["query_string"].decode("latin-1"),
            "client": list(scope["client"] or ()),
            "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in scope["headers"]],
            "body": {"bytes": size, "sha256": digest.hexdigest()},
        }
    )


ANY_METHOD = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]

live = Starlette(
    routes=[
        WebSocketRoute("/echo", echo),
        Route("/ticks", ticks),
        Route("/request", show_request, methods=ANY_METHOD),
        Route("/request/{rest:path}", show_request, methods=ANY_METHOD),
    ]
)


# --- The service -----------------------------------------------------------------------------------------------------


@bentoml.service(name="summarization", traffic={"timeout": 300})
@bentoml.asgi_app(live, path="/live")
class Summarization:
    @bentoml.api
    def summarize(self, text: str = EXAMPLE_TEXT) -> str:
        """The most telling sentences of a text."""
        return summarize_text(text)

    @bentoml.api
    async def summarize_stream(self, text: str = EXAMPLE_TEXT, pause: float = 0.2) -> AsyncGenerator[str, None]:
        """The same summary word by word, as a language model would deliver it."""
        for number, word in enumerate(summarize_text(text).split(" ")):
            if number:
                await asyncio.sleep(pause)
            yield word + " "

    @bentoml.api
    async def records(
        self, count: int = 5, size: int = 32_768, pause: float = 0.0
    ) -> AsyncGenerator[dict[str, Any], None]:
        """JSON records of about `size` bytes, each a chunk of the answer: merged or cut, no client can read them."""
        for number in range(count):
            if number:
                await asyncio.sleep(pause)
            yield {"number": number, "filling": "x" * size}

    @bentoml.api
    def summarize_file(
        self, document: Annotated[Path, ContentType("text/plain")]
    ) -> Annotated[Path, ContentType("text/plain")]:
        """Takes a text file, answers with one that holds the summary."""
        summary = summarize_text(document.read_text(encoding="utf-8", errors="replace"))
        # Beside the upload, since BentoML empties that directory once the answer is sent.
        with tempfile.NamedTemporaryFile(
            "w", suffix="-summary.txt", dir=document.parent, delete=False, encoding="utf-8"
        ) as answer:
            answer.write(summary)
        return Path(answer.name)

    @bentoml.api
    def digest(self, document: Path, /) -> dict[str, Any]:
        """Size and SHA-256 of a file, which is the whole body of the request."""
        sha256 = hashlib.sha256()
        size = 0
        with document.open("rb") as file:
            while block := file.read(1 << 20):
                sha256.update(block)
                size += len(block)
        return {"bytes": size, "sha256": sha256.hexdigest()}

    @bentoml.task
    def summarize_many(self, texts: list[str]) -> list[str]:
        """Several texts at once, as a task: submit it, ask how it is, fetch the result later."""
        return [summarize_text(text) for text in texts]
