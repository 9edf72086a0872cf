"""Jinja's sandbox as flownb needs it: exact places, nothing folded at compile time, every operation within limits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from types import BuiltinMethodType, ModuleType
from typing import Any, ClassVar, Final, NoReturn
from uuid import uuid4

from jinja2 import StrictUndefined, TemplateSyntaxError, nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.lexer import TokenStream
from jinja2.runtime import Context, LoopContext, Macro, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment, SandboxedFormatter
from jinja2.utils import missing

from flownb.templates.filters import filters, to_json, to_text
from flownb.templates.limits import BUDGET, MAX_WIDTH, check_call, counted_range, operate
from flownb.templates.sent import to_field, to_line
from flownb.templates.shell.value import to_slot
from flownb.templates.sql.value import Bound
from flownb.templates.terms import LimitError, MissingError

CALLABLES: Final = ("range", "dict", "cycler", "joiner", "namespace", "now", "uuid")
"""What a template may call without anybody defining it."""
_NO_COMMENT: Final = "\uffff{\uffff#"
"""What begins a comment where there are none: no text holds these characters, which Unicode leaves to programs."""
NO_ELSE: Final = "the `if` is false and has no `else`"
"""What is wrong where something is done with what an `if` without `else` comes to."""
_MUTATING: Final = frozenset({"intersection_update", "move_to_end", "subtract"})


class Missing(StrictUndefined):
    """Stands for what is not there; raises MissingError when it is used."""

    __slots__ = ()

    def _fail_with_undefined_error(self, *_arguments: Any, **_named: Any) -> NoReturn:  # Any: as Jinja's.
        message = self._undefined_hint or ""
        if message and not message.startswith("parameter "):
            raise self._undefined_exception(message)
        raise MissingError(self._undefined_name, self._undefined_obj, message)

    __iter__ = __str__ = __len__ = __bool__ = __hash__ = __contains__ = _fail_with_undefined_error
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _fail_with_undefined_error
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _fail_with_undefined_error
    __truediv__ = __rtruediv__ = __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = _fail_with_undefined_error
    __pow__ = __rpow__ = __pos__ = __neg__ = __call__ = __getitem__ = _fail_with_undefined_error
    __int__ = __float__ = __complex__ = __index__ = _fail_with_undefined_error


def present(value: object) -> object:
    """Return the value; raise MissingError if it stands for something missing. An `if` without `else` is null."""
    if isinstance(value, Undefined):
        if isinstance(value, Missing):
            value._fail_with_undefined_error()  # noqa: SLF001 our own method
        return None
    return value


class _Formatter(SandboxedFormatter):
    """`str.format` that looks at widths and at the size of the result."""

    def convert_field(self, value: Any, conversion: Any) -> Any:  # Any: as the method it overrides.
        """Return `value` after `!r` or `!s`."""
        BUDGET.get().weigh(value)
        return super().convert_field(value, conversion)

    def format_field(self, value: Any, format_spec: str) -> Any:  # Any: as the method it overrides.
        """Return one field's text."""
        if any(len(number) > len(str(MAX_WIDTH)) for number in re.findall(r"\d+", format_spec)):
            raise LimitError(f"a field of {format_spec} is too wide")
        budget = BUDGET.get()
        budget.weigh(value)
        text = format(value, format_spec)
        budget.spend(len(text))
        return text


