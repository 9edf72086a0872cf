"""How much an expression may do: its turns, the size of what it makes, and operations that look before they leap."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextvars import ContextVar
from typing import Any, Final, TypeVar

from jinja2.runtime import Undefined
from markupsafe import Markup

from flownb.templates.terms import LimitError, Limits

T = TypeVar("T")
MAX_BITS: Final = 100_000
"""The longest whole number, in bits."""
MAX_ITEMS: Final = 1_000_000
"""The longest list that an operation may make."""
MAX_WIDTH: Final = 100_000
"""The widest field of a format, in characters."""
_TOTAL: Final = 20
"""How many times `Limits.size` all that is made on the way may take together."""
_PERCENT: Final = re.compile(r"%(?:\(([^)]*)\))?[#0\- +]*(\*|\d+)?(?:\.(\*|\d+)?)?[hlL]?(.)", re.DOTALL)
_OPERATORS: Final[Mapping[str, Callable[[Any, Any], Any]]] = {  # Any: operators take whatever a template gives them.
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "**": operator.pow,
    "%": operator.mod,
}


class Budget:
    """What is left of the limits in one evaluation. Used by one thread only."""

    __slots__ = ("limits", "pattern_s", "spent", "turns")

    def __init__(self, limits: Limits) -> None:
        """Begin with all of it.

        Args:
            limits: What the evaluation may take.
        """
        self.limits = limits
        self.turns = limits.turns
        self.pattern_s = limits.pattern_s
        self.spent = 0

    def turn(self, count: int = 1) -> None:
        """Take turns; raise LimitError where there are not as many left."""
        self.turns -= count
        if self.turns < 0:
            raise LimitError(f"it takes more than {self.limits.turns:,} turns of loops and `range`")

    def spend(self, size: int) -> None:
        """Take `size` bytes for one value, before it is made where that can be known; raise LimitError if it is too much."""
        self.spent += size
        if size > self.limits.size or self.spent > self.limits.size * _TOTAL:
            raise LimitError(f"it makes more than {self.limits.size / 1_000_000:g} MB")

    def each(self, items: Iterable[T]) -> Iterator[T]:
        """Yield the items, a turn for each."""
        for item in items:
            self.turn()
            yield item

    def gather(self, items: Iterable[T]) -> list[T]:
        """Return the items as a list, a turn for each."""
        return list(self.each(items))

    def weigh(self, value: object) -> int:
        """Return about how many characters a value has as text; raise LimitError where that is more than may be made.

        Something missing in it raises its own error. What stands twice is counted twice, so that lists of the same lists of the same lists cannot hide their size.
        """
        if not isinstance(value, Mapping | Sequence | AbstractSet) or isinstance(value, str | bytes):
            return len(value) if isinstance(value, str | bytes) else 8
        total = 0
        stack: list[object] = [value]
        while stack:
            item = stack.pop()
            if isinstance(item, str | bytes):
                total += len(item)
            elif isinstance(item, Undefined):
                str(item)  # Raises the error that says what is missing.
            elif isinstance(item, Mapping):
                stack.extend(item.keys())
                stack.extend(item.values())
            elif isinstance(item, Sequence | AbstractSet) and not isinstance(item, range):
                stack.extend(item)
            total += 2
            if total + len(stack) > self.limits.size:
                raise LimitError(f"it makes more than {self.limits.size / 1_000_000:g} MB")
        return total

    def settle(self, value: object) -> object:
        """Return what an operation made as plain data, counted: lists for what yields its items one by one, no Markup."""
        if isinstance(value, str):
            self.spend(len(value))
            return str(value) if isinstance(value, Markup) else value
        if isinstance(value, list | tuple):
            self.spend(8 * len(value))
        elif isinstance(value, Iterator):
            gathered = self.gather(value)
            self.spend(8 * len(gathered))
            return gathered
        return value


BUDGET: Final[ContextVar[Budget]] = ContextVar("flownb_budget")
"""The budget of the evaluation under way in this thread."""


def _check_power(base: object, exponent: object) -> None:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * max(0, exponent) > MAX_BITS:
        raise LimitError(f"{exponent} is too large a power")


def _check_product(budget: Budget, left: object, right: object) -> None:
    if isinstance(left, int) and isinstance(right, int):
        if left.bit_length() + right.bit_length() > MAX_BITS:
            raise LimitError("the product is too large a number")
        return
    for items, count in ((left, right), (right, left)):
        if isinstance(items, str | bytes | bytearray) and isinstance(count, int):
            budget.spend(len(items) * max(0, count))
        elif isinstance(items, Sequence) and isinstance(count, int):
            budget.spend(8 * len(items) * max(0, count))


def _check_sum(budget: Budget, left: object, right: object) -> None:
    if isinstance(left, str | bytes) and isinstance(right, str | bytes):
        budget.spend(len(left) + len(right))
    elif isinstance(left, Sequence) and isinstance(right, Sequence):
        budget.spend(8 * (len(left) + len(right)))


def operate(sign: str, left: object, right: object) -> object:
    """Work out `left sign right`, unless the result would be too large.

    Args:
        sign: One of `+ - * / // ** %`.
        left: What stands on the left.
        right: What stands on the right.

    Raises:
        LimitError: The result would be too large.
    """
    budget = BUDGET.get()
    if isinstance(left, Markup):
        left = str(left)
    match sign:
        case "+":
            _check_sum(budget, left, right)
        case "*":
            _check_product(budget, left, right)
        case "**":
            _check_power(left, right)
        case "%" if isinstance(left, str | bytes | bytearray):
            return fill(left, right)
    return _OPERATORS[sign](left, right)


def counted_range(*arguments: int) -> range:
    """Return `range(…)`, unless it is longer than the turns that are left; what goes through it takes them."""
    made = range(*arguments)
    if len(made) > (left := BUDGET.get().turns):
        raise LimitError(f"a range of {len(made):,} numbers is too long: {left:,} turns are left")
    return made


def fill(form: str | bytes | bytearray, values: object) -> str:
    """Return `form % values`, unless the result would be too large.

    Raises:
        LimitError: A width is too large, or the result would be.
    """
    if not isinstance(form, str):
        raise LimitError("only text can be filled with `%`")
    budget = BUDGET.get()
    size = len(form) + budget.weigh(values)
    for key, width, precision, _ in _PERCENT.findall(form):
        for number in (width, precision):
            if number == "*" or len(number) > len(str(MAX_WIDTH)) or int(number or 0) > MAX_WIDTH:
                raise LimitError(f"a field of {number} characters is too wide")
            size += int(number or 0)
        if key and isinstance(values, Mapping) and key in values:
            size += budget.weigh(values[key])
    budget.spend(size)
    return str(form) % values


_BOUND: Final = (str, bytes, bytearray, int)


def _width(text: Any, arguments: Sequence[Any]) -> int:  # Any: whatever a template hands to a method of text.
    return max(len(text), int(arguments[0])) if arguments else len(text)


def _tabs(text: Any, arguments: Sequence[Any]) -> int:
    tab = b"\t" if isinstance(text, bytes | bytearray) else "\t"
    return len(text) + int(text.count(tab)) * (int(arguments[0]) if arguments else 8)


def _replaced(text: Any, arguments: Sequence[Any]) -> int:
    if len(arguments) < 2:  # noqa: PLR2004 the old and the new
        return len(text)
    count = int(text.count(arguments[0]))
    most = int(arguments[2]) if arguments[2:] else -1
    return len(text) + (min(count, most) if most >= 0 else count) * len(arguments[1])


def _joined(text: Any, arguments: Sequence[Any]) -> int:
    parts = arguments[0] if arguments else ()
    return sum(len(part) + len(text) for part in parts)


def _translated(text: Any, arguments: Sequence[Any]) -> int:
    table = arguments[0] if arguments else {}
    longest = (
        max((len(new) for new in table.values() if isinstance(new, str)), default=1)
        if isinstance(table, Mapping)
        else 1
    )
    return len(text) * max(1, longest)


def _bytes(_number: Any, arguments: Sequence[Any]) -> int:
    return int(arguments[0]) if arguments else 1


_SIZES: Final[Mapping[str, Callable[[Any, Sequence[Any]], int]]] = {
    "ljust": _width,
    "rjust": _width,
    "center": _width,
    "zfill": _width,
    "expandtabs": _tabs,
    "replace": _replaced,
    "join": _joined,
    "translate": _translated,
    "to_bytes": _bytes,
}


def check_call(function: object, arguments: Sequence[object], named: Mapping[str, object]) -> tuple[object, ...]:
    """Return the arguments for a function, after a look at whether its result would be too large.

    Args:
        function: What is called; only methods of text, bytes and whole numbers are looked at.
        arguments: Its arguments by position.
        named: Its arguments by name.

    Raises:
        LimitError: The result would be too large.
    """
    owner, name = getattr(function, "__self__", None), getattr(function, "__name__", "")
    size = _SIZES.get(name) if isinstance(owner, _BOUND) else None
    if size is None:
        return tuple(arguments)
    budget = BUDGET.get()
    plain = tuple(budget.gather(item) if name == "join" and isinstance(item, Iterable) else item for item in arguments)
    budget.spend(size(owner, [*plain, *named.values()]))
    return plain
