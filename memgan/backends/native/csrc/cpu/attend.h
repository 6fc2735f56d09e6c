// What the CPU kernels of memory_read and memory_refine are given. Plain C++: nothing of torch in here.
//
// Axis letters as in memgan/types.py: B images, C channels of the features, D channels of the values (D = C where
// there is a gate), L words, N = H * W pixels. Strides count elements.
#pragma once

#include <cstdint>

#include "../views.h"
#include "dtype.h"
#include "norm_glu.h"
#include "write.h"

namespace memgan::cpu {

struct AttendArgs {
  Dtype dtype = Dtype::float32;
  int64_t B = 0, C = 0, D = 0, L = 0, N = 0;
  double scale = 1.0;
  Pixels r;                           // (B, C, N)
  Slots keys, values;                 // (B, L, C), (B, L, D)
  const int32_t* words = nullptr;     // (B, L): the real words of an image first, in order
  const int32_t* lengths = nullptr;   // (B,): how many are real
  const void* gate_weight = nullptr;  // (2C,) contiguous; nullptr: no gate, the result is what was read
  const void* gate_bias = nullptr;    // (1,)
};

struct ForwardArgs : AttendArgs {
  MutablePixels out;          // (B, D, N)
  void* attention = nullptr;  // (B, L, N) contiguous, or nullptr: not asked for
  bool streams = false;       // `out` goes past the caches where its rows begin on whole registers
};

// The partial sums of one chunk of an image's pixels, in the dtype that the kernel computes in:
//   slots [L + 1][C]: grad of keys, one row a real word, and behind them one row for the gate's half of r (dz times r)
//   values [L][D]: (g a_l) times grad_out · read [L]: dz times a_l · bias [1]: dz
// Chunks depend on sizes alone, never on the number of threads, and are added in order: so results do not depend on
// the number of threads either.
struct BackwardArgs : AttendArgs {
  Pixels grad_out;                      // (B, D, N)
  Pixels grad_attention;                // (B, L, N); data nullptr: attention had no gradient
  MutablePixels grad_r;                 // (B, C, N)
  bool streams = false;                 // `grad_r` goes past the caches, as the forward's `out`
  void* grad_keys = nullptr;            // (B, L, C) contiguous
  void* grad_values = nullptr;          // (B, L, D) contiguous
  void* partial = nullptr;              // (images, chunks, partial_size), in the dtype that is computed in
  void* gate_partial = nullptr;         // (B, 2C + 1), in the dtype that is computed in
  int64_t first_image = 0, images = 0;  // which images this call works on: what fits the workspace
  int64_t chunks = 1;                   // of an image
  int64_t chunk_pixels = 0;             // a multiple of kPixels * kSteps
};

constexpr int64_t kSteps = 8;  // tiles between two reductions of the backward

inline int64_t partial_size(const AttendArgs& a) { return (a.L + 1) * a.C + a.L * a.D + a.L + 1; }

// One entry per instruction set. A kernel is called once per thread and takes items from `next` until none is left.
struct Kernels {
  const char* name;
  void (*forward)(const ForwardArgs&, int64_t (*next)(void*), void* state);
  void (*backward)(const BackwardArgs&, int64_t (*next)(void*), void* state);
  // Adds the chunks of image `b` in order, and writes its rows of grad_keys, grad_values and gate_partial.
  void (*finish_backward)(const BackwardArgs&, int64_t b);
  // Adds gate_partial over images in order → gate_weight's gradient (2C,) and gate_bias's (1,).
  void (*finish_gate)(const BackwardArgs&, void* grad_weight, void* grad_bias);
  void (*write_forward)(const WriteForwardArgs&, int64_t (*next)(void*), void* state);
  // memory_write's backward: two passes over items, and between them one call.
  void (*write_slopes)(const WriteBackwardArgs&, int64_t (*next)(void*), void* state);
  void (*finish_write_slopes)(const WriteBackwardArgs&);
  void (*write_backward)(const WriteBackwardArgs&, int64_t (*next)(void*), void* state);
  void (*norm_statistics)(const NormGluArgs&, int64_t (*next)(void*), void* state);
  void (*norm_glu_forward)(const NormGluForwardArgs&, int64_t (*next)(void*), void* state);
  void (*norm_glu_sums)(const NormGluBackwardArgs&, int64_t (*next)(void*), void* state);
  void (*norm_glu_backward)(const NormGluBackwardArgs&, int64_t (*next)(void*), void* state);
};

const Kernels& kernels_avx512();
const Kernels& kernels_avx2();
const Kernels& kernels_generic();

constexpr int64_t kForwardItemPixels = 512;  // an item of the forward kernel

}  // namespace memgan::cpu
