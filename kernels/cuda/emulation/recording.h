#pragma once

#include <functional>
#include <vector>

namespace tessera::kernels::cuda::emulation {

/// Kernels and copies that this thread keeps instead of running them; null: it runs them.
std::vector<std::function<void()>>* recorded_work();

/// @throws Error{kDevice} naming `what` if this thread keeps work: it has not been done.
void forbid_while_recording(const char* what);

}  // namespace tessera::kernels::cuda::emulation
