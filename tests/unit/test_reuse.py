"""What a fingerprint holds besides the text, and what a new run takes over from an earlier one (format.md, section 4.6)."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import flownb
from flownb.api import serve, take_up
from flownb.errors import FlowInputError, FlowStateError
from flownb.model.events import NodeCompleted
from flownb.parse.workflow import parse_workflow
from flownb.plan.imports import imported
from flownb.runs.hooks import Hooks
from flownb.runs.prepare import RunSettings
from flownb.runs.start import start
from flownb.runs.versions import other_versions, versions_of
from flownb.store.journal import read_journal
from flownb.terminal.reuse_option import with_reuse_said

END = "\n## End\n\n```python\nwith open('{}/go'): pass\n```\n"


class Folder:
    """A document in a folder of its own; its python bodies note that they ran."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.notes = path / ".notes"
        self.notes.touch()
        (path / "data").mkdir()
        (path / "data" / "a.csv").write_text("1")

    def node(self, name: str, value: str, *properties: str, level: int = 2) -> str:
        """Return a node's section."""
        listed = "".join(f"- {item}\n" for item in properties)
        note = f"with open({str(self.notes)!r}, 'a') as notes: notes.write('{name} ')"
        return f"{'#' * level} {name}\n\n{listed}\n```python\n{note}\n{value}\n```\n\n"

    def write(self, text: str) -> Path:
        """Write the document; its last node fails until there is a file `go`."""
        document = self.path / "w.flow.md"
        document.write_text(text + END.format(self.path))
        return document

    def plan(self) -> str:
        """Return what a resume would do; nothing of it stays."""
        state, kept = self.path / ".flownb", self.path / ".kept"
        shutil.copytree(state, kept)
        prepared, plan = take_up("last", RunSettings(state_dir=state), {})
        prepared.journal.close()
        shutil.rmtree(state)
        kept.rename(state)
        return str(plan)

    def resume(self) -> str:
        """Resume the last run to its end, and return what ran."""
        (self.path / "go").touch()
        self.ran()
        assert flownb.resume("last", self.path / ".flownb").status == "completed"
        return self.ran()

    def ran(self) -> str:
        """Return what ran since this was asked last."""
        text = self.notes.read_text()
        self.notes.write_text("")
        return text.strip()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Folder:
    """Return a folder."""
    monkeypatch.syspath_prepend(tmp_path)
    return Folder(tmp_path)


@pytest.mark.parametrize("files", ["data/a.csv", "data/*.csv", "data", "'**/*.csv'", "[data/b.csv, data/a.csv]"])
def test_a_node_runs_again_when_its_files_changed(folder: Folder, files: str) -> None:
    flownb.run(folder.write(folder.node("a", "1", f"files: {files}") + folder.node("b", "a")))
    assert folder.plan().splitlines()[0] == "reuse: a, b"
    (folder.path / "data" / "a.csv").write_text("2")
    name = {"'**/*.csv'": "**/*.csv", "[data/b.csv, data/a.csv]": "data/a.csv"}.get(files, files)
    assert folder.plan().splitlines()[0] == f"run again: a (the files {name} changed), end (it failed)"
    assert folder.resume() == "a"


def test_a_file_that_was_not_there_counts_as_such(folder: Folder) -> None:
    flownb.run(folder.write(folder.node("a", "1", "files: data/b.csv")))
    (folder.path / "data" / "b.csv").write_text("")
    assert "a (the files data/b.csv changed)" in folder.plan()


def test_hidden_files_and_the_document_are_not_among_a_glob(folder: Folder) -> None:
    document = folder.write(folder.node("a", "1", "files: '**/*'"))
    flownb.run(document)
    document.write_text(document.read_text() + "\nProse.\n")
    assert folder.resume() == "a", "the file `go` is among them"
    (folder.path / ".hidden").touch()
    flownb.run(document, reuse=True)
    assert folder.ran() == ""


