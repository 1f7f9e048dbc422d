"""What must be set before PyTorch is first used."""

import os
import tempfile

import torch

# glibc returns freed megabytes to the system, and a network on a CPU takes every layer's output and kernel page by page
# from it again: up to a fifth of a forward pass (docs/results/knobs). One larger block that has been freed, untouched,
# makes it keep them (mallopt(3), M_MMAP_THRESHOLD: "dynamic"); what the user has set by MALLOC_* stays.
torch.empty(30 * 2**20, dtype=torch.uint8, device="cpu")

# The compiler keeps what it compiled, and takes it again for a processor that it was not made for: outputs are NaN, or
# Python dies. Who tells torch of another processor (ATEN_CPU_CAPABILITY) gets another folder, unless one is named.
if "ATEN_CPU_CAPABILITY" in os.environ:
    _kept = f"torchinductor_{os.environ.get('USER', '')}_{torch.backends.cpu.get_cpu_capability()}".replace(" ", "_")
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", os.path.join(tempfile.gettempdir(), _kept))
