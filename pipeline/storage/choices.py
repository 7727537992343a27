"""The choices that a run makes for itself, and that later runs in the same work folder keep."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from terraseam.models.engines.choice import ENGINES

FORMAT = 1
FIELDS = {"engine": str, "core_px": int, "sheet_cores": int, "cuts": bool}


@dataclass(frozen=True, slots=True)
class Choices:
    """The engine and the tiling of a run; stored predictions depend on them.

    Attributes:
        engine: Name of the engine.
        core_px: Side of a core, in pixels.
        sheet_cores: Cores along one side of a sheet.
        cuts: Whether tiles at the end of a raster are cut to the pixels that they need.
    """

    engine: str
    core_px: int
    sheet_cores: int
    cuts: bool

    def to_json(self) -> dict[str, Any]:
        """Return the contents of a record."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, values: Any) -> Choices | None:
        """Build choices from the contents of a record; None if they are not valid."""
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            return None
        if not all(type(values.get(name)) is kind for name, kind in FIELDS.items()):
            return None
        if values["engine"] not in ENGINES or min(values["core_px"], values["sheet_cores"]) < 1:
            return None
        return cls(**{name: values[name] for name in FIELDS})
