/* One tile of a matrix product: bf16 pairs in, fp32 sums out (VDPBF16PS).
 *
 * An operand is read as 32-bit words, each a pair of bf16 that are neighbours along the summed dimension:
 *   left   word (r, k) at left[r * row + k * step]     (rows of bf16 as they lie, or paired rows read across)
 *   right  word (k, c) at right[k * pitch + c]         (paired: 16 columns are one register)
 * A tile has at most TILE_ROWS rows and TILE_VECTORS * 16 columns, so that its sums stay in registers.
 */
#ifndef TUNEWARD_TILE_H
#define TUNEWARD_TILE_H

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

#define TILE_ROWS 6
#define TILE_VECTORS 4
#define LANES 16
#define INLINE static inline __attribute__((always_inline))

typedef uint16_t bf16;

INLINE __m512 widened(__m256i values) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(values), 16));
}

INLINE __m512 load_bf16(const bf16 *from) { return widened(_mm256_loadu_si256((const __m256i *)from)); }

INLINE void store_bf16(bf16 *to, __m512 values) {
    _mm256_storeu_si256((__m256i *)to, (__m256i)_mm512_cvtneps_pbh(values));
}

/* Words of pairs from two rows of bf16: lane c holds (first[c], second[c]). */
INLINE __m512i paired(__m256i first, __m256i second) {
    return _mm512_or_si512(_mm512_cvtepu16_epi32(first), _mm512_slli_epi32(_mm512_cvtepu16_epi32(second), 16));
}

/* sums (rows x columns, `out` floats apart) += left right over `words` pairs; with `fresh` what stood there is lost. */
INLINE void tile(const int rows, const int vectors, const uint32_t *left, ptrdiff_t row, ptrdiff_t step,
                 const uint32_t *right, ptrdiff_t pitch, int words, float *sums, ptrdiff_t out, int fresh) {
    __m512 sum[TILE_ROWS][TILE_VECTORS];
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            sum[r][v] = fresh ? _mm512_setzero_ps() : _mm512_loadu_ps(sums + r * out + v * LANES);
    for (int k = 0; k < words; k++) {
        __m512bh columns[TILE_VECTORS];
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            columns[v] = (__m512bh)_mm512_loadu_si512(right + k * pitch + v * LANES);
#pragma GCC unroll 8
        for (int r = 0; r < rows; r++) {
            const __m512bh pair = (__m512bh)_mm512_set1_epi32((int)left[r * row + k * step]);
#pragma GCC unroll 8
            for (int v = 0; v < vectors; v++)
                sum[r][v] = _mm512_dpbf16_ps(sum[r][v], pair, columns[v]);
        }
    }
#pragma GCC unroll 8
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 8
        for (int v = 0; v < vectors; v++)
            _mm512_storeu_ps(sums + r * out + v * LANES, sum[r][v]);
}

#define TILE(r, v)                                                                                   \
    case (r) * 8 + (v):                                                                              \
        tile(r, v, left, row, step, right, pitch, words, sums, out, fresh);                          \
        break;
#define TILES(r) TILE(r, 1) TILE(r, 2) TILE(r, 3) TILE(r, 4)

static void any_tile(int rows, int vectors, const uint32_t *left, ptrdiff_t row, ptrdiff_t step, const uint32_t *right,
                     ptrdiff_t pitch, int words, float *sums, ptrdiff_t out, int fresh) {
    switch (rows * 8 + vectors) { TILES(1) TILES(2) TILES(3) TILES(4) TILES(5) TILES(6) }
}

/* A whole product, tile by tile; `columns` is a multiple of LANES. */
INLINE void product(int rows, int columns, const uint32_t *left, ptrdiff_t row, ptrdiff_t step, const uint32_t *right,
                    ptrdiff_t pitch, int words, float *sums, ptrdiff_t out, int fresh) {
    for (int c = 0; c < columns; c += TILE_VECTORS * LANES) {
        const int vectors = columns - c < TILE_VECTORS * LANES ? (columns - c) / LANES : TILE_VECTORS;
        for (int r = 0; r < rows; r += TILE_ROWS)
            any_tile(rows - r < TILE_ROWS ? rows - r : TILE_ROWS, vectors, left + r * row, row, step, right + c, pitch,
                     words, sums + r * out + c, out, fresh);
    }
}

#endif
