/* Softmax attention over packed documents in bf16, forward and backward, for CPUs with AVX-512 and its bf16 products.
 *
 * The layout is that of packed.py: each segment's queries see its context, which is a list of tokens in the order of
 * their positions that ends with the segment's own; query row r sees the first `before + r + 1` of them, or the last
 * `window` of those. Scores are made in fp32, block by block, with a running maximum (arXiv 2205.14135); kept for the
 * backward pass is one number per row. Weights and gradients of scores are rounded to bf16 where they are multiplied,
 * all sums are fp32. Each output has one writer and sums have a fixed order: the same input gives the same bits,
 * however many threads there are.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "exponential.h"
#include "tile.h"

#define BLOCK_ROWS 48     /* queries that are taken at a time: eight tiles */
#define BLOCK_COLUMNS 128 /* keys that are taken at a time: their scores stay in the cache */
#define PANEL 64          /* keys whose words lie together: what a tile reads shares no cache line's place */
#define PAD 32            /* contexts are filled up to a multiple of this */
#define WIDEST 256        /* largest size of a head */

/* Strides in elements; the last dimension is always dense. */
typedef struct {
    int32_t segments, heads, kv_heads, width, window, shared, tokens, columns; /* columns: all contexts with padding */
    float scaling;
    int32_t threads;
    const int32_t *first, *length, *before, *at, *places; /* at: a context's begin in `places`; padding is -1 */
    int64_t query_token, query_head, key_token, key_head, value_token, value_head;
} Layout;

typedef struct {
    float scores[BLOCK_ROWS * BLOCK_COLUMNS], slopes[BLOCK_ROWS * BLOCK_COLUMNS];
    float sums[BLOCK_ROWS * WIDEST], most[BLOCK_ROWS], total[BLOCK_ROWS];
    uint32_t weights[BLOCK_ROWS / 2 * BLOCK_COLUMNS], across[BLOCK_ROWS / 2 * BLOCK_COLUMNS]; /* of pairs of rows */
    uint32_t asking[BLOCK_ROWS / 2 * WIDEST], out[BLOCK_ROWS / 2 * WIDEST];
    bf16 along[BLOCK_ROWS * BLOCK_COLUMNS];
} Scratch;

static int least(int a, int b) { return a < b ? a : b; }

static int padded(const Layout *l, int segment) {
    return (l->before[segment] + l->length[segment] + PAD - 1) / PAD * PAD;
}

/* Words of pairs along a head's width, keys across: panel by panel (width / 2, PANEL), the last one as wide as it is. */
static void pack_across(const bf16 *from, int64_t stride, const int32_t *places, int columns, int width, uint32_t *to) {
    for (int c = 0; c < columns; c += LANES) {
        const int panel = c / PANEL * PANEL, pitch = least(PANEL, columns - panel);
        const __m512i place = _mm512_loadu_si512(places + c);
        const __mmask16 real = _mm512_cmpge_epi32_mask(place, _mm512_setzero_si512());
        const __m512i word = _mm512_mullo_epi32(place, _mm512_set1_epi32((int)(stride / 2)));
        for (int k = 0; k < width / 2; k++)
            _mm512_storeu_si512(to + (size_t)panel * width / 2 + k * pitch + c - panel,
                                _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), real, word, (const int *)from + k, 4));
    }
}

static __m256i sixteen(const bf16 *from, int64_t stride, int place, int k) {
    return place < 0 ? _mm256_setzero_si256() : _mm256_loadu_si256((const __m256i *)(from + place * stride + k));
}

/* Words of pairs of neighbouring keys: `to` is (columns / 2, width). */
static void pack_along(const bf16 *from, int64_t stride, const int32_t *places, int columns, int width, uint32_t *to) {
    for (int c = 0; c < columns; c += 2)
        for (int k = 0; k < width; k += LANES)
            _mm512_storeu_si512(to + (size_t)c / 2 * width + k, paired(sixteen(from, stride, places[c], k),
                                                                      sixteen(from, stride, places[c + 1], k)));
}

/* Words of pairs of neighbouring rows; a last one without neighbour is paired with zeros. */
static void pack_rows(const bf16 *from, int64_t stride, int rows, int width, uint32_t *to) {
    for (int r = 0; r < rows; r += 2)
        for (int k = 0; k < width; k += LANES)
            _mm512_storeu_si512(to + r / 2 * width + k,
                                paired(sixteen(from, stride, r, k), sixteen(from, stride, r + 1 < rows ? r + 1 : -1, k)));
}

