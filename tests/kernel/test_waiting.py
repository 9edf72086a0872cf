"""A cell waits on a real kernel: buttons, fields, interrupts and the cells behind it do as they should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.harness import Cell, Kernel, kernel

pytestmark = [pytest.mark.kernel, pytest.mark.timeout(120)]

PRELUDE = """
import threading, time
import ipywidgets
from IPython.display import display
from flownb.notebook.waiting import Pump
ran, heard, done = [], [], threading.Event()
pump = Pump(get_ipython().kernel)
button, text = ipywidgets.Button(description="Approve"), ipywidgets.Text(description="Why")

def approve(_):
    heard.append(threading.current_thread() is threading.main_thread())
    print("approved:", text.value)
    done.set()
    pump.wake()

def interrupted():
    heard.append("interrupted")
    done.set()

def wait():
    done.clear()
    heard.clear()
    pump.call(lambda: print("waits", flush=True))
    pump.serve(done.is_set, interrupted)

button.on_click(approve)
"""

WAIT = "display(ipywidgets.VBox([text, button])); wait()"


@pytest.fixture(scope="module")
def shared() -> Iterator[Kernel]:
    """One kernel for all tests that leave it as it was."""
    with kernel() as started:
        assert started.run(PRELUDE).ok
        yield started


@pytest.fixture
def k(shared: Kernel) -> Iterator[Kernel]:
    yield shared
    assert shared.value("1 + 1") == "2", "the kernel no longer works"
    assert shared.run("text.value = ''; ran.clear()").ok


def waiting(k: Kernel, code: str = WAIT) -> Cell:
    """Start a cell and wait until it waits."""
    return k.start(code).wait_for("waits")


def is_idle(message: dict[str, Any]) -> bool:
    """Tell whether the kernel says that it is idle."""
    return bool(message["content"].get("execution_state") == "idle")


def is_comm_answer(message: dict[str, Any], to: str) -> bool:
    """Tell whether a widget sent this as an answer to that message."""
    return str(message["msg_type"]) == "comm_msg" and str(message["parent_header"].get("msg_id")) == to


def test_a_click_on_the_main_shell_is_handled_while_the_cell_waits(k: Kernel) -> None:
    cell = waiting(k)
    k.click("Approve")
    assert cell.finish().ok
    assert k.value("heard") == "[True]"


def test_a_click_on_a_subshell_is_handled_while_the_cell_waits(k: Kernel) -> None:
    subshell = k.subshell()
    if subshell is None:
        pytest.skip("this ipykernel has no subshells")
    cell = waiting(k)
    k.click("Approve", subshell=subshell)
    assert cell.finish().ok
    assert k.value("len(heard)") == "1"


def test_a_click_handled_by_a_subshells_own_thread_ends_the_wait(k: Kernel) -> None:
    subshell = k.subshell()
    if subshell is None:
        pytest.skip("this ipykernel has no subshells")
    # ipykernel 7.4 hands a click to the shell that the button last spoke from: let that be the subshell.
    cell = waiting(k, f"button.comm._reply_subshell_id = {subshell!r}\n{WAIT}")
    k.click("Approve", subshell=subshell)
    assert cell.finish().ok
    assert k.value("heard") == "[False]"
    k.run("button.comm._reply_subshell_id = None")


def test_typed_text_arrives_whole(k: Kernel) -> None:
    cell = waiting(k)
    k.type("Why", "hello world, with a reason")
    k.click("Approve")
    assert "approved: hello world, with a reason" in cell.finish().stdout
    assert k.value("text.value") == "'hello world, with a reason'"


def test_typed_text_on_a_subshell_arrives_whole(k: Kernel) -> None:
    subshell = k.subshell()
    if subshell is None:
        pytest.skip("this ipykernel has no subshells")
    cell = waiting(k)
    k.type("Why", "hello", subshell=subshell)
    k.click("Approve", subshell=subshell)
    assert cell.finish().ok
    assert k.value("text.value") == "'hello'"


def test_a_click_is_answered_in_its_own_name_and_the_cell_stays_busy(k: Kernel) -> None:
    cell = waiting(k, "quiet = ipywidgets.Text(description='Quiet'); display(quiet, button); wait()")
    field = k.field("Quiet")
    sent = k.tell(field, {"method": "update", "state": {"value": "x"}, "buffer_paths": []})
    k.wait_until(lambda: ("idle", sent) in k.statuses, "idle")
    k.wait_until(lambda: k.statuses[-1] == ("busy", cell.id), "busy again")
    assert ("busy", sent) in k.statuses
    assert [said["content"]["data"]["method"] for said in k.heard if is_comm_answer(said, sent)] == ["echo_update"]
    assert not cell.idle
    k.click("Approve")
    assert cell.finish().ok


def test_what_a_callback_prints_stands_below_the_cell(k: Kernel) -> None:
    cell = waiting(k)
    sent = k.click("Approve")
    assert "approved: " in cell.finish().stdout
    said = [message["content"].get("text", "") for message in k.heard]
    idle = next(i for i, m in enumerate(k.heard) if m["parent_header"].get("msg_id") == sent and is_idle(m))
    assert any("approved" in text for text in said[:idle][-10:]), "it should be there once the click is dealt with"


def test_cells_sent_meanwhile_run_after_it_in_order(k: Kernel) -> None:
    cell = waiting(k)
    later = [k.start(f"ran.append({number})") for number in range(40)]
    k.click("Approve")
    cell.finish()
    for one in later:
        assert one.finish().ok
    assert k.value("ran") == str(list(range(40)))


def test_many_messages_arrive_in_order_among_cells(k: Kernel) -> None:
    k.run("text.observe(lambda change: heard.append(change['new']), 'value')")
    cell = waiting(k)
    field, later = k.field("Why"), []
    for number in range(300):
        k.tell(field, {"method": "update", "state": {"value": str(number)}, "buffer_paths": []})
        if number % 10 == 0:
            later.append(k.start(f"ran.append({number})"))
    k.click("Approve")
    assert cell.finish().ok
    for one in later:
        one.finish()
    assert k.value("heard[:300] == [str(number) for number in range(300)]") == "True"
    assert k.value("ran == list(range(0, 300, 10))") == "True"
    k.run("text.unobserve_all()")


def test_cells_that_the_wait_left_unread_run_by_themselves(k: Kernel, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    hold = f"""
def hold():
    while not pathlib.Path({str(gate)!r}).exists():
        time.sleep(0.01)
