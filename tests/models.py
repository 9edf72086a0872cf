"""Servers on loopback that speak as OpenAI and Anthropic do, and misbehave as they are told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """How one request is answered."""

    text: str = ""
    """What the model says."""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: object = None
    """What is sent with another status than 200."""
    pieces: int = 4
    """In how many pieces the text comes."""
    wait_s: float = 0.0
    """Seconds before each piece."""
    cut_after: int | None = None
    """After how many pieces the connection is cut; None: not at all."""
    ends: bool = True
    """Whether the end of the answer is said."""
    reason: str = "stop"
    """Why it ended, as OpenAI says it."""
    garbage: bytes = b""
    """Sent in the place of the first piece."""


Script = Callable[[int, dict[str, Any]], Reply]
"""The request's number, from 0, and its body → how it is answered."""


class ModelServer(ThreadingHTTPServer):
    """Answers what a script says, and notes what it was asked."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.asked: list[dict[str, Any]] = []
        """The bodies, in order."""
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.at: list[float] = []
        """When each came, in seconds."""
        self.closed = 0
        """Connections that the client closed while it was answered."""
        self.inside = 0
        self.most_at_once = 0
        self.changed = threading.Condition()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def waits_for(self, holds: Callable[[], bool], limit_s: float = 5.0) -> bool:
        """Return whether something comes to hold in time."""
        with self.changed:
            return self.changed.wait_for(holds, limit_s)

    def prompts(self) -> list[str]:
        """Return the text of each request's last message."""
        return [text_in(body["messages"][-1]["content"]) for body in self.asked]


def text_in(content: object) -> str:
    """Return the text of a message, whose parts may be several."""
    if isinstance(content, str):
        return content
    assert isinstance(content, list)
    return "\n".join(part["text"] for part in content if part["type"] == "text")


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.changed:
            number = len(server.asked)
            server.asked.append(body)
            server.paths.append(self.path)
            server.at.append(time.monotonic())
            server.headers.append({name.lower(): value for name, value in self.headers.items()})
            server.inside += 1
            server.most_at_once = max(server.most_at_once, server.inside)
            server.changed.notify_all()
        try:
            self._answer(server.script(number, body), body)
        except (BrokenPipeError, ConnectionResetError):
            with server.changed:
                server.closed += 1
        finally:
            self.close_connection = True
            with server.changed:
                server.inside -= 1
                server.changed.notify_all()

    def _answer(self, reply: Reply, body: dict[str, Any]) -> None:
        if reply.status != 200:
            data = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self._head(reply, "application/json", len(data))
            self.wfile.write(data)
            return
        self._head(reply, "text/event-stream")
        events = _anthropic(reply, body) if self.path.endswith("/messages") else _openai(reply, body)
        for number, event in enumerate(events):
            if reply.cut_after is not None and number > reply.cut_after:
                return  # Without the last chunk, which says that it is whole.
            time.sleep(reply.wait_s)
            self.wfile.write(b"%x\r\n%b\r\n" % (len(event), event))
            self.wfile.flush()
        self.wfile.write(b"0\r\n\r\n")

    def _head(self, reply: Reply, kind: str, size: int | None = None) -> None:
        self.send_response(reply.status)
        self.send_header("Content-Type", kind)
        self.send_header("Connection", "close")
        if size is None:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Content-Length", str(size))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 named so by the base class
        pass


def _cut(reply: Reply) -> list[str]:
    size = max(1, -(-len(reply.text) // reply.pieces))
    return [reply.text[at : at + size] for at in range(0, len(reply.text), size)]


def _openai(reply: Reply, body: dict[str, Any]) -> Iterator[bytes]:
    def chunk(**more: object) -> bytes:
        data = {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": body["model"], "choices": []}
        return b"data: " + json.dumps({**data, **more}).encode() + b"\n\n"

    def choice(delta: object, reason: str | None = None) -> bytes:
        return chunk(choices=[{"index": 0, "delta": delta, "finish_reason": reason}])

    yield reply.garbage or choice({"role": "assistant", "content": ""})
    for piece in _cut(reply):
        yield choice({"content": piece})
    if reply.ends:
        yield choice({}, reply.reason)
        yield chunk(usage={"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15})
        yield b"data: [DONE]\n\n"


def _anthropic(reply: Reply, body: dict[str, Any]) -> Iterator[bytes]:
    def event(kind: str, **more: object) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **more})}\n\n".encode()

    is_tool = bool(body.get("tools"))
    message = {"id": "m1", "type": "message", "role": "assistant", "model": body["model"], "content": []}
    usage = {"input_tokens": 20, "output_tokens": 1}
    yield event("message_start", message={**message, "stop_reason": None, "stop_sequence": None, "usage": usage})
    block = {"type": "tool_use", "id": "t1", "name": "answer", "input": {}} if is_tool else {"type": "text", "text": ""}
    yield event("content_block_start", index=0, content_block=block)
    for piece in _cut(reply):
        delta = (
            {"type": "input_json_delta", "partial_json": piece} if is_tool else {"type": "text_delta", "text": piece}
        )
        yield event("content_block_delta", index=0, delta=delta)
    yield event("content_block_stop", index=0)
    if reply.ends:
        reason = "tool_use" if is_tool else {"stop": "end_turn", "length": "max_tokens"}[reply.reason]
        yield event("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage={"output_tokens": 7})
        yield event("message_stop")


@contextmanager
def serving(*replies: Reply | str, script: Script | None = None) -> Iterator[ModelServer]:
    """Give a running server that answers with these in turn, the last one again and again, or as a script says."""
    listed = [reply if isinstance(reply, Reply) else Reply(reply) for reply in replies]
    server = ModelServer(script or (lambda number, _: listed[min(number, len(listed) - 1)]))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
