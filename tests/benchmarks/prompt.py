"""Measure prompts against the bare client on the same server: `python -m tests.benchmarks.prompt [--count N] [--repeat N]`.

The server is a process of its own and answers at once. Bare is one openai client that is kept for all requests, which
streams too and tries nothing again; flownb makes a journal line before and behind each, and a client of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Final

from openai import AsyncOpenAI

import flownb
from tests.models import serving

AT_ONCE: Final = 20
TEXT: Final = """# Bench

## Ask

- foreach: range({count})
- concurrency: {at_once}
- model: openai:gpt-4.1-mini

```prompt
Say ok to {{{{ item }}}}.
```
"""


async def bare(url: str, count: int) -> None:
    """Ask by the client alone."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(client: AsyncOpenAI, number: int) -> None:
        async with slots:
            said = ""
            stream = await client.chat.completions.create(
                model="gpt-4.1-mini", messages=[{"role": "user", "content": f"Say ok to {number}."}], stream=True
            )
            async for chunk in stream:
                said += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            assert said == "ok, fine"

    async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as client:
        await asyncio.gather(*(one(client, number) for number in range(count)))


def by_flownb(count: int) -> None:
    """Ask by a `foreach` of prompts."""
    with tempfile.TemporaryDirectory() as folder:
        run = flownb.run(flownb.parse(TEXT.format(count=count, at_once=AT_ONCE)), state_dir=Path(folder))
        if run["ask"] != ["ok, fine"] * count:
            raise AssertionError(f"the benchmark itself went wrong: {run.status} {run.errors[:1]}")


def main() -> None:
    """Print what both took, and the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--serve", action="store_true")
    given = parser.parse_args()
    if given.serve:
        with serving("ok, fine") as server:
            print(server.base, flush=True)
            sys.stdin.read()
        return
    command = [sys.executable, "-m", "tests.benchmarks.prompt", "--serve"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        url = child.stdout.readline().strip() + "/v1"
        os.environ |= {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "none"}
        by_flownb(1)  # Imports.
        asyncio.run(bare(url, 1))
        times: dict[str, list[float]] = {"bare": [], "flownb": []}
        for _ in range(given.repeat):
            began = perf_counter()
            asyncio.run(bare(url, given.count))
            middle = perf_counter()
            by_flownb(given.count)
            times["bare"].append(middle - began)
            times["flownb"].append(perf_counter() - middle)
        child.communicate("")
    medians = {name: statistics.median(each) for name, each in times.items()}
    for name, seconds in medians.items():
        print(f"{name:8} {seconds:6.2f} s for {given.count} prompts, {1000 * seconds / given.count:5.1f} ms each")
    print(f"ratio    {medians['flownb'] / medians['bare']:6.2f}")


if __name__ == "__main__":
    main()
