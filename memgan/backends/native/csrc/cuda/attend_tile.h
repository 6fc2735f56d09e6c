// What the fast kernels keep in shared memory: the slots of one image, and tiles of pixels, channel by channel.
//
// A tile is [channel][pixel] whatever the layout of the image: contiguous images are copied 16 bytes at a time without
// passing through registers, channels_last ones are turned while they are copied. Rows are 16 bytes longer than their
// numbers, so that the matrix loads of a warp meet every bank once. Missing channels, words and pixels are zeros.
#pragma once

#include "attend_words.h"

namespace memgan::cuda {

template <typename S>
constexpr int kVector = 16 / int(sizeof(S));  // numbers in 16 bytes

MEMGAN_BOTH int up_to_16(int64_t n) { return int((n + 15) & ~int64_t(15)); }

// Rows of words are rounded up to what products take at a time: tensor cores 16, lanes 4.
template <int kUnit>
MEMGAN_BOTH int up_to(int64_t n) {
  return int((n + kUnit - 1) / kUnit * kUnit);
}

// Hands out parts of a block's shared memory; run on the host, it says how much there must be.
struct Room {
  unsigned char* base = nullptr;
  int64_t used = 0;
  template <typename T>
  MEMGAN_BOTH T* take(int64_t count) {
    T* part = reinterpret_cast<T*>(base + used);
    used += (count * int64_t(sizeof(T)) + 15) & ~int64_t(15);
    return part;
  }
};

// How many rows of slots and how many channels a kernel is compiled for at most; 0: any, as many as there are. Where
// they are known, so is where everything lies in shared memory.
template <int kRowsOf, int kChannelsOf>
struct Most {
  static constexpr int kRows = kRowsOf, kChannels = kChannelsOf;
  static constexpr int kAtOnce = kChannels > 0 ? 2 : 1;  // 16s of channels: addresses that are known take no registers
  static MEMGAN_BOTH int channels(const AttendArgs& a) { return kChannels > 0 ? kChannels : up_to_16(a.C); }
  template <int kUnit>
  static MEMGAN_BOTH int64_t rows(int64_t words) {
    return kRows > 0 ? kRows : up_to<kUnit>(words);
  }
};
using Any = Most<0, 0>;

// The slots of one image: real words only, and the gate's halves. On tensor cores those come first, w_r before the keys
// and w_o before the values, so that the gate's logit is always in the same lane; on lanes w_r comes behind the keys.
template <typename S, int kUnit, typename M = Any>
struct Packed {
  static constexpr bool kTensor = kUnit == 16;
  static constexpr int kFirst = kTensor ? 1 : 0;  // row of the first word
  S *keys, *values;                               // [rows][row], and zeros up to kUnit rows
  float* value_gate;  // of each row: w_o . v_l; for tensor cores zero where there is no word
  float* masked;      // for tensor cores, of each row: 0, or -inf where there is no word
  int32_t* words;     // [L + 1]
  int row;
  int count = 0, rows = 0;  // real words; rows of keys

  MEMGAN_BOTH Packed(const AttendArgs& a, Room& room)
      : keys(room.take<S>(M::template rows<kUnit>(a.L + 1) * (M::channels(a) + kVector<S>))),
        values(room.take<S>(M::template rows<kUnit>(a.L + kFirst) * (M::channels(a) + kVector<S>))),
        value_gate(room.take<float>(M::template rows<kUnit>(a.L + 1))),
        masked(room.take<float>(kTensor ? M::template rows<kUnit>(a.L + 1) : 0)),
        words(room.take<int32_t>(M::kRows > 0 ? M::kRows : a.L + 1)),
        row(M::channels(a) + kVector<S>) {}

