"""Models, figures, pictures and grids come back, or are said not to be kept."""

from __future__ import annotations

import copy
import zipfile
from pathlib import Path
from typing import Any

import lightgbm
import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import xgboost
from matplotlib.figure import Figure
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import LabelEncoder, OneHotEncoder, StandardScaler
from sklearn.svm import SVC

from flownb.artifacts.encode import HoldsSecret, Unkept
from flownb.artifacts.figures import StoredFigure
from tests.kept import SECRET, Shelf, holds

X = np.random.default_rng(0).random((40, 3))
Y = (X[:, 0] > 0.5).astype(int)


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.mark.parametrize(
    "model",
    [
        *(LogisticRegression(), make_pipeline(StandardScaler(), SVC()), LinearRegression(), KMeans(2, n_init=1)),
        *(PCA(2), OneHotEncoder(handle_unknown="ignore")),
    ],
    ids=lambda model: type(model).__name__,
)
def test_an_estimator_of_scikit_learn_comes_back_fitted(shelf: Shelf, model: Any) -> None:
    model.fit(X, Y)
    made: Any = shelf.there_and_back(model)
    assert type(made) is type(model)
    act = "predict" if hasattr(model, "predict") else "transform"
    before, after = getattr(model, act)(X), getattr(made, act)(X)
    assert (before != after).sum() == 0
    assert shelf.keep(copy.deepcopy(model)) == shelf.keep(model) == shelf.keep(made)


def test_where_and_when_an_estimator_was_stored_is_not_in_its_file(shelf: Shelf) -> None:
    number = 2.5
    one = shelf.keep(LogisticRegression(C=number, intercept_scaling=number))
    assert shelf.keep(LogisticRegression(C=float("2.5"), intercept_scaling=float("2.5"))) == one
    with zipfile.ZipFile(shelf.folder / shelf.names[0]) as packed:
        assert {entry.date_time[0] for entry in packed.infolist()} == {1980}


def test_an_estimator_that_was_not_fitted_comes_back(shelf: Shelf) -> None:
    made = shelf.there_and_back([LogisticRegression(C=0.5)])
    assert isinstance(made, list)
    assert made[0].get_params() == LogisticRegression(C=0.5).get_params()


def test_an_estimator_that_skops_does_not_trust_is_not_kept_and_named(shelf: Shelf) -> None:
    with pytest.raises(Unkept, match=r"skops does not trust a file with sklearn\.tree\._tree\.Tree in it"):
        shelf.keep({"model": RandomForestClassifier(2).fit(X, Y)})
    assert shelf.names == []


def test_boosters_come_back(shelf: Shelf) -> None:
    xgb = xgboost.train({"objective": "binary:logistic"}, xgboost.DMatrix(X, Y), 2)
    made: Any = shelf.there_and_back(xgb)
    assert np.array_equal(made.predict(xgboost.DMatrix(X)), xgb.predict(xgboost.DMatrix(X)))
    lgb = lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(X, Y), 2)
    again: Any = shelf.there_and_back(lgb)
    assert np.array_equal(again.predict(X), lgb.predict(X))


def drawn(title: str = "t < & >") -> Figure:
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], label="line")
    axes.imshow(X)
    axes.set_title(title)
    axes.legend()
    return figure


def test_a_figure_comes_back_as_what_can_be_shown(shelf: Shelf) -> None:
    made = shelf.there_and_back({"plot": drawn()})
    assert isinstance(made, dict)
    shown = made["plot"]
    assert isinstance(shown, StoredFigure)
    assert shown._repr_png_().startswith(b"\x89PNG")
    assert "<svg" in (shown._repr_svg_() or "")
    assert set(shown._repr_mimebundle_()) == {"image/png", "image/svg+xml", "text/plain"}
    assert repr(shown) == "<figure, 640 \N{MULTIPLICATION SIGN} 480 pixels>"
    assert shelf.there_and_back(shown) == shown


def test_two_equal_figures_are_one_file(shelf: Shelf) -> None:
    assert shelf.keep(drawn()) == shelf.keep(drawn())


