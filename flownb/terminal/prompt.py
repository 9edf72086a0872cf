"""Asks a person at the terminal."""

from __future__ import annotations

import getpass
import os
import select
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final, Protocol

from pydantic import JsonValue
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.text import Text

from flownb.errors import FlowError
from flownb.model.decision import Action, Decision, Question, Request, Via, check_answer, user_name
from flownb.render.inert import cut, one_line, visible
from flownb.text.spans import Span
from flownb.text.yaml import DATA, load_yaml
from flownb.text.yaml_words import YamlError

POLL_S: Final = 0.1
"""Seconds between two looks whether a question was answered elsewhere."""
_LIMITS: Final = replace(DATA, is_finite=False)
"""How much YAML a person may type or keep in a file of inputs; a `float` may be `.inf`."""
_TRIES: Final = 3
_SHOWN_LINES: Final = 40
_WORDS: Final[Mapping[str, str]] = {
    Action.APPROVE: "[A]pprove",
    Action.REJECT: "[R]eject",
    Action.INPUT: "[I]nput",
    Action.HAPPENED: "[H]appened",
    Action.AGAIN: "[R]un again",
    Action.FAIL: "[F]ail",
}
"""Action → how the prompt offers it."""


def can_answer() -> bool:
    """Return whether a person sits at the terminal: otherwise checkpoints take their default."""
    return sys.stdin is not None and not sys.stdin.closed and sys.stdin.isatty()


def read_yaml(text: str, source: str) -> JsonValue:
    """Return what a YAML text stands for.

    Args:
        text: What a person wrote.
        source: What messages call it, as `-i topic`.

    Raises:
        FlowError: It is no YAML; the message names the place.
    """
    try:
        return load_yaml(text, lambda line, column, length: Span(source, line + 1, column + 1, length), _LIMITS).data
    except YamlError as error:
        raise FlowError(f"{source}: {error.message}", error.hint) from error


def ask_secret(name: str) -> str:
    """Return what a person types for a secret, without showing it; empty where they have none."""
    try:
        return getpass.getpass(f"Secret {name}: ", stream=sys.stderr)
    except EOFError:
        return ""


Pause = Callable[[], AbstractContextManager[None]]
"""Opens a time in which nothing else is drawn."""


class Lines(Protocol):
    """Where a person's answers come from, line by line."""

    def read(self, prompt: str, look: Callable[[], None]) -> str:
        """Show the prompt and return one line. Blocks; calls `look` ten times a second, and lets out what it raises.

        Raises:
            EOFError: Ctrl-D, or nobody is there any more.
            KeyboardInterrupt: Ctrl-C.
        """
        ...

    def forget(self) -> None:
        """Drop what was typed before the question stood there: one key must not answer two questions."""
        ...


class TerminalAsker:
    """Asks on the terminal (format.md, section 7.1). One question at a time, on the main thread."""

    def __init__(
        self, console: Console, pause: Pause = nullcontext, stdin: int = 0, lines: Lines | None = None
    ) -> None:
        """Prepare to ask.

        Args:
            console: Where questions are shown: standard error.
            pause: Keeps whatever else draws there still while a question stands.
            stdin: The descriptor that answers come from, a terminal.
            lines: Where answers come from in its place; None: from the terminal.
        """
        self._console, self._pause, self._stdin = console, pause, stdin
        self._lines = lines or _TerminalLines(console, stdin)

    def decide(self, request: Request) -> Decision | None:
        """Answer a request; what `flownb.run` takes as `decide`."""
        shown = {name: request.hide(str(value)) for name, value in request.values.items()}
        return self.ask(request.question, request.is_settled, shown)

    def ask(
        self, question: Question, is_settled: Callable[[], bool], shown: Mapping[str, object] | None = None
    ) -> Decision | None:
        """Show a question and return the person's answer. Blocks; ends by itself when it is settled elsewhere or too late.

        Args:
            question: What is asked.
            is_settled: Whether it was answered elsewhere; asked ten times a second.
            shown: Expression → value, shown with it.

        Returns:
            The answer; the default with `timed_out` where its time passed; None where it was answered elsewhere or the
            terminal was closed, and for a question that has no answer to fall back on (a node with `once`) where none was given.
        """
        with self._pause(), _interruptible():
            try:
                self._show(question, shown or {})
                return self._answer(question, is_settled)
            except _SettledError:
                self._say(f"{question.key}: answered elsewhere")
            except _TooLateError:
                self._say(f"{question.key}: the time is over: {question.default}")
                now = datetime.now(UTC)
                return Decision(action=question.default, at=now, via=Via.DEFAULT, timed_out=True)
            except _GoneError:
                return None
            except (KeyboardInterrupt, EOFError):
                self._say("")
                return self._fallback(question)
        return None

    def _show(self, question: Question, shown: Mapping[str, object]) -> None:
        self._console.print()
        self._console.rule(Text(one_line(question.heading), style="bold"), align="left")
        self._console.print(_Visible(visible(question.text)))
        for name, value in shown.items():
            self._console.print(Text(f"{one_line(name)}:", style="bold"))
            self._console.print(Text(_excerpt(value)))
        if question.deadline is not None:
            moment = question.deadline.astimezone().strftime("%Y-%m-%d %H:%M:%S")
            self._say(f"until {moment}, then: {question.default}")

    def _answer(self, question: Question, is_settled: Callable[[], bool]) -> Decision | None:
        self._lines.forget()
        prompt = " / ".join(_WORDS[action] for action in question.actions) + ": "
        for _ in range(_TRIES):
            action = _meant(self._read(prompt, question, is_settled), question.actions)
            if action is not None:
                return self._complete(action, question, is_settled)
            self._say(f"please answer {_choices(question.actions)}")
        self._say(
            f"{_TRIES} answers that are none: {Action.REJECT}" if Action.REJECT in question.actions else "no answer"
        )
        return self._fallback(question)

    def _complete(self, action: str, question: Question, is_settled: Callable[[], bool]) -> Decision:
        """Return the decision, with what is submitted; asked again until that is of the type."""
        if action == Action.HAPPENED:
            prompt = "Its value (YAML; empty: none): "
        elif action == Action.INPUT:
            is_text = question.input == "text"
            prompt = "Input: " if is_text else f"Input (YAML, {one_line(_type_text(question.input))}): "
        else:
            return _decision(action, None)
        while True:
            text = self._read(prompt, question, is_settled)
            try:
                value = text if prompt == "Input: " else read_yaml(text, "input")
                return check_answer(question, _decision(action, value))
            except FlowError as error:
                self._say(str(error))

    def _fallback(self, question: Question) -> Decision | None:
        return _decision(Action.REJECT, None) if Action.REJECT in question.actions else None

    def _read(self, prompt: str, question: Question, is_settled: Callable[[], bool]) -> str:
        """Return one line without the spaces around it.

        Raises:
            EOFError: Ctrl-D.
        """

        def look() -> None:
            if is_settled():
                self._say("")
                raise _SettledError
            if question.deadline is not None and datetime.now(UTC) >= question.deadline:
                self._say("")
                raise _TooLateError

        return self._lines.read(prompt, look).strip()

    def _say(self, text: str) -> None:
        self._console.print(Text(visible(text)))


