"""Bits of the mask of a detector image."""

from __future__ import annotations

from enum import IntFlag


class PixelMask(IntFlag):
    """Why a pixel is not to be trusted; 0 is good. Bits 0-8 are numbered as in the DESI data model (ccdmask)."""

    BAD = 1 << 0
    HOT = 1 << 1
    DEAD = 1 << 2
    SATURATED = 1 << 3
    COSMIC = 1 << 4
    PIXFLATZERO = 1 << 5
    PIXFLATLOW = 1 << 6
    HIGHVAR = 1 << 7
    BADREADNOISE = 1 << 8
    BADAMP = 1 << 9
    """the amplifier is known to be bad, or is found dead in this exposure"""
    NONFINITE = 1 << 10
    """the raw value or a calibration value is not a finite number"""
