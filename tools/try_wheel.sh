#!/usr/bin/env bash
# Build the wheel, install it into empty environments outside the checkout, and use it from empty folders: `tools/try_wheel.sh`.
# Needs Python (PYTHON, else python3), pip's package index and 10 GB. 9 minutes on two
# cores. Each step has a time limit, for a busy machine, and prints one line.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
unset HEADPOSEKIT_RUNS HEADPOSEKIT_DATASETS HEADPOSEKIT_EXTENSIONS PYTHONPATH
export PYTHONDONTWRITEBYTECODE=1

# step SECONDS NAME COMMAND...: its output goes to $work/log, which is shown if it fails.
step() {
  local limit=$1 name=$2 start=$SECONDS
  shift 2
  if ! timeout --kill-after=10 "$limit" "$@" >"$work/log" 2>&1; then
    tail -n 40 "$work/log"
    echo "FAILED ($((SECONDS - start)) s, limit $limit): $name"
    exit 1
  fi
  echo "ok $((SECONDS - start)) s: $name"
}

# shows TEXT: the last step printed it.
shows() { grep -qF -- "$1" "$work/log" || { cat "$work/log"; echo "FAILED: the output lacks '$1'"; exit 1; }; }

# shows_a_pose: poses/poses.csv of the current folder has a row.
shows_a_pose() { [ "$(wc -l <poses/poses.csv)" -ge 2 ] || { echo "FAILED: no pose in poses.csv"; exit 1; }; }

# refused NAME TEXT COMMAND...: the command must fail and print TEXT.
refused() {
  local name=$1 text=$2
  shift 2
  if timeout 600 "$@" >"$work/log" 2>&1; then echo "FAILED: $name was not refused"; exit 1; fi
  shows "$text"
  echo "ok refused: $(tail -n 1 "$work/log")"
}

# The sources as git knows them, so that no build folder of the checkout gets into the wheel.
mkdir "$work"/{source,predict,train,sweep}
(cd "$project" && git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
  [ ! -f "$file" ] || cp --parents "$file" "$work/source"
done)
step 600 "wheel built" "$python" -m pip wheel --no-deps -w "$work" "$work/source"
rm -r "$work/source"
wheel=$(echo "$work"/headposekit-*.whl)
step 600 "environment made" "$python" -m venv "$work/env"
step 1800 "base installed" "$work/env/bin/pip" install "$wheel"
env_python=$work/env/bin/python
headposekit=$work/env/bin/headposekit

cd "$work/predict"
step 600 "the installed package is imported" "$env_python" -c "import headposekit; assert headposekit.__file__.startswith('$work/env'), headposekit"
step 600 "headposekit --help" "$headposekit" --help
shows "estimate the poses of all faces"
cat >make_network.py <<'PYTHON'
"""Write an untrained FSA-Net with a description, and a picture of a rendered head."""

import json
from functools import partial
from pathlib import Path

from headposekit.demo.examples import render_examples
from headposekit.files import write_picture
from headposekit.models.fsanet import CapsuleAggregation, ConvScoring, FSANet
from headposekit.weights.checkpoint import CARD_VERSION, safetensors_bytes
from headposekit.weights.load import FSANET_CROP

PARTS = "headposekit.models.fsanet."
model = {
    "_target_": PARTS + "FSANet",
    "scoring": {"_target_": PARTS + "ConvScoring"},
    "aggregation": {"_target_": PARTS + "CapsuleAggregation", "_partial_": True},
}
network = FSANet(ConvScoring(), partial(CapsuleAggregation))
Path("net.safetensors").write_bytes(safetensors_bytes(network))
Path("net.json").write_text(json.dumps({"format": CARD_VERSION, "model": model, "crop": FSANET_CROP}))
write_picture(Path("head.jpg"), render_examples()[0].picture)
PYTHON
cat >import_time.py <<'PYTHON'
"""Print the least time, of five processes, of `from headposekit import load`, without the start of Python."""

import subprocess
import sys

CODE = """
import sys, time
start = time.perf_counter()
from headposekit import load
print(time.perf_counter() - start)
assert not {"pytorch_lightning", "hydra", "wandb"} & set(sys.modules)
"""
times = [float(subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True).stdout) for _ in range(5)]
print(f"{min(times):.2f} s")
PYTHON
step 600 "network made in the base environment" "$env_python" make_network.py
step 600 "headposekit predict" "$headposekit" predict checkpoint=net.safetensors input=head.jpg output=poses
shows_a_pose
step 600 "load in Python" "$env_python" -c "from headposekit import load; print(load('net.safetensors')('head.jpg'))"
unset PYTHONDONTWRITEBYTECODE
step 600 "from headposekit import load (best of 5)" "$env_python" import_time.py
echo "   import time, base environment: $(tail -n 1 "$work/log")"
refused "train without its extra" "headposekit[train]" "$headposekit" train

step 1800 "[train] installed" "$work/env/bin/pip" install "$wheel[train]"
step 600 "from headposekit import load, with [train]" "$env_python" import_time.py
echo "   import time, with [train]: $(tail -n 1 "$work/log")"
cd "$work/train"
step 1800 "the main job on 256 heads" "$headposekit" train data.num_heads=256 test.synthetic.num_heads=64 epochs=1 trainer=cpu
checkpoint=$(echo "$PWD"/runs/*/checkpoints/last.ckpt)
test -d datasets/synthetic
step 600 "report of it" "$headposekit" report
step 600 "its checkpoint exported" "$headposekit" export checkpoint="$checkpoint" output=net.onnx
step 600 "predict with the exported file" "$headposekit" predict weights=net.onnx input=../predict/head.jpg output=poses
shows_a_pose
cd "$work/sweep"
cell=(experiments=fsanet/table4 budget=smoke 'test=[aflw2000]')
step 1800 "one cell of experiments=fsanet/table4 budget=smoke" \
  "$headposekit" train -m "${cell[@]}" model=fsanet aggregation=none scoring=none trainer=cpu
step 600 "its table" "$headposekit" report "${cell[@]}"
shows "written to"
refused "benchmark, which needs the repository" "no such program" "$headposekit" benchmark
echo "all of it works"