def test_drawing_leaves_the_settings_as_they_were(shelf: Shelf) -> None:
    before = dict(mpl.rcParams)
    shelf.keep(drawn())
    assert dict(mpl.rcParams) == before


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "P", "I;16"])
def test_a_picture_comes_back_with_its_mode_size_and_pixels(shelf: Shelf, mode: str) -> None:
    pixels = (np.random.default_rng(1).random((4, 5, 3)) * 255).astype("u1")
    image = Image.fromarray(pixels)
    image = Image.fromarray(pixels[:, :, 0].astype("u2") * 200) if mode == "I;16" else image.convert(mode)
    made = shelf.there_and_back(image)
    assert isinstance(made, Image.Image)
    assert (made.mode, made.size, made.tobytes()) == (mode, (5, 4), image.tobytes())
    assert made.convert("RGB").tobytes() == image.convert("RGB").tobytes()


def test_what_the_file_of_a_picture_said_besides_is_not_kept(shelf: Shelf, tmp_path: Path) -> None:
    Image.new("RGB", (2, 2)).save(tmp_path / "a.png", dpi=(72, 72))
    made = shelf.there_and_back(Image.open(tmp_path / "a.png"))
    assert isinstance(made, Image.Image)
    assert "dpi" not in made.info


@pytest.mark.parametrize("mode", ["F", "CMYK", "I"])
def test_a_picture_of_another_mode_is_not_kept(shelf: Shelf, mode: str) -> None:
    with pytest.raises(Unkept, match=rf"PNG has no mode {mode}"):
        shelf.keep(Image.new(mode, (2, 2)))


GRID = xr.Dataset(
    {"a": (("x", "t"), np.arange(6).reshape(2, 3)), "b": ("x", ["p", "q"]), "c": ("x", [1.0, np.nan])},
    coords={"t": pd.date_range("2026", periods=3)},
    attrs={"unit": "m"},
)


@pytest.mark.parametrize(
    "grid", [GRID, GRID["a"], GRID["a"].rename(None), GRID["c"].astype("f4"), xr.Dataset()], ids=range(5)
)
def test_a_grid_of_xarray_comes_back_identical(shelf: Shelf, grid: Any) -> None:
    made: Any = shelf.there_and_back(grid)
    assert type(made) is type(grid)
    assert made.identical(grid)
    assert {str(name): one.dtype for name, one in made.coords.items()} == {
        str(name): one.dtype for name, one in grid.coords.items()
    }


def test_a_grid_that_netcdf_would_change_is_not_kept(shelf: Shelf) -> None:
    with pytest.raises(Unkept):
        shelf.keep(GRID.assign(z=("x", np.array([1 + 1j, 2]))).assign_attrs(d={"a": 1}))


@pytest.mark.parametrize(
    "value",
    [
        LogisticRegression(solver=SECRET),
        TfidfVectorizer().fit([SECRET]),
        LabelEncoder().fit([SECRET, "x"]),
        drawn(SECRET),
        GRID.assign_attrs(k=SECRET),
        GRID.assign(s=("x", [SECRET, "y"])),
        GRID["a"].rename(SECRET),
        xgboost.train({}, xgboost.DMatrix(X, Y, feature_names=["a", "b", SECRET]), 1),
        lightgbm.train({"verbose": -1, "num_threads": 1}, lightgbm.Dataset(X, Y, feature_name=["a", "b", SECRET]), 1),
        {"a": np.arange(3), "b": drawn(SECRET)},
    ],
    ids=range(10),
)
def test_a_secret_in_a_model_or_a_figure_is_found_before_anything_is_put(shelf: Shelf, value: object) -> None:
    with pytest.raises(HoldsSecret):
        shelf.keep(value, holds)
    assert shelf.names == []


def test_tensors_come_back_where_torch_is_installed(shelf: Shelf) -> None:
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6.0).reshape(2, 3)
    made: Any = shelf.there_and_back(tensor)
    assert torch.equal(made, tensor)
    state = torch.nn.Linear(2, 3).state_dict()
    again: Any = shelf.there_and_back(state)
    assert list(again) == list(state)
    assert all(torch.equal(again[name], state[name]) for name in state)


def test_a_model_of_catboost_comes_back_where_it_is_installed(shelf: Shelf) -> None:
    catboost = pytest.importorskip("catboost")
    model = catboost.CatBoostClassifier(iterations=2, verbose=False, allow_writing_files=False).fit(X, Y)
    made: Any = shelf.there_and_back(model)
    assert np.array_equal(made.predict(X), model.predict(X))
