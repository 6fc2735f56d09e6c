// Read and respond, backward, for one chunk of an image's pixels, and the sums over chunks.
//
// With G the gradient of the result and P_l = G . v_l, what was read is never formed: G . o = sum_l a_l P_l. So
//   dz   = (G . o - G . r) g (1 - g)                              the gate's logit
//   da_l = g P_l + dz (w_o . v_l) + grad_attention_l              ds_l = scale a_l (da_l - sum_m a_m da_m)
//   grad_r = (1 - g) G + dz w_r + sum_l ds_l k_l                  one product, w_r one more row of the keys
//   grad_k_l = sum_p ds_l r     grad_v_l = sum_p (g a_l) G + w_o sum_p dz a_l
//   grad_w_r = sum_p dz r       grad_w_o = sum_l (sum_p dz a_l) v_l
// Five products a tile, the softmax computed again, nothing of size N L written to memory.
#pragma once

#include "attend_forward.h"

namespace memgan::cpu::MEMGAN_ISA {

template <typename S>
struct Backward {
  using T = typename Compute<S>::type;
  static constexpr int lanes = Simd<T>::lanes;
  const BackwardArgs& a;
  const bool gated;
  const int64_t x_step, g_step, s_step;  // elements of one tile of features, of gradients, of scores
  Arena<T> arena;
  Packed<S> packed;
  T *value_rows, *grad_rows;  // (words, D) and (C, rows) for product_rows
  T *features, *grads;        // [kSteps] tiles of r and of G
  T *ds, *ga;                 // [kSteps] tiles: scores, then ds and dz; P, then g a
  T *given, *closed, *dot, *result, *read_sum;
  T bias = 0;
  Vec<T> bias_sum{};
  int64_t image = -1;

  explicit Backward(const BackwardArgs& args)
      : a(args),
        gated(args.gate_weight != nullptr),
        x_step(padded_channels(args.C) * kPixels),
        g_step(padded_channels(args.D) * kPixels),
        s_step((args.L + 1) * kPixels),
        arena(
            Packed<S>::size(args) + args.L * args.D + args.C * (args.L + 1) + kSteps * (x_step + g_step + 2 * s_step) +
            (args.L + args.C + 2) * kPixels + args.L * lanes),
        packed(args, arena),
        value_rows(arena.take(args.L * args.D)),
        grad_rows(arena.take(args.C * (args.L + 1))),
        features(arena.take(kSteps * x_step)),
        grads(arena.take(kSteps * g_step)),
        ds(arena.take(kSteps * s_step)),
        ga(arena.take(kSteps * s_step)),
        given(arena.take(args.L * kPixels)),
        closed(arena.take(kPixels)),
        dot(arena.take(kPixels)),
        result(arena.take(args.C * kPixels)),
        read_sum(arena.take(args.L * lanes)) {
    if (a.gate_bias != nullptr) bias = read(*static_cast<const S*>(a.gate_bias));
    for (int64_t i = 0; i < kSteps; ++i) {  // the padding rows that product_pixels reads
      std::fill(features + i * x_step + a.C * kPixels, features + (i + 1) * x_step, T(0));
      std::fill(grads + i * g_step + a.D * kPixels, grads + (i + 1) * g_step, T(0));
    }
  }

  void pack(int64_t b) {
    image = b;
    packed.pack(b);
    pack_rows<T>(packed.words, a.D, value_rows, [&](int64_t l, int64_t d) { return packed.value(b, l, d); });
    pack_rows<T>(a.C, packed.rows, grad_rows, [&](int64_t c, int64_t row) {
      return row < packed.words ? packed.key(b, row, c) : packed.gate(c);
    });
  }

  // Y = A X for one tile, and X kept in `tile`: read from memory once.
  void product_of(
      const Pixels& from, int64_t first, int64_t count, int64_t rows, const T* A, int64_t K, T* Y, T* tile) {
    const S* x = static_cast<const S*>(from.data) + image * from.batch + first * from.pixel;
    if (std::is_same_v<S, T> && count == kPixels && from.pixel == 1 && rows > 0) {
      product_rows<T, Init::zero>(rows, A, reinterpret_cast<const T*>(x), from.row, K, Y, kPixels, {.copied = tile});
    } else {
      load_tile<S>(x, from.row, from.pixel, K, K, count, tile);
      product_rows<T, Init::zero>(rows, A, tile, kPixels, K, Y, kPixels);
    }
  }

  void tile(int64_t step, int64_t first, int64_t count) {
    T *x = features + step * x_step, *g = grads + step * g_step, *s = ds + step * s_step, *p = ga + step * s_step;
    product_of(a.r, first, count, packed.rows, packed.scores, a.C, s, x);
    product_of(a.grad_out, first, count, packed.words, value_rows, a.D, p, g);
    if (a.grad_attention.data != nullptr) load_given(first, count);
    if (gated) dot_of(g, x);
    for (int i = 0; i < kPixels; i += lanes) respond(s + i, p + i, i);

    S* out = static_cast<S*>(a.grad_r.data) + image * a.grad_r.batch + first * a.grad_r.pixel;
    const bool in_place = std::is_same_v<S, T> && count == kPixels && a.grad_r.pixel == 1;
    T* to = in_place ? reinterpret_cast<T*>(out) : result;
    const int64_t ld = in_place ? a.grad_r.row : kPixels;
    if (gated)
      product_rows<T, Init::scaled>(a.C, grad_rows, s, kPixels, packed.rows, to, ld, {.start = g, .factor = closed});
    else product_rows<T, Init::zero>(a.C, grad_rows, s, kPixels, packed.rows, to, ld);
    if (!in_place) store_tile<S>(out, a.grad_r.row, a.grad_r.pixel, a.C, count, result);
  }

