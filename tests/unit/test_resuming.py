"""What a resume runs again (format.md, section 4.6), seen by what each node notes when it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

import flownb
from flownb.api import serve, take_up
from flownb.runs.hooks import Hooks
from flownb.runs.prepare import RunSettings


class Flow:
    """A document whose nodes note that they ran, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.notes = folder, folder / "notes"

    def node(self, name: str, value: str, *properties: str, level: int = 2) -> str:
        """Return a python node's section; it notes its name."""
        listed = "".join(f"- {item}\n" for item in properties)
        note = f"with open({str(self.notes)!r}, 'a') as notes: notes.write('{name} ')"
        return f"{'#' * level} {name}\n\n{listed}\n```python\n{note}\n{value}\n```\n\n"

    def run(self, text: str, run_id: str | None = None) -> flownb.Run:
        """Run a text, in a run of its own or in one that exists."""
        return flownb.run(flownb.parse(text), state_dir=self.folder / "state", run_id=run_id)

    def resume(self, made: flownb.Run, from_node: str | None = None) -> flownb.Run:
        """Resume a run by its stored text."""
        return flownb.resume(made.id, state_dir=self.folder / "state", from_node=from_node)

    def ran(self) -> str:
        """Return the nodes that ran since this was asked last."""
        text = self.notes.read_text()
        self.notes.write_text("")
        return text.strip()


@pytest.fixture
def flow(tmp_path: Path) -> Flow:
    """Return a document in an empty folder."""
    return Flow(tmp_path)


@pytest.mark.parametrize(
    "head, again",
    [
        ("foreach: [1, 2]", "j j after"),
        ("type: parallel", "j after"),
        ("until: round == 1", "j j after"),
    ],
)
def test_from_a_node_in_a_container_runs_that_node(flow: Flow, head: str, again: str) -> None:
    inside = flow.node("i", "1", level=3) + flow.node("j", "2", level=3)
    made = flow.run(f"## Box\n\n- {head}\n\n{inside}" + flow.node("after", "box"))
    flow.ran()
    assert flow.resume(made, "j").status == "completed"
    assert flow.ran() == again


def test_from_a_node_runs_what_depends_on_it_above_too(flow: Flow) -> None:
    made = flow.run(flow.node("a", "1") + flow.node("b", "late") + flow.node("late", "3"))
    flow.ran()
    flow.resume(made, "late")
    assert flow.ran() == "late b"


def test_a_failure_that_the_run_went_on_after_stands_in_a_resume(flow: Flow) -> None:
    now = flow.folder / "now"
    text = flow.node("a", f"open({str(now)!r}).close()\n5", "continue_on_error: true") + flow.node("b", "a")
    made = flow.run(text + flow.node("c", f"open({str(now)!r}).close()\nb"))
    flow.ran()
    now.touch()
    made = flow.resume(made)
    assert (made.status, made["a"], made["b"], flow.ran()) == ("completed", None, None, "c")


def test_a_node_runs_again_when_the_fallback_that_stood_in_for_it_was_edited(flow: Flow) -> None:
    text = flow.node("a", "1 / 0", "fallback: f") + flow.node("f", "2") + flow.node("b", "a") + flow.node("c", "1 / 0")
    made = flow.run(text)
    flow.ran()
    made = flow.run(text.replace("\n2\n", "\n3\n"), made.id)
    assert (flow.ran(), made["b"]) == ("a f b c", 3)


def test_an_edit_in_a_sub_flow_of_a_sub_flow_runs_it_again(flow: Flow) -> None:
    def write(inner: str, last: str) -> Path:
        for name, text in (
            ("inner", flow.node("i", inner)),
            ("middle", "## In {#into}\n\n- type: flow\n- path: inner.flow.md\n"),
            ("outer", "## Mid\n\n- type: flow\n- path: middle.flow.md\n\n" + flow.node("last", last)),
        ):
            (flow.folder / f"{name}.flow.md").write_text(text)
        return flow.folder / "outer.flow.md"

    made = flownb.run(write("1", "1 / 0"), state_dir=flow.folder / "state")
    made = flownb.run(write("2", "mid"), state_dir=flow.folder / "state", run_id=made.id)
    assert made["last"] == {"into": {"i": 2}}


@pytest.mark.parametrize("before, after, value", [("1", "2", "other"), ("2", "1", "one")])
def test_a_branch_whose_condition_changed_chooses_anew(flow: Flow, before: str, after: str, value: str) -> None:
    text = flow.node("n", "1") + "## Way\n\n- type: branch\n\n" + flow.node("one", "'one'", "when: n == 1", level=3)
    text += flow.node("other", "'other'", level=3) + flow.node("last", "way if LAST else 1 / 0")
    made = flow.run(text.replace("\n1\n", f"\n{before}\n", 1).replace("LAST", "0"))
    made = flow.run(text.replace("\n1\n", f"\n{after}\n", 1).replace("LAST", "1"), made.id)
    skipped = "one" if value == "other" else "other"
    assert (made["last"], made.nodes[skipped].status) == (value, "skipped")