/* Lanes of sixteen columns from `c` on that lie in [low, high). */
INLINE __mmask16 between(int c, int low, int high) {
    const int from = low > c ? least(low - c, LANES) : 0, to = high > c ? least(high - c, LANES) : 0;
    return (__mmask16)(((1u << to) - 1) & ~((1u << from) - 1));
}

/* First column that query row `r` of a segment sees, and one past the last. */
static int low(const Layout *l, int segment, int r) {
    const int first = l->before[segment] + r + 1 - l->window;
    return l->window && first > 0 ? first : 0;
}
static int high(const Layout *l, int segment, int r) { return l->before[segment] + r + 1; }

/* How many of a block's columns, in whole registers, some row of the tile at `r` sees: there and no further scores are
   made and weights are used. */
static int reach(const Layout *l, int segment, int r0, int r, int rows, int c0, int columns) {
    const int last = high(l, segment, r0 + least(r + TILE_ROWS, rows) - 1) - c0;
    return last < 0 ? 0 : least((last + LANES - 1) / LANES * LANES, columns);
}

/* The products of a block's rows with what they see of a block of keys or values that lie in panels. */
static void products_across(const Layout *l, int s, int r0, int rows, int c0, int columns, const bf16 *left, int64_t row,
                            const uint32_t *right, float *to) {
    const int all = padded(l, s);
    for (int r = 0; r < rows; r += TILE_ROWS) {
        const int seen = reach(l, s, r0, r, rows, c0, columns);
        for (int c = 0; c < seen; c += PANEL)
            any_tile(least(TILE_ROWS, rows - r), least(PANEL, seen - c) / LANES, (const uint32_t *)(left + r * row), row / 2, 1,
                     right + (size_t)(c0 + c) * l->width / 2, least(PANEL, all - c0 - c), l->width / 2,
                     to + r * BLOCK_COLUMNS + c, BLOCK_COLUMNS, 1);
    }
}

/* The products of a block's weights, or of the gradients of its scores, with keys or values that lie in pairs. */
static void products_along(const Layout *l, int s, int r0, int rows, int c0, int columns, const bf16 *left,
                           const uint32_t *right, float *to, int fresh) {
    for (int r = 0; r < rows; r += TILE_ROWS)
        product(least(TILE_ROWS, rows - r), l->width, (const uint32_t *)(left + r * BLOCK_COLUMNS), BLOCK_COLUMNS / 2, 1,
                right + (size_t)c0 / 2 * l->width, l->width, reach(l, s, r0, r, rows, c0, columns) / 2, to + r * l->width,
                l->width, fresh);
}

/* What a block's rows add to the gradients of the keys or values that they see. */
static void products_down(const Layout *l, int s, int r0, int rows, int c0, int columns, const uint32_t *left,
                          const uint32_t *right, float *to) {
    for (int c = 0; c < columns; c += TILE_ROWS) {
        const int first = c0 + c - l->before[s] - r0, begin = first > 0 ? first / 2 : 0; /* the first row that sees any */
        if (begin < (rows + 1) / 2)
            product(least(TILE_ROWS, columns - c), l->width, left + begin * BLOCK_COLUMNS + c, 1, BLOCK_COLUMNS,
                    right + begin * l->width, l->width, (rows + 1) / 2 - begin, to + (size_t)(c0 + c) * l->width, l->width,
                    0);
    }
}

static size_t words(const Layout *l) { return (size_t)l->columns * l->width / 2; } /* of one packed head */

