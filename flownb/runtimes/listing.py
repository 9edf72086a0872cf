"""Which runtimes there are, where each comes from, and what it lacks."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution, requires
from typing import Final

from flownb.runtimes.registry import RUNTIMES, Registry, RuntimeEntry

_PACKAGE: Final = "flownb"
_REQUIREMENT: Final = re.compile(r"""\s*([\w.-]+).*\bextra\s*==\s*['"]([\w.-]+)['"]""")
"""A line of a package's metadata: name of the other package, and the extra that brings it."""


@dataclass(frozen=True, slots=True)
class ListedRuntime:
    """One kind of node."""

    name: str
    """Its name."""
    aliases: tuple[str, ...]
    """Other words for it."""
    source: str
    """The package that brings it, with its version."""
    extra: str
    """The pip extra that it needs, or that some of its properties need; empty: none."""
    is_optional: bool
    """Whether it runs without the extra, but for those properties."""
    missing: tuple[str, ...]
    """Packages of the extra that are not installed."""


def list_runtimes(registry: Registry) -> list[ListedRuntime]:
    """Return all kinds of node, flownb's own first, then those of other packages by name. Looks at what is installed.

    Args:
        registry: As `load_registry` gives it; what is wrong with other packages stands in its `problems`.
    """
    own = f"{_PACKAGE} {distribution(_PACKAGE).version}"
    found = []
    for name, kind in registry.kinds.items():
        entry = RUNTIMES.get(name, RuntimeEntry("")) if name not in registry.sources else RuntimeEntry("")
        extra = entry.extra or entry.optional
        source = registry.sources.get(name, own)
        found.append(ListedRuntime(name, kind.ALIASES, source, extra, not entry.extra, missing_packages(extra)))
    return found


def missing_packages(extra: str) -> tuple[str, ...]:
    """Return the packages that an extra of flownb brings and that are not installed.

    Args:
        extra: The extra; empty: none.
    """
    wanted = _brought_by(extra, requires(_PACKAGE) or ()) if extra else []
    return tuple(name for name in wanted if not _is_installed(name))


def _brought_by(extra: str, lines: Iterable[str]) -> list[str]:
    """Return the packages that an extra brings, by the lines of a package's metadata."""
    matches = (_REQUIREMENT.match(line) for line in lines)
    return [match[1] for match in matches if match and match[2] == extra]


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True
