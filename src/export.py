"""A network as one file for other programs: `python src/export.py checkpoint=FILE`, see conf/export.yaml."""

from omegaconf import DictConfig

from headpose.files import write_json
from headpose.inference.networks import fuse
from headpose.reporting.console import print_export
from headpose.running.entry import entry_point, output_dir
from headpose.running.exports import check_output, describe_export, export_network, faces_of
from headpose.running.networks import load_members
from headpose.running.provenance import commit, versions


@entry_point("export")
def export(config: DictConfig) -> None:
    """Load, export, compare, write export.json."""
    members = load_members(config)
    path = check_output(config, members, output_dir())
    config.crop = members[0].crop_config
    network = fuse(members)
    card = describe_export(members, network) | {"commit": commit(), "versions": versions()}
    results = export_network(network, card, path, faces_of(config.test), config.int8)
    write_json(output_dir() / "export.json", {"status": "exported", **results, "headpose": card})
    print_export(results)


if __name__ == "__main__":
    export()
