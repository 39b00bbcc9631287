// What this processor, and the system on it, can do: x86-64's levels v3 and v4, as far as compilers
// make use of what is new in them. Asked of the processor itself, as Zig's library does not know
// (Intel's manual, volume 2A, CPUID, and volume 1, 13.3, XCR0).

#pragma once

#if defined(__x86_64__)

#include <cpuid.h>

#include <cstdint>
#include <initializer_list>

namespace jaxstyle {

struct Processor {
  bool v3, v4;
};

inline Processor this_processor() {
  auto has = [](unsigned word, std::initializer_list<int> bits) {
    for (int bit : bits) {
      if ((word >> bit & 1) == 0) return false;
    }
    return true;
  };
  unsigned a, b, c, d, seventh, extended;
  if (!__get_cpuid(1, &a, &b, &c, &d)) return {false, false};
  constexpr int FMA = 12, MOVBE = 22, OSXSAVE = 27, AVX = 28, F16C = 29;
  if (!has(c, {FMA, MOVBE, OSXSAVE, AVX, F16C})) return {false, false};
  if (!__get_cpuid_count(7, 0, &a, &seventh, &c, &d)) return {false, false};
  if (!__get_cpuid(0x80000001, &a, &b, &extended, &d)) return {false, false};
  uint32_t saved, rest;  // what the system saves when it changes threads
  __asm__("xgetbv" : "=a"(saved), "=d"(rest) : "c"(0));
  constexpr int XMM = 1, YMM = 2, MASKS = 5, ZMM_LOW = 6, ZMM_HIGH = 7;
  constexpr int BMI1 = 3, AVX2 = 5, BMI2 = 8, LZCNT = 5;
  bool v3 = has(saved, {XMM, YMM}) && has(seventh, {BMI1, AVX2, BMI2}) && has(extended, {LZCNT});
  constexpr int F = 16, DQ = 17, CD = 28, BW = 30, VL = 31;
  bool v4 = v3 && has(saved, {MASKS, ZMM_LOW, ZMM_HIGH}) && has(seventh, {F, DQ, CD, BW, VL});
  return {v3, v4};
}

}  // namespace jaxstyle

#endif
