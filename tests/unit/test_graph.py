"""What waits for what: format.md, sections 4.1 to 4.3, rule by rule."""

from __future__ import annotations

from pathlib import Path

import pytest

from flownb import FlowSyntaxError, api
from flownb.plan.graph import TOP, build_graph
from flownb.runs.prepare import load
from tests.runs import node


def waits(text: str) -> dict[str, tuple[str, ...]]:
    """Return id → what it waits for, of every node of a document."""
    return {node.id: node.waits_for for node in api.plan(api.parse(text))}


def test_a_reference_is_a_wait() -> None:
    assert waits(node("a") + node("b", "2", "needs: []") + node("c", "a + b"))["c"] == ("a", "b")


def test_a_reference_from_a_template_or_an_expression_is_a_wait() -> None:
    text = node("a") + node("b", "2", "needs: []")
    text += node("c", "{{ a }}", runtime="bash") + node("d", "3", "when: b > 1")
    assert (waits(text)["c"], waits(text)["d"]) == (("a",), ("b",))


def test_a_name_that_the_body_assigns_is_no_reference() -> None:
    assert waits(node("a") + node("b", "2") + node("c", "a = 5\na"))["c"] == ("b",)


def test_a_node_that_names_no_other_waits_for_the_one_above_it() -> None:
    assert waits(node("a") + node("b") + node("c")) == {"a": (), "b": ("a",), "c": ("b",)}


def test_empty_needs_starts_at_once() -> None:
    assert waits(node("a") + node("b", "1", "needs: []"))["b"] == ()


def test_needs_come_besides_references() -> None:
    text = node("a") + node("b", "1", "needs: []") + node("c", "a", "needs: [b]")
    assert waits(text)["c"] == ("a", "b")


def test_reading_only_inputs_is_no_reference_to_a_node() -> None:
    text = "---\ninputs: {x: {type: int, default: 1}}\n---\n" + node("a") + node("b", "inputs.x")
    assert waits(text)["b"] == ("a",)


def test_the_first_node_of_a_group_waits_for_what_its_group_would() -> None:
    text = node("a") + "## Group\n\n" + node("b", level=3) + node("c", level=3) + node("d")
    assert waits(text) == {"a": (), "b": ("a",), "c": ("b",), "d": ("c",)}


def test_a_node_below_a_group_waits_for_all_of_it() -> None:
    text = "## Group\n\n" + node("a", level=3) + node("b", "1", "needs: []", level=3) + node("c")
    assert waits(text)["c"] == ("a", "b")


def test_needs_may_name_a_group() -> None:
    text = "## Group\n\n" + node("a", level=3) + node("b", "1", "needs: []", level=3) + node("c", "1", "needs: group")
    assert waits(text)["c"] == ("a", "b")


def test_the_needs_of_a_group_hold_for_each_of_its_nodes() -> None:
    text = (
        node("a")
        + node("b", "1", "needs: []")
        + "## Group\n\n- needs: a\n\n"
        + node("c", level=3)
        + node("d", "b", level=3)
    )
    assert waits(text)["c"] == ("a",)
    assert waits(text)["d"] == ("a", "b")


def test_a_node_does_not_wait_for_one_above_that_waits_for_it() -> None:
    assert waits(node("a", "b") + node("b")) == {"a": ("b",), "b": ()}


def test_a_node_passes_over_one_above_that_waits_for_it() -> None:
    assert waits(node("z") + node("a", "b") + node("b")) == {"z": (), "a": ("b",), "b": ("z",)}


def test_a_node_does_not_wait_for_one_that_is_reserved_for_failures() -> None:
    text = node("a", "1", "fallback: c") + node("b") + node("c") + node("d")
    assert waits(text)["d"] == ("b",)


def test_everything_below_a_checkpoint_waits_for_it() -> None:
    text = node("a") + node("ask", "Go?", runtime="checkpoint") + node("b", "a") + node("c", "1", "needs: []")
    assert waits(text)["b"] == ("a", "ask")
    assert waits(text)["c"] == ("ask",)


def test_a_second_checkpoint_gates_through_the_first() -> None:
    text = node("one", "Go?", runtime="checkpoint") + node("two", "Go?", "needs: []", runtime="checkpoint") + node("c")
    assert waits(text)["two"] == ("one",)
    assert waits(text)["c"] == ("two",)


