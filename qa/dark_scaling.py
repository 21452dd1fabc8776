"""Dark current at one temperature from that at another."""

from __future__ import annotations

import math

BOLTZMANN = 8.617333e-5
"""eV/K."""
ZERO_C = 273.15


def dark_ratio(temperature_c: float, reference_c: float, energy_ev: float) -> float:
    """Dark current at `temperature_c` over that at `reference_c`: exp(-E/k (1/T - 1/T0)), E the activation energy, eV.

    Source: Widenhorn, Blouke, Weber, Rest & Bodegom 2002, Proc. SPIE 4669, 193: current from the depletion zone and its defects has E near
    half of the band gap of silicon, 0.55 to 0.63 eV. It doubles every ln2 k T^2 / E: 6.6 K at -15 C, 1.8 K at -140 C, for 0.6 eV. Raises
    ValueError below absolute zero.
    """
    t, t0 = temperature_c + ZERO_C, reference_c + ZERO_C
    if t <= 0 or t0 <= 0:
        raise ValueError(f"{min(temperature_c, reference_c):g} degree Celsius is no temperature")
    return math.exp(-energy_ev / BOLTZMANN * (1.0 / t - 1.0 / t0))
