"""Networks: builders, bundles, reach and engines. Knows no Beam and no rasters."""
