"""Which files the nodes of a document may use: those in its folder and in `allow_paths` (format.md, section 7.2)."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from glob import has_magic
from pathlib import Path

from flownb.errors import NodeError


def find_files(
    pattern: str, folder: Path, allowed: Sequence[str], owner: str, itself: Path | None = None
) -> list[Path]:
    """Return the files that a path or glob names, in the order of their names; of a folder all that are in it. Blocks.

    Hidden ones only where it names them, and not the document itself: its log changes with every run.

    Args:
        pattern: A path or a glob, from the document's folder on; a file that has wildcards in its name is itself.
        folder: The document's folder.
        allowed: `allow_paths`.
        owner: The property that names it, for messages.
        itself: The document; None: there is no file of it.

    Raises:
        NodeError: It lies outside, symbolic links resolved, or cannot be looked for.
    """
    try:
        found = list(_named(pattern, folder))
        check_inside((folder / fixed_part(pattern), *found), pattern, folder, allowed, owner)
        own = itself.resolve() if itself else None
        return [path for path in found if path.resolve() != own]
    except (OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise NodeError(
            f"{owner}: {pattern} cannot be looked for: {error}", "write a path or a glob, as `data/*.csv`"
        ) from None


def check_inside(paths: Iterable[Path], named: str, folder: Path, allowed: Sequence[str], owner: str) -> None:
    """Refuse paths that lie, symbolic links resolved, outside the document's folder and `allow_paths`. Blocks.

    Args:
        paths: Where something is, or is to be.
        named: What the document says.
        folder: The document's folder.
        allowed: `allow_paths`.
        owner: The property that names it, for messages.

    Raises:
        NodeError: One lies outside.
        OSError: It cannot be looked at.
        RuntimeError: Symbolic links form a circle.
        ValueError: It is no path.
    """
    roots = [folder.resolve(), *((folder / name).resolve() for name in allowed)]
    for path in paths:
        real = path.resolve()
        if any(real.is_relative_to(root) for root in roots):
            continue
        shown = named if path == folder / fixed_part(named) else f"{path} ({named})"
        raise NodeError(
            f"{owner}: {shown} is outside the document's folder",
            f"move it there, or name its folder in the front matter: `allow_paths: [{real.parent}]`",
        )


def is_glob(pattern: str, folder: Path) -> bool:
    """Return whether a text names files by wildcards, and is not itself the name of one. Blocks."""
    return has_magic(pattern) and not os.path.lexists(folder / pattern)


def fixed_part(pattern: str) -> str:
    """Return what of a glob stands before its first wildcard, in whole parts."""
    parts: list[str] = []
    for part in Path(pattern).parts:
        if has_magic(part):
            break
        parts.append(part)
    return str(Path(*parts))


def _named(pattern: str, folder: Path) -> Iterator[Path]:
    path = folder / pattern
    if path.exists() or not has_magic(pattern):
        yield from (inner for inner in ([path] if path.is_file() else sorted(path.rglob("*"))) if inner.is_file())
        return
    base = fixed_part(pattern)
    rest = str(Path(pattern).relative_to(base))
    names_hidden = any(part.startswith(".") for part in Path(rest).parts)
    for inner in sorted((folder / base).glob(rest)):
        hidden = any(part.startswith(".") for part in inner.relative_to(folder / base).parts)
        if inner.is_file() and (names_hidden or not hidden):
            yield inner