def test_a_container_that_holds_a_checkpoint_is_a_gate_as_a_whole() -> None:
    text = "## Each\n\n- foreach: [1, 2]\n\n" + node("ask", "{{ item }}?", runtime="checkpoint", level=3)
    assert waits(text + node("b", "1", "needs: []"))["b"] == ("each",)


@pytest.mark.parametrize(
    "head", ["- foreach: [1]\n", "- type: parallel\n", "- type: branch\n", "", "- until: round == 1\n"]
)
def test_a_checkpoint_deep_in_a_sub_flow_makes_its_call_a_gate(tmp_path: Path, head: str) -> None:
    inner = f"## Box\n\n{head}\n" + node("ask", "Go?", runtime="checkpoint", level=3)
    (tmp_path / "inner.flow.md").write_text(inner, encoding="utf-8")
    (tmp_path / "outer.flow.md").write_text("## Deep\n\n- type: flow\n- path: inner.flow.md\n", encoding="utf-8")
    main = tmp_path / "main.flow.md"
    main.write_text(
        "## Call\n\n- type: flow\n- path: outer.flow.md\n\n" + node("b", "1", "needs: []"), encoding="utf-8"
    )
    assert {item.id: item.waits_for for item in api.plan(load(main))}["b"] == ("call",)


def test_checkpoints_of_a_parallel_do_not_gate_its_other_children_but_what_is_below_it(tmp_path: Path) -> None:
    text = "## Both\n\n- type: parallel\n\n" + node("one", "1?", runtime="checkpoint", level=3)
    text += "### Sub\n\n" + node("two", "2?", runtime="checkpoint", level=4) + node("three", "1", "needs: []", level=4)
    found = waits(text + node("below", "1", "needs: []"))
    assert (found["one"], found["sub"], found["three"], found["below"]) == ((), (), ("two",), ("both",))


def test_a_container_waits_for_what_anything_inside_it_refers_to() -> None:
    text = node("a") + node("b", "1", "needs: []")
    text += "## Each\n\n- foreach: a\n\n" + node("inner", "item + b", level=3)
    assert waits(text)["each"] == ("a", "b")


def test_children_of_parallel_do_not_wait_for_each_other() -> None:
    text = "## Both\n\n- type: parallel\n\n" + node("a", level=3) + node("b", level=3) + node("c")
    assert waits(text) == {"both": (), "a": (), "b": (), "c": ("both",)}


def test_a_node_waits_for_what_its_fallback_refers_to() -> None:
    text = node("a") + node("b", "1", "needs: []", "fallback: c") + node("c", "a")
    assert waits(text)["b"] == ("a",)


def test_with_document_order_every_node_waits_for_the_one_above() -> None:
    text = "---\norder: document\n---\n" + node("a") + node("b", "1", "needs: []") + node("c", "a")
    assert waits(text) == {"a": (), "b": ("a",), "c": ("a", "b")}


def test_the_wave_is_the_longest_chain_of_waits() -> None:
    text = node("a") + node("b", "1", "needs: []") + node("c", "a") + node("d", "c + b")
    assert {item.id: item.wave for item in api.plan(api.parse(text))} == {"a": 0, "b": 0, "c": 1, "d": 2}


def test_waves_inside_a_container_count_from_its_own() -> None:
    text = node("a") + "## Each\n\n- foreach: a\n\n" + node("b", "item", level=3) + node("c", "b", level=3)
    assert {item.id: item.wave for item in api.plan(api.parse(text))} == {"a": 0, "each": 1, "b": 1, "c": 2}


def test_a_circle_is_shown() -> None:
    with pytest.raises(FlowSyntaxError) as caught:
        api.parse(node("a", "b") + node("b", "c") + node("c", "a"))
    assert "a → b → c → a" in str(caught.value)


def test_a_circle_through_a_gate_is_shown() -> None:
    with pytest.raises(FlowSyntaxError) as caught:
        api.parse(node("a", "{{ b }}?", runtime="checkpoint") + node("b"))
    assert "a → b → a" in str(caught.value)


def test_outputs_are_the_values_that_no_other_node_uses() -> None:
    graph = build_graph(api.parse(node("a") + node("b", "a") + node("c", "1", "needs: [a]")))
    assert graph.unused() == ["b", "c"]
    assert [unit.node.id for unit in graph.bodies[TOP].units] == ["a", "b", "c"]
