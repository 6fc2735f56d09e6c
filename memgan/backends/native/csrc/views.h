// What kernels of every device know of a tensor: where it lies, and strides in elements. Plain C++, nothing of torch.
//
// Axis letters as in memgan/types.py: B images, C channels, L words, N = H * W pixels.
#pragma once

#include <cstdint>

namespace memgan {

// A (B, X, N) view: X are channels or words, and the N pixels have one stride (checked by the caller).
struct Pixels {
  const void* data = nullptr;
  int64_t batch = 0, row = 0, pixel = 0;
};
struct MutablePixels {
  void* data = nullptr;
  int64_t batch = 0, row = 0, pixel = 0;
};
// A (B, L, X) view of keys or values.
struct Slots {
  const void* data = nullptr;
  int64_t batch = 0, word = 0, channel = 0;
};

}  // namespace memgan
