// Vectors of floats as wide as a processor's registers. SET names what this is compiled for.

#pragma once

#include <cstdint>

namespace jaxstyle::SET {

#if defined(__AVX512F__)
constexpr int64_t LANES = 16, ROWS = 12;  // ROWS x 2 vectors of sums fit the 32 registers
#elif defined(__AVX2__)
constexpr int64_t LANES = 8, ROWS = 6;  // the 16 registers
#else
constexpr int64_t LANES = 4, ROWS = 12;
#endif

typedef float Vector __attribute__((vector_size(4 * LANES)));
typedef float Unaligned __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

inline Vector load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
inline void store(float* to, Vector vector) { *reinterpret_cast<Unaligned*>(to) = vector; }

}  // namespace jaxstyle::SET
