#!/usr/bin/env bash
# wandb 0.31.0: rows that an offline run has logged are in no file for up to 15 s, so a kill loses them.
#
# run.log returns, and the documentation says that offline mode saves to the disk; the rows stay in the memory of W&B's
# service until a buffer of 32 KiB is full or 15 s have passed (the undocumented x_transaction_log_flush_interval). A kill
# of the process alone, not of the service, loses them as well: the .wandb file has its header alone, and "wandb sync" says nothing
# of it and exits with 0. A requeued job that goes on from its checkpoint would lack these rows for ever.
# Seen with Python 3.11, wandb 0.31.0: 5 rows logged, a second waited, 7 bytes in the file, its header.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check wandb==0.31.0
cd "$folder"
export WANDB_SILENT=true
"$folder/env/bin/python" - <<'PYTHON' || true
import os
import signal
import time

import wandb

run = wandb.init(project="p", mode="offline")
for number in range(5):
    run.log({"x": number})
time.sleep(1)
os.kill(os.getpid(), signal.SIGKILL)
PYTHON
sleep 2
size=$(stat --format %s wandb/offline-run-*/run-*.wandb)
echo "$size bytes were kept of 5 rows"
[ "$size" -le 7 ] || { echo "wandb keeps rows of a process that is killed now"; exit 1; }
