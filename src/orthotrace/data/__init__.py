"""Images held as tensors, streams of tasks made from them, whole batches served from them."""
