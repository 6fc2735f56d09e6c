// The CPU kernels for whatever the compiler takes for granted (SSE2 on x86-64, NEON on arm64).
#define MEMGAN_ISA generic
#define MEMGAN_VECTOR_BYTES 16
#include "attend_finish.h"
#include "norm_glu_backward.h"
#include "write_backward.h"

namespace memgan::cpu {

const Kernels& kernels_generic() {
  static const Kernels kernels{
      "generic",
      generic::forward,
      generic::backward,
      generic::finish_backward,
      generic::finish_gate,
      generic::write_forward,
      generic::write_slopes,
      generic::finish_write_slopes,
      generic::write_backward,
      generic::norm_statistics,
      generic::norm_glu_forward,
      generic::norm_glu_sums,
      generic::norm_glu_backward};
  return kernels;
}

}  // namespace memgan::cpu