static void forward_block(const Layout *l, int s, int h, int r0, const bf16 *query, const uint32_t *keys,
                          const uint32_t *values, bf16 *out, float *normaliser, Scratch *m) {
    const int rows = least(BLOCK_ROWS, l->length[s] - r0), width = l->width;
    const int from = low(l, s, r0) / PANEL * PANEL, to = high(l, s, r0 + rows - 1), token = l->first[s] + r0;
    const bf16 *asking = query + token * l->query_token + h * l->query_head;
    const __m512 scaling = _mm512_set1_ps(l->scaling);
    for (int r = 0; r < rows; r++)
        m->most[r] = -INFINITY, m->total[r] = 0;
    for (int c0 = from; c0 < to; c0 += BLOCK_COLUMNS) {
        const int columns = least((to - c0 + LANES - 1) / LANES * LANES, BLOCK_COLUMNS);
        products_across(l, s, r0, rows, c0, columns, asking, l->query_token, keys, m->scores);
        for (int r = 0; r < rows; r++) {
            float *scores = m->scores + r * BLOCK_COLUMNS;
            bf16 *weights = m->along + r * BLOCK_COLUMNS;
            const int first = low(l, s, r0 + r) - c0, last = high(l, s, r0 + r) - c0;
            const int seen = reach(l, s, r0, r / TILE_ROWS * TILE_ROWS, rows, c0, columns);
            __m512 top = _mm512_set1_ps(-INFINITY);
            for (int c = 0; c < seen; c += LANES)
                top = _mm512_mask_max_ps(top, between(c, first, last), top, _mm512_loadu_ps(scores + c));
            const float most = fmaxf(m->most[r], _mm512_reduce_max_ps(top) * l->scaling);
            const __m512 shift = _mm512_set1_ps(most);
            __m512 total = _mm512_setzero_ps();
            for (int c = 0; c < seen; c += LANES) {
                const __m512 scaled = _mm512_fmsub_ps(_mm512_loadu_ps(scores + c), scaling, shift);
                const __m512 weight = _mm512_maskz_mov_ps(between(c, first, last), exponential(scaled));
                total = _mm512_add_ps(total, weight);
                store_bf16(weights + c, weight);
            }
            /* a row that sees nothing of the first blocks (its window begins later) has the maximum -infinity there */
            const float kept = m->most[r] == -INFINITY ? 0 : expf(m->most[r] - most);
            if (c0 > from && kept != 1)
                for (int k = 0; k < width; k += LANES)
                    _mm512_storeu_ps(m->sums + r * width + k,
                                     _mm512_mul_ps(_mm512_loadu_ps(m->sums + r * width + k), _mm512_set1_ps(kept)));
            m->total[r] = m->total[r] * kept + _mm512_reduce_add_ps(total);
            m->most[r] = most;
        }
        products_along(l, s, r0, rows, c0, columns, m->along, values, m->sums, c0 == from);
    }
    for (int r = 0; r < rows; r++) {
        const __m512 share = _mm512_set1_ps(1 / m->total[r]);
        bf16 *result = out + ((size_t)(token + r) * l->heads + h) * width;
        for (int k = 0; k < width; k += LANES)
            store_bf16(result + k, _mm512_mul_ps(_mm512_loadu_ps(m->sums + r * width + k), share));
        normaliser[(size_t)(token + r) * l->heads + h] = m->most[r] + logf(m->total[r]);
    }
}

