"""Loops over amplitudes compiled by numba. Imported where an engine runs, never at the top."""

from __future__ import annotations

from math import cos, sin
from typing import Any, NamedTuple

import numpy as np

from quantum_rerank.compiling import compiled, inlined, njit_strict


class Entangler(NamedTuple):
    """The gates between the rotations of two layers.

    Attributes:
        order: (2**n,), the source of each amplitude in the CNOT chain, or empty.
        edges: (n_layers, e, 3), bit masks and column of each ZZ; a column below 0 is none.
    """

    order: Any
    edges: Any


class Blocks(NamedTuple):
    """The texts of a call, and the blocks in which they are simulated.

    Attributes:
        n_qubits: Number of qubits.
        block: Texts at a time.
        width: The longest run of one loop, at least a block.
        first: The first text.
        last: The text after the last.
    """

    n_qubits: int
    block: int
    width: int
    first: int
    last: int


@compiled
def weighted(angles: Any, weights: Any, n_shifts: int, out: Any) -> None:
    """Compute `Weights.columns` into out (batch, n_columns)."""
    n_angles = angles.shape[1]
    for row in range(angles.shape[0]):
        for column in range(n_angles):
            out[row, column] = weights[column] * angles[row, column]
        for column in range(n_shifts):
            out[row, column] += weights[n_angles + column]
        for column in range(n_angles, out.shape[1]):
            out[row, column] = weights[n_shifts + column]


@compiled
def squared_moduli(amplitudes: Any, out: Any) -> None:
    """Compute |a|^2 of complex numbers, (n, m)."""
    for row in range(amplitudes.shape[0]):
        for column in range(amplitudes.shape[1]):
            a = amplitudes[row, column]
            out[row, column] = a.real * a.real + a.imag * a.imag


@compiled
def twice_scaled(amplitudes: Any, factors: Any, out: Any) -> None:
    """Compute 2 f a of complex numbers a and real numbers f, (n, m)."""
    for row in range(amplitudes.shape[0]):
        for column in range(amplitudes.shape[1]):
            out[row, column] = 2 * factors[row, column] * amplitudes[row, column]


@compiled
def through_weights(
    gradient: Any, angles: Any, weights: Any, n_shifts: int, of_angles: Any, of_weights: Any
) -> None:
    """Pull a gradient of every gate's angle back through `Weights.columns`.

    Args:
        gradient: (batch, n_columns).
        angles: (batch, n_angles).
        weights: (n,).
        n_shifts: Number of shifts among the weights.
        of_angles: Output, (batch, n_angles).
        of_weights: Output, (n,), zero at first.
    """
    n_angles = angles.shape[1]
    for row in range(gradient.shape[0]):
        for column in range(n_angles):
            of_angles[row, column] = gradient[row, column] * weights[column]
            of_weights[column] += gradient[row, column] * angles[row, column]
        for column in range(n_shifts):
            of_weights[n_angles + column] += gradient[row, column]
        for column in range(n_angles, gradient.shape[1]):
            of_weights[n_shifts + column] += gradient[row, column]


@compiled
def layer_gradients(psi: Any, cotangent: Any, angles: Any, edges: Any, out: Any) -> None:
    """Compute gradients of every gate, from states and cotangents after each layer's rotations.

    RY stands before RZ(z): after both, its generator is Y cos z - X sin z.

    Args:
        psi: (batch, n_layers, 2**n) complex.
        cotangent: (batch, n_layers, 2**n) complex.
        angles: (batch, n_columns).
        edges: (n_layers, e, 3), see `Entangler`.
        out: Output, (batch, n_columns).
    """
    batch, n_layers, dimension = psi.shape
    n_qubits = 0
    while 1 << n_qubits < dimension:
        n_qubits += 1
    for row in range(batch):
        for layer in range(n_layers):
            state, pulled = psi[row, layer], cotangent[row, layer]
            first = 2 * n_qubits * layer
            for q in range(n_qubits):
                x, y, z = _turned_by(state, pulled, dimension >> (q + 1))
                angle = angles[row, first + n_qubits + q]
                out[row, first + q] = 0.5 * (cos(angle) * y - sin(angle) * x)
                out[row, first + n_qubits + q] = 0.5 * z
            for left, right, column in edges[layer]:
                if column >= 0:
                    total = 0.0
                    for k in range(dimension):
                        a, c = state[k], pulled[k]
                        total += _sign(k, left, right) * (c.real * a.imag - c.imag * a.real)
                    out[row, column] = 0.5 * total


