"""The base of every catalog record."""

from typing import dataclass_transform

import msgspec


# Annotations of records that are decoded stay values: as text, msgspec would compile each anew at every start.
@dataclass_transform(frozen_default=True, kw_only_default=True)
class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A frozen, strict, keyword-only record."""
