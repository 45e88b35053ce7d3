"""Compiled parts of the lattice-Boltzmann solver: nine velocities, two relaxation times, interpolated bounce-back.

Functions carry no annotations because numba compiles them. Populations ``f[i, y, x]`` are kept after the collision
and stand on a grid with a ring of one cell around it, which holds the periodic copies. Velocity i is
``(EX[i], EY[i])`` and ``OPPOSITE[i]`` its reverse; the lattice's units are one cell and one step, and the speed of
sound is ``1/sqrt 3``. Symbols: ``rho`` density, ``u, v`` velocity.
"""

import math

import numpy as np
from numba import njit

EX = np.array([0, 1, 0, -1, 0, 1, -1, -1, 1])
EY = np.array([0, 0, 1, 0, -1, 1, 1, -1, -1])
WEIGHT = np.array([4 / 9, 1 / 9, 1 / 9, 1 / 9, 1 / 9, 1 / 36, 1 / 36, 1 / 36, 1 / 36])
OPPOSITE = np.array([0, 3, 4, 1, 2, 7, 8, 5, 6])

CYLINDER, AEROFOIL, CUP = 0, 1, 2


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def equilibrium(rho, u, v, i):
    """Return population i of the second-order equilibrium (Qian, d'Humieres, Lallemand 1992)."""
    eu = EX[i] * u + EY[i] * v
    return WEIGHT[i] * rho * (1.0 + 3.0 * eu + 4.5 * eu * eu - 1.5 * (u * u + v * v))


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def wrap(f):
    """Copy the periodic neighbours into the ring around the grid."""
    ny, nx = f.shape[1] - 2, f.shape[2] - 2
    for i in range(9):
        for y in range(1, ny + 1):
            f[i, y, 0] = f[i, y, nx]
            f[i, y, nx + 1] = f[i, y, 1]
        for x in range(nx + 2):
            f[i, 0, x] = f[i, ny, x]
            f[i, ny + 1, x] = f[i, 1, x]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def stream_collide(f, g, even, odd):
    """Fill ``g`` with the populations one step later: each cell pulls from its neighbours in ``f`` and collides.

    Two relaxation times (Ginzburg, Verhaeghe, d'Humieres, Commun. Comput. Phys. 3 (2008), equation 8): the even part of
    each pair of populations relaxes with rate ``even``, which sets the viscosity, the odd part with ``odd``.
    """
    ny, nx = f.shape[1] - 2, f.shape[2] - 2
    for y in range(1, ny + 1):
        f0, f1, f2, f3, f4 = f[0, y], f[1, y], f[2, y - 1], f[3, y], f[4, y + 1]
        f5, f6, f7, f8 = f[5, y - 1], f[6, y - 1], f[7, y + 1], f[8, y + 1]
        g0, g1, g2, g3, g4 = g[0, y], g[1, y], g[2, y], g[3, y], g[4, y]
        g5, g6, g7, g8 = g[5, y], g[6, y], g[7, y], g[8, y]
        for x in range(1, nx + 1):
            a0, a1, a2, a3, a4 = f0[x], f1[x - 1], f2[x], f3[x + 1], f4[x]
            a5, a6, a7, a8 = f5[x - 1], f6[x + 1], f7[x + 1], f8[x - 1]
            rho = a0 + ((a1 + a3) + (a2 + a4)) + ((a5 + a7) + (a6 + a8))
            u = ((a1 - a3) + ((a5 - a7) + (a8 - a6))) / rho
            v = ((a2 - a4) + ((a5 - a7) - (a8 - a6))) / rho
            rest = 1.0 - 1.5 * (u * u + v * v)
            straight, slant = rho / 9.0, rho / 36.0
            p, m = u + v, u - v
            g0[x] = a0 - even * (a0 - 4.0 * straight * rest)
            s = even * (0.5 * (a1 + a3) - straight * (rest + 4.5 * u * u))
            d = odd * (0.5 * (a1 - a3) - straight * 3.0 * u)
            g1[x] = a1 - s - d
            g3[x] = a3 - s + d
            s = even * (0.5 * (a2 + a4) - straight * (rest + 4.5 * v * v))
            d = odd * (0.5 * (a2 - a4) - straight * 3.0 * v)
            g2[x] = a2 - s - d
            g4[x] = a4 - s + d
            s = even * (0.5 * (a5 + a7) - slant * (rest + 4.5 * p * p))
            d = odd * (0.5 * (a5 - a7) - slant * 3.0 * p)
            g5[x] = a5 - s - d
            g7[x] = a7 - s + d
            s = even * (0.5 * (a8 + a6) - slant * (rest + 4.5 * m * m))
            d = odd * (0.5 * (a8 - a6) - slant * 3.0 * m)
            g8[x] = a8 - s - d
            g6[x] = a6 - s + d


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def calm(f, strength, speed):
    """Pull the populations of the columns with ``strength > 0`` towards the undisturbed stream (a sponge)."""
    ny = f.shape[1] - 2
    for i in range(9):
        free = equilibrium(1.0, speed, 0.0, i)
        for y in range(1, ny + 1):
            for x in range(strength.shape[0]):
                if strength[x] > 0.0:
                    f[i, y, x + 1] += strength[x] * (free - f[i, y, x + 1])


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def inside(shape, size, x, y):
    """Say whether a point of the body's own frame is solid.

    CYLINDER of radius ``size[0]``; CUP: all beyond that radius; AEROFOIL: symmetric NACA four-digit section of chord
    ``size[0]`` and thickness ratio ``size[1]``, closed at the trailing edge, turning ``size[2]`` chords behind the
    leading edge.
    """
    if shape == CYLINDER:
        return x * x + y * y <= size[0] * size[0]
    if shape == CUP:
        return x * x + y * y >= size[0] * size[0]
    s = x / size[0] + size[2]
    if s < 0.0 or s > 1.0:
        return False
    half = 0.2969 * math.sqrt(s) + s * (-0.1260 + s * (-0.3516 + s * (0.2843 - 0.1036 * s)))
    return abs(y) <= 5.0 * size[1] * size[0] * half


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def solid_at(shape, size, pose, x, y):
    """Say whether a grid point is solid; ``pose`` is centre x, y and angle (nose up for positive)."""
    c, s = math.cos(pose[2]), math.sin(pose[2])
    dx, dy = x - pose[0], y - pose[1]
    return inside(shape, size, c * dx - s * dy, s * dx + c * dy)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def find_links(shape, size, pose, box, solid, links, shares):
    """Mark the solid cells in ``box`` and list the links from fluid into solid cells; return their number.

    Row n of ``links`` is y, x of the fluid cell and the velocity i that runs into the body; ``shares[n]`` is the
    part of the link that lies in the fluid, found by bisection to 2^-20.
    """
    y0, y1, x0, x1 = box
    for y in range(y0 - 1, y1 + 1):
        for x in range(x0 - 1, x1 + 1):
            solid[y, x] = solid_at(shape, size, pose, float(x), float(y))
    count = 0
    for y in range(y0, y1):
        for x in range(x0, x1):
            if solid[y, x]:
                continue
            for i in range(1, 9):
                if solid[y + EY[i], x + EX[i]]:
                    low, high = 0.0, 1.0
                    for _ in range(20):
                        half = 0.5 * (low + high)
                        if solid_at(shape, size, pose, x + half * EX[i], y + half * EY[i]):
                            high = half
                        else:
                            low = half
                    links[count, 0], links[count, 1], links[count, 2] = y, x, i
                    shares[count] = 0.5 * (low + high)
                    count += 1
    return count


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def bounce(f, links, shares, count, solid, centre, spin, force):
    """Write into the solid end of each link what the body sends back, and add up force and torque on the body.

    Linear interpolated bounce-back of a moving wall (Bouzidi, Firdaouss, Lallemand, Phys. Fluids 13 (2001), equation
    5; half-way where the cell behind is solid). The wall turns about ``centre`` with ``spin``,
    counter-clockwise. Momentum exchange in the frame of the wall (Wen et al., J. Comput. Phys. 266
    (2014), equation 18). The populations stand after the collision, before streaming.
    """
    for n in range(count):
        y, x, i = links[n, 0], links[n, 1], links[n, 2]
        back, q = OPPOSITE[i], shares[n]
        px, py = x + q * EX[i] - centre[0], y + q * EY[i] - centre[1]
        wu, wv = -spin * py, spin * px
        rho = 0.0
        for j in range(9):
            rho += f[j, y, x]
        push = 6.0 * WEIGHT[i] * rho * (EX[back] * wu + EY[back] * wv)
        out = f[i, y, x]
        if q < 0.5 and solid[y - EY[i], x - EX[i]]:
            sent = out + push
        elif q < 0.5:
            sent = 2.0 * q * out + (1.0 - 2.0 * q) * f[i, y - EY[i], x - EX[i]] + push
        else:
            sent = (out + (2.0 * q - 1.0) * f[back, y, x] + push) / (2.0 * q)
        f[back, y + EY[i], x + EX[i]] = sent
        fx = (EX[i] - wu) * out - (EX[back] - wu) * sent
        fy = (EY[i] - wv) * out - (EY[back] - wv) * sent
        force[0] += fx
        force[1] += fy
        force[2] += px * fy - py * fx


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def still(f, solid, box):
    """Keep solid cells at rest, so that nothing grows where no fluid is."""
    y0, y1, x0, x1 = box
    for y in range(y0, y1):
        for x in range(x0, x1):
            if solid[y, x]:
                for i in range(9):
                    f[i, y, x] = WEIGHT[i]


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def uncover(f, before, solid, box, centre, spin):
    """Fill cells that the body has left with the equilibrium of the wall's velocity and the neighbours' density."""
    y0, y1, x0, x1 = box
    for y in range(y0, y1):
        for x in range(x0, x1):
            if before[y, x] and not solid[y, x]:
                total, found = 0.0, 0
                for i in range(1, 9):
                    if not solid[y + EY[i], x + EX[i]] and not before[y + EY[i], x + EX[i]]:
                        found += 1
                        for j in range(9):
                            total += f[j, y + EY[i], x + EX[i]]
                rho = total / found if found else 1.0
                for i in range(9):
                    f[i, y, x] = equilibrium(rho, -spin * (y - centre[1]), spin * (x - centre[0]), i)


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def velocity(f, y, x):
    """Return velocity and density of one cell; the collision conserves both."""
    rho, u, v = 0.0, 0.0, 0.0
    for i in range(9):
        rho += f[i, y, x]
        u += EX[i] * f[i, y, x]
        v += EY[i] * f[i, y, x]
    return u / rho, v / rho, rho


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def probe(f, places, sums):
    """Add the velocity u, v of each place (y, x) to ``sums``."""
    for p in range(places.shape[0]):
        u, v, _ = velocity(f, places[p, 0], places[p, 1])
        sums[2 * p] += u
        sums[2 * p + 1] += v


@njit(cache=True, nogil=True, error_model="numpy", fastmath=False)
def velocities(f, u, v):
    """Fill the velocity of every cell inside the ring."""
    for y in range(u.shape[0]):
        for x in range(u.shape[1]):
            u[y, x], v[y, x], _ = velocity(f, y + 1, x + 1)
