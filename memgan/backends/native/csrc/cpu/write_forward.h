// Writing, forward: m_l = g_l [M_w w_l + b_w]+ + (1 - g_l) [M_r r + b_r]+ with g_l = sigmoid(A w_l + B r).
//
// One item is kPixels memory channels by some images: both projections are products of rows (words, images) with a
// transposed tile of the weights, and the gate is a dot product a word, computed again for every tile.
#pragma once

#include "attend_forward.h"
#include "write.h"

namespace memgan::cpu::MEMGAN_ISA {

template <typename S, typename T = typename Compute<S>::type>
MEMGAN_INLINE T dot(const S* a, const S* b, int64_t n) {
  Vec<T> sum{};
  int64_t i = 0;
  for (; i + Simd<T>::lanes <= n; i += Simd<T>::lanes) sum += load_as<S>(a + i) * load_as<S>(b + i);
  T total = sum_lanes<T>(sum);
  for (; i < n; ++i) total += read(a[i]) * read(b[i]);
  return total;
}

// Both projections before their ReLU, and the gate, for one item.
template <typename S>
struct Projections {
  using T = typename Compute<S>::type;
  static constexpr int lanes = Simd<T>::lanes;
  const WriteArgs& a;
  const int64_t most_images, most_words;
  Arena<T> arena;
  T *word_tile, *image_tile;   // (E, kPixels), (C, kPixels): the weights, transposed
  T *word_rows, *image_rows;   // packed for product_rows
  T *from_words, *from_image;  // (words, kPixels), (images, kPixels)
  T *open, *closed;            // (words,), to a whole register
  T *word_bias, *image_bias;   // (kPixels,)
  int64_t column = 0, columns = 0, image = 0, images = 0, words = 0, loaded = -1;

  static int64_t round(int64_t n) { return (n + lanes - 1) / lanes * lanes; }
  explicit Projections(const WriteArgs& args)
      : a(args),
        most_images(images_an_item(args)),
        most_words(most_images * args.L),
        arena(
            (a.E + a.C + most_words + most_images + 2) * kPixels + most_words * a.E + most_images * a.C +
            2 * round(most_words)),
        word_tile(arena.take(a.E * kPixels)),
        image_tile(arena.take(a.C * kPixels)),
        word_rows(arena.take(most_words * a.E)),
        image_rows(arena.take(most_images * a.C)),
        from_words(arena.take(most_words * kPixels)),
        from_image(arena.take(most_images * kPixels)),
        open(arena.take(round(most_words))),
        closed(arena.take(round(most_words))),
        word_bias(arena.take(kPixels)),
        image_bias(arena.take(kPixels)) {}

  static const S* at(const void* data, int64_t index) { return static_cast<const S*>(data) + index; }

  void compute(int64_t item) {
    const int64_t groups = (a.B + most_images - 1) / most_images, tile = item / groups;
    image = item % groups * most_images;
    images = std::min(most_images, a.B - image);
    words = images * a.L;
    column = tile * kPixels;
    columns = std::min<int64_t>(kPixels, a.M - column);
    if (tile != loaded) {
      loaded = tile;
      load_tile<S>(at(a.word_weight, column * a.E), 1, a.E, a.E, a.E, columns, word_tile);
      load_tile<S>(at(a.image_weight, column * a.C), 1, a.C, a.C, a.C, columns, image_tile);
      load_tile<S>(at(a.word_bias, column), 1, 1, 1, 1, columns, word_bias);
      load_tile<S>(at(a.image_bias, column), 1, 1, 1, 1, columns, image_bias);
    }
    const S *x = at(a.words, image * a.L * a.E), *r = at(a.summary, image * a.C);
    pack_rows<T>(words, a.E, word_rows, [&](int64_t row, int64_t e) { return read(x[row * a.E + e]); });
    pack_rows<T>(images, a.C, image_rows, [&](int64_t row, int64_t c) { return read(r[row * a.C + c]); });
    product_rows<T, Init::zero>(words, word_rows, word_tile, kPixels, a.E, from_words, kPixels);
    product_rows<T, Init::zero>(images, image_rows, image_tile, kPixels, a.C, from_image, kPixels);
    for (int64_t b = 0; b < images; ++b) {
      const T of_image = dot(at(a.gate_image, 0), r + b * a.C, a.C);
      for (int64_t l = b * a.L; l < (b + 1) * a.L; ++l) open[l] = of_image + dot(at(a.gate_word, 0), x + l * a.E, a.E);
    }
    std::fill(open + words, open + round(words), T(0));
    for (int64_t l = 0; l < words; l += lanes) {
      const Gate<T> gate = gate_of<T>(load<T>(open + l));
      store<T>(open + l, gate.open);
      store<T>(closed + l, gate.closed);
    }
  }

  // A NaN stays one, as in torch.
  static MEMGAN_INLINE Vec<T> relu(Vec<T> x) { return x <= T(0) ? Vec<T>{} : x; }
};

template <typename S>
void run_write_forward(const WriteForwardArgs& a, int64_t (*next)(void*), void* state) {
  Projections<S> p(a);
  using T = typename Compute<S>::type;
  for (int64_t item = next(state); item >= 0; item = next(state)) {
    p.compute(item);
    for (int i = 0; i < kPixels; i += Simd<T>::lanes) {
      const Vec<T> word_bias = load<T>(p.word_bias + i), image_bias = load<T>(p.image_bias + i);
      for (int64_t b = 0; b < p.images; ++b) {
        const Vec<T> of_image = p.relu(load<T>(p.from_image + b * kPixels + i) + image_bias);
        for (int64_t l = b * a.L; l < (b + 1) * a.L; ++l) {
          T* at = p.from_words + l * kPixels + i;
          store<T>(at, p.relu(load<T>(at) + word_bias) * p.open[l] + of_image * p.closed[l]);
        }
      }
    }
    S* out = static_cast<S*>(a.out) + p.image * a.L * a.M + p.column;
    store_tile<S>(out, a.M, 1, p.words, p.columns, p.from_words);
  }
}

inline void write_forward(const WriteForwardArgs& a, int64_t (*next)(void*), void* state) {
  switch (a.dtype) {
    case Dtype::float32: return run_write_forward<float>(a, next, state);
    case Dtype::float64: return run_write_forward<double>(a, next, state);
    case Dtype::bfloat16: return run_write_forward<Bf16>(a, next, state);
  }
}

}  // namespace memgan::cpu::MEMGAN_ISA