import pathlib
pump.call(lambda: pump.call(hold))
"""
    cell = waiting(k, hold + WAIT)
    k.tell(k.button("Approve"), {"method": "custom", "content": {"event": "click"}})
    later = [k.start(f"ran.append({number})") for number in range(250)]
    k.ask("kernel_info_request", {}, channel="control")
    gate.touch()
    assert cell.finish().ok
    later[-1].finish()
    assert k.value("ran == list(range(250))") == "True"


def test_cells_sent_meanwhile_are_aborted_when_it_fails(k: Kernel) -> None:
    cell = waiting(k, WAIT + "\nraise ValueError('no')")
    later = [k.start("ran.append(1)") for _ in range(5)]
    k.click("Approve")
    assert cell.finish().status == "error"
    for one in later:
        one.finish()
    assert [one.status for one in later] == ["aborted"] * 5
    assert k.value("ran") == "[]"


def test_kernel_and_comm_info_are_answered_meanwhile_and_completion_after(k: Kernel) -> None:
    cell = waiting(k)
    completion = k.request("complete_request", {"code": "prin", "cursor_pos": 4})
    assert k.ask("kernel_info_request", {})["content"]["status"] == "ok"
    assert k.ask("comm_info_request", {})["content"]["comms"]
    assert completion not in k.replies
    assert not cell.done
    k.click("Approve")
    cell.finish()
    k.wait_until(lambda: completion in k.replies, "completion")
    assert "print" in k.replies[completion]["content"]["matches"]


@pytest.mark.parametrize("message", [False, True], ids=["signal", "message"])
def test_an_interrupt_is_told_and_raises_nothing_in_the_wait(k: Kernel, message: bool) -> None:  # noqa: FBT001
    cell = waiting(k)
    k.interrupt(message=message)
    assert cell.finish().ok
    assert k.value("heard") == "['interrupted']"


@pytest.mark.parametrize("message", [False, True], ids=["signal", "message"])
def test_an_interrupt_raises_in_user_code(k: Kernel, message: bool) -> None:  # noqa: FBT001
    code = """
def body():
    try:
        with pump.body():
            print("waits", flush=True)
            time.sleep(60)
    except KeyboardInterrupt:
        heard.append("raised")
    done.set()
done.clear(); heard.clear()
pump.call(body)
pump.serve(done.is_set, interrupted)
"""
    cell = waiting(k, code)
    k.interrupt(message=message)
    assert cell.finish().ok
    assert k.value("heard") == "['interrupted', 'raised']"


def test_an_interrupt_ends_a_widget_callback_that_hangs(k: Kernel) -> None:
    code = """
