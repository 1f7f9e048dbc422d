"""The knob certificate: what each knob does to pictures, setting by setting (docs/knobs.md).

Paths through the settings of omega are chosen from where the network was trained (`paths`). At every setting pictures
are restored (`trial`) and each knob's measure is taken (`measures`). What a path shows is then judged (`judging`).
"""

from tunable.response.judging import Response, Tolerances
from tunable.response.trial import KnobCertificate, Row, certify

__all__ = ["KnobCertificate", "Response", "Row", "Tolerances", "certify"]
