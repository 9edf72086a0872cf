"""Coverage-guided fuzzing of the parser, run by hand: `make fuzz` (needs atheris); it stops at the first exception.

Any text must give a workflow or diagnostics, drawn without another exception, within 2 s. The texts that take longest for their
length are kept in `dist/slowest.txt`; `tests/fuzz_growth.py` looks for those whose time grows faster than they do.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["flownb.parse", "markdown_it", "yaml"]):
    from flownb.parse.workflow import diagnose
    from flownb.render.problems import render_problems

LIMIT_S = 2.0
"""The most CPU time one text may take."""

SLOWEST = Path("dist/slowest.txt")
"""Where the slowest texts go: the fuzzer never returns."""
_KEPT = 20
_FEW = 50
"""Shorter texts take most of their time to begin."""
_slowest: list[tuple[float, str]] = []


def note(text: str, seconds: float) -> None:
    """Keep a text that is among the slowest for its length."""
    each = seconds / max(len(text), _FEW) * 1e6
    if len(_slowest) < _KEPT or each > _slowest[-1][0]:
        _slowest.append((each, text))
        _slowest.sort(key=lambda one: -one[0])
        del _slowest[_KEPT:]
        SLOWEST.write_text("".join(f"{one:.1f} us a character: {shown!r}\n" for one, shown in _slowest), "utf-8")


def one_input(data: bytes) -> None:
    """Parse one text and draw its problems."""
    text = data.decode(errors="surrogatepass" if data[:1] == b"\xed" else "replace")
    started = time.process_time()
    workflow, problems = diagnose(text)
    render_problems(problems, text)
    if workflow is None and not problems:
        raise AssertionError("no workflow, and nothing said")
    seconds = time.process_time() - started
    note(text, seconds)
    if seconds > LIMIT_S * 4:  # Instrumented code is some four times slower.
        raise AssertionError("too slow")


def seeds(folder: Path) -> None:
    """Write every golden case into a folder, for the fuzzer to begin with."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in sorted((Path(__file__).parent / "golden").glob("*.md")):
        for number, case in enumerate(file.read_text(encoding="utf-8").split("\n.\n")[1::3]):
            (folder / f"{file.stem}-{number}").write_text(case, encoding="utf-8")


if __name__ == "__main__":
    seeds(Path(sys.argv[1]))
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
