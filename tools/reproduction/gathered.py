"""Tables 2a and 2b and Fig. 3, from what other programs of tools/ have measured and keep in docs/results.

tools/minis.py trains and measures the small SwinIR and NAFNet, tools/layers.py times layers; this module puts the
paper's numbers beside theirs.
"""

from collections.abc import Iterator
from functools import partial

import layers as timed
import minis
import runs

from reproduction.pages import GLOSSARY, RESULTS
from reproduction.printed import TABLE2A, TABLE2B, TABLE2B_SSIM
from reproduction.registry import Experiment, Request, register
from tunable.files import write_text
from tunable.reports import charts, layers, tables

PICTURES = 8  # of CBSD68, the first so many
GAIN = 20.0  # dB from PSNR(1, 0) to PSNR_eta(0, 1) of a blend with nine tenths of the noise: -20 log10(1 - 0.9)
PAGES = {  # task -> what the page says besides
    "denoise_swinir": "The small SwinIR has {count} of CBSD68's pictures, the paper all.",
    "denoise_real_nafnet": "SIDD is not available here: the small NAFNet was trained and measured on Poisson-Gaussian "
    "noise instead, at three levels, so the numbers beside each other are of different photographs and noise.",
}


def table2_commands(task: str, request: Request) -> Iterator[str]:
    """The trainings of the tunable and of the plain network."""
    for name, settings in (("torch", ()), ("plain-rec", minis.PLAIN)):
        words = " ".join(f"--set '{setting}'" for setting in settings)
        yield f"tunable train {task}/{request.scale} {words} --out {request.work / task / name} --resume"


def table2_rows(task: str, request: Request) -> list[dict]:
    """One row for every level, and their mean: PSNR of the plain network, at (1, 0), PSNR_eta at (0, 1)."""
    _, levels, _, names = minis.TASKS[task]
    count = request.pictures or PICTURES
    results = {name: minis.measured(request.work / task, RESULTS / task, task, name, count) for name in names}
    rows = []
    for level in [*(" ".join(map(str, level)) for level in levels), None]:
        values = {
            "plain": minis.mean(results["plain-rec"], "psnr", None, level),
            "restoring": minis.mean(results["torch"], "psnr", (1, 0), level),
            "keeping": minis.mean(results["torch"], "psnr_eta", (0, 1), level),
        }
        rows.append({"level": level or "mean", **values})
    return rows


def make_table2(name: str, task: str, title: str, printed: dict, request: Request) -> None:
    """Write the page of Table 2a or 2b."""
    out = request.out / name
    out.mkdir(parents=True, exist_ok=True)
    rows, count = table2_rows(task, request), request.pictures or PICTURES
    write_text(out / "rows.csv", tables.to_csv(rows))
    lines = [
        "| | level | plain, PSNR | (1, 0), PSNR | (0, 1), PSNR_η | (1, 0) − plain | (0, 1) − (1, 0) |",
        "|---" * 7 + "|",
    ]
    ours = {row["level"]: (row["plain"], row["restoring"], row["keeping"]) for row in rows}
    for where, levels in {"ours": ours, **{f"the paper, {key}": value for key, value in printed.items()}}.items():
        for level, (plain, restoring, keeping) in levels.items():
            lines.append(
                f"| {where} | {level} | {plain:.2f} | {restoring:.2f} | {keeping:.2f} | {restoring - plain:+.2f} "
                f"| {keeping - restoring:.2f} |"
            )
    mean = ours["mean"]
    text = [
        f"# {title}\n",
        GLOSSARY,
        f"At (1, 0) the tunable network is {mean[1] - mean[0]:+.2f} dB from a plain network of equal size and steps, "
        f"with one seed. At (0, 1) its PSNR_η is {mean[2] - mean[1]:.2f} dB above its PSNR at (1, 0). Blending "
        f"its output at (1, 0) with the input would give {GAIN:.2f} dB at no cost, and the paper's large networks have "
        "19.97 to 20.00: they learned the blend. The small one has not reached it.\n",
        f"![One photograph at both ends of ω](../../{task}/sheet.png)\n",
        *lines,
        "",
        *([_ssim(task)] if name == "table2b" else []),
        f"{PAGES[task].format(count=count)} Trained and measured by `python tools/minis.py {task} --work runs/{task} "
        f"--out docs/results/{task} --pictures {count}`, whose [page](../../{task}/README.md) has pictures, SSIM and "
        f"the protocol. This page: `python tools/reproduce.py {name}`; means in [rows.csv](rows.csv).\n",
    ]
    write_text(out / "README.md", "\n".join(text))


