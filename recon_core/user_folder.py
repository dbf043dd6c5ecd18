"""Where a user's own data are kept."""

import os
import sys
from pathlib import Path


def user_folder(variable: str, name: str) -> Path:
    """What the environment `variable` names, or `reconstream/NAME` where the platform keeps a user's data."""
    if chosen := os.environ.get(variable):
        return Path(chosen)
    home = Path.home()
    data = home / "Library" / "Application Support" if sys.platform == "darwin" else home / ".local" / "share"
    return Path(os.environ.get("XDG_DATA_HOME") or data) / "reconstream" / name
