"""What every other package may import: errors, files, seeds, distributed runs."""
