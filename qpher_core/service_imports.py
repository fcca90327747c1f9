# SPDX-License-Identifier: Apache-2.0
"""``kms.imports``: the keys that callers wrap private keys to, for the holder of the service."""

from qpher_core.importing import Importer
from qpher_core.models import OPERATOR, KeyVersion
from qpher_core.validation import check_name

__all__ = ["Imports"]


class Imports:
    """The import keys of a service."""

    def __init__(self, importer: Importer) -> None:
        self._importer = importer

    def rotate(self, *, actor: str = OPERATOR) -> KeyVersion:
        """Make a new import key.

        The one before opens what was wrapped to it until the next rotation, which destroys it:
        from then on nobody can read what was once sent with it.

        Raises:
            StateConflict: another process rotated at the same moment.
        """
        return self._importer.rotate(check_name(actor, "actor"))
