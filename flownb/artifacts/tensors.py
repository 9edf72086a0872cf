"""Tensors of PyTorch, and dicts of them, in safetensors files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from pydantic import JsonValue
from safetensors.torch import load_file, save

from flownb.artifacts.arrays import shown_size
from flownb.artifacts.kind import Fields, Keeper, Kind, Restorer

_ONE: Final = "tensor"
_SHOWN: Final = 3


def _packed(tensors: dict[str, Any], keeper: Keeper) -> bytes:
    # A copy of each by itself: safetensors takes none that share memory, as tied weights do.
    data: bytes = save({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()})
    keeper.ask([*tensors, data] if keeper.asks else ())
    return data


def _writer(data: bytes) -> Callable[[Any], None]:
    def write(file: Any) -> None:
        file.write(data)

    return write


class _Tensors:
    """One tensor: values, type and shape; it comes back on the CPU, without its gradient."""

    def keep(self, value: Any, keeper: Keeper) -> dict[str, JsonValue]:
        """Return where the file is, and size."""
        if str(value.layout) != "torch.strided" or value.is_quantized:
            raise keeper.unkept(value, "safetensors holds dense tensors only; use .to_dense()")
        size = shown_size(tuple(value.shape))
        name = keeper.file("safetensors", _writer(_packed({_ONE: value}, keeper)))
        return {"$artifact": name, "size": size, "preview": f"{value.dtype}, {size}"}

    def restore(self, data: Fields, restorer: Restorer) -> Any:
        """Return the tensor."""
        return load_file(restorer.open(data, "safetensors"))[_ONE]


class _States:
    """A dict of tensors, as `state_dict()` returns it."""

    def keep(self, value: dict[str, Any], keeper: Keeper) -> dict[str, JsonValue]:
        """Return where the file is, how many, and the order of the names."""
        name = keeper.file("safetensors", _writer(_packed(value, keeper)))
        first = ", ".join(f"{key}: {shown_size(tuple(value[key].shape))}" for key in list(value)[:_SHOWN])
        kept: dict[str, JsonValue] = {
            "$artifact": name,
            "ordered": isinstance(value, OrderedDict),
            "names": list(value),
        }
        return kept | {"size": f"{len(value)} tensors", "preview": first[:200]}

    def restore(self, data: Fields, restorer: Restorer) -> Any:
        """Return the dict."""
        tensors = load_file(restorer.open(data, "safetensors"))
        names = data.get("names")
        if not isinstance(names, list) or set(map(str, names)) != set(tensors):
            raise restorer.refused(data, "it holds other tensors")
        return (OrderedDict if data.get("ordered") is True else dict)((str(name), tensors[str(name)]) for name in names)


TENSOR: Final[Kind] = _Tensors()
STATE: Final[Kind] = _States()
