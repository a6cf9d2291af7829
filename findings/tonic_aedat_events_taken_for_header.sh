#!/usr/bin/env bash
# tonic 1.7.0: AEDAT 2.0 recordings of a DAVIS346 whose first event has the byte "#" in front are misread, without a word.
#
# After the header, whose lines begin with "#" and end with CRLF, an AEDAT 2.0 file has events of eight bytes, the address
# first (docs.inivation.com, file formats). The first byte of an address of a DAVIS346 holds the upper bits of the row: in
# rows 140 to 143 it is 0x23, "#". read_davis_346 takes the events for a comment, up to the next byte of a newline, which
# no carriage return comes before, and reads what follows out of step with the eight bytes of an event. That the rest
# is no whole number of events is not told either. One recording in 65 begins in one of these rows.
# Right would be the events as they were written, or an error.
# Seen with Python 3.11, tonic 1.7.0, 1,000 events: first row 139: 1000 of 1000 events; row 140: 0; row 143: 0; row 144:
# 1000.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check tonic==1.7.0
cd "$folder"
"$folder/env/bin/python" - <<'PYTHON'
import numpy as np
from tonic.io import read_davis_346

rng = np.random.default_rng(0)
rows, columns = rng.integers(0, 260, 1000), rng.integers(0, 346, 1000)
brighter, times = rng.integers(0, 2, 1000), np.arange(3_000, 4_000)
# The first newline byte after the first event lies in an address, not at the end of an event.
found = {}
for first in (139, 140, 143, 144):
    rows[0] = first
    events = np.zeros(1000, [("address", ">u4"), ("time", ">u4")])
    events["address"] = (rows << 22) | ((345 - columns) << 12) | (brighter << 11)
    events["time"] = times
    with open("a.aedat", "wb") as file:
        file.write(b"#!AER-DAT2.0\r\n" + events.tobytes())
    *_, read = read_davis_346("a.aedat")
    written = set(zip(columns.tolist(), rows.tolist(), times.tolist(), strict=True))
    # Rows as they are in the file, or counted from the other end.
    both = [set(zip(read["x"].tolist(), (at(read["y"])).tolist(), read["t"].tolist(), strict=True))
            for at in (lambda y: y, lambda y: 259 - y)]
    found[first] = max(len(written & one) for one in both)
print(f"events that were read as they were written, by the row of the first: {found}")
assert found == {139: 1000, 140: 0, 143: 0, 144: 1000}, "tonic behaves in another way now"
PYTHON
