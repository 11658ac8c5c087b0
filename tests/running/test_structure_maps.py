from pathlib import Path

import pytest
from matplotlib.figure import Figure

from headpose.errors import InputError
from headpose.reporting.tables import Measured, Row, Table
from headpose.running.structure_maps import StructureMaps


def test_nothing_trained_draws_nothing_and_an_unknown_row_is_named() -> None:
    table = Table("Figure 5", {"aflw2000": "AFLW2000"}, [Row("FSA-Caps (1x1)")])
    assert StructureMaps({}, "FSA-Caps (1x1)")(table, "aflw2000") is None
    with pytest.raises(InputError, match="label=FSA-Caps is no row of Figure 5"):
        StructureMaps({}, "FSA-Caps")(table, "aflw2000")


def test_maps_come_from_the_checkpoint(run, w300lp_root: Path, aflw2000_root: Path, tmp_path: Path) -> None:
    from headpose.datamodules import AFLW2000DataModule
    from headpose.geometry.crops import FSANetCrop

    roots = (f"data.root={w300lp_root}", "test=[aflw2000]", f"test.aflw2000.root={aflw2000_root}")
    done = run("train", "data=300w_lp", *roots, "data.batch_size=8", "epochs=1", "hydra.run.dir=out", "trainer=cpu")
    assert done.returncode == 0, done.stderr
    measured = Measured(({"mae": 1.0},), (), 10, "p", "fsanet", ("abc",))
    row = Row("x", 0.95, {}, {"aflw2000": measured}, {}, [tmp_path / "out" / "checkpoints" / "last.ckpt"])
    maps = StructureMaps({"aflw2000": AFLW2000DataModule(aflw2000_root, FSANetCrop())}, "x", rows=(0, 4), num_faces=3)
    figure = maps(Table("t", {"aflw2000": "AFLW2000"}, [row]), "aflw2000")
    assert isinstance(figure, Figure)
    shown = [image.get_array() for axis in figure.axes for image in axis.images]
    weights = [array for array in shown if array is not None and array.shape == (8, 8)]
    assert len(weights) == 3 * 2 * 3
    assert all(array.min() > 0 and array.max() < 1 for array in weights)
