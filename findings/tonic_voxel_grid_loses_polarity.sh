#!/usr/bin/env bash
# tonic 1.7.0: ToVoxelGrid takes all events for positive ones where polarities are booleans, as in tonic's DVSGesture.
#
# Events of polarity 0 are given -1 in the field of polarities itself. Of a boolean field, that of tonic.io.events_struct
# and of DVSGesture, -1 is true: 1. So the grid of signed events (Zhu et al., CVPR 2019) is one of counts, without a word;
# the same events with polarities as integers, as in tonic's NMNIST, give another grid.
# Right would be +1 and -1 for both types.
# Seen with Python 3.11, 2,000 random events, half of them positive, 5 bins: sums over the grid -51.3 (integers) and 1799.6
# (booleans), no voxel of the second is below 0.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check tonic==1.7.0
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
from tonic.datasets import DVSGesture
from tonic.io import events_struct
from tonic.transforms import ToVoxelGrid

assert events_struct["p"] == DVSGesture.dtype["p"] == bool
rng = np.random.default_rng(0)
events = np.zeros(2000, DVSGesture.dtype)
events["t"] = np.arange(2000) * 10
for field, most in (("x", 16), ("y", 16), ("p", 2)):
    events[field] = rng.integers(0, most, 2000)
grid = ToVoxelGrid(sensor_size=(16, 16, 2), n_time_bins=5)
signed = grid(events.astype([("x", int), ("y", int), ("p", int), ("t", int)]))
booleans = grid(events)
print(f"sum over the grid: {signed.sum():.1f} (integers), {booleans.sum():.1f} (booleans); lowest voxel {booleans.min():.2f}")
assert signed.min() < 0 <= booleans.min() and booleans.sum() > 1000, "tonic behaves in another way now"
PYTHON
