"""The knob certificate: networks whose answer to every setting is known, and what is found of them."""

import math

import numpy as np
import pytest
from formula import ENLARGING, PLAIN
from PIL import Image

from tunable.data.degradations import protocol_noise
from tunable.errors import DataError, TunableError
from tunable.response import Tolerances, certify
from tunable.response.measures import MOST_PSNR
from tunable.response.seams import largest_seam

GREY = 128 / 255  # of every pixel of the clean picture, so that a formula knows the noise
SIGMA = 25
LINE = {"sampler": "simplex"}


@pytest.fixture
def grey(tmp_path):
    Image.new("RGB", (48, 40), (128, 128, 128)).save(tmp_path / "grey.png")
    return str(tmp_path / "grey.png")


@pytest.fixture
def certified(model_of, grey):
    """certified(kept, ...): the certificate of a network that keeps kept(omega) of the noise of a grey picture."""

    def certificate(kept, tolerances=None, omega=LINE, cast=lambda omega: 0, **sections):
        def formula(x, omega):
            return GREY + kept(omega) * (x - GREY) + np.reshape(cast(omega), (-1, 1, 1))

        return certify(model_of(formula, omega=omega, **sections), grey, sigmas=[SIGMA], tolerances=tolerances)

    return certificate


def of(certificate, knob):
    (response,) = (response for response in certificate.responses if response.knob == knob)
    return response


TRAVEL = np.linspace(0, 1, 11)


# --- what is measured


def test_a_network_that_blends_keeps_what_omega_says(certified):
    certificate = certified(lambda omega: omega[1])
    noise, fidelity = of(certificate, "noise"), of(certificate, "fidelity")
    np.testing.assert_allclose(noise.values, TRAVEL, atol=1e-5)
    assert (noise.measure, noise.path, noise.omegas[0], noise.omegas[-1]) == (
        "noise kept",
        "against fidelity",
        (1, 0),
        (0, 1),
    )
    assert noise.monotone and not noise.reversed and not noise.dead_zones and noise.verdict == "passed"
    assert abs(noise.range - 1) < 1e-5 and abs(noise.change - 1) < 1e-5 and noise.back < 1e-6
    unit = protocol_noise(40, 48, 0) * SIGMA / 255
    expected = -10 * np.log10(np.mean(unit**2) * (1 - TRAVEL[:-1]) ** 2)
    np.testing.assert_allclose(fidelity.values, [*expected, MOST_PSNR], atol=1e-3)  # at 1 it is the truth
    assert np.abs(noise.casts).max() < 1e-3  # the mean of the noise that is kept is no cast
    assert certificate.passed and certificate.judged and certificate.trained == "summing to 1"
    assert [end.omega for end in certificate.ends] == [(0, 0), (1, 1)]
    assert [end.verdict for end in certificate.ends] == ["not judged"] * 2
    np.testing.assert_allclose([end.values["noise"] for end in certificate.ends], [0, 1], atol=1e-5)


def test_every_value_is_a_row(certified):
    rows = certified(lambda omega: omega[1]).rows
    assert len(rows) == 2 * 11 + 2 * 2
    row = next(row for row in rows if row.knob == "noise" and row.omega == (0.7, 0.3))
    assert (row.picture, row.sigma, row.rho, row.path) == ("grey.png", SIGMA, 0, "against fidelity")
    assert abs(row.value - 0.3) < 1e-5 and abs(row.red) < 1
    assert {row.path for row in rows} == {"against fidelity", "against noise", "(0, 0)", "(1, 1)"}


def test_means_over_pictures_and_levels(model_of, folder):
    """Where a level does not define a measure the others do."""
    certificate = certify(model_of(lambda x, omega: x, omega=LINE), str(folder), sigmas=[0, 5, 15])
    assert certificate.pictures == ["a.png", "b.png"] and certificate.levels == [(0, 0), (5, 0), (15, 0)]
    np.testing.assert_allclose(of(certificate, "noise").values, 1, atol=1e-5)
    kept = [row.value for row in certificate.rows if row.knob == "noise" and row.sigma == 0]
    assert len(kept) == 2 * 13 and np.isnan(kept).all()
    rows = [row.value for row in certificate.rows if row.knob == "fidelity" and row.omega == (1, 0)]
    assert abs(of(certificate, "fidelity").values[-1] - np.mean(rows)) < 1e-9 and max(rows) == MOST_PSNR


def test_only_some_pictures_and_their_middle(model_of, folder):
    sizes = []

    def formula(x, omega):
        sizes.append(x.shape)
        return x

    model, calls = model_of(formula, omega=LINE), []
    certificate = certify(
        model, str(folder), sigmas=[5], limit=1, crop=16, progress=lambda *counts: calls.append(counts)
    )
    assert certificate.pictures == ["a.png"] and (1, 3, 16, 16) in sizes and (1, 3, 20, 24) not in sizes
    assert [done for done, _ in calls] == sorted({done for done, _ in calls}) and calls[-1][0] <= calls[-1][1]


