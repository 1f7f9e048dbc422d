"""What a certificate says, in three sentences for whoever reads no more of it."""

from tunable.certificate.inputs import STEPS
from tunable.certificate.rows import Certificate, Row


def summary(certificate: Certificate) -> list[str]:
    """Three sentences: what was compared with what and where, the largest difference, and what was not tested."""
    return [_compared(certificate), _largest(certificate), _untested(certificate)]


def _compared(certificate: Certificate) -> str:
    compared = {row.compared.rpartition(" : ")[2] for row in certificate.rows}
    truths = [
        words
        for name, words in (
            ("oracle", f"plain numpy in float64 ({_listed(_by_oracle(certificate))})"),
            ("float64", "the whole network in PyTorch's float64"),
            ("pack", "a recorded float64 truth of the whole network"),
        )
        if name in compared
    ]
    names = " and ".join(certificate.facts)
    if len(certificate.facts) > 1:
        truths.append("each other")
    place = _where(certificate.machine)
    recorded = _where(certificate.recorded.get("machine", {}))
    return (
        f"The results of {names} on this weights file were compared with {_listed(truths) or 'nothing'}"
        f"{f', on {place}' if place else ''}{f'; the truth was recorded on {recorded}' if recorded else ''}."
    )


def _by_oracle(certificate: Certificate) -> list[str]:
    """What the oracle was compared with."""
    stages = {row.stage for row in certificate.rows if row.compared.endswith(" : oracle")}
    words = {
        "layer": "every layer",
        "network": "the whole network",
        "truth": "the float64 layers",
        "loss": "losses",
        "optimizer": "optimizer",
    }
    return [word for stage, word in words.items() if stage in stages]


def _where(machine: dict[str, str]) -> str:
    return ", ".join(machine[key] for key in ("processor", "platform") if key in machine)


def _largest(certificate: Certificate) -> str:
    failed = [row for row in certificate.rows if not row.passed]
    if failed or not certificate.rows:
        first = f", first in the stage {failed[0].stage} ({failed[0].compared})" if failed else ""
        return f"{len(failed)} of {len(certificate.rows)} comparisons failed{first}."
    judged = [row for row in certificate.rows if row.limit and not row.at_least]
    if not judged:
        return f"All {len(certificate.rows)} comparisons passed."
    largest, nearest = max(judged, key=lambda row: row.error), max(judged, key=lambda row: row.ratio)
    sentence = (
        f"All {len(certificate.rows)} comparisons passed, and the largest relative difference is {largest.error:.1e} "
        f"({_place(largest)}), {_below(largest)}"
    )
    if nearest is not largest:
        sentence += f"; nearest to its limit comes {nearest.error:.1e} ({_place(nearest)}), {_below(nearest)}"
    return sentence + "."


def _place(row: Row) -> str:
    at = f" at ω {row.omega}" if row.omega.startswith("(") else f", {row.omega}" if row.omega else ""
    return f"{row.stage}, {row.compared}{at}"


def _below(row: Row) -> str:
    times = f"{1 / row.ratio:.3g} times below" if row.ratio else "below"
    return f"{times} its limit of {row.limit:.1e}"


def _untested(certificate: Certificate) -> str:
    subjects = [line.partition(": ")[0] for line in certificate.not_judged]
    listed = f"what stands below as not judged ({_listed(list(dict.fromkeys(subjects)))}), " if subjects else ""
    return (
        f"Not tested were {listed}other devices and modes than those named, other ω, pictures of other sizes, and "
        f"trainings of more than {STEPS} steps."
    )


def _listed(parts: list[str]) -> str:
    return ", ".join(parts[:-1]) + " and " * (len(parts) > 1) + "".join(parts[-1:])
