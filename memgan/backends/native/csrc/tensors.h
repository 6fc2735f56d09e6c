// Tensors of torch's stable ABI ↔ the plain views that kernels are given, on any device.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "views.h"

namespace memgan {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline ScalarType computed_in(const Tensor& t) {
  return t.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// (B, X, H, W) with one stride for all pixels: true of contiguous, channels_last and most slices of them.
inline bool pixels_have_one_stride(const Tensor& t) {
  return t.size(2) <= 1 || t.size(3) <= 1 || t.stride(2) == t.size(3) * t.stride(3);
}
inline Tensor with_one_stride(const Tensor& t) { return pixels_have_one_stride(t) ? t : torch::stable::contiguous(t); }
inline int64_t pixel_stride(const Tensor& t) { return t.size(3) > 1 ? t.stride(3) : t.stride(2); }

inline Pixels pixels_of(const Tensor& t) { return {t.const_data_ptr(), t.stride(0), t.stride(1), pixel_stride(t)}; }
inline MutablePixels mutable_pixels_of(const Tensor& t) {
  return {t.mutable_data_ptr(), t.stride(0), t.stride(1), pixel_stride(t)};
}
inline Slots slots_of(const Tensor& t) { return {t.const_data_ptr(), t.stride(0), t.stride(1), t.stride(2)}; }

// A fresh contiguous tensor on the device of `like`.
inline Tensor empty_on(const Tensor& like, std::vector<int64_t> size, ScalarType dtype) {
  return torch::stable::empty(size, dtype, std::nullopt, like.device());
}

// A fresh (B, channels, H, W) that lies in memory as `like` does.
inline Tensor empty_pixels_on(const Tensor& like, int64_t channels) {
  const std::array<int64_t, 4> size{like.size(0), channels, like.size(2), like.size(3)};
  const bool last = like.stride(1) == 1 && like.size(1) > 1 && pixel_stride(like) != 1;
  return torch::stable::empty(
      size, like.scalar_type(), std::nullopt, like.device(), std::nullopt,
      last ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous);
}

}  // namespace memgan
