"""Concept axes: purity, importance, separability, drift."""
