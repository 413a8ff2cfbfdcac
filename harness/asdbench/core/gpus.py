"""How busy the GPUs of this machine are, where NVIDIA's library is installed (``pip install 'asdbench[gpu]'``)."""

from __future__ import annotations

from typing import Any

from asdbench.core.config import Config


class GpuUse(Config, frozen=True, kw_only=True):
    """The use of one GPU, by all programs."""

    index: int
    name: str
    busy_percent: int
    """Share of the last moment in which it computed."""
    used_bytes: int
    memory_bytes: int


def gpu_use() -> list[GpuUse]:
    """Return the use of each NVIDIA GPU; empty without the library, the driver or a GPU."""
    try:
        import pynvml  # optional
    except ImportError:
        return []
    try:
        pynvml.nvmlInit()
        try:
            return [_use(pynvml, index) for index in range(pynvml.nvmlDeviceGetCount())]
        finally:
            pynvml.nvmlShutdown()
    except pynvml.NVMLError:  # no driver, or a GPU that does not say; a display does not stop a run
        return []


def _use(nvml: Any, index: int) -> GpuUse:
    gpu = nvml.nvmlDeviceGetHandleByIndex(index)
    name, memory = nvml.nvmlDeviceGetName(gpu), nvml.nvmlDeviceGetMemoryInfo(gpu)
    return GpuUse(
        index=index,
        name=name.decode() if isinstance(name, bytes) else name,  # by the version of the library
        busy_percent=nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,
        used_bytes=memory.used,
        memory_bytes=memory.total,
    )
