"""Compare networks by the geometry of their representations, and draw the figures of a paper."""
