"""Temporary files of writers that were killed: nobody else knows of them, and nobody would ever remove them."""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from barwise.checkpoints.lock import is_alive
from barwise.data.files import TEMPORARY_PREFIX

_NAME = re.compile(re.escape(TEMPORARY_PREFIX) + r"(\d+)-.+")


def sweep_temporary(folders: Iterable[Path]) -> int:
    """Remove what dead processes have left of files and folders they were writing; those of living ones stay.

    Args:
        folders: Where to look, in their subfolders too; folders that are missing hold nothing.

    Returns:
        How many were removed.
    """
    removed = 0
    for folder in folders:
        for place, folders_here, names in os.walk(folder):
            for name in [*names, *folders_here]:
                found = _NAME.fullmatch(name)
                if found is None or is_alive(int(found[1])):
                    continue
                path = Path(place, name)
                try:
                    if name in folders_here:
                        shutil.rmtree(path)
                    else:
                        path.unlink(missing_ok=True)
                except PermissionError:  # somebody else's, for somebody else to remove
                    continue
                removed += 1
    return removed
