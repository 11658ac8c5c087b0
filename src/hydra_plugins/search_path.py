"""Lets Hydra find the configuration of extensions, see `headposekit.extensions`."""

from hydra.core.config_search_path import ConfigSearchPath
from hydra.plugins.search_path_plugin import SearchPathPlugin


class ExtensionsSearchPath(SearchPathPlugin):
    """Adds `conf/` of the extensions' folder and the folder itself, where `experiments/` stands, behind the project's own."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra whenever it is about to compose."""
        from headposekit.extensions import extensions_dir, make_importable  # Hydra imports all plugins at every start

        folder = extensions_dir()
        if folder is not None:
            make_importable()
            if (folder / "conf").is_dir():  # Hydra warns of what is not there
                search_path.append("headposekit-extensions", f"file://{folder / 'conf'}")
            search_path.append("headposekit-extensions", f"file://{folder}")
