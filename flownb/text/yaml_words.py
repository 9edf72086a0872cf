"""What keeps a text from being read as YAML, in words for people."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

from yaml import MarkedYAMLError

from flownb.text.codes import Code
from flownb.text.lines import shortened
from flownb.text.spans import Locate, Span

_BRACES: Final = re.compile(r"""(?<![\"'{\w])\{\{""")
_FROM_THE_START: Final = re.compile("expected ':'|unexpected (end of stream|document)|directive|non-alpha")
"""What is told where the text begins that is wrong, not where that was noticed."""
_SAYINGS: Final = (
    ("nesting depth", "it is nested too deeply", "keep data that is so deep in a file of its own"),
    ("mapping values are not allowed", "`: ` stands inside a text", "put a text that holds `: ` in quotes, and begin keys in one column"),
    ("expected ',' or", "expected {wanted}, but got {found}", "close the bracket, and part entries by commas"),
    ("unexpected ':'", "`:` ends a text", "put a text that ends with `:` in quotes"),
    ("could not find expected ':'", "no `: ` stands behind {found}", "write `key: value`, with a space behind the colon"),
    ("expected key|<block end>", "expected the next key, but got {found}", "begin keys in one column, and put a text with quotes inside it in quotes"),
    ("'-' indicator", "expected the next `- `, but got {found}", "begin the entries of a list in one column"),
    ("cannot start any token", "found character {letter} where a value begins", "put the text in quotes"),
    ("unexpected (end of stream|document)", "a quote is never closed", "close the quotes"),
    ("node content", "expected a value, but got {letter}", "a text that begins with `,`, `]`, `}`, `-`, `?` or `:` must be quoted"),
    ("comment or line break|chomping", "a text stands behind `|` or `>`", "begin it in the next line; a text that begins with `|` or `>` must be quoted"),
    ("sequence entries are not allowed", "a list begins behind a key", "begin it in a line of its own, or put the text in quotes"),
    ("keys are not allowed", "`? ` stands where no key begins", "put the text in quotes"),
    ("Unicode character", "an escape that stands for no character", "write the character itself"),
    ("escape|hexa?decimal", "an escape that YAML does not have", r"write `\\` for a backslash, or take single quotes"),
    ("alphabetic or numeric", "no name stands behind `&` or `*`", "a text that begins with `&` or `*` must be quoted"),
    ("directive|YAML document|non-alphabetical", "a line that begins with `%` is a directive, and this one is not read", "take it away, or put the text in quotes"),
    ("document start", "expected the end of the text, but got {found}", "put the whole text in quotes"),
    ("tag", "what stands behind `!` is no tag", "a text that begins with `!` must be quoted"),
    ("", "{problem}", "put the text in quotes"),
)  # fmt: skip
"""A pattern of the parser's words, in C or in Python → words for people, and what to do."""


class YamlError(Exception):
    """A text is no YAML that flownb reads."""

    def __init__(self, code: Code, message: str, span: Span, hint: str = "") -> None:
        """Say what is wrong where, and what to write instead."""
        super().__init__(code, message, span, hint)
        self.code, self.message, self.span, self.hint = code, message, span, hint


def braces_error(
    span: Span, hint: str = 'quote it, as "{{ … }}"; where an expression is wanted, write it without braces'
) -> YamlError:
    """Return the error for a value that begins with an unquoted `{{`."""
    return YamlError(
        Code.UNQUOTED_BRACES,
        "a value that begins with `{{` must be quoted: YAML reads braces as a mapping",
        span,
        hint,
    )


def braces_at(line: int, column: int, lines: Sequence[str], locate: Locate) -> YamlError:
    """Return the error for unquoted braces that begin at a place of a text, counted from 0."""
    end = lines[line].find("}}", column)
    return braces_error(locate(line, column, end + 2 - column if end > 0 else 2))


def letter_error(letter: str, first: int, lines: Sequence[str], locate: Locate) -> YamlError:
    """Return the error for a character that stands in the line `first` or below it."""
    line = next(number for number in range(first, len(lines)) if letter in lines[number])
    what = f"the character U+{ord(letter):04X} is not allowed in YAML"
    return YamlError(Code.YAML_SYNTAX, what, locate(line, lines[line].index(letter), 1), "remove it")


def syntax_error(error: MarkedYAMLError, lines: Sequence[str], locate: Locate) -> YamlError:
    """Return the parser's error in our words, at the place to put right."""
    problem = str(error.problem or error.context)
    message, hint = next(words for pattern, *words in _SAYINGS if re.search(pattern, problem))
    marks = (error.problem_mark, error.context_mark)
    mark = next(filter(None, reversed(marks) if _FROM_THE_START.search(problem) else marks), None)
    line, column = (mark.line, mark.column) if mark else (0, 0)
    if line >= len(lines):
        line = max((number for number, text in enumerate(lines) if text.strip()), default=0)
        column = len(lines[line].rstrip())
    written = lines[line]
    braces = _BRACES.search(written)
    if braces and written[: braces.start()].rstrip().endswith((":", "-", ",", "[", "{")):
        return braces_at(line, braces.start(), lines, locate)
    if written[column:].startswith("\t"):
        message, hint = "a tab stands where spaces belong", "indent with spaces: YAML does not take tabs"
    rest = written[column:].split()
    got = {
        "found": f"`{shortened(rest[0], 20)}`" if rest else "the end of the text",
        "letter": f"'{rest[0][0]}'" if rest else "the end of the text",
        "wanted": "".join(re.findall("'.' or '.'", problem)),
        "problem": problem,
    }
    return YamlError(Code.YAML_SYNTAX, f"this is not YAML: {message.format(**got)}", locate(line, column, 1), hint)
