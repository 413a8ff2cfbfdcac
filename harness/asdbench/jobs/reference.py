"""A fixed piece of work, timed in the process of every job.

Times of the same job differ between processors and with what else they do. As multiples of this work they are comparable,
roughly: it is arithmetic alone, and a method also waits for memory.
"""

from __future__ import annotations

import time

import numpy as np
import torch

SIZE = 96
"""Rows and columns of the matrices."""
TRIES = 7
"""All of them together take about a millisecond; the shortest is what the processor can do."""


def reference_ms() -> float:
    """Return the milliseconds of a product of two matrices and an FFT on the CPU, with the threads of this process."""
    matrix = torch.linspace(-1, 1, SIZE * SIZE).reshape(SIZE, SIZE)
    return min(_once(matrix) for _ in range(TRIES))


def _once(matrix: torch.Tensor) -> float:
    started = time.perf_counter()
    product = torch.mm(matrix, matrix)
    # That of numpy: torch's loads a library on first use, which takes longer than a short job.
    np.fft.rfft(product.numpy().reshape(-1))
    return 1000 * (time.perf_counter() - started)
