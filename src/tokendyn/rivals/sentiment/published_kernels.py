"""Compiled passes of the published model: softmax layers of one text after another, forward and backward.

Symbols: ``z`` tokens of one text, ``m`` how often each occurs, ``N = sum m``, ``c = 1/(1+alpha)``,
``h = 1-c``, ``T`` the temperature, ``u_i`` the mean that token i attends to, ``K`` layers.
Functions carry no annotations because numba compiles them.

Scores are canonical: left to right, unfused. A key whose score lies more than ``reach`` below the row's best
is *skipped*; the others are the row's *survivors*. With ``reach = (DEPTH + log N) T`` the skipped keys hold at
most ``N e^-(DEPTH + log N) = e^-39 < 1.2e-17`` of a row's mass, less than a tenth of the rounding of 1 in float64:
``|u_i - exact| <= 2.4e-17 max|z|``. In the gradient what is skipped is at most ``2 max|z|^2 / T`` times that, a
relative 2.4e-14 at T = 0.001 and tokens of norm 1. With ``reach = 0`` the survivors are the leaders.
"""

import math

import numba
import numpy as np

_compiled = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath=False)

DEPTH = 39.0
LANES = 16


@_compiled
def score_all(zt, n, s, top):
    """Fill the scores ``s[j, r] = <z_j, z_r>`` and the largest score ``top[r]`` of every token.

    ``zt`` is ``(d, width)``, NaN past n: such scores reach nothing. The innermost loops run over tokens, so they
    vectorise without reassociation, and end at a multiple of ``LANES``, past which they would take one number at
    a time; for d = 2 two rows share what is loaded.
    """
    d = zt.shape[0]
    end = padded(n)
    for r in range(end):
        top[r] = -np.inf
    z0, z1 = zt[0], zt[min(1, d - 1)]
    for j in range(0, n, 2):
        row, next_row = s[j], s[j + 1]
        if d == 2:
            q0, q1, k0, k1 = z0[j], z1[j], z0[j + 1], z1[j + 1]
            for r in range(end):
                score, other, best = q0 * z0[r] + q1 * z1[r], k0 * z0[r] + k1 * z1[r], top[r]
                row[r] = score
                next_row[r] = other
                best = score if score > best else best
                top[r] = other if other > best else best
        else:
            score_row(zt, j, end, row)
            score_row(zt, j + 1, end, next_row)
            for r in range(end):
                score, other, best = row[r], next_row[r], top[r]
                best = score if score > best else best
                top[r] = other if other > best else best


@_compiled
def score_row(zt, j, end, row):
    """Fill one row of scores: first, by the dimension, one to four coordinates, then four at a time."""
    d = zt.shape[0]
    first = (d - 1) % 4 + 1
    z0 = zt[0]
    q0 = z0[j]
    if first == 4:
        z1, z2, z3 = zt[1], zt[2], zt[3]
        q1, q2, q3 = z1[j], z2[j], z3[j]
        for r in range(end):
            row[r] = ((q0 * z0[r] + q1 * z1[r]) + q2 * z2[r]) + q3 * z3[r]
    else:
        for r in range(end):
            row[r] = q0 * z0[r]
        for a in range(1, first):
            z0 = zt[a]
            q0 = z0[j]
            for r in range(end):
                row[r] = row[r] + q0 * z0[r]
    for a in range(first, d, 4):
        z0, z1, z2, z3 = zt[a], zt[a + 1], zt[a + 2], zt[a + 3]
        q0, q1, q2, q3 = z0[j], z1[j], z2[j], z3[j]
        for r in range(end):
            row[r] = (((row[r] + q0 * z0[r]) + q1 * z1[r]) + q2 * z2[r]) + q3 * z3[r]


@_compiled
def score_moved(zt, n, s, top, moved):
    """Bring the scores of the layer before up to date when only the tokens ``moved`` have moved; same bits."""
    end = padded(n)
    for j in moved:
        row = s[j]
        score_row(zt, j, end, row)
        for r in range(n):
            s[r, j] = row[r]
    for r in range(end):
        top[r] = -np.inf
    for j in range(n):
        row = s[j]
        for r in range(end):
            score, best = row[r], top[r]
            top[r] = score if score > best else best


@_compiled
def padded(n):
    """Return the next multiple of ``LANES``."""
    return (n + LANES - 1) // LANES * LANES


@_compiled
def count_survivors(row, n, least):
    """Return the number of scores of at least ``least``, and the sum of their indices."""
    count, places = 0, 0
    for j in range(padded(n)):
        reached = 1 if row[j] >= least else 0
        count += reached
        places += j * reached
    return count, places


