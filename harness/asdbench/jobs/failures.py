"""What an exception in a job's process means for the run: the event that ends the job."""

from __future__ import annotations

import traceback

from asdbench.errors import AsdbenchError
from asdbench.messages.progress import Event, GpuFault, Status

GPU_OUT_OF_MEMORY = ("CUDA out of memory", "CUDA error: out of memory", "ALLOC_FAILED", "ALLOCATION_FAILED")
"""Out-of-memory messages of CUDA, cuBLAS and cuDNN, which raise a plain RuntimeError."""
OUT_OF_MEMORY = ("can't allocate memory", *GPU_OUT_OF_MEMORY)
"""The same, and that of torch on the CPU."""
GPU_ERRORS = ("CUDA error", "CUDNN_STATUS_", "CUBLAS_STATUS_", "CUFFT_")


class Ended(Exception):  # noqa: N818 - no error of this process
    """A process that works for a job has ended it."""

    def __init__(self, event: Event) -> None:
        super().__init__(event.message)
        self.event = event


def failed(job_id: str, error: BaseException) -> Event:
    """Return the event that ends a job; to be called where ``error`` is being handled."""
    if isinstance(error, Ended):
        return error.event
    return Event(
        job_id=job_id,
        status=_status(error),
        message=_message(error),
        detail=traceback.format_exc(),
        fault=_fault(error),
    )


def _status(error: BaseException) -> Status:
    # By name, which covers the class of torch and those of other libraries alike.
    named = isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"
    return "oom" if named or any(words in str(error) for words in OUT_OF_MEMORY) else "error"


def _fault(error: BaseException) -> GpuFault | None:
    text = str(error)
    # torch raises this class for the memory of GPUs alone.
    if type(error).__name__ == "OutOfMemoryError" or any(words in text for words in GPU_OUT_OF_MEMORY):
        return "gpu_memory"
    return "gpu" if any(words in text for words in GPU_ERRORS) else None


def _message(error: BaseException) -> str:
    return str(error) if isinstance(error, AsdbenchError) else f"{type(error).__name__}: {error}"
