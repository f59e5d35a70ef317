"""Pictures that were looked at, and the near-duplicates among them, for `inspect` and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from revo_ray.data.files.decode import halved_finding, pages_finding
from revo_ray.data.files.intensity import Range, intensity_finding
from revo_ray.data.image_records import Finding, Record
from revo_ray.data.near_duplicates.pairs import NearDuplicates
from revo_ray.data.near_duplicates.policy import (
    SPLITS,
    Across,
    Treated,
    across_splits,
    say_across,
    treat,
)
from revo_ray.data.near_duplicates.similar_images import Indices
from revo_ray.data.shapes import shape_findings
from revo_ray.data.splits.split import Splits
from revo_ray.data.table.survey import Survey
from revo_ray.data.table.threads import Progress
from revo_ray.settings.schema import DataConfig


@dataclass(frozen=True, eq=False)
class Surveyed:
    """Pictures of a source that can be used, after near-duplicates were acted on.

    Attributes:
        usable: records of the pictures that can be used.
        near_duplicates: near-duplicates among them.
        treated: the pictures that are kept, with findings about near-duplicates.
        rows: rows of the kept pictures in the survey.
    """

    usable: Sequence[Record]
    near_duplicates: NearDuplicates
    treated: Treated
    rows: Indices

    @classmethod
    def of(
        cls,
        survey: Survey,
        records: Sequence[Record],
        rows: Indices,
        config: DataConfig,
        progress: Progress | None = None,
    ) -> Surveyed:
        """Find the near-duplicates among pictures that were looked at, and act on them.

        Args:
            survey: the survey of their source.
            records: (N,) records of all pictures.
            rows: (N,) their rows in the survey.
            config: configuration of the images.
            progress: called while near-duplicates are sought, with the parts done and all parts.
        """
        known = survey.usable(rows)
        usable = [record for record, good in zip(records, known.tolist(), strict=True) if good]
        rows = rows[known]
        near_duplicates = NearDuplicates.find(
            [record.name for record in usable],
            survey.hashes(rows),
            lambda positions: survey.thumbnails(rows[positions]),
            survey.pairs_path,
            progress,
        )
        treated = treat(usable, near_duplicates, config)
        return cls(usable, near_duplicates, treated, rows[treated.kept])

    def limits(self, survey: Survey, config: DataConfig) -> Range | None:
        """The intensities that become black and white; None if no kept picture has any.

        Raises:
            ChangedError: a picture has changed since it was looked at.
        """
        if not survey.deep(self.rows).any():
            return None
        if config.intensity != "auto":
            return config.intensity
        return survey.intensities(self.treated.records, self.rows).range()

    def findings(self, survey: Survey, config: DataConfig, limits: Range | None) -> list[Finding]:
        """Findings about the kept pictures themselves, whatever their splits.

        Args:
            survey: the survey of their source.
            config: configuration of the images.
            limits: intensities that become black and white; None if no picture has any.
        """
        facts = list(survey.facts(self.rows))
        paged = [i for i, fact in enumerate(facts) if fact.pages > 1]
        found = [
            *self.treated.findings,
            *halved_finding([fact.kind for fact in facts]),
            *shape_findings([fact.size for fact in facts], config.fit),
            *pages_finding([self.treated.records[i].name for i in paged]),
        ]
        if limits is not None and config.intensity == "auto":
            found.append(intensity_finding(int(survey.deep(self.rows).sum()), limits))
        return found

    def across(self, parts: Mapping[str, Indices]) -> list[Across]:
        """Find near-duplicates across splits, whose positions are among the kept pictures."""
        kept = self.treated.kept
        return across_splits(
            self.near_duplicates, {name: kept[part] for name, part in parts.items()}
        )

    def leaks(self, splits: Splits, config: DataConfig) -> list[Finding]:
        """Say how many images have a near-duplicate in another split."""
        parts = {name: getattr(splits, name) for name in SPLITS}
        found = say_across(self.across(parts), parts, config)
        return [found] if found else []

    def list_pairs(self, path: Path, parts: Mapping[str, Indices]) -> None:
        """List all pairs of near-duplicates in a csv file, with the splits of those kept."""
        splits = ["left out"] * len(self.usable)
        for name, part in parts.items():
            for i in self.treated.kept[part].tolist():
                splits[i] = name
        self.near_duplicates.write(path, self.usable, splits)
