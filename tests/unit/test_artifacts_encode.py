"""Values of Python itself: as plain JSON where they are it, else tagged, else refused with the place."""

from __future__ import annotations

import dataclasses
import enum
import json
import subprocess
import sys
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from pydantic import BaseModel, JsonValue, PrivateAttr

from flownb.artifacts.decode import Refused, artifact_names, decode
from flownb.artifacts.encode import LARGEST_BYTES, HoldsSecret, Unkept
from flownb.model.record import Record
from flownb.store.artifacts import ArtifactStore
from tests.kept import SECRET, Shelf, holds


class Color(enum.Enum):
    RED = "r"


class Level(enum.IntEnum):
    LOW = 1


class Kind(enum.StrEnum):
    A = "a"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


@dataclasses.dataclass
class Point:
    x: int
    y: object = None

    def __post_init__(self) -> None:
        if self.x == 666:
            raise AssertionError("a class's own code was run")


@dataclasses.dataclass(frozen=True, slots=True)
class Frozen:
    at: datetime


class Pair(NamedTuple):
    left: int
    right: object


class Model(BaseModel):
    name: str = "n"
    when: datetime | None = None
    _seen: int = PrivateAttr(default=0)


Old = namedtuple("Old", "a b")  # noqa: PYI024 as people still write them


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path, Color, Level, Kind, Access, Point, Frozen, Pair, Model, Old)


@pytest.mark.parametrize(
    "value", [None, True, 0, -1.5, "é", [], {}, {"a": [1, {"b": None}]}, [1.0, 1, True], 2**70, "$x", {"a": "$x"}]
)
def test_plain_data_stays_as_it_is(shelf: Shelf, value: JsonValue) -> None:
    made = shelf.keep(value)
    assert (made.output, made.is_tagged, shelf.names) == (value, False, [])
    assert json.dumps(made.output) == json.dumps(value)


def test_what_is_kept_is_a_copy(tmp_path: Path) -> None:
    value = {"a": [1]}
    made = Shelf(tmp_path).keep(value)
    value["a"].append(2)
    assert made.output == {"a": [1]}


def test_a_record_is_kept_as_a_dict(shelf: Shelf) -> None:
    made = shelf.keep(Record({"a": {"b": [1]}}))
    assert (made.output, made.is_tagged) == ({"a": {"b": [1]}}, False)


