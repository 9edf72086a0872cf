"""A value that holds something of a secret, whatever it looks like, is nowhere but in memory."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import flownb
from flownb.api import decide, serve
from flownb.cli.commands import run_command
from flownb.errors import FlowInputError, FlowStateError
from flownb.model.decision import Request
from flownb.parse.workflow import parse_workflow
from flownb.runs.hooks import Hooks
from flownb.runs.prepare import RunSettings
from flownb.runs.start import start

SECRET = "s3cr&t-Tök'n \"7/+"
ENCODED = base64.b64encode(f"user:{SECRET}".encode()).decode()
HIDDEN = "•••"


@pytest.fixture(autouse=True)
def _around(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("T", SECRET)


def node(heading: str, body: str, *properties: str, kind: str = "expr") -> str:
    listed = "".join(f"- {line}\n" for line in properties)
    fence = f"```{kind}\n{body}\n```\n\n" if body else ""
    return f"## {heading}\n\n{listed}\n{fence}"


def run_of(*nodes: str, head: str = "", **more: Any) -> flownb.Run:  # Any: keywords of flownb.run
    return flownb.run(flownb.parse(f"---\nsecrets: [T]\n{head}---\n# Secrets\n\n" + "".join(nodes)), **more)


def output(run: flownb.Run, key: str) -> tuple[object, bool]:
    """Return what is stored of a node, and whether a resume can use it."""
    state = json.loads((run.paths.root / "secrets" / f"{run.id}.json").read_text())["nodes"][key]
    return state["output"], state.get("reusable", True)


def kept(folder: Path = Path()) -> str:
    """Return all that lies in a folder, but documents."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.parent != folder)
    return "\n".join(path.read_text() for path in files)


SAID_TWICE = [
    '("user:" ~ secrets.T) | b64encode',
    "secrets.T | tojson | tojson",
    "secrets.T | tojson | urlencode",
    "secrets.T | list | join('-')",
    "secrets.T | reverse | string",
    "secrets.T | hash",
    "secrets.T | length",
    "{'a': {'b': [secrets.T[:3]]}}",
]


@pytest.mark.parametrize("made", SAID_TWICE)
def test_of_a_value_made_from_a_secret_only_dots_are_stored(made: str) -> None:
    run = run_of(
        node("Made", made),
        node("Text", f"{{{{ {made} }}}}!", kind="text"),
        node("Md", f"{{{{ {made} }}}}", kind="markdown"),
        node("Js", f'{{"a": {{{{ {made} }}}}}}', kind="json"),
        node("Ya", f"a: {{{{ {made} }}}}", kind="yaml"),
    )
    assert run.status == "completed"
    assert {output(run, key) for key in ("made", "text", "md", "js", "ya")} == {(HIDDEN, False)}
    assert HIDDEN not in str(run["js"])  # In memory it is what it is.


def test_taint_goes_by_the_value_through_nodes_items_rounds_and_branches() -> None:
    run = run_of(
        node("Auth", '("user:" ~ secrets.T) | b64encode'),
        node("Below", "Basic {{ auth }}", kind="text"),
        node("Each", "item[1:]", "foreach: 'auth | list'"),
        node("Named", "[one, index]", "foreach: 'auth | batch(9)'", "as: one"),
        node("Position", "index", "foreach: 'auth | list'"),
        node("Looped", "auth ~ (previous or '')", "until: round == 1"),
        "## Body\n\n- while: round < 2\n\n### Step\n\n```expr\nprevious.step if previous else auth\n```\n\n",
        "## Rounds\n\n- while: round < 2\n\n### Make\n\n```expr\nauth\n```\n\n"
        "### Took\n\n```expr\nprevious.make if previous else 0\n```\n\n",
        "## Choice\n\n- type: branch\n\n### Taken\n\n```expr\nauth | length\n```\n\n",
        "## Both\n\n- type: parallel\n\n### Left\n\n```expr\nauth\n```\n\n### Right\n\n```expr\n1\n```\n\n",
        node("All", "[each | length, looped, body, choice, both, named]"),
        node("Collect", "item", "foreach: '[1, 2]'", "collect: collect ~ secrets.T"),
        node("Plain", "both.right"),
    )
    assert run.status == "completed", run.errors
    tainted = [
        "auth",
        "below",
        "looped",
        "choice",
        "all",
        "each[0]",
        "named[0]",
        "looped{1}",
        "body{1}/step",
        "left",
        "rounds{1}/took",
    ]
    assert {key: output(run, key) for key in tainted} == dict.fromkeys(tainted, (HIDDEN, False))
    assert output(run, "both") == ({"left": HIDDEN, "right": 1}, False)
    assert output(run, "collect") == ([HIDDEN] * 2, False)
    assert output(run, "position") == (list(range(len(ENCODED))), True)
    assert output(run, "right") == (1, True)
    assert ENCODED not in kept()
    assert ENCODED[9:] not in run.log


