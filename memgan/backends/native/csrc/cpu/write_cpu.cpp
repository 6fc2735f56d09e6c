// memory_write on the CPU: the torch side of write_forward.h and write_backward.h.
#include <cstring>

#include "tensors.h"

namespace memgan::cpu {
namespace {

using torch::stable::contiguous;

// Zeros where a word is padding: what `rows` holds of (B, L) words.
void clear_padding(const Tensor& rows, const Tensor& mask) {
  const bool* real = static_cast<const bool*>(mask.const_data_ptr());
  const int64_t L = rows.size(1), bytes = rows.size(2) * rows.element_size();
  char* to = static_cast<char*>(rows.mutable_data_ptr());
  for (int64_t b = 0; b < rows.size(0); ++b)
    for (int64_t l = 0; l < L; ++l)
      if (!real[b * mask.stride(0) + l * mask.stride(1)]) std::memset(to + (b * L + l) * bytes, 0, bytes);
}

// Contiguous words, with zeros in padding.
Tensor words_of(const Tensor& words, const std::optional<Tensor>& mask) {
  if (!mask || words.numel() == 0) return contiguous(words);
  Tensor copy = empty_of({words.size(0), words.size(1), words.size(2)}, words.scalar_type());
  torch::stable::copy_(copy, words);
  clear_padding(copy, *mask);
  return copy;
}

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
    const Tensor& image_weight, const Tensor& image_bias, const Tensor& gate_word, const Tensor& gate_image,
    const std::optional<Tensor>& mask) {
  return {words_of(words, mask),    contiguous(summary),    contiguous(word_weight), contiguous(word_bias),
          contiguous(image_weight), contiguous(image_bias), contiguous(gate_word),   contiguous(gate_image)};
}

}  // namespace

Tensor memory_write_forward(
    Tensor words, Tensor image_summary, Tensor word_weight, Tensor word_bias, Tensor image_weight, Tensor image_bias,
    Tensor gate_word, Tensor gate_image, std::optional<Tensor> word_mask) {
  const Write in = contiguous_of(
      words, image_summary, word_weight, word_bias, image_weight, image_bias, gate_word, gate_image, word_mask);
  WriteForwardArgs a;
  in.describe(a);
  Tensor out = empty_of({a.B, a.L, a.M}, words.scalar_type());
  a.out = out.mutable_data_ptr();
  over_items(kernels().write_forward, a, write_items(a));
  return out;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> memory_write_backward(
    Tensor grad_memory, Tensor words, Tensor image_summary, Tensor word_weight, Tensor word_bias, Tensor image_weight,
    Tensor image_bias, Tensor gate_word, Tensor gate_image, std::optional<Tensor> word_mask) {
  const Write in = contiguous_of(
      words, image_summary, word_weight, word_bias, image_weight, image_bias, gate_word, gate_image, word_mask);
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
  for (const LinearBackward* side : {&a.words_side, &a.image_side})
    items += items_of_x(*side) + items_of_weight(*side, a.M);
  over_items(kernels().write_backward, a, items);
  if (word_mask) clear_padding(grad_words, *word_mask);
  return {grad_words,        grad_summary,    grad_word_weight, grad_word_bias,
          grad_image_weight, grad_image_bias, grad_gate_word,   grad_gate_image};
}

}  // namespace memgan::cpu

STABLE_TORCH_LIBRARY_IMPL(memgan, CPU, m) {
  m.impl("memory_write_forward", TORCH_BOX(&memgan::cpu::memory_write_forward));
  m.impl("memory_write_backward", TORCH_BOX(&memgan::cpu::memory_write_backward));
}
