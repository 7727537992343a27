"""The batch pipeline and its command line. Composes tiles and models on Apache Beam."""

if __name__ != "terraseam.pipeline":
    raise ImportError("import terraseam.pipeline, not pipeline: a class that has two names exists twice")

import os

# GDAL's default cache is 5 % of the machine's memory in every process; it must be bounded before GDAL loads.
os.environ.setdefault("GDAL_CACHEMAX", "64")
# TensorFlow writes what it found of the machine to the terminal otherwise, before anyone can ask it not to.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# Rasters on servers: a request that fails is made again, and one that hangs ends; nothing of a file is kept when it is
# closed, so that a later run in this process does not see an old one. The cache of a file stays small for many files; that
# of all files holds what the threads of a process verify and read at a time, see `terraseam.tiles.checksums.remote`.
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
