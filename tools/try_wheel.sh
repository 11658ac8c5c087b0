#!/usr/bin/env bash
# Build the wheel, install it outside the checkout, and use it from empty folders as a user does: `tools/try_wheel.sh`, 3 minutes.
# The packages it needs are those of PYTHON's environment (by default the checkout's), which is not changed.
set -euo pipefail
project=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-$project/.venv/bin/python}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work"/{source,installed,base,predict,train,sweep}
cd "$project"
git ls-files -z --cached --others --exclude-standard | xargs -0 -I{} sh -c '[ ! -f "{}" ] || cp --parents "{}" "$0"' "$work/source"
"$python" -m pip wheel --quiet --no-deps --no-build-isolation -w "$work" "$work/source"
"$python" -m pip install --quiet --no-deps --no-index --target "$work/installed" "$work"/headposekit-*.whl
rm -r "$work/source"
unset HEADPOSEKIT_RUNS HEADPOSEKIT_DATASETS HEADPOSEKIT_EXTENSIONS
export PYTHONPATH=$work/installed PYTHONDONTWRITEBYTECODE=1
headposekit=$work/installed/bin/headposekit
step() { echo; echo "== $*"; }

step the commands
cd "$work/predict"
"$python" -P -c "import headposekit; assert headposekit.__file__.startswith('$work/installed'), headposekit.__file__"
"$headposekit" --help
if "$headposekit" benchmark; then exit 1; fi

step the main job on 256 heads
cd "$work/train"
"$headposekit" train data.num_heads=256 test.synthetic.num_heads=64 epochs=1 trainer=cpu
checkpoint=$(echo "$PWD"/runs/*/checkpoints/last.ckpt)
test -d datasets/synthetic
"$headposekit" report

step one cell of a table
cd "$work/sweep"
"$headposekit" train -m experiments=fsanet/table4 budget=smoke model=fsanet aggregation=none scoring=none 'test=[aflw2000]' trainer=cpu
"$headposekit" report experiments=fsanet/table4 budget=smoke 'test=[aflw2000]'

step prediction without the packages of the extra train
cat >"$work/base/sitecustomize.py" <<'PYTHON'
import sys

HIDDEN = {"pytorch_lightning", "lightning_fabric", "torchmetrics", "albumentations", "wandb", "tensorboard", "jinja2",
          "matplotlib", "optuna", "werkzeug", "roma"}


class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Hide())
PYTHON
export PYTHONPATH=$work/base:$PYTHONPATH
cd "$work/predict"
"$python" -P - "$checkpoint" <<'PYTHON'
import sys
from pathlib import Path

from headposekit import load
from headposekit.demo.examples import render_examples
from headposekit.files import write_picture

assert "hydra" not in sys.modules
for number, example in enumerate(render_examples()):
    write_picture(Path(f"{number}.jpg"), example.picture)
print(load(sys.argv[1])("0.jpg"))
PYTHON
"$headposekit" predict checkpoint="$checkpoint" input=. output=poses
head -n 3 poses/poses.csv
if "$headposekit" train; then exit 1; fi
echo; echo "all of it works"
