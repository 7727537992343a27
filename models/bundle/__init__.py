"""Bundles: a folder with a network and its card, checked before anything is loaded."""
