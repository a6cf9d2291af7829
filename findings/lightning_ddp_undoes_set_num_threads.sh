#!/usr/bin/env bash
# pytorch-lightning 2.6.6: torch.set_num_threads, called before Trainer.fit, is undone where a strategy starts processes.
#
# Where OMP_NUM_THREADS is not set, fit gives each process the cores divided by the processes of its node, also under
# srun, where Slurm started them. It says nothing. With one device and no strategy the number stays, so a program that
# asks for one thread keeps it alone and loses it in several processes: other sums, other bits. Two "nodes" on one
# machine, as tests of several nodes have them, take all cores each and wait for each other: a run of 6 s took 126 s.
# OMP_NUM_THREADS, whatever its value, leaves the number alone.
# Seen with Python 3.11, torch 2.13.0, 2 cores: 7 threads asked for; 7 in a plain fit, 2 in one of strategy="ddp" with one
# process, 7 in that with OMP_NUM_THREADS=1.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check torch==2.13.0 pytorch-lightning==2.6.6
cat > "$folder/fit.py" <<'PYTHON'
import os
import sys

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def training_step(self, batch, index):
        print(torch.get_num_threads(), file=sys.stderr, flush=True)
        return self.layer(batch[0]).mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


torch.set_num_threads(7)
trainer = pl.Trainer(
    max_steps=1, accelerator="cpu", devices=1, strategy=sys.argv[1], logger=False, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(Module(), DataLoader(TensorDataset(torch.zeros(2, 2)), 2))
PYTHON
cd "$folder"
threads() { env -u OMP_NUM_THREADS "${@:2}" env/bin/python fit.py "$1" 2>&1 | grep -E '^[0-9]+$' | head -1; }
alone=$(threads auto env)
several=$(threads ddp env)
set_outside=$(threads ddp env OMP_NUM_THREADS=1)
echo "7 threads asked for: $alone in a plain fit, $several in ddp, $set_outside in ddp with OMP_NUM_THREADS=1"
[ "$alone" = 7 ] && [ "$set_outside" = 7 ] || { echo "a plain fit changes the number of threads now"; exit 1; }
[ "$several" != 7 ] || [ "$(nproc)" = 7 ] || { echo "ddp keeps torch.set_num_threads now"; exit 1; }
