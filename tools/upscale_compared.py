"""The model `upscale4` beside bicubic interpolation and published networks (docs/results/upscale4).

    python tools/upscale_compared.py --out docs/results/upscale4 --pictures 5

Needs TUNABLE_DATA, matplotlib, and VGG16, which names the file that tools/vgg16.py makes. PSNR_Y and SSIM of all
pictures of Set5, Set14 and CBSD68 at three settings of the knob; LPIPS and NIQE of the first so many of each at five;
the curve of both; and crops. What --out holds already is not measured again.
"""

import argparse
import sys
from pathlib import Path

import enlarging
import numpy as np
import runs
from reproduction import plots

from tunable import load
from tunable.backends.model import Model
from tunable.data.degradations import protocol_shrunk
from tunable.data.patches import find_pictures
from tunable.evaluation.measuring import compare_enlarged, evaluate, summarise
from tunable.evaluation.perceptual import chosen
from tunable.evaluation.sentences import PERCEPTUAL_PROTOCOL, SHRUNK_PROTOCOL
from tunable.files import write_text
from tunable.images.contact_sheets import contact_sheet
from tunable.images.pictures import from_network, read, to_network, write
from tunable.reports import tables

NAME = "upscale4"
SHOWN, MEASURED = (0.0, 0.5, 1.0), (0.0, 0.25, 0.5, 0.75, 1.0)  # settings of the knob
# PSNR_Y and SSIM, as Lim et al. ("Enhanced Deep Residual Networks", CVPR Workshops 2017) print them
PUBLISHED = {
    "SRCNN": {"Set5": (30.48, 0.8628), "Set14": (27.50, 0.7513)},
    "VDSR": {"Set5": (31.35, 0.8838), "Set14": (28.02, 0.7678)},
    "EDSR": {"Set5": (32.46, 0.8968), "Set14": (28.80, 0.7876)},
}
CROPS = ((18, 300, 40), (7, 60, 200), (22, 60, 480), (3, 150, 180))  # of Kodak24: place, top and left
SIDE = 224  # pixels of them


def faithful(model: Model, out: Path, name: str) -> list[dict]:
    """PSNR_Y and SSIM of a whole set at SHOWN, and of bicubic interpolation, before them."""
    path = out / f"{name}.csv"
    if not path.is_file():
        rows = []
        for picture in enlarging.pictures(name):
            clean, shrunk = protocol_shrunk(read(picture), enlarging.SCALE)
            rows.append({"picture": picture.name, "at": "bicubic"} | compared(enlarging.enlarged(shrunk), clean))
            for at in SHOWN:
                restored = from_network(model.run(to_network(shrunk), np.float32([at])))
                rows.append({"picture": picture.name, "at": f"{at:g}"} | compared(restored, clean))
        write_text(path, tables.to_csv(rows))
    known = runs.rows_of(path)
    return [
        {"at": at} | {m: np.mean([float(r[m]) for r in known if r["at"] == at]) for m in ("psnr", "psnr_y", "ssim")}
        for at in ("bicubic", *(f"{at:g}" for at in SHOWN))
    ]


def compared(restored: np.ndarray, clean: np.ndarray) -> dict[str, float]:
    return compare_enlarged(restored, clean, enlarging.SCALE)


def perceived(model: Model, out: Path, name: str, count: int) -> list[dict]:
    """The means of the first pictures of a set, by the knob; from `out` if as many were measured before."""
    path, pictures = out / "perceived" / name / "summary.csv", enlarging.pictures(name, count)
    if {int(row["pictures"]) for row in runs.rows_of(path)} != {len(pictures)}:
        rows = evaluate(model, pictures, np.float32(MEASURED)[:, None], extra=chosen(("lpips", "niqe")))
        tables.write(path.parent, rows, summarise(rows), model)
    rows = [row for row in runs.rows_of(path) if row["sigma"] == "mean"]
    return sorted(rows, key=lambda row: float(row["omega_1"]))


def sheet(model: Model, out: Path) -> None:
    """Crops: bicubic, the knob at SHOWN, truth; unless `out` holds the sheet."""
    if (out / "sheet.png").is_file():
        return
    kodak, rows = find_pictures(["${TUNABLE_DATA}/Kodak24"]), []
    for index, top, left in CROPS:
        clean, shrunk = protocol_shrunk(read(kodak[index])[top : top + SIDE, left : left + SIDE], enlarging.SCALE)
        made = [from_network(model.run(to_network(shrunk), np.float32([at]))) for at in SHOWN]
        rows.append([enlarging.enlarged(shrunk), *made, clean])
    write(out / "sheet.png", contact_sheet(rows, ["bicubic", *(f"sharpness {at:g}" for at in SHOWN), "truth"]))


