from __future__ import annotations

import asyncio
import gc
import linecache
import pickle

import pytest

from flownb.errors import NodeError
from flownb.model.nodes import PythonNode
from flownb.model.record import Record
from flownb.runtimes.base import Printed
from flownb.runtimes.frames import person_frames, person_place
from flownb.runtimes.python import PythonBody, PythonRuntime, compile_body
from tests.nodes import HereCaller, node_of, run_node, scope_of


def run(body: str, **values: object) -> object:
    return run_node(PythonRuntime(), node_of(PythonNode, body), scope_of(values))


def failure_of(body: str, **values: object) -> BaseException:
    with pytest.raises(BaseException) as caught:  # noqa: PT012
        run(body, **values)
        gc.collect()
    return caught.value


@pytest.mark.parametrize(
    "body, value",
    [
        ("1 + 1", 2),
        ("a = 1\na", 1),
        ("a = 1", None),
        ("if True:\n    1", None),
        ('"only a text"', "only a text"),
        ("from __future__ import annotations\n5", 5),
        ("", None),
        ("# only a comment", None),
        ("def f(): return g()\ndef g(): return 3\nf()", 3),
        ("[y for y in range(3) if y > limit]", [1, 2]),
        ("1;", 1),
    ],
)
def test_the_value_is_the_last_expressions(body: str, value: object) -> None:
    assert run(body, limit=0) == value


def test_a_body_sees_its_values_and_nothing_of_flownb() -> None:
    assert run("sorted(globals())", x=1) == ["__builtins__", "__name__", "x"]
    assert run("__name__") == "__main__"


def test_names_stay_in_the_node() -> None:
    run("leftover = 1")

    assert isinstance(failure_of("leftover"), NameError)


def test_a_body_cannot_change_the_names_of_the_next_run() -> None:
    values = {"x": 1}
    run_node(PythonRuntime(), node_of(PythonNode, "x = 2"), scope_of(values))

    assert values == {"x": 1}


def test_reserved_dicts_are_records() -> None:
    inputs = {"topic": {"name": "solar"}}

    assert run('inputs.topic.name + inputs["topic"]["name"]', inputs=inputs) == "solarsolar"
    assert run("type(article).__name__", article={}) == "dict"


def test_a_record_that_is_the_value_is_a_plain_dict() -> None:
    value = run("inputs", inputs=Record({"items": {"a": 1}}))

    assert type(value) is dict
    assert value == {"items": {"a": 1}}


def test_top_level_await_goes_to_run_async() -> None:
    caller = HereCaller()
    scope = scope_of({"asyncio": asyncio}, caller=caller)

    value = run_node(PythonRuntime(), node_of(PythonNode, "await asyncio.sleep(0)\n3"), scope)

    assert value == 3
    assert caller.calls == ["run_async"]


@pytest.mark.parametrize("body", ["[x async for x in g()]", "async with c: pass", "await f()"])
def test_every_kind_of_top_level_await_is_seen(body: str) -> None:
    assert PythonBody(body).is_async


def test_await_inside_a_function_is_no_top_level_await() -> None:
    assert not PythonBody("async def f():\n    await g()").is_async


def test_a_coroutine_that_nobody_awaited_is_an_error_that_says_so() -> None:
    error = failure_of("async def f(): pass\nf()")

    assert isinstance(error, NodeError)
    assert error.hint == "write `await` before the call"


def test_an_error_shows_the_lines_of_the_text_and_no_frame_of_flownb() -> None:
    error = failure_of("def f(x):\n    return 1 / x\n\nf(0)")

    shown = person_frames(error)

    assert 'File "In[7]", line 15, in <module>\n    f(0)' in shown
    assert 'File "In[7]", line 13, in f\n    return 1 / x' in shown
    assert shown.endswith("ZeroDivisionError: division by zero\n")
    assert "flownb/" not in shown
    assert person_place(error) == "In[7]:13"


def test_an_error_in_a_library_has_its_place_in_the_persons_text() -> None:
    error = failure_of("import json\njson.loads('[')")

    assert person_place(error) == "In[7]:13"
    assert "json/decoder.py" in person_frames(error)


def test_an_error_after_an_await_shows_the_lines_of_the_text() -> None:
    error = failure_of("import asyncio\nawait asyncio.sleep(0)\n1 / 0")

    assert 'File "In[7]", line 14, in <module>\n    1 / 0' in person_frames(error)
    assert "flownb/" not in person_frames(error)
    assert person_place(error) == "In[7]:14"


def test_causes_and_groups_show_no_frame_of_flownb() -> None:
    body = "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise ExceptionGroup('all', [ValueError(1)]) from e"
    error = failure_of(body)

    shown = person_frames(error)

    assert "flownb/" not in shown
    assert 'File "In[7]", line 13' in shown
    assert "ZeroDivisionError" in shown
    assert person_place(error) == "In[7]:15"