def test_what_python_and_bash_make_is_looked_at_and_public_data_stays_reusable() -> None:
    run = run_of(
        node("Public", "len(secrets.T)", kind="python"),
        node("Hidden", "import base64\n{'a': base64.b64encode(('me:' + secrets.T).encode()).decode()}", kind="python"),
        node("Again", "hidden.a[5:]"),
        node("Shell", "printf %s {{ secrets.T | b64encode }} | base64 -w0", kind="bash"),
        node("Count", "printf %s {{ secrets.T }} | wc -c", kind="bash"),
        node("Next", "public + 1"),
    )
    assert run.status == "completed", run.errors
    assert output(run, "public") == (len(SECRET), True)
    assert output(run, "count") == (str(len(SECRET.encode())), True)
    assert output(run, "next") == (len(SECRET) + 1, True)
    assert output(run, "hidden") == ({"a": HIDDEN}, False)
    assert output(run, "again") == (HIDDEN, False)
    assert output(run, "shell") == (HIDDEN, False)


def test_a_sub_flow_takes_taint_in_and_gives_it_back(tmp_path: Path) -> None:
    (tmp_path / "sub.flow.md").write_text(
        "---\ninputs: {token: str, n: int}\noutputs: {auth: \"'Basic ' ~ token_text\", n: inputs.n + 1}\n---\n# Sub\n\n"
        + node("Token text", "{{ inputs.token | b64encode }}", kind="text")
        + node("Number", "inputs.n")
        + node("Whole", "inputs")
    )
    (tmp_path / "main.flow.md").write_text(
        "---\nname: secrets\nsecrets: [T]\n---\n# Main\n\n"
        + node(
            "Call", "", "type: flow", "path: sub.flow.md", "inputs:", "  token: '{{ (\"a\" ~ secrets.T) }}'", "  n: 4"
        )
        .replace("-   token", "    token")
        .replace("-   n:", "    n:")
        + node("After", "call.auth")
    )
    run = flownb.run("main.flow.md", state_dir=tmp_path / ".flownb")
    assert run.status == "completed", run.errors
    keys = ("call/token_text", "call/whole", "call", "after")
    assert {key: output(run, key) for key in keys} == dict.fromkeys(keys, (HIDDEN, False))
    assert output(run, "call/number") == (4, True)
    assert run["after"] == f"Basic {base64.b64encode(f'a{SECRET}'.encode()).decode()}"


def test_outputs_hide_only_what_is_made_from_a_secret() -> None:
    run = run_of(
        node("Auth", '("user:" ~ secrets.T) | b64encode'),
        node("Public", "1"),
        head="outputs: {auth: auth, public: public, direct: 'secrets.T | length'}\n",
    )
    assert run.as_json()["outputs"] == {"auth": HIDDEN, "public": 1, "direct": HIDDEN}
    assert run.outputs["auth"] == ENCODED


def test_a_tainted_node_runs_again_in_a_resume_and_what_reads_it_by_python_does_not(tmp_path: Path) -> None:
    nodes = (
        node("Auth", '("user:" ~ secrets.T) | b64encode'),
        node("Used", "import pathlib\npathlib.Path('used').open('x').close()\nlen(auth)", kind="python"),
        node("Ask", "Go?", kind="checkpoint"),
        node("Last", "auth"),
    )
    run = run_of(*nodes, decide=lambda _: None)
    assert run.status == "waiting"
    decide(run.id, "ask", flownb.Decision(action="approve", at=run.state.started_at))
    again = flownb.resume(run.id)
    assert again.status == "completed"
    assert again["last"] == ENCODED
    assert (tmp_path / "used").exists()  # Made once: a second time would have failed.
    with pytest.raises(FlowStateError, match="is not kept: it holds a secret"):
        flownb.show(run.id)["auth"]


# Questions.


def shown_to(*nodes: str) -> list[Request]:
    asked: list[Request] = []

    def answer(request: Request) -> flownb.Decision:
        asked.append(request)
        return flownb.Decision(action="approve", by="ana")

    assert run_of(*nodes, decide=answer).status == "completed"
    return asked