def test_files_of_an_item_are_part_of_its_own_fingerprint(folder: Folder) -> None:
    (folder.path / "data" / "b.csv").write_text("1")
    flownb.run(folder.write(folder.node("a", "item", "foreach: ['a', 'b']", "files: 'data/{{ item }}.csv'")))
    folder.ran()
    (folder.path / "data" / "b.csv").write_text("2")
    assert "a (the files data/b.csv changed)" in folder.plan()
    assert folder.resume() == "a"


def test_files_of_a_node_in_a_container_are_looked_at_though_the_container_is_the_same(folder: Folder) -> None:
    inner = folder.node("x", "item", "files: 'data/{{ item }}.csv'", level=3) + folder.node("y", "x", level=3)
    flownb.run(folder.write(folder.node("n", "['a', 'b']") + "## Box\n\n- foreach: n\n\n" + inner))
    folder.ran()
    (folder.path / "data" / "a.csv").write_text("2")
    assert "box (the files data/a.csv changed)" in folder.plan()
    assert folder.resume() == "x"


def test_files_of_a_container_are_files_of_all_in_it(folder: Folder) -> None:
    inner = folder.node("x", "1", level=3)
    flownb.run(folder.write("## Box\n\n- type: parallel\n- files: data/*\n\n" + inner))
    (folder.path / "data" / "b.csv").write_text("2")
    assert folder.resume() == "x"


@pytest.mark.parametrize("path", ["../out.csv", "../*.csv", "link.csv", "*.csv"])
def test_files_outside_the_folder_are_an_error_unless_allowed(folder: Folder, path: str) -> None:
    (folder.path.parent / "out.csv").write_text("1")
    (folder.path / "link.csv").unlink(missing_ok=True)
    (folder.path / "link.csv").symlink_to(folder.path.parent / "out.csv")
    run = flownb.run(folder.write(folder.node("a", "1", f"files: '{path}'")))
    assert "is outside the document's folder" in run.errors[0].message
    assert "allow_paths" in run.errors[0].hint
    text = f"---\nallow_paths: ['..']\n---\n{folder.node('a', '1', f'files: {path!r}')}"
    (folder.path / "go").touch()
    assert flownb.run(folder.write(text)).status == "completed"
    (folder.path.parent / "out.csv").unlink()


def test_files_is_a_path_or_a_list_of_paths() -> None:
    with pytest.raises(flownb.FlowSyntaxError, match="files"):
        flownb.parse("## A\n\n- files: {a: 1}\n\n```python\n1\n```\n")


def test_a_module_in_the_folder_is_part_of_the_fingerprint_with_what_it_imports(folder: Folder) -> None:
    (folder.path / "deeper_one.py").write_text("X = 1\n")
    (folder.path / "pack_one").mkdir()
    (folder.path / "pack_one" / "__init__.py").write_text("from deeper_one import X\n")
    flownb.run(folder.write(folder.node("a", "import pack_one, json\npack_one.X") + folder.node("b", "2")))
    assert folder.plan().splitlines()[0] == "reuse: a, b"
    (folder.path / "deeper_one.py").write_text("X = 1  # the same\n")
    assert folder.plan() == "reuse: b\nrun again: a (the module deeper_one changed), end (it failed)"
    assert folder.resume() == "a"


def test_imports_are_found_in_code_that_only_a_notebook_knows() -> None:
    assert imported("!ls\nimport b.c\nfrom a import x") == ("a", "b")
    assert imported("from . import x\nif 1:\n    import q as r, s.t # , u\ntry: import v; import w") == (
        "q",
        "s",
        "v",
        "w",
    )
    assert imported("from .x import y\nimportant = reimport\nfrom z.y import (a,\n b)") == ("z",)