@_compiled
def weigh(row, n, least, top, sharpness, m, who, share):
    """Write the survivors of one row and their unnormalised weights ``m_j exp((s_j - top)/T)``; return the sum."""
    count = 0
    for j in range(n):
        if row[j] >= least:
            who[count] = j
            share[count] = row[j] - top
            count += 1
    total = 0.0
    for q in range(count):
        share[q] = m[who[q]] * math.exp(sharpness * share[q])
        total += share[q]
    return total


@_compiled
def all_equal(z, who):
    """Return whether all tokens in a list stand at the same place."""
    for q in range(1, who.shape[0]):
        for a in range(z.shape[1]):
            if z[who[q], a] != z[who[0], a]:
                return False
    return True


@_compiled
def follow_mean(z, i, h, who, share, total, same, out):
    """Move token i towards the weighted mean of its survivors, exactly one point if ``same``; normalise."""
    for a in range(z.shape[1]):
        u = 0.0
        for q in range(who.shape[0]):
            u += share[q] * z[who[q], a]
        u = z[who[0], a] if same else u / total
        out[i, a] = z[i, a] + h * (u - z[i, a])
    for q in range(who.shape[0]):
        share[q] /= total


@_compiled
def place_tokens(z, n, zt, again):
    """Write the tokens coordinate by coordinate; return which of them differ from what was there before."""
    d = z.shape[1]
    moved = np.empty(n, np.int64)
    count = 0
    for i in range(n):
        same = again
        for a in range(d):
            same = same and zt[a, i] == z[i, a]
            zt[a, i] = z[i, a]
        if not same:
            moved[count] = i
            count += 1
    for a in range(d):
        for i in range(n, padded(n)):
            zt[a, i] = np.nan
    return moved[:count]


@_compiled
def layer(z, m, n, h, sharpness, reach, out, zt, s, top, start, who, share, used, again):
    """Move all tokens by one layer, ``z_i + h (u_i - z_i)``; append the survivors of each row; return their end.

    Row i owns ``who[start[i]:start[i+1]]`` with the normalised weights ``share``. If ``again``, then ``zt``, ``s``
    and ``top`` are those of the layer before: a token that leads itself alone stays, and its scores are kept.
    """
    d = z.shape[1]
    moved = place_tokens(z, n, zt, again)
    if again and d > 4 and 2 * moved.shape[0] < n:
        score_moved(zt, n, s, top, moved)
    else:
        score_all(zt, n, s, top)
    start[0] = used
    for i in range(n):
        least = top[i] - reach
        count, place = count_survivors(s[i], n, least)
        if count == 1:
            who[used] = place
            share[used] = 1.0
            for a in range(d):
                out[i, a] = z[i, a] + h * (z[place, a] - z[i, a])
        else:
            these, p = who[used : used + count], share[used : used + count]
            total = weigh(s[i], n, least, top[i], sharpness, m, these, p)
            follow_mean(z, i, h, these, p, total, reach == 0.0 and all_equal(z, these), out)
        used += count
        start[i + 1] = used
    return used


@_compiled
def layer_back(z, n, h, sharpness, start, who, share, g, out, slope):
    """Write ``out``, the gradient before a layer, from ``g``, the one after it.

    With ``b_ij = p_ij (<h g_i, z_j> - <h g_i, u_i>) / T``:
    ``out_i = (1-h) g_i + sum_j b_ij z_j + sum_j (p_ji h g_j + b_ji z_j)``. One survivor has ``b = 0``.
    """
    d = z.shape[1]
    for i in range(n):
        for a in range(d):
            out[i, a] = (1.0 - h) * g[i, a]
    for i in range(n):
        first, last = start[i], start[i + 1]
        if last == first + 1:
            j = who[first]
            for a in range(d):
                out[j, a] += h * g[i, a]
            continue
        mean = 0.0
        for q in range(first, last):
            j = who[q]
            along = 0.0
            for a in range(d):
                along += g[i, a] * z[j, a]
            slope[q - first] = h * along
            mean += share[q] * (h * along)
        for q in range(first, last):
            j = who[q]
            b = sharpness * share[q] * (slope[q - first] - mean)
            p = h * share[q]
            for a in range(d):
                out[j, a] += p * g[i, a] + b * z[i, a]
                out[i, a] += b * z[j, a]


@_compiled
def widest_of(indptr, rows):
    """Return the largest number of tokens in a text, at least 1, rounded up to a multiple of ``LANES``."""
    widest = 1
    for r in rows:
        widest = max(widest, indptr[r + 1] - indptr[r])
    return padded(widest)


@_compiled
def place_text(indptr, words, counts, embedding, r, z, m):
    """Write the tokens of a text and how often each occurs; return the number of tokens and of words."""
    n = indptr[r + 1] - indptr[r]
    total = 0.0
    for i in range(n):
        m[i] = counts[indptr[r] + i]
        total += m[i]
        for a in range(embedding.shape[1]):
            z[i, a] = embedding[words[indptr[r] + i], a]
    return n, total