@inlined
def _turned_by(psi: Any, cotangent: Any, stride: int) -> tuple[float, float, float]:
    """Return Im <cotangent| P |psi> for P = X, Y, Z of the qubit of a stride of amplitudes."""
    x = y = z = 0.0
    for base in range(0, psi.shape[0], 2 * stride):
        for k in range(base, base + stride):
            a, b = psi[k], psi[k + stride]
            c, d = cotangent[k], cotangent[k + stride]
            z += c.real * a.imag - c.imag * a.real - d.real * b.imag + d.imag * b.real
            x += c.real * b.imag - c.imag * b.real + d.real * a.imag - d.imag * a.real
            y += d.real * a.real + d.imag * a.imag - c.real * b.real - c.imag * b.imag
    return x, y, z


@inlined
def _sign(k: int, left: int, right: int) -> int:
    """Return the eigenvalue of ZZ for amplitude k."""
    return 1 if ((k & left) == 0) == ((k & right) == 0) else -1


# The batched state vector. Amplitude k of text t of a block stands at [k * block + t], real and
# imaginary parts apart: a rotation of a qubit combines two runs of neighbouring numbers, which
# the compiler turns into SIMD instructions. A run longer than the block meets each text several
# times; so the cosines and sines of a gate's half angles are repeated to the run's length.


@njit_strict
def half_angles(angles: Any, cosines: Any, sines: Any) -> None:
    """Compute cosines and sines of half the angles, (batch, n_columns) -> (n_columns, batch).

    A call of the C library per angle would take longer than the simulation. Instead:
    x / 2 = k pi / 2 + r with |r| <= pi / 4 by Cody and Waite's reduction, and the polynomials
    of fdlibm (k_sin.c, k_cos.c), in double precision; the error is below 1e-15 for |x| < 1e5.
    Without fast-math, which would undo the reduction.
    """
    batch, n_columns = angles.shape
    for column in range(n_columns):
        for t in range(batch):  # transposed first, so that the next loop reads neighbouring numbers
            sines[column, t] = angles[t, column]
        for t in range(batch):
            x = 0.5 * sines[column, t]
            k = np.floor(x * 0.6366197723675814 + 0.5)
            r = x - k * 1.5707963267341256 - k * 6.077100506303966e-11
            r -= k * 2.0222662487959506e-21
            z = r * r
            sine = r + r * z * (
                -1.66666666666666324348e-01 + z * (8.33333333332248946124e-03 + z * (
                -1.98412698298579493134e-04 + z * (2.75573137070700676789e-06 + z * (
                -2.50507602534068634195e-08 + z * 1.58969099521155010221e-10)))))  # fmt: skip
            cosine = 1.0 - 0.5 * z + z * z * (
                4.16666666666666019037e-02 + z * (-1.38888888888741095749e-03 + z * (
                2.48015872894767294178e-05 + z * (-2.75573143513906633035e-07 + z * (
                2.08757232129817482790e-09 - z * 1.13596475577881948265e-11)))))  # fmt: skip
            quarter = k - 4.0 * np.floor(0.25 * k)
            swapped = quarter == 1.0 or quarter == 3.0  # noqa: PLR1714
            c, s = (sine, cosine) if swapped else (cosine, sine)
            cosines[column, t] = -c if quarter == 1.0 or quarter == 2.0 else c  # noqa: PLR1714
            sines[column, t] = -s if quarter >= 2.0 else s


@inlined
def _run(block: int, span: int, width: int) -> int:
    """Return the longest run up to `width` in a span of a power of 2 of blocks."""
    run = block
    while run < span and 2 * run <= width:
        run *= 2
    return run


@inlined
def _repeat(source: Any, block: int, run: int, out: Any) -> None:
    """Fill out[j] = source[j % block] for j < run; texts beyond the source do not matter."""
    count = source.shape[0]
    for t in range(count):
        out[t] = source[t]
    for t in range(count, block):
        out[t] = 1
    done = block
    while done < run:
        for t in range(done):
            out[done + t] = out[t]
        done *= 2


@inlined
def _repeat_both(cosines: Any, sines: Any, block: int, run: int, out: Any) -> None:
    """Fill both arrays of `out` by `_repeat`."""
    repeated_cosines, repeated_sines = out
    _repeat(cosines, block, run, repeated_cosines)
    _repeat(sines, block, run, repeated_sines)


