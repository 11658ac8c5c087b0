import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headposekit.datasets import AGORA, Panoptic, PanopticDataModule
from headposekit.errors import InputError
from headposekit.geometry.crops import MarginCrop
from headposekit.geometry.rotations import geodesic_distance
from headposekit.synthesis.sampler import HeadSampler
from headposekit.synthesis.writers_full import WriteCocoHeads

TABLE = "annotations/coco_style_sampled_train_v2.json"


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> WriteCocoHeads:
    writer = WriteCocoHeads(tmp_path_factory.mktemp("panoptic"), HeadSampler(seed=4, texture_pool=2), 12, size=64)
    for number in range(12):
        writer[number]
    writer.finish()
    return writer


def test_written_heads_have_the_planted_rotation_and_box(writer: WriteCocoHeads) -> None:
    dataset = Panoptic(writer.root)
    planted = [writer.head(number)[0] for number in range(12)]
    true = torch.tensor(np.array([head.pose for head in planted]))
    assert true[:, 0].abs().max() > 120
    assert geodesic_distance(torch.tensor(dataset.pose), true).max() < 0.01
    np.testing.assert_allclose(dataset.pose, true.numpy(), atol=0.01)
    np.testing.assert_allclose(dataset.box, [head.box for head in planted], atol=1e-3)
    assert dataset.names[1] == "000001_100"
    assert dataset.photo_of("000001_100") == "seq1"
    assert not [doubt for doubt in dataset.doubts if "beyond" in doubt]
    assert dataset[3]["image"].shape == (64, 64, 3)


def test_data_module_reads_the_same(writer: WriteCocoHeads) -> None:
    data = PanopticDataModule(writer.root, MarginCrop(size=16, margin=0.15), max_angle=None, batch_size=4, num_workers=0)
    assert len(data.dataset) == 12
    assert data.rules["max_angle"] is None


def change(root: Path, edit: Any, out: Path) -> Path:
    content = json.loads((root / TABLE).read_text())
    content = edit(content) or content
    (out / "annotations").mkdir()
    (out / TABLE).write_text(json.dumps(content))
    (out / "images").symlink_to(root / "images")
    return out


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda content: [1], "no list of images"),
        (lambda content: content["annotations"].append(3), "no list of annotations"),
        (lambda content: content["annotations"][0].update(image_id=77), "names no picture"),
        (lambda content: content["images"][0].update(file_name="../000000.jpg"), "names no picture"),
        (lambda content: content["annotations"][0].update(euler_angles=[1, 2]), "euler_angles is no list of 3"),
        (lambda content: content["annotations"][0].update(bbox=[0, 0, None, 3]), "bbox is None"),
        (lambda content: content["annotations"][0].update(bbox=[0, 0, 0, 0]), "the box"),
    ],
)
def test_annotations_of_another_form_are_refused(writer: WriteCocoHeads, tmp_path: Path, edit: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as error:
        AGORA(change(writer.root, edit, tmp_path), annotations=TABLE)
    assert "\n" not in str(error.value)
