"""The rules of a data set (which faces and labels, how they are cut and perturbed), as results.json has them, in words."""

from collections.abc import Container, Mapping
from typing import Any

PERTURBATIONS = {
    "low_resolution": "in {} times larger pixels",
    "jitter": "with landmarks off by up to {} of the face",
    "jitter_pixels": "with landmarks off by up to {} pixels",
    "shift": "with boxes moved by {} of their size",
    "padding": "with boxes padded by {} of their size",
}
BOX = ("box", "box_file")
"""Rules that say by what box a face is cut out."""
UNSAID = (("euler_order", "ypr"), ("frame", "camera"))
"""Rules that are as in the papers."""


def is_official(rules: Mapping[str, Any]) -> bool:
    """Whether the labels are the data set's own, in the frame in which papers give them: others compare with no paper."""
    return bool(rules.get("labels", "nominal") == "nominal" and rules.get("frame", "camera") == "camera")


def describe_rules(rules: Mapping[str, Any], without: Container[str] = ()) -> str:
    """The rules in one line, those in `without` left out.

    >>> describe_rules({"dataset": "BIWI", "perturb": {"shift": 0.1}, "max_angle": 99, "box": "listed", "calibrated": False})
    'BIWI with boxes moved by 0.1 of their size, |angles| <= 99, box listed, not calibrated'
    >>> describe_rules({"dataset": "A + B", "parts": {"a": {"dataset": "A", "share": 0.3}, "b": {"dataset": "B"}}})
    'A + B, a: A, share 0.3; b: B'
    """
    perturbed = {} if "perturb" in without else rules.get("perturb", {})
    words = [
        PERTURBATIONS.get(key, f"with {key.replace('_', ' ')} of strength {{}}").format(_plain(value))
        for key, value in perturbed.items()
    ]
    parts = [" ".join([str(rules["dataset"]), *words])]
    for key, value in rules.items():
        if key in ("dataset", "perturb") or key in without or (key, value) in UNSAID:
            continue
        name = key.replace("_", " ")
        if key == "max_angle":
            parts.append("all angles" if value is None else f"|angles| <= {_plain(value)}")
        elif key == "parts":  # of a mixture
            parts.append("; ".join(f"{name}: {describe_rules(part)}" for name, part in value.items()))
        elif key == "euler_order":
            parts.append(f"errors in {value} angles")
        elif isinstance(value, bool):
            parts.append(name if value else f"not {name}")
        elif value is not None:
            parts.append(f"{name} {_plain(value)}")
    return ", ".join(parts)


def _plain(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