# --- what is judged


def bump(height):
    """Keeps omega_2 of the noise, but at 0.7 `height` less than at 0.6."""
    return lambda omega: 0.6 - height if abs(omega[1] - 0.7) < 0.01 else omega[1]


def slow(height):
    """Keeps omega_2 of the noise, but from 0.5 to 0.7 it falls by `height` in two steps."""
    return lambda omega: 0.5 - height * (omega[1] - 0.5) / 0.2 if 0.45 < omega[1] < 0.75 else omega[1]


@pytest.mark.parametrize(
    ("kept", "tolerances", "faults"),
    [
        (lambda omega: 0.4, {}, ["dead: the range of noise kept is 0, less than 0.02"]),
        (lambda omega: 0.4 + 0.019 * omega[1], {}, ["dead: the range of noise kept is 0.019, less than 0.02"]),
        (lambda omega: 0.4 + 0.021 * omega[1], {}, []),
        (lambda omega: omega[1] / 20, {"least": (0, 0.1)}, ["dead: the range of noise kept is 0.05, less than 0.1"]),
        (lambda omega: 1 - omega[1], {}, ["reversed: noise kept falls as the knob grows"]),
        (lambda omega: min(omega[1], 0.5), {}, []),
        (lambda omega: min(omega[1], 0.4), {}, ["dead over 60 % of its travel, more than 50 %"]),
        (lambda omega: min(omega[1], 0.5), {"dead": 0.4}, ["dead over 50 % of its travel, more than 40 %"]),
        (bump(0.05), {}, ["not monotone: steps back by 5.0 % of its range"]),
        (slow(0.03), {}, ["not monotone: steps back by 3.0 % of its range"]),
        (bump(0.05), {"back": 0.06}, []),
        (bump(0.01), {}, []),
    ],
)  # fmt: skip
def test_faults(kept, tolerances, faults, certified):
    certificate = certified(kept, Tolerances(**tolerances))
    response = of(certificate, "noise")
    assert response.faults == faults and response.verdict == ("failed" if faults else "passed")
    assert {f"noise, against fidelity: {fault}" for fault in faults} <= set(certificate.faults)
    assert certificate.passed == (not certificate.faults)


@pytest.mark.parametrize(
    ("kept", "zones", "share"),
    [
        (lambda omega: min(max(omega[1], 0.2), 0.8), [(0, 0.2), (0.8, 1)], 0.4),
        (lambda omega: omega[1] if omega[1] < 0.35 else max(0.3, omega[1] - 0.2), [(0.3, 0.5)], 0.2),
        (lambda omega: omega[1] ** 2, [(0, 0.1)], 0.1),  # the first step is 1 % of the range, the second 3 %
        (lambda omega: 0.4, [(0, 1)], 1),
    ],
)
def test_dead_zones(kept, zones, share, certified):
    response = of(certified(kept), "noise")
    assert response.dead_zones == zones and abs(response.dead - share) < 1e-9


def test_a_reversed_knob_may_be_what_its_objective_asks_for(certified):
    """`residual: remove`: the more omega, the less noise."""
    objectives = [{"name": "fidelity", "kind": "rec"}, {"name": "noise", "kind": "noise", "residual": "remove"}]
    certificate = certified(lambda omega: 1 - omega[1], objectives=objectives)
    assert of(certificate, "noise").verdict == "passed" and of(certificate, "noise").change < -0.99
    assert of(certified(lambda omega: omega[1], objectives=objectives), "noise").reversed


def test_a_target_that_stands_still_is_weighed_against_another(certified):
    """`residual: full`: the more omega, the more noise, along edges that another objective weighs against it."""
    objectives = [{"name": "fidelity", "kind": "rec"}, {"name": "noise", "kind": "noise", "residual": "full"}]
    certificate = certified(lambda omega: omega[1], objectives=objectives)
    assert of(certificate, "noise").verdict == "passed" and of(certificate, "noise").change > 0.99
    assert of(certified(lambda omega: 1 - omega[1], objectives=objectives), "noise").reversed


