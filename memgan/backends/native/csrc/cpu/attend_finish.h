// Sums over chunks and images, always in the same order.
#pragma once

#include "attend_backward.h"

namespace memgan::cpu::MEMGAN_ISA {

template <typename S, typename T = typename Compute<S>::type>
void finish_image(const BackwardArgs& a, int64_t b) {
  const int64_t size = partial_size(a), words = a.lengths[b];
  T* sum = static_cast<T*>(a.partial) + (b - a.first_image) * a.chunks * size;
  for (int64_t chunk = 1; chunk < a.chunks; ++chunk)
    for (int64_t i = 0; i < size; ++i) sum[i] += sum[chunk * size + i];
  const T *slots = sum, *values = sum + (a.L + 1) * a.C, *read_sum = values + a.L * a.D;
  S* grad_keys = static_cast<S*>(a.grad_keys) + b * a.L * a.C;
  S* grad_values = static_cast<S*>(a.grad_values) + b * a.L * a.D;
  std::fill(grad_keys, grad_keys + a.L * a.C, written<S>(T(0)));  // padding has no gradient
  std::fill(grad_values, grad_values + a.L * a.D, written<S>(T(0)));
  const S* weight = static_cast<const S*>(a.gate_weight);
  T* gate = weight == nullptr ? nullptr : static_cast<T*>(a.gate_partial) + b * (2 * a.C + 1);
  if (gate != nullptr) {
    std::copy(slots + words * a.C, slots + (words + 1) * a.C, gate);
    std::fill(gate + a.C, gate + 2 * a.C, T(0));
    gate[2 * a.C] = read_sum[a.L];
  }
  for (int64_t row = 0; row < words; ++row) {
    const int64_t word = a.words[b * a.L + row];
    for (int64_t c = 0; c < a.C; ++c) grad_keys[word * a.C + c] = written<S>(slots[row * a.C + c]);
    const S* value = static_cast<const S*>(a.values.data) + b * a.values.batch + word * a.values.word;
    for (int64_t d = 0; d < a.D; ++d) {
      T grad = values[row * a.D + d];
      if (gate != nullptr) {
        grad += read(weight[a.C + d]) * read_sum[row];
        gate[a.C + d] += read_sum[row] * read(value[d * a.values.channel]);
      }
      grad_values[word * a.D + d] = written<S>(grad);
    }
  }
}

template <typename S, typename T = typename Compute<S>::type>
void finish_weights(const BackwardArgs& a, void* grad_weight, void* grad_bias) {
  const T* gate = static_cast<const T*>(a.gate_partial);
  for (int64_t i = 0; i <= 2 * a.C; ++i) {
    T sum = 0;
    for (int64_t b = 0; b < a.B; ++b) sum += gate[b * (2 * a.C + 1) + i];
    S* to = i < 2 * a.C ? static_cast<S*>(grad_weight) + i : static_cast<S*>(grad_bias);
    *to = written<S>(sum);
  }
}

inline void finish_backward(const BackwardArgs& a, int64_t b) {
  switch (a.dtype) {
    case Dtype::float32: return finish_image<float>(a, b);
    case Dtype::float64: return finish_image<double>(a, b);
    case Dtype::bfloat16: return finish_image<Bf16>(a, b);
  }
}

inline void finish_gate(const BackwardArgs& a, void* grad_weight, void* grad_bias) {
  switch (a.dtype) {
    case Dtype::float32: return finish_weights<float>(a, grad_weight, grad_bias);
    case Dtype::float64: return finish_weights<double>(a, grad_weight, grad_bias);
    case Dtype::bfloat16: return finish_weights<Bf16>(a, grad_weight, grad_bias);
  }
}

}  // namespace memgan::cpu::MEMGAN_ISA
