#pragma once

#include <compare>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>

#include "kernels/ops.h"
#include "worker/runtime/step_shapes.h"

namespace tessera {

/// What distinguishes the graphs of steps.
struct GraphKey {
  StepShape shape;
  bool embeds = true;  ///< Begins with the embedding of the rows; else rows are embedded before.

  auto operator<=>(const GraphKey&) const = default;
};

/// A graph for each shape of steps. Borrows the back end. Owned by the rank's main thread.
class GraphCache {
 public:
  explicit GraphCache(kernels::Backend& backend) : backend_(backend) {}

  /// Makes a graph of what work() calls; see Backend::capture.
  void capture(const GraphKey& key, const std::function<void()>& work);

  /// @throws Error{kInternal} if there is no such graph.
  void launch(const GraphKey& key);

  std::size_t size() const { return graphs_.size(); }

 private:
  kernels::Backend& backend_;
  std::map<GraphKey, std::unique_ptr<kernels::StepGraph>> graphs_;
};

}  // namespace tessera
