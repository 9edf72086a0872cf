from __future__ import annotations

from typing import Any

import pytest

from flownb.executors.capture import capture_into
from flownb.notebook.publishing import BUNDLE, Display, DisplayCapture
from flownb.notebook.safe_html import display_html, safe_html
from flownb.notebook.shown import MOST_DISPLAYS, Shown
from flownb.render.printed import MOST_CHARACTERS, MOST_PRINTED
from flownb.runtimes.base import Printed
from flownb.secrets import Redactor


def shown(*printed: tuple[str, Printed], hidden: str = "") -> Shown:
    made = Shown(Redactor([hidden]).json)
    for key, one in printed:
        made.take(key, one)
    return made


def text(data: str, mime: str = "stdout") -> Printed:
    return Printed(mime, data)


def display(data: dict[str, Any] | None, name: str = "", *, update: bool = False) -> Printed:
    return Printed(BUNDLE, Display(data, {}, name, update))


def test_what_a_node_printed_is_folded_under_its_name_items_too() -> None:
    made = shown(("a", text("one\n")), ("b[0]", text("x\n")), ("b[1]", text("y\n", "stderr")))
    folded = made.folded()
    assert "<details open><summary><code>a</code> printed 1 line</summary>\n\n```text\none\n```\n" in folded
    assert "<code>b</code> printed 2 lines" in folded


def test_long_output_is_folded_shut_and_cut_in_the_middle() -> None:
    made = shown(*(("a", text(f"line {number}\n")) for number in range(20_000)))
    folded = made.folded()
    assert folded.startswith("<details><summary>")
    assert "printed 20,000 lines" in folded
    assert "```text\nline 0\n" in folded
    assert "line 19999\n" in folded
    assert len(folded) < MOST_CHARACTERS + 500


def test_many_nodes_that_print_much_do_not_fill_the_notebook() -> None:
    made = shown(*((f"n{number}", text("x" * 400 + "\n")) for number in range(1000)))
    folded = made.folded()
    assert len(folded) < 1.5 * MOST_PRINTED
    assert folded.endswith("… and 750 more nodes printed.\n")


def test_printed_data_stays_inside_its_fence() -> None:
    folded = shown(("a", text("```\n</details><script>alert(1)</script>\n"))).folded()
    assert folded.count("````") == 2
    before, _, after = folded.partition("````text")
    assert "<script>" not in before
    assert "<script>" not in after.partition("\n````\n")[2]


def test_a_progress_bar_shows_only_its_last_state() -> None:
    assert "```text\n100%\n```" in shown(("a", text("10%\r50%")), ("a", text("\r100%\n"))).folded()


def test_the_tail_shows_the_last_lines_of_nodes_that_run() -> None:
    made = shown(("a", text("".join(f"{n}\n" for n in range(20)))), ("b", text("no")))
    tail = made.tail({"a"})
    assert "14\n15\n16\n17\n18\n19" in tail
    assert "13" not in tail
    assert "no" not in tail


def test_a_display_can_be_changed_by_its_name() -> None:
    made = shown(("a", display({"text/plain": "1"}, "bar")), ("a", display({"text/plain": "2"}, "bar", update=True)))
    assert [picture.data for picture in made.pictures] == [{"text/plain": "2"}]


def test_clearing_takes_only_the_nodes_own_displays_away() -> None:
    made = shown(("a", display({"text/plain": "1"})), ("b", display({"text/plain": "2"})), ("a", display(None)))
    assert [picture.data["text/plain"] for picture in made.pictures] == ["", "2"]


def test_displays_are_bounded_and_hold_no_secret() -> None:
    many = [("a", display({"text/html": "<b>hush</b>"}))] * (MOST_DISPLAYS + 5)
    made = shown(*many, hidden="hush")
    assert len(made.pictures) == MOST_DISPLAYS
    assert made.pictures[0].data == {"text/html": "<b>•••</b>"}


def test_a_markdown_nodes_text_is_shown_rendered_and_inert() -> None:
    (picture,) = shown(("a", Printed("text/markdown", "**b** <script>"))).pictures
    assert picture.data["text/html"] == "<p><strong>b</strong> &lt;script&gt;</p>\n"


def test_late_displays_are_one_piece_of_html_with_their_nodes_names() -> None:
    made = shown(("a", display({"text/plain": "<x>"})), ("b", display({"image/png": b"\x89P", "text/plain": "fig"})))
    made.pictures[0].slot = ""
    html = made.late_html()
    assert "<p><b>a</b></p>\n<pre>&lt;x&gt;</pre>" in html
    assert '<img src="data:image/png;base64,iVA=">' in html


