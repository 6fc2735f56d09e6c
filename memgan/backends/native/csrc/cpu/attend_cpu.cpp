// memory_read and memory_refine on the CPU: the torch side of attend_forward.h and attend_backward.h.
#include "tensors.h"

namespace memgan::cpu {
namespace {

constexpr int64_t kWorkspaceBytes = 6 << 20;  // of partial sums

struct Gate {
  Tensor weight, bias;
};

// Owns what the arguments point to.
struct Attend {
  Tensor features, keys, values;
  std::optional<Gate> gate;
  RealWords real;

  Attend(
      const Tensor& features, const Tensor& keys, const Tensor& values, const std::optional<Tensor>& mask,
      std::optional<Gate> gate)
      : features(with_one_stride(features)),
        keys(keys),
        values(values),
        gate(std::move(gate)),
        real(mask, keys.size(0), keys.size(1)) {}

  void describe(AttendArgs& a, double scale) const {
    a.dtype = dtype_of(features);
    a.B = features.size(0);
    a.C = features.size(1);
    a.D = values.size(2);
    a.L = keys.size(1);
    a.N = features.size(2) * features.size(3);
    a.scale = scale;
    a.r = pixels_of(features);
    a.keys = slots_of(keys);
    a.values = slots_of(values);
    a.words = real.words.data();
    a.lengths = real.lengths.data();
    if (!gate) return;
    a.gate_weight = gate->weight.const_data_ptr();
    a.gate_bias = gate->bias.const_data_ptr();
  }
};

std::tuple<Tensor, Tensor> forward(const Attend& in, double scale, bool return_attention) {
  ForwardArgs a;
  in.describe(a, scale);
  Tensor out = empty_pixels(in.features, a.D);
  Tensor attention =
      empty_of({a.B, return_attention ? a.L : 0, in.features.size(2), in.features.size(3)}, in.features.scalar_type());
  a.out = mutable_pixels_of(out);
  a.streams = beyond_caches((in.features.numel() + out.numel()) * out.element_size());
  if (return_attention) a.attention = attention.mutable_data_ptr();
  const int64_t items = a.B * ((a.N + kForwardItemPixels - 1) / kForwardItemPixels);
  over_items(kernels().forward, a, items);
  return {out, attention};
}

struct Gradients {
  Tensor features, keys, values;
  std::optional<Gate> gate;
};

Gradients backward(const Attend& in, const Tensor& grad, const std::optional<Tensor>& grad_attention, double scale) {
  BackwardArgs a;
  in.describe(a, scale);
  const auto dtype = in.features.scalar_type(), computed = computed_in(in.features);
  const Tensor grad_out = with_one_stride(grad);
  std::optional<Tensor> given;
  if (grad_attention && a.L > 0) given = with_one_stride(*grad_attention);
  a.grad_out = pixels_of(grad_out);
  if (given) a.grad_attention = pixels_of(*given);

  Gradients out{
      empty_pixels(in.features, a.C), empty_of({a.B, a.L, a.C}, dtype), empty_of({a.B, a.L, a.D}, dtype), std::nullopt};
  a.grad_r = mutable_pixels_of(out.features);
  a.streams =
      beyond_caches((in.features.numel() + grad_out.numel() + out.features.numel()) * out.features.element_size());
  a.grad_keys = out.keys.mutable_data_ptr();
  a.grad_values = out.values.mutable_data_ptr();

  // Chunks by sizes alone; as many images at a time as the workspace holds.
  const int64_t group = kSteps * kPixels;
  const int64_t bytes = partial_size(a) * (computed == ScalarType::Double ? 8 : 4);
  const int64_t most =
      std::max<int64_t>(1, kWorkspaceBytes / (bytes * std::max<int64_t>(1, std::min<int64_t>(a.B, 16))));
  const int64_t groups = (a.N + group - 1) / group;
  a.chunk_pixels = group * std::max<int64_t>(1, (groups + most - 1) / most);
  a.chunks = std::max<int64_t>(1, (a.N + a.chunk_pixels - 1) / a.chunk_pixels);
  const int64_t images = std::clamp<int64_t>(kWorkspaceBytes / (bytes * a.chunks), 1, std::max<int64_t>(1, a.B));
  Tensor partial = empty_of({images, a.chunks, partial_size(a)}, computed);
  a.partial = partial.mutable_data_ptr();
  Tensor gate_partial = empty_of({a.B, 2 * a.C + 1}, computed);
  a.gate_partial = gate_partial.mutable_data_ptr();

  for (a.first_image = 0; a.first_image < a.B; a.first_image += images) {
    a.images = std::min(images, a.B - a.first_image);
    over_items(kernels().backward, a, a.images * a.chunks);
    torch::stable::parallel_for(a.first_image, a.first_image + a.images, 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) kernels().finish_backward(a, b);
    });
  }
  if (in.gate) {
    out.gate = Gate{empty_of({1, 2 * a.C}, dtype), empty_of({1}, dtype)};
    kernels().finish_gate(a, out.gate->weight.mutable_data_ptr(), out.gate->bias.mutable_data_ptr());
  }
  return out;
}

}  // namespace

std::tuple<Tensor, Tensor> memory_read_forward(
    Tensor image_features, Tensor keys, Tensor values, std::optional<Tensor> word_mask, double scale,
    bool return_attention, bool /*allow_tf32*/) {
  return forward(Attend(image_features, keys, values, word_mask, std::nullopt), scale, return_attention);
}

std::tuple<Tensor, Tensor, Tensor> memory_read_backward(
    Tensor grad_read, std::optional<Tensor> grad_attention, Tensor image_features, Tensor keys, Tensor values,
    std::optional<Tensor> word_mask, double scale, bool /*allow_tf32*/) {
  const Attend in(image_features, keys, values, word_mask, std::nullopt);
  Gradients out = backward(in, grad_read, grad_attention, scale);
  return {out.features, out.keys, out.values};
}

std::tuple<Tensor, Tensor> memory_refine_forward(
    Tensor image_features, Tensor keys, Tensor values, std::optional<Tensor> word_mask, Tensor gate_weight,
    Tensor gate_bias, double scale, bool return_attention, bool /*allow_tf32*/) {
  Gate gate{torch::stable::contiguous(gate_weight), gate_bias};
  return forward(Attend(image_features, keys, values, word_mask, gate), scale, return_attention);
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> memory_refine_backward(
    Tensor grad_features, std::optional<Tensor> grad_attention, Tensor image_features, Tensor keys, Tensor values,
    std::optional<Tensor> word_mask, Tensor gate_weight, Tensor gate_bias, double scale, bool /*allow_tf32*/) {
  Gate gate{torch::stable::contiguous(gate_weight), gate_bias};
  const Attend in(image_features, keys, values, word_mask, gate);
  Gradients out = backward(in, grad_features, grad_attention, scale);
  return {out.features, out.keys, out.values, out.gate->weight, out.gate->bias};
}

}  // namespace memgan::cpu

STABLE_TORCH_LIBRARY_IMPL(memgan, CPU, m) {
  m.impl("memory_read_forward", TORCH_BOX(&memgan::cpu::memory_read_forward));
  m.impl("memory_read_backward", TORCH_BOX(&memgan::cpu::memory_read_backward));
  m.impl("memory_refine_forward", TORCH_BOX(&memgan::cpu::memory_refine_forward));
  m.impl("memory_refine_backward", TORCH_BOX(&memgan::cpu::memory_refine_backward));
}