def _ssim(task: str) -> str:
    plain, tunable = (runs.rows_of(RESULTS / task / f"{name}.csv") for name in ("plain-rec", "torch"))
    ours = f"{minis.mean(plain, 'ssim', None):.3f} and {minis.mean(tunable, 'ssim', (1, 0)):.3f}"
    fixed, restoring, keeping = TABLE2B_SSIM
    return (
        f"SSIM of the plain network and at (1, 0): ours {ours}, the paper's {fixed:.3f} and {restoring:.3f}. The paper "
        f"prints SSIM_η {keeping:.3f} at (0, 1), which was not measured here.\n"
    )


def fig3_commands(request: Request) -> Iterator[str]:
    """The timing of layers, which trains nothing."""
    yield "OMP_NUM_THREADS=1 python tools/layers.py --out docs/results/layers"


def make_fig3(request: Request) -> None:
    """Write the page of Fig. 3: the worst overheads with one omega beside the paper's bounds."""
    out = request.out / "fig3"
    out.mkdir(parents=True, exist_ok=True)
    rows = timed.read(RESULTS / "layers" / "layers.csv")
    charts.layer_overheads(out / "plot.png", rows, layers.CLAIMS)
    chosen = [
        row
        for row in rows
        if (row["kind"], row["batch"], row["backward"]) == ("dense", 1, False) and row["form"] == "shared" and row["p"]
    ]
    lines = ["| framework | p | the paper claims less than | ours, median | ours, worst | of |", "|---" * 6 + "|"]
    for name in dict.fromkeys(row["backend"] for row in chosen):
        for p, claim in layers.CLAIMS.items():
            here = sorted((row for row in chosen if row["backend"] == name and row["p"] == p), key=lambda r: r["ratio"])
            worst, middle = here[-1], here[len(here) // 2]
            lines.append(
                f"| {name} | {p} | {claim:.0%} | {middle['ratio'] - 1:+.1%} | {worst['ratio'] - 1:+.1%} "
                f"| {worst['kernel']}x{worst['kernel']}, {worst['channels']} channels |"
            )
    text = [
        "# Fig. 3: what a tunable convolution costs\n",
        GLOSSARY,
        "On a CPU one ω costs less than 6 % of the time of an ordinary convolution in PyTorch, for every p; the paper "
        "finds as little on a V100. MindSpore's medians agree, but single layers of it are tens of per cent "
        "off, in both directions, which is noise of its threads.\n",
        "![Overhead of one omega over channels, for kernels of 3, 5 and 7 pixels](plot.png)\n",
        *lines,
        "",
        "Feature maps have 128x128 pixels, as in the paper. Measured by `OMP_NUM_THREADS=1 python tools/layers.py "
        "--out docs/results/layers`, whose [page](../../layers/README.md) has every number and ω per sample; on "
        "[CUDA](../../cuda/README.md) small layers wait for the start of more kernels. This page: `python "
        "tools/reproduce.py fig3`.\n",
    ]
    write_text(out / "README.md", "\n".join(text))


for _name, _task, _title, _printed in (
    ("table2a", "denoise_swinir", "Table 2a: denoising strength in SwinIR", TABLE2A),
    ("table2b", "denoise_real_nafnet", "Table 2b: denoising strength in NAFNet", TABLE2B),
):
    register(
        Experiment(_name, _title, partial(table2_commands, _task), partial(make_table2, _name, _task, _title, _printed))
    )
register(Experiment("fig3", "Fig. 3: what a tunable convolution costs", fig3_commands, make_fig3))
