// The kernels of memory_read and memory_refine for float32 that may be rounded to TF32.
#include "attend_launch.h"

namespace memgan::cuda {
template const char* launch_fast<Engine<Tf32>>(const ForwardPlan&, const Grid&, const ForwardArgs&);
template const char* launch_fast<Engine<Tf32>>(const BackwardPlan&, const Grid&, const BackwardArgs&);
}  // namespace memgan::cuda