def test_question_and_show_hide_secrets_in_any_encoding() -> None:
    (request,) = shown_to(
        node("Auth", '("user:" ~ secrets.T) | b64encode'),
        node("Data", "{'note': 'it is ' + secrets.T, 'n': 5}", kind="python"),
        node("Public", "{'public': [1, 2]}"),
        node(
            "Ask",
            "Use {{ secrets.T }}, {{ auth[4:] }}, {{ data.note[:9] }} and {{ data.n }}? "
            "{% set x = secrets.T | list %}{{ x | join('.') }} {% if secrets.T == auth %}no{% else %}yes{% endif %} {{ 7 }}",
            "show: [auth, secrets.T | tojson | tojson, data, public]",
            kind="checkpoint",
        ),
    )
    assert request.text == f"Use {HIDDEN}, {HIDDEN}, {HIDDEN} and {HIDDEN}? {HIDDEN} yes 7"
    assert request.values == {
        "auth": HIDDEN,
        "secrets.T | tojson | tojson": HIDDEN,
        "data": HIDDEN,
        "public": {"public": [1, 2]},
    }
    assert request.hide(SECRET) == HIDDEN


def test_an_answer_that_holds_a_secret_is_stored_without_it(capfd: pytest.CaptureFixture[str]) -> None:
    nodes = (node("Ask", "Which?", "input: text", kind="checkpoint"), node("Got", "ask.input"))
    run = run_of(*nodes, decide=lambda _: None)
    state = run.paths.root
    assert run_command(["decide", run.id, "ask", "input", f"it is {SECRET}", "--state", str(state)]) == 0
    assert HIDDEN in (run.paths.decisions / "ask.json").read_text()
    again = flownb.resume(run.id)
    assert again.status == "completed"
    assert again["got"] == f"it is {HIDDEN}"
    run_command(["show", run.id, "--json", "--state", str(state)])
    told = capfd.readouterr()
    for form in (SECRET, json.dumps(SECRET)[1:-1], json.dumps(SECRET, ensure_ascii=False)[1:-1]):
        assert form not in kept() + told.out + told.err + again.log


def test_an_answer_given_here_is_the_same_as_after_a_resume() -> None:
    nodes = (node("Ask", "Which?", "input: text", kind="checkpoint"), node("Got", "ask.input"))
    run = run_of(*nodes, decide=lambda _: flownb.Decision(action="input", input=SECRET, by=SECRET))
    assert (run["got"], run.decisions["ask"].by) == (HIDDEN, HIDDEN)
    assert SECRET not in run.log


# Errors.


@pytest.mark.parametrize(
    "failing",
    [
        node("Bad", "secrets.T | b64encode | fromjson"),
        node("Bad", "{{ ('user:' ~ secrets.T) | b64encode | fromjson }}", kind="text"),
        node("Bad", "a: {{ ('[' ~ secrets.T | b64encode) | raw }}", kind="yaml"),
        node("Bad", "{{ secrets.T | b64encode | raw }}", kind="json"),
        node("Bad", "echo {{ secrets.T | b64encode | fromjson }}", kind="bash"),
        node("Bad", "1", "when: secrets.T | b64encode | fromjson"),
        node("Bad", "1", "foreach: secrets.T | b64encode | fromjson"),
        node("Bad", "1", "until: secrets.T | b64encode | fromjson"),
        node("Bad", "1", "foreach: '[1]'", "collect: secrets.T | b64encode | fromjson"),
        node("Bad", "Q", "show: secrets.T | b64encode | fromjson", kind="checkpoint"),
    ],
)
def test_the_error_of_a_node_that_reads_a_secret_shows_no_value(failing: str) -> None:
    run = run_of(
        failing.replace("## Bad\n\n", "## Bad\n\n- fallback: calm\n"),
        node("Calm", "error.message", kind="expr"),
        node("Worse", "secrets.T ~ none.x", "continue_on_error: true"),
        head='outputs: {a: "secrets.T | b64encode | fromjson"}\n',
    )
    assert run.status == "failed"
    messages = [failure.message for failure in run.errors] + [str(run.nodes["bad"].error), kept(), run.log]
    plain = base64.b64encode(SECRET.encode()).decode()
    assert [text for text in messages for part in (plain[:8], plain[4:12], ENCODED[:12]) if part in text] == []
    assert any(state.error for state in run.nodes.values())


