"""`headposekit PROGRAM`, also as `python -m headposekit PROGRAM`; the scripts in src/ call the same programs."""

import importlib
import os
import runpy
import sys

from headposekit.paths import IS_INSTALLED, ROOT

PROGRAMS = {
    "predict": "estimate the poses of all faces in pictures, videos or a camera",
    "demo": "open a page in the browser to try networks on",
    "train": "train a network, then test it; -m runs a sweep, experiments=NAME a table of the papers",
    "evaluate": "test checkpoints or published weights",
    "search": "search for the options with the least validation error",
    "report": "show what has run: a page of everything, or the table of one experiment",
    "dashboard": "make a W&B report of an experiment",
    "export": "write a network as ONNX, torch.export or safetensors",
    "prepare": "check and pack a data set, or write synthetic heads in its layout",
    "benchmark": "measure how fast the stages are on this machine",
}
if IS_INSTALLED:
    del PROGRAMS["benchmark"]  # which needs tools/ of the repository
STARTED = "HEADPOSEKIT_PROGRAM"
"""Environment variable: the program that runs. Lightning starts the other processes of a training without its name."""


def main() -> None:
    """Call the program that the first argument names, with the others."""
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in PROGRAMS:
        del sys.argv[1]
    elif "LOCAL_RANK" in os.environ and os.environ.get(STARTED) in PROGRAMS:
        name = os.environ[STARTED]
    elif name in ("-h", "--help"):
        print(overview())
        return
    else:
        where = " (it is in the repository only)" if name == "benchmark" else ""
        sys.exit(f"error: no such program: {name}{where}; choose {', '.join(PROGRAMS)}")
    run(name)


def run(name: str) -> None:
    """Call a program with the arguments of this process; exits in one line where a package is missing that it needs."""
    os.environ[STARTED] = name
    if "LOCAL_RANK" in os.environ:  # Lightning's first process, or torchrun, started this one
        from headposekit.process import die_with_parent

        die_with_parent()
    if name == "benchmark":
        runpy.run_path(str(ROOT / "src" / "benchmark.py"), run_name="__main__")
        return
    try:
        program = getattr(importlib.import_module(f"headposekit.cli.{name}"), name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("headposekit"):
            raise
        sys.exit(f"error: {name} needs the package {error.name}; install it with pip install 'headposekit[train]'")
    program()


def overview() -> str:
    """What `headposekit --help` prints."""
    width = max(map(len, PROGRAMS))
    programs = "\n".join(f"  {name:{width}}  {purpose}" for name, purpose in PROGRAMS.items())
    return (
        "Head pose (yaw, pitch, roll in degrees) from one face crop.\n\n"
        f"usage: headposekit PROGRAM [key=value ...]\n\n{programs}\n\n"
        "headposekit PROGRAM --help shows examples and options. In Python: from headposekit import load"
    )


if __name__ == "__main__":
    main()
