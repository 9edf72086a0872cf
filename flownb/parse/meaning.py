"""The second pass: what drafts say, and the names that they read."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from flownb.model.nodes import Use
from flownb.parse.document import Document
from flownb.parse.drafts import Draft
from flownb.parse.fields import Fields, read_fields
from flownb.parse.found import Found
from flownb.parse.uses import Reader, Reads


@dataclass(frozen=True, slots=True)
class Meaning:
    """What one draft says."""

    fields: Fields
    """Its properties."""
    reads: Reads
    """The names that it reads."""


@dataclass(frozen=True, slots=True)
class Sense:
    """What a document says."""

    of: Mapping[Draft, Meaning]
    """Each node and group, in the document's order."""
    outputs: tuple[Use, ...]
    """The names that the document's outputs read."""

    def fallback(self, draft: Draft) -> str | None:
        """Return the id of the node that stands in for a draft when it fails."""
        return self.of[draft].fields.policy.fallback


def understand(document: Document, transform: Callable[[str], str] | None) -> Found[Sense]:
    """Return what a document says; `transform` is IPython's rewriting of a cell, None outside a notebook."""
    reader = Reader(document.outline.by_id, transform)
    meanings: dict[Draft, Meaning] = {}
    for draft in document.outline.walk():
        fields = yield from read_fields(draft, document.head.defaults)
        meanings[draft] = Meaning(fields, (yield from reader.reads(draft, fields)))
    outputs: list[Use] = []
    for name, value in (document.head.outputs or {}).items():
        outputs += yield from reader.expression(f"outputs.{name}", value)
    return Sense(meanings, tuple(outputs))
