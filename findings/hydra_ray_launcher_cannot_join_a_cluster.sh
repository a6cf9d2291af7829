#!/usr/bin/env bash
# hydra-ray-launcher 1.2.2 cannot join a cluster of Ray 2.60.0 that runs, and nothing in its settings says so.
#
# It puts object_store_memory=78643200 into the arguments of ray.init wherever the key is not there, and ray.init refuses
# that argument where it connects to a cluster: hydra.launcher.ray.init.address=auto, its documented setting, ends every
# multirun in "object_store_memory must not be provided". With +hydra.launcher.ray.init.object_store_memory=null it
# connects; then jobs work in the folder in which "ray start" was given, not in that of the command, so that relative
# folders of a sweep lie there. A worker_process_setup_hook that changes the folder mends that.
# Seen with Python 3.11, hydra-core 1.3.2: the ValueError; with null, one job whose folder is that of "ray start".
set -euo pipefail
folder=$(mktemp -d)
trap '"$folder/env/bin/ray" stop > /dev/null 2>&1 || true; rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/pip" install --quiet --no-compile --disable-pip-version-check \
  hydra-core==1.3.2 hydra-ray-launcher==1.2.2 ray==2.60.0 'cloudpickle<3' setuptools
mkdir "$folder/cluster" "$folder/command"
cat > "$folder/command/app.py" <<'PYTHON'
import os

import hydra


@hydra.main(version_base="1.3", config_path=None)
def app(config):
    print("works in", os.path.basename(os.getcwd()), flush=True)


app()
PYTHON
export PATH="$folder/env/bin:$PATH"
(cd "$folder/cluster" && ray start --head --num-cpus=1 --include-dashboard=false > /dev/null 2>&1)
cd "$folder/command"
words=(--multirun hydra/launcher=ray hydra.launcher.ray.init.address=auto +x=1)
python app.py "${words[@]}" > first.txt 2>&1 && { echo "it joins a cluster now"; exit 1; }
grep -q "object_store_memory must not be provided" first.txt || { echo "it ends for another reason now"; exit 1; }
echo "address=auto: $(grep ValueError first.txt | tail -1)"
python app.py "${words[@]}" +hydra.launcher.ray.init.object_store_memory=null > second.txt 2>&1
grep -o "works in .*" second.txt
grep -q "works in cluster" second.txt || { echo "jobs work elsewhere now"; exit 1; }
