"""The `gpu` monitor: NVIDIA's cards, through NVML, or through nvidia-smi where NVML cannot be loaded.

`nvml.py` and `smi.py` are the two sources, `monitor.py` chooses. What each number means is in
docs/monitors/gpu.md.
"""

from perfload.monitors.gpu.monitor import GpuMonitor, is_present

__all__ = ["GpuMonitor", "is_present"]