def report(args) -> None:
    out, model = args.out, load(NAME, "torch", "cpu")
    out.mkdir(parents=True, exist_ok=True)
    sheet(model, out)
    whole = {name: faithful(model, out, name) for name in enlarging.SETS}
    parts = {name: perceived(model, out, name, args.pictures) for name in enlarging.SETS}
    beside = enlarging.bicubic(out, args.pictures)
    plots.curves(
        out / "curve.png",
        [(f"LPIPS, {name}", {
            "tunable upscale4, sharpness 0 to 1": ([float(r["psnr"]) for r in rows], [float(r["lpips"]) for r in rows]),
            "bicubic interpolation": ([beside[name]["psnr"]], [beside[name]["lpips"]]),
        }, None) for name, rows in parts.items()],
        "PSNR in dB",
    )  # fmt: skip
    lines = ["| | " + " | ".join(f"{name}, PSNR_Y | SSIM" for name in whole) + " |", "|---" * 7 + "|"]
    for place, row in enumerate(whole["Set5"]):
        label = "bicubic" if row["at"] == "bicubic" else f"`{NAME}`, sharpness {row['at']}"
        cells = (f"{rows[place]['psnr_y']:.2f} | {rows[place]['ssim']:.4f}" for rows in whole.values())
        lines.append(f"| {label} | {' | '.join(cells)} |")
    for method, sets in PUBLISHED.items():
        cells = ("{:.2f} | {:.4f}".format(*sets[name]) if name in sets else " | " for name in whole)
        lines.append(f"| *{method}, as printed* | {' | '.join(cells)} |")
    text = [
        f"# The model `{NAME}`\n",
        runs.GLOSSARY,
        verdict(whole, parts, beside),
        "![Crops of four photographs, enlarged four times](sheet.png)\n",
        "## Fidelity: all pictures\n",
        *lines,
        "",
        "The published networks have 57,000 (SRCNN), 0.7 million (VDSR) and 43 million (EDSR) parameters; this one has "
        "some 0.3 million. They are printed by Lim et al., CVPR Workshops 2017.\n",
        f"## Perception: the first {args.pictures} pictures of each set\n",
        "![LPIPS over PSNR, for each set](curve.png)\n",
        "| set | sharpness | PSNR | PSNR_Y | SSIM | LPIPS | NIQE | sharpness measured |",
        "|---" * 8 + "|",
    ]
    for name, rows in parts.items():
        for label, row in [("bicubic", beside[name]), *((row["omega_1"], row) for row in rows)]:
            cells = (f"{float(row[metric]):.{digits}f}" for metric, (_, digits) in enlarging.COLUMNS.items())
            text.append(f"| {name} | {label} | {' | '.join(cells)} |")
    text += [
        "",
        f"Made by `python tools/upscale_compared.py --out docs/results/{NAME} --pictures {args.pictures}` with PyTorch "
        "on a CPU. The CSV files beside this page hold every picture. The training minimised a distance of features of "
        "the VGG-16 behind this LPIPS, in three of its five layers: LPIPS favours it, and NIQE does not. And "
        "its objective and the end of the knob were chosen in trials on some of these very pictures (the model's card)."
        "\n",
        f"Protocol: {SHRUNK_PROTOCOL} {PERCEPTUAL_PROTOCOL}\n",
    ]
    write_text(out / "README.md", "\n".join(text))


def verdict(whole: dict[str, list[dict]], parts: dict[str, list[dict]], beside: dict[str, dict]) -> str:
    lines = [
        f"At sharpness 0 `{NAME}` has {whole['Set5'][1]['psnr_y']:.2f} dB (PSNR_Y) on Set5 and "
        f"{whole['Set14'][1]['psnr_y']:.2f} dB on Set14; bicubic interpolation has {whole['Set5'][0]['psnr_y']:.2f} "
        f"and {whole['Set14'][0]['psnr_y']:.2f}."
    ]
    for name, rows in parts.items():
        psnr, lpips = ([float(row[metric]) for row in rows] for metric in ("psnr", "lpips"))
        falls, better = (all(np.diff(values) < 0) for values in (psnr, lpips))
        lines.append(
            f"On {name}, PSNR {'falls' if falls else '**does not fall**'} and LPIPS "
            f"{'improves' if better else '**does not improve**'} at every step from sharpness 0 to 1, from "
            f"{lpips[0]:.3f} to {lpips[-1]:.3f}; the least PSNR is bicubic's "
            f"{min(psnr) - beside[name]['psnr']:+.2f} dB."
        )
    return " ".join(lines) + "\n"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of the results")
    parser.add_argument("--pictures", type=int, default=5, help="of every set, the first so many get LPIPS and NIQE")
    sys.exit(runs.guarded(report, parser.parse_args()))
