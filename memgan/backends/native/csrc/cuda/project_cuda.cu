// memory_project on CUDA: the torch side of project_launch.h.
#include "attend.h"
#include "project_launch.h"
#include "tensors_cuda.h"

namespace memgan::cuda {
namespace {

using torch::stable::contiguous;

void describe(ProjectArgs& a, const Tensor& memory, const Tensor& key_weight, const Tensor& value_weight) {
  a.dtype = dtype_of(memory);
  a.R = memory.size(0) * memory.size(1);
  a.M = memory.size(2);
  a.memory = memory.const_data_ptr();
  a.keys.channels = key_weight.size(0);
  a.keys.weight = key_weight.const_data_ptr();
  a.values.channels = value_weight.size(0);
  a.values.weight = value_weight.const_data_ptr();
}

}  // namespace

std::tuple<Tensor, Tensor> memory_project_forward(
    Tensor memory, Tensor key_weight, Tensor key_bias, Tensor value_weight, Tensor value_bias) {
  const OnDeviceOf device(memory);
  memory = contiguous(memory);
  key_weight = contiguous(key_weight), key_bias = contiguous(key_bias);
  value_weight = contiguous(value_weight), value_bias = contiguous(value_bias);
  ProjectArgs a;
  describe(a, memory, key_weight, value_weight);
  Tensor keys = empty_on(memory, {memory.size(0), memory.size(1), a.keys.channels}, memory.scalar_type());
  Tensor values = empty_on(memory, {memory.size(0), memory.size(1), a.values.channels}, memory.scalar_type());
  a.keys.bias = key_bias.const_data_ptr();
  a.keys.out = keys.mutable_data_ptr();
  a.values.bias = value_bias.const_data_ptr();
  a.values.out = values.mutable_data_ptr();
  with_stored(a.dtype, [&](auto s) {
    check_launch(project_forward_of<decltype(s)>(a, device.stream()), "the forward of memory_project");
  });
  return {keys, values};
}

std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor> memory_project_backward(
    Tensor grad_keys, Tensor grad_values, Tensor memory, Tensor key_weight, Tensor value_weight, Tensor keys,
    Tensor values) {
  const OnDeviceOf device(memory);
  grad_keys = contiguous(grad_keys), grad_values = contiguous(grad_values);
  memory = contiguous(memory), key_weight = contiguous(key_weight), value_weight = contiguous(value_weight);
  keys = contiguous(keys), values = contiguous(values);
  ProjectBackwardArgs a;
  describe(a, memory, key_weight, value_weight);
  const ScalarType dtype = memory.scalar_type();
  Tensor grad_memory = empty_on(memory, {memory.size(0), memory.size(1), a.M}, dtype);
  a.grad_memory = grad_memory.mutable_data_ptr();
  const auto fill = [&](Projection& p, const Tensor& grad, const Tensor& result) {
    Tensor weight = empty_on(memory, {p.channels, a.M}, dtype), bias = empty_on(memory, {p.channels}, dtype);
    p.grad = grad.const_data_ptr();
    p.result = result.const_data_ptr();
    p.grad_weight = weight.mutable_data_ptr();
    p.grad_bias = bias.mutable_data_ptr();
    return std::pair{weight, bias};
  };
  const auto of_keys = fill(a.keys, grad_keys, keys), of_values = fill(a.values, grad_values, values);
  const Tensor workspace = empty_on(memory, {project_workspace(a)}, ScalarType::Byte);
  a.workspace = workspace.mutable_data_ptr();
  with_stored(a.dtype, [&](auto s) {
    check_launch(project_backward_of<decltype(s)>(a, device.stream()), "the backward of memory_project");
  });
  return {grad_memory, of_keys.first, of_keys.second, of_values.first, of_values.second};
}

}  // namespace memgan::cuda

STABLE_TORCH_LIBRARY_IMPL(memgan, CUDA, m) {
  m.impl("memory_project_forward", TORCH_BOX(&memgan::cuda::memory_project_forward));
  m.impl("memory_project_backward", TORCH_BOX(&memgan::cuda::memory_project_backward));
}
