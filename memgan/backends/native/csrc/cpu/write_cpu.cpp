// memory_write on the CPU: the torch side of write_forward.h and write_backward.h.
#include "tensors.h"

namespace memgan::cpu {
namespace {

using torch::stable::contiguous;

// Owns what the arguments point to.
struct Write {
  Tensor words, summary, word_weight, word_bias, image_weight, image_bias, gate_word, gate_image;

  void describe(WriteArgs& a) const {
    a.dtype = dtype_of(words);
    a.B = words.size(0);
    a.L = words.size(1);
    a.E = words.size(2);
    a.C = summary.size(1);
    a.M = word_weight.size(0);
    a.words = words.const_data_ptr();
    a.summary = summary.const_data_ptr();
    a.word_weight = word_weight.const_data_ptr();
    a.word_bias = word_bias.const_data_ptr();
    a.image_weight = image_weight.const_data_ptr();
    a.image_bias = image_bias.const_data_ptr();
    a.gate_word = gate_word.const_data_ptr();
    a.gate_image = gate_image.const_data_ptr();
  }
};

Write contiguous_of(
    const Tensor& words, const Tensor& summary, const Tensor& word_weight, const Tensor& word_bias,
    const Tensor& image_weight, const Tensor& image_bias, const Tensor& gate_word, const Tensor& gate_image) {
  return {contiguous(words),        contiguous(summary),    contiguous(word_weight), contiguous(word_bias),
          contiguous(image_weight), contiguous(image_bias), contiguous(gate_word),   contiguous(gate_image)};
}

}  // namespace

Tensor memory_write_forward(
    Tensor words, Tensor image_summary, Tensor word_weight, Tensor word_bias, Tensor image_weight, Tensor image_bias,
    Tensor gate_word, Tensor gate_image) {
  const Write in = contiguous_of(
      words, image_summary, word_weight, word_bias, image_weight, image_bias, gate_word, gate_image);
  WriteForwardArgs a;
  in.describe(a);
  Tensor out = empty_of({a.B, a.L, a.M}, words.scalar_type());
  a.out = out.mutable_data_ptr();
  over_items(kernels().write_forward, a, write_items(a));
  return out;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> memory_write_backward(
    Tensor grad_memory, Tensor words, Tensor image_summary, Tensor word_weight, Tensor word_bias, Tensor image_weight,
    Tensor image_bias, Tensor gate_word, Tensor gate_image) {
  const Write in = contiguous_of(
      words, image_summary, word_weight, word_bias, image_weight, image_bias, gate_word, gate_image);
  const Tensor grad = contiguous(grad_memory);
  WriteBackwardArgs a;
  in.describe(a);
  a.grad = grad.const_data_ptr();
  const auto dtype = words.scalar_type(), computed = computed_in(words);
  Tensor gate_slopes = empty_of({column_tiles(a.M) + 1, a.B * a.L}, computed);
  Tensor word_slopes = empty_of({a.B * a.L, a.M + 1}, computed), image_slopes = empty_of({a.B, a.M + 1}, computed);
  a.gate_slopes = gate_slopes.mutable_data_ptr();

  Tensor grad_words = empty_of({a.B, a.L, a.E}, dtype), grad_summary = empty_of({a.B, a.C}, dtype);
  Tensor grad_word_weight = empty_of({a.M, a.E}, dtype), grad_word_bias = empty_of({a.M}, dtype);
  Tensor grad_image_weight = empty_of({a.M, a.C}, dtype), grad_image_bias = empty_of({a.M}, dtype);
  Tensor grad_gate_word = empty_of({1, a.E}, dtype), grad_gate_image = empty_of({1, a.C}, dtype);
  a.words_side = {
      a.B * a.L,
      a.E,
      a.words,
      a.word_weight,
      a.gate_word,
      word_slopes.mutable_data_ptr(),
      grad_words.mutable_data_ptr(),
      grad_word_weight.mutable_data_ptr(),
      grad_word_bias.mutable_data_ptr(),
      grad_gate_word.mutable_data_ptr()};
  a.image_side = {
      a.B,
      a.C,
      a.summary,
      a.image_weight,
      a.gate_image,
      image_slopes.mutable_data_ptr(),
      grad_summary.mutable_data_ptr(),
      grad_image_weight.mutable_data_ptr(),
      grad_image_bias.mutable_data_ptr(),
      grad_gate_image.mutable_data_ptr()};

  over_items(kernels().write_slopes, a, write_items(a));
  kernels().finish_write_slopes(a);
  int64_t items = 0;
  for (const LinearBackward* side : {&a.words_side, &a.image_side}) items += items_of_x(*side) + items_of_weight(*side, a.M);
  over_items(kernels().write_backward, a, items);
  return {grad_words,        grad_summary,    grad_word_weight, grad_word_bias,
          grad_image_weight, grad_image_bias, grad_gate_word,   grad_gate_image};
}

}  // namespace memgan::cpu

STABLE_TORCH_LIBRARY_IMPL(memgan, CPU, m) {
  m.impl("memory_write_forward", TORCH_BOX(&memgan::cpu::memory_write_forward));
  m.impl("memory_write_backward", TORCH_BOX(&memgan::cpu::memory_write_backward));
}
