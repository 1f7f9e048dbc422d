"""Constants that the objectives of both twins and of the oracle share."""

CHARBONNIER_EPS = 1e-3  # sqrt(d^2 + eps^2), the usual value
NORMALISE_FLOOR = 1e-3  # `normalise: sum` divides by max(sum of omega, this) (SPEC 3)
UNSHARP_SIZE, UNSHARP_SIGMA = 9, 2.5  # pixels: the Gaussian g of the unsharp mask (section 4.1.2)
