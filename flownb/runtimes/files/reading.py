"""What a file holds, as a value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from flownb.errors import NodeError
from flownb.model.file_names import format_of, has_json_lines, has_tabs, is_packed
from flownb.model.file_nodes import FileFormat, ReadOutput
from flownb.runtimes.files.csvs import read_rows
from flownb.runtimes.files.halting import Halt
from flownb.runtimes.files.source import chunks_of, not_text, opened, text_of
from flownb.runtimes.files.tables import frame_of, read_csv_frame, read_parquet, rows_in, rows_of, to_pandas, typed
from flownb.runtimes.jsontext import JsonTextError, load_json
from flownb.text.spans import Span
from flownb.text.yaml import DATA, load_yaml
from flownb.text.yaml_words import YamlError

TABLES: Final = frozenset({FileFormat.CSV, FileFormat.JSON, FileFormat.YAML, FileFormat.LINES, FileFormat.PARQUET})
"""Formats that may hold a list of objects."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One file that is read. Everything blocks, and raises NodeError where the file is not what it should be."""

    path: Path
    """Where it is, symbolic links resolved."""
    shown: str
    """What messages call it."""
    format: FileFormat
    """What it holds; never `auto`."""
    output: ReadOutput
    """What its value is to be."""
    dtypes: Mapping[str, str]
    """Column → type."""
    halt: Halt
    """Ends the reading."""

    def value(self) -> object:
        """Return what the file holds."""
        if self.output in (ReadOutput.ROWS, ReadOutput.DATAFRAME) and self.format not in TABLES:
            hint = f"leave it out, or say its `format`: {', '.join(sorted(TABLES))}"
            raise NodeError(f"{self.shown} is read as {self.format}, which gives no `{self.output}`", hint)
        try:
            return _READERS[self.format](self)
        except UnicodeDecodeError:
            raise not_text(self.path, self.shown, self.halt) from None

    def octets(self) -> object:
        """Return the file's bytes, unpacked."""
        with opened(self.path, self.shown, self.halt) as file:
            return file.read()

    def text(self) -> str:
        """Return the file's text, its line breaks as they are."""
        with opened(self.path, self.shown, self.halt) as file:
            return text_of(file).read()

    def csv(self) -> object:
        """Return the table."""
        delimiter = "\t" if has_tabs(self.shown) else ""
        with opened(self.path, self.shown, self.halt) as file:
            if self.output is ReadOutput.DATAFRAME:
                return read_csv_frame(self.path, self.shown, file, self.dtypes, delimiter)
            return read_rows(text_of(file), self.shown, self.dtypes, delimiter)

    def parquet(self) -> object:
        """Return the table."""
        if is_packed(self.shown):
            raise NodeError(f"{self.shown}: Parquet is packed by itself, and not read from gzip", "unpack it: `gunzip`")
        with opened(self.path, self.shown, self.halt):
            pass  # It can be opened, and is no pipe.
        if self.output is ReadOutput.ROWS and not self.dtypes:
            return rows_of(read_parquet(self.path, self.shown, self.halt.check))
        # Nothing else holds the table: what becomes a column of the frame is let go of.
        frame = typed(to_pandas(read_parquet(self.path, self.shown, self.halt.check)), self.shown, self.dtypes)
        return rows_of(frame) if self.output is ReadOutput.ROWS else frame

    def json(self) -> object:
        """Return the data."""
        text = self.text()
        try:
            return self._table(load_json(text))
        except JsonTextError as error:
            where = f"{self.shown}:{error.line}" if error.line else self.shown
            raise NodeError(f"{where}: no JSON: {error.message}", self._json_hint(text)) from None

    def yaml(self) -> object:
        """Return the data."""
        text = self.text()
        if text.lstrip()[:1] in {"[", "{", '"'}:  # YAML 1.2 holds JSON, and Python reads that a hundred times faster.
            with suppress(JsonTextError):
                return self._table(load_json(text))
        try:
            return self._table(load_yaml(text, lambda line, at, size: Span("", line + 1, at + 1, size), DATA).data)
        except YamlError as error:
            said = error.message.removeprefix("this is not YAML: ")
            raise NodeError(f"{self.shown}:{error.span.line}: no YAML: {said}", error.hint) from None

    def lines(self) -> object:
        """Return the lines without their breaks; of a `.jsonl` file what each stands for, blank ones left out."""
        lines: list[str] = []
        rest = ""
        with opened(self.path, self.shown, self.halt) as file:
            for chunk in chunks_of(file):
                more = (rest + chunk).split("\n")
                rest = more.pop()
                lines += more
        if rest:
            lines.append(rest)
        if has_json_lines(self.shown):
            return self._table(self._loaded(lines))
        if self.output in (ReadOutput.ROWS, ReadOutput.DATAFRAME):
            hint = "name it `.jsonl`, or leave `output` out"
            raise NodeError(f"{self.shown} holds lines of text, which give no `{self.output}`", hint)
        return lines

    def _loaded(self, lines: list[str]) -> list[JsonValue]:
        """Return what lines of JSON stand for; each takes the place of its text, so that there is never all of both."""
        made: list[JsonValue] = list(lines)
        for place, line in enumerate(lines):
            lines[place] = ""
            if not place % 1000:
                self.halt.check()
            try:
                made[place] = load_json(line) if line.strip() else _BLANK  # type: ignore[call-overload] # left out below
            except JsonTextError as error:
                hint = "each line of a `.jsonl` file is JSON; for its text say `format: text`"
                raise NodeError(f"{self.shown}:{place + 1}: no JSON: {error.message}", hint) from None
        return [value for value in made if value is not _BLANK]

    def _table(self, data: JsonValue) -> object:
        """Return data as `output` says."""
        match self.output:
            case ReadOutput.DATAFRAME:
                return frame_of(data, self.shown, self.dtypes)
            case ReadOutput.ROWS if self.dtypes:
                return rows_of(frame_of(data, self.shown, self.dtypes))
            case ReadOutput.ROWS:
                return rows_in(data, self.shown, "output: rows")
            case _:
                return data

    def _json_hint(self, text: str) -> str:
        is_lines = text.lstrip()[:1] == "{" and len(text.splitlines()) > 1
        return "where each line is JSON, name it `.jsonl`, or put it right" if is_lines else "put it right"


_BLANK: Final = object()
_READERS: Final[Mapping[FileFormat, Callable[[Reading], object]]] = {
    FileFormat.JSON: Reading.json,
    FileFormat.YAML: Reading.yaml,
    FileFormat.CSV: Reading.csv,
    FileFormat.LINES: Reading.lines,
    FileFormat.TEXT: Reading.text,
    FileFormat.PARQUET: Reading.parquet,
    FileFormat.BYTES: Reading.octets,
}


def meant_format(said: FileFormat, path: Path) -> FileFormat:
    """Return the format of a file: what the node says, else what the name says."""
    return format_of(path.name) if said is FileFormat.AUTO else said
