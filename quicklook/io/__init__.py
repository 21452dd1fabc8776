"""Instruments and raw readers, calibration index, product files: the one layer that touches files of data."""
