"""Data sets in tensors, streams of tasks, concept sets, batches."""