def test_a_variable_that_changed_is_named_and_one_that_is_gone_counts_as_the_same(folder: Folder) -> None:
    workflow = parse_workflow(folder.node("a", "x + 1") + folder.node("b", "a"), name="w", variables={"x": 1})

    def run(run_id: str | None = None, start_at: str | None = None, **variables: object) -> str:
        settings = RunSettings(state_dir=folder.path / ".flownb", folder=folder.path, variables=variables)
        prepared, plan = start(workflow, {}, settings, run_id, from_node=start_at)
        serve(prepared, Hooks())
        return str(plan)

    run("one", x=1)
    assert folder.ran() == "a b"
    assert run("one", "b", x=1) == "reuse: a\nrun again: b (from here on)"
    assert run("one", "b") == "reuse: a\nrun again: b (from here on)"
    assert folder.ran() == "b b"
    assert run("one", "b", x=2) == "run again: a (the variable x changed), b (from here on)"
    assert folder.ran() == "a b"


def test_a_new_run_takes_over_what_has_the_same_fingerprint(folder: Folder) -> None:
    (folder.path / "go").touch()
    text = (
        folder.node("a", "1") + folder.node("each", "item + a", "foreach: [1, 2]") + folder.node("o", "a", "once: true")
    )
    text += "## Ask\n\n- default: approve\n\n```checkpoint\nGo?\n```\n\n" + folder.node("last", "ask.action")
    first = flownb.run(folder.write(text))
    kept = first.paths.journal.read_bytes()
    folder.ran()
    second = flownb.run(folder.write(text.replace("[1, 2]", "[1, 2, 3]")), reuse=True)
    assert (sorted(folder.ran().split()), second.outputs["each"]) == (["each", "last", "o"], [2, 3, 4])
    assert (second.state.reuses, first.paths.journal.read_bytes()) == (first.id, kept)
    assert {key: str(node.taken) for key, node in second.nodes.items() if node.taken} == dict.fromkeys(
        ("a", "each[0]", "each[1]", "end"), "reused"
    )
    assert "| a | reused |" in second.log
    assert json.loads(second.paths.snapshot.read_bytes())["nodes"]["a"]["taken"] == "reused"


def test_a_run_that_takes_over_goes_on_to_do_so_after_a_crash(folder: Folder) -> None:
    (folder.path / "go").touch()
    text = folder.node("a", "1") + folder.node("b", "a + 1") + folder.node("c", "b + 1")
    first = flownb.run(folder.write(text))
    second = flownb.run(folder.write(text), reuse=first.id[:17])
    lines = second.paths.journal.read_bytes().splitlines(keepends=True)
    events = read_journal(second.paths.journal)
    at = next(index for index, event in enumerate(events) if isinstance(event, NodeCompleted))
    second.paths.journal.write_bytes(b"".join(lines[: at + 1]))
    folder.ran()
    again = flownb.resume(second.id, folder.path / ".flownb")
    assert (again.status, folder.ran(), again["c"], again.nodes["c"].taken) == ("completed", "", 3, "reused")


def test_from_with_reuse_runs_that_node_and_all_below_again(folder: Folder) -> None:
    (folder.path / "go").touch()
    workflow = flownb.parse(
        folder.node("a", "1") + folder.node("b", "a + 1") + folder.node("c", "b + 1"), path=folder.path / "x.flow.md"
    )
    settings = RunSettings()
    flownb.run(workflow)
    folder.ran()
    prepared, plan = start(workflow, {}, settings, reuse="last", from_node="b")
    assert str(plan) == "reuse: a\nrun again: b (from here on), c (from here on)"
    serve(prepared, Hooks())
    assert folder.ran() == "b c"


@pytest.mark.parametrize(
    "options, why",
    [
        ({"from_node": "a"}, "from which run"),
        ({"from_node": "a", "run_id": "none"}, "there is no run none"),
        ({"run_id": "one", "reuse": "last"}, "run one exists"),
        ({"reuse": "nobody"}, "no run 'nobody'"),
        ({"reuse": "last", "from_node": "zzz"}, "no node `zzz`"),
    ],
)
def test_options_that_do_not_fit_are_told(tmp_path: Path, options: dict[str, str], why: str) -> None:
    workflow = flownb.parse("## A\n\n```expr\n1\n```\n")
    settings = RunSettings(state_dir=tmp_path / "state")
    flownb.run(workflow, state_dir=tmp_path / "state", run_id="one")
    with pytest.raises((FlowInputError, FlowStateError), match=why):
        start(
            workflow,
            {},
            settings,
            options.get("run_id"),
            reuse=options.get("reuse"),
            from_node=options.get("from_node"),
        )
    assert len(flownb.runs(state_dir=tmp_path / "state")) == 1, "nothing was begun"


