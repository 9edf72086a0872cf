"""What every test is given: no settings of the person who runs it, a state folder of its own, and its time limit."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import settings

from tests.golden.runner import Case

TIMEOUTS_S = {"property": 300, "kernel": 120, "browser": 300, "crash": 120, "dask": 120, "notebooks": 300}
"""Marker, and the folder of that name → the time limit of its tests."""

settings.register_profile("flownb", deadline=None)  # No timings are asserted: the machine may be busy.
settings.load_profile("flownb")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--regen", action="store_true", help="rewrite the expected parts of the golden files; review the diff"
    )
    parser.addoption("--torture", action="store_true", help="try all that can go wrong, not a sample: takes an hour")


def pytest_configure() -> None:
    """Take Ctrl-C as usual, and let tests' processes take SIGHUP so, also where the suite was started with `nohup … &`."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:  # A handler is not handed down; this process lives on.
        signal.signal(signal.SIGHUP, lambda *_: None)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Mark tests by their folder, and give those with a marker the time that it needs."""
    for item in items:
        if item.path.parent.name in TIMEOUTS_S:
            item.add_marker(item.path.parent.name)
        limits = [limit for marker, limit in TIMEOUTS_S.items() if item.get_closest_marker(marker)]
        if limits and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(max(limits) * (100 if config.getoption("--torture") else 1)))


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("FLOWNB_") or name == "JPY_SESSION_NAME":
            monkeypatch.delenv(name)


@pytest.fixture(scope="session")
def is_torture(request: pytest.FixtureRequest) -> bool:
    """Return whether all is to be tried, not a sample (`make torture`)."""
    return bool(request.config.getoption("--torture"))


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    """Return a folder for runs that no other test sees; it does not exist yet."""
    return tmp_path / ".flownb"


@pytest.fixture
def check_golden(request: pytest.FixtureRequest) -> Callable[[Case, str], None]:
    """Return the comparison of a case with what came out; under `--regen` it rewrites the case instead."""
    regen = bool(request.config.getoption("--regen"))

    def check(case: Case, actual: str) -> None:
        if regen:
            case.rewrite(actual)
        else:
            assert actual.rstrip("\n") == case.expected, f"{case.path.name}:{case.line}: {case.title}"

    return check
