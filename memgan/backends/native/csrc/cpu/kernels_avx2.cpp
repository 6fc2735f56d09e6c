// The CPU kernels for AVX2 with FMA.
#if defined(__x86_64__)
// The standard library before the target is switched on: its inline functions are shared between files, and the
// linker must not keep a copy that older machines cannot run.
#include <immintrin.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,prfchw"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,prfchw")
#endif
#define MEMGAN_ISA avx2
#define MEMGAN_VECTOR_BYTES 32
#include "attend_finish.h"
#include "norm_glu_backward.h"
#include "write_backward.h"

namespace memgan::cpu {

const Kernels& kernels_avx2() {
  static const Kernels kernels{
      "avx2",
      avx2::forward,
      avx2::backward,
      avx2::finish_backward,
      avx2::finish_gate,
      avx2::write_forward,
      avx2::write_slopes,
      avx2::finish_write_slopes,
      avx2::write_backward,
      avx2::norm_statistics,
      avx2::norm_glu_forward,
      avx2::norm_glu_sums,
      avx2::norm_glu_backward};
  return kernels;
}

}  // namespace memgan::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif  // x86-64