def test_where_there_is_no_earlier_run_nothing_is_taken_over(tmp_path: Path) -> None:
    run = flownb.run(flownb.parse("## A\n\n```expr\n1\n```\n"), state_dir=tmp_path, reuse=True)
    assert (run.status, run.state.reuses) == ("completed", None)


@pytest.mark.parametrize(
    "words, meant",
    [
        (["run", "--reuse", "w.flow.md"], ["run", "--reuse=last", "w.flow.md"]),
        (["run", "--reuse", "nb.ipynb#x"], ["run", "--reuse=last", "nb.ipynb#x"]),
        (["run", "--reuse", "2026", "w.flow.md"], ["run", "--reuse=2026", "w.flow.md"]),
        (["run", "w.flow.md", "--reuse"], ["run", "w.flow.md", "--reuse=last"]),
        (["--reuse", "-o", "run"], ["--reuse=last", "-o", "run"]),
        (["--reuse=x", "a"], ["--reuse=x", "a"]),
    ],
)
def test_reuse_takes_an_id_and_never_the_document(words: list[str], meant: list[str]) -> None:
    assert with_reuse_said(words) == meant


def test_versions_of_what_bodies_import_are_noted_and_named_where_they_changed(folder: Folder) -> None:
    (folder.path / "near_by.py").touch()
    text = folder.node("a", "import pydantic, yaml_no, json, near_by") + folder.node("b", "import jinja2.nodes")
    found = versions_of(flownb.parse(text), folder.path)
    assert list(found) == ["Python", "jinja2", "pydantic"]
    assert other_versions({"Python": "3", "x": "1", "gone": "2"}, {"Python": "3", "x": "2"}) == "x 2 (was 1)"


