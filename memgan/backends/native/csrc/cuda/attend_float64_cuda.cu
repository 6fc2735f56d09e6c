// The kernels of memory_read and memory_refine for float64.
#include "attend_launch.h"

namespace memgan::cuda {
MEMGAN_ATTEND_KERNELS(double)
}
