"""All axes at once: a shape that is too short has ones in front."""


def unbroadcast(g, shape):
    padded = (1,) * (g.ndim - len(shape)) + tuple(shape)
    repeated = tuple(axis for axis, (n, wide) in enumerate(zip(padded, g.shape, strict=True)) if n != wide)
    return g.sum(axis=repeated).reshape(shape)
