"""Look at every picture of a source once: read, hash, decode; remember all of it on the disk.

`inspect` and `prepare_table` share a survey. A survey that is killed goes on where it was. After it
is finished, only pictures with another stamp are looked at again.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from revo_ray.data.files.decode import Facts, explain, facts_and_square
from revo_ray.data.files.image_files import File
from revo_ray.data.files.intensity import IntensityRange
from revo_ray.data.files.room import FILES, file_room
from revo_ray.data.image_records import Picture, Problem, Record
from revo_ray.data.near_duplicates.image_hashes import SIDE, ImageHashes, pixels_hash
from revo_ray.data.near_duplicates.similar_images import Indices
from revo_ray.data.table.database import connect
from revo_ray.data.table.disk import exclusive
from revo_ray.data.table.fingerprint import survey_name
from revo_ray.data.table.seal import private, seal, trusted
from revo_ray.data.table.spool import Spool
from revo_ray.data.table.threads import Progress, decode_all
from revo_ray.errors import UserError
from revo_ray.settings.schema import DataConfig

COMMIT_S = 0.5
"""Seconds between two times that results are made safe."""


class ChangedError(UserError):
    """A file has changed since it was looked at, or can no longer be read."""


@dataclass(frozen=True, eq=False)
class Hashes:
    """Hashes of N images.

    Attributes:
        pixels: (N,) first 64 bits of the hashes of the exact pixels.
        perceptual: (N, SIDE² / 8) perceptual hashes, 0 for flat images.
        flat: (N,) whether an image is flat.
    """

    pixels: NDArray[np.uint64]
    perceptual: NDArray[np.uint8]
    flat: NDArray[np.bool_]


@dataclass(frozen=True)
class _Looked:
    """A picture that was read."""

    mark: str
    digest: str
    result: Problem | tuple[Facts, ImageHashes, NDArray[Any]]


class Survey:
    """All that is known of the pictures of a source at one image size.

    A picture that cannot be decoded is remembered by its digest alone, and is tried again: a
    library that reads it may be installed by then.

    Args:
        path: path of the database; the files of squares lie beside it.
        config: configuration of the images.

    Attributes:
        pairs_path: path of the file of the near-duplicates that were found.
    """

    def __init__(self, path: Path, config: DataConfig) -> None:
        self._path, self.pairs_path, self._config = path, path.with_suffix(".pairs"), config
        self._spool = Spool(path, config.image_size)
        self._database = connect(path)

    @classmethod
    @contextmanager
    def open(cls, config: DataConfig, folder: Path) -> Iterator[Survey]:
        """Open the survey of a source; other processes wait until it is closed.

        In a folder that cannot be written, a copy serves, which is deleted in the end. A survey
        that others may have changed is deleted first.
        """
        path = folder / survey_name(config)
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(exclusive(path.with_suffix(".lock")))
                for file in (path, path.with_suffix(".pairs")):
                    if not _is_own(file):
                        file.unlink()
                survey = cls(path, config)
            except OSError:
                temporary = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                with suppress(OSError):
                    if _is_own(path):
                        shutil.copy(path, temporary)
                survey = cls(temporary / path.name, config)
            with closing(survey):
                yield survey

    def close(self) -> None:
        """Close the files."""
        self._database.close()
        self._spool.close()
        for path in (self._path, self.pairs_path):
            if path.exists() and not private(path):  # on a disk that has no owners, say
                seal(path)

    def find(self, records: Sequence[Record]) -> Indices:
        """Row (N,) of each record whose picture is as it was when looked at; 0 of others."""
        rows = np.zeros(len(records), np.int64)
        for i, record in enumerate(records):
            with suppress(Exception):  # told when the picture is looked at
                mark = _mark(record)
                found = self._select("SELECT id FROM pictures WHERE name = ? AND mark = ?")
                if row := found(record.name, mark).fetchone():
                    rows[i] = row[0]
        return rows

    def look(
        self, records: Sequence[Record], rows: Indices, progress: Progress | None = None
    ) -> dict[int, Problem]:
        """Look at the pictures that have no row or could not be decoded; set their `rows`.

        Memory holds a few images per core.

        Args:
            records: records of all pictures.
            rows: their rows, as `find` returns them.
            progress: called with the number of pictures done and of all; those that need no look
                are done from the start.

        Returns:
            The problems of pictures that cannot be used, by position. Such a picture has a row if
            its content is known.
        """
        known = self.usable(rows)
        todo = np.flatnonzero(~known)
        problems: dict[int, Problem] = {}
        if not len(todo):
            return problems
        self._spool.make_room(len(todo))
        free = 1 + self._database.execute("SELECT coalesce(max(id), 0) FROM pictures").fetchone()[0]
        committed = time.monotonic()
        before = len(records) - len(todo)

        def report(done: int, _: int) -> None:
            if progress is not None:
                progress(before + done, len(records))

        looked_at = decode_all(
            lambda i: self._look(records[i]), todo.tolist(), report, self._config.image_size
        )
        try:
            with closing(looked_at):
                for i, looked in zip(todo.tolist(), looked_at, strict=True):
                    if isinstance(looked, Problem):
                        problems[i] = looked
                        continue
                    if isinstance(looked.result, Problem):
                        problems[i] = looked.result
                    row = self._row(records[i].name) or free
                    free = max(free, row + 1)
                    self._remember(row, records[i].name, looked)
                    rows[i] = row
                    if time.monotonic() - committed > COMMIT_S:
                        self._database.commit()
                        committed = time.monotonic()
        finally:
            self._database.commit()
        return problems

    def usable(self, rows: Indices) -> NDArray[np.bool_]:
        """Whether each row's picture could be decoded."""
        decoded = "SELECT id FROM pictures WHERE pixels IS NOT NULL"
        found = np.fromiter((row[0] for row in self._database.execute(decoded)), np.int64)
        return np.isin(rows, found)

    def digests(
        self, rows: Indices, problems: Mapping[int, Problem] = MappingProxyType({})
    ) -> Iterator[str | Problem]:
        """Digest of each row's content; its problem where there is no row."""
        digest = self._select("SELECT digest FROM pictures WHERE id = ?")
        return (
            digest(row).fetchone()[0] if row else problems[i] for i, row in enumerate(rows.tolist())
        )

    def facts(self, rows: Indices) -> Iterator[Facts]:
        """Facts about each picture that could be decoded."""
        fact = self._select("SELECT width, height, kind, pages FROM pictures WHERE id = ?")
        for row in rows.tolist():
            width, height, kind, pages = fact(row).fetchone()
            yield Facts((width, height), kind, pages)

    def deep(self, rows: Indices) -> NDArray[np.bool_]:
        """Whether each picture has intensities: more than 8 bits, signed or float."""
        found = self._database.execute("SELECT id FROM pictures WHERE deep")
        return np.isin(rows, np.fromiter((row[0] for row in found), np.int64))

    def intensities(self, records: Sequence[Record], rows: Indices) -> IntensityRange:
        """Count the intensities of all pictures that have some.

        Raises:
            ChangedError: as `squares`.
        """
        deep = np.flatnonzero(self.deep(rows))
        found = IntensityRange()
        with closing(self.squares([records[i] for i in deep.tolist()], rows[deep])) as squares:
            for pixels in squares:
                found.add(pixels)
        return found

    def hashes(self, rows: Indices) -> Hashes:
        """Hashes of pictures that could be decoded."""
        width = SIDE**2 // 8
        pixels = np.zeros(len(rows), np.uint64)
        perceptual = np.zeros((len(rows), width), np.uint8)
        flat = np.ones(len(rows), bool)
        hashes = self._select("SELECT pixels, perceptual FROM pictures WHERE id = ?")
        for i, row in enumerate(rows.tolist()):
            exact, bits = hashes(row).fetchone()
            pixels[i] = int.from_bytes(exact[:8], "big")
            if bits:
                perceptual[i], flat[i] = np.frombuffer(bits, np.uint8), False
        return Hashes(pixels, perceptual, flat)

    def thumbnails(self, rows: Indices) -> NDArray[np.uint8]:
        """Thumbnails (n, SIDE²) of pictures that are not flat."""
        thumbnail = self._select("SELECT thumbnail FROM pictures WHERE id = ?")
        parts = (thumbnail(row).fetchone()[0] for row in rows.tolist())
        return np.frombuffer(b"".join(parts), np.uint8).reshape(len(rows), SIDE**2)

    def squares(
        self, records: Sequence[Record], rows: Indices, progress: Progress | None = None
    ) -> Generator[NDArray[Any], None, None]:
        """Yield what `decode.square` makes of pictures that could be decoded, in order.

        A square that is no longer on the disk is decoded again.

        Raises:
            ChangedError: it comes out otherwise, or its file cannot be read.
        """
        known = self.hashes(rows).pixels

        def read(i: int) -> NDArray[Any]:
            exact = int(known[i]).to_bytes(8, "big")
            for pixels in self._spool.read(int(rows[i])):
                if pixels_hash(pixels).startswith(exact):
                    return pixels
            try:
                with _room_for(records[i].picture):
                    pixels = self._facts_and_square(records[i].picture)[1]
            except Exception as error:  # whatever a decoder raises
                raise ChangedError(
                    f"cannot read {records[i].name!r} any more: {explain(error)}", key="data.root"
                ) from None
            if not pixels_hash(pixels).startswith(exact):
                raise ChangedError(
                    f"{records[i].name!r} has just changed; start again", key="data.root"
                )
            return pixels

        return decode_all(read, range(len(records)), progress, self._config.image_size)

    def drop_squares(self) -> None:
        """Delete the squares, which a table holds now."""
        self._spool.delete()

    def forget(self, records: Sequence[Record]) -> None:
        """Look at these pictures again next time."""
        with self._database:
            self._database.executemany(
                "DELETE FROM pictures WHERE name = ?", ((record.name,) for record in records)
            )

    def _look(self, record: Record) -> _Looked | Problem:
        """Read a picture once; digest, square and hashes come from the same bytes."""
        with _room_for(record.picture):
            return self._read(record)

    def _read(self, record: Record) -> _Looked | Problem:
        try:
            mark, picture = _mark(record), record.picture
            try:
                picture = picture.load()
                digest = picture.digest()
            except OSError as error:
                if picture.stamp is not None:
                    raise
                digest = picture.digest()  # an archive tells it of an entry that is damaged
                return _Looked(mark, digest, Problem(record.name, explain(error)))
        except Exception as error:
            return Problem(record.name, explain(error))
        try:
            known, pixels = self._facts_and_square(picture)
            return _Looked(mark, digest, (known, ImageHashes.of(pixels), pixels))
        except Exception as error:  # whatever a decoder raises
            return _Looked(mark, digest, Problem(record.name, explain(error)))

    def _facts_and_square(self, picture: Picture) -> tuple[Facts, NDArray[Any]]:
        config = self._config
        return facts_and_square(picture.open, config.image_size, config.fit, config.max_pixels)

    def _remember(self, row: int, name: str, looked: _Looked) -> None:
        found: tuple[Any, ...] = (None,) * 8
        if not isinstance(looked.result, Problem):
            known, hashes, pixels = looked.result
            self._spool.write(row, pixels)
            found = (*known.size, known.kind, known.pages, pixels.dtype != np.uint8)
            found += (hashes.pixels, hashes.perceptual, hashes.thumbnail)
        self._database.execute(
            f"INSERT OR REPLACE INTO pictures VALUES ({', '.join('?' * 12)})",
            (row, name, looked.mark, looked.digest, *found),
        )

    def _row(self, name: str) -> int | None:
        found = self._select("SELECT id FROM pictures WHERE name = ?")(name).fetchone()
        return None if found is None else int(found[0])

    def _select(self, query: str) -> Callable[..., sqlite3.Cursor]:
        return lambda *values: self._database.execute(query, values)


def _is_own(path: Path) -> bool:
    """Whether no one else can have changed a file; a private one is read without its checksum."""
    return not path.exists() or private(path) or trusted(path)


def _room_for(picture: Picture) -> AbstractContextManager[None]:
    """Hold the memory that the file of a picture takes."""
    return FILES.taking(file_room(picture.size if isinstance(picture, File) else 0))


def _mark(record: Record) -> str:
    """Text that changes with the content of a picture."""
    stamp = record.picture.stamp
    return record.picture.digest() if stamp is None else stamp
