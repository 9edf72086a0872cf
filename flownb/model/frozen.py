"""The way every model is: it never changes and knows all of its fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A record that never changes; an unknown field is an error. Its JSON keeps `NaN` and `Infinity`, so that it reads back."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants")
