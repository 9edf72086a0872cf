"""Looks for texts whose time grows faster than they do, run by hand: `make fuzz-growth`; it prints the slowest per byte.

A text is a beginning, a piece many times over, and an end. What takes the square of its length takes four times as long where the
piece stands twice as often: such texts are marked.
"""

from __future__ import annotations

import contextlib
import random
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Final

from flownb.parse.workflow import diagnose
from flownb.render.problems import render_problems

SIZE: Final = 40_000
"""How long a text is, in characters."""
LIMIT_S: Final = 20.0
"""The CPU seconds after which a text is given up."""
SHOWN: Final = 30
"""How many texts are shown."""
SQUARE: Final = 2.8
"""Grown by this for twice the length is more than in proportion."""
_MARKUP: Final = [
    *(" ", "\t", "a", "9", "e", "é", "\0", "\\", "\n", "\n\n", "\r", "\r\n", "\x0b", "\x85", "\u2028", "\u200d", "\u0301", "\ufb03"),
    *("#", "#b", " #", "`", "~", "-", "- ", "*", "* ", "_", "[", "]", "(", ")", "{", "}", "<", ">", "> ", "|", "|-", ":", ": ", "'", '"'),
    *("&", "&amp;", "!", "![", "](", "<!--", "-->", "<a", "1. ", "=", "===\n", "---\n", "***\n", "***\n\n", "x\n", "'\n", '"\n', "| a "),
    *("```\n", "```python\n", "```yaml env\n", "```x y\n", "~~~\n", "## A\n", "## A {#b}\n", "# x\n", "    ", "[a]: b\n"),
]  # fmt: skip
_CODE: Final = [
    *("x: y\n", "- a: b\n", "- retry: 3\n", "- needs: [a]\n", "- Retry: 3\n", "Retry: 3\n", "a: [", "? ", "!!a ", "&a ", "*a ", "%", "@"),
    *("{{", "}}", "{%", "%}", "{#", "#}", "{{ x }}", "{{ x }}\n", "{{ a.b }} ", "{% if x %}", "{% endif %}", "{% for x in y %}"),
    *("{% set a = 1 %}", "{{ 1 if ", "x and ", "x|upper", "x.y", "[1]", "not ", "-x", "+", "a b ", "a,", "a, ", "1:", "0x", "1."),
    *("(1,", "lambda:", "x=", "if x:\n", "$(", "<<A ", "<<A\n", "${"),
]  # fmt: skip
_BEGINNINGS: Final = [
    *("", "# a", "## ", "## A {#", "## A\n\n", "```", "## A\n\n```", "~~~", "| a |\n|---|\n", "> ", "<div>\n", "## A\n\n- x"),
    *("## A\n\n- ", "## A\n\n- retry: ", "## A\n\n- needs: [", "## A\n\n- when: ", "## A\n\n- env: ", "## A\n\n- env:\n    - "),
    *('## A\n\n- env: {X: "', "## A\n\n- type: ", "## A\n\n- as: ", "## A\n\n```yaml env\n"),
    *("## A\n\n```python\n", "## A\n\n```text\n", "## A\n\n```text\n{{ ", "## A\n\n```text\n{% if ", "## A\n\n```expr\n"),
    *("## A\n\n```json\n", "## A\n\n```yaml\n", "## A\n\n```bash\n", "---\n", "---\nname: ", "---\ninputs:\n  ", "---\ninputs: {a: "),
    *("---\noutputs: {a: ", "---\nsecrets: ["),
]  # fmt: skip
_ENDS: Final = [
    *("", "b", "\n", "}", "\n```\n", " }}\n```\n", "\n---\n## A\n\n```text\nx\n```\n", "\n\n```text\nx\n```\n"),
    *("]\n\n```text\nx\n```\n", '"}\n\n```bash\nx\n```\n'),
]  # fmt: skip


class _TooLongError(BaseException):
    """A text took more than LIMIT_S; no `except Exception` holds it up."""


@dataclass(frozen=True, slots=True)
class Pumped:
    """A text that can be made of any length."""

    beginning: str
    pieces: tuple[str, ...]
    end: str

    def text(self, size: int) -> str:
        """Return the text of about this many characters."""
        middle = "".join(self.pieces)
        return self.beginning + middle * max(1, size // len(middle)) + self.end


def seconds(text: str) -> float:
    """Return the CPU seconds that one text takes, at most LIMIT_S."""
    signal.setitimer(signal.ITIMER_VIRTUAL, LIMIT_S)
    started = time.process_time()
    with contextlib.suppress(_TooLongError):
        render_problems(diagnose(text)[1], text)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    return time.process_time() - started


def candidates(choose: random.Random) -> Iterator[Pumped]:
    """Yield every piece behind every beginning, then mixtures without end."""
    pieces = _MARKUP + _CODE
    single = list(product(_BEGINNINGS, pieces))
    choose.shuffle(single)
    for beginning, piece in single:
        yield Pumped(beginning, (piece,), choose.choice(_ENDS))
    while True:
        mixed = tuple(choose.choices(choose.choice((_MARKUP, pieces)), k=choose.randint(2, 5)))
        yield Pumped(choose.choice(_BEGINNINGS), mixed, choose.choice(_ENDS))


def _give_up(_number: int, _frame: object) -> None:
    raise _TooLongError


def main(limit_s: float, seed: int) -> None:
    """Measure texts for so many seconds and print the slowest."""
    signal.signal(signal.SIGVTALRM, _give_up)
    found: list[tuple[float, Pumped]] = []
    until = time.monotonic() + limit_s
    for count, pumped in enumerate(candidates(random.Random(seed))):  # noqa: S311 no secret
        if time.monotonic() > until:
            print(f"{count} texts of {SIZE:,} characters, seed {seed}")
            break
        text = pumped.text(SIZE)
        found.append((seconds(text) / len(text) * 1e6, pumped))
    for each, pumped in sorted(found, key=lambda one: -one[0])[:SHOWN]:
        half, whole = seconds(pumped.text(SIZE // 2)), seconds(pumped.text(SIZE))
        mark = "  SQUARE" if whole > max(0.1, half * SQUARE) else ""
        print(f"{each:8.2f} us a character, x{whole / max(half, 1e-3):.1f} for twice the length{mark}: {pumped}")


if __name__ == "__main__":
    main(float(sys.argv[1]), int(sys.argv[2]) if sys.argv[2:] else random.randrange(10**6))  # noqa: S311 no secret