def test_an_open_question_takes_the_default_that_the_document_has_now(flow: Flow) -> None:
    text = "## Ask\n\n- default: reject\n\n```checkpoint\nGo?\n```\n"
    made = flownb.run(flownb.parse(text), state_dir=flow.folder / "state", decide=lambda _request: None)
    assert made.status == "waiting"
    assert flow.run(text.replace("reject", "approve"), made.id).status == "completed"


def test_an_edit_in_a_loop_runs_all_its_rounds_again(flow: Flow) -> None:
    text = "## Loop\n\n- until: round == 1\n\n" + flow.node("i", "previous and previous.j", level=3)
    text += flow.node("j", "round + 1", level=3) + flow.node("last", "loop_value if LAST else 1 / 0")
    text = text.replace("## Loop", "## Loop {#loop_value}")
    made = flow.run(text.replace("LAST", "0"))
    made = flow.run(text.replace("LAST", "1").replace("round + 1", "round + 10"), made.id)
    assert made["last"] == {"i": 10, "j": 11}


def test_a_failure_counts_once_the_node_no_longer_lets_it_pass(flow: Flow) -> None:
    text = flow.node("a", "1 / 0", "continue_on_error: true") + flow.node("b", "a") + flow.node("c", "1 / 0")
    made = flow.run(text)
    flow.ran()
    made = flow.run(text.replace("continue_on_error: true", "retry: 0"), made.id)
    assert (flow.ran(), [failure.node for failure in made.errors]) == ("a", ["a"])