def test_a_colour_cast_counts_where_the_network_was_trained(certified):
    """Blue grows by 3/255 where all knobs are 1, and by 0.75/255 at (0.5, 0.5)."""

    def cast(omega):
        return np.array([0, 0, 3 * omega[0] * omega[1] / 255])

    def kept(omega):
        return omega[1]

    on_the_line, anywhere = certified(kept, cast=cast), certified(kept, cast=cast, omega={"sampler": "uniform"})
    for certificate, verdict in ((on_the_line, "not judged"), (anywhere, "failed")):
        zeros, ones = certificate.ends
        np.testing.assert_allclose(ones.cast, [0, 0, 3], atol=0.02)
        assert ones.verdict == verdict and max(map(abs, zeros.cast)) < 0.02
    assert abs(of(on_the_line, "noise").cast - 0.75) < 0.02 and of(on_the_line, "noise").cast_at == "blue at (0.5, 0.5)"
    assert not any("cast" in fault for fault in on_the_line.faults)
    assert any("all knobs at 1: colour cast of +3.0" in fault for fault in anywhere.faults)
    stricter = certified(kept, Tolerances(cast=0.5), cast=cast)
    assert "colour cast of +0.75/255, blue at (0.5, 0.5), more than 0.5" in of(stricter, "noise").faults


def test_the_picture_with_the_largest_cast_counts(model_of, folder):
    """One picture turns blue by 2/255, the other by -3/255: no mean over pictures."""
    Image.new("RGB", (24, 20), (128, 128, 128)).save(folder / "b.png")

    def formula(x, omega):
        return x + np.reshape([0, 0, (2 if np.std(x) > 0.1 else -3) / 255], (3, 1, 1))

    certificate = certify(model_of(formula, omega=LINE), str(folder), sigmas=[5, 15])
    np.testing.assert_allclose(of(certificate, "noise").casts, [[0, 0, -3]] * 11, atol=0.02)
    assert {round(row.blue) for row in certificate.rows} == {2, -3}


def test_what_is_not_finite_fails_where_it_was_trained(certified):
    certificate = certified(lambda omega: math.nan if omega[1] > 0.95 else omega[1])
    noise = of(certificate, "noise")
    assert noise.verdict == "failed" and noise.faults == ["not finite at (0, 1)"]
    assert math.isnan(noise.values[-1]) and not noise.monotone and math.isnan(noise.range)
    elsewhere = certified(lambda omega: math.nan if sum(omega) > 1.5 else omega[1])
    assert elsewhere.passed and elsewhere.ends[1].verdict == "not judged"


def test_one_picture_that_is_not_finite_is_enough(model_of, grey):
    """The strong noise breaks the network, the weak noise does not."""
    model = model_of(lambda x, omega: x + (math.nan if np.std(x) > 0.1 else 0), omega=LINE)
    certificate = certify(model, grey, sigmas=[5, 50])
    assert math.isnan(of(certificate, "noise").values[0]) and not certificate.passed


def test_nothing_is_judged_where_nothing_was_trained(certified):
    """At corners alone what lies between is measured; a colour cast at a corner is a fault all the same."""
    certificate = certified(lambda omega: 0.4, omega={"sampler": "corners"})
    assert certificate.passed and not certificate.judged
    assert {response.verdict for response in certificate.responses} == {"not judged"}
    assert "hardly or never trained" in of(certificate, "noise").unjudged
    between = certified(lambda omega: 0.4, omega={"sampler": "corners"}, cast=lambda omega: omega[0] * omega[1] / 10)
    assert between.passed and abs(of(between, "noise").cast - 6.375) < 0.02
    shifted = certified(lambda omega: omega[1], omega={"sampler": "corners"}, cast=lambda omega: omega[0] * 3 / 255)
    assert any("colour cast" in fault and "at (1, 0)" in fault for fault in shifted.faults)


def test_a_knob_without_a_rival_is_not_judged(certified):
    """With noise at 0, fidelity has nothing to be weighed against; the noise that is kept has its own target."""
    certificate = certified(lambda omega: omega[1], omega={"sampler": "uniform"})
    verdicts = {(r.knob, r.path): r.verdict for r in certificate.responses}
    assert verdicts["fidelity", "noise at 0"] == "not judged" and verdicts["fidelity", "noise at 1"] == "failed"
    assert {verdicts["noise", f"fidelity at {at}"] for at in ("0", "0.5", "1")} == {"passed"}
    assert len(certificate.responses) == 6


def test_the_only_knob_is_judged(model_of, folder):
    """It has no rival to lack: it does something, or it is dead."""
    for gain, verdict in ((0.9, "passed"), (0.0, "failed")):

        def restored(x, omega, gain=gain):
            drawn = 1 - 2 * (np.indices(x.shape[2:]).sum(0) % 2)  # a pattern that the knob takes away
            return x + np.float32(0.2 * (1 - gain * omega[0])) * drawn.astype(np.float32)

        objectives = [{"name": "clean", "kind": "rec"}]
        certificate = certify(model_of(restored, objectives=objectives, omega={"sampler": "uniform"}), str(folder))
        assert [(r.path, r.verdict) for r in certificate.responses] == [("the only knob", verdict)]


# --- other tasks