  void load_given(int64_t first, int64_t count) {
    const Pixels& from = a.grad_attention;
    for (int64_t row = 0; row < packed.words; ++row) {
      const S* at = static_cast<const S*>(from.data) + image * from.batch + a.words[image * a.L + row] * from.row +
                    first * from.pixel;
      load_tile<S>(at, from.row, from.pixel, 1, 1, count, given + row * kPixels);
    }
  }

  void dot_of(const T* g, const T* x) {
    for (int p = 0; p < kPixels; p += lanes) {
      Vec<T> sum{};
      for (int64_t c = 0; c < a.C; ++c) sum += load<T>(g + c * kPixels + p) * load<T>(x + c * kPixels + p);
      store<T>(dot + p, sum);
    }
  }

  // One register of pixels: s (scores, and w_r . r behind them) → ds, and dz behind them; p (P) → g a.
  MEMGAN_INLINE void respond(T* s, T* p, int i) {
    const int64_t words = packed.words;
    Vec<T> factor;
    softmax_columns<T, 1>(s, words, &factor, [](int64_t, int, Vec<T>) {});
    Vec<T> read_dot{}, from_read{};  // G . o, w_o . o
    for (int64_t l = 0; l < words; ++l) {
      const Vec<T> attention = load<T>(s + l * kPixels) * factor;
      store<T>(s + l * kPixels, attention);
      read_dot += attention * load<T>(p + l * kPixels);
      if (gated) from_read += attention * packed.value_gate[l];
    }
    Vec<T> dz{}, open = splat<T>(T(1));
    if (gated) {
      const Gate<T> gate = gate_of<T>(load<T>(s + words * kPixels) + from_read + bias);
      dz = (read_dot - load<T>(dot + i)) * gate.open * gate.closed;
      open = gate.open;
      store<T>(closed + i, gate.closed);
      store<T>(s + words * kPixels, dz);
      bias_sum += dz;
    }
    Vec<T> mean = open * read_dot + dz * from_read;
    const bool asked = a.grad_attention.data != nullptr;
    if (asked)
      for (int64_t l = 0; l < words; ++l) mean += load<T>(s + l * kPixels) * load<T>(given + l * kPixels + i);
    for (int64_t l = 0; l < words; ++l) {
      const Vec<T> attention = load<T>(s + l * kPixels);
      Vec<T> da = open * load<T>(p + l * kPixels);
      if (gated) {
        da += dz * packed.value_gate[l];
        store<T>(read_sum + l * lanes, load<T>(read_sum + l * lanes) + attention * dz);
      }
      if (asked) da += load<T>(given + l * kPixels + i);
      store<T>(s + l * kPixels, attention * (da - mean) * T(a.scale));
      store<T>(p + l * kPixels, attention * open);
    }
  }

  void run(int64_t (*next)(void*), void* state) {
    const int64_t size = partial_size(a);
    for (int64_t item = next(state); item >= 0; item = next(state)) {
      const int64_t b = a.first_image + item / a.chunks, chunk = item % a.chunks;
      if (b != image) pack(b);
      T* slots = static_cast<T*>(a.partial) + item * size;
      T* values = slots + (a.L + 1) * a.C;
      std::fill(slots, slots + size, T(0));
      std::fill(read_sum, read_sum + a.L * lanes, T(0));
      bias_sum = Vec<T>{};
      const int64_t begin = chunk * a.chunk_pixels, end = std::min(a.N, begin + a.chunk_pixels);
      for (int64_t first = begin; first < end; first += kSteps * kPixels) {
        int64_t steps = 0;
        for (int64_t p = first; p < std::min(end, first + kSteps * kPixels); p += kPixels)
          tile(steps++, p, std::min<int64_t>(kPixels, end - p));
        product_pixels<T>(packed.rows, ds, s_step, a.C, features, x_step, steps, slots, a.C);
        product_pixels<T>(packed.words, ga, s_step, a.D, grads, g_step, steps, values, a.D);
      }
      T* read = values + a.L * a.D;
      for (int64_t l = 0; l < packed.words; ++l) read[l] = sum_lanes<T>(load<T>(read_sum + l * lanes));
      read[a.L] = sum_lanes<T>(bias_sum);
    }
  }
};

inline void backward(const BackwardArgs& a, int64_t (*next)(void*), void* state) {
  switch (a.dtype) {
    case Dtype::float32: return Backward<float>(a).run(next, state);
    case Dtype::float64: return Backward<double>(a).run(next, state);
    case Dtype::bfloat16: return Backward<Bf16>(a).run(next, state);
  }
}

}  // namespace memgan::cpu::MEMGAN_ISA
