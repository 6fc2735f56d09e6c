// What the fast kernels keep in shared memory of an image: tiles of pixels, channel by channel.
//
// A tile is [channel][pixel] whatever the layout of the image: contiguous images are copied 16 bytes at a time without
// passing through registers, channels_last ones are turned while they are copied. Rows are 16 bytes longer than their
// numbers, so that the matrix loads of a warp meet every bank once. Missing channels and pixels are zeros.
#pragma once

#include "attend_words.h"

namespace memgan::cuda {

template <typename S>
constexpr int kVector = 16 / int(sizeof(S));  // numbers in 16 bytes

MEMGAN_BOTH int up_to_16(int64_t n) { return int((n + 15) & ~int64_t(15)); }

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
