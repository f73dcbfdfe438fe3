/* The parts between the products in bf16: gated activations, RMS norms, rotary positions, the loss head's softmax.
 *
 * Each reads its operands once, computes in fp32 and rounds once. Rows and elements are independent, so that threads
 * change nothing in the bits.
 */
#include <math.h>

#include "exponential.h"
#include "tile.h"

#define GRAIN 4096 /* elements that a thread takes at a time */

INLINE __mmask16 rest(int64_t left) { return left < LANES ? (__mmask16)((1u << left) - 1) : 0xffff; }
INLINE __m512 take(const bf16 *from, __mmask16 lanes) { return widened(_mm256_maskz_loadu_epi16(lanes, from)); }
INLINE void give(bf16 *to, __mmask16 lanes, __m512 values) {
    _mm256_mask_storeu_epi16(to, lanes, (__m256i)_mm512_cvtneps_pbh(values));
}

/* A gated unit's activation is x times a sigmoid: silu(x) = x s(x), and gelu's tanh form is x s(2u) with
   u = sqrt(2/pi) (x + 0.044715 x^3). `active` is the activation, `slope` its derivative. */
enum { SILU, GELU };

INLINE void activate(const int kind, __m512 x, __m512 *active, __m512 *slope) {
    const __m512 one = _mm512_set1_ps(1), factor = _mm512_set1_ps(1.5957691216057308f);
    __m512 inner = x, inner_slope = one;
    if (kind == GELU) { /* beyond 30 the sigmoid has long been 0 or 1 */
        const __m512 near = _mm512_max_ps(_mm512_set1_ps(-30), _mm512_min_ps(_mm512_set1_ps(30), x));
        const __m512 bend = _mm512_mul_ps(_mm512_mul_ps(near, near), _mm512_set1_ps(0.044715f));
        inner = _mm512_mul_ps(factor, _mm512_fmadd_ps(bend, near, near));
        inner_slope = _mm512_mul_ps(factor, _mm512_fmadd_ps(bend, _mm512_set1_ps(3), one));
    }
    const __m512 share = _mm512_div_ps(one, _mm512_add_ps(one, exponential(_mm512_sub_ps(_mm512_setzero_ps(), inner))));
    *active = _mm512_mul_ps(x, share);
    *slope = _mm512_fmadd_ps(_mm512_mul_ps(inner_slope, _mm512_sub_ps(one, share)), *active, share);
}

INLINE void gated(const int kind, int64_t from, int64_t to, const bf16 *gate, const bf16 *up, bf16 *out) {
    for (int64_t i = from; i < to; i += LANES) {
        const __mmask16 lanes = rest(to - i);
        __m512 active, slope;
        activate(kind, take(gate + i, lanes), &active, &slope);
        give(out + i, lanes, _mm512_mul_ps(active, take(up + i, lanes)));
    }
}

INLINE void ungated(const int kind, int64_t from, int64_t to, const bf16 *gradient, const bf16 *gate, const bf16 *up,
                    bf16 *d_gate, bf16 *d_up, bf16 *product) {
    for (int64_t i = from; i < to; i += LANES) {
        const __mmask16 lanes = rest(to - i);
        const __m512 g = take(gradient + i, lanes), u = take(up + i, lanes);
        __m512 active, slope;
        activate(kind, take(gate + i, lanes), &active, &slope);
        give(d_gate + i, lanes, _mm512_mul_ps(_mm512_mul_ps(g, u), slope));
        give(d_up + i, lanes, _mm512_mul_ps(g, active));
        if (product)
            give(product + i, lanes, _mm512_mul_ps(active, u));
    }
}

/* out = act(gate) up, over `count` elements. */
void gated_forward(int64_t count, int32_t kind, int32_t threads, const bf16 *gate, const bf16 *up, bf16 *out) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < count; i += GRAIN) {
        const int64_t to = i + GRAIN < count ? i + GRAIN : count;
        kind == SILU ? gated(SILU, i, to, gate, up, out) : gated(GELU, i, to, gate, up, out);
    }
}

/* Gradients of gate and up; `product`, where given, takes act(gate) up and may be the incoming gradient. */
void gated_backward(int64_t count, int32_t kind, int32_t threads, const bf16 *gradient, const bf16 *gate, const bf16 *up,
                    bf16 *d_gate, bf16 *d_up, bf16 *product) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t i = 0; i < count; i += GRAIN) {
        const int64_t to = i + GRAIN < count ? i + GRAIN : count;
        kind == SILU ? ungated(SILU, i, to, gradient, gate, up, d_gate, d_up, product)
                     : ungated(GELU, i, to, gradient, gate, up, d_gate, d_up, product);
    }
}

/* y = factor x / sqrt(mean(x^2) + eps), row by row. A factor in bf16 is applied after rounding to bf16, as Llama's is, one
   in fp32 before. `inverse` takes 1 / sqrt(...) of each row. */
void norm_forward(int64_t rows, int32_t width, float eps, int32_t exact, int32_t threads, const bf16 *x, const void *factor,
                  bf16 *y, float *inverse) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const bf16 *from = x + r * width;
        bf16 *to = y + r * width;
        __m512 sum = _mm512_setzero_ps();
        for (int i = 0; i < width; i += LANES) {
            const __m512 value = take(from + i, rest(width - i));
            sum = _mm512_fmadd_ps(value, value, sum);
        }
        inverse[r] = 1 / sqrtf(_mm512_reduce_add_ps(sum) / width + eps);
        const __m512 scale = _mm512_set1_ps(inverse[r]);
        for (int i = 0; i < width; i += LANES) {
            const __mmask16 lanes = rest(width - i);
            const __m512 normal = _mm512_mul_ps(take(from + i, lanes), scale);
            if (exact)
                give(to + i, lanes, _mm512_mul_ps(normal, _mm512_maskz_loadu_ps(lanes, (const float *)factor + i)));
            else
                give(to + i, lanes, _mm512_mul_ps(widened((__m256i)_mm512_cvtneps_pbh(normal)),
                                                  take((const bf16 *)factor + i, lanes)));
        }
    }
}

