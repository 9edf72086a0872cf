"""Boosters of XGBoost, LightGBM and CatBoost in the text that each of them writes and reads itself."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from pydantic import JsonValue

from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer, name_of, texts_in

_LARGEST_BYTES: Final = 1 << 30


@dataclass(frozen=True, slots=True)
class _Boosters:
    """A booster as text."""

    extension: str
    write: Callable[[Any], str]
    read: Callable[[str], Any]

    def keep(self, value: Any, keeper: Keeper) -> dict[str, JsonValue]:  # Of a library that is perhaps not there.
        """Return where the file is."""
        text = self.write(value)
        if keeper.asks:
            keeper.ask([text, *(texts_in(json.loads(text)) if text.startswith("{") else ())])
        data = text.encode()
        if len(data) > _LARGEST_BYTES:
            raise keeper.unkept(value, "it is larger than 1 GiB as text")
        shown = f"{name_of(type(value))}, {len(data)} bytes"
        return {"$artifact": keeper.file(self.extension, lambda file: _write(file, data)), "preview": shown}

    def restore(self, data: Fields, restorer: Restorer) -> Any:
        """Return the booster."""
        path = restorer.open(data, self.extension)
        if path.stat().st_size > _LARGEST_BYTES:
            raise restorer.refused(data, "it is larger than 1 GiB")
        return self.read(path.read_bytes().decode())


def _write(file: Any, data: bytes) -> None:
    file.write(data)


def _xgboost_text(booster: Any) -> str:
    return bytes(booster.save_raw("json")).decode()


def _xgboost(text: str) -> Any:
    json.loads(text)  # Its own reader ends the process where the text is none.
    booster = import_module("xgboost").Booster()
    booster.load_model(bytearray(text.encode()))
    return booster


def _lightgbm_text(booster: Any) -> str:
    return str(booster.model_to_string(num_iteration=-1))


def _lightgbm(text: str) -> Any:
    if not text.startswith("tree\n"):
        raise ValueError("it is no model of LightGBM")
    return import_module("lightgbm").Booster(model_str=text)


def _catboost_text(model: Any) -> str:
    with TemporaryDirectory() as folder:  # CatBoost writes to names only.
        path = Path(folder) / "model.json"
        model.save_model(str(path), format="json")
        return path.read_text(encoding="utf-8")


def _catboost(text: str) -> Any:
    kind = json.loads(text)
    catboost = sys.modules.get("catboost") or import_module("catboost")
    loss = str(kind.get("model_info", {}).get("params", {}).get("loss_function", {}).get("type", ""))
    made = catboost.CatBoostClassifier() if loss in ("Logloss", "CrossEntropy", "MultiClass") else catboost.CatBoost()
    return made.load_model(blob=text.encode(), format="json")


XGBOOST: Final[Kind] = _Boosters("xgboost", _xgboost_text, _xgboost)
LIGHTGBM: Final[Kind] = _Boosters("lightgbm", _lightgbm_text, _lightgbm)
CATBOOST: Final[Kind] = _Boosters("catboost", _catboost_text, _catboost)
