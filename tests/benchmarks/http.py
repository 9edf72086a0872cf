"""What a request by an `http` node costs against bare httpx2: 1,000 requests, 20 at once, of one server on loopback.

`python -m tests.benchmarks.http` prints the median ratio of the runtime alone (the goal is 1.3), and that of whole runs, journal and all.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter
from typing import Final

import httpx2

import flownb
from flownb.model.http_node import HttpNode
from flownb.runtimes.http.runtime import HttpRuntime
from tests.nodes import node_of, scope_of

COUNT: Final = 1_000
AT_ONCE: Final = 20
GOAL: Final = 1.3
TIMES: Final = 7
_SERVER: Final = """
import asyncio
BODY = b'{"id": 1, "title": "An article"}'
ANSWER = b"HTTP/1.1 200 OK\\r\\nContent-Type: application/json\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(BODY) + BODY
class Answering(asyncio.Protocol):
    def connection_made(self, transport): self.transport, self.seen = transport, b""
    def data_received(self, data):
        self.seen += data
        while (end := self.seen.find(b"\\r\\n\\r\\n")) >= 0:
            self.seen = self.seen[end + 4:]
            self.transport.write(ANSWER)
async def main():
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""
_FLOW: Final = f"""# Many

## Numbers

```expr
range({COUNT}) | list
```

## Each

- foreach: numbers
- concurrency: {AT_ONCE}

```http
GET URL/articles/{{{{ item }}}}
```
"""


async def _timed(work: Callable[[int], Awaitable[object]]) -> float:
    """Return the seconds that all requests take, some at once."""
    numbers = iter(range(COUNT))

    async def serve() -> None:
        for number in numbers:
            await work(number)

    began = perf_counter()
    await asyncio.gather(*(serve() for _ in range(AT_ONCE)))
    return perf_counter() - began


async def _both(url: str) -> tuple[float, float]:
    """Return the seconds of bare httpx2 and of the runtime, each with connections that are open already."""
    runtime, scope = HttpRuntime(), scope_of({"item": 1})
    node = node_of(HttpNode, f"GET {url}/articles/{{{{ item }}}}")

    async def by_flownb(_number: int) -> None:
        assert await runtime.run(node, scope) == {"id": 1, "title": "An article"}

    async with httpx2.AsyncClient(limits=httpx2.Limits(max_keepalive_connections=100)) as client:

        async def bare(number: int) -> None:
            answer = await client.get(f"{url}/articles/{number}")
            answer.raise_for_status()
            assert answer.json() == {"id": 1, "title": "An article"}

        await _timed(bare)
        await _timed(by_flownb)
        took = await _timed(bare), await _timed(by_flownb)
    await scope.resources.close()
    return took


def _run_s(url: str) -> float:
    workflow = flownb.parse(_FLOW.replace("URL", url))
    with tempfile.TemporaryDirectory() as folder:
        began = perf_counter()
        run = flownb.run(workflow, state_dir=Path(folder))
        took = perf_counter() - began
    assert run.status == "completed", run.errors
    return took


def main() -> int:
    """Measure, print, and return 1 where the goal is missed."""
    with subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
        try:
            pairs = [asyncio.run(_both(url)) for _ in range(TIMES)]
            whole = [_run_s(url) for _ in range(3)]
        finally:
            server.terminate()
    ratio = statistics.median(ours / bare for bare, ours in pairs)
    bare = statistics.median(bare for bare, _ in pairs)
    print(f"bare httpx2       {bare / COUNT * 1e6:6.0f} us a request")
    print(f"the runtime       {ratio:6.2f} x (goal {GOAL})")
    print(
        f"a whole run       {statistics.median(whole) / bare:6.2f} x (a foreach of {COUNT:,} items, with its journal)"
    )
    return int(ratio > GOAL)


if __name__ == "__main__":
    sys.exit(main())
