"""Prompts against servers on loopback: real HTTP, and everything that goes wrong with it."""

from __future__ import annotations

import asyncio
import base64
import pickle
import struct
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure
from PIL import Image
from pydantic_ai.models import StreamedResponse
from pydantic_ai.models.test import TestModel

from flownb.artifacts.figures import StoredFigure
from flownb.errors import (
    AnswerError,
    ExpressionError,
    Failure,
    FlowError,
    ModelConnectionError,
    ModelError,
    ModelTimeoutError,
    NodeError,
)
from flownb.model.prompt_node import PromptNode
from flownb.model.usage import Usage
from flownb.runtimes.base import Printed, Scope
from flownb.runtimes.output import redacted
from flownb.runtimes.prompt import asking
from flownb.runtimes.prompt.answer import read_answer
from flownb.runtimes.prompt.images import MOST_BYTES, images_of
from flownb.runtimes.prompt.live import Live
from flownb.runtimes.prompt.place import Place, place_of
from flownb.runtimes.prompt.runtime import PromptRuntime
from tests.models import ModelServer, Reply, serving
from tests.nodes import node_of, run_node, scope_of

MODEL = "openai:gpt-4.1-mini"
KEY = "sk-proj-Zq81xyNotARealKey"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(8)


def scope_at(server: ModelServer | None = None, **values: object) -> Scope:
    """Return a scope whose environment leads to a server, where one is given."""
    environment = {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": "ak-42-NotARealKey"}
    if server:
        environment |= {"OPENAI_BASE_URL": f"{server.base}/v1", "ANTHROPIC_BASE_URL": server.base}
    return scope_of(values, environment=environment)


def changed(scope: Scope, **fields: object) -> Scope:
    """Return a scope with other fields; `dataclasses.replace` with names that mypy need not know."""
    made = {name: getattr(scope, name) for name in Scope.__dataclass_fields__}
    return Scope(**{**made, **fields})


def ask(server: ModelServer, body: str = "Hello", *, scope: Scope | None = None, **fields: object) -> object:
    node = node_of(PromptNode, body, **{"model": MODEL, **fields})
    return run_node(PromptRuntime(), node, scope or scope_at(server))


def error_of(*replies: Reply | str, body: str = "Hello", **fields: object) -> Exception:
    node = node_of(PromptNode, body, **{"model": MODEL, **fields})
    with serving(*replies) as server, pytest.raises(NodeError) as caught:
        run_node(PromptRuntime(), node, scope_at(server))
    assert len(server.asked) == 1, "the client tried it again by itself"
    return caught.value


# What is sent.


def test_the_message_the_settings_and_the_key_are_sent_and_the_text_comes_back() -> None:
    with serving("  Hi, Ana!\n") as server:
        scope = scope_at(server, who="Ana")
        answer = ask(server, "Greet {{ who }}.\n", scope=scope, system="Be {{ who }}.", temperature=0.5, max_tokens=50)
    assert answer == "Hi, Ana!"
    (asked,) = server.asked
    assert server.paths == ["/v1/chat/completions"]
    assert server.headers[0]["authorization"] == f"Bearer {KEY}"
    assert server.headers[0]["x-stainless-retry-count"] == "0"
    assert (asked["model"], asked["temperature"], asked["max_completion_tokens"]) == ("gpt-4.1-mini", 0.5, 50)
    assert asked["messages"][0] == {"role": "system", "content": "Be Ana."}
    assert server.prompts() == ["Greet Ana."]
    assert "response_format" not in asked


@pytest.mark.parametrize(
    "value", ["{{ 7 * 7 }}", "{% raw %}", '"; rm', "</system>", "\u2028\x00", "<|im_start|>system", ["a", {"b": 1}]]
)
def test_what_data_says_is_text(value: object) -> None:
    with serving("ok") as server:
        ask(server, "{{ data }}", scope=scope_at(server, data=value))
        ask(server, "Read: {{ data }}", scope=scope_at(server, data=value))
    assert server.prompts() == [str(value), f"Read: {value}"]


def test_a_setting_is_sent_although_the_library_thinks_that_the_model_does_not_take_it() -> None:
    with serving("ok") as server:
        ask(server, model="openai:gpt-5-mini", temperature=0.5)
    assert server.asked[0]["temperature"] == 0.5


def test_anthropic_is_asked_in_its_own_way() -> None:
    used: list[tuple[str, Usage]] = []
    with serving("Hi there") as server:
        scope = changed(scope_at(server), used=lambda model, usage: used.append((model, usage)))
        answer = ask(server, scope=scope, model="anthropic:claude-test", system="Be kind.", temperature=0.1)
    assert answer == "Hi there"
    (asked,) = server.asked
    assert server.paths == ["/v1/messages"]
    assert (asked["system"][0]["text"] if isinstance(asked["system"], list) else asked["system"]) == "Be kind."
    assert asked["temperature"] == 0.1
    assert "ak-42-NotARealKey" in server.headers[0]["authorization"] + server.headers[0].get("x-api-key", "")
    assert used == [("anthropic:claude-test", Usage(requests=1, input_tokens=20, output_tokens=7))]


def test_an_openai_compatible_server_needs_no_key_and_is_sent_no_others() -> None:
    with serving("ok") as server:
        ask(server, model="vllm:qwen", base_url="{{ base }}/v1", scope=scope_at(server, base=server.base))
    assert server.asked[0]["model"] == "qwen"
    assert KEY not in str(server.headers)


def test_a_declared_secret_is_the_key_before_the_environments() -> None:
    with serving("ok") as server:
        ask(server, scope=changed(scope_at(server), secret_values={"OPENAI_API_KEY": "sk-of-the-document"}))
    assert server.headers[0]["authorization"] == "Bearer sk-of-the-document"


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with serving("stolen") as other:
        error = error_of(Reply(status=307, headers={"Location": f"{other.base}/v1/chat/completions"}, body={}))
        assert other.asked == []
    assert isinstance(error, ModelError)


# Keys, addresses and models that are none: found before anything is sent.


@pytest.mark.parametrize(
    "model, url, environment, message",
    [
        ("openai:gpt", None, {}, "openai:gpt needs a key, and OPENAI_API_KEY is not set"),
        ("anthropic:c", None, {"OPENAI_API_KEY": KEY}, "anthropic:c needs a key, and ANTHROPIC_API_KEY is not set"),
        ("openai:gpt", None, {"OPENAI_API_KEY": " \n"}, "openai:gpt needs a key"),
        ("openai:gpt", None, {"OPENAI_API_KEY": "sk\nX: y"}, "OPENAI_API_KEY holds characters that no key has"),
        ("openai:gpt", None, {"OPENAI_API_KEY": "sk-ü"}, "OPENAI_API_KEY holds characters that no key has"),
        ("opnai:gpt", None, {}, "`model`: the address of the provider 'opnai' is not known"),
        ("gpt-5", None, {}, "`model`: 'gpt-5' names no provider and model"),
        ("vllm:x", "localhost:8000", {}, "`base_url` is no URL"),
        ("vllm:x", "http://", {}, "`base_url` is no URL"),
        ("vllm:x", "http://localhost:99999/v1", {}, "`base_url` is no URL"),
        ("vllm:x", "http://localhost:port/v1", {}, "`base_url` is no URL"),
        ("vllm:x", "http://[::1/v1", {}, "`base_url` is no URL"),
    ],
)
def test_what_cannot_be_asked_is_one_clear_error(
    model: str, url: str | None, environment: dict[str, str], message: str
) -> None:
    with pytest.raises(NodeError) as caught:
        place_of(model, url, {}, environment)
    assert caught.value.message.startswith(message)
    assert caught.value.hint


def test_the_nearest_provider_is_named() -> None:
    with pytest.raises(NodeError) as caught:
        place_of("opnai:gpt", None, {}, {})
    assert caught.value.hint == "did you mean 'openai'?"


def test_a_password_in_the_address_is_not_shown() -> None:
    place = place_of("vllm:x", "http://ana:s3cret@localhost:1/v1", {}, {})
    assert place.host == "http://localhost:1"
    assert "s3cret" not in str(place.label)


def test_a_key_shows_in_no_repr() -> None:
    assert KEY not in repr(place_of("openai:x", None, {}, {"OPENAI_API_KEY": KEY}))


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("flownb.runtimes.prompt.failing", "flownb.runtimes.prompt.asking"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "pydantic_ai", None)
    with serving("ok") as server, pytest.raises(FlowError) as caught:
        ask(server)
    assert caught.value.message == "`prompt` nodes need pydantic_ai, which is not installed"
    assert caught.value.hint == "pip install 'flownb[llm]'"
    assert server.asked == []


def test_an_empty_prompt_is_not_sent() -> None:
    with serving("ok") as server, pytest.raises(NodeError, match="the prompt is empty"):
        ask(server, "{{ nothing }}", scope=scope_at(server, nothing=" \n"))
    assert server.asked == []


# Answers of a type.

TYPES = [
    ({"n": "int"}, '{"n": "3"}', {"n": 3}),
    ({"n": "int"}, '```json\n{"n": 3}\n```', {"n": 3}),
    ({"n": {"type": "int", "default": 7}}, "{}", {"n": 7}),
    ("list[str]", '{"answer": ["a"]}', ["a"]),
    ("list[str]", '["a"]', ["a"]),
    ("dict[str, float]", '{"answer": {"answer": 1}}', {"answer": 1.0}),
    ("dict[str, float]", '{"a": 1}', {"a": 1.0}),
    ('Literal["bug", "idea"]', '{"answer": "bug"}', "bug"),
    ("int | None", '{"answer": null}', None),
    ("bool", "true", True),
    ("text", '{"n": 1}', '{"n": 1}'),
    (None, " x ", "x"),
]


@pytest.mark.parametrize("output, text, value", TYPES)
def test_an_answer_of_a_type_is_its_value(output: object, text: str, value: object) -> None:
    with serving(text) as server:
        assert ask(server, output=output) == value


@pytest.mark.parametrize(
    "output, text, message",
    [
        (
            {"n": "int"},
            "Sure! Three.",
            "the answer is no JSON: expecting value at column 1 in line 1; it is: Sure! Three.",
        ),
        ({"n": "int"}, '{"n": "many"}', "the answer does not fit `output`: `answer.n` was given 'many': wanted int"),
        (
            {"n": "int"},
            '{"m": 1}',
            "the answer does not fit `output`: `answer.n` is missing: wanted int; `answer.m` is",
        ),
        ("list[int]", '{"answer": ["x"]}', "the answer does not fit `output`: `answer[0]` was given 'x': wanted int"),
        (
            'Literal["a"]',
            '{"answer": "b"}',
            "the answer does not fit `output`: `answer` was given 'b': wanted Literal[\"a\"]",
        ),
        ({"n": "int"}, "", "the answer is empty"),
        (None, "  \n", "the answer is empty"),
        ({"n": "int"}, '{"n": NaN}', "the answer is no JSON: NaN is no JSON"),
        ({"n": "int"}, "[" * 5000, "the answer is no JSON: it is nested too deeply"),
    ],
)
def test_a_wrong_answer_says_what_is_wrong(output: object, text: str, message: str) -> None:
    error = error_of(text, output=output)
    assert isinstance(error, AnswerError)
    assert error.message.startswith(message)
    assert error.retry_after_s == 0


def test_the_schema_goes_along_and_is_told_to_servers_that_pass_it_over() -> None:
    with serving('{"answer": [1]}') as server:
        ask(server, output="list[int]", system="Count.")
    (asked,) = server.asked
    schema = asked["response_format"]["json_schema"]["schema"]
    assert schema["properties"]["answer"] == {"type": "array", "items": {"type": "integer"}}
    system = asked["messages"][0]["content"]
    assert system.startswith("Count.\n\nAnswer with JSON alone")
    assert '"type": "array"' in system


def test_anthropic_answers_by_a_tool_so_that_any_type_can_be_asked_for() -> None:
    with serving('{"answer": {"a": 1}}') as server:
        assert ask(server, model="anthropic:claude-test", output="dict[str, float]") == {"a": 1.0}
    (tool,) = server.asked[0]["tools"]
    assert tool["input_schema"]["properties"]["answer"]["additionalProperties"] == {"type": "number"}


def test_after_a_wrong_answer_the_model_is_told_what_was_wrong_with_it() -> None:
    failed = Failure(node="n", type="AnswerError", message="`answer.n` is missing")
    with serving("ok") as server:
        ask(server, "Count.", scope=changed(scope_at(server), failed=failed))
    assert server.prompts()[0].startswith("Count.\nYour last answer to this was refused: `answer.n` is missing\n")


def test_after_another_failure_it_is_asked_as_before() -> None:
    failed = Failure(node="n", type="ModelConnectionError", message="the answer broke off")
    with serving("ok") as server:
        ask(server, "Count.", scope=changed(scope_at(server), failed=failed))
    assert server.prompts() == ["Count."]


def test_pydantic_ais_test_model_answers_too() -> None:
    class Ending(TestModel):
        """It says why it ended, as real ones do."""

        @asynccontextmanager
        async def request_stream(self, *args: Any, **fields: Any) -> AsyncGenerator[StreamedResponse]:
            async with super().request_stream(*args, **fields) as events:
                events.finish_reason = "stop"
                yield events

    model = Ending(custom_output_text='{"n": 5}')

    def connect(place: Place, client: object) -> TestModel:
        assert place.label == "openai:gpt-4.1-mini"
        return model

    used: list[Usage] = []
    node = node_of(PromptNode, "Count.", model="openai:gpt-4.1-mini", output={"n": "int"})
    scope = changed(scope_at(), used=lambda _, usage: used.append(usage))
    assert run_node(PromptRuntime(connect), node, scope) == {"n": 5}
    assert used[0].requests == 1
    assert used[0].tokens > 0
    parameters = model.last_model_request_parameters
    assert parameters is not None
    assert parameters.output_mode == "text"  # It knows no schemas: it is told of them.


# What goes wrong.


@pytest.mark.parametrize("after", ["seconds", "date"])
def test_too_many_requests_carry_when_to_ask_again(after: str) -> None:
    until = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    headers = {"Retry-After": "7" if after == "seconds" else until}
    error = error_of(Reply(status=429, headers=headers, body={"error": {"message": "slow down"}}))
    assert isinstance(error, ModelError)
    assert error.status == 429
    assert error.message == "openai:gpt-4.1-mini answered 429: slow down"
    assert error.retry_after_s is not None
    assert (error.retry_after_s == 7) if after == "seconds" else (25 < error.retry_after_s <= 30)
    assert "`retry: 3`" in error.hint


@pytest.mark.parametrize("model", ["openai:gpt-4.1-mini", "anthropic:claude-test"])
@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_is_named_by_its_variable_and_never_shown(model: str, status: int) -> None:
    body = {"type": "error", "error": {"type": "authentication_error", "message": f"Incorrect API key: {KEY[:12]}***"}}
    error = error_of(Reply(status=status, body=body), model=model)
    assert isinstance(error, ModelError)
    variable = f"{model.partition(':')[0].upper()}_API_KEY"
    assert error.message == f"{model} refused the key in {variable} ({status})"
    assert variable in error.hint
    assert KEY[:12] not in str(error)


def test_a_server_that_wants_a_key_where_there_is_none_says_so() -> None:
    with serving(Reply(status=401, body={})) as server, pytest.raises(ModelError) as caught:
        ask(server, scope=scope_of(environment={"OPENAI_BASE_URL": server.base}))
    assert caught.value.message == "openai:gpt-4.1-mini wants a key (401), and OPENAI_API_KEY is not set"


@pytest.mark.parametrize(
    "status, body, message, hint",
    [
        (404, {"error": {"message": "no such model"}}, "answered 404: no such model", "look at the model's name"),
        (400, {"error": {"message": "x" * 900}}, "answered 400: xxxx", "does not take this message"),
        (500, {"error": {"message": "oops"}}, "answered 500: oops", "`retry: 3`"),
        (503, b"<html>down</html>", "answered 503", "`retry: 3`"),
        (418, {"error": "tea"}, "answered 418: tea", ""),
        (502, {"error": {"message": {"deep": 1}}}, "answered 502", "`retry: 3`"),
    ],
)
def test_a_status_is_an_error_with_what_the_provider_says(status: int, body: object, message: str, hint: str) -> None:
    error = error_of(Reply(status=status, body=body))
    assert isinstance(error, ModelError)
    assert error.status == status
    assert error.message.startswith(f"openai:gpt-4.1-mini {message}")
    assert len(error.message) < 300
    assert hint in error.hint


def test_no_error_shows_the_whole_prompt_or_the_key() -> None:
    body = {"error": {"message": f"cannot read 'Tell me about wind.' with {KEY}"}}
    error = error_of(Reply(status=400, body=body), body="Tell me about wind.")
    assert "Tell me about wind." not in str(error)
    assert KEY not in str(error)
    assert "cannot read '…' with •••" in str(error)


CUT = [Reply("a long answer", cut_after=2), Reply("a long answer", ends=False), Reply("", cut_after=0)]


@pytest.mark.parametrize("model", ["openai:gpt-4.1-mini", "anthropic:claude-test"])
@pytest.mark.parametrize("reply", CUT, ids=["torn", "ended early", "nothing"])
def test_an_answer_that_breaks_off_is_no_answer(reply: Reply, model: str) -> None:
    error = error_of(reply, model=model)
    assert isinstance(error, ModelConnectionError)
    assert isinstance(error, ConnectionError)
    assert model in error.message


def test_what_is_no_event_is_no_answer() -> None:
    error = error_of(Reply("x", garbage=b"data: {{{\n\n"))
    assert isinstance(error, ModelConnectionError)
    assert error.message.startswith("openai:gpt-4.1-mini sent what is no answer")


def test_an_answer_cut_at_max_tokens_is_not_taken_for_a_whole_one() -> None:
    error = error_of(Reply("The wind is", reason="length"))
    assert isinstance(error, ModelError)
    assert (error.hint, error.status) == ("raise `max_tokens`", None)


def test_what_a_filter_stopped_is_an_error() -> None:
    assert "filter" in str(error_of(Reply("The", reason="content_filter")))


def test_nobody_there_is_a_connection_error_with_the_address() -> None:
    node = node_of(PromptNode, "Hello", model="vllm:x", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ModelConnectionError) as caught:
        run_node(PromptRuntime(), node, scope_at())
    assert caught.value.message.startswith("vllm:x cannot be asked at http://127.0.0.1:9: ")
    assert "`base_url`" in caught.value.hint


def test_silence_is_a_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "_SILENT_S", 0.1)
    error = error_of(Reply("late", wait_s=0.5))
    assert isinstance(error, ModelTimeoutError)
    assert isinstance(error, TimeoutError)


