"""The manifest of a feed: its name, its rows, its parts; each content adds what is its own.

Knows the form only: whether the rows agree with it is found while they are read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence  # noqa: TC003 - pydantic reads it
from typing import Annotated, Any, ClassVar, Self, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from fatoura.feeds.names import NAME_FORM, is_feed_name
from fatoura.feeds.refusal import FeedRefused
from fatoura.manifests import FILE_NAME, ManifestError, Part, contradictions, parse


def _feed_name(value: str) -> str:
    if not is_feed_name(value):
        raise ValueError(f"must be a name of {NAME_FORM}")
    return value


FeedName = Annotated[str, AfterValidator(_feed_name)]


class FeedManifest(BaseModel):
    """What a feed says of itself. `rows` counts every record, bad ones too."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    NAME: ClassVar[str] = "feed"
    """The field of the document that holds the name."""

    feed: FeedName
    rows: Annotated[int, Field(ge=0)]
    parts: Annotated[tuple[Part, ...], Field(strict=False)]

    @property
    def digest(self) -> str:
        """The sameness of a feed: what it says, and its parts' checksums in order; not its name."""
        lines = [*self.said(), *(part.sha256.lower() for part in self.parts)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()

    def said(self) -> Iterator[str]:
        """Yield what counts for the sameness beside the parts."""
        yield str(self.rows)

    def problems(self) -> Iterator[str]:
        """Yield what is wrong about a manifest of the right form, a sentence each."""
        yield from ()

    @property
    def declared_total(self) -> int | None:
        """The control total of amounts, in millimes; none where the content has no amounts."""
        return None

    def completed(self, parts: tuple[Part, ...], total: int) -> Self:
        """Return it with the parts that were read, and the sum of their amounts."""
        del total
        return self.model_copy(update={"parts": parts})

    def document(self) -> dict[str, Any]:
        """Return the manifest as the JSON document that it is written as."""
        return self.model_dump(mode="json", by_alias=True)


_Manifest = TypeVar("_Manifest", bound=FeedManifest)


def read_feed_manifest(
    content: bytes,
    model: type[_Manifest],
    form: str,
    *,
    folder: str | None,
    subject: str,
    endings: Sequence[str] = (".csv",),
) -> _Manifest:
    """Read the manifest of a feed that lies in a folder.

    :param form: an example of a good one.
    :param folder: the name of the folder, which is the feed's; none when a folder is checked from outside.
    :param subject: how a refusal names the feed.
    :param endings: how the names of its parts may end.
    :raises FeedRefused: with everything that is wrong.
    """
    try:
        manifest = parse(content, model, form)
    except ManifestError as error:
        raise FeedRefused(subject, error.problems) from None
    problems = [f"{FILE_NAME}: {problem}" for problem in manifest.problems()]
    if folder is not None and manifest.feed != folder:
        problems.append(
            f"{FILE_NAME}: {model.NAME} is {manifest.feed!r}, but the folder is {folder!r}; move the feed to "
            "its own folder, or correct the manifest"
        )
    problems += contradictions(manifest.rows, manifest.parts, endings)
    if problems:
        raise FeedRefused(subject, problems)
    return manifest
