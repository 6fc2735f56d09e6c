// Read and respond, backward, for up to 256 channels and 128 words: one block a chunk of an image's pixels.
//
// With G the gradient of the result and P_l = G . v_l, what was read is never formed: G . o = sum_l a_l P_l. So
//   dz   = (G . o - G . r) g (1 - g)                              the gate's logit
//   da_l = g P_l + dz (w_o . v_l) + grad_attention_l              ds_l = scale a_l (da_l - sum_m a_m da_m)
//   grad_r = (1 - g) G + dz w_r + sum_l ds_l k_l                  w_r one more row of the keys, dz of ds
//   grad_k_l = sum_p ds_l r     grad_v_l = sum_p (g a_l) G + w_o sum_p dz a_l
//   grad_w_r = sum_p dz r       grad_w_o = sum_l (sum_p dz a_l) v_l
// Each warp works out ds and g a of its own pixels; then the whole block sums over all of them, each warp other words
// and channels; then each warp turns its pixels of G into those of grad_r.
#pragma once

#include "attend_forward.h"

namespace memgan::cuda {

// Of a chunk's pixels: where they begin and end. N is at most 2^30 here.
struct Chunk {
  int64_t b;
  int begin, end;
  float* partial;
  MEMGAN_DEVICE explicit Chunk(const BackwardArgs& a)
      : b(a.first_image + blockIdx.x / a.chunks),
        begin(int(blockIdx.x % a.chunks * a.chunk_pixels)),
        end(int(begin + a.chunk_pixels < a.N ? begin + a.chunk_pixels : a.N)),
        partial(static_cast<float*>(a.partial) + blockIdx.x * partial_size(a)) {}
};

// The sums of dz a_l, one row of `words` numbers a warp or group, and of dz in row `of_gate` → those of a chunk. Words
// begin with row `first`.
MEMGAN_DEVICE void add_read_sums(
    const BackwardArgs& a, const float* parts, int many, int words, int count, int first, int of_gate, float* sums) {
  float* reads = sums + (a.L + 1) * a.C + a.L * a.D;
  for (int l = int(threadIdx.x); l <= count; l += int(blockDim.x)) {
    const int row = l < count ? first + l : of_gate;
    float sum = 0;
    for (int i = 0; i < many; ++i) sum += parts[i * words + row];
    reads[l < count ? l : a.L] = sum;
  }
}

}  // namespace memgan::cuda