  // Row l of `to` is word l - kFirst; `gate` is row `of_gate`; zeros elsewhere.
  MEMGAN_DEVICE void copy(
      const AttendArgs& a, const Slots& from, int64_t b, int height, const S* gate, int of_gate, S* to) const {
    const int vectors = M::channels(a) / kVector<S>;
    const bool whole = from.channel == 1 && from.word % kVector<S> == 0 && from.batch % kVector<S> == 0 &&
                       reinterpret_cast<uintptr_t>(from.data) % 16 == 0;
    for (int i = int(threadIdx.x); i < height * vectors; i += int(blockDim.x)) {
      const int l = i / vectors, c = i % vectors * kVector<S>;
      S* at = to + l * row + c;
      const S* source = static_cast<const S*>(from.data) + b * from.batch;
      int64_t step = from.channel;
      const bool word = l >= kFirst && l - kFirst < count;
      if (word) source += words[l - kFirst] * from.word + c * from.channel;
      else if (l == of_gate && gate != nullptr) source = gate + c, step = 1;
      else source = nullptr;
      if (source == nullptr || (whole && word && c + kVector<S> <= a.C)) {
        copy_16(at, source == nullptr ? from.data : source, source != nullptr);
      } else {
        for (int e = 0; e < kVector<S>; ++e) at[e] = c + e < a.C ? source[e * step] : written<S>(0.f);
      }
    }
  }
  // All threads of the block; behind it the slots may be read, and every copy begun before has landed.
  MEMGAN_DEVICE void pack(const AttendArgs& a, int64_t b) {
    const S* gate = static_cast<const S*>(a.gate_weight);
    count = find_real_words(a, b, words);
    rows = kTensor ? count + 1 : count + (gate != nullptr);
    const int of_values = kTensor ? rows : count;
    copy(a, a.keys, b, up_to<kUnit>(rows), gate, kTensor ? 0 : count, keys);
    copy(a, a.values, b, up_to<kUnit>(of_values), kTensor && gate != nullptr ? gate + a.C : nullptr, 0, values);
    if constexpr (kTensor) {
      for (int l = int(threadIdx.x); l < up_to<kUnit>(rows); l += int(blockDim.x)) {
        masked[l] = l > 0 && l < rows ? 0.f : -INFINITY;
        value_gate[l] = 0;
      }
    }
    commit_copies();
    wait_for_copies<0>();
    __syncthreads();
    if (gate == nullptr) return;
    const int warp = int(threadIdx.x) / kWarp, lane = int(threadIdx.x) % kWarp;
    const S* weight = kTensor ? values : gate + a.C;
    for (int l = warp; l < count; l += int(blockDim.x) / kWarp) {
      float sum = 0;
      for (int d = lane; d < a.C; d += kWarp) sum += read(weight[d]) * read(values[(kFirst + l) * row + d]);
      sum = sum_of_warp(sum);
      if (lane == 0) value_gate[kFirst + l] = sum;
    }
    __syncthreads();
  }
};

// How 16 bytes at a time can be moved between an image and tiles, if at all.
enum class Way { pixels, channels, single };
template <typename S, typename View>
MEMGAN_DEVICE Way way_of(const View& view, int64_t channels) {
  if (reinterpret_cast<uintptr_t>(view.data) % 16 != 0 || view.batch % kVector<S> != 0) return Way::single;
  if (view.pixel == 1 && view.row % kVector<S> == 0) return Way::pixels;
  if (view.row == 1 && view.pixel % kVector<S> == 0 && channels % kVector<S> == 0) return Way::channels;
  return Way::single;
}

// A tile of `pixels` pixels, a power of two, as a group of threads fills and empties it: a warp (thread its lane), or a
// block.
template <typename S>
struct Tile {
  int pixels, row, thread, threads, padded;  // padded: channels with the zeros behind them
  MEMGAN_BOTH Tile(int pixels, int thread, int threads, int padded)
      : pixels(pixels), row(pixels + kVector<S>), thread(thread), threads(threads), padded(padded) {}

  MEMGAN_BOTH int64_t size() const { return int64_t(padded) * row; }

