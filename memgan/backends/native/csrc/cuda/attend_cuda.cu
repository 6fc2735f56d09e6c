// memory_read and memory_refine on CUDA: the torch side of attend_launch.h, which attend_float32_cuda.cu and its like
// compile.
#include "attend.h"
#include "tensors_cuda.h"

namespace memgan::cuda {
namespace {

struct GateTensors {
  Tensor weight, bias;
};

// Owns what the arguments point to.
struct Attend {
  OnDeviceOf device;  // first made, last gone
  Tensor features, keys, values;
  std::optional<Tensor> mask;
  std::optional<GateTensors> gate;
  std::optional<Tensor> workspace;

  Attend(
      const Tensor& features, const Tensor& keys, const Tensor& values, const std::optional<Tensor>& mask,
      std::optional<GateTensors> gate)
      : device(features),
        features(with_one_stride(features)),
        keys(keys),
        values(values),
        mask(mask),
        gate(std::move(gate)) {}

  void describe(AttendArgs& a, double scale, bool tf32) const {
    a.dtype = dtype_of(features);
    a.tf32 = tf32;
    a.B = features.size(0);
    a.C = features.size(1);
    a.D = values.size(2);
    a.L = keys.size(1);
    a.N = features.size(2) * features.size(3);
    STD_TORCH_CHECK(a.L <= kMostWords, "memgan: the CUDA kernels take at most ", kMostWords, " words, got ", a.L);
    a.scale = scale;
    a.r = pixels_of(features);
    a.keys = slots_of(keys);
    a.values = slots_of(values);
    if (mask) a.mask = {static_cast<const bool*>(mask->const_data_ptr()), mask->stride(0), mask->stride(1)};
    if (!gate) return;
    a.gate_weight = gate->weight.const_data_ptr();
    a.gate_bias = gate->bias.const_data_ptr();
  }
  // From torch's allocator, which knows of streams and of graphs that are being captured.
  void* bytes(int64_t count) {
    if (count == 0) return nullptr;
    workspace = empty_on(features, {count}, ScalarType::Byte);
    return workspace->mutable_data_ptr();
  }
};

std::tuple<Tensor, Tensor> forward(Attend in, double scale, bool return_attention, bool tf32) {
  ForwardArgs a;
  in.describe(a, scale, tf32);
  Tensor out = empty_pixels_on(in.features, a.D);
  const int64_t height = in.features.size(2), width = in.features.size(3);
  Tensor attention = empty_on(in.features, {a.B, return_attention ? a.L : 0, height, width}, in.features.scalar_type());
  a.out = mutable_pixels_of(out);
  if (return_attention) a.attention = attention.mutable_data_ptr();
  with_stored(a.dtype, [&](auto s) {
    using S = decltype(s);
    a.workspace = in.bytes(forward_workspace_of<S>(a));
    check_launch(forward_of<S>(a, in.device.stream()), "the forward of memory_read and memory_refine");
  });
  return {out, attention};
}

struct Gradients {
  Tensor features, keys, values;
  std::optional<GateTensors> gate;
};

Gradients backward(
    Attend in, const Tensor& grad, const std::optional<Tensor>& grad_attention, double scale, bool tf32) {
  BackwardArgs a;
  in.describe(a, scale, tf32);
  const auto dtype = in.features.scalar_type();
  const Tensor grad_out = with_one_stride(grad);
  std::optional<Tensor> given;
  if (grad_attention && a.L > 0) given = with_one_stride(*grad_attention);
  a.grad_out = pixels_of(grad_out);
  if (given) a.grad_attention = pixels_of(*given);

  Gradients out{
      empty_pixels_on(in.features, a.C), empty_on(in.features, {a.B, a.L, a.C}, dtype),
      empty_on(in.features, {a.B, a.L, a.D}, dtype), std::nullopt};
  a.grad_r = mutable_pixels_of(out.features);
  a.grad_keys = out.keys.mutable_data_ptr();
  a.grad_values = out.values.mutable_data_ptr();
  if (in.gate) {
    out.gate = GateTensors{empty_on(in.features, {1, 2 * a.C}, dtype), empty_on(in.features, {1}, dtype)};
    a.grad_weight = out.gate->weight.mutable_data_ptr();
    a.grad_bias = out.gate->bias.mutable_data_ptr();
  }
  with_stored(a.dtype, [&](auto s) {
    using S = decltype(s);
    a.workspace = in.bytes(backward_workspace_of<S>(a));
    check_launch(backward_of<S>(a, in.device.stream()), "the backward of memory_read and memory_refine");
  });
  return out;
}

}  // namespace

std::tuple<Tensor, Tensor> memory_read_forward(
    Tensor image_features, Tensor keys, Tensor values, std::optional<Tensor> word_mask, double scale,
    bool return_attention, bool allow_tf32) {
  return forward(Attend(image_features, keys, values, word_mask, std::nullopt), scale, return_attention, allow_tf32);
}

std::tuple<Tensor, Tensor, Tensor> memory_read_backward(
    Tensor grad_read, std::optional<Tensor> grad_attention, Tensor image_features, Tensor keys, Tensor values,
    std::optional<Tensor> word_mask, double scale, bool allow_tf32) {
  Gradients out = backward(
      Attend(image_features, keys, values, word_mask, std::nullopt), grad_read, grad_attention, scale, allow_tf32);
  return {out.features, out.keys, out.values};
}

std::tuple<Tensor, Tensor> memory_refine_forward(
    Tensor image_features, Tensor keys, Tensor values, std::optional<Tensor> word_mask, Tensor gate_weight,
    Tensor gate_bias, double scale, bool return_attention, bool allow_tf32) {
  GateTensors gate{torch::stable::contiguous(gate_weight), gate_bias};
  return forward(Attend(image_features, keys, values, word_mask, gate), scale, return_attention, allow_tf32);
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> memory_refine_backward(
    Tensor grad_features, std::optional<Tensor> grad_attention, Tensor image_features, Tensor keys, Tensor values,
    std::optional<Tensor> word_mask, Tensor gate_weight, Tensor gate_bias, double scale, bool allow_tf32) {
  GateTensors gate{torch::stable::contiguous(gate_weight), gate_bias};
  Gradients out =
      backward(Attend(image_features, keys, values, word_mask, gate), grad_features, grad_attention, scale, allow_tf32);
  return {out.features, out.keys, out.values, out.gate->weight, out.gate->bias};
}

}  // namespace memgan::cuda

STABLE_TORCH_LIBRARY_IMPL(memgan, CUDA, m) {
  m.impl("memory_read_forward", TORCH_BOX(&memgan::cuda::memory_read_forward));
  m.impl("memory_read_backward", TORCH_BOX(&memgan::cuda::memory_read_backward));
  m.impl("memory_refine_forward", TORCH_BOX(&memgan::cuda::memory_refine_forward));
  m.impl("memory_refine_backward", TORCH_BOX(&memgan::cuda::memory_refine_backward));
}