@inlined
def _rotate(zero: Any, flipped: Any, y: Any, z: Any) -> None:
    """Apply RY, then RZ, to the amplitudes of qubit 0 and qubit 1.

    Args:
        zero: Real and imaginary parts of the amplitudes whose qubit is 0.
        flipped: The same of the amplitudes whose qubit is 1.
        y: Cosines and sines of half the angles of RY.
        z: The same of RZ.
    """
    a_re, a_im = zero
    b_re, b_im = flipped
    cy, sy = y
    cz, sz = z
    for t in range(cy.shape[0]):
        ar = cy[t] * a_re[t] - sy[t] * b_re[t]
        ai = cy[t] * a_im[t] - sy[t] * b_im[t]
        br = sy[t] * a_re[t] + cy[t] * b_re[t]
        bi = sy[t] * a_im[t] + cy[t] * b_im[t]
        a_re[t] = cz[t] * ar + sz[t] * ai
        a_im[t] = cz[t] * ai - sz[t] * ar
        b_re[t] = cz[t] * br - sz[t] * bi
        b_im[t] = cz[t] * bi + sz[t] * br


@inlined
def _rotate_back(psi: Any, cotangent: Any, y: Any, z: Any) -> None:
    """Undo RZ and RY on state and cotangent, adding up twice their gradients on the way.

    Args:
        psi: Real and imaginary parts of the amplitudes whose qubit is 0, then of those whose
            qubit is 1.
        cotangent: The same of the cotangent.
        y: Cosines and sines of half the angles of RY, and their gradients.
        z: The same of RZ.
    """
    a_re, a_im, b_re, b_im = psi
    c_re, c_im, d_re, d_im = cotangent
    cy, sy, gy = y
    cz, sz, gz = z
    for t in range(cy.shape[0]):
        gz[t] += c_re[t] * a_im[t] - c_im[t] * a_re[t] - d_re[t] * b_im[t] + d_im[t] * b_re[t]
        ar = cz[t] * a_re[t] - sz[t] * a_im[t]
        ai = cz[t] * a_im[t] + sz[t] * a_re[t]
        br = cz[t] * b_re[t] + sz[t] * b_im[t]
        bi = cz[t] * b_im[t] - sz[t] * b_re[t]
        cr = cz[t] * c_re[t] - sz[t] * c_im[t]
        ci = cz[t] * c_im[t] + sz[t] * c_re[t]
        dr = cz[t] * d_re[t] + sz[t] * d_im[t]
        di = cz[t] * d_im[t] - sz[t] * d_re[t]
        gy[t] += dr * ar + di * ai - cr * br - ci * bi
        a_re[t] = cy[t] * ar + sy[t] * br
        a_im[t] = cy[t] * ai + sy[t] * bi
        b_re[t] = cy[t] * br - sy[t] * ar
        b_im[t] = cy[t] * bi - sy[t] * ai
        c_re[t] = cy[t] * cr + sy[t] * dr
        c_im[t] = cy[t] * ci + sy[t] * di
        d_re[t] = cy[t] * dr - sy[t] * cr
        d_im[t] = cy[t] * di - sy[t] * ci


@inlined
def _apply_zz(re: Any, im: Any, c: Any, s: Any, sign: float) -> None:
    """Multiply amplitudes by c - i sign s."""
    for t in range(c.shape[0]):
        real = c[t] * re[t] + sign * s[t] * im[t]
        im[t] = c[t] * im[t] - sign * s[t] * re[t]
        re[t] = real


@inlined
def _turn_back(psi: Any, cotangent: Any, zz: Any, sign: float) -> None:
    """Undo `_apply_zz` on state and cotangent, adding up twice the angle's gradient.

    Args:
        psi: Real and imaginary parts of amplitudes.
        cotangent: The same of the cotangent.
        zz: Cosines and sines of half the angles, and their gradients.
        sign: Eigenvalue of ZZ for the amplitudes.
    """
    re, im = psi
    c_re, c_im = cotangent
    c, s, gradient = zz
    for t in range(c.shape[0]):
        gradient[t] += sign * (c_re[t] * im[t] - c_im[t] * re[t])
    _apply_zz(re, im, c, s, -sign)
    _apply_zz(c_re, c_im, c, s, -sign)


