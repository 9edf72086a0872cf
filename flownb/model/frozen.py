"""The way every model is: it never changes and knows all of its fields."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Frozen(BaseModel):
    """A record that never changes; an unknown field is an error. Its JSON keeps `NaN` and `Infinity`, so that it reads back.

    Its validator is made when it is first used, not when it is imported (DECISIONS.md, 43).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="constants", defer_build=True)
