"""Check and pack data sets, or write synthetic heads in a real one's layout: `python src/prepare.py`, see conf/prepare.yaml."""

import logging
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig

from headposekit.cli.entry import entry_point
from headposekit.cli.networks import named_files
from headposekit.data.chunks import Index
from headposekit.data.packed_faces import BAD_FILES, doubts_of, read_examples, read_pack
from headposekit.data.packing import FacePack
from headposekit.datasets.table import CSVTable
from headposekit.datasets.trees import write_trees, write_units
from headposekit.errors import InputError
from headposekit.inference.estimator import PoseEstimator
from headposekit.inference.label_signs import judge_by_landmarks, judge_by_network, write_corrected
from headposekit.paths import output_dir
from headposekit.reporting.doctor import write_page
from headposekit.sweeps.folders import take_folder
from headposekit.weights.checkpoint import LoadedNetwork
from headposekit.weights.load import load_all

log = logging.getLogger("headposekit.prepare")

NUM_EXAMPLES = 24


@entry_point("prepare")
def prepare(config: DictConfig) -> None:
    """Bring the packs of all data sets up to date, each with its doctor's page; or have a layout's writer write."""
    data = {"data": config.get("data"), **{f"test.{name}": test for name, test in config.test.items()}}
    data = {name: node for name, node in data.items() if node}
    if bool(data) == ("layout" in config):
        raise InputError(
            "give either data=NAME pack=fixed data.root=DIR, to check and pack a data set, "
            "or layout=NAME root=DIR, to write synthetic heads in its layout"
        )
    if not data:
        writer = instantiate(config.layout, _convert_="all")
        take_folder(writer.root)
        log.info("wrote %d pictures to %s", write_units(writer, config.num_workers), writer.root)
        return
    write_trees(config)
    networks = load_all(named_files(config)) if named_files(config) else []
    for name, datamodule in {name: instantiate(node, _convert_="all") for name, node in data.items()}.items():
        pack = datamodule.pack
        if not isinstance(pack, FacePack):
            key = "pack" if name == "data" else f"pack@{name}.pack"
            raise InputError(f"{name} is to be packed, but how? give {key}=fixed or {key}=loose (synthetic heads need no pack)")
        folder = pack.prepare(datamodule.faces_on_disk())
        manifest, index = read_pack(folder)
        doubts = [*doubts_of(index), *_doubts_about_signs(name, datamodule, index, networks)]
        page = write_page(folder / "doctor.html", manifest, index, read_examples(folder, NUM_EXAMPLES), doubts)
        log.info("%s: %d faces, %d bad files (%s)", folder, manifest["faces"], manifest["bad"], folder / BAD_FILES)
        for doubt in doubts:
            log.warning("%s: %s", name, doubt)
        log.info("what is in it: %s", page)


def _doubts_about_signs(name: str, datamodule: Any, index: Index, networks: list[LoadedNetwork]) -> list[str]:
    """What speaks against the convention of the angles, by landmarks and by networks; a wrong table is written corrected."""
    by_landmarks = judge_by_landmarks(index)
    doubts = [] if by_landmarks.is_expected else [f"by its landmarks, {by_landmarks}"]
    if not networks or datamodule.reader is not CSVTable or not datamodule.root.is_file():
        return doubts
    table = datamodule.faces_on_disk().read(None, "defer")
    angle = table.field_of_view if table.frame == "ray" else None  # what it says is then in the camera's frame
    verdict = judge_by_network(table, PoseEstimator(networks, "none", field_of_view=angle))
    if verdict.is_expected:
        return doubts
    if verdict.is_sure:
        path = output_dir() / f"{name}_corrected.csv"
        write_corrected(path, table, verdict.convention)
        return [*doubts, f"{verdict}; with our convention it is {path}"]
    return [*doubts, str(verdict)]
