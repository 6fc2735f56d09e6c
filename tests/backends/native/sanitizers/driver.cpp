// Calls every CPU kernel on buffers of exactly the size that it is given, from three threads. A sanitizer reports what
// reads or writes outside, overflows or races; this program reports elements that stay unwritten (NaN) and results that
// depend on the number of threads.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "attend.h"

namespace memgan::cpu {
const Kernels& kernels();
}
using namespace memgan::cpu;

namespace {

std::mt19937 random_bits(7);
int failures = 0;

// `computed` false: as tensors are stored (bfloat16 as two bytes); true: as they are computed in.
template <typename S>
struct Buffer {
  static constexpr std::align_val_t line{64};  // as torch's tensors begin
  struct Delete {
    void operator()(S* data) const { ::operator delete[](data, line); }
  };
  std::unique_ptr<S[], Delete> data;
  int64_t size;
  explicit Buffer(int64_t n, bool fresh = false) : data(new (line) S[n]), size(n) {
    std::normal_distribution<double> normal;
    for (int64_t i = 0; i < n; ++i) {
      const double x = fresh ? std::numeric_limits<double>::quiet_NaN() : normal(random_bits);
      if constexpr (std::is_same_v<S, uint16_t>) {
        const float f = float(x);
        uint32_t bits;
        std::memcpy(&bits, &f, 4);
        data[i] = uint16_t(bits >> 16);
      } else {
        data[i] = S(x);
      }
    }
  }
  void check(const char* name) const {
    for (int64_t i = 0; i < size; ++i) {
      bool nan;
      if constexpr (std::is_same_v<S, uint16_t>) nan = (data[i] & 0x7fff) > 0x7f80;
      else nan = std::isnan(data[i]);
      if (nan) {
        std::printf("%s: element %ld of %ld was not written\n", name, long(i), long(size));
        ++failures;
        return;
      }
    }
  }
};

template <typename Args>
void over_items(void (*kernel)(const Args&, int64_t (*)(void*), void*), const Args& args, int64_t items, int threads) {
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
  std::vector<std::thread> pool;
  for (int i = 0; i < threads; ++i) pool.emplace_back([&] { kernel(args, next, &state); });
  for (std::thread& thread : pool) thread.join();
}

struct Sizes {
  int64_t B, C, D, L, N;
  bool gated, last;  // last: channels_last
  bool streams = false;
};

template <typename S, typename T>
std::vector<S> attend(Dtype dtype, const Sizes& z, int threads) {
  random_bits.seed(7);
  Buffer<S> r(z.B * z.C * z.N), keys(z.B * z.L * z.C), values(z.B * z.L * z.D), weight(2 * z.C), bias(1);
  Buffer<S> grad(z.B * z.D * z.N), given(z.B * z.L * z.N);
  Buffer<S> out(z.B * z.D * z.N, true), attention(z.B * z.L * z.N, true), grad_r(z.B * z.C * z.N, true);
  Buffer<S> grad_keys(z.B * z.L * z.C, true), grad_values(z.B * z.L * z.D, true);
  Buffer<S> grad_weight(2 * z.C, true), grad_bias(1, true);
  std::vector<int32_t> words, lengths;
  for (int64_t b = 0; b < z.B; ++b) {  // the first image has every word, the last one has none
    const int64_t length = b == 0 ? z.L : b == z.B - 1 ? 0 : (z.L + 1) / 2;
    lengths.push_back(int32_t(length));
    for (int64_t l = 0; l < z.L; ++l) words.push_back(int32_t(std::min(l, std::max<int64_t>(length - 1, 0))));
  }
  const auto describe = [&](AttendArgs& a) {
    a.dtype = dtype;
    a.B = z.B, a.C = z.C, a.D = z.D, a.L = z.L, a.N = z.N;
    a.scale = 0.7;
    a.r = {r.data.get(), z.C * z.N, z.last ? 1 : z.N, z.last ? z.C : 1};
    a.keys = {keys.data.get(), z.L * z.C, z.C, 1};
    a.values = {values.data.get(), z.L * z.D, z.D, 1};
    a.words = words.data();
    a.lengths = lengths.data();
    if (z.gated) a.gate_weight = weight.data.get(), a.gate_bias = bias.data.get();
  };
  ForwardArgs f;
  describe(f);
  f.out = {out.data.get(), z.D * z.N, z.last ? 1 : z.N, z.last ? z.D : 1};
  f.attention = attention.data.get();
  f.streams = z.streams;
  over_items(kernels().forward, f, z.B * ((z.N + kForwardItemPixels - 1) / kForwardItemPixels), threads);

  BackwardArgs a;
  describe(a);
  a.grad_out = {grad.data.get(), z.D * z.N, z.last ? 1 : z.N, z.last ? z.D : 1};
  a.grad_attention = {given.data.get(), z.L * z.N, z.N, 1};
  a.grad_r = {grad_r.data.get(), z.C * z.N, z.last ? 1 : z.N, z.last ? z.C : 1};
  a.grad_keys = grad_keys.data.get();
  a.grad_values = grad_values.data.get();
  a.images = z.B;
  a.chunk_pixels = kSteps * kPixels;
  a.chunks = std::max<int64_t>(1, (z.N + a.chunk_pixels - 1) / a.chunk_pixels);
  Buffer<T> partial(z.B * a.chunks * partial_size(a), true), gate_partial(z.B * (2 * z.C + 1), true);
  a.partial = partial.data.get();
  a.gate_partial = gate_partial.data.get();
  over_items(kernels().backward, a, z.B * a.chunks, threads);
  for (int64_t b = 0; b < z.B; ++b) kernels().finish_backward(a, b);
  if (z.gated) kernels().finish_gate(a, grad_weight.data.get(), grad_bias.data.get());

  std::vector<S> all;
  std::vector<std::pair<const char*, Buffer<S>*>> results{
      {"out", &out},
      {"attention", &attention},
      {"grad_r", &grad_r},
      {"grad_keys", &grad_keys},
      {"grad_values", &grad_values}};
  if (z.gated) results.insert(results.end(), {{"grad_weight", &grad_weight}, {"grad_bias", &grad_bias}});
  for (const auto& [name, buffer] : results) {
    buffer->check(name);
    all.insert(all.end(), buffer->data.get(), buffer->data.get() + buffer->size);
  }
  return all;
}

struct WriteSizes {
  int64_t B, L, E, C, M;
};

template <typename S, typename T>
std::vector<S> write(Dtype dtype, const WriteSizes& z, int threads) {
  random_bits.seed(7);
  const int64_t rows = z.B * z.L;
  Buffer<S> words(rows * z.E), summary(z.B * z.C), word_weight(z.M * z.E), word_bias(z.M), image_weight(z.M * z.C);
  Buffer<S> image_bias(z.M), gate_word(z.E), gate_image(z.C), grad(rows * z.M), out(rows * z.M, true);
  Buffer<S> grad_words(rows * z.E, true), grad_summary(z.B * z.C, true), grad_word_weight(z.M * z.E, true);
  Buffer<S> grad_word_bias(z.M, true), grad_image_weight(z.M * z.C, true), grad_image_bias(z.M, true);
  Buffer<S> grad_gate_word(z.E, true), grad_gate_image(z.C, true);
  const auto describe = [&](WriteArgs& a) {
    a.dtype = dtype;
    a.B = z.B, a.L = z.L, a.E = z.E, a.C = z.C, a.M = z.M;
    a.words = words.data.get(), a.summary = summary.data.get();
    a.word_weight = word_weight.data.get(), a.word_bias = word_bias.data.get();
    a.image_weight = image_weight.data.get(), a.image_bias = image_bias.data.get();
    a.gate_word = gate_word.data.get(), a.gate_image = gate_image.data.get();
  };
  WriteForwardArgs f;
  describe(f);
  f.out = out.data.get();
  over_items(kernels().write_forward, f, write_items(f), threads);
  WriteBackwardArgs a;
  describe(a);
  Buffer<T> gate_slopes((column_tiles(z.M) + 1) * rows, true), word_slopes(rows * (z.M + 1), true);
  Buffer<T> image_slopes(z.B * (z.M + 1), true);
  a.grad = grad.data.get();
  a.gate_slopes = gate_slopes.data.get();
  a.words_side = {
      rows,
      z.E,
      a.words,
      a.word_weight,
      a.gate_word,
      word_slopes.data.get(),
      grad_words.data.get(),
      grad_word_weight.data.get(),
      grad_word_bias.data.get(),
      grad_gate_word.data.get()};
  a.image_side = {
      z.B,
      z.C,
      a.summary,
      a.image_weight,
      a.gate_image,
      image_slopes.data.get(),
      grad_summary.data.get(),
      grad_image_weight.data.get(),
      grad_image_bias.data.get(),
      grad_gate_image.data.get()};
  over_items(kernels().write_slopes, a, write_items(a), threads);
  kernels().finish_write_slopes(a);
  int64_t items = 0;
  for (const LinearBackward* side : {&a.words_side, &a.image_side})
    items += items_of_x(*side) + items_of_weight(*side, a.M);
  over_items(kernels().write_backward, a, items, threads);
  std::vector<S> all;
  for (Buffer<S>* buffer :
       {&out, &grad_words, &grad_summary, &grad_word_weight, &grad_word_bias, &grad_image_weight, &grad_image_bias,
        &grad_gate_word, &grad_gate_image}) {
    buffer->check("memory_write");
    all.insert(all.end(), buffer->data.get(), buffer->data.get() + buffer->size);
  }
  return all;
}

struct NormSizes {
  int64_t B, C, N;
  bool last;
};

template <typename S, typename T>
std::vector<S> norm_glu(Dtype dtype, const NormSizes& z, int threads) {
  random_bits.seed(7);
  Buffer<S> x(z.B * 2 * z.C * z.N), grad(z.B * z.C * z.N);
  Buffer<S> out(z.B * z.C * z.N, true), grad_x(z.B * 2 * z.C * z.N, true);
  Buffer<T> rows(5 * 2 * norm_width(z.C));
  const auto describe = [&](NormGluArgs& a) {
    a.dtype = dtype;
    a.B = z.B, a.C = z.C, a.N = z.N, a.last = z.last;
    a.x = x.data.get();
    const auto row = [&](int64_t index) { return rows.data.get() + index * 2 * norm_width(z.C); };
    a.mean = row(0), a.scale = row(1), a.shift = row(2);
  };
  NormGluForwardArgs f;
  describe(f);
  NormGluBackwardArgs a;
  describe(a);
  a.centre = a.mean, a.slope = a.scale;
  Buffer<double> statistics(norm_chunks(f) * 4 * z.C, true), sums(norm_chunks(f) * 4 * z.C, true);
  f.partial = statistics.data.get(), a.partial = sums.data.get();
  f.out = out.data.get();
  a.grad = grad.data.get(), a.grad_x = grad_x.data.get();
  over_items<NormGluArgs>(kernels().norm_statistics, f, norm_items(f), threads);
  over_items(kernels().norm_glu_forward, f, norm_items(f), threads);
  over_items(kernels().norm_glu_sums, a, norm_items(a), threads);
  over_items(kernels().norm_glu_backward, a, norm_items(a), threads);
  std::vector<S> all;
  for (const Buffer<double>* buffer : {&statistics, &sums}) {
    buffer->check("norm_glu's sums");
    for (int64_t i = 0; i < buffer->size; ++i) all.push_back(S(1000 * std::tanh(buffer->data[i]) + 1000));
  }
  for (const Buffer<S>* buffer : {&out, &grad_x}) {
    buffer->check("norm_glu");
    all.insert(all.end(), buffer->data.get(), buffer->data.get() + buffer->size);
  }
  return all;
}

template <typename S>
void same(const std::vector<S>& one, const std::vector<S>& other, const char* what) {
  if (std::memcmp(one.data(), other.data(), one.size() * sizeof(S)) == 0) return;
  std::printf("results depend on %s\n", what);
  ++failures;
}

template <typename S, typename T>
void all_sizes(Dtype dtype) {
  for (const bool last : {false, true})
    for (const Sizes& z : std::vector<Sizes>{
             {3, 5, 7, 3, 77, false, last},
             {3, 67, 67, 7, 1100, true, last},
             {2, 1, 1, 1, 1, true, last},
             {2, 16, 16, 18, 192, true, last},
             {2, 3, 3, 0, 65, true, last}}) {
      const std::vector<S> one = attend<S, T>(dtype, z, 1);
      same(one, attend<S, T>(dtype, z, 3), "the number of threads");
      Sizes past_caches = z;
      past_caches.streams = true;
      same(one, attend<S, T>(dtype, past_caches, 3), "whether they go past the caches");
    }
  for (const WriteSizes& z : std::vector<WriteSizes>{
           {3, 5, 7, 11, 13}, {7, 18, 33, 9, 128}, {2, 101, 5, 6, 70}, {1, 1, 1, 1, 1}, {2, 0, 3, 4, 5}})
    same(write<S, T>(dtype, z, 1), write<S, T>(dtype, z, 3), "the number of threads");
  for (const bool last : {false, true})
    for (const NormSizes& z :
         std::vector<NormSizes>{{3, 5, 77, last}, {2, 33, 600, last}, {2, 1, 1, last}, {1, 16, 1024, last}})
      same(norm_glu<S, T>(dtype, z, 1), norm_glu<S, T>(dtype, z, 3), "the number of threads");
}

}  // namespace

constexpr int kUnavailable = 4;  // exit status, as __main__.py knows it

int main() {
  const char* wanted = std::getenv("MEMGAN_CPU_CAPABILITY");
  if (wanted != nullptr && std::strcmp(wanted, kernels().name) != 0) return kUnavailable;
  all_sizes<float, float>(Dtype::float32);
  all_sizes<double, double>(Dtype::float64);
  all_sizes<uint16_t, float>(Dtype::bfloat16);
  std::printf("%s: %d failures\n", kernels().name, failures);
  return failures != 0;
}