def test_a_name_that_is_missing_is_told_also_where_a_secret_is_read() -> None:
    run = run_of(node("Made", "{'title': 1}"), node("Bad", "secrets.T ~ made.titlo"))
    assert "`made` has no `titlo`; did you mean `title`?" in run.errors[0].message


def test_a_long_secret_is_not_cut_into_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    long = "k" * 30 + "Zq" * 60
    monkeypatch.setenv("T", long)
    run = run_of(node("Bad", "secrets.T | fromjson"))
    assert "k" * 8 not in run.errors[0].message + kept()


# Inputs, hashes, the document.


def test_an_input_that_is_a_secret_is_kept_as_dots_and_what_reads_it_is_tainted() -> None:
    nodes = (node("Auth", "inputs.token | b64encode"), node("Topic", "inputs.topic"), node("Stop", "1 / inputs.n"))
    head = "inputs: {token: str, topic: str, n: int}\n"
    run = run_of(*nodes, head=head, inputs={"token": SECRET, "topic": "sun", "n": 0})
    assert output(run, "auth") == (HIDDEN, False)
    assert output(run, "topic") == ("sun", True)
    with pytest.raises(FlowInputError, match="input `token` held a secret"):
        flownb.resume(run.id, inputs={"n": 1})
    again = flownb.resume(run.id, inputs={"n": 1, "token": SECRET})
    assert again.status == "completed"


def test_an_input_that_holds_dots_of_its_own_is_resumable() -> None:
    head = "inputs: {topic: str, n: int}\n"
    nodes = (node("Topic", "inputs.topic"), node("Text", "••• and more", kind="text"), node("Stop", "1 / inputs.n"))
    run = run_of(*nodes, head=head, inputs={"topic": "•••", "n": 0})
    assert run.status == "failed"
    began: list[str] = []
    again = flownb.resume(
        run.id,
        inputs={"n": 1},
        listen=lambda event: began.append(event.key) if event.kind in ("node_started", "node_completed") else None,
    )
    assert (again.status, again["topic"], again["text"], began) == ("completed", "•••", "••• and more", ["stop"])


def hashes_of(run: flownb.Run) -> set[object]:
    state = run.as_json()
    nodes: Mapping[str, Any] = state["nodes"]  # type: ignore[assignment] # as interfaces.md has it
    return {state["definition"]["sha256"], *(node["definition_sha256"] for node in nodes.values())}  # type: ignore[index, call-overload] # the same


def test_no_hash_that_is_kept_tells_which_secret_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a secret of four digits all ten thousand can be tried."""
    hashes = []
    for pin in ("4711", "0815"):
        monkeypatch.setenv("T", pin)
        nodes = (node("Pasted", f"'{pin}'", kind="python"), node("Read", "inputs.pin"))
        hashes.append(hashes_of(run_of(*nodes, head="inputs: {pin: str}\n", inputs={"pin": pin})))
    assert len(hashes[0]) == 3
    assert hashes[0] == hashes[1]


def test_no_digest_of_an_item_of_secrets_or_of_a_variable_with_one_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As above: of an item that is worked out from a secret, and of a notebook's variable that holds one."""
    read = []
    for pin in ("4711", "0815"):
        monkeypatch.setenv("T", pin)
        text = node("Each", "len(str(item)) + len(shown)", "foreach: '[secrets.T | reverse | string]'", kind="python")
        workflow = parse_workflow(f"---\nsecrets: [T]\n---\n# Secrets\n\n{text}", name="s", variables={"shown": pin})
        prepared, _ = start(workflow, {}, RunSettings(variables={"shown": f"pin {pin}"}))
        nodes = serve(prepared, Hooks()).state.nodes
        read.append([nodes[key].reads for key in ("each", "each[0]")])
    assert "item" in read[0][1]
    assert read[0] == read[1]


@pytest.mark.parametrize("name", ["{{ secrets.T }}.csv", "{{ secrets.T | reverse | urlencode }}.csv"])
def test_files_that_are_named_by_a_secret_are_refused(name: str) -> None:
    run = run_of(node("Read", "1", f'files: "{name}"'))
    assert [error.message for error in run.errors] == ["`files` reads a secret, and what it names is written down"]


