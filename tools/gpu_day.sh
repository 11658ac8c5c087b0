#!/usr/bin/env bash
# All that a GPU has to show, in nine minutes: `OUT=results_of_gpu tools/gpu_day.sh`, then `python tools/gpu_report.py OUT`.
# Without a GPU the same stages run small on the processor. Each has its own time limit, and its log and numbers stand in
# $OUT as soon as it ends; `stages.tsv` says how it ended. More options go to every command: MORE="model=ssrnet".
#
# On a machine without a network, these must be there as wheels (`pip download --no-deps`; `pip wheel` for the second), besides
# torch, torchvision, timm, pytorch-lightning, onnx, onnxruntime, h5py, scipy, matplotlib, jinja2, tensorboard and pytest:
#   hydra-core antlr4-python3-runtime==4.9.3 omegaconf albumentations albucore stringzilla simsimd pydantic pydantic-core
#   annotated-types typing-inspection opencv-python-headless filelock rich wandb optuna colorlog sqlalchemy alembic mako
#   hydra-joblib-launcher pytest-timeout hypothesis
set -uo pipefail
cd "$(dirname "$0")/.."
OUT=$(realpath -m "${OUT:-results_of_gpu}")
python=${PYTHON:-python}
export PYTHONPATH=$PWD/src PYTHONUNBUFFERED=1 HEADPOSEKIT_RUNS=$OUT/runs HEADPOSEKIT_DATASETS=$OUT/datasets
mkdir -p "$OUT"
: >"$OUT/stages.tsv"

if "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
    is_small= slower=1 threads=
    heads=8192 batch=64 sizes=16,64,512,1024 blocks=7 steps=16 trainer=gpu ddp="trainer=ddp trainer.devices=1"
    hopenet=(backbone=resnet50 crop.size=224 batch_size=64)
else
    is_small=1 slower=4 threads=num_threads=1 # a processor may be shared
    heads=64 batch=16 sizes=2 blocks=1 steps=1 trainer=cpu ddp="trainer=ddp_cpu"
    hopenet=(backbone=resnet18 crop.size=64 batch_size=2)
fi

stage() { # NAME SECONDS COMMAND...
    local name=$1 seconds=$2 start=$SECONDS
    shift 2
    seconds=$((seconds * slower))
    [ -n "$is_small" ] || seconds=$((seconds < 535 - SECONDS ? seconds : 535 - SECONDS))
    if [ "$seconds" -le 0 ]; then
        printf '%s\tleft out, no time\t0\t\n' "$name" >>"$OUT/stages.tsv"
        return
    fi
    timeout -k 5 "$seconds" "$@" >"$OUT/$name.log" 2>&1
    local status=$?
    printf '%s\t%s\t%s\t%s\n' "$name" "$status" "$((SECONDS - start))" "$(echo "$*" | tr -s ' \n' ' ')" >>"$OUT/stages.tsv"
    echo "$name: exit status $status after $((SECONDS - start)) s"
}
bench() { # NAME SECONDS STAGES OPTIONS...
    local name=$1 seconds=$2 stages=$3
    shift 3
    # shellcheck disable=SC2086
    stage "$name" "$seconds" "$python" src/benchmark.py "stages=[$stages]" num_blocks=$blocks num_steps=$steps $threads "$@" ${MORE:-} \
        "hydra.run.dir=$OUT/$name"
}
train() { # NAME SECONDS OPTIONS...
    local name=$1 seconds=$2
    shift 2
    # shellcheck disable=SC2086
    stage "$name" "$seconds" "$python" src/train.py "data.num_heads=$heads" "data.batch_size=$batch" test.synthetic.num_heads=64 "$@" ${MORE:-}
}

stage machine 15 sh -c "nvidia-smi; lscpu | grep -E 'Model name|^CPU\(s\)'; '$python' -m pip list 2>/dev/null |
    grep -iE '^(torch|timm|pytorch-lightning|numpy) '; git log -1 --format='commit %h'"
stage checks 60 "$python" -m pytest tests/test_gpu.py tests/training/test_steps.py -p no:cacheprovider -m "not slow" -rs
train training 60 "trainer=$trainer" epochs=2 "hydra.run.dir=$OUT/training"
stage evaluation 30 "$python" src/evaluate.py "checkpoint=$OUT/training/checkpoints/last.ckpt" 'test=[synthetic]' test.synthetic.num_heads=64 \
    "hydra.run.dir=$OUT/evaluation"
bench limits 20 limits
bench loop 30 loop batch_size=16
for size in ${sizes//,/ }; do
    bench "step_$size" 25 train "batch_size=$size"
done
bench step_adam 20 train "batch_size=${sizes%%,*}" optimizer=adam
bench forms 40 step "batch_sizes=[$sizes]"
for size in ${sizes//,/ }; do
    bench "epoch_$size" 40 epoch "data.num_heads=$heads" "data.batch_size=$size"
done
bench inference 25 inference "batch_size=${sizes##*,}"
bench hopenet 40 train,step model=hopenet model.backbone.pretrained=false "batch_sizes=[${sizes%%,*}]" "${hopenet[@]}"
train two_cells 60 -m "trainer=$trainer" hydra/launcher=joblib hydra.launcher.n_jobs=2 scoring=conv,variance epochs=1
# shellcheck disable=SC2086
train ddp 40 $ddp epochs=1 "hydra.run.dir=$OUT/ddp"
[ -n "$is_small" ] || stage compiled 60 "$python" -m pytest tests/test_gpu.py -p no:cacheprovider -m slow
"$python" tools/gpu_report.py "$OUT"
