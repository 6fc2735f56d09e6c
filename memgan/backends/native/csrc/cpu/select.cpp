// Which instruction set this process uses: the best that the machine has, or what MEMGAN_CPU_CAPABILITY says.
#include <cstdlib>
#include <cstring>

#include "attend.h"

namespace memgan::cpu {

const Kernels& choose() {
  const char* wanted = std::getenv("MEMGAN_CPU_CAPABILITY");
  const auto allowed = [&](const char* name) {
    return wanted == nullptr || *wanted == '\0' || std::strcmp(wanted, name) == 0;
  };
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (avx512 && allowed("avx512")) return kernels_avx512();
  if (avx2 && (allowed("avx2") || allowed("avx512"))) return kernels_avx2();
#endif
  return kernels_generic();
}

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

}  // namespace memgan::cpu

// For memgan.doctor, through ctypes.
extern "C" __attribute__((visibility("default"))) const char* memgan_cpu_capability() {
  return memgan::cpu::kernels().name;
}
