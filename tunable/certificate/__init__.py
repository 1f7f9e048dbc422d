"""The parity certificate: do frameworks compute the same from one weights file?

Stage by stage and per omega of a grid: weights bit-equal, every tunable layer against the float64 oracle; layer
outputs, network output, loss, gradients of every parameter, optimizer state and ten training steps against the
network in float64 (`truth`, computed here or read from a pack) and between frameworks; folded against live. Every row
carries its error and its limit (tunable.tolerances). Negative controls show that different omega give different
outputs and that weights move, so that a suite that looks at nothing cannot pass.
"""

from tunable.certificate.rows import Certificate, Row
from tunable.certificate.trial import verify

__all__ = ["Certificate", "Row", "verify"]
