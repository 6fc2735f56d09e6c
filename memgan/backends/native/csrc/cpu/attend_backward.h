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
#include "product_pixels.h"

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
  template <Asks asks>
  void product_of(
      const Pixels& from, int64_t first, int64_t count, int64_t rows, const T* A, int64_t K, T* Y, T* tile,
      Options<T> options) {
    const S* x = static_cast<const S*>(from.data) + image * from.batch + first * from.pixel;
    if (std::is_same_v<S, T> && count == kPixels && from.pixel == 1 && rows > 0) {
      options.copied = tile;
      product_rows<T, Init::zero, asks>(rows, A, reinterpret_cast<const T*>(x), from.row, K, Y, kPixels, options);
    } else {
      load_tile<S>(x, from.row, from.pixel, K, K, count, tile);
      product_rows<T, Init::zero, asks>(rows, A, tile, kPixels, K, Y, kPixels, options);
    }
  }

  struct Place {
    int64_t image = -1, pixel = 0;  // image -1: there is none
  };
  static Ahead ahead_of(const Pixels& from, Place place, int64_t rows) {
    if (place.image < 0 || from.pixel != 1) return {};
    return rows_ahead(static_cast<const S*>(from.data) + place.image * from.batch + place.pixel, from.row, rows);
  }

  // One tile; `next` is where the tile behind it begins.
  void tile(int64_t step, int64_t first, int64_t count, Place next) {
    T *x = features + step * x_step, *g = grads + step * g_step, *s = ds + step * s_step, *p = ga + step * s_step;
    S* out = static_cast<S*>(a.grad_r.data) + image * a.grad_r.batch + first * a.grad_r.pixel;
    const bool direct = std::is_same_v<S, T> && count == kPixels && a.grad_r.pixel == 1;
    const bool streams = kStreams && direct && a.streams && aligned(out) && aligned(out + a.grad_r.row);
    Options<T> of_scores, of_grads, of_result;
    of_grads.ahead = ahead_of(a.grad_out, next, a.D);
    of_result.ahead = ahead_of(a.r, next, a.C);
    if (streams) {  // no lines are to be there before they are written: two products share what there is to ask for
      of_result.output = Output::streamed;
      of_scores.ahead = first_half(of_grads.ahead);
      of_grads.ahead = second_half(of_grads.ahead);
      product_of<Asks::lines_to_read>(a.r, first, count, packed.rows, packed.scores, a.C, s, x, of_scores);
    } else {
      if (direct) of_scores.ahead = rows_ahead(out, a.grad_r.row, a.C);
      product_of<Asks::lines_to_write>(a.r, first, count, packed.rows, packed.scores, a.C, s, x, of_scores);
    }
    product_of<Asks::lines_to_read>(a.grad_out, first, count, packed.words, value_rows, a.D, p, g, of_grads);
    if (a.grad_attention.data != nullptr) load_given(first, count);
    if (gated) dot_of(g, x);
    for (int i = 0; i < kPixels; i += kColumns * lanes) respond(s + i, p + i, i);

    T* to = direct ? reinterpret_cast<T*>(out) : result;
    const int64_t ld = direct ? a.grad_r.row : kPixels;
    if (gated) {
      of_result.start = g;
      of_result.factor = closed;
      product_rows<T, Init::scaled, Asks::rows_to_read>(a.C, grad_rows, s, kPixels, packed.rows, to, ld, of_result);
    } else {
      product_rows<T, Init::zero, Asks::rows_to_read>(a.C, grad_rows, s, kPixels, packed.rows, to, ld, of_result);
    }
    if (!direct) store_tile<S>(out, a.grad_r.row, a.grad_r.pixel, a.C, count, result);
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
    for (int p = 0; p < kPixels; p += kColumns * lanes) {
      Vec<T> sum[kColumns] = {};
      for (int64_t c = 0; c < a.C; ++c)
#pragma GCC unroll 8
        for (int j = 0; j < kColumns; ++j)
          sum[j] += load<T>(g + c * kPixels + p + j * lanes) * load<T>(x + c * kPixels + p + j * lanes);
#pragma GCC unroll 8
      for (int j = 0; j < kColumns; ++j) store<T>(dot + p + j * lanes, sum[j]);
    }
  }

  // kColumns registers of pixels: s (scores, and w_r . r behind them) → ds, and dz behind them; p (P) → g a.
  MEMGAN_INLINE void respond(T* s, T* p, int first) {
    const int64_t words = packed.words;
    const bool asked = a.grad_attention.data != nullptr;
    Vec<T> factor[kColumns], read_dot[kColumns] = {}, from_read[kColumns] = {};  // 1 / sum, G . o, w_o . o
    softmax_columns<T, kColumns>(s, words, factor, [](int64_t, int, Vec<T>) {});
    for (int64_t l = 0; l < words; ++l)
#pragma GCC unroll 8
      for (int j = 0; j < kColumns; ++j) {
        const int64_t at = l * kPixels + j * lanes;
        const Vec<T> attention = load<T>(s + at) * factor[j];
        store<T>(s + at, attention);
        read_dot[j] += attention * load<T>(p + at);
        if (gated) from_read[j] += attention * packed.value_gate[l];
      }
    Vec<T> dz[kColumns] = {}, open[kColumns], mean[kColumns];
#pragma GCC unroll 8
    for (int j = 0; j < kColumns; ++j) {
      open[j] = splat<T>(T(1));
      if (gated) {
        T* of_gate = s + words * kPixels + j * lanes;
        const Gate<T> gate = gate_of<T>(load<T>(of_gate) + from_read[j] + bias);
        dz[j] = (read_dot[j] - load<T>(dot + first + j * lanes)) * gate.open * gate.closed;
        open[j] = gate.open;
        store<T>(closed + first + j * lanes, gate.closed);
        store<T>(of_gate, dz[j]);
        bias_sum += dz[j];
      }
      mean[j] = open[j] * read_dot[j];
      if (gated) mean[j] += dz[j] * from_read[j];  // rounded as `da` below: of one word alone they cancel
      if (asked)
        for (int64_t l = 0; l < words; ++l)
          mean[j] += load<T>(s + l * kPixels + j * lanes) * load<T>(given + l * kPixels + first + j * lanes);
    }
    for (int64_t l = 0; l < words; ++l) {
      Vec<T> read{};
#pragma GCC unroll 8
      for (int j = 0; j < kColumns; ++j) {
        const int64_t at = l * kPixels + j * lanes;
        const Vec<T> attention = load<T>(s + at);
        Vec<T> da = open[j] * load<T>(p + at);
        if (gated) {
          da += dz[j] * packed.value_gate[l];
          read += attention * dz[j];
        }
        if (asked) da += load<T>(given + first + at);
        store<T>(s + at, attention * (da - mean[j]) * T(a.scale));
        store<T>(p + at, attention * open[j]);
      }
      if (gated) store<T>(read_sum + l * lanes, load<T>(read_sum + l * lanes) + read);
    }
  }

  void run(int64_t (*next)(void*), void* state) {
    const int64_t size = partial_size(a);
    const auto begin_of = [&](int64_t item) {
      return item < 0 ? Place{} : Place{a.first_image + item / a.chunks, item % a.chunks * a.chunk_pixels};
    };
    int64_t upcoming = next(state);
    while (upcoming >= 0) {
      const int64_t item = std::exchange(upcoming, next(state));
      const auto [b, begin] = begin_of(item);
      if (b != image) pack(b);
      T* slots = static_cast<T*>(a.partial) + item * size;
      T* values = slots + (a.L + 1) * a.C;
      std::fill(slots, slots + size, T(0));
      std::fill(read_sum, read_sum + a.L * lanes, T(0));
      bias_sum = Vec<T>{};
      const int64_t end = std::min(a.N, begin + a.chunk_pixels);
      for (int64_t first = begin; first < end; first += kSteps * kPixels) {
        int64_t steps = 0;
        for (int64_t p = first; p < std::min(end, first + kSteps * kPixels); p += kPixels)
          tile(
              steps++, p, std::min<int64_t>(kPixels, end - p),
              p + kPixels < end ? Place{b, p + kPixels} : begin_of(upcoming));
        product_pixels<T>(packed.rows, ds, s_step, a.C, features, x_step, steps, slots, a.C);
        product_pixels<T>(packed.words, ga, s_step, a.D, grads, g_step, steps, values, a.D);
      }
      T* read = values + a.L * a.D;
      for (int64_t l = 0; l < packed.words; ++l) read[l] = sum_lanes<T>(load<T>(read_sum + l * lanes));
      read[a.L] = sum_lanes<T>(bias_sum);
    }
    if (a.streams) streamed();
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
