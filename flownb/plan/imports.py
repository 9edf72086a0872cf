"""The modules that Python code imports by name, as its text says."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_IMPORT: Final = re.compile(
    r"(?:^|[;:])[ \t]*(?:from[ \t]+(?P<one>[^\W\d]\w*)[\w.]*[ \t]+import\b|import[ \t]+(?P<all>[^\W\d][^;#\n]*))",
    re.MULTILINE,
)
_NAME: Final = re.compile(r"\s*([^\W\d]\w*)")


@lru_cache(maxsize=2048)
def imported(code: str) -> tuple[str, ...]:
    """Return the outermost names of what some code imports, sorted: `os` for `import os.path`. Relative imports name none.

    It goes by the text, as what only a notebook knows (`!ls`) is no Python. A line in a long text that reads like an import counts
    as one, which does no harm.
    """
    if "import" not in code:
        return ()
    found: set[str] = set()
    for match in _IMPORT.finditer(code):
        parts = [match["one"]] if match["one"] else match["all"].split(",")
        found.update(name[1] for part in parts if (name := _NAME.match(part)))
    return tuple(sorted(found))
