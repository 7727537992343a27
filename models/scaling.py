"""Raw raster values to what a network was trained on."""

from __future__ import annotations

import numpy as np

from models.card import Scaling


def scale(chips: np.ndarray, scaling: Scaling) -> np.ndarray:
    """Scale raw values band by band: ``raw * scale + offset``.

    Args:
        chips: Raw values of any numeric type, shape ``(..., bands)``; never written to.
        scaling: One scale and one offset per band.

    Returns:
        A new float32 array of the same shape.

    Raises:
        ValueError: If `chips` has another number of bands than `scaling`.
    """
    if chips.shape[-1] != len(scaling.scale):
        raise ValueError(f"chips have {chips.shape[-1]} bands, the scaling has {len(scaling.scale)}")
    scaled = np.multiply(chips, np.asarray(scaling.scale, np.float32), dtype=np.float32, casting="unsafe")
    scaled += np.asarray(scaling.offset, np.float32)
    return scaled