def test_another_version_is_named_in_the_plan_and_reruns_nothing(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    flownb.run(folder.write(folder.node("a", "1")))
    monkeypatch.setattr("platform.python_version", lambda: "4.0")
    lines = folder.plan().splitlines()
    assert lines[0] == "reuse: a"
    assert lines[-1].startswith("other versions than before: Python 4.0 (was 3.")


def test_nodes_of_a_sub_flow_are_taken_over_one_by_one_and_their_files_are_looked_at(folder: Folder) -> None:
    (folder.path / "go").touch()
    inner = folder.node("x", "1", "files: data/a.csv") + folder.node("y", "2", "needs: []")
    (folder.path / "inner.flow.md").write_text(inner)
    text = folder.node("a", "1") + "## Sub\n\n- type: flow\n- path: inner.flow.md\n\n" + folder.node("c", "sub['x']")
    flownb.run(folder.write(text), run_id="one")
    assert sorted(folder.ran().split()) == ["a", "c", "x", "y"]
    flownb.run(folder.write(text), reuse=True)
    assert folder.ran() == ""
    (folder.path / "data" / "a.csv").write_text("2")
    prepared, plan = start(
        flownb.parse(folder.write(text).read_text(), path=folder.path / "w.flow.md"), {}, RunSettings(), reuse="last"
    )
    assert plan is not None
    assert plan.again["sub"] == "the files data/a.csv changed"
    serve(prepared, Hooks())
    assert folder.ran() == "x"


def test_nothing_in_a_container_with_once_is_taken_over(folder: Folder) -> None:
    (folder.path / "go").touch()
    text = "## Box\n\n- type: parallel\n- once: true\n\n" + folder.node("x", "1", level=3) + folder.node("a", "1")
    flownb.run(folder.write(text))
    folder.ran()
    flownb.run(folder.write(text), reuse=True)
    assert folder.ran() == "x"


def test_a_value_that_stood_in_for_a_failure_is_not_taken_over(folder: Folder) -> None:
    (folder.path / "go").touch()
    text = folder.node("a", "1 / 0", "fallback: spare") + folder.node("spare", "7")
    flownb.run(folder.write(text))
    folder.ran()
    assert flownb.run(folder.write(text), reuse=True)["a"] == 7
    assert folder.ran().split()[0] == "a"


def test_other_files_make_another_node(folder: Folder) -> None:
    flownb.run(folder.write(folder.node("a", "1", "files: data/a.csv")))
    folder.write(folder.node("a", "1", "files: data/*.csv"))
    assert folder.plan().splitlines()[0] == "run again: a (body changed), end (it failed)"
    assert folder.resume() == "a"


def test_a_file_that_only_has_another_name_changed(folder: Folder) -> None:
    flownb.run(folder.write(folder.node("a", "1", "files: data/*.csv")))
    (folder.path / "data" / "a.csv").rename(folder.path / "data" / "b.csv")
    assert folder.resume() == "a"


@pytest.mark.parametrize("files", ["data/*.csv", "data"])
def test_files_are_the_same_in_whatever_order_they_are_found(
    folder: Folder, files: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("b", "c"):
        (folder.path / "data" / f"{name}.csv").write_text(name)
    flownb.run(folder.write(folder.node("a", "1", f"files: {files}")))
    for name in ("glob", "rglob"):
        found = getattr(Path, name)
        monkeypatch.setattr(Path, name, lambda self, pattern, found=found: sorted(found(self, pattern), reverse=True))
    assert folder.plan().splitlines()[0] == "reuse: a"


def test_hidden_files_count_where_files_names_them(folder: Folder) -> None:
    (folder.path / "data" / ".a").write_text("1")
    flownb.run(folder.write(folder.node("a", "1", "files: 'data/.*'")))
    (folder.path / "data" / ".a").write_text("2")
    assert folder.resume() == "a"


def test_a_file_that_now_leads_outside_counts_as_changed(folder: Folder) -> None:
    flownb.run(folder.write(folder.node("a", "1", "files: data/*.csv")))
    (folder.path.parent / "out.csv").write_text("1")
    (folder.path / "data" / "a.csv").unlink()
    (folder.path / "data" / "a.csv").symlink_to(folder.path.parent / "out.csv")
    assert "a (the files data/*.csv changed)" in folder.plan()
    run = flownb.resume("last", folder.path / ".flownb")
    assert "is outside the document's folder" in run.errors[0].message


def test_a_module_that_is_gone_counts_as_changed(folder: Folder) -> None:
    (folder.path / "gone_one.py").touch()
    flownb.run(folder.write(folder.node("a", "import gone_one") + folder.node("b", "a")))
    (folder.path / "gone_one.py").unlink()
    assert folder.resume() == "a"


def test_items_that_are_no_data_run_again_when_what_gave_them_was_edited(folder: Folder) -> None:
    def text(value: int) -> str:
        return folder.node("a", f"[{{{value}}}]") + folder.node("each", "sum(item)", "foreach: a")

    flownb.run(folder.write(text(1)))
    folder.write(text(2))
    assert folder.resume() == "a each"
    assert flownb.show("last", state_dir=folder.path / ".flownb")["each"] == [2]


def test_a_node_runs_again_when_one_that_it_needs_was_edited(folder: Folder) -> None:
    flownb.run(folder.write(folder.node("a", "1") + folder.node("b", "2", "needs: a")))
    folder.write(folder.node("a", "1 + 0") + folder.node("b", "2", "needs: a"))
    assert folder.plan().splitlines()[1:2] == ["may run again: b (needs a)"]
    assert folder.resume() == "a b"


def test_a_variable_that_is_gone_counts_as_the_same_where_a_node_above_ran_again(folder: Folder) -> None:
    def run(value: str, **variables: object) -> None:
        text = folder.node("n", value) + folder.node("a", "x + n") + folder.node("end", "assert 0", "needs: []")
        workflow = parse_workflow(text, name="w", variables={"x": 1})
        settings = RunSettings(state_dir=folder.path / ".flownb", folder=folder.path, variables=variables)
        serve(start(workflow, {}, settings, "one")[0], Hooks())

    run("1", x=1)
    folder.ran()
    run("1 + 0")
    assert sorted(folder.ran().split()) == ["end", "n"]


def test_a_value_that_was_not_kept_is_not_taken_over(folder: Folder) -> None:
    (folder.path / "go").touch()
    text = folder.node("a", "__import__('array').array('i', [1])") + folder.node("b", "len(a)")
    flownb.run(folder.write(text))
    folder.ran()
    assert flownb.run(folder.write(text), reuse=True)["b"] == 1
    assert folder.ran() == "a"


def test_what_failed_or_was_skipped_is_not_taken_over(folder: Folder) -> None:
    (folder.path / "go").touch()
    text = folder.node("a", "1 / 0", "continue_on_error: true") + folder.node("b", "1", "when: false")
    flownb.run(folder.write(text))
    folder.ran()
    second = flownb.run(folder.write(text), reuse=True)
    assert folder.ran() == "a"
    assert [str(second.nodes[name].status) for name in ("a", "b")] == ["failed", "skipped"]


def test_of_a_foreach_the_items_are_taken_over_each_by_its_own_files(folder: Folder) -> None:
    (folder.path / "go").touch()
    (folder.path / "data" / "b.csv").write_text("1")
    document = folder.write(folder.node("a", "item", "foreach: ['a', 'b']", "files: 'data/{{ item }}.csv'"))
    flownb.run(document)
    folder.ran()
    (folder.path / "data" / "b.csv").write_text("2")
    second = flownb.run(document, reuse=True)
    assert folder.ran() == "a"
    assert [second.nodes[f"a[{index}]"].taken for index in (0, 1)] == ["reused", None]


def test_from_in_a_run_that_takes_over_runs_also_what_it_had_not_begun(folder: Folder) -> None:
    def go(stop: str, run_id: str, reuse: str | None = None, start_at: str | None = None) -> None:
        text = folder.node("a", "1") + folder.node("s", stop) + folder.node("b", "a + 1", "needs: s")
        settings = RunSettings(state_dir=folder.path / ".flownb")
        serve(start(flownb.parse(text), {}, settings, run_id, reuse=reuse, from_node=start_at)[0], Hooks())

    go("1", "one")
    go("assert 0", "two", reuse="one")
    assert folder.ran() == "a s b s"
    go("1", "two", start_at="b")
    assert folder.ran() == "b"


def test_the_last_run_that_can_be_read_is_the_one_that_is_taken_over(folder: Folder) -> None:
    (folder.path / "go").touch()
    document = folder.write(folder.node("a", "1"))
    first, second = flownb.run(document, run_id="one"), flownb.run(document, run_id="two")
    second.paths.journal.write_bytes(b"{}\n" * 2)
    assert flownb.run(document, reuse=True).state.reuses == first.id


def test_where_the_earlier_run_is_gone_a_resume_goes_on_without_it(folder: Folder) -> None:
    (folder.path / "go").touch()
    first = flownb.run(folder.write(folder.node("a", "1")))
    (folder.path / "go").unlink()
    flownb.run(folder.write(folder.node("a", "1") + folder.node("b", "open('go-b')")), reuse=True, run_id="two")
    first.paths.journal.unlink()
    folder.write(folder.node("a", "1") + folder.node("b", "2"))
    assert folder.resume() == "b"


def test_a_resume_notes_the_versions_that_it_runs_with(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    flownb.run(folder.write(folder.node("a", "1")))
    monkeypatch.setattr("platform.python_version", lambda: "4.0")
    folder.resume()
    assert flownb.show("last", state_dir=folder.path / ".flownb").state.versions["Python"] == "4.0"