static void backward_block(const Layout *l, int s, int h, int r0, const bf16 *query, const uint32_t *keys,
                           const uint32_t *keys_along, const uint32_t *values, const bf16 *out, const float *normaliser,
                           const bf16 *gradient, bf16 *d_query, float *d_keys, float *d_values, Scratch *m) {
    const int rows = least(BLOCK_ROWS, l->length[s] - r0), width = l->width;
    const int from = low(l, s, r0) / PANEL * PANEL, to = high(l, s, r0 + rows - 1), token = l->first[s] + r0;
    const int64_t dense = (int64_t)l->heads * width;
    const bf16 *asking = query + token * l->query_token + h * l->query_head;
    const bf16 *came = gradient + token * dense + h * width, *gave = out + token * dense + h * width;
    const __m512 scaling = _mm512_set1_ps(l->scaling);
    pack_rows(asking, l->query_token, rows, width, m->asking);
    pack_rows(came, dense, rows, width, m->out);
    for (int r = 0; r < rows; r++) { /* what each row's weights have in common: the gradient along its own result */
        __m512 sum = _mm512_setzero_ps();
        for (int k = 0; k < width; k += LANES)
            sum = _mm512_fmadd_ps(load_bf16(came + r * dense + k), load_bf16(gave + r * dense + k), sum);
        m->total[r] = _mm512_reduce_add_ps(sum);
        m->most[r] = normaliser[(size_t)(token + r) * l->heads + h];
    }
    for (int c0 = from; c0 < to; c0 += BLOCK_COLUMNS) {
        const int columns = least((to - c0 + LANES - 1) / LANES * LANES, BLOCK_COLUMNS);
        products_across(l, s, r0, rows, c0, columns, asking, l->query_token, keys, m->scores);
        products_across(l, s, r0, rows, c0, columns, came, dense, values, m->slopes);
        for (int r = 0; r < rows; r += 2) { /* a pair of rows lies in one tile */
            const int seen = reach(l, s, r0, r / TILE_ROWS * TILE_ROWS, rows, c0, columns);
            for (int c = 0; c < seen; c += LANES) {
                __m256i weights[2], slopes[2];
                for (int i = 0; i < 2; i++) {
                    if (r + i == rows) { /* the neighbour that is not there */
                        weights[i] = slopes[i] = _mm256_setzero_si256();
                        continue;
                    }
                    const float *scores = m->scores + (r + i) * BLOCK_COLUMNS + c;
                    const __mmask16 seen =
                        between(c, low(l, s, r0 + r + i) - c0, high(l, s, r0 + r + i) - c0);
                    const __m512 scaled =
                        _mm512_fmsub_ps(_mm512_loadu_ps(scores), scaling, _mm512_set1_ps(m->most[r + i]));
                    const __m512 weight = _mm512_maskz_mov_ps(seen, exponential(scaled));
                    const __m512 slope = _mm512_sub_ps(_mm512_loadu_ps(m->slopes + (r + i) * BLOCK_COLUMNS + c),
                                                       _mm512_set1_ps(m->total[r + i]));
                    weights[i] = (__m256i)_mm512_cvtneps_pbh(weight);
                    slopes[i] = (__m256i)_mm512_cvtneps_pbh(_mm512_mul_ps(weight, slope));
                    _mm256_storeu_si256((__m256i *)(m->along + (r + i) * BLOCK_COLUMNS + c), slopes[i]);
                }
                _mm512_storeu_si512(m->weights + r / 2 * BLOCK_COLUMNS + c, paired(weights[0], weights[1]));
                _mm512_storeu_si512(m->across + r / 2 * BLOCK_COLUMNS + c, paired(slopes[0], slopes[1]));
            }
            for (int c = seen; c < columns; c += LANES) {
                _mm512_storeu_si512(m->weights + r / 2 * BLOCK_COLUMNS + c, _mm512_setzero_si512());
                _mm512_storeu_si512(m->across + r / 2 * BLOCK_COLUMNS + c, _mm512_setzero_si512());
            }
        }
        products_along(l, s, r0, rows, c0, columns, m->along, keys_along, m->sums, c0 == from);
        products_down(l, s, r0, rows, c0, columns, m->across, m->asking, d_keys);
        products_down(l, s, r0, rows, c0, columns, m->weights, m->out, d_values);
    }
    for (int r = 0; r < rows; r++)
        for (int k = 0; k < width; k += LANES)
            store_bf16(d_query + (token + r) * dense + h * width + k,
                       _mm512_mul_ps(_mm512_loadu_ps(m->sums + r * width + k), scaling));
}

/* The sum over a group's query heads of what reached one key. */
INLINE void group_sum(const Layout *l, const float *parts, int kv, int64_t place, float factor, int fresh, float *to) {
    const int group = l->heads / l->kv_heads;
    for (int k = 0; k < l->width; k += LANES) {
        __m512 sum = _mm512_setzero_ps();
        for (int g = 0; g < group; g++)
            sum = _mm512_add_ps(sum, _mm512_loadu_ps(parts + ((kv * group + g) * (int64_t)l->columns + place) * l->width + k));
        sum = _mm512_mul_ps(sum, _mm512_set1_ps(factor));
        _mm512_storeu_ps(to + k, fresh ? sum : _mm512_add_ps(sum, _mm512_loadu_ps(to + k)));
    }
}

/* parts (heads, columns, width) → to (tokens, kv_heads, width) in bf16; a token that several contexts hold has their sum.
   `total` is as large as `to`, in fp32. */
static void gather(const Layout *l, const float *parts, float factor, float *total, bf16 *to) {
    const int64_t count = (int64_t)l->tokens * l->kv_heads;
    if (l->shared)
        memset(total, 0, count * l->width * sizeof(float));
    for (int s = 0; s < l->segments; s++) {
        const int size = l->before[s] + l->length[s], begin = l->shared ? 0 : l->before[s];
#pragma omp parallel for num_threads(l->threads) schedule(static)
        for (int i = begin * l->kv_heads; i < size * l->kv_heads; i++) {
            const int kv = i % l->kv_heads, c = l->at[s] + i / l->kv_heads;
            float *sum = total + ((int64_t)l->places[c] * l->kv_heads + kv) * l->width;
            group_sum(l, parts, kv, c, factor, !l->shared, sum);
        }
    }
#pragma omp parallel for num_threads(l->threads) schedule(static)
    for (int64_t i = 0; i < count * l->width; i += LANES)
        store_bf16(to + i, _mm512_loadu_ps(total + i));
}