@pytest.mark.parametrize(
    "value",
    [
        float("inf"),
        10**5000,
        -(10**5000),
        "half \udc80",
        b"",
        b"\x00\xff" * 9,
        bytearray(b"x"),
        (1, (2,), [3]),
        {1: 2, None: 3, (4,): 5},
        {"$type": "x", "$artifact": "y"},
        {"a\udc80": 1},
        {1, "a", frozenset({2})},
        range(2, 9, 3),
        complex(1.5, -0.0),
        Decimal("-1.230"),
        Fraction(1, 3),
        UUID(int=5),
        Path("a/b"),
        Path("\udc80"),
        PurePosixPath("/x"),
        PureWindowsPath("c:\\x"),
        datetime(2026, 3, 29, 2, 30, fold=1),
        datetime(2026, 1, 1, tzinfo=UTC),
        datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        datetime(2026, 1, 1, 1, 2, 3, 4, timezone(timedelta(hours=2), "own")),
        date(2026, 1, 1),
        time(1, 2, 3, tzinfo=timezone(timedelta(minutes=-30))),
        timedelta(days=-1, microseconds=1),
        ZoneInfo("Europe/Berlin"),
        OrderedDict(b=1, a=2),
        Counter("aab"),
        defaultdict(list, {"a": [1]}),
        defaultdict(None, {"a": 1}),
        deque([1, (2,)], 3),
        Color.RED,
        Level.LOW,
        Kind.A,
        Access.READ,
        Access.READ | Access.WRITE,
        Point(1, {"a": (2,)}),
        Frozen(datetime(2026, 1, 1)),
        Pair(1, [2]),
        Old(1, 2),
        Model(name="m", when=datetime(2026, 1, 1)),
        {"level": Level.LOW, "rows": [[1, Level.LOW]]},
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_comes_back_equal_and_of_its_class(shelf: Shelf, value: object) -> None:
    made = shelf.there_and_back(value)
    assert made == value
    assert type(made) is type(value)
    assert isinstance(value, set | int) or repr(made) == repr(value)
    assert shelf.notes == []


def test_types_inside_are_told_apart(shelf: Shelf) -> None:
    made = shelf.there_and_back([Level.LOW, 1, True, 1.0, (1,), Kind.A, "a"])
    assert isinstance(made, list)
    assert [type(item) for item in made] == [Level, int, bool, float, tuple, Kind, str]


def test_not_a_number_comes_back(shelf: Shelf) -> None:
    made = shelf.there_and_back([float("nan")])
    assert isinstance(made, list)
    assert made[0] != made[0]


def test_a_model_comes_back_with_what_was_given_and_what_is_private(shelf: Shelf) -> None:
    value = Model(name="m")
    value._seen = 7
    made = shelf.there_and_back(value)
    assert isinstance(made, Model)
    assert (made.model_fields_set, made._seen) == ({"name"}, 7)


def test_one_date_leaves_a_thousand_numbers_as_they_are(shelf: Shelf) -> None:
    value: dict[str, Any] = {f"n{number}": number for number in range(1000)} | {"at": date(2026, 1, 1)}
    made = shelf.keep(value)
    assert shelf.back(made) == value
    assert isinstance(made.output, dict)
    assert [key for key, item in made.output.items() if not isinstance(item, int)] == ["at"]


@pytest.mark.parametrize(
    "value, name, data",
    [
        (Point(1, 2), "Point", {"x": 1, "y": 2}),
        (Pair(1, 2), "Pair", (1, 2)),
        (Color.RED, "Color", "r"),
        (Model(name="m"), "Model", {"name": "m", "when": None}),
    ],
)
def test_a_class_that_is_not_at_hand_comes_back_as_its_data_and_says_so(
    tmp_path: Path, value: object, name: str, data: object
) -> None:
    shelf = Shelf(tmp_path)
    made = shelf.there_and_back(value)
    assert (made, type(made)) == (data, type(data))
    assert len(shelf.notes) == 1
    assert f"{name}` came back as its data" in shelf.notes[0]


def test_a_class_with_other_fields_now_gives_the_data(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path, Point)
    made = shelf.keep(Point(1, 2))
    shelf.classes = {name: dataclasses.make_dataclass("Point", ["x"]) for name in shelf.classes}
    changed = next(iter(shelf.classes.values()))
    changed.__module__, changed.__qualname__ = Point.__module__, Point.__qualname__
    assert shelf.back(made) == {"x": 1, "y": 2}
    assert "has other fields now" in shelf.notes[0]


def test_no_code_of_the_class_is_run_on_the_way_back(shelf: Shelf) -> None:
    value = Point(1)
    value.x = 666
    assert shelf.there_and_back(value) == value


def test_a_set_of_what_can_be_in_none_any_more_comes_back_as_a_list(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    assert shelf.there_and_back({Frozen(datetime(2026, 1, 1))}) == [{"at": datetime(2026, 1, 1)}]
    assert "a set came back as a list" in shelf.notes[1]


class Sub(dict[str, int]):
    pass


class Holder(list[int]):
    pass


@dataclasses.dataclass
class Crowded(list[int]):
    x: int = 1


def circle() -> list[object]:
    made: list[object] = []
    made.append([made])
    return made


def deep(levels: int, inner: object = 1) -> object:
    for _ in range(levels):
        inner = [inner]
    return inner


class Extra(Point):
    pass


def with_more() -> Point:
    made = Point(1)
    made.__dict__["more"] = 2
    return made


@pytest.mark.parametrize(
    "value, said",
    [
        ({"rows": [1, 2, 3, {"f": print}]}, r'["rows"][3]["f"] (builtin_function_or_method): it is of no kind'),
        (object(), "the value (object): it is of no kind"),
        (Sub(a=1), "it is a dict and perhaps more than that; return it as a plain dict"),
        ([Holder([1])], "[0] (test_artifacts_encode.Holder): it is of no kind"),
        (Crowded(), "it holds more than its fields"),
        (with_more(), "it holds more than its fields"),
        (circle(), "[0][0] (list): it contains itself"),
        (deep(300), "nested too deeply"),
        (deep(300, (1,)), "nested too deeply"),
        (deep(100_000), "nested too deeply"),
        (defaultdict(lambda: 1), "what it makes is none of"),
        (int, "(type): it is of no kind"),
    ],
    ids=range(12),
)
def test_what_cannot_be_kept_is_named_with_its_place_and_why(shelf: Shelf, value: object, said: str) -> None:
    with pytest.raises(Unkept) as found:
        shelf.keep(value)
    assert said in str(found.value).replace("tests.unit.", "")
    assert shelf.names == []


def test_nothing_is_put_when_a_later_part_cannot_be_kept(shelf: Shelf) -> None:
    with pytest.raises(Unkept, match="1"):
        shelf.keep(["x" * LARGEST_BYTES * 2, object()])
    assert shelf.names == []


@pytest.mark.parametrize(
    "value, extension",
    [("é" * 40_000, "txt"), (b"x" * 70_000, "bin"), (bytearray(70_000), "bin"), (list(range(20_000)), "json")],
)
def test_what_is_large_stands_in_a_file(shelf: Shelf, value: object, extension: str) -> None:
    made = shelf.keep(value)
    assert isinstance(made.output, dict)
    assert shelf.names == [made.output["$artifact"]]
    assert shelf.names[0].endswith(f".{extension}")
    assert made.output["type"] == type(value).__name__
    assert len(json.dumps(made.output)) < 2000
    back = shelf.back(made)
    assert (back, type(back)) == (value, type(value))


@pytest.mark.parametrize("key", ["$type", "$artifact"])
def test_a_key_that_looks_like_a_tag_is_none_in_the_journal_nor_in_a_file(shelf: Shelf, key: str) -> None:
    for value in ({key: "tuple"}, {key: "tuple", "value": list(range(20_000))}):
        made = shelf.keep(value)
        assert made.is_tagged
        assert shelf.back(made) == value


def test_tagged_json_that_is_large_names_the_files_that_it_uses(shelf: Shelf) -> None:
    value = {"a": list(range(20_000)), "b": (1,), "c": b"x" * 70_000}
    made = shelf.keep(value)
    assert shelf.back(made) == value
    assert sorted(set(artifact_names(made.output))) == shelf.names
    assert len(shelf.names) == 2


def test_ten_megabytes_passed_along_twenty_nodes_are_written_once(shelf: Shelf) -> None:
    value = "x" * 10_000_000
    assert len({str(shelf.keep(value).output) for _ in range(20)}) == 1
    assert len(shelf.names) == 1


def test_equal_sets_are_stored_the_same_in_every_process(tmp_path: Path) -> None:
    code = "from flownb.artifacts.encode import encode; print(encode({'a', 'b', 'c', ('d', 1)}, None, None).output)"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True
        ).stdout
        for seed in "123"
    }
    assert len(outputs) == 1


def test_nothing_heavy_is_imported_for_a_value_of_python() -> None:
    code = (
        "import sys; from flownb.artifacts.encode import encode; encode({'a': (1,)}, None, None); "
        "print(*[name for name in ('numpy', 'pandas', 'pyarrow', 'torch', 'matplotlib', 'PIL') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize(
    "value",
    [
        SECRET,
        {SECRET: 1},
        [[{"a": f"x{SECRET}"}]],
        (SECRET,),
        {1: SECRET},
        SECRET.encode(),
        Path(SECRET),
        Point(1, SECRET),
        Model(name=SECRET),
        f"\udc80{SECRET}",
        SECRET * 20_000,
        [b"y" * 70_000, SECRET.encode() * 20_000],
        ["y" * 70_000, SECRET],
        [*range(20_000), SECRET],
        ("y" * 70_000, SECRET),
    ],
    ids=range(15),
)
def test_a_secret_anywhere_is_found_before_anything_is_put(shelf: Shelf, value: object) -> None:
    with pytest.raises(HoldsSecret) as found:
        shelf.keep(value, holds)
    assert shelf.names == []
    assert SECRET not in str(found.value)


def test_a_place_with_a_secret_in_it_is_not_told(shelf: Shelf) -> None:
    with pytest.raises(Unkept) as found:
        shelf.keep({SECRET: object()}, holds)
    assert SECRET not in str(found.value)


def test_without_a_secret_in_it_a_value_is_stored_the_same_as_in_a_run_without_any(shelf: Shelf) -> None:
    value = {"a": (1, b"x"), "b": "y" * 70_000}
    assert shelf.keep(value, holds) == shelf.keep(value)


@pytest.mark.parametrize(
    "output, said",
    [
        ({"$type": "os.system", "value": "x"}, "there is no such kind"),
        ({"$type": 5}, "the tag is no text"),
        ({"$type": "tuple", "value": 5}, "it is damaged"),
        ({"$type": "decimal.Decimal", "value": "x"}, "it is damaged"),
        ({"$type": "bytes", "value": "%"}, "it is damaged"),
        ({"$type": "dict", "value": [[1]]}, "no pair"),
        ({"$type": "dict"}, "it is damaged"),
        ({"$type": "range", "value": "0 1 0"}, "it is damaged"),
        ({"$type": "zone", "zone": "../../etc/passwd"}, "it is damaged"),
        ({"$type": "datetime", "value": "2026"}, "it is damaged"),
        ({"$type": "collections.defaultdict", "makes": "eval", "value": []}, "it must not make"),
        ({"$type": "pathlib.Path", "value": 5, "flavour": "Posix"}, "no path"),
        ({"$artifact": "x", "type": 5}, "it says no type"),
        ({"$artifact": "../x.json", "type": "dict"}, "no name of a stored value"),
        ({"$artifact": "/etc/passwd", "type": "str"}, "ends in .txt"),
        ({"$artifact": "0" * 64 + ".json", "type": "str"}, "ends in .txt"),
        ({"$artifact": "0" * 64 + ".json", "type": "dict"}, "cannot be read"),
        ({"$type": "pandas.DataFrame"}, "ends in .parquet"),
    ],
    ids=range(18),
)
def test_hostile_json_is_refused_by_name(shelf: Shelf, output: JsonValue, said: str) -> None:
    with pytest.raises(Refused, match="hint: run") as found:
        decode(output, ArtifactStore(shelf.folder).open, shelf.classes.get, shelf.notes.append)
    assert said in str(found.value)


def test_json_that_is_nested_too_deeply_is_refused(shelf: Shelf) -> None:
    output: JsonValue = 1
    for _ in range(20_000):
        output = {"$type": "tuple", "value": [output]}
    with pytest.raises(Refused, match="nested too deeply"):
        decode(output, Path, shelf.classes.get, shelf.notes.append)


@pytest.mark.parametrize("named", [subprocess.Popen, Path, dict, object, Shelf])
@pytest.mark.parametrize("tag", ["dataclass", "namedtuple", "enum", "pydantic"])
def test_a_class_of_another_sort_is_never_made(tmp_path: Path, named: type, tag: str) -> None:
    shelf = Shelf(tmp_path, named)
    fields: JsonValue = [["args", "touch /tmp/never"]]
    output: JsonValue = {
        "$type": tag,
        "class": next(iter(shelf.classes)),
        "name": "x",
        "value": "v",
        "fields": fields,
        "given": [],
    }
    made = decode(output, Path, shelf.classes.get, shelf.notes.append)
    assert made in ({"args": "touch /tmp/never"}, ("touch /tmp/never",), "v")
    assert len(shelf.notes) == 1
