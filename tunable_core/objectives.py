"""Constants that the objectives of both twins and of the oracle share."""

CHARBONNIER_EPS = 1e-3  # sqrt(d^2 + eps^2), the usual value
NORMALISE_FLOOR = 1e-3  # `normalise: sum` divides by max(sum of omega, this) (SPEC 3)
UNSHARP_SIZE, UNSHARP_SIGMA = 9, 2.5  # pixels: the Gaussian g of the unsharp mask (section 4.1.2)
RELU3_3_SIZE, CONV5_4_SIZE = 4, 16  # pixels of a picture that leave one of these layers of VGG-19
# BT.601: Y = 0.299 R + 0.587 G + 0.114 B, U = 0.436 (B - Y) / (1 - 0.114), V = 0.615 (R - Y) / (1 - 0.299)
UV = ((-0.147138, -0.288862, 0.436), (0.615, -0.514993, -0.100014))
