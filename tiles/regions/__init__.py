"""Regions of label maps: traced, closed across sheets, sieved, simplified, regularized."""