def test_cancelling_closes_the_request() -> None:
    with serving(Reply("a slow answer " * 20, pieces=100, wait_s=0.02)) as server:
        node = node_of(PromptNode, "Hello", model="openai:gpt-4.1-mini")

        async def main() -> float:
            task = asyncio.create_task(PromptRuntime().run(node, scope_at(server)))
            await asyncio.to_thread(server.waits_for, lambda: len(server.asked) == 1)
            await asyncio.sleep(0.1)
            began = time.monotonic()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return time.monotonic() - began

        assert asyncio.run(main()) < 0.5
        assert server.waits_for(lambda: server.closed == 1)


def test_what_was_asked_is_told_for_wrong_answers_and_torn_ones_too() -> None:
    used: list[tuple[str, Usage]] = []
    for reply in (Reply("no"), Reply("a long answer", cut_after=2)):
        with serving(reply) as server:
            scope = changed(scope_at(server), used=lambda model, usage: used.append((model, usage)))
            with pytest.raises(NodeError):
                ask(server, scope=scope, output="int")
    assert used == [
        ("openai:gpt-4.1-mini", Usage(requests=1, input_tokens=10, output_tokens=5)),
        ("openai:gpt-4.1-mini", Usage(requests=1)),
    ]


# What is shown while it comes.


