"""Golden cases of the execution log: events, one a line as the journal holds them, and the log that they give."""

from __future__ import annotations

from flownb.model.events import EVENTS
from flownb.model.state import RunState
from flownb.render.log import render_log
from tests.golden.runner import Case, CheckGolden, golden


@golden("log.md")
def test_events_give_this_log(case: Case, check_golden: CheckGolden) -> None:
    state = RunState()
    for line in case.input.splitlines():
        state.apply(EVENTS.validate_json(line))
    check_golden(case, render_log(state))
