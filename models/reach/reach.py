"""Reach: the receptive field of a network beyond the pixels it labels."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from terraseam.models.errors import CardError


@dataclass(frozen=True)
class Reach:
    """Receptive field beyond a core, in pixels per side, for cores on multiples of the network's stride."""

    top: int
    bottom: int
    left: int
    right: int

    def __post_init__(self) -> None:
        for side, pixels in asdict(self).items():
            if pixels < 0:
                raise CardError(f"reach to the {side} must be 0 px or more, got {pixels}")
