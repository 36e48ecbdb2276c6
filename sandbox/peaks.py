"""Peak FLOP/s of known GPUs: dense bfloat16 with tensor cores, as in their makers' data sheets and in published MFU."""

from __future__ import annotations

PEAKS = {
    "B200": 2250e12,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
    "A10": 125e12,
    "RTX 4090": 165e12,
    "RTX 3090": 71e12,
    "V100": 125e12,
    "T4": 65e12,
}
"""Part of the device's name -> FLOP/s; the first that occurs in it counts. V100 and T4: float16."""


def tabled(name: str) -> float | None:
    """The peak of a device by the name that torch gives it, or None if it is not in the table."""
    return next((peak for part, peak in PEAKS.items() if part in name), None)