class _Visible:
    """Shows Markdown whose entities, as `&#x202e;`, are written out where a terminal would obey what they mean."""

    def __init__(self, markdown: str) -> None:
        self._markdown = markdown

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        # Its markdown-it and pygments take 20 ms of each start of the command line, and few runs ask anything.
        from rich.markdown import Markdown  # noqa: PLC0415 see above

        # Without links: a terminal would open what data may have put there.
        for segment in console.render(Markdown(self._markdown, hyperlinks=False), options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


class _TerminalLines:
    """Lines that a person types at a terminal."""

    def __init__(self, console: Console, stdin: int) -> None:
        self._console, self._stdin = console, stdin
        self._typed = b""

    def read(self, prompt: str, look: Callable[[], None]) -> str:
        self._console.file.write(prompt)
        self._console.file.flush()
        while b"\n" not in self._typed:
            look()
            if select.select([self._stdin], [], [], POLL_S)[0]:
                self._typed += self._read_some()
        line, _, self._typed = self._typed.partition(b"\n")
        return line.decode(errors="replace")

    def _read_some(self) -> bytes:
        try:
            read = os.read(self._stdin, 4096)
        except OSError as error:  # EIO: the terminal was closed.
            raise _GoneError from error
        if not read:  # Ctrl-D; a terminal that was closed looks the same, but is none any more.
            raise EOFError if os.isatty(self._stdin) else _GoneError
        return read

    def forget(self) -> None:
        self._typed = b""
        if os.isatty(self._stdin):
            termios.tcflush(self._stdin, termios.TCIFLUSH)


class _SettledError(Exception):
    """The question was answered elsewhere."""


class _GoneError(Exception):
    """The terminal was closed: nobody has said anything."""


class _TooLateError(Exception):
    """The time to answer is over."""


@contextmanager
def _interruptible() -> Iterator[None]:
    """Let Ctrl-C raise KeyboardInterrupt here, whatever is done with it elsewhere, unless it is ignored."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before if before is not None else signal.SIG_DFL)


def _decision(action: str, answer: JsonValue) -> Decision:
    return Decision(action=action, input=answer, by=user_name(), at=datetime.now(UTC), via=Via.TERMINAL)


def _meant(answer: str, actions: tuple[str, ...]) -> str | None:
    """Return the action that an answer names: its letter in brackets, or its word; None: no action."""
    word = " ".join(answer.casefold().split())
    for action in actions:
        offered = _WORDS[action].casefold()
        if word in (offered[1], offered.replace("[", "").replace("]", ""), action):
            return action
    return None


def _choices(actions: tuple[str, ...]) -> str:
    return ", ".join(f"{_WORDS[action][1].lower()} ({action})" for action in actions)


def _type_text(wanted: JsonValue) -> str:
    if isinstance(wanted, dict):
        return "{" + ", ".join(f"{name}: {_type_text(inner)}" for name, inner in wanted.items()) + "}"
    return str(wanted)


def _excerpt(value: object) -> str:
    """Return a value for reading, at most 40 lines of it."""
    lines = visible(value if isinstance(value, str) else str(value)).split("\n")
    more = [f"… {len(lines) - _SHOWN_LINES:,} more lines"] if len(lines) > _SHOWN_LINES else []
    return "\n".join(["  " + cut(line, 1000) for line in lines[:_SHOWN_LINES]] + more)
