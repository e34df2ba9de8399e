"""What can go wrong between a client and the stand-in Hub, on demand."""

import asyncio
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

PAGE = "<!doctype html><html><body><h1>Please log in to this network</h1></body></html>"
INVERTED = bytes(255 - byte for byte in range(256))


@dataclass
class Fault:
    """One thing that goes wrong with the requests that it matches. Being down is ``StandInHub.stop()``.

    Attributes:
        kind: ``status``: answered with ``status`` and ``headers``. ``html``: answered with a page of HTML. ``drop``:
            the connection is closed after so many bytes of the answer's body, or of an upload's; after 0 bytes there is
            no answer at all. ``truncate``: a drop that lets the headers pass in any case, with the whole body's length.
            ``alter``: the answer's bytes are other ones, as many as there should be. ``stall``: the answer pauses for
            ``seconds``, headers and all where it is after 0 bytes. ``lose``: the work is done, then the connection is
            closed in the place of an answer.
        path: A regular expression that is looked for in the request's path (decoded, without the query).
        method: The request's method; empty for every method.
        times: How many requests it hits; ``None`` for all of them.
        after: How many bytes of the body pass first.
        reset: End the connection by a TCP reset, as a network that breaks does, and not in order. Clients differ on it.
        seconds: How long a ``stall`` takes.
        status: Of the answer; without it 503 for ``status`` and 200 for ``html``.
        headers: Of the answer, for ``status``.
        used: How many requests it hit so far.
    """

    kind: Literal["status", "html", "drop", "truncate", "alter", "stall", "lose"]
    path: str = ""
    method: str = ""
    times: int | None = 1
    after: int = 0
    reset: bool = False
    seconds: float = 0.0
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    used: int = 0

    def matches(self, request: web.Request) -> bool:
        left = self.times is None or self.used < self.times
        return left and self.method in ("", request.method) and re.search(self.path, request.path) is not None


async def answer(fault: Fault, request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer a request as the fault has it."""
    if fault.kind in ("status", "html"):
        await request.read()
        if fault.kind == "html":
            return web.Response(status=fault.status or 200, text=PAGE, content_type="text/html")
        return web.json_response({"error": "as the test wants it"}, status=fault.status or 503, headers=fault.headers)
    if fault.kind == "drop" and request.method in ("POST", "PUT"):
        await _read_some(request, fault.after)
        return _hang_up(request, fault)
    if fault.kind == "drop" and fault.after == 0:
        return _hang_up(request, fault)
    if fault.kind == "stall" and fault.after == 0:
        await asyncio.sleep(fault.seconds)
        return await handler(request)

    response = await handler(request)
    if fault.kind == "lose":
        return _hang_up(request, fault)
    assert isinstance(response, web.Response)
    body = response.body if isinstance(response.body, bytes) else b""
    if fault.kind == "alter":
        response.body = body[: fault.after] + body[fault.after :].translate(INVERTED)
        return response
    return await _send_in_parts(request, response, body, fault)


async def _read_some(request: web.Request, size: int) -> None:
    while size > 0 and not request.content.at_eof():
        size -= len(await request.content.read(size))


async def _send_in_parts(request: web.Request, whole: web.Response, body: bytes, fault: Fault) -> web.StreamResponse:
    response = web.StreamResponse(status=whole.status, headers=whole.headers)
    response.content_length = len(body)
    await response.prepare(request)
    assert request.transport is not None
    request.transport.set_write_buffer_limits(0)  # so that write() returns when the bytes have left
    await response.write(body[: fault.after])
    if fault.kind != "stall":
        await asyncio.sleep(0.2 if fault.reset else 0)  # a reset overtakes bytes that are still on their way
        return _hang_up(request, fault)
    await asyncio.sleep(fault.seconds)
    await response.write(body[fault.after :])
    return response


def _hang_up(request: web.Request, fault: Fault) -> web.Response:
    """End the connection; what comes back goes nowhere."""
    if request.transport is not None and fault.reset:
        connection: socket.socket = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
    elif request.transport is not None:
        request.transport.close()
    return web.Response()
