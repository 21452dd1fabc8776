"""Magnitudes and flux densities."""

from __future__ import annotations

AB_FLUX = 3.631e-20 * 2.99792458e18 * 1e17
"""Flux density of magnitude 0 (AB) in 1e-17 erg/(s cm2 Angstrom), times the square of the wavelength in Angstrom.

Source: Oke & Gunn (1983, ApJ 266, 713): 3631 Jy at any frequency; f_lambda = f_nu c / lambda^2.
"""