def test_a_syntax_error_has_the_line_of_the_text() -> None:
    error = failure_of("a = 1\nb = = 2")

    assert isinstance(error, SyntaxError)
    assert error.lineno == 13
    assert person_place(error) == "In[7]:13"
    assert "b = = 2" in person_frames(error)
    assert "flownb/" not in person_frames(error)


def test_an_error_found_after_parsing_has_the_line_of_the_text() -> None:
    error = failure_of("a = 1\nreturn a")

    assert isinstance(error, SyntaxError)
    assert error.lineno == 13
    assert person_place(error) == "In[7]:13"


def test_frames_of_flownb_below_the_persons_are_left_out_too() -> None:
    call = "from flownb.model.policy import parse_duration\ntry:\n    parse_duration('x')\n"
    error = failure_of(f"{call}except ValueError as e:\n    raise KeyError('y') from e")

    shown = person_frames(error)

    assert "flownb/" not in shown
    assert 'File "In[7]", line 14' in shown
    assert 'File "In[7]", line 16' in shown


def test_an_error_of_flownb_has_no_frames_and_no_place() -> None:
    error = failure_of("async def f(): pass\nf()")

    assert person_frames(error) == ""
    assert person_place(error) == ""


def test_linecache_holds_all_bodies_of_one_text() -> None:
    compile_body("first = 1\n", "In[88]", 3)
    compile_body("second = 2", "In[88]", 9)
    linecache.checkcache()

    assert linecache.getline("In[88]", 3) == "first = 1\n"
    assert linecache.getline("In[88]", 9) == "second = 2\n"
    assert linecache.getline("In[88]", 5) == "\n"


def test_an_edited_body_shows_its_new_lines() -> None:
    compile_body("old = 1", "x.flow.md", 2)
    compile_body("new = 1", "x.flow.md", 2)

    assert linecache.getline("x.flow.md", 2) == "new = 1\n"


def test_a_body_is_compiled_once_for_all_items() -> None:
    compile_body.cache_clear()
    for item in range(50):
        run("item", item=item)

    assert compile_body.cache_info().misses == 1


def test_a_body_pickles() -> None:
    body = PythonBody("x + 1", "In[7]", 12, {"x": 1})

    assert pickle.loads(pickle.dumps(body))() == 2  # noqa: S301 Its own.


def test_a_notebooks_lines_are_transformed_and_keep_their_numbers() -> None:
    runtime = PythonRuntime(lambda source: source.replace("!ls", "shell('ls')"), {"shell": lambda command: [command]})

    value = run_node(runtime, node_of(PythonNode, "files = !ls\nfiles"), scope_of())

    assert value == ["ls"]


def test_what_it_prints_is_shown_without_secrets() -> None:
    shown: list[Printed] = []

    class Loud(HereCaller):
        async def run(self, function, printed):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            printed(Printed("stdout", "the s3cret!"))
            printed(Printed("image/png", b"s3cret"))
            return function()

    run_node(
        PythonRuntime(), node_of(PythonNode, "1"), scope_of(printed=shown.append, secrets=("s3cret",), caller=Loud())
    )

    assert shown == [Printed("stdout", "the •••!"), Printed("image/png", b"s3cret")]


def test_a_deep_recursion_is_shown_in_short() -> None:
    error = failure_of("def f(): f()\nf()")

    assert isinstance(error, RecursionError)
    assert len(person_frames(error)) < 2000


def test_an_error_whose_text_fails_is_still_shown() -> None:
    error = failure_of("class E(Exception):\n    def __str__(self): raise ValueError\nraise E")

    assert "In[7]" in person_frames(error)


def test_a_body_does_not_take_over_how_flownb_is_compiled() -> None:
    assert run("def f(x: int): pass\nf.__annotations__") == {"x": int}


def test_a_secret_that_is_printed_in_pieces_is_hidden_in_each_stream() -> None:
    shown: list[Printed] = []

    class Loud(HereCaller):
        async def run(self, function, printed):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            for part in ("a hun", "ter2", " b hunt"):
                printed(Printed("stdout", part))
                printed(Printed("stderr", part))
            return function()

    scope = scope_of(printed=shown.append, secrets=("hunter2",), caller=Loud())
    run_node(PythonRuntime(), node_of(PythonNode, "1"), scope)
    for mime in ("stdout", "stderr"):
        assert "".join(str(printed.data) for printed in shown if printed.mime == mime) == "a ••• b hunt"


def test_a_body_does_not_show_its_values_when_it_is_logged() -> None:
    assert "hunter2" not in repr(PythonBody("secrets.T", values={"secrets": {"T": "hunter2"}}))
