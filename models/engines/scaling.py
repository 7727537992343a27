"""Scale raw raster values to the input range of a network."""

from __future__ import annotations

import numpy as np

from terraseam.models.bundle.values import Scaling


def scale(chips: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Scale raw values band by band: ``raw * scale + offset``.

    Args:
        chips: Raw values of any numeric type, shape ``(..., bands)``; not modified.
        scaling: One scale and one offset per band.

    Returns:
        A new float32 array of the same shape.

    Raises:
        ValueError: If `chips` and `scaling` differ in their number of bands.
    """
    if chips.shape[-1] != len(scaling.scale):
        raise ValueError(f"chips have {chips.shape[-1]} bands, the scaling has {len(scaling.scale)}")
    # Whole rows at once: numpy's loops over the few bands of one pixel take six times as long.
    width = chips.shape[-2] if chips.ndim > 1 else 1
    rows = chips.reshape(*chips.shape[:-2], width * chips.shape[-1])
    factors, offsets = (
        np.tile(np.array(each, np.float32), width) for each in (scaling.scale, scaling.offset)
    )
    scaled = np.multiply(rows, factors, dtype=np.float32, casting="unsafe")
    scaled += offsets
    return scaled.reshape(chips.shape)


def in_layout(chips: np.ndarray, layout: str) -> np.ndarray:
    """Return chips ``(samples, height, width, bands)`` in a network's layout."""
    return np.ascontiguousarray(np.moveaxis(chips, -1, 1)) if layout == "channels_first" else chips
