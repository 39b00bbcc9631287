// The convolution: values of tiles, products with the kernel, results of tiles.

#include <algorithm>
#include <cstdint>
#include <memory>

#include "product.h"
#include "transforms.h"
#include "vectors.h"
#include "winograd.h"

namespace jaxstyle::SET {
namespace {

constexpr int64_t TILES = 12;  // that a worker does at once: what they take fits its cache

// This thread's own memory, which it keeps.
float* own_scratch(int64_t floats) {
  struct Line {
    alignas(64) float floats[16];  // of a cache
  };
  thread_local std::unique_ptr<Line[]> kept;
  thread_local int64_t size = 0;
  if (size < floats) {
    kept.reset(new Line[(floats + 15) / 16]);
    size = floats;
  }
  return reinterpret_cast<float*>(kept.get());
}

template <int m, bool turned>
class Convolver {
 public:
  explicit Convolver(const Convolution& asked) : asked_(asked) {}

  void run(const Run& run) const {
    if (asked_.together) {
      do_together(run);
    } else {
      do_apart(run);
    }
  }

 private:
  static constexpr int n = m + 2, positions = n * n;
  using Transform = Transforms<m, turned>;

  // Each worker does all of a few tiles, from their values to their results.
  void do_apart(const Run& run) const {
    const float* kernel = turned ? turned_kernel(run) : nullptr;
    int64_t blocks = (tiles_ + TILES - 1) / TILES;
    run(blocks, [&](int64_t block) {
      int64_t first = block * tiles_ / blocks, after = (block + 1) * tiles_ / blocks;
      float* values = own_scratch(positions * TILES * (values_stride_ + results_stride_));
      float* products = values + positions * TILES * values_stride_;
      for (int64_t tile = first; tile < after; tile++) {
        values_of(tile, values + (tile - first) * values_stride_, TILES * values_stride_);
      }
      for (int64_t position = 0; position < positions; position++) {
        const float* own = turned ? kernel + position * from_ * to_ : kernel_at(position);
        for (int64_t channel = 0; channel < to_; channel += PANEL) {
          multiply(values + position * TILES * values_stride_, values_stride_,
                   own + channel * from_, from_,
                   products + position * TILES * results_stride_ + channel, results_stride_,
                   after - first);
        }
      }
      for (int64_t tile = first; tile < after; tile++) {
        results_of(tile, products + (tile - first) * results_stride_, TILES * results_stride_);
      }
    });
  }

  // All workers compute the values of many tiles, then the products, one part of the kernel each,
  // then the results: a large kernel is read once for many tiles.
  void do_together(const Run& run) const {
    int64_t most = asked_.floats / (positions * (values_stride_ + results_stride_));
    int64_t blocks = (tiles_ + most - 1) / most;
    float* values = asked_.scratch;
    float* products = values + positions * most * values_stride_;
    for (int64_t block = 0; block < blocks; block++) {
      int64_t first = block * tiles_ / blocks, after = (block + 1) * tiles_ / blocks;
      run(after - first, [&](int64_t i) {
        values_of(first + i, values + i * values_stride_, most * values_stride_);
      });
      int64_t panels = to_ / PANEL;
      run(positions * panels, [&](int64_t item) {
        int64_t position = item / panels, channel = item % panels * PANEL;
        const float* panel = kernel_at(position) + channel * from_;
        if (turned) {
          float* own = own_scratch(from_ * PANEL);
          turn(kernel_at(position), asked_.in, asked_.out, channel, own);
          panel = own;
        }
        multiply(values + position * most * values_stride_, values_stride_, panel, from_,
                 products + position * most * results_stride_ + channel, results_stride_,
                 after - first);
      });
      run(after - first, [&](int64_t i) {
        results_of(first + i, products + i * results_stride_, most * results_stride_);
      });
    }
  }

  const float* turned_kernel(const Run& run) const {
    int64_t panels = to_ / PANEL;
    run(positions * panels, [&](int64_t item) {
      int64_t position = item / panels, channel = item % panels * PANEL;
      float* own = asked_.scratch + position * from_ * to_ + channel * from_;
      turn(kernel_at(position), asked_.in, asked_.out, channel, own);
    });
    return asked_.scratch;
  }

