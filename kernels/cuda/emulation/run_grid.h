#pragma once

#include <functional>

namespace tessera::kernels::cuda::emulation {

/// Runs body() as every thread of every CTA, CTA after CTA in an order of its own.
/// @throws What a thread throws: Error{kInternal} for races, divergence and accesses out of bounds.
void run_grid(unsigned grid_x,
              unsigned grid_y,
              unsigned num_threads,
              int shared_bytes,
              const std::function<void()>& body);

}  // namespace tessera::kernels::cuda::emulation
