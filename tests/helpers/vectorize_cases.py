"""Label rasters, and ``terraseam vectorize`` on them."""

import json

import numpy as np
import rasterio
from georefs import GEOREFS

from terraseam.pipeline.cli import main


def write_labels(path, labels, place="utm", nodata=255, names=(), **profile):
    georef = GEOREFS[place]
    path.parent.mkdir(parents=True, exist_ok=True)
    profile = {"crs": georef.crs, "transform": rasterio.Affine(*georef.transform), **profile}
    height, width = labels.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=height,
        width=width,
        count=1,
        nodata=nodata,
        **{"dtype": labels.dtype, **profile},
    ) as dataset:
        dataset.write(labels, 1)
        dataset.update_tags(1, **{f"class_{label}": name for label, name in enumerate(names)})
    return path


def vectorize(labels, output, *options):
    return main(["vectorize", *map(str, [labels, "--output", output]), *options])


def collection(output, name="map"):
    return json.loads((output / name / "polygons.geojson").read_text())


def patches(height=300, width=421, seed=3):
    rng = np.random.default_rng(seed)
    labels = np.kron(rng.integers(0, 4, (height // 9 + 1, width // 7 + 1)), np.ones((9, 7)))
    labels = labels[:height, :width].astype(np.uint8)
    speckles = rng.random(labels.shape) < 0.02
    labels[speckles] = rng.integers(0, 4, speckles.sum())
    labels[100:130, 200:260] = 255
    return labels
