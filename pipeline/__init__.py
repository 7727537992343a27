"""Compose tiles and models on Apache Beam: the batch pipeline and its command line."""

if __name__ != "terraseam.pipeline":
    raise ImportError(
        "import terraseam.pipeline instead of pipeline: importing both would create every class twice"
    )

import os

# GDAL's default cache is 5 % of the machine's memory in every process; it must be limited before GDAL loads.
os.environ.setdefault("GDAL_CACHEMAX", "64")
# Otherwise TensorFlow logs details of the machine to the terminal before logging can be configured.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Remote rasters: failed requests are retried, and hanging ones time out. Nothing is cached after a file is closed,
# so that a later run in this process sees the current file. The cache per file is small, to allow for many files; the
# cache of all files holds what the threads of a process verify and read at a time, see
# `terraseam.tiles.checksums.remote`.
for name, value in {
    "CPL_VSIL_CURL_CACHE_SIZE": str(64 << 20),
    "CPL_VSIL_CURL_NON_CACHED": "/vsigs/:/vsis3/:/vsicurl/",
    "GDAL_HTTP_CONNECTTIMEOUT": "15",
    "GDAL_HTTP_LOW_SPEED_LIMIT": "1",
    "GDAL_HTTP_LOW_SPEED_TIME": "30",
    "GDAL_HTTP_MAX_RETRY": "4",
    "GDAL_HTTP_RETRY_DELAY": "0.5",
}.items():
    os.environ.setdefault(name, value)
