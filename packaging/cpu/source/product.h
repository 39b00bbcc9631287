// Products of matrices: of some tiles' values with 32 columns of a kernel.

#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "vectors.h"
#include "winograd.h"

namespace jaxstyle::SET {

// `rows` rows of results, two vectors wide: sums stay in registers.
template <int rows>
inline void product_of_rows(const float* values, int64_t values_stride, const float* panel,
                            int64_t depth, float* results, int64_t results_stride) {
  Vector left[rows]{}, right[rows]{};
  for (int row = 0; row < rows; row++) {
    __builtin_prefetch(results + row * results_stride, 1);
    __builtin_prefetch(results + row * results_stride + LANES, 1);
  }
  for (int64_t k = 0; k < depth; k++) {
    Vector first = load(panel + k * PANEL), second = load(panel + k * PANEL + LANES);
#pragma GCC unroll 12
    for (int row = 0; row < rows; row++) {
      float value = values[row * values_stride + k];
      left[row] += value * first;
      right[row] += value * second;
    }
  }
#pragma GCC unroll 12
  for (int row = 0; row < rows; row++) {
    store(results + row * results_stride, left[row]);
    store(results + row * results_stride + LANES, right[row]);
  }
}

using ProductOfRows = decltype(&product_of_rows<1>);

template <int... row>
constexpr std::array<ProductOfRows, sizeof...(row)> for_up_to(std::integer_sequence<int, row...>) {
  return {product_of_rows<row + 1>...};
}

// Multiplies values (tiles, depth) with a panel (depth, 32).
inline void multiply(const float* values, int64_t values_stride, const float* panel, int64_t depth,
                     float* results, int64_t results_stride, int64_t tiles) {
  static constexpr auto products = for_up_to(std::make_integer_sequence<int, ROWS>{});
  int64_t blocks = (tiles + ROWS - 1) / ROWS;
  for (int64_t column = 0; column < PANEL; column += 2 * LANES) {
    for (int64_t block = 0; block < blocks; block++) {
      int64_t first = block * tiles / blocks, after = (block + 1) * tiles / blocks;
      products[after - first - 1](values + first * values_stride, values_stride, panel + column,
                                  depth, results + first * results_stride + column,
                                  results_stride);
    }
  }
}

// Transposes 32x32 floats; asks for what lies `ahead` of them meanwhile.
inline void transpose(const float* from, float* to, int64_t ahead) {
  constexpr int64_t SIDE = 8;  // in squares whose rows are found in a cache
  for (int64_t y = 0; y < PANEL; y += SIDE) {
    for (int64_t x = 0; x < PANEL; x += SIDE) {
      const float* square = from + y * PANEL + x;
      typedef float Row __attribute__((vector_size(4 * SIDE)));
      typedef float Unaligned __attribute__((vector_size(4 * SIDE), aligned(4), may_alias));
      Row a[SIDE], b[SIDE];
#pragma GCC unroll 8
      for (int64_t i = 0; i < SIDE; i++) {
        a[i] = *reinterpret_cast<const Unaligned*>(square + i * PANEL);
        if (i % 2 == 0) __builtin_prefetch(square + i * PANEL + ahead);
      }
#pragma GCC unroll 8
      for (int64_t i = 0; i < SIDE; i += 2) {
        b[i] = __builtin_shufflevector(a[i], a[i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
        b[i + 1] = __builtin_shufflevector(a[i], a[i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
      }
#pragma GCC unroll 8
      for (int64_t i = 0; i < SIDE; i += 4) {
        a[i] = __builtin_shufflevector(b[i], b[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
        a[i + 1] = __builtin_shufflevector(b[i], b[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
        a[i + 2] = __builtin_shufflevector(b[i + 1], b[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
        a[i + 3] = __builtin_shufflevector(b[i + 1], b[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
      }
#pragma GCC unroll 4
      for (int64_t i = 0; i < SIDE / 2; i++) {
        auto* low = reinterpret_cast<Unaligned*>(to + (x + i) * PANEL + y);
        auto* high = reinterpret_cast<Unaligned*>(to + (x + i + 4) * PANEL + y);
        *low = __builtin_shufflevector(a[i], a[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
        *high = __builtin_shufflevector(a[i], a[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
      }
    }
  }
}

// Makes one panel (out, 32) of a turned kernel, for 32 channels in, of a kernel's panels
// (out / 32, in, 32).
inline void turn(const float* panels, int64_t in, int64_t out, int64_t first, float* turned) {
  for (int64_t o = 0; o < out; o += PANEL) {
    int64_t ahead = o + PANEL < out ? in * PANEL : 0;
    transpose(panels + o * in + first * PANEL, turned + o * PANEL, ahead);
  }
}

}  // namespace jaxstyle::SET
