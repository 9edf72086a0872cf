"""Measure flownb and print a table: `python -m tests.benchmarks [--repeat N] [--quick] [--dir FOLDER]`.

The limit and flownb take turns in one process, so that what else the machine does hits both; each number is a median.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tests.benchmarks import documents, limit
from tests.benchmarks.apart import import_s, items_cost
from tests.benchmarks.measure import Cost, parse_s, run_once

SIZES = (100, 1000)


Shape = Callable[[int, str], str]
"""Count and what ids begin with → the document. Its nth node gives n."""
_fresh = (f"r{number}_" for number in itertools.count())
"""Ids that no document had before, so that nothing is compiled already."""


@dataclass(slots=True)
class Series:
    """What was measured for one shape and count, one entry a repetition."""

    chain_s: list[float] = field(default_factory=list)
    """The limit of a chain, just before."""
    fan_out_s: list[float] = field(default_factory=list)
    """The limit of a fan-out, just before."""
    costs: list[Cost] = field(default_factory=list)
    """What flownb took."""

    @property
    def seconds(self) -> float:
        """The median time."""
        return statistics.median(cost.seconds for cost in self.costs)

    @property
    def size_bytes(self) -> float:
        """The median size."""
        return statistics.median(cost.size_bytes for cost in self.costs)

    @property
    def ratio(self) -> float:
        """The median of how many times the chain limit beside it each repetition took."""
        return statistics.median(cost.seconds / base for cost, base in zip(self.costs, self.chain_s, strict=True))


SHAPES: Final[Mapping[str, Shape]] = {
    "chain, expr": lambda count, name: documents.chain(count, "expr", name),
    "chain, python": lambda count, name: documents.chain(count, "python", name),
    "fan-out, expr": lambda count, name: documents.fan_out(count, "expr", name),
    "fan-out, python": lambda count, name: documents.fan_out(count, "python", name),
    "fan-out, expr, 10 at once": lambda count, name: documents.fan_out(count, "expr", name, 10),
}
"""What is measured."""


def cost_of(shape: Shape, folder: Path, count: int) -> Cost:
    """Run one document of a shape."""
    name = next(_fresh)
    return run_once(
        shape(count, name), folder, lambda run: all(run[f"{name}{number}"] == number for number in range(count))
    )


def measured(shape: Shape, folder: Path, count: int, repeat: int) -> Series:
    """Let the limit and flownb take turns."""
    series = Series()
    for _ in range(repeat):
        series.chain_s.append(limit.chain_s(folder, count))
        series.fan_out_s.append(limit.fan_out_s(folder, count))
        series.costs.append(cost_of(shape, folder, count))
    return series


def compare(folder: Path, repeat: int) -> None:
    """Print chains and fan-outs against the limit."""
    found: dict[str, dict[int, Series]] = {}
    for name, shape in SHAPES.items():
        cost_of(shape, folder, 20)
        found[name] = {count: measured(shape, folder, count, repeat) for count in SIZES}
    print("| shape | nodes | ms a node | x chain limit | bytes a node |")
    print("|---|--:|--:|--:|--:|")
    for count in SIZES:
        chains = [took for series in found.values() for took in series[count].chain_s]
        fans = [took for series in found.values() for took in series[count].fan_out_s]
        pairs = [fan / chain for fan, chain in zip(fans, chains, strict=True)]
        print(f"| limit: chain | {count:,} | {statistics.median(chains) / count * 1e3:.3f} | 1.00 | 300 |")
        together = f"{statistics.median(fans) / count * 1e3:.3f} | {statistics.median(pairs):.2f}"
        print(f"| limit: fan-out | {count:,} | {together} | 300 |")
    for name, by_count in found.items():
        for count, series in by_count.items():
            each = f"{series.seconds / count * 1e3:.3f} | {series.ratio:.2f} | {series.size_bytes / count:,.0f}"
            print(f"| {name} | {count:,} | {each} |")
    print("\nGrowth from 100 to 1,000 nodes (goal: at most 11 x):")
    for name, by_count in found.items():
        few, many = by_count.values()
        print(f"- {name}: time {many.seconds / few.seconds:.1f} x, bytes {many.size_bytes / few.size_bytes:.1f} x")


def print_parse(repeat: int) -> None:
    """Print what parse and plan cost."""
    took = {
        count: statistics.median(parse_s(documents.chain(count, "expr", next(_fresh))) for _ in range(repeat))
        for count in (100, 1000, 10_000)
    }
    print("\nParse and plan of a chain:")
    for count, seconds in took.items():
        print(f"- {count:,} nodes: {seconds:.3f} s, {seconds / count * 1e3:.3f} ms a node")
    print(f"- growth per decade: {took[1000] / took[100]:.1f} x, {took[10_000] / took[1000]:.1f} x")


def print_items(folder: Path) -> None:
    """Print what `foreach` costs."""
    print("\n`foreach`, each in a process of its own:")
    costs = {count: items_cost(count, folder) for count in (1000, 10_000)}
    for count, cost in costs.items():
        memory = f"{cost.memory_before_mib:.0f} → {cost.memory_mib:.0f} MiB at most"
        print(f"- {count:,} items: {cost.seconds:.2f} s, {cost.seconds / count * 1e3:.3f} ms an item, "
              f"{cost.size_bytes:,} bytes, {memory}")  # fmt: skip
    few, many = costs.values()
    print(f"- growth: time {many.seconds / few.seconds:.1f} x, bytes {many.size_bytes / few.size_bytes:.1f} x")


def print_imports(repeat: int) -> None:
    """Print what imports cost."""
    print("\nImport, in new processes:")
    for statement in ("import flownb", "import flownb; flownb.run", "import flownb.cli.commands"):
        print(f"- `{statement}`: {import_s(statement, repeat) * 1e3:.0f} ms")


def main() -> None:
    """Measure what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5, help="how often each is measured (default: 5)")
    parser.add_argument("--quick", action="store_true", help="chains and fan-outs only")
    parser.add_argument("--dir", type=Path, default=Path.cwd(), help="where it writes: a disk like the one you use")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.dir, prefix=".bench-") as name:
        compare(Path(name), arguments.repeat)
        if not arguments.quick:
            print_parse(min(arguments.repeat, 3))
            print_items(Path(name))
            print_imports(arguments.repeat)


if __name__ == "__main__":
    main()