@pytest.mark.parametrize(
    "data, html",
    [
        ({"text/html": "<i>own</i>", "text/plain": "x"}, "<i>own</i>"),
        ({"image/svg+xml": "<svg/>"}, '<img src="data:image/svg+xml;base64,PHN2Zy8+">'),
        ({"text/markdown": "*x* <b>"}, "<p><em>x</em> &lt;b&gt;</p>\n"),
        ({}, "<pre></pre>"),
    ],
)
def test_a_displays_richest_form_is_taken(data: dict[str, Any], html: str) -> None:
    assert display_html(data) == html


@pytest.mark.parametrize(
    "markdown",
    ["<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a <b onclick=x>b</b>", "<!-- -->", "<svg/onload=x>"],
)
def test_html_in_markdown_is_text(markdown: str) -> None:
    assert markdown.replace("<", "&lt;").replace(">", "&gt;") in safe_html(markdown)


def test_links_that_run_code_are_none_and_formulas_are_text() -> None:
    html = safe_html("[go](javascript:alert(1)) [on](https://example.com/?a=$b) $x$ \\(y\\) `$z`")
    assert "javascript" not in html.replace("(javascript:alert(1))", "")
    assert 'href="https://example.com/?a=$b"' in html
    assert "$" not in html.replace("?a=$b", "")


def test_markdown_and_tables_are_rendered() -> None:
    html = safe_html("| a |\n|---|\n| 1 |\n\n~~old~~ **new**")
    assert "<td>1</td>" in html
    assert "<s>old</s> <strong>new</strong>" in html


class Publisher:
    def __init__(self) -> None:
        self.published: list[Any] = []

    def publish(self, data: Any, metadata: Any = None, **more: Any) -> None:
        self.published.append((data, more))

    def clear_output(self, wait: object = None) -> None:
        self.published.append(wait)


class Shell:
    def __init__(self) -> None:
        self.display_pub = Publisher()


def test_displays_of_bodies_go_to_their_node_and_all_others_on() -> None:
    shell, taken = Shell(), list[Printed]()
    publisher, capture = shell.display_pub, DisplayCapture(shell)
    publisher.publish({"a": 1}, transient={"display_id": "x"})
    with capture_into(taken.append):
        publisher.publish({"b": 1}, None, transient={"display_id": "y"}, update=True)
        publisher.clear_output()
    publisher.clear_output("wait")
    assert publisher.published == [({"a": 1}, {"transient": {"display_id": "x"}, "update": False}), "wait"]
    assert [one.data for one in taken] == [Display({"b": 1}, {}, "y", True), Display(None)]
    capture.remove()
    assert "publish" not in vars(publisher)
    assert "clear_output" not in vars(publisher)


def test_what_somebody_else_put_before_the_publisher_stays() -> None:
    shell = Shell()
    publisher, capture = shell.display_pub, DisplayCapture(shell)
    other = publisher.__dict__["publish"] = lambda *_: None
    capture.remove()
    assert publisher.__dict__ == {"published": [], "publish": other}


def test_what_stood_before_the_publisher_already_is_called_and_comes_back() -> None:
    shell, calls = Shell(), list[object]()
    theirs = shell.display_pub.publish = lambda data, *_, **__: calls.append(data)  # type: ignore[method-assign] # as they do
    capture = DisplayCapture(shell)
    shell.display_pub.publish({"a": 1})
    assert calls == [{"a": 1}]
    capture.remove()
    assert vars(shell.display_pub)["publish"] is theirs


def test_a_publisher_put_in_the_others_place_is_stood_before_too_but_not_one_that_a_body_puts_there() -> None:
    shell, taken = Shell(), list[Printed]()
    first, of_cell, of_body = shell.display_pub, Publisher(), Publisher()
    capture = DisplayCapture(shell)
    shell.display_pub = of_cell
    with capture_into(taken.append):
        shell.display_pub.publish({"a": 1})
        shell.display_pub = of_body
        shell.display_pub.publish({"b": 1})
        first.publish({"c": 1})
    assert [one.data for one in taken] == [Display({"a": 1}), Display({"c": 1})]
    assert (first.published, of_cell.published) == ([], [])
    assert [data for data, _ in of_body.published] == [{"b": 1}]
    capture.remove()
    assert "display_pub" not in vars(Shell)
    assert "publish" not in vars(of_cell)
    shell.display_pub = first
    assert shell.display_pub is first


def test_secrets_in_a_displays_objects_and_metadata_are_hidden() -> None:
    made = Shown(Redactor(["hush-42"]).json)
    data = {"application/json": {"token": ["hush-42"]}, "image/png": b"\x89PNG"}
    made.take("a", Printed(BUNDLE, Display(data, {"application/json": {"root": "hush-42"}})))
    (picture,) = made.pictures
    assert picture.data == {"application/json": {"token": ["•••"]}, "image/png": b"\x89PNG"}
    assert picture.metadata == {"application/json": {"root": "•••"}}
