"""What must be set before MindSpore is first used."""

import os
import sys

if "mindspore" not in sys.modules:
    # On AVX-512 machines oneDNN, as MindSpore builds it, falls back to its reference convolution, some
    # 60 times slower than its AVX2 one. It reads this once; a value that the user has set stays.
    os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")
    # Warnings about the platform on every import and compilation would drown ours: errors only.
    os.environ.setdefault("GLOG_v", "3")
