"""The batch pipeline and its command line. Composes tiles and models on Apache Beam."""

import os

# GDAL's default cache is 5 % of the machine's memory in every process; it must be bounded before GDAL loads.
os.environ.setdefault("GDAL_CACHEMAX", "64")
# TensorFlow writes what it found of the machine to the terminal otherwise, before anyone can ask it not to.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