def test_enlarged_pictures_go_through(model_of, folder):
    def enlarged(x, omega):
        return x.repeat(2, axis=2).repeat(2, axis=3) + np.float32(0.1 * omega[1])

    certificate = certify(model_of(enlarged, **ENLARGING, omega=LINE), str(folder))
    assert {response.measure for response in certificate.responses} == {"PSNR"} and certificate.levels == [(0, 0)]
    reds = {row.omega: row.red for row in certificate.rows if row.picture == "a.png"}
    assert abs(reds[0, 1] - reds[1, 0] - 25.5) < 1e-3


def test_styles_are_measured_by_the_change_from_the_start(model_of, folder, refused):
    """Pictures are taken as they are: there is neither noise nor a truth."""
    styles = [{"name": name, "kind": "style", "image": str(folder / "a.png")} for name in "ab"]
    sections = {"task": "style_transfer", "objectives": styles, "vgg": {"seed": 0}, "omega": LINE}
    sections["data"] = {"train": "bundled", "patch": 8}
    model = model_of(lambda x, omega: x + np.float32(0.1 * omega[1]), **sections)
    certificate = certify(model, str(folder))
    response = of(certificate, "a")
    assert (response.measure, response.unit) == ("change", "1/255") and certificate.passed
    np.testing.assert_allclose(response.values, 25.5 * TRAVEL, atol=1e-3)
    assert all(math.isnan(value) for value in certificate.ends[1].values.values())
    with refused(TunableError, "style transfer", "without noise"):
        certify(model, str(folder), sigmas=[5])


def test_an_unknown_recipe_is_measured_by_the_change_and_not_judged(model_of, grey):
    import dataclasses

    model = model_of(lambda x, omega: np.full_like(x, 0.5 + 0.1 * omega[1]))
    header = dataclasses.replace(model.header, recipe=None, trained=None)
    certificate = certify(dataclasses.replace(model, header=header), grey, sigmas=[5])
    assert of(certificate, "noise").measure == "change" and not certificate.judged and certificate.trained == ""
    np.testing.assert_allclose(of(certificate, "noise").values, 25.5 * TRAVEL, atol=1e-3)
    assert "not known" in of(certificate, "noise").unjudged


# --- seams


def test_a_seam(model_of):
    """The network adds the first pixel of its input: tiles of 20 rows have a halo of 4, the last of 28 begins at 12."""
    model = model_of(lambda x, omega: x + x[:, :, :1, :1])
    picture = np.repeat(np.arange(40)[:, None, None] / 255, 20, axis=1).repeat(3, axis=2).astype(np.float32)
    assert abs(largest_seam(model, picture, np.float32([1, 0])) - 12) < 1e-3


def test_exact_tiles_have_no_seam(model, rng):
    seam = largest_seam(model, rng.uniform(size=(40, 48, 3)).astype(np.float32), np.float32([0.5, 0.5]))
    assert 0 <= seam < 0.01


def test_a_seam_is_reported_and_judged_when_asked(certified, monkeypatch):
    monkeypatch.setattr("tunable.response.trial.largest_seam", lambda *_: 2.5)
    assert of(certified(lambda omega: omega[1]), "noise").seam == 2.5 and certified(lambda omega: omega[1]).passed
    strict = certified(lambda omega: omega[1], Tolerances(seam=1))
    assert "a seam of tiles of 2.5/255, more than 1" in of(strict, "noise").faults


def test_where_nothing_is_cut_there_is_no_seam(model, rng):
    small = rng.uniform(size=(6, 5, 3)).astype(np.float32)
    assert largest_seam(model, small, np.float32([1, 0])) is None


# --- bad input


def test_refused(model_of, grey, folder, refused):
    fixed = {"sampler": {"kind": "fixed", "value": [1, 0]}}
    tunable, plain = model_of(lambda x, omega: x), model_of(lambda x, omega: x, network=PLAIN, omega=fixed)
    with refused(TunableError, "plain", "no knobs"):
        certify(plain, grey)
    with refused(TunableError, "noise is measured by noise kept", "no noise"):
        certify(tunable, grey, sigmas=[0])
    steps = [{"kind": "gaussian_blur", "sigma": 1}]
    objectives = [{"name": "soft", "kind": "residue", "of": "gaussian_blur"}, {"name": "b", "kind": "rec"}]
    soft = model_of(lambda x, omega: x, objectives=objectives, data={"train": "bundled", "degradation": steps})
    with refused(TunableError, "soft is measured by blur residue kept", "they are not blurred"):
        certify(soft, grey, rhos=[0])
    with refused(TunableError, "3 least ranges for the 2 knobs"):
        certify(tunable, grey, tolerances=Tolerances(least=(1, 1, 1)))
    with refused(TunableError, "'back'", "-0.1"):
        Tolerances(back=-0.1)
    with refused(DataError, "no such folder"):
        certify(tunable, str(folder / "absent"))
    (folder / "c.png").write_text("no picture")
    with refused(DataError, "c.png"):
        certify(tunable, str(folder))
