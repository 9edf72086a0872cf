"""The modules that Python code imports by name, as its text says."""

from __future__ import annotations

import ast
import re
import warnings
from functools import lru_cache
from typing import Final

_LINE: Final = re.compile(r"^\s*(?:import|from)\s+([^\W\d]\w*)", re.MULTILINE)


@lru_cache(maxsize=2048)
def imported(code: str) -> tuple[str, ...]:
    """Return the outermost names of what some code imports, sorted: `os` for `import os.path`. Relative imports name none.

    Of code that is no Python by itself (it holds `!ls`, say) the lines that begin with an import count.
    """
    if "import" not in code:
        return ()
    try:
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return tuple(sorted(set(_LINE.findall(code))))
    found: set[str] = set()
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                found.update(name.name.partition(".")[0] for name in names)
            case ast.ImportFrom(module=str() as module, level=0):
                found.add(module.partition(".")[0])
            case _:
                pass
    return tuple(sorted(found))
