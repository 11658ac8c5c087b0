"""A network as one file for other programs: `python src/export.py checkpoint=FILE`, see conf/export.yaml."""

from omegaconf import DictConfig

from headposekit.cli.entry import entry_point
from headposekit.cli.networks import load_given
from headposekit.console import print_export
from headposekit.files import write_json
from headposekit.paths import output_dir
from headposekit.training.results import commit, versions
from headposekit.weights.export import check_output, describe_export, export_network, faces_of
from headposekit.weights.load import fuse


@entry_point("export")
def export(config: DictConfig) -> None:
    """Load, export, compare, write export.json."""
    members = load_given(config)
    path = check_output(config, members, output_dir())
    config.crop = members[0].crop_config
    network = fuse(members)
    card = describe_export(members, network) | {"commit": commit(), "versions": versions()}
    results = export_network(network, card, path, faces_of(config.test), config.int8, config.half)
    write_json(output_dir() / "export.json", {"status": "exported", **results, "headposekit": card})
    print_export(results)
