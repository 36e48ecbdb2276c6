"""The tiny genome's data and limits, for trials of it under the real provider ``process``."""

from __future__ import annotations

from tests import tiny

data_folder, dataset, limits = tiny.data_folder, tiny.dataset, tiny.limits  # fixtures
