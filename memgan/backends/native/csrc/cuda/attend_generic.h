// Read and respond for any sizes and any dtype: what the fast kernels do not take. Its goal is to be right.
//
// One thread owns one pixel, and scores wait in a column of the workspace that is its own. The algebra is that of the
// CPU kernels (csrc/cpu/attend_forward.h, attend_backward.h): the gate is known before anything is read.
#pragma once

#include "attend_words.h"

namespace memgan::cuda {

constexpr int kGenericPixels = 128;  // and threads of a block

MEMGAN_BOTH int64_t generic_forward_rows(const AttendArgs& a) { return a.L; }
MEMGAN_BOTH int64_t generic_backward_rows(const AttendArgs& a) { return 3 * a.L + 1; }
// Of dynamic shared memory: w_o . v_l of every real word, and the list of them.
template <typename T>
int64_t generic_shared(const AttendArgs& a) {
  return a.L * int64_t(sizeof(T)) + (a.L + 1) * 4;
}

template <typename S>
struct Generic {
  using T = typename Compute<S>::type;
  const AttendArgs& a;
  T* value_gate;  // shared
  int32_t* words;
  int count = 0;
  int64_t image = -1;

  MEMGAN_DEVICE explicit Generic(const AttendArgs& args)
      : a(args),
        value_gate(reinterpret_cast<T*>(shared_memory())),
        words(reinterpret_cast<int32_t*>(value_gate + args.L)) {}

  MEMGAN_DEVICE void take(int64_t b) {
    if (b == image) return;
    image = b;
    count = find_real_words(a, b, words);
    if (a.gate_weight == nullptr) return;
    for (int row = int(threadIdx.x); row < count; row += int(blockDim.x)) value_gate[row] = memory().value_gate(row);
    __syncthreads();
  }
  MEMGAN_DEVICE Memory<S> memory() const { return {a, image, words}; }

