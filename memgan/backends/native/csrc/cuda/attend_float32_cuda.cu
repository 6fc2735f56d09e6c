// The kernels of memory_read and memory_refine for float32, those for TF32 in attend_tf32_cuda.cu.
#include "attend_launch.h"

namespace memgan::cuda {
extern template const char* launch_fast<Engine<Tf32>>(const ForwardPlan&, const Grid&, const ForwardArgs&);
extern template const char* launch_fast<Engine<Tf32>>(const BackwardPlan&, const Grid&, const BackwardArgs&);
MEMGAN_ATTEND_KERNELS(float)
}  // namespace memgan::cuda
