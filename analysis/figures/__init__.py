"""Figures of a paper, one file for each."""
