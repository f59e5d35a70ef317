"""`StudyDirectory`: the files of a study, and the run directories of its searches."""

from __future__ import annotations

import yaml

from revo_ray.errors import UserError
from revo_ray.rundir.run_directory import Folder, RunDirectory, run_directories
from revo_ray.settings.deleted import read_back
from revo_ray.settings.safe_yaml import read_yaml
from revo_ray.settings.study import SEEDED, StudyConfig
from revo_ray.storage import Storage


class StudyDirectory(Folder):
    """The files of a study."""

    CONFIG = "study.yaml"

    def config(self) -> StudyConfig:
        """The recorded configuration.

        Raises:
            UserError: it is missing or damaged.
            OSError: the storage is unreachable.
        """
        try:
            values, _ = read_yaml(self.storage.read(self.CONFIG))
            read_back(values)
            return StudyConfig.model_validate(values)
        except (FileNotFoundError, yaml.YAMLError, AttributeError, TypeError, ValueError):
            raise UserError(f"{self.uri}/{self.CONFIG} is damaged, or of another version") from None

    def write_config(self, config: StudyConfig) -> None:
        """Record the configuration, so that the same study can be run from it.

        A resumed study may have other searches than before; each search checks its own keys.

        Raises:
            OSError: the storage is full or unreachable.
        """
        varied = {name: {"seed"} for name in SEEDED} if config.study.seeds else None
        values = config.model_dump(mode="json", exclude=varied)
        text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
        self.storage.write(self.CONFIG, text.encode())

    def run(self, name: str) -> RunDirectory:
        """The run directory of one of its searches."""
        return RunDirectory(self.storage.child(name))

    def runs(self) -> dict[str, RunDirectory]:
        """The run directories that are there, by name."""
        return run_directories(self.storage)


Directory = RunDirectory | StudyDirectory
"""The folder of one search or of a study."""


def open_directory(storage: Storage | str) -> Directory:
    """Open a folder as the run directory of a search if it holds one, or else as a study's.

    Raises:
        UserError: no file system can open the URI, or it holds credentials.
        OSError: the storage is unreachable.
    """
    run = RunDirectory(storage)
    return run if run.is_search else StudyDirectory(run.storage)