def test_text_is_shown_as_it_comes_a_few_times_a_second() -> None:
    shown: list[tuple[float, Printed]] = []
    with serving(Reply("word " * 100, pieces=100, wait_s=0.01)) as server:
        scope = changed(scope_at(server), printed=lambda printed: shown.append((time.monotonic(), printed)))
        answer = ask(server, scope=scope)
        done = time.monotonic()
    assert "".join(str(printed.data) for _, printed in shown) == "word " * 100 + "\n"
    assert {printed.mime for _, printed in shown} == {"stdout"}
    assert 3 <= len(shown) <= 8
    assert shown[0][0] < done - 0.5
    assert answer == ("word " * 100).strip()


def test_a_secret_in_two_pieces_is_not_shown() -> None:
    shown: list[str] = []
    scope = scope_of(printed=lambda printed: shown.append(str(printed.data)), secrets=("hunter2hunter2",))

    async def main() -> None:
        live = Live(redacted(scope), every_s=0.001)
        live.take("it is hunter2")
        await asyncio.sleep(0.01)
        live.take("hunter2.")
        await asyncio.sleep(0.01)
        live.end()

    asyncio.run(main())
    assert "".join(shown) == "it is •••.\n"


def test_what_may_begin_a_secret_is_shown_at_the_end() -> None:
    shown: list[str] = []
    scope = scope_of(printed=lambda printed: shown.append(str(printed.data)), secrets=("hunt\ntwo-and-three",))

    async def main() -> None:
        live = Live(redacted(scope))
        live.take("it is hunt")
        live.end()

    asyncio.run(main())
    assert "".join(shown) == "it is hunt\n"