  // a_l of one pixel into its column; returns sum_l a_l (w_o . v_l) where there is a gate.
  MEMGAN_DEVICE T attend(const S* r, T* column) const {
    const Memory<S> m = memory();
    T largest = lowest<T>(), sum = 0, from_read = 0;
    for (int row = 0; row < count; ++row) {
      const T score = T(a.scale) * sum_of<T>(a.C, [&](int64_t c) { return m.key(row, c) * read(r[c * a.r.row]); });
      column[row * kGenericPixels] = score;
      largest = largest > score ? largest : score;  // a NaN score stays, or meets exp as NaN
    }
    for (int row = 0; row < count; ++row) {
      const T e = exponential(column[row * kGenericPixels] - largest);
      column[row * kGenericPixels] = e;
      sum += e;
    }
    for (int row = 0; row < count; ++row) {
      const T attention = column[row * kGenericPixels] / sum;
      column[row * kGenericPixels] = attention;
      if (a.gate_weight != nullptr) from_read += attention * value_gate[row];
    }
    return from_read;
  }
  MEMGAN_DEVICE Gate<T> respond(const S* r, T from_read) const {
    const Memory<S> m = memory();
    const T of_image = sum_of<T>(a.C, [&](int64_t c) { return m.gate(c) * read(r[c * a.r.row]); });
    return gate_of(of_image + from_read + m.bias());
  }
};

template <typename S>
__global__ void __launch_bounds__(kGenericPixels) attend_forward_generic(const __grid_constant__ ForwardArgs a) {
  using T = typename Compute<S>::type;
  Generic<S> block(a);
  T* column = static_cast<T*>(a.workspace) + blockIdx.x * (generic_forward_rows(a) * kGenericPixels) + threadIdx.x;
  const int64_t tiles = (a.N + kGenericPixels - 1) / kGenericPixels;
  for (int64_t item = blockIdx.x; item < a.B * tiles; item += gridDim.x) {
    const int64_t b = item / tiles, p = item % tiles * kGenericPixels + threadIdx.x;
    block.take(b);
    if (p >= a.N) continue;
    const S* r = static_cast<const S*>(a.r.data) + b * a.r.batch + p * a.r.pixel;
    const T from_read = block.attend(r, column);
    if (a.attention != nullptr) {
      S* attention = static_cast<S*>(a.attention) + b * a.L * a.N + p;
      int row = 0;
      for (int64_t l = 0; l < a.L; ++l) {
        const bool real = row < block.count && block.words[row] == l;
        attention[l * a.N] = written<S>(real ? column[row * kGenericPixels] : T(0));
        row += real;
      }
    }
    Gate<T> gate{T(1), T(0)};
    if (a.gate_weight != nullptr) gate = block.respond(r, from_read);
    S* out = static_cast<S*>(a.out.data) + b * a.out.batch + p * a.out.pixel;
    for (int64_t d = 0; d < a.D; ++d) {
      const Memory<S> m = block.memory();
      T sum = sum_of<T>(block.count, [&](int64_t row) { return column[row * kGenericPixels] * m.value(int(row), d); });
      if (a.gate_weight != nullptr) sum = gate.open * sum + gate.closed * read(r[d * a.r.row]);
      out[d * a.out.row] = written<S>(sum);
    }
  }
}

// One block a chunk. Columns of the workspace: [L + 1] ds, and dz behind the real words · [L] g a · [L] dz a.
template <typename S>
__global__ void __launch_bounds__(kGenericPixels) attend_backward_generic(const __grid_constant__ BackwardArgs a) {
  using T = typename Compute<S>::type;
  constexpr int P = kGenericPixels;
  Generic<S> block(a);
  const int64_t b = a.first_image + blockIdx.x / a.chunks, chunk = blockIdx.x % a.chunks, size = partial_size(a);
  block.take(b);
  const Memory<S> m = block.memory();
  const int count = block.count, thread = int(threadIdx.x);
  const bool gated = a.gate_weight != nullptr, asked = a.grad_attention.data != nullptr;
  T* slots = static_cast<T*>(a.partial) + blockIdx.x * size;
  T *values = slots + (a.L + 1) * a.C, *read_sum = values + a.L * a.D;
  T* ds = static_cast<T*>(a.workspace) + blockIdx.x * (generic_backward_rows(a) * P);
  T *ga = ds + (a.L + 1) * P, *za = ga + a.L * P;
  for (int64_t i = thread; i < size; i += P) slots[i] = T(0);

  const int64_t begin = chunk * a.chunk_pixels, end = begin + a.chunk_pixels < a.N ? begin + a.chunk_pixels : a.N;
  for (int64_t first = begin; first < end; first += P) {
    const S* r = static_cast<const S*>(a.r.data) + b * a.r.batch + first * a.r.pixel;
    const S* G = static_cast<const S*>(a.grad_out.data) + b * a.grad_out.batch + first * a.grad_out.pixel;
    const int pixels = end - first < P ? int(end - first) : P;
    __syncthreads();  // the sums over the tile before have been taken
    if (thread < pixels) {
      const S *rp = r + thread * a.r.pixel, *Gp = G + thread * a.grad_out.pixel;
      T *s = ds + thread, *w = ga + thread, *z = za + thread;
      const T from_read = block.attend(rp, s);
      T read_dot = 0, dz = 0;
      for (int row = 0; row < count; ++row) {
        const T sum = sum_of<T>(a.D, [&](int64_t d) { return m.value(row, d) * read(Gp[d * a.grad_out.row]); });
        w[row * P] = sum;
        read_dot += s[row * P] * sum;
      }
      Gate<T> gate{T(1), T(0)};
      if (gated) {
        gate = block.respond(rp, from_read);
        const T dot = sum_of<T>(a.C, [&](int64_t c) { return read(Gp[c * a.grad_out.row]) * read(rp[c * a.r.row]); });
        dz = (read_dot - dot) * gate.open * gate.closed;
      }
      const S* given = static_cast<const S*>(a.grad_attention.data) + b * a.grad_attention.batch +
                       (first + thread) * a.grad_attention.pixel;
      T mean = gate.open * read_dot + dz * from_read;
      if (asked)
        for (int row = 0; row < count; ++row) mean += s[row * P] * read(given[m.words[row] * a.grad_attention.row]);
      for (int row = 0; row < count; ++row) {
        const T attention = s[row * P];
        T da = gate.open * w[row * P];
        if (gated) da += dz * block.value_gate[row];
        if (asked) da += read(given[m.words[row] * a.grad_attention.row]);
        s[row * P] = attention * (da - mean) * T(a.scale);
        w[row * P] = attention * gate.open;
        z[row * P] = attention * dz;
      }
      s[count * P] = dz;
      S* out = static_cast<S*>(a.grad_r.data) + b * a.grad_r.batch + (first + thread) * a.grad_r.pixel;
      for (int64_t c = 0; c < a.C; ++c) {
        T sum = sum_of<T>(count, [&](int64_t row) { return s[row * P] * m.key(int(row), c); });
        if (gated) sum += gate.closed * read(Gp[c * a.grad_out.row]) + dz * m.gate(c);
        out[c * a.grad_r.row] = written<S>(sum);
      }
    }
    __syncthreads();
    for (int64_t i = thread; i < (count + 1) * a.C; i += P) {
      const T* factors = ds + i / a.C * P;
      const S* of_channel = r + i % a.C * a.r.row;
      slots[i] += sum_of<T>(pixels, [&](int64_t p) { return factors[p] * read(of_channel[p * a.r.pixel]); });
    }
    for (int64_t i = thread; i < count * a.D; i += P) {
      const T* factors = ga + i / a.D * P;
      const S* of_channel = G + i % a.D * a.grad_out.row;
      values[i] += sum_of<T>(pixels, [&](int64_t p) { return factors[p] * read(of_channel[p * a.grad_out.pixel]); });
    }
    for (int row = thread; row <= count; row += P) {
      const T* from = row < count ? za + row * P : ds + count * P;
      read_sum[row < count ? row : a.L] += sum_of<T>(pixels, [&](int64_t p) { return from[p]; });
    }
  }
}

}  // namespace memgan::cuda