@_compiled
def mean_value(z, m, n, total, decoder):
    """Return ``<v, sum_i m_i z_i / N>``."""
    value = 0.0
    for i in range(n):
        along = 0.0
        for a in range(z.shape[1]):
            along += decoder[a] * z[i, a]
        value += m[i] / total * along
    return value


@_compiled
def logits(indptr, words, counts, rows, embedding, decoder, bias, h, temperature, layers, out, leads):
    """Write logits of the texts ``rows``, and how many distinct words are survivors of their own last row.

    ``temperature == 0`` is hardmax. Without layers every word counts; a text without words has the bias.
    """
    wide, d = widest_of(indptr, rows), embedding.shape[1]
    z, after = np.empty((wide, d)), np.empty((wide, d))
    zt, s, top, m = np.empty((d, wide)), np.empty((wide, wide)), np.empty(wide), np.empty(wide)
    start, who, share = np.empty(wide + 1, np.int64), np.empty(wide * wide, np.int32), np.empty(wide * wide)
    sharpness = 1.0 / temperature if temperature > 0 else 0.0
    for place in range(rows.shape[0]):
        r = rows[place]
        n, total = place_text(indptr, words, counts, embedding, r, z, m)
        leads[place] = n if layers == 0 else 0
        out[place] = bias
        if n == 0:
            continue
        reach = (DEPTH + math.log(total)) * temperature
        for k in range(layers):
            layer(z, m, n, h, sharpness, reach, after, zt, s, top, start, who, share, 0, k > 0)
            z, after = after, z
        out[place] += mean_value(z, m, n, total, decoder)
        if layers > 0:
            for i in range(n):
                for q in range(start[i], start[i + 1]):
                    leads[place] += who[q] == i


@_compiled
def add_gradient(
    indptr, words, counts, rows, positive, embedding, decoder, bias, h, temperature, layers, gradient, decoder_gradient
):
    """Add the gradient of the mean logistic loss of the texts ``rows``; return the loss and the bias's part."""
    wide, d = widest_of(indptr, rows), embedding.shape[1]
    states = np.empty((layers + 1, wide, d))
    zt, s, top, m = np.empty((d, wide)), np.empty((wide, wide)), np.empty(wide), np.empty(wide)
    start = np.empty((layers, wide + 1), np.int64)
    who, share = np.empty(layers * wide * wide, np.int32), np.empty(layers * wide * wide)
    g, before, slopes = np.empty((wide, d)), np.empty((wide, d)), np.empty(wide)
    sharpness = 1.0 / temperature
    loss, bias_gradient = 0.0, 0.0
    for r in rows:
        n, total = place_text(indptr, words, counts, embedding, r, states[0], m)
        reach = (DEPTH + math.log(max(total, 1.0))) * temperature
        used = 0
        for k in range(layers if n else 0):
            used = layer(
                states[k], m, n, h, sharpness, reach, states[k + 1], zt, s, top, start[k], who, share, used, k > 0
            )
        last = states[layers]
        logit = bias + mean_value(last, m, n, total, decoder)
        signed = -logit if positive[r] else logit
        loss += max(signed, 0.0) + math.log1p(math.exp(-abs(signed)))
        slope = 1.0 / (1.0 + math.exp(-logit)) - positive[r]
        slope /= rows.shape[0]
        bias_gradient += slope
        for i in range(n):
            part = slope * m[i] / total
            for a in range(d):
                g[i, a] = part * decoder[a]
                decoder_gradient[a] += part * last[i, a]
        for back in range(layers if n else 0):
            k = layers - 1 - back
            layer_back(states[k], n, h, sharpness, start[k], who, share, g, before, slopes)
            g, before = before, g
        for i in range(n):
            for a in range(d):
                gradient[words[indptr[r] + i], a] += g[i, a]
    return loss / rows.shape[0], bias_gradient


@_compiled
def adam(point, gradient, first, second, rate, taken):
    """Take one step of Adam (Kingma and Ba 2015; beta 0.9 and 0.999, epsilon 1e-8) and clear the gradient."""
    step = rate / (1.0 - 0.9**taken)
    scale = 1.0 / math.sqrt(1.0 - 0.999**taken)
    for i in range(point.shape[0]):
        f = 0.9 * first[i] + 0.1 * gradient[i]
        s = 0.999 * second[i] + 0.001 * (gradient[i] * gradient[i])
        first[i] = f
        second[i] = s
        point[i] -= step * f / (math.sqrt(s) * scale + 1e-8)
        gradient[i] = 0.0