static Scratch *scratch(void) { return aligned_alloc(64, (sizeof(Scratch) + 63) / 64 * 64); }

/* `packed` has room for 2 * kv_heads * columns * width / 2 words. Returns 0, or 1 where memory ran out. */
int attention_forward(const Layout *l, const bf16 *query, const bf16 *key, const bf16 *value, bf16 *out, float *normaliser,
                      uint32_t *packed) {
    const size_t head = words(l);
    const int heads = l->heads, group = l->heads / l->kv_heads;
    uint32_t *keys = packed, *values = packed + head * l->kv_heads;
    int failed = 0;
#pragma omp parallel num_threads(l->threads) reduction(| : failed)
    {
        Scratch *m = scratch();
        failed = !m;
#pragma omp for schedule(dynamic)
        for (int i = 0; i < l->segments * l->kv_heads; i++) {
            const int s = i / l->kv_heads, h = i % l->kv_heads;
            const size_t place = h * head + (size_t)l->at[s] * l->width / 2;
            const int32_t *places = l->places + l->at[s];
            pack_across(key + h * l->key_head, l->key_token, places, padded(l, s), l->width, keys + place);
            pack_along(value + h * l->value_head, l->value_token, places, padded(l, s), l->width, values + place);
        }
#pragma omp for schedule(dynamic)
        for (int i = 0; i < l->segments * heads; i++) {
            const int s = i / heads, h = i % heads;
            const size_t place = h / group * head + (size_t)l->at[s] * l->width / 2;
            for (int r = 0; m && r < l->length[s]; r += BLOCK_ROWS)
                forward_block(l, s, h, r, query, keys + place, values + place, out, normaliser, m);
        }
        free(m);
    }
    return failed;
}

/* `packed`: 3 * kv_heads * columns * width / 2 words; `parts`: 2 * heads * columns * width floats; `total`:
   tokens * kv_heads * width floats. Results: d_query (tokens, heads, width), d_key and d_value (tokens, kv_heads, width). */
int attention_backward(const Layout *l, const bf16 *query, const bf16 *key, const bf16 *value, const bf16 *out,
                       const float *normaliser, const bf16 *gradient, bf16 *d_query, bf16 *d_key, bf16 *d_value,
                       uint32_t *packed, float *parts, float *total) {
    const size_t head = words(l), part = (size_t)l->columns * l->width;
    const int heads = l->heads, group = l->heads / l->kv_heads;
    uint32_t *keys = packed, *along = keys + head * l->kv_heads, *values = along + head * l->kv_heads;
    float *d_keys = parts, *d_values = parts + part * heads;
    int failed = 0;
#pragma omp parallel num_threads(l->threads) reduction(| : failed)
    {
        Scratch *m = scratch();
        failed = !m;
#pragma omp for schedule(dynamic)
        for (int i = 0; i < l->segments * l->kv_heads; i++) {
            const int s = i / l->kv_heads, h = i % l->kv_heads, columns = padded(l, s);
            const size_t place = h * head + (size_t)l->at[s] * l->width / 2;
            const int32_t *places = l->places + l->at[s];
            pack_across(key + h * l->key_head, l->key_token, places, columns, l->width, keys + place);
            pack_along(key + h * l->key_head, l->key_token, places, columns, l->width, along + place);
            pack_across(value + h * l->value_head, l->value_token, places, columns, l->width, values + place);
        }
#pragma omp for schedule(dynamic)
        for (int i = 0; i < l->segments * heads; i++) {
            const int s = i / heads, h = i % heads;
            const size_t place = h / group * head + (size_t)l->at[s] * l->width / 2;
            const size_t own = h * part + (size_t)l->at[s] * l->width;
            memset(d_keys + own, 0, (size_t)padded(l, s) * l->width * sizeof(float));
            memset(d_values + own, 0, (size_t)padded(l, s) * l->width * sizeof(float));
            for (int r = 0; m && r < l->length[s]; r += BLOCK_ROWS)
                backward_block(l, s, h, r, query, keys + place, along + place, values + place, out, normaliser, gradient,
                               d_query, d_keys + own, d_values + own, m);
        }
        free(m);
    }
    gather(l, d_keys, l->scaling, total, d_key);
    gather(l, d_values, 1, total, d_value);
    return failed;
}
