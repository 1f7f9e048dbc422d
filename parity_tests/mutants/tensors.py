"""Changes of tensors that both frameworks understand."""


def reversed_along(tensor, axis: int):
    """The tensor read from its other end along an axis."""
    index = [slice(None)] * tensor.ndim
    index[axis] = list(range(tensor.shape[axis]))[::-1]  # torch knows no steps below zero
    return tensor[tuple(index)]


def rolled(tensor, axis: int = 0):
    """Every entry moves to the place before its own."""
    index = [slice(None)] * tensor.ndim
    index[axis] = [*range(1, tensor.shape[axis]), 0]
    return tensor[tuple(index)]


def of_next_sample(alpha):
    """What belongs to another sample, where every sample has its own."""
    return rolled(alpha) if alpha.ndim == 2 else alpha


def of_first_sample(alpha):
    return alpha[:1] + alpha * 0 if alpha.ndim == 2 else alpha


def of_first_kernel(bias):
    return None if bias is None else bias[:1] + bias * 0


def eleven_bits(x):
    """Rounded as TF32 and HF32 round, by Veltkamp's splitting: 24 bits less 13."""
    high = x * 8193
    return high - (high - x)


def leaky(x):
    """A ReLU with a leak of a hundredth."""
    return x - 0.99 * (x - abs(x)) / 2


def relu(x):
    return (x + abs(x)) / 2


def ones(values):
    return (1,) * len(values)


def zeros(values):
    return (0,) * len(values)


def groups_mixed(y, a):
    """Channels ordered (out / group, group) instead of (group, out / group)."""
    if a.groups == 1 or y.shape[1] == a.groups:
        return y
    return y.reshape(y.shape[0], a.groups, -1, *y.shape[2:]).swapaxes(1, 2).reshape(*y.shape)


def groups_reversed(a):
    """Every group reads another group's channels."""
    return reversed_along(a.x, 1) if a.groups > 1 else a.x


def added_at_start(y, a):
    """What output_padding adds at the end stands at the start."""
    for axis, added in enumerate(a.output_padding):
        for _ in range(added):
            y = reversed_along(rolled(reversed_along(y, axis + 2), axis + 2), axis + 2)
    return y


def padded_as_same(a):
    """Padding `same` puts less before than after where the stride is two: all seen from one pixel further on."""
    x = a.x
    for axis, size in enumerate(a.padding):
        if size and a.stride[axis] > 1:
            x = rolled(x, axis + 2)
    return x
