// What every kernel's arguments share.
#pragma once

namespace memgan::cpu {

enum class Dtype { float32, float64, bfloat16 };

// Pixels (memory channels, in memory_write) that one step of a kernel works on. Four AVX-512 registers of float: with
// six rows of accumulators that makes 24 registers, four for pixels and four to spare.
constexpr int kPixels = 64;

}  // namespace memgan::cpu
