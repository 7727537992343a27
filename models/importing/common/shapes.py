"""Check a network's input and output shapes against the user's bands."""

from __future__ import annotations

from terraseam.models.errors import NetworkRefusedError
from terraseam.models.importing.common.foreign import Shape

CHANNEL = {"channels_last": 3, "channels_first": 1}
FLOATS = ("float16", "float32", "float64")
"""Input types to which scaled chips can be cast."""
MOST_PIXELS = 4096**2
"""Maximum pixels of a trial call with a network's only input size."""
SIDES = {"channels_last": (1, 2), "channels_first": (2, 3)}


def check_single_input_output(inputs: list[str], outputs: list[str]) -> None:
    """Check that a network has one input and one output.

    Raises:
        RefusedError: If it has several inputs or outputs, or none.
    """
    for kind, names in (("inputs", inputs), ("outputs", outputs)):
        if len(names) != 1:
            raise NetworkRefusedError(
                f"the network has {len(names)} {kind} ({', '.join(names) or 'none'}); "
                "a bundle's network has one input and one output: export it with only those"
            )


def check_taken(shape: Shape | None, dtype: str) -> Shape:
    """Check rank and type of a network's input.

    Raises:
        RefusedError: If it is not a four-dimensional array of floats.
    """
    if shape is None or len(shape) != 4:
        description = "an unknown shape" if shape is None else show(shape)
        raise NetworkRefusedError(
            f"the network takes {description}; it must take chips of four axes: samples, height, width and bands"
        )
    if dtype not in FLOATS:
        raise NetworkRefusedError(
            f"the network takes {dtype}, but Terraseam feeds scaled float32; export it with a float32 input"
        )
    return shape


def find_layout(shape: Shape, bands: int, stated: str | None) -> str:
    """Determine the layout of a network's input.

    Args:
        shape: Input shape.
        bands: Number of bands named by the user.
        stated: Layout stated by the user, or None.

    Returns:
        ``channels_last`` or ``channels_first``.

    Raises:
        RefusedError: If the shape does not fit the bands, or leaves the layout open.
    """
    layouts = [stated] if stated else list(CHANNEL)
    fitting = [name for name in layouts if shape[CHANNEL[name]] == bands]
    if len(fitting) == 1:
        return fitting[0]
    if len(fitting) == 2 or all(shape[CHANNEL[name]] is None for name in layouts):
        if stated:
            return stated
        raise NetworkRefusedError(
            f"give --layout channels_last or channels_first: the network takes {show(shape)}, "
            "which does not say where its bands are"
        )
    counts = [size for name in layouts if (size := shape[CHANNEL[name]]) is not None]
    raise NetworkRefusedError(
        f"the network takes {min(counts)} bands (shape {show(shape)}), but {bands} were given with --bands; "
        "name as many bands as it takes, in its order"
    )


def fixed_sides(shape: Shape, layout: str) -> tuple[int | None, int | None]:
    """Return the only height and width that a network accepts, None where it accepts any.

    Raises:
        RefusedError: If a call with chips of that size would take far more memory than tiles do.
    """
    rows, columns = (shape[axis] for axis in SIDES[layout])
    if (shape[0] or 1) * (rows or 1) * (columns or 1) > MOST_PIXELS:
        raise NetworkRefusedError(
            f"the network only takes chips of {show(shape)}, but a call can have at most {MOST_PIXELS:,} px; "
            "export it with dynamic samples, height and width"
        )
    return rows, columns


def show(shape: Shape) -> str:
    """Format a shape as text, such as ``1 x 3 x ? x ?``."""
    return " x ".join("?" if size is None else str(size) for size in shape) or "single numbers"
