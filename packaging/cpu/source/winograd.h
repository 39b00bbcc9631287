// Winograd's 3x3 convolution with everything of a tile in a processor's cache.
//
// Padding is one row and column of zeros, stride 1. jaxstyle/network/winograd.py says what the
// method is; here are its F(4x4, 3x3) and F(6x6, 3x3), for channels in multiples of PANEL.

#pragma once

#include <cstdint>
#include <functional>

namespace jaxstyle {

constexpr int64_t PANEL = 32;  // channels out that lie together in a kernel
constexpr int64_t SPACE = 16;  // floats between rows, so that they do not share cache lines' places

struct Convolution {
  const float* image;          // (count, height, width, from), NHWC
  const float* activated;      // of the same shape: the image counts where this is > 0; or null
  const float* const* kernel;  // m + 2 rows of a transformed one, each (m + 2, out / 32, in, 32)
  const float* bias;           // (to); or null
  float* result;               // (count, height, width, to)
  float* scratch;              // see `floats`
  int64_t floats;              // of scratch: for a turned kernel, or for the tiles done together
  int64_t count, height, width;
  int64_t in, out;  // of the kernel; an image has `in` channels, or `out` if the kernel is turned
  int m;            // 4 or 6
  bool turned;      // by 180 degrees, channels in and out swapped: the way back of gradients
  bool together;    // all workers do one product after another: for kernels larger than caches
  bool relu;        // of the result
};

using Work = std::function<void(int64_t item)>;
using Run = std::function<void(int64_t items, const Work& work)>;  // returns when all are done

// Floats of scratch without which nothing can be done.
inline int64_t least_scratch(const Convolution& asked) {
  int64_t positions = (asked.m + 2) * (asked.m + 2);
  if (asked.together) return positions * (asked.in + asked.out + 2 * SPACE);
  return asked.turned ? positions * asked.in * asked.out : 0;
}

// One for each set of a processor's instructions; all are compiled from convolve.cc.
namespace wide {
void convolve(const Convolution&, const Run&);
}
namespace narrow {
void convolve(const Convolution&, const Run&);
}

}  // namespace jaxstyle
