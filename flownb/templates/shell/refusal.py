"""Why no value can stand at some places of a bash script, and what to write there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why no value can stand at a place."""

    where: str
    """The place, as `inside single quotes`."""
    hint: str
    """What to write instead; `{}` is the value's `{{ … }}`."""


UNSURE: Final = Refusal(
    "where flownb cannot tell how bash would read it",
    'see whether the script is right here; if it is, write value={} in a line above, and "$value" here',
)
ARITHMETIC: Final = Refusal(
    "in arithmetic, where bash would evaluate it",
    "work it out in the expression, as {{ n + 1 }}; to compare, write [ {} -gt 1 ]",
)
COMPARISON: Final = Refusal(
    "in an arithmetic comparison, where bash would evaluate it", "compare with single brackets, as [ {} -gt 1 ]"
)
INDEX: Final = Refusal(
    "in an index, where bash would evaluate it", "take the item in the expression, as {{ items[0] }}"
)
BACKTICKS: Final = Refusal("inside backticks", "write $(…) in place of `…`")
SINGLE: Final = Refusal("inside single quotes", 'write double quotes around it, as "…{}…", or none')
HEREDOC: Final = Refusal("in a here-document whose end is quoted", "write its end without quotes, as <<EOF")
NAME: Final = Refusal("where a name stands", "write the name itself")
EXPANSION: Final = Refusal("inside ${…}", 'write value={} in a line above, and "$value" here')
AFTER_DOLLAR: Final = Refusal("after a $", "for a dollar sign write \\${}")
AFTER_BACKSLASH: Final = Refusal("after a backslash", "leave the backslash out")
DUPLICATE: Final = Refusal("behind `>&` or `<&`, where bash would evaluate it", "for a file write > {} 2>&1")
RANGE: Final = Refusal("in a range of braces, where bash does not see it", "write $(seq 1 {}), or use {% for %}")
TRANSLATED: Final = Refusal('inside $"…"', "leave the dollar sign out")
UNFOUND: Final = {
    "raw_string": SINGLE,
    "ansi_c_string": Refusal("inside $'…'", "write it behind them, as $'…'{}"),
    "comment": Refusal("in a comment", "leave it out: there it would be text"),
    "heredoc_body": HEREDOC,
    "heredoc_start": Refusal("in the word that ends a here-document", "write a word of your own, as EOF"),
}

RUNS: Final = "take it as an argument, as bash -c '… \"$1\" …' bash {}"
NUMBER: Final = Refusal(
    "where a whole number (`declare -i`) or a reference gets it: bash would evaluate it",
    "leave the `-i` out, or work it out in the expression, as {{ n + 1 }}",
)
DECLARED: Final = Refusal(
    "in the declaration of an array, where bash may evaluate it", "write the value in a line of its own, as name={}"
)
SPECIAL: Final = Refusal("in a variable that bash evaluates", "choose another name")
SHELL_CODE: Final = Refusal("in the code of another shell, which would run it", RUNS)
SHELL_INPUT: Final = Refusal(
    "in what another shell reads as code", "give it as an argument: bash -s -- {} <<'EOF', and write \"$1\" there"
)
FORMAT: Final = Refusal("where `printf` may take it as an option", "write printf '%s' {}")
VARIABLE: Final = Refusal("where `printf -v` takes the name of a variable", "write the name itself")
OPERATOR: Final = Refusal("where `[` may take it as an operator", "write one comparison in each pair of brackets")
IS_SET: Final = Refusal("behind `-v`, where bash would evaluate it", "write the name itself")
