// Tensors of torch's stable ABI ↔ the plain arguments of the CPU kernels, and torch's pool of threads.
#pragma once

#if defined(__linux__)
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#endif

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <optional>
#include <utility>
#include <vector>

#include "../tensors.h"
#include "attend.h"

namespace memgan::cpu {

inline Dtype dtype_of(const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Float: return Dtype::float32;
    case ScalarType::Double: return Dtype::float64;
    case ScalarType::BFloat16: return Dtype::bfloat16;
    default: STD_TORCH_CHECK(false, "memgan: the CPU kernels take float32, float64 and bfloat16");
  }
}

// Asks for large pages under a large fresh result: its first touch then faults once in 2 MB rather than once in 4 KB,
// and at 128 * 128 those faults cost more than the arithmetic. Only whole large pages inside the result are asked
// for, so it takes no more memory; a system that has none to give ignores it.
inline void in_large_pages(const Tensor& t, size_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t page = 2 << 20;
  const uintptr_t data = reinterpret_cast<uintptr_t>(t.mutable_data_ptr());
  const uintptr_t begin = (data + page - 1) / page * page, end = (data + bytes) / page * page;
  if (bytes >= 2 * page && end > begin) madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE);
#endif
}

// Bytes of the last cache. Not sysconf's: glibc took a virtual machine's share of 32 MB for ten times as much.
inline size_t last_cache() {
  size_t kilobytes = 0;
  if (FILE* file = std::fopen("/sys/devices/system/cpu/cpu0/cache/index3/size", "r")) {
    if (std::fscanf(file, "%zuK", &kilobytes) != 1) kilobytes = 0;
    std::fclose(file);
  }
  return kilobytes > 0 ? kilobytes << 10 : size_t(32) << 20;
}

// What one op may count on of a cache that many cores share: a server's 300 MB are a few MB for each, and reading the
// lines of a large result there before they are written took longer than writing past it.
constexpr size_t kShareOfCache = size_t(16) << 20;

// Whether features and result, `bytes` together, are more than half of the last cache, or than its share: what other
// layers leave of it then holds no lines of the result beforehand. It is written past the caches, which spares reading
// each line first.
inline bool beyond_caches(size_t bytes) {
  static const size_t cache = last_cache();
  return bytes > std::min(cache / 2, kShareOfCache);
}

inline Tensor empty_pixels(const Tensor& like, int64_t channels) {
  Tensor fresh = empty_pixels_on(like, channels);
  in_large_pages(fresh, fresh.numel() * fresh.element_size());
  return fresh;
}
inline Tensor empty_of(std::vector<int64_t> size, ScalarType dtype) { return torch::stable::empty(size, dtype); }

// The real words of each image, first and in order, and how many they are.
struct RealWords {
  std::vector<int32_t> words, lengths;
  RealWords(const std::optional<Tensor>& mask, int64_t B, int64_t L) : words(B * L), lengths(B) {
    const bool* real = mask ? static_cast<const bool*>(mask->const_data_ptr()) : nullptr;
    const int64_t batch = mask ? mask->stride(0) : 0, word = mask ? mask->stride(1) : 0;
    for (int64_t b = 0; b < B; ++b)
      for (int64_t l = 0; l < L; ++l)
        if (real == nullptr || real[b * batch + l * word]) words[b * L + lengths[b]++] = int32_t(l);
  }
};

// The instruction set of this process: the best of the machine, or MEMGAN_CPU_CAPABILITY.
const Kernels& kernels();

// Calls `kernel(args, next, state)` once per thread of torch's pool; `next` hands out the items 0 .. items - 1.
template <typename Args>
void over_items(void (*kernel)(const Args&, int64_t (*)(void*), void*), const Args& args, int64_t items) {
  struct State {
    std::atomic<int64_t> next{0};
    int64_t items;
  } state;
  state.items = items;
  const auto next = [](void* s) -> int64_t {
    State* state = static_cast<State*>(s);
    const int64_t item = state->next.fetch_add(1, std::memory_order_relaxed);
    return item < state->items ? item : -1;
  };
  const int64_t threads = std::min<int64_t>(torch::stable::get_num_threads(), items);
  if (threads <= 1) return kernel(args, next, &state);
  torch::stable::parallel_for(0, threads, 1, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) kernel(args, next, &state);
  });
}

}  // namespace memgan::cpu