  // The pixels of an image from `first` on, those before `end` only. Copies go on behind it: commit and wait, then a
  // barrier of the group.
  MEMGAN_DEVICE void load(
      const Pixels& from, Way way, int64_t b, int64_t first, int64_t end, int channels, S* tile) const {
    const S* image = static_cast<const S*>(from.data) + b * from.batch + first * from.pixel;
    const int inside = end - first < pixels ? (end > first ? int(end - first) : 0) : pixels;
    const int vectors = pixels / kVector<S>, p = thread % vectors * kVector<S>, step = threads / vectors;
    if (way == Way::channels) {
      // 16 pixels and 32 bytes of each at a time: whole sectors of memory, and two ways into a bank.
      const int sixteens = channels / kVector<S>;
      for (int i = thread; i < (pixels / 16) * ((sixteens + 1) / 2) * kWarp; i += threads) {
        const int lane = i % kWarp, block = i / kWarp, c = (block / (pixels / 16) * 2 + lane % 2) * kVector<S>;
        const int q = block % (pixels / 16) * 16 + lane / 2;
        if (c >= channels) continue;
        uint4 bits{0, 0, 0, 0};
        if (q < inside) bits = *reinterpret_cast<const uint4*>(image + q * from.pixel + c);
        const Sixteen<S> numbers{bits};
        MEMGAN_UNROLL
        for (int e = 0; e < kVector<S>; ++e) tile[(c + e) * row + q] = numbers[e];
      }
    } else if (way == Way::pixels && p + kVector<S> <= inside) {
      int c = thread / vectors;
      const S* source = image + c * from.row + p;
      S* at = tile + c * row + p;
      const int64_t next = step * from.row;
      MEMGAN_UNROLL_BY(8)
      for (; c < channels; c += step, source += next, at += step * row) copy_16(at, source);
    } else {
      for (int c = thread / vectors; c < channels; c += step) {
        const S* source = image + c * from.row + p * from.pixel;
        for (int e = 0; e < kVector<S>; ++e)
          tile[c * row + p + e] = p + e < inside ? source[e * from.pixel] : written<S>(0.f);
      }
    }
    for (int c = channels + thread / vectors; c < padded; c += step)
      *reinterpret_cast<uint4*>(tile + c * row + p) = uint4{0, 0, 0, 0};
  }

  MEMGAN_DEVICE void store(
      const MutablePixels& to, Way way, int64_t b, int64_t first, int64_t end, int channels, const S* tile) const {
    S* image = static_cast<S*>(to.data) + b * to.batch + first * to.pixel;
    const int inside = end - first < pixels ? (end > first ? int(end - first) : 0) : pixels;
    const int vectors = pixels / kVector<S>, p = thread % vectors * kVector<S>, step = threads / vectors;
    if (way == Way::channels) {
      const int sixteens = channels / kVector<S>;
      for (int i = thread; i < (pixels / 16) * ((sixteens + 1) / 2) * kWarp; i += threads) {
        const int lane = i % kWarp, block = i / kWarp, c = (block / (pixels / 16) * 2 + lane % 2) * kVector<S>;
        const int q = block % (pixels / 16) * 16 + lane / 2;
        if (c >= channels || q >= inside) continue;
        Sixteen<S> numbers{uint4{0, 0, 0, 0}};
        MEMGAN_UNROLL
        for (int e = 0; e < kVector<S>; ++e) numbers.set(e, tile[(c + e) * row + q]);
        *reinterpret_cast<uint4*>(image + q * to.pixel + c) = numbers.bits;
      }
    } else if (way == Way::pixels && p + kVector<S> <= inside) {
      int c = thread / vectors;
      S* target = image + c * to.row + p;
      const S* at = tile + c * row + p;
      const int64_t next = step * to.row;
      MEMGAN_UNROLL_BY(8)
      for (; c < channels; c += step, target += next, at += step * row)
        *reinterpret_cast<uint4*>(target) = *reinterpret_cast<const uint4*>(at);
    } else {
      for (int c = thread / vectors; c < channels; c += step) {
        S* target = image + c * to.row + p * to.pixel;
        for (int e = 0; e < kVector<S> && p + e < inside; ++e) target[e * to.pixel] = tile[c * row + p + e];
      }
    }
  }
};

}  // namespace memgan::cuda
