"""A feed that is open for reading, wherever it comes from, and the folder as the first such place.

A delivery says what it declares of itself and gives its parts; whether the two agree is found by the reader.
"""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, Literal, Protocol

from fatoura.feeds.content import Content, M
from fatoura.feeds.manifest import read_feed_manifest
from fatoura.feeds.records import PartUnreadableError, RawRow, read_csv
from fatoura.feeds.refusal import FeedRefused
from fatoura.feeds.workbooks import WORKBOOK, read_workbook
from fatoura.manifests import FILE_NAME, LARGEST

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fatoura.landing import LandingPath

SourceName = Literal["landing", "database", "push", "command"]

_CHUNK = 524_288


class FeedPart(Protocol):
    """A part of a feed. `sha256` is known when its rows have been read to the end."""

    name: str
    sha256: str | None

    def rows(self) -> Iterator[RawRow]:
        """Read the rows, in order.

        :raises PartUnreadableError: when it cannot be cut into rows.
        """


@dataclass
class Delivery(Generic[M]):
    """A feed that is open for reading.

    :param manifest: what it says of itself; where it came without one, made of what is known beforehand.
    :param location: a folder, a connection and table, or who pushed or typed; never a password.
    :param parts: in the order of the manifest's, where that names them.
    :param summed: the manifest names its parts and their checksums; else they are found by reading.
    :param recurring: the place is asked again and again, under a new name each time: what is the same as the
        last time is not another feed.
    :param remarks: what is odd about it and does no harm.
    """

    manifest: M
    source: SourceName
    location: str
    parts: Sequence[FeedPart]
    summed: bool = True
    recurring: bool = False
    remarks: list[str] = field(default_factory=list)


def _part(name: str, path: LandingPath, columns: tuple[str, ...]) -> FeedPart:
    if name.lower().endswith(WORKBOOK):
        return WorkbookPart(name, path, columns)
    return FilePart(name, path, columns)


@dataclass
class FilePart:
    """A CSV file of a feed. Its checksum is taken while it is read."""

    name: str
    path: LandingPath
    columns: tuple[str, ...]
    sha256: str | None = None

    def rows(self) -> Iterator[RawRow]:
        """Read the rows, in order.

        :raises PartUnreadableError: when the file is missing, or no file of the contract.
        """
        try:
            with self.path.open("rb") as file:
                summed = _Summed(file)
                text = io.TextIOWrapper(
                    io.BufferedReader(summed, _CHUNK),
                    encoding="utf-8-sig",
                    errors="surrogateescape",
                    newline="",
                )
                yield from read_csv(text, self.columns)
                self.sha256 = summed.digest.hexdigest()
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise _unopened(error) from None


@dataclass
class WorkbookPart:
    """An XLSX workbook of a feed. Its checksum is taken first: archives are read from their end."""

    name: str
    path: LandingPath
    columns: tuple[str, ...]
    sha256: str | None = None

    def rows(self) -> Iterator[RawRow]:
        """Read the rows of its one sheet, in order.

        :raises PartUnreadableError: when the file is missing, or no workbook of the contract.
        """
        try:
            with self.path.open("rb") as file:
                self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
                file.seek(0)
                yield from read_workbook(file, self.columns)
        except (FileNotFoundError, IsADirectoryError, PermissionError) as error:
            raise _unopened(error) from None


def _unopened(error: OSError) -> PartUnreadableError:
    if isinstance(error, FileNotFoundError):
        return PartUnreadableError("named in the manifest, but not there; deliver it")
    if isinstance(error, IsADirectoryError):
        return PartUnreadableError("a folder, not a file")
    return PartUnreadableError("may not be read; give the right to read it")


class _Summed(io.RawIOBase):
    """A file that takes its own checksum while it is read."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self._file.read(len(buffer))
        self.digest.update(piece)
        buffer[: len(piece)] = piece
        return len(piece)


def open_folder(content: Content[M], folder: LandingPath, *, named: bool, subject: str) -> Delivery[M]:
    """Open the feed that lies in a folder.

    :param named: the folder bears the feed's name, as it does where feeds land.
    :param subject: how a refusal names the feed.
    :raises FeedRefused: when there is no manifest, or it is wrong.
    """
    try:
        with (folder / FILE_NAME).open("rb") as stream:
            document: bytes = stream.read(LARGEST + 1)
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
        raise FeedRefused(
            subject, [f"there is no {FILE_NAME} in {folder}; a feed is complete when it is written"]
        ) from None
    except PermissionError:
        raise FeedRefused(subject, [f"{FILE_NAME} may not be read; give the right to read it"]) from None
    manifest = read_feed_manifest(
        document,
        content.manifest,
        content.form,
        folder=folder.name if named else None,
        subject=subject,
        endings=content.endings,
    )
    parts = {part.name for part in manifest.parts}
    others = sorted(path.name for path in folder.iterdir() if path.name not in {"", FILE_NAME, *parts})
    return Delivery(
        manifest,
        "landing",
        str(folder),
        [_part(part.name, folder / part.name, content.columns) for part in manifest.parts],
        remarks=[f"{name}: not named in the manifest, left alone" for name in others],
    )
