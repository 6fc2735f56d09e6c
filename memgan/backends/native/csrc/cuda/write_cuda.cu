// memory_write on CUDA: the torch side of write_launch.h.
#include "tensors_cuda.h"
#include "write_launch.h"

namespace memgan::cuda {
namespace {

using torch::stable::contiguous;

// Owns what the arguments point to.
struct Write {
  OnDeviceOf device;  // first made, last gone
  Tensor words, summary, word_weight, word_bias, image_weight, image_bias, gate_word, gate_image;
  std::optional<Tensor> mask;

  Write(
      const Tensor& words, const Tensor& summary, const Tensor& word_weight, const Tensor& word_bias,
      const Tensor& image_weight, const Tensor& image_bias, const Tensor& gate_word, const Tensor& gate_image,
      const std::optional<Tensor>& given)
      : device(words),
        words(contiguous(words)),
        summary(contiguous(summary)),
        word_weight(contiguous(word_weight)),
        word_bias(contiguous(word_bias)),
        image_weight(contiguous(image_weight)),
        image_bias(contiguous(image_bias)),
        gate_word(contiguous(gate_word)),
        gate_image(contiguous(gate_image)) {
    if (given) mask = contiguous(*given);
  }

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
    if (mask) a.real = static_cast<const bool*>(mask->const_data_ptr());
  }
};

// Results of one linear layer's backward, and of the gate's part.
struct Gradients {
  Tensor x, weight, bias, gate;
  Gradients(const Tensor& like, std::vector<int64_t> size, int64_t inputs, int64_t M)
      : x(empty_on(like, std::move(size), like.scalar_type())),
        weight(empty_on(like, {M, inputs}, like.scalar_type())),
        bias(empty_on(like, {M}, like.scalar_type())),
        gate(empty_on(like, {1, inputs}, like.scalar_type())) {}

  LinearBackward side(
      int64_t rows, int64_t inputs, const void* from, const void* of_weight, const void* of_gate,
      const bool* real) const {
    return {
        rows,
        inputs,
        from,
        of_weight,
        of_gate,
        real,
        x.mutable_data_ptr(),
        weight.mutable_data_ptr(),
        bias.mutable_data_ptr(),
        gate.mutable_data_ptr()};
  }
};

}  // namespace

Tensor memory_write_forward(
    Tensor words, Tensor image_summary, Tensor word_weight, Tensor word_bias, Tensor image_weight, Tensor image_bias,
    Tensor gate_word, Tensor gate_image, std::optional<Tensor> word_mask) {
  const Write in(
      words, image_summary, word_weight, word_bias, image_weight, image_bias, gate_word, gate_image, word_mask);
  WriteForwardArgs a;
  in.describe(a);
  Tensor out = empty_on(words, {a.B, a.L, a.M}, words.scalar_type());
  a.out = out.mutable_data_ptr();
  check_launch(write_memory(a, in.device.stream()), "the forward of memory_write");
  return out;
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor> memory_write_backward(
    Tensor grad_memory, Tensor words, Tensor image_summary, Tensor word_weight, Tensor word_bias, Tensor image_weight,
    Tensor image_bias, Tensor gate_word, Tensor gate_image, std::optional<Tensor> word_mask) {
  const Write in(
      words, image_summary, word_weight, word_bias, image_weight, image_bias, gate_word, gate_image, word_mask);
  const Tensor grad = contiguous(grad_memory);
  WriteBackwardArgs a;
  in.describe(a);
  a.grad = grad.const_data_ptr();
  const Gradients of_words(words, {a.B, a.L, a.E}, a.E, a.M), of_image(words, {a.B, a.C}, a.C, a.M);
  a.words_side = of_words.side(a.B * a.L, a.E, a.words, a.word_weight, a.gate_word, a.real);
  a.image_side = of_image.side(a.B, a.C, a.summary, a.image_weight, a.gate_image, nullptr);
  const Tensor workspace = empty_on(words, {write_workspace(a)}, ScalarType::Byte);
  a.workspace = workspace.mutable_data_ptr();
  check_launch(write_gradients(a, in.device.stream()), "the backward of memory_write");
  return {of_words.x,      of_image.x,    of_words.weight, of_words.bias,
          of_image.weight, of_image.bias, of_words.gate,   of_image.gate};
}

}  // namespace memgan::cuda

STABLE_TORCH_LIBRARY_IMPL(memgan, CUDA, m) {
  m.impl("memory_write_forward", TORCH_BOX(&memgan::cuda::memory_write_forward));
  m.impl("memory_write_backward", TORCH_BOX(&memgan::cuda::memory_write_backward));
}
