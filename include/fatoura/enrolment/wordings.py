"""The texts that were printed on coupons, by version: what a signature on one agreed to.

Read by the check of coupons. The texts of the web site are its own.
"""

from __future__ import annotations

from datetime import date  # noqa: TC003 - pydantic reads it when it makes the model
from functools import cache
from typing import TYPE_CHECKING

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fatoura.errors import BadInput
from fatoura.settings import get_settings

if TYPE_CHECKING:
    from pathlib import Path


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CouponWording(_Strict):
    """One version of the text; `begins` is the day from which coupons of it were handed out."""

    version: str = Field(pattern=r"\A[A-Za-z0-9._-]{1,32}\z")
    begins: date = Field(alias="from")
    fr: str = Field(min_length=1)
    ar: str = Field(min_length=1)


class _Wordings(_Strict):
    coupon: tuple[CouponWording, ...] = Field(min_length=1)


def coupon_wordings() -> dict[str, CouponWording]:
    """Return the texts by version, as the file of the settings has them now.

    :raises BadInput: when the file is missing or wrong; says where.
    """
    path = get_settings().coupon_wordings
    try:
        return _read(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise BadInput(f"{path}: the wordings of coupons cannot be read ({error.strerror})") from None


@cache
def _read(path: Path, _written: int) -> dict[str, CouponWording]:
    try:
        read = _Wordings.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path}: this is no YAML file ({' '.join(str(error).split())})") from None
    except ValidationError as error:
        told = "; ".join(
            f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()
        )
        raise BadInput(f"{path}: {told}") from None
    found = {wording.version: wording for wording in read.coupon}
    if len(found) < len(read.coupon):
        raise BadInput(f"{path}: a version stands there twice")
    return found
