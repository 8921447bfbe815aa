#pragma once

#include <functional>
#include <vector>

namespace tessera::kernels::cuda::emulation {

/// Runs body() as every thread of every CTA, CTA after CTA in an order of its own.
/// @param starts_early  Every thread must call await_previous_kernel().
/// @throws What a thread throws: Error{kInternal} for races, divergence and accesses out of bounds.
void run_grid(unsigned grid_x,
              unsigned grid_y,
              unsigned num_threads,
              int shared_bytes,
              const std::function<void()>& body,
              bool starts_early = false);

/// Something that a tensor core does later.
struct PendingProduct {
  const float* sums = nullptr;  ///< What it changes.
  std::function<void()> run;
  bool ends_group = false;
};

/// Those that the thread that runs has begun and not waited for.
std::vector<PendingProduct>& pending_products();

}  // namespace tessera::kernels::cuda::emulation
