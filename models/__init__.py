"""Networks: builders, bundles, reach and engines. Knows no Beam and no rasters."""

if __name__ != "terraseam.models":
    raise ImportError("import terraseam.models, not models: a class that has two names exists twice")
