"""Small random networks with exact sums: integer weights, linear, in float64."""

import os

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from fractions import Fraction

import keras
import numpy as np

layers = keras.layers
SIDE = 720
LARGEST_STRIDE = 8


class Builder:
    """A network under construction; `ratio` is elements per pixel of the chip along rows and columns."""

    def __init__(self, rng, paddings=("same", "valid")):
        self.rng = rng
        self.paddings = paddings
        self.chip = keras.Input((None, None, 1), dtype="float64")
        self.x = self.chip
        self.ratio = (Fraction(1), Fraction(1))

    def odds(self, low, high):
        return tuple(int(n) for n in self.rng.integers(low, high + 1, 2))

    def padding(self):
        return str(self.rng.choice(self.paddings))

    def steps(self, most):
        """Return strides that keep the network's stride small."""
        steps = self.odds(1, most)
        fits = all(
            (ratio / step).denominator <= LARGEST_STRIDE
            for ratio, step in zip(self.ratio, steps, strict=True)
        )
        return steps if fits else (1, 1)

    def add(self, layer, steps=(1, 1)):
        self.x = layer(self.x)
        self.ratio = tuple(ratio / step for ratio, step in zip(self.ratio, steps, strict=True))

    def size(self, x):
        return np.array(keras.Model(self.chip, x).compute_output_shape((1, SIDE, SIDE, 1))[1:3])

    def cut(self, x, surplus):
        """Crop, or pad with zeros, rows and columns at both ends."""
        ends = [(part := int(self.rng.integers(0, abs(n) + 1)), abs(int(n)) - part) for n in surplus]
        cropped = [end if n > 0 else (0, 0) for end, n in zip(ends, surplus, strict=True)]
        added = [end if n < 0 else (0, 0) for end, n in zip(ends, surplus, strict=True)]
        return layers.ZeroPadding2D(added)(layers.Cropping2D(cropped)(x))


def convolution(net):
    dilation = net.odds(1, 3)
    net.add(layers.Conv2D(1, net.odds(1, 4), dilation_rate=dilation, padding=net.padding(), use_bias=False))


def strided_convolution(net):
    steps = net.steps(3)
    kernel = net.odds(1, 5)
    net.add(layers.Conv2D(1, kernel, strides=steps, padding=net.padding(), use_bias=False), steps)


def depthwise(net):
    steps = (net.steps(2)[0],) * 2
    if net.ratio[0] != net.ratio[1]:
        steps = (1, 1)
    net.add(
        layers.DepthwiseConv2D(net.odds(1, 4), strides=steps, padding=net.padding(), use_bias=False), steps
    )


def separable(net):
    dilation = (int(net.rng.integers(1, 3)),) * 2
    kernel = net.odds(1, 4)
    net.add(layers.SeparableConv2D(1, kernel, dilation_rate=dilation, padding="same", use_bias=False))


def max_pooling(net):
    steps = net.steps(3)
    net.add(layers.MaxPooling2D(net.odds(1, 3), strides=steps, padding=net.padding()), steps)


def average_pooling(net):
    """Add average pooling over 1, 2 or 4 elements, so that means are exact."""
    steps = net.steps(2)
    size = tuple(int(n) for n in net.rng.choice([1, 2, 4], 2))
    net.add(layers.AveragePooling2D(size, strides=steps, padding=net.padding()), steps)


def enlarging(net):
    enlarge(net, net.odds(1, 2))


def enlarge(net, factors):
    """Enlarge by transposed convolution, by repetition, or bilinearly where that is exact."""
    kind = net.rng.integers(3)
    if kind == 0:
        kernel = tuple(factor + more for factor, more in zip(factors, net.odds(0, 3), strict=True))
        layer = layers.Conv2DTranspose(1, kernel, strides=factors, padding=net.padding(), use_bias=False)
    elif kind == 1 and set(factors) <= {1, 2, 4}:
        layer = layers.UpSampling2D(factors, interpolation="bilinear")
    else:
        layer = layers.UpSampling2D(factors)
    net.add(layer, tuple(Fraction(1, factor) for factor in factors))


def framing(net):
    """Crop real values and replace them with zeros."""
    ends = (net.odds(0, 2), net.odds(0, 2))
    net.add(layers.Cropping2D(ends))
    net.add(layers.ZeroPadding2D(ends))


def pointwise(net):
    net.add(layers.BatchNormalization(epsilon=1e-300))
    net.add(layers.Activation("linear"))
    net.add(layers.Dropout(0.5))


def branches(net):
    """Add two branches of one scale, cropped to one size and summed."""
    net.x = layers.Add()(two_ways(net))


def chosen_branches(net):
    """Add two branches, combined by their maximum or by a mix."""
    join = [layers.Maximum, layers.Concatenate][int(net.rng.integers(2))]
    net.x = layers.Conv2D(1, 1, use_bias=False)(join()(two_ways(net)))


def two_ways(net):
    ways = [
        layers.Conv2D(1, net.odds(1, 4), padding=net.padding(), use_bias=False)(net.x),
        layers.DepthwiseConv2D(net.odds(1, 3), padding=net.padding(), use_bias=False)(net.x),
    ]
    sizes = [net.size(way) for way in ways]
    return [net.cut(way, size - np.minimum(*sizes)) for way, size in zip(ways, sizes, strict=True)]


def nested(net):
    """Add a model used as a layer."""
    inner = Builder(net.rng, net.paddings)
    convolution(inner)
    pointwise(inner)
    net.add(keras.Model(inner.chip, inner.x))


LINEAR = (
    convolution,
    strided_convolution,
    depthwise,
    separable,
    average_pooling,
    enlarging,
    pointwise,
    branches,
    nested,
)
KINDS = (*LINEAR, max_pooling, chosen_branches, framing)


def random_network(seed, kinds=KINDS, paddings=("same", "valid")):
    """Build a network of one to six random parts whose maps have the chip's size."""
    rng = np.random.default_rng(seed)
    net = Builder(rng, paddings)
    for _ in range(int(rng.integers(1, 7))):
        kinds[int(rng.integers(len(kinds)))](net)
    enlarge(net, tuple(ratio.denominator for ratio in net.ratio))
    steps = tuple(ratio.numerator for ratio in net.ratio)
    net.add(layers.Conv2D(1, net.odds(1, 3), strides=steps, padding="same", use_bias=False), steps)
    model = keras.Model(net.chip, net.cut(net.x, net.size(net.x) - SIDE))
    whole_weights(model, rng)
    return model


def whole_weights(model, rng):
    """Set kernels to ones and twos, and batch normalization to a pure multiplication."""
    for variable in model.variables:
        if variable.name in ("beta", "moving_mean"):
            variable.assign(np.zeros(variable.shape))
        elif variable.name == "moving_variance":
            variable.assign(np.ones(variable.shape))
        elif "seed" not in variable.name:
            variable.assign(rng.integers(1, 3, variable.shape).astype(float))
