"""What is said of every kind of mistake: golden file `diagnostics.md`.

In the cases `␀` stands for a null byte, `␦` for half of a surrogate pair, `⟨3 * x⏎⟩` for three lines of x, and
`%%% sub.flow.md` begins another document beside the first one.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from flownb.parse.workflow import diagnose
from flownb.render.problems import render_problems
from flownb.text.codes import Code
from tests.golden.runner import FOLDER, Case, CheckGolden, golden, read_cases


def unfolded(text: str) -> str:
    text = text.replace("␀", "\0").replace("␦", "\ud800")
    return re.sub("⟨([0-9]+) [*] (.*?)⟩", lambda found: found[2].replace("⏎", "\n") * int(found[1]), text)


@golden("diagnostics.md")
def test_mistake_is_told_with_its_place_and_what_to_write(
    case: Case, check_golden: CheckGolden, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    main, *others = re.split(r"^%%% (\S+)\n", case.input, flags=re.MULTILINE)
    for name, content in zip(others[::2], others[1::2], strict=True):
        Path(name).write_text(content, encoding="utf-8")
    Path("main.flow.md").touch()
    text = unfolded(main)
    workflow, problems = diagnose(text, path=Path("main.flow.md"), source="main.flow.md")
    assert (workflow is None) == any(problem.severity == "error" for problem in problems)
    check_golden(case, render_problems(problems, text, source="main.flow.md"))


@pytest.mark.parametrize("code", list(Code))
def test_every_code_has_a_case(code: Code) -> None:
    assert any(f"[{code}]" in case.expected for case in read_cases(FOLDER / "diagnostics.md"))