/* With n = x / rms and g the gradient times the factor: d_x = (g - n mean(g n)) / rms. */
void norm_backward(int64_t rows, int32_t width, int32_t exact, int32_t threads, const bf16 *gradient, const bf16 *x,
                   const void *factor, const float *inverse, bf16 *d_x) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t r = 0; r < rows; r++) {
        const __m512 scale = _mm512_set1_ps(inverse[r]);
        __m512 shared = _mm512_setzero_ps();
        for (int pass = 0; pass < 2; pass++) {
            for (int i = 0; i < width; i += LANES) {
                const __mmask16 lanes = rest(width - i);
                const __m512 weight = exact ? _mm512_maskz_loadu_ps(lanes, (const float *)factor + i)
                                            : take((const bf16 *)factor + i, lanes);
                const __m512 g = _mm512_mul_ps(take(gradient + r * width + i, lanes), weight);
                const __m512 normal = _mm512_mul_ps(take(x + r * width + i, lanes), scale);
                if (pass == 0)
                    shared = _mm512_fmadd_ps(g, normal, shared);
                else
                    give(d_x + r * width + i, lanes, _mm512_mul_ps(_mm512_fnmadd_ps(normal, shared, g), scale));
            }
            if (pass == 0)
                shared = _mm512_set1_ps(_mm512_reduce_add_ps(shared) / width);
        }
    }
}

/* Rotary positions: of each head's halves (a, b), a cos - b sin and b cos + a sin, with the cosines and sines of the half
   that is made; `back` is the transpose of that. The result is dense: (tokens, heads, width). Strides in elements. */
void rotate(int64_t tokens, int32_t heads, int32_t width, int32_t back, int32_t threads, int64_t x_token, int64_t x_head,
            int64_t cos_token, int64_t sin_token, const bf16 *x, const bf16 *cosine, const bf16 *sine, bf16 *y) {
    const int half = width / 2;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t t = 0; t < tokens; t++)
        for (int i = 0; i < half; i += LANES) {
            const __mmask16 lanes = rest(half - i);
            const bf16 *cos_row = cosine + t * cos_token + i, *sin_row = sine + t * sin_token + i;
            const __m512 cos_a = take(cos_row, lanes), cos_b = take(cos_row + half, lanes);
            __m512 sin_a = take(sin_row, lanes), sin_b = take(sin_row + half, lanes);
            if (back) {
                const __m512 kept = sin_a;
                sin_a = _mm512_sub_ps(_mm512_setzero_ps(), sin_b);
                sin_b = _mm512_sub_ps(_mm512_setzero_ps(), kept);
            }
            for (int h = 0; h < heads; h++) {
                const bf16 *from = x + t * x_token + h * x_head + i;
                bf16 *to = y + (t * heads + h) * width + i;
                const __m512 a = take(from, lanes), b = take(from + half, lanes);
                give(to, lanes, _mm512_fmsub_ps(a, cos_a, _mm512_mul_ps(b, sin_a)));
                give(to + half, lanes, _mm512_fmadd_ps(b, cos_b, _mm512_mul_ps(a, sin_b)));
            }
        }
}

/* found[r] = log softmax(logits[r])[goal[r]]; with `turn` the gradient of that stands in place of the logits. Returns how
   many goals lie outside the vocabulary; their rows are left as they are. */
int head_scores(int64_t rows, int64_t vocabulary, int32_t turn, int32_t threads, bf16 *logits, const int64_t *goal,
                float *found) {
    int outside = 0;
#pragma omp parallel for num_threads(threads) schedule(static) reduction(+ : outside)
    for (int64_t r = 0; r < rows; r++) {
        bf16 *row = logits + r * vocabulary;
        if (goal[r] < 0 || goal[r] >= vocabulary) {
            outside++;
            continue;
        }
        __m512 top = _mm512_set1_ps(-INFINITY), total = _mm512_setzero_ps();
        for (int64_t i = 0; i < vocabulary; i += LANES) {
            const __mmask16 lanes = rest(vocabulary - i);
            top = _mm512_mask_max_ps(top, lanes, top, take(row + i, lanes));
        }
        const __m512 most = _mm512_set1_ps(_mm512_reduce_max_ps(top));
        for (int64_t i = 0; i < vocabulary; i += LANES) {
            const __mmask16 lanes = rest(vocabulary - i);
            const __m512 weight = exponential(_mm512_sub_ps(take(row + i, lanes), most));
            total = _mm512_mask_add_ps(total, lanes, total, weight);
        }
        const float shift = _mm512_cvtss_f32(most) + logf(_mm512_reduce_add_ps(total));
        const float own = _mm512_cvtss_f32(take(row + goal[r], 1)) - shift;
        found[r] = own;
        if (!turn)
            continue;
        for (int64_t i = 0; i < vocabulary; i += LANES) {
            const __mmask16 lanes = rest(vocabulary - i);
            const __m512 share = exponential(_mm512_sub_ps(take(row + i, lanes), _mm512_set1_ps(shift)));
            give(row + i, lanes, _mm512_sub_ps(_mm512_setzero_ps(), share));
        }
        give(row + goal[r], 1, _mm512_set1_ps(1 - expf(own)));
    }
    return outside;
}