stuck = ipywidgets.Button(description="Stuck")
def hang(_):
    print("hangs", flush=True)
    time.sleep(60)
stuck.on_click(hang)
display(stuck); wait()
"""
    cell = waiting(k, code)
    k.tell(k.button("Stuck"), {"method": "custom", "content": {"event": "click"}})
    cell.wait_for("hangs")
    k.interrupt()
    assert cell.finish().ok
    assert k.value("heard") == "['interrupted']"


def test_stop_from_another_thread_ends_a_sleeping_body(k: Kernel) -> None:
    code = """
class Late(BaseException): pass
def body():
    try:
        with pump.body("score"):
            threading.Timer(0.1, lambda: pump.stop(Late(), "score")).start()
            time.sleep(60)
    except Late:
        heard.append("stopped")
    done.set()
done.clear(); heard.clear()
pump.call(body)
pump.serve(done.is_set, interrupted)
"""
    assert k.run(code).ok
    assert k.value("heard") == "['stopped']"


def test_calls_run_on_the_main_thread_in_order(k: Kernel) -> None:
    code = """
def hand_in():
    for number in range(100):
        pump.call(lambda number=number: ran.append((number, threading.current_thread() is threading.main_thread())))
    pump.call(done.set)
done.clear()
threading.Thread(target=hand_in).start()
pump.serve(done.is_set, interrupted)
"""
    assert k.run(code).ok
    assert k.value("ran == [(number, True) for number in range(100)]") == "True"


def test_what_is_handed_in_at_the_very_end_still_runs(k: Kernel) -> None:
    code = """
def over():
    if not heard:
        heard.append("asked")
        pump.call(lambda: ran.append("last"))
    return True
heard.clear()
pump.serve(over, interrupted)
"""
    assert k.run(code).ok
    assert k.value("ran") == "['last']"


def test_a_call_that_fails_is_raised_when_all_is_over(k: Kernel) -> None:
    code = """
done.clear()
pump.call(lambda: 1 / 0)
pump.call(lambda: ran.append("after"))
pump.call(done.set)
pump.serve(done.is_set, interrupted)
"""
    cell = k.run(code)
    assert cell.error is not None
    assert cell.error["ename"] == "ZeroDivisionError"
    assert k.value("ran") == "['after']"


def test_a_wait_inside_a_wait_is_refused(k: Kernel) -> None:
    code = """
done.clear()
pump.call(lambda: Pump(get_ipython().kernel).serve(lambda: True, interrupted))
pump.call(done.set)
pump.serve(done.is_set, interrupted)
"""
    cell = k.run(code)
    assert cell.error is not None
    assert "a run already waits in this kernel" in cell.error["evalue"]


def test_a_click_after_the_cell_still_works(k: Kernel) -> None:
    cell = waiting(k)
    k.click("Approve")
    cell.finish()
    k.run("heard.clear()")
    k.click("Approve")
    assert k.value("heard") == "[True]"


def test_the_handler_from_before_is_back_after_the_wait(k: Kernel) -> None:
    cell = waiting(k, WAIT + "\nprint('sleeps', flush=True)\ntime.sleep(60)")
    k.click("Approve")
    cell.wait_for("sleeps")
    k.interrupt()
    assert cell.finish().error is not None
    assert cell.error is not None
    assert cell.error["ename"] == "KeyboardInterrupt"


def test_an_awaiting_cell_may_wait_too(k: Kernel) -> None:
    cell = waiting(k, "import asyncio\nawait asyncio.sleep(0)\n" + WAIT + "\nawait asyncio.sleep(0)")
    k.start("ran.append(1)")
    k.click("Approve")
    assert cell.finish().ok
    assert k.value("ran") == "[1]"


def test_the_pump_declines_off_the_main_thread_and_on_unknown_kernels(k: Kernel) -> None:
    code = """
offered = [Pump.available(get_ipython().kernel), Pump.available(object()), Pump.available(None)]
thread = threading.Thread(target=lambda: offered.append(Pump.available(get_ipython().kernel)))
thread.start(); thread.join()
"""
    assert k.run(code).ok
    assert k.value("offered") == "[True, False, False, False]"


def test_a_kernel_killed_in_the_wait_starts_anew() -> None:
    with kernel() as k:
        assert k.run(PRELUDE).ok
        waiting(k)
        k.kill()
        k.restart()
        assert k.run(PRELUDE).ok
        cell = waiting(k)
        k.click("Approve")
        assert cell.finish().ok
