"""The names that every node reads, in its body and its properties, each with its place."""

from __future__ import annotations

import builtins
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from flownb.model.nodes import BodyKind, Leaf, Use
from flownb.parse.bodies import check_head, check_json, check_yaml
from flownb.parse.drafts import Draft, known_values
from flownb.parse.fields import Fields, expression_text
from flownb.parse.found import Found, collected, problem, warning
from flownb.parse.keys import EXPRESSION_KEYS
from flownb.parse.python_names import PythonSyntaxError, ReadName, python_names
from flownb.parse.sql import sql_uses
from flownb.templates.expressions import (
    RESERVED_NAMES,
    ExpressionSyntaxError,
    Name,
    Target,
    check_quotes,
    expression_names,
    is_template,
    template_names,
    uses_raw,
)
from flownb.templates.request import split_request
from flownb.text.codes import Code
from flownb.text.yaml import Value

_TARGETS: Final = {"bash": Target.SHELL, "json": Target.JSON, "yaml": Target.JSON, "sql": Target.SQL}
_SKIPPED: Final = frozenset({*dir(builtins), "get_ipython"})
"""Names that are no node's unless one is called so: Python's own, and what IPython's rewriting of `!ls` reads."""
_MAX_CODE: Final = 50_000
"""The most characters of expressions in one text."""
_LINE: Final = re.compile(r"\bline ([0-9]+)\b")
"""Where Python's own message names another line."""
PYTHON_NAMES: Final = frozenset(name for name in dir(builtins) if not name.startswith("_"))
"""Python's own names."""
_CODE: Final = re.compile(r"\{[{%].*?(?:[%}]\}|\Z)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Reads:
    """The names that a draft reads."""

    uses: tuple[Use, ...] = ()
    """Each name with its place."""
    loose: frozenset[str] = frozenset()
    """Names that its python body may get by `from x import *`."""


@dataclass(frozen=True, slots=True)
class Reader:
    """Finds the names that drafts read, and reports what is wrong in expressions, templates and bodies."""

    by_id: Mapping[str, Draft]
    """Every node and group of the document by its id."""
    transform: Callable[[str], str] | None
    """IPython's rewriting of a cell; None outside a notebook."""

    def reads(self, draft: Draft, fields: Fields) -> Found[Reads]:
        """Return the names that a draft reads."""
        uses: list[Use] = []
        values = known_values(draft)
        for key in sorted(values):
            value = values[key]
            if key == "needs":
                uses += _needs(value) if fields.policy.needs is not None else ()
            elif key == "files" and fields.policy.files:
                for part in _texts(value):
                    uses += yield from self.template(key, part)
            elif key in EXPRESSION_KEYS and not (key == "when" and fields.policy.when is None):
                uses += yield from self.expression(key, value)
            elif draft.kind and key in fields.own and key not in draft.kind.LITERALS:
                given = draft.kind.OWN_NAMES.get(key, frozenset())
                for part in _texts(value):
                    is_bare = draft.kind.is_expression(key, part.data if isinstance(part.data, str) else "")
                    read = self.expression if is_bare else self.template
                    uses += [use for use in (yield from read(key, part)) if use.name not in given]
        if draft.body is None or draft.kind is None or draft.is_cut:
            return Reads(tuple(uses))
        in_body = yield from self.body(draft, draft.kind, draft.body)
        return Reads((*uses, *in_body.uses), in_body.loose)

    def body(self, draft: Draft, kind: type[Leaf], body: Value) -> Found[Reads]:
        """Return the names that a draft's body reads."""
        uses: list[Use] = []
        match kind.BODY:
            case BodyKind.PYTHON:
                return (yield from self.python(draft, body))
            case BodyKind.EXPRESSION:
                if isinstance(body.data, str) and not body.data.strip():
                    what = f"node '{draft.id}' is of type {draft.title}, and its body is empty"
                    yield problem(Code.MISSING_BODY, what, body.span, "write an expression, as `a.total`")
                uses = yield from self.expression("body", body)
            case BodyKind.TEMPLATE:
                for part, target in _templates(draft.title, body):
                    read, found = collected(self.template("body", part, target))
                    uses += read
                    yield from found
                    if all(item.code is Code.RAW for item in found):
                        yield from self.data(draft, part, target)
                if draft.title == "sql":
                    uses = yield from sql_uses(draft, body, uses, self.by_id)
            case BodyKind.NONE:
                pass
        return Reads(tuple(uses))

    def expression(self, key: str, value: Value) -> Found[list[Use]]:
        """Return the names of a bare expression."""
        text = expression_text(value)
        if not isinstance(value.data, str):
            value = Value(text, value.span, value.raw, value.span if text == value.raw else None)
        stripped = text.strip()
        if not text or (stripped.startswith("{{") and stripped.endswith("}}") and key != "body"):
            return []
        return (yield from self._names(key, value, lambda: expression_names(text))) or []

    def template(self, key: str, value: Value, target: Target = Target.TEXT) -> Found[list[Use]]:
        """Return the names of a template."""
        text = value.data if isinstance(value.data, str) else ""
        if not is_template(text, target):
            return []
        uses = yield from self._names(key, value, lambda: template_names(text, target))
        if uses is None:
            return []
        if target is not Target.TEXT and "raw" in text and uses_raw(text, target):
            line, column = _place_of_raw(text)
            what = "`| raw` switches the quoting off: what the value holds becomes part of the text as it is"
            hint = "leave it out, unless the value comes from you alone"
            yield warning(Code.RAW, what, value.place(line, column, 3), hint)
        for error in check_quotes(text, target):
            place = value.place(error.line, error.column, 2)
            yield problem(Code.QUOTED_INSERTION, error.message, place, error.hint)
        return uses

    def _names(self, key: str, value: Value, read: Callable[[], tuple[Name, ...]]) -> Found[list[Use] | None]:
        """Return the names that a text reads, each once; None where it cannot be read, which is reported."""
        text = value.data if isinstance(value.data, str) else ""
        size = sum(len(code[0]) for code in _CODE.finditer(text)) if is_template(text) else len(text)
        if size > _MAX_CODE:
            what = f"{size:,} characters of expressions stand in one text; at most {_MAX_CODE:,} are read"
            yield problem(Code.TOO_LARGE, what, value.span, "work with data in a python node, or repeat with {% for %}")
            return None
        try:
            names = read()
        except ExpressionSyntaxError as error:
            owner = "" if key == "body" else f"in '{key}': "
            yield problem(Code.EXPRESSION, f"{owner}{error.message}", value.place(error.line, error.column), error.hint)
            return None
        first = {(name.name, name.attribute, name.guarded): name for name in reversed(names)}
        return [
            Use(
                name=name.name,
                attribute=name.attribute,
                field=key,
                span=value.place(name.line, name.column, len(name.name)),
                guarded=name.guarded,
            )
            for name in reversed(first.values())
        ]

    def data(self, draft: Draft, body: Value, target: Target) -> Found[None]:
        """Report a body, or a part of one, that is no data or no request, where its templates let that be seen."""
        text = body.data if isinstance(body.data, str) else ""
        if target is Target.HTTP:
            yield from check_head(text, body)
        elif target is Target.JSON:
            yield from (check_yaml if draft.title == "yaml" else check_json)(text, body)

    def python(self, draft: Draft, body: Value) -> Found[Reads]:
        """Return the names that a python body reads."""
        source = body.data if isinstance(body.data, str) else ""
        try:
            code = self.transform(source) if self.transform else source
            found = python_names(code)
        except PythonSyntaxError as error:
            yield from self._python_error(source, error, body)
            return Reads()
        except SyntaxError as error:
            yield from self._python_error(
                source, PythonSyntaxError(error.msg, error.lineno or 1, error.offset or 1), body
            )
            return Reads()
        uses: list[Use] = []
        seen: set[tuple[str, str | None]] = set()
        for read in found.reads:
            if read.name in PYTHON_NAMES and read.name in self.by_id:
                is_node = yield from self._means_node(read, draft, body)
                if not is_node:
                    continue
            is_known = read.name in self.by_id or read.name in RESERVED_NAMES
            if (read.name, read.attribute) not in seen and (is_known or read.name not in _SKIPPED):
                seen.add((read.name, read.attribute))
                uses.append(_use(read, body))
        for read in found.shadowed:
            if read.name in self.by_id:
                yield warning(
                    Code.ASSIGNED_NODE,
                    f"the body assigns '{read.name}' itself, so this is not the value of node '{read.name}'",
                    body.place(read.line, read.column, len(read.name)),
                    f"give the new value another name, as `{read.name}_2`",
                )
        return Reads(
            tuple(uses), frozenset(read.name for read in found.reads) if found.has_star_import else frozenset()
        )

    def _means_node(self, read: ReadName, draft: Draft, body: Value) -> Found[bool]:
        """Return whether a name of Python's own means a node here, not so in this node and those around it; warn of it."""
        found = self.by_id[read.name]
        is_node = found is not draft and found not in draft.around() and not found.is_plain_group
        line = found.name.span.line
        what = f"'{read.name}' here is Python's own, not the heading of line {line}"
        if is_node:
            what = f"'{read.name}' here is the node of line {line}, which hides Python's own"
        hint = f"give the node another id at its heading's end, as `{{#{read.name}_2}}`"
        yield warning(Code.PYTHON_NAME, what, body.place(read.line, read.column, len(read.name)), hint)
        return is_node

    def _python_error(self, source: str, error: PythonSyntaxError, body: Value) -> Found[None]:
        lines = source.split("\n")
        line = lines[error.line - 1] if 0 < error.line <= len(lines) else ""
        code = line.lstrip()
        where = body.place(error.line, min(error.column, len(line) + 1))
        if self.transform is None and (code.startswith(("!", "%")) or "= !" in code or "= %" in code):
            mark = "!" if code.startswith("!") or "= !" in code else "%"
            column = line.index(mark) + 1
            what = f"`{mark}` works only in a notebook, and this is a file"
            hint = "put the command into a bash node" if mark == "!" else "write it as plain Python"
            yield problem(Code.NOTEBOOK_ONLY, what, body.place(error.line, column), hint)
            return
        message = _LINE.sub(lambda found: f"line {body.place(int(found[1]), 1).line}", error.message)
        yield problem(Code.PYTHON_SYNTAX, f"this is not Python: {message}", where)


def _use(read: ReadName, body: Value) -> Use:
    return Use(name=read.name, attribute=read.attribute, span=body.place(read.line, read.column, len(read.name)))


def _templates(title: str, body: Value) -> list[tuple[Value, Target]]:
    """Return the templates that a body is made of, with where their values go."""
    if title != "http" or not isinstance(body.data, str):
        return [(body, _TARGETS.get(title, Target.TEXT))]
    return [(replace(body, data=part), target) for part, target in split_request(body.data).templates()]


def _needs(value: Value) -> list[Use]:
    parts = list(value.parts.values()) or [value]
    return [
        Use(name=unicodedata.normalize("NFKC", part.data), field="needs", span=part.span)
        for part in parts
        if isinstance(part.data, str)
    ]


def _texts(value: Value) -> Iterator[Value]:
    """Yield the texts in a value, to any depth."""
    if value.parts:
        for part in value.parts.values():
            yield from _texts(part)
    elif value.data is not None:
        yield value


def _place_of_raw(text: str) -> tuple[int, int]:
    """Return line and column, counted from 1, of the word `raw` behind a bar."""
    for number, line in enumerate(text.split("\n"), 1):
        bar = line.find("|")
        while bar >= 0:
            rest = line[bar + 1 :]
            if rest.lstrip(" -").startswith("raw"):
                return number, bar + 1 + rest.index("raw") + 1
            bar = line.find("|", bar + 1)
    return 1, 1