  const float* kernel_at(int64_t position) const {
    return asked_.kernel[position / n] + position % n * asked_.in * asked_.out;
  }

  struct Place {
    int64_t pixels;     // of the images before
    int64_t top, left;  // of the tile's results
  };

  Place place_of(int64_t tile) const {
    int64_t image = tile / (down_ * across_);
    return {image * asked_.height * asked_.width, tile / across_ % down_ * m, tile % across_ * m};
  }

  // Position i of the tile's values goes to `values + i * stride`.
  void values_of(int64_t tile, float* values, int64_t stride) const {
    Place place = place_of(tile);
    int64_t top = place.top - 1, left = place.left - 1;
    bool inside = top >= 0 && left >= 0 && top + n <= asked_.height && left + n <= asked_.width;
    int64_t start = (place.pixels + top * asked_.width + left) * from_;
    for (int64_t channel = 0; channel < from_; channel += LANES) {
      Vector half[n][n];
      for (int x = 0; x < n; x++) {
        Vector column[n], transformed[n];
        bool column_inside = left + x >= 0 && left + x < asked_.width;
#pragma GCC unroll 8
        for (int y = 0; y < n; y++) {
          bool seen = inside || (column_inside && top + y >= 0 && top + y < asked_.height);
          int64_t at = start + (y * asked_.width + x) * from_ + channel;
          column[y] = seen ? read(at) : Vector{};
        }
        Transform::values(column, transformed);
#pragma GCC unroll 8
        for (int y = 0; y < n; y++) half[y][x] = transformed[y];
      }
      for (int y = 0; y < n; y++) {
        Vector transformed[n];
        Transform::values(half[y], transformed);
#pragma GCC unroll 8
        for (int x = 0; x < n; x++) store(values + (y * n + x) * stride + channel, transformed[x]);
      }
    }
  }

  Vector read(int64_t at) const {
    Vector found = load(asked_.image + at);
    if (asked_.activated == nullptr) return found;
    Vector activated = load(asked_.activated + at);
    return activated > 0.0f ? found : Vector{};
  }

  // Position i of the tile's products is at `products + i * stride`.
  void results_of(int64_t tile, const float* products, int64_t stride) const {
    Place place = place_of(tile);
    int64_t down = std::min<int64_t>(m, asked_.height - place.top);
    int64_t across = std::min<int64_t>(m, asked_.width - place.left);
    int64_t start = (place.pixels + place.top * asked_.width + place.left) * to_;
    for (int64_t channel = 0; channel < to_; channel += LANES) {
      Vector half[n][m];
      for (int y = 0; y < n; y++) {
        Vector row[n];
#pragma GCC unroll 8
        for (int x = 0; x < n; x++) row[x] = load(products + (y * n + x) * stride + channel);
        Transform::results(row, half[y]);
      }
      Vector bias = asked_.bias == nullptr ? Vector{} : load(asked_.bias + channel);
      for (int64_t x = 0; x < across; x++) {
        Vector column[n], results[m];
#pragma GCC unroll 8
        for (int y = 0; y < n; y++) column[y] = half[y][x];
        Transform::results(column, results);
#pragma GCC unroll 8
        for (int64_t y = 0; y < m; y++) {
          Vector result = results[y] + bias;
          if (asked_.relu) result = result < 0.0f ? Vector{} : result;  // what is no number stays
          if (y < down) store(asked_.result + start + (y * asked_.width + x) * to_ + channel, result);
        }
      }
    }
  }

  const Convolution& asked_;
  const int64_t from_ = turned ? asked_.out : asked_.in;
  const int64_t to_ = turned ? asked_.in : asked_.out;
  const int64_t values_stride_ = from_ + SPACE, results_stride_ = to_ + SPACE;
  const int64_t down_ = (asked_.height + m - 1) / m, across_ = (asked_.width + m - 1) / m;
  const int64_t tiles_ = asked_.count * down_ * across_;
};

}  // namespace

void convolve(const Convolution& asked, const Run& run) {
  if (asked.m == 4) {
    asked.turned ? Convolver<4, true>(asked).run(run) : Convolver<4, false>(asked).run(run);
  } else {
    asked.turned ? Convolver<6, true>(asked).run(run) : Convolver<6, false>(asked).run(run);
  }
}

}  // namespace jaxstyle::SET
