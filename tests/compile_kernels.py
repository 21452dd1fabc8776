"""Compile the kernels of the shipped chains into their cache, before the tests: each of their workers would do that, at the same time.

    python -P tests/compile_kernels.py
"""

from __future__ import annotations

import logging

from quicklook.api import open_session
from quicklook.service.workers.processing import Processor

if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)  # what does not get through is said there
    Processor(open_session(instrument="desi").site.recipe()).warm_up()