def test_a_key_that_is_no_declared_secret_is_not_shown_and_no_value() -> None:
    shown: list[str] = []
    with serving(f"Your key is {KEY}") as server, pytest.raises(ModelError) as caught:
        ask(server, scope=changed(scope_at(server), printed=lambda printed: shown.append(str(printed.data))))
    assert KEY not in str(caught.value) + "".join(shown)
    assert caught.value.hint == "name it in the front matter: `secrets: [OPENAI_API_KEY]`"


@pytest.mark.parametrize(
    "error",
    [
        ModelError("m", "h", 429, 7.0),
        ModelConnectionError("m", "h"),
        ModelTimeoutError("m", "h", 504),
        AnswerError("m", "h"),
    ],
)
def test_errors_survive_pickle(error: NodeError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 it was made in this very line
    assert (type(again), str(again), vars(again)) == (type(error), str(error), vars(error))


# Images.


def figure() -> Figure:
    made = Figure(figsize=(1, 1))
    made.subplots().plot([1, 2])
    return made


@pytest.mark.parametrize(
    "value, kind",
    [
        (PNG, "image/png"),
        (b"\xff\xd8\xff\xe0more", "image/jpeg"),
        (b"GIF89a", "image/gif"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "image/webp"),
        (b"%PDF-1.7", "application/pdf"),
        (bytearray(PNG), "image/png"),
        (StoredFigure(PNG), "image/png"),
        (Image.new("RGB", (2, 2)), "image/png"),
        (Image.new("CMYK", (2, 2)).convert("RGB"), "image/png"),
        (figure(), "image/png"),
    ],
)
def test_figures_pictures_and_bytes_are_images(value: object, kind: str, tmp_path: Path) -> None:
    ((data, media),) = images_of([("x", value)], tmp_path)
    assert media == kind
    assert data


def test_paths_in_the_folder_are_images_and_lists_are_many(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a/b.png").write_bytes(PNG)
    assert images_of([("x", ["a/b.png", (tmp_path / "a/b.png", PNG)])], tmp_path) == [(PNG, "image/png")] * 3


@pytest.mark.parametrize(
    "value, message",
    [
        ("../out.png", "leads out of the document's folder"),
        ("/etc/passwd", "leads out of the document's folder"),
        ("link.png", "leads out of the document's folder"),
        ("none.png", "there is no file none.png"),
        (".", "there is no file ."),
        ("text.txt", "is no image that can be sent"),
        ("long.png", "has more than"),
        (b"hello", "is no image that can be sent"),
        (7, "gave a value of type int"),
        ({"a": PNG}, "gave a value of type dict"),
        ([PNG + bytes(MOST_BYTES // 2)] * 2, "they have 20,000,032 bytes"),
        ("nul\0", "`x`"),
    ],
)
def test_what_is_no_image_is_an_error_that_names_the_expression(value: object, message: str, tmp_path: Path) -> None:
    inside = tmp_path / "in"
    inside.mkdir()
    (tmp_path / "out.png").write_bytes(PNG)
    (inside / "link.png").symlink_to(tmp_path / "out.png")
    (inside / "text.txt").write_text("hello")
    with (inside / "long.png").open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(NodeError) as caught:
        images_of([("x", value)], inside)
    assert message in caught.value.message
    assert "`images`" in caught.value.message
    assert caught.value.hint or "read" in caught.value.message


def test_images_go_along_as_data() -> None:
    with serving("ok") as server:
        ask(server, "Look.", images=["chart", "[chart, chart]"], scope=scope_at(server, chart=PNG))
    content = server.asked[0]["messages"][-1]["content"]
    urls = [part["image_url"]["url"] for part in content if part["type"] == "image_url"]
    assert urls == [f"data:image/png;base64,{base64.b64encode(PNG).decode()}"] * 3
    assert server.prompts() == ["Look."]


def test_an_image_that_nothing_defines_is_an_error() -> None:
    with serving("ok") as server, pytest.raises(ExpressionError):
        ask(server, images="chrat", scope=scope_at(server, chart=PNG))


def test_a_picture_is_what_it_was(tmp_path: Path) -> None:
    picture = Image.new("RGB", (2, 1), (250, 128, 114))
    ((data, _),) = images_of([("x", picture)], tmp_path)
    assert struct.unpack(">II", data[16:24]) == (2, 1)
    assert Image.open(BytesIO(data)).tobytes() == picture.tobytes()


def test_reading_an_answer_never_raises_another_error() -> None:
    for text in ("{", "[1, 2", '"\\ud800"', "\x00", "1e999", "{}" * 3, "```json\n```"):
        with pytest.raises(AnswerError, match=r"^the answer "):
            read_answer(text, {"n": "int"})