class _Generator(CodeGenerator):
    """Writes the Python of a template without working out anything in it beforehand."""

    def _output_child_to_const(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> str:
        if not isinstance(node, nodes.TemplateData):
            raise nodes.Impossible
        return super()._output_child_to_const(node, frame, finalize)

    def _output_child_pre(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:
        """Leave out Jinja's `str(`: the filters of `_PUT` make text, and a lone expression keeps its type."""

    def _output_child_post(self, node: nodes.Expr, frame: Frame, finalize: CodeGenerator._FinalizeInfo) -> None:
        """Leave out the other end of Jinja's `str(`."""

    def visit_CondExpr(self, node: nodes.CondExpr, frame: Frame) -> None:  # noqa: N802 as Jinja's visitor names it
        """Write `a if b else c`; Jinja's words for a missing `else` would name a wrong line."""
        for text, part in (("(", node.expr1), (" if ", node.test), (" else ", node.expr2)):
            self.write(text)
            if part is None:
                self.write(f"cond_expr_undefined({NO_ELSE!r})")
            else:
                self.visit(part, frame)
        self.write(")")

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 as Jinja's visitor names it
        """Write `a ~ b` so that its size is watched."""
        self.write("environment.join_parts((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")


class SandboxContext(Context):
    """The names of one evaluation; looks values up one by one, so that a lazy mapping stays lazy."""

    def resolve_or_missing(self, key: str) -> Any:  # Any: as the method it overrides.
        """Return a name's value: the template's own, then the values given, then what flownb offers."""
        if key in self.vars:
            return self.vars[key]
        try:
            return self.parent[key]
        except KeyError:
            return self.environment.globals.get(key, missing)


def _each(items: object) -> Iterator[object]:
    """Yield the items of a `for`, counting its turns."""
    return BUDGET.get().each(present(items))  # type: ignore[arg-type]  # What is not iterable raises its own error.


def _putting(to: Callable[[object], str]) -> Callable[[object], str]:
    """Return the filter that puts a value in as `to` makes it."""

    def put(value: object) -> str:
        text = to(present(value))
        BUDGET.get().spend(len(text))
        return text

    return put


class Sandbox(ImmutableSandboxedEnvironment):
    """The environment of every expression and template. Thread-safe once made.

    Tokens and nodes carry their offset in the text where Jinja keeps the line, so that places are exact.
    """

    code_generator_class = _Generator
    context_class = SandboxContext
    intercepted_binops: ClassVar[frozenset[str]] = frozenset({"+", "-", "*", "/", "//", "**", "%"})  # type: ignore[misc]

    def __init__(self, *, comments: bool = True) -> None:
        """Make the environment; takes about a millisecond.

        Args:
            comments: Whether `{#` begins a comment; in a bash body it is text, as in `${#x}`.
        """
        opening = "{#" if comments else _NO_COMMENT
        super().__init__(
            undefined=Missing,
            optimized=False,
            keep_trailing_newline=True,
            cache_size=0,
            comment_start_string=opening,
        )
        self.filters = {
            **filters(),
            "flownb text": _putting(to_text),
            "flownb shell": lambda value, offset, quote=False: to_slot(present(value), offset, quote=quote),
            "flownb json": _putting(to_json),
            "flownb http": _putting(to_line),
            "flownb form": _putting(to_field),
            "flownb sql": lambda value, offset: Bound(offset, present(value)),
            "flownb raw": _putting(to_text),
            "flownb each": _each,
            "flownb there": present,
        }
        self.globals = {
            **{name: offered for name, offered in self.globals.items() if name in CALLABLES},
            "range": counted_range,
            "now": lambda: datetime.now(UTC),
            "uuid": lambda: str(uuid4()),
        }

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """Join what a macro or a block made, unless it is too much."""
        budget, texts = BUDGET.get(), list(parts)
        budget.spend(sum(map(len, texts)))
        return "".join(texts)

    @staticmethod
    def join_parts(parts: Iterable[object]) -> str:
        """Return what `~` makes of its parts."""
        budget, texts = BUDGET.get(), []
        for part in parts:
            texts.append(to_text("" if type(part) is Undefined else part))
            budget.spend(len(texts[-1]))
        return "".join(texts)

    def _tokenize(
        self, source: str, name: str | None, filename: str | None = None, state: str | None = None
    ) -> TokenStream:
        return TokenStream(self.lexer.wrap(_with_offsets(self, source, state)), name, filename)

    def call_binop(self, _context: Context, sign: str, left: Any, right: Any) -> Any:  # Any: as the overridden.
        """Work out a binary operation within the limits."""
        return operate(sign, left, right)

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805, PYI063 named arguments may have any name
        """Call something, within the limits where that can be known."""
        budget = BUDGET.get()
        if isinstance(__obj, Macro):
            budget.turn()
        if type(__obj) is BuiltinMethodType:
            args = check_call(__obj, args, kwargs)
        elif isinstance(__obj, LoopContext) and args:
            args = (budget.each(args[0]), *args[1:])
        return budget.settle(super().call(__context, __obj, *args, **kwargs))

    def getattr(self, obj: Any, attribute: str) -> Any:  # Any: as the method it overrides.
        """Return a mapping's key before any method of it; of anything else its attribute."""
        if isinstance(obj, Mapping):
            if attribute in obj:
                return obj[attribute]
            if not hasattr(obj, attribute):  # A defaultdict would make the key up.
                return self.undefined(obj=obj, name=attribute)
        return super().getattr(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:  # Any: as the method it overrides.
        """Return an item; a mapping's methods are no items, and no mapping makes a key up."""
        if isinstance(obj, Mapping):
            try:
                return obj[argument] if argument in obj else self.undefined(obj=obj, name=argument)
            except TypeError:  # Unhashable.
                return self.undefined(obj=obj, name=argument)
        return super().getitem(obj, argument)

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:  # Any: as the method it overrides.
        """Return whether an attribute may be read: nothing private, nothing that changes data, no modules' functions."""
        return not isinstance(obj, ModuleType) and attr not in _MUTATING and super().is_safe_attribute(obj, attr, value)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:  # Any: as the method it overrides.
        """Return a safe stand-in for `str.format` and `str.format_map`; None for anything else."""
        if type(value) is not BuiltinMethodType or value.__name__ not in {"format", "format_map"}:
            return None
        form = value.__self__
        if not isinstance(form, str):
            return None
        vformat = _Formatter(self).vformat

        def formatted(*values: Any, **named: Any) -> str:  # Any: whatever a template gives.
            mapped = value.__name__ == "format_map"
            return vformat(str(form), () if mapped else values, values[0] if mapped and values else named)

        return formatted


def _with_offsets(sandbox: Sandbox, source: str, state: str | None) -> Iterator[tuple[int, str, str]]:
    """Yield the lexer's tokens with their offset in place of their line, and so its errors."""
    offset = 0
    try:
        for _line, kind, text in sandbox.lexer.tokeniter(source, None, None, state):
            found = source.find(text, offset)
            offset = found if found >= 0 else offset
            yield offset, kind, text
            offset += len(text)
        yield len(source.rstrip()), "eof", ""
    except TemplateSyntaxError as error:
        at = re.search(r" at (\d+)$", error.message or "")
        error.lineno = int(at[1]) if at else offset
        raise


@cache
def sandbox(*, comments: bool = True) -> Sandbox:
    """Return the one environment, made on first use.

    Args:
        comments: Whether `{#` begins a comment.
    """
    return Sandbox(comments=comments)