def test_a_branch_that_was_begun_is_not_chosen_anew(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    flag = flow.folder / "flag"
    text = "## Way\n\n- type: branch\n\n" + flow.node(
        "left", f"with open({str(flag)!r}): pass\n'l'", "when: env.SIDE == 'l'", level=3
    )
    text += flow.node("right", "'r'", level=3)
    monkeypatch.setenv("SIDE", "l")
    made = flow.run(text)
    assert made.status == "failed"
    flag.touch()
    monkeypatch.setenv("SIDE", "r")
    again = flow.resume(made)
    assert (again["way"], flow.ran()) == ("l", "left left")


def test_a_changed_input_is_noticed_where_a_body_reads_all_of_them(flow: Flow) -> None:
    text = "---\ninputs: {x: {type: int, default: 1}, y: {type: int, default: 1}}\n---\n"
    text += flow.node("whole", "dict(inputs)['x']") + flow.node("other", "inputs.y", "needs: []")
    made = flow.run(text + flow.node("end", "assert whole == 2"))
    flow.ran()
    again = flownb.resume(made.id, state_dir=flow.folder / "state", inputs={"x": 2})
    assert (again.status, again["whole"], flow.ran()) == ("completed", 2, "whole end")


def test_from_a_fallback_runs_it_again_with_the_node_that_it_stood_in_for(flow: Flow) -> None:
    text = flow.node("a", "1 / 0", "fallback: spare") + flow.node("b", "a") + flow.node("other", "1", "needs: []")
    made = flow.run(text + flow.node("spare", "7"))
    assert flow.ran().split() == ["a", "other", "spare", "b"] or made["b"] == 7
    again = flow.resume(made, "spare")
    assert (again.status, again["b"], flow.ran()) == ("completed", 7, "a spare b")


def test_attempts_before_a_stop_do_not_count(flow: Flow) -> None:
    text = flow.node("a", "1 / 0", "retry: {max: 1, base: 1ms}")
    made = flow.run(text)
    assert flow.ran() == "a a"
    assert flow.resume(made).nodes["a"].attempts == 2
    assert flow.ran() == "a a"


@pytest.mark.parametrize("before, after", [("collect: a", "collect: a + 1"), ("", "collect: 5")])
def test_what_a_foreach_collects_is_part_of_its_definition(flow: Flow, before: str, after: str) -> None:
    def text(said: str) -> str:
        listed = [said] if said else []
        return flow.node("a", "item", "foreach: [1]", *listed)

    made = flow.run(text(before) + flow.node("end", "assert 0"))
    flow.ran()
    flow.run(text(after) + flow.node("end", "1"), run_id=made.id)
    assert flow.ran() == "a end"


def test_the_when_of_a_group_is_part_of_what_its_nodes_are(flow: Flow) -> None:
    text = "## Group\n\n- when: {}\n\n" + flow.node("a", "1", level=3) + flow.node("end", "{}", "needs: []")
    made = flow.run(text.format("false", "assert 0"))
    assert flow.ran() == "end"
    flow.run(text.format("true", "1"), run_id=made.id)
    assert sorted(flow.ran().split()) == ["a", "end"]


def test_the_plan_names_what_must_be_made_again_because_it_could_not_be_kept(flow: Flow) -> None:
    made = flow.run(
        flow.node("a", "__import__('array').array('i', [1])") + flow.node("b", "len(a)") + flow.node("end", "assert 0")
    )
    prepared, plan = take_up(made.id, RunSettings(state_dir=flow.folder / "state"), {})
    prepared.journal.close()
    assert str(plan) == "run again: a (its value is not kept), end (it failed)\nmay run again: b (reads a)"


def test_a_failure_before_any_attempt_that_the_run_went_on_after_stands_in_a_resume(flow: Flow) -> None:
    text = flow.node("a", "1", "when: '(1 / 0) > 1'", "continue_on_error: true")
    made = flow.run(text + flow.node("end", "assert 0", "needs: []"))
    prepared, plan = take_up(made.id, RunSettings(state_dir=flow.folder / "state"), {})
    prepared.journal.close()
    assert str(plan) == "reuse: a\nrun again: end (it failed)"


def test_from_a_node_runs_all_that_is_in_a_container_above_that_reads_it(flow: Flow) -> None:
    inside = flow.node("x", "1", level=3) + flow.node("y", "late", level=3)
    made = flow.run(f"## Box\n\n- type: parallel\n\n{inside}" + flow.node("late", "2"))
    flow.ran()
    flow.resume(made, "late")
    assert sorted(flow.ran().split()) == ["late", "x", "y"]


def test_from_a_sub_flow_runs_all_that_is_in_it(flow: Flow) -> None:
    (flow.folder / "inner.flow.md").write_text(flow.node("x", "1") + flow.node("y", "2"))
    text = flow.node("a", "1") + "## Sub\n\n- type: flow\n- path: inner.flow.md\n\n"
    made = flownb.run(flownb.parse(text, path=flow.folder / "w.flow.md"), state_dir=flow.folder / "state")
    flow.ran()
    flow.resume(made, "sub")
    assert sorted(flow.ran().split()) == ["x", "y"]


def test_the_plan_counts_the_items_whose_value_is_kept_of_all_that_there_are(flow: Flow) -> None:
    body = "assert item != 3\n__import__('array').array('i', [1]) if item == 1 else 1"
    made = flow.run(flow.node("a", body, "foreach: [1, 2, 3, 4]", "concurrency: 1"))
    prepared, plan = take_up(made.id, RunSettings(state_dir=flow.folder / "state"), {})
    prepared.journal.close()
    assert str(plan) == "reuse: a (1 of 4 items)"


def test_what_reads_a_value_that_is_not_kept_runs_again_when_its_node_was_edited(flow: Flow) -> None:
    def text(value: str, last: str) -> str:
        return flow.node("a", value) + flow.node("b", "len(a)") + flow.node("end", last)

    made = flow.run(text("__import__('array').array('i', [1])", "assert 0"))
    flow.ran()
    again = flow.run(text("__import__('array').array('i', [1, 2])", "1"), run_id=made.id)
    assert (flow.ran(), again["b"]) == ("a b end", 2)


@pytest.mark.parametrize("how, made", [("as was", "was was"), ("as is", "was now")])
def test_a_sub_flow_is_kept_as_it_was_with_those_that_it_runs(tmp_path: Path, how: str, made: str) -> None:
    inner = "---\nname: {0}\n---\n# Doc\n\n## A\n\n```bash\n[[ -e ok ]] && echo {1}\n```\n"
    outer = "# Outer\n\n## First\n\n```text\nwas\n```\n\n## Sub\n\n- type: flow\n- path: below/middle.flow.md\n\n## Both\n\n```expr\nfirst + ' ' + sub.b.a\n```\n"
    middle = "# Middle\n\n## B\n\n- type: flow\n- path: inner.flow.md\n"
    (tmp_path / "below").mkdir()
    for name, text in {"outer": outer, "below/middle": middle, "below/inner": inner.format("inner", "was")}.items():
        (tmp_path / f"{name}.flow.md").write_text(text)
    assert flownb.run(tmp_path / "outer.flow.md", run_id="r1").status == "failed"
    (tmp_path / "below/inner.flow.md").write_text(inner.format("inner", "now"))
    (tmp_path / "below/ok").touch()

    settings = RunSettings(state_dir=tmp_path / ".flownb")
    prepared, _ = take_up("r1", settings, {}, as_was=how == "as was")
    run = serve(prepared, Hooks())

    assert run["both"] == made


def test_the_text_of_a_sub_flow_is_kept_without_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", "tok-9f8e7d")
    inner = (
        "---\nsecrets: [API_TOKEN]\n---\n# Inner\n\n## A\n\n```text\ntok-9f8e7d\n```\n\n## B\n\n```bash\nexit 1\n```\n"
    )
    (tmp_path / "inner.flow.md").write_text(inner)
    (tmp_path / "outer.flow.md").write_text("# Outer\n\n## Sub\n\n- type: flow\n- path: inner.flow.md\n")
    flownb.run(tmp_path / "outer.flow.md", run_id="r1")

    stored = (tmp_path / ".flownb/outer/r1/subflows.json").read_text()
    again, _ = take_up("r1", RunSettings(state_dir=tmp_path / ".flownb"), {}, as_was=True)
    again.journal.close()

    assert "tok-9f8e7d" not in stored
    assert "## A" in stored
    assert again.program.workflow.subflows["sub"].text == inner