@inlined
def _collect(gradient: Any, run: int, block: int, count: int, out: Any) -> None:
    """Compute out[t], half of the sum that a run has added up for text t."""
    for t in range(count):
        total = gradient[t]
        for j in range(t + block, run, block):
            total += gradient[j]
        out[t] = total / 2


@inlined
def _load(states: Any, block: int, re: Any, im: Any) -> None:
    """Lay the states of texts out by amplitude; the rest of the block is zero."""
    count = states.shape[0]
    for k in range(states.shape[1]):
        at = k * block
        for t in range(count):
            re[at + t] = states[t, k].real
            im[at + t] = states[t, k].imag
        for t in range(count, block):
            re[at + t] = im[at + t] = 0


@inlined
def _reordered(amplitudes: Any, spare: Any, order: Any, block: int) -> None:
    """Fill spare[k] = amplitudes[order[k]], block by block."""
    for k in range(order.shape[0]):
        source, target = order[k] * block, k * block
        for t in range(block):
            spare[target + t] = amplitudes[source + t]


@compiled
def forward(cosines: Any, sines: Any, entangler: Any, blocks: Any, out: Any) -> None:
    """Simulate the states of some texts.

    Args:
        cosines: (n_columns, batch), of half the angles.
        sines: (n_columns, batch), of half the angles.
        entangler: An `Entangler`.
        blocks: The texts, as `Blocks`.
        out: Output, (batch, 2**n) complex.
    """
    order, edges = entangler
    n_qubits, block, width, first, last = blocks
    dimension = 1 << n_qubits
    re = np.empty(dimension * block, cosines.dtype)
    im = np.empty(dimension * block, cosines.dtype)
    spare = np.empty(dimension * block, cosines.dtype)
    cy, sy = np.empty(width, cosines.dtype), np.empty(width, cosines.dtype)
    cz, sz = np.empty(width, cosines.dtype), np.empty(width, cosines.dtype)
    for start in range(first, last, block):
        count = min(block, last - start)
        texts = slice(start, start + count)
        re[:] = 0
        im[:] = 0
        re[:block] = 1
        for layer in range(edges.shape[0]):
            for q in range(n_qubits - 1, -1, -1):
                half = block << (n_qubits - 1 - q)
                run = _run(block, half, width)
                y = 2 * n_qubits * layer + q
                z = y + n_qubits
                _repeat_both(cosines[y, texts], sines[y, texts], block, run, (cy, sy))
                _repeat_both(cosines[z, texts], sines[z, texts], block, run, (cz, sz))
                # In the first layer the qubits not yet turned are 0, and so are all amplitudes
                # beyond these.
                filled = dimension * block if layer else 2 * half
                for base in range(0, filled, 2 * half):
                    for a in range(base, base + half, run):
                        b = a + half
                        _rotate(
                            (re[a : a + run], im[a : a + run]),
                            (re[b : b + run], im[b : b + run]),
                            (cy[:run], sy[:run]),
                            (cz[:run], sz[:run]),
                        )
            if order.shape[0]:
                _reordered(re, spare, order, block)
                re, spare = spare, re
                _reordered(im, spare, order, block)
                im, spare = spare, im
            for left, right, column in edges[layer]:
                if column >= 0:
                    span = block * min(left, right)
                    run = _run(block, span, width)
                    _repeat_both(cosines[column, texts], sines[column, texts], block, run, (cz, sz))
                    for base in range(0, dimension * block, span):
                        sign = _sign(base // block, left, right)
                        for a in range(base, base + span, run):
                            _apply_zz(re[a : a + run], im[a : a + run], cz[:run], sz[:run], sign)
        _store(re, im, block, out[texts])


@inlined
def _store(re: Any, im: Any, block: int, out: Any) -> None:
    """Write the states of a block, out (texts, 2**n) complex."""
    for k in range(out.shape[1]):
        for t in range(out.shape[0]):
            out[t, k] = complex(re[k * block + t], im[k * block + t])


@inlined
def _undo_zz(psi: Any, cotangent: Any, zz: Any, gate: Any, block: int) -> None:
    """Undo a ZZ gate on state and cotangent, adding up twice its gradient.

    Args:
        psi: Real and imaginary parts of all amplitudes.
        cotangent: The same of the cotangent.
        zz: Cosines and sines of half the angles, and their gradients, for a run each.
        gate: Bit masks of both qubits.
        block: Texts at a time.
    """
    re, im = psi
    c_re, c_im = cotangent
    left, right = gate
    run = zz[0].shape[0]
    span = block * min(left, right)
    for base in range(0, re.shape[0], span):
        sign = _sign(base // block, left, right)
        for a in range(base, base + span, run):
            b = a + run
            _turn_back((re[a:b], im[a:b]), (c_re[a:b], c_im[a:b]), zz, sign)


@compiled
def backward(cosines: Any, sines: Any, entangler: Any, blocks: Any, pulled: Any, out: Any) -> None:
    """Compute the gradients of some texts.

    State and cotangent are both carried back to the start: only the final states are kept
    between the passes.

    Args:
        cosines: (n_columns, batch), of half the angles.
        sines: (n_columns, batch), of half the angles.
        entangler: An `Entangler` with the inverse order of `forward`.
        blocks: The texts, as `Blocks`.
        pulled: States and cotangents, (batch, 2**n) complex each.
        out: Output, (batch, n_columns).
    """
    order, edges = entangler
    n_qubits, block, width, first, last = blocks
    states, cotangents = pulled
    size = block << n_qubits
    re, im = np.empty(size, cosines.dtype), np.empty(size, cosines.dtype)
    c_re, c_im = np.empty(size, cosines.dtype), np.empty(size, cosines.dtype)
    spare = np.empty(size, cosines.dtype)
    cy, sy = np.empty(width, cosines.dtype), np.empty(width, cosines.dtype)
    cz, sz = np.empty(width, cosines.dtype), np.empty(width, cosines.dtype)
    gy, gz = np.empty(width, cosines.dtype), np.empty(width, cosines.dtype)
    for start in range(first, last, block):
        count = min(block, last - start)
        texts = slice(start, start + count)
        _load(states[texts], block, re, im)
        _load(cotangents[texts], block, c_re, c_im)
        for layer in range(edges.shape[0] - 1, -1, -1):
            for left, right, column in edges[layer]:
                if column >= 0:
                    run = _run(block, block * min(left, right), width)
                    _repeat_both(cosines[column, texts], sines[column, texts], block, run, (cz, sz))
                    gz[:run] = 0
                    zz = (cz[:run], sz[:run], gz[:run])
                    _undo_zz((re, im), (c_re, c_im), zz, (left, right), block)
                    _collect(gz, run, block, count, out[start:, column])
            if order.shape[0]:
                _reordered(re, spare, order, block)
                re, spare = spare, re
                _reordered(im, spare, order, block)
                im, spare = spare, im
                _reordered(c_re, spare, order, block)
                c_re, spare = spare, c_re
                _reordered(c_im, spare, order, block)
                c_im, spare = spare, c_im
            for q in range(n_qubits):
                half = block << (n_qubits - 1 - q)
                run = _run(block, half, width)
                y = 2 * n_qubits * layer + q
                z = y + n_qubits
                _repeat_both(cosines[y, texts], sines[y, texts], block, run, (cy, sy))
                _repeat_both(cosines[z, texts], sines[z, texts], block, run, (cz, sz))
                gy[:run] = 0
                gz[:run] = 0
                turned = (cy[:run], sy[:run], gy[:run]), (cz[:run], sz[:run], gz[:run])
                _undo_rotations((re, im), (c_re, c_im), turned, half)
                _collect(gy, run, block, count, out[start:, y])
                _collect(gz, run, block, count, out[start:, z])


@inlined
def _undo_rotations(psi: Any, cotangent: Any, turned: Any, half: int) -> None:
    """Undo RZ and RY of a qubit on state and cotangent, adding up twice their gradients.

    Args:
        psi: Real and imaginary parts of all amplitudes.
        cotangent: The same of the cotangent.
        turned: Cosines and sines of half the angles, and their gradients, of RY and of RZ.
        half: Distance of the amplitudes that differ in the qubit.
    """
    re, im = psi
    c_re, c_im = cotangent
    y, z = turned
    run = y[0].shape[0]
    for base in range(0, re.shape[0], 2 * half):
        for a in range(base, base + half, run):
            b = a + half
            _rotate_back(
                (re[a : a + run], im[a : a + run], re[b : b + run], im[b : b + run]),
                (c_re[a : a + run], c_im[a : a + run], c_re[b : b + run], c_im[b : b + run]),
                y,
                z,
            )