def test_a_secret_pasted_into_the_document_is_not_stored_and_is_there_again_in_a_resume(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = run_of(
        node("Pasted", f"len({SECRET!r})", kind="python"),
        node("Shouted", f"len({SECRET.upper()!r})", kind="python"),
        node("Ask", f"Use {SECRET}?", kind="checkpoint"),
        node("Last", f"[len('''{SECRET}'''), len({SECRET.upper()!r})]", kind="python"),
        decide=lambda _: None,
    )
    source = run.paths.source.read_text()
    assert "•••T•••" in source
    escaped = json.dumps(SECRET, ensure_ascii=False)[1:-1]
    assert [form for form in (SECRET, escaped, escaped.upper()) if form in kept()] == []
    decide(run.id, "ask", flownb.Decision(action="approve", at=run.state.started_at))
    monkeypatch.delenv("T")
    with pytest.raises(FlowInputError, match="the document was not kept whole: the value of the secret T"):
        flownb.resume(run.id)
    monkeypatch.setenv("T", SECRET)
    again = flownb.resume(run.id)
    assert (again.status, again["last"]) == ("completed", [len(SECRET)] * 2)


def test_what_is_told_of_a_document_with_a_secret_in_it_hides_it() -> None:
    (request,) = shown_to(node("Ask", f"Use {SECRET}?", kind="checkpoint"))
    assert request.text == f"Use {HIDDEN}?"
    skipped = run_of(
        node("Made", "1", f"when: {json.dumps(repr(SECRET) + ' == 1')}"), node("Bad", f"made[{SECRET!r}].x")
    )
    assert SECRET not in str(skipped.errors) + skipped.log + str(skipped.nodes)


def test_an_output_that_cannot_be_worked_out_hides_a_secret_in_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T", "hunter2hunter")
    run = run_of(node("Made", "{'a': 1}"), head="outputs: {c: \"made['hunter2hunter'] ~ 'x'\"}\n")
    assert run.status == "failed"
    assert HIDDEN in run.errors[0].message
    assert "hunter2" not in run.errors[0].message + run.log


def test_wrong_input_shows_no_secret() -> None:
    with pytest.raises(FlowInputError) as caught:
        run_of(node("A", "inputs.n"), head="inputs: {n: int}\n", inputs={"n": SECRET})
    assert "•••" in caught.value.message
    assert SECRET not in str(caught.value)


# Children and short secrets.


def test_a_child_inherits_only_secrets_that_its_script_names() -> None:
    seen = "env | cut -d= -f1 | grep -cx '[S-V]' || true"
    run = run_of(
        node("Other", seen, kind="bash"),
        node("Named", f": $T\n{seen}", kind="bash"),
        node("Given", seen.replace("S-V", "W-Z"), "env: {X: '{{ secrets.T }}'}", kind="bash"),
    )
    assert [run[key] for key in ("other", "named", "given")] == ["0", "1", "1"]


@pytest.mark.parametrize("short", ["1", "on", "yes"])
def test_a_short_secret_is_hidden_as_a_word_and_leaves_the_rest_alone(
    monkeypatch: pytest.MonkeyPatch, short: str
) -> None:
    monkeypatch.setenv("T", short)
    run = run_of(
        node("Word", f"'so {short}, and x{short}x'", kind="python"),
        node("Number", "[1, 11]", kind="python"),
        node("Made", "secrets.T ~ 'x'"),
    )
    assert run.status == "completed"
    assert output(run, "word") == (f"so •••, and x{short}x", False)
    assert output(run, "number") == ((["•••", 11], False) if short == "1" else ([1, 11], True))
    assert output(run, "made") == (HIDDEN, False)


@pytest.mark.parametrize("word", ["completed", "approve", "output", "made", "failed"])
def test_a_secret_that_is_one_of_our_own_words_breaks_nothing(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("T", word)
    nodes = (node("Made", "secrets.T"), node("Ask", "Go?", kind="checkpoint"), node("Last", "1"))
    run = run_of(*nodes, decide=lambda _: None)
    decide(run.id, "ask", flownb.Decision(action="approve", at=run.state.started_at))
    again = flownb.resume(run.id)
    assert again.status == "completed"
    assert output(again, "made") == (HIDDEN, False)
    assert output(again, "last") == (1, True)
    (run.paths.journal).unlink()
    assert flownb.show(run.id).status == "completed"


def test_a_process_that_runs_bodies_shows_no_secret(tmp_path: Path) -> None:
    (tmp_path / "w.flow.md").write_text(
        "---\nsecrets: [T]\n---\n# W\n\n"
        + node("Bad", "import sys\nprint(secrets.T[:5], end='')\nsys.stdout.flush()\nprint(secrets.T[5:])\n1/0",
               "executor: process", kind="python")
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-m", "flownb", "run", "w.flow.md"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "[bad] •••" in done.stderr
    assert SECRET not in done.stdout + done.stderr + kept()
