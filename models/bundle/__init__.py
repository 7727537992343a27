"""Bundles: a network and its card in a folder, checked before anything is loaded."""
