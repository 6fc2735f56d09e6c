// The CPU kernels for AVX-512.
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
#pragma clang attribute push( \
    __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prfchw"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prfchw")
#endif
#define MEMGAN_ISA avx512
#define MEMGAN_VECTOR_BYTES 64
#include "attend_finish.h"
#include "norm_glu_backward.h"
#include "write_backward.h"

namespace memgan::cpu {

const Kernels& kernels_avx512() {
  static const Kernels kernels{
      "avx512",
      avx512::forward,
      avx512::backward,
      avx512::finish_backward,
      avx512::finish_gate,
      avx512::write_forward,
      avx512::write_slopes,
      avx512::finish_write_slopes,
      avx512::write_backward,
      avx512::norm_statistics,
      avx512::norm_glu_forward,
      avx512::norm_glu_sums,
      avx512::norm_glu_backward};
  return kernels;
}

}  // namespace memgan::cpu

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif  // x86-64
