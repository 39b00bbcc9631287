// Winograd's transforms of a tile, one axis at a time: sums of vectors of channels.
//
// The points of evaluation come in pairs a and -a. Rows of B^T for such a pair differ in the sign
// of every other entry, and so do columns of A^T; sums of what is alike serve both.

#pragma once

#include <utility>

#include "vectors.h"

namespace jaxstyle::SET {

template <int m>
struct Table;

// B^T and A^T as `winograd.matrices` has them, of kernels as they are and turned.
template <>
struct Table<4> {
  static constexpr int values[2][6][6] = {{{-1, 0, 5, 0, -4, 0},
                                           {0, 1, 1, -4, -4, 0},
                                           {0, -1, 1, 4, -4, 0},
                                           {0, 1, 2, -1, -2, 0},
                                           {0, -1, 2, 1, -2, 0},
                                           {0, 1, 0, -5, 0, 4}},
                                          {{0, -4, 0, 5, 0, -1},
                                           {0, -4, -4, 1, 1, 0},
                                           {0, -4, 4, 1, -1, 0},
                                           {0, -2, -1, 2, 1, 0},
                                           {0, -2, 1, 2, -1, 0},
                                           {4, 0, -5, 0, 1, 0}}};
  static constexpr int results[2][4][6] = {
      {{1, 1, 1, 8, 8, 0}, {0, 1, -1, 4, -4, 0}, {0, 1, 1, 2, 2, 0}, {0, 1, -1, 1, -1, 1}},
      {{0, 1, -1, 1, -1, 1}, {0, 1, 1, 2, 2, 0}, {0, 1, -1, 4, -4, 0}, {1, 1, 1, 8, 8, 0}}};
};
template <>
struct Table<6> {
  static constexpr int values[2][8][8] = {{{4, 0, -21, 0, 21, 0, -4, 0},
                                           {0, -4, -4, 17, 17, -4, -4, 0},
                                           {0, 4, -4, -17, 17, 4, -4, 0},
                                           {0, -2, -1, 10, 5, -8, -4, 0},
                                           {0, 2, -1, -10, 5, 8, -4, 0},
                                           {0, -4, -8, 5, 10, -1, -2, 0},
                                           {0, 4, -8, -5, 10, 1, -2, 0},
                                           {0, -4, 0, 21, 0, -21, 0, 4}},
                                          {{0, -4, 0, 21, 0, -21, 0, 4},
                                           {0, -4, -4, 17, 17, -4, -4, 0},
                                           {0, -4, 4, 17, -17, -4, 4, 0},
                                           {0, -4, -8, 5, 10, -1, -2, 0},
                                           {0, -4, 8, 5, -10, -1, 2, 0},
                                           {0, -2, -1, 10, 5, -8, -4, 0},
                                           {0, -2, 1, 10, -5, -8, 4, 0},
                                           {4, 0, -21, 0, 21, 0, -4, 0}}};
  static constexpr int results[2][6][8] = {{{1, 1, 1, 1, 1, 32, 32, 0},
                                            {0, 1, -1, 2, -2, 16, -16, 0},
                                            {0, 1, 1, 4, 4, 8, 8, 0},
                                            {0, 1, -1, 8, -8, 4, -4, 0},
                                            {0, 1, 1, 16, 16, 2, 2, 0},
                                            {0, 1, -1, 32, -32, 1, -1, 1}},
                                           {{0, 1, -1, 32, -32, 1, -1, 1},
                                            {0, 1, 1, 16, 16, 2, 2, 0},
                                            {0, 1, -1, 8, -8, 4, -4, 0},
                                            {0, 1, 1, 4, 4, 8, 8, 0},
                                            {0, 1, -1, 2, -2, 16, -16, 0},
                                            {1, 1, 1, 1, 1, 32, 32, 0}}};
};

template <int m, bool turned>
struct Transforms {
  static constexpr int n = m + 2, pairs = m / 2;
  using Columns = std::make_integer_sequence<int, n>;
  using Pairs = std::make_integer_sequence<int, pairs>;

  // y = B^T x, (n) to (n)
  static inline void values(const Vector* x, Vector* y) {
    y[0] = sum<0, ALL>(x, Columns{});
    paired_values(x, y, Pairs{});
    y[n - 1] = sum<n - 1, ALL>(x, Columns{});
  }

  // y = A^T x, (n) to (m)
  static inline void results(const Vector* x, Vector* y) {
    Vector even[pairs], odd[pairs];
    for (int p = 0; p < pairs; p++) {
      even[p] = x[2 * p + 1] + x[2 * p + 2];
      odd[p] = x[2 * p + 1] - x[2 * p + 2];
    }
    all_results(x, even, odd, y, std::make_integer_sequence<int, m>{});
  }

 private:
  enum Which { ODD = -1, ALL = 0, EVEN = 1 };

  static constexpr int value(int row, int column) { return Table<m>::values[turned][row][column]; }
  static constexpr int result(int row, int column) {
    return Table<m>::results[turned][row][column];
  }

  template <int factor>
  static inline void add(Vector& sum, Vector x) {
    if constexpr (factor == 1) {
      sum += x;
    } else if constexpr (factor == -1) {
      sum -= x;
    } else if constexpr (factor != 0) {
      sum += x * float(factor);
    }
  }

  // What row and row + 1 share: the terms of equal sign are even, those of opposite sign odd.
  template <int row, Which which, int... c>
  static inline Vector sum(const Vector* x, std::integer_sequence<int, c...>) {
    Vector found{};
    (add<(which == ALL || value(row + (which != ALL), c) == which * value(row, c)) ? value(row, c)
                                                                                   : 0>(found, x[c]),
     ...);
    return found;
  }

  template <int... p>
  static inline void paired_values(const Vector* x, Vector* y, std::integer_sequence<int, p...>) {
    (pair_of_values<2 * p + 1>(x, y), ...);
  }

  template <int row>
  static inline void pair_of_values(const Vector* x, Vector* y) {
    Vector even = sum<row, EVEN>(x, Columns{}), odd = sum<row, ODD>(x, Columns{});
    y[row] = even + odd;
    y[row + 1] = even - odd;
  }

  template <int... r>
  static inline void all_results(const Vector* x, const Vector* even, const Vector* odd, Vector* y,
                                 std::integer_sequence<int, r...>) {
    ((y[r] = one_result<r>(x, even, odd, Pairs{})), ...);
  }

  template <int row, int... p>
  static inline Vector one_result(const Vector* x, const Vector* even, const Vector* odd,
                                  std::integer_sequence<int, p...>) {
    Vector found{};
    add<result(row, 0)>(found, x[0]);
    add<result(row, n - 1)>(found, x[n - 1]);
    (add<result(row, 2 * p + 1)>(
         found, result(row, 2 * p + 1) == result(row, 2 * p + 2) ? even[p] : odd[p]),
     ...);
    return found;
  }
};

}  // namespace jaxstyle::SET
